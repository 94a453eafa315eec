//! `drover server`: the servers as gossip knows them.
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};
use crate::table::table;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    #[command(about = "List the servers")]
    Members(MembersArgs),
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
    }
}

fn members(args: &MembersArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let answer = session.client.get("/v1/agent/members", &[]).map_err(error("querying servers"))?;
    if args.format.json {
        return session.print_json(&answer);
    }
    let mut members: Vec<_> = answer.list("Members").iter().collect();
    members.sort_by_key(|member| member.text("Name"));
    // A region without a leader still has members: the column then says so.
    let leader = session.client.get("/v1/status/leader", &[]);
    let leader = leader.ok().and_then(|leader| leader.as_str().map(str::to_owned));
    let leader = leader.unwrap_or_default();
    let detailed = args.detailed || args.format.verbose;
    let rows: Vec<_> = members.iter().map(|member| row(member, &leader, detailed)).collect();
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
    if leader.is_empty() {
        session.terminal.complain("\nThere is no leader: nothing can be changed until there is.");
    }
    Ok(Exit::Done)
}

fn row(member: &Value, leader: &str, detailed: bool) -> Vec<String> {
    let tags = member.at("Tags");
    let (address, port) = (member.text("Addr"), member.int("Port"));
    let mut addresses =
        vec![format!("{address}:{port}"), format!("{address}:{}", tags.text("port"))];
    addresses.push(format!("{}:{}", tags.text("rpc_addr"), tags.text("port")));
    let leads = addresses.iter().any(|address| address == leader);
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
