//! `drover server`: the servers as gossip knows them, and what operators change of that.
use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::table;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    #[command(about = "List the servers")]
    Members(MembersArgs),
    #[command(about = "Let a server meet others")]
    Join(JoinArgs),
    #[command(about = "Say that a failed server is not expected back")]
    ForceLeave(ForceLeaveArgs),
}

#[derive(Args, Debug)]
pub(crate) struct JoinArgs {
    #[arg(required = true, value_name = "ADDRESS", help = "HOST or HOST:PORT of a server")]
    addresses: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ForceLeaveArgs {
    #[arg(long, help = "Forget the server, rather than list it as left")]
    prune: bool,
    #[arg(value_name = "NODE", help = "The server's name, as `server members` lists it")]
    node: String,
}

#[derive(Args, Debug)]
pub(crate) struct MembersArgs {
    #[arg(long, help = "All tags, too")]
    detailed: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(command: &ServerCommand, session: &mut Session) -> Ended {
    match command {
        ServerCommand::Members(args) => members(args, session),
        ServerCommand::Join(args) => join(args, session),
        ServerCommand::ForceLeave(args) => force_leave(args, session),
    }
}

fn join(args: &JoinArgs, session: &mut Session) -> Ended {
    let query: Vec<_> =
        args.addresses.iter().map(|address| ("address", address.as_str())).collect();
    let answer = session.client.put("/v1/agent/join", &query, &Value::Null);
    let answer = answer.map_err(error("joining"))?;
    let (joined, fault) = (answer.int("num_joined"), answer.text("error"));
    if joined != 0 {
        session.terminal.line(&format!("Joined {joined} servers successfully"));
    }
    if fault.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(format!("Error joining: {fault}")))
}

fn force_leave(args: &ForceLeaveArgs, session: &mut Session) -> Ended {
    let mut query = vec![("node", args.node.as_str())];
    if args.prune {
        query.push(("prune", "true"));
    }
    let answer = session.client.put("/v1/agent/force-leave", &query, &Value::Null);
    answer.map_err(error("force-leaving server"))?;
    let what = if args.prune { "is forgotten" } else { "is listed as left, and will not vote" };
    session.terminal.line(&format!("{} {what}", args.node));
    Ok(Exit::Done)
}

fn members(args: &MembersArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let answer = session.client.get("/v1/agent/members", &[]).map_err(error("querying servers"))?;
    if args.format.json {
        return session.print_json(&answer);
    }
    let mut members: Vec<_> = answer.list("Members").iter().collect();
    members.sort_by_key(|member| member.text("Name"));
    let leaders = leaders(&members, session);
    let detailed = args.detailed || args.format.verbose;
    let rows: Vec<_> = members.iter().map(|member| row(member, &leaders, detailed)).collect();
    let mut header = vec![
        "Name",
        "Address",
        "Port",
        "Status",
        "Leader",
        "Raft Version",
        "Build",
        "Datacenter",
        "Region",
    ];
    if detailed {
        header.push("Tags");
    }
    session.terminal.line(&table(&header, &rows));
    for (region, _) in leaders.iter().filter(|(_, leader)| leader.is_empty()) {
        session.terminal.complain(&format!(
            "\nRegion {region} has no leader that could be asked: nothing can be changed there until it has."
        ));
    }
    Ok(Exit::Done)
}

/// Where the leader of each region is dialled. A region without one still has members: then that is empty.
fn leaders(members: &[&Value], session: &mut Session) -> BTreeMap<String, String> {
    let regions = members.iter().map(|member| member.at("Tags").text("region").to_owned());
    let regions: BTreeSet<String> = regions.collect();
    let mut leader = |region: &str| {
        let answer = session.client.get("/v1/status/leader", &[("region", region)]).ok()?;
        answer.as_str().map(str::to_owned)
    };
    regions
        .into_iter()
        .map(|region| (region.clone(), leader(&region).unwrap_or_default()))
        .collect()
}

fn row(member: &Value, leaders: &BTreeMap<String, String>, detailed: bool) -> Vec<String> {
    let tags = member.at("Tags");
    let (address, port) = (member.text("Addr"), member.int("Port"));
    let mut addresses =
        vec![format!("{address}:{port}"), format!("{address}:{}", tags.text("port"))];
    addresses.push(format!("{}:{}", tags.text("rpc_addr"), tags.text("port")));
    let leader = leaders.get(tags.text("region"));
    let leads = addresses.iter().any(|address| Some(address) == leader);
    let mut row = vec![
        member.text("Name").to_owned(),
        address.to_owned(),
        port.to_string(),
        member.text("Status").to_owned(),
        leads.to_string(),
        tags.text("raft_vsn").to_owned(),
        tags.text("build").to_owned(),
        tags.text("dc").to_owned(),
        tags.text("region").to_owned(),
    ];
    if detailed {
        let tags = member.entries("Tags").into_iter();
        let tags = tags.map(|(key, text)| format!("{key}={}", text.as_str().unwrap_or_default()));
        row.push(tags.collect::<Vec<_>>().join(","));
    }
    row
}
