//! `drover node`: the machines that tasks run on.
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::table;

mod drain;
mod intro;
mod meta;
mod pool;
mod show;

pub(crate) use intro::IntroCommand;
pub(crate) use meta::MetaCommand;
pub(crate) use pool::PoolCommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    #[command(about = "List nodes, or show one")]
    Status(NodeStatusArgs),
    #[command(about = "Say whether a node may get new allocations")]
    Eligibility(EligibilityArgs),
    #[command(about = "Move everything off a node, and watch it leave")]
    Drain(drain::DrainArgs),
    #[command(subcommand, about = "Say of a node what constraints can ask for, while it runs")]
    Meta(MetaCommand),
    #[command(subcommand, about = "Let new machines in, where servers ask for introductions")]
    Intro(IntroCommand),
    #[command(subcommand, about = "Look at node pools, make and delete them")]
    Pool(PoolCommand),
}

#[derive(Args, Debug)]
pub(crate) struct NodeStatusArgs {
    #[arg(value_name = "NODE", help = "The node, or the beginning of its id; all without it")]
    node: Option<String>,
    #[arg(long = "self", help = "The node of the agent that is asked")]
    own: bool,
    #[arg(long, help = "How many allocations run on each, too (a request for each)")]
    allocs: bool,
    #[arg(long, help = "Only the first block")]
    short: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct EligibilityArgs {
    #[arg(value_name = "NODE", help = "The node, or the beginning of its id")]
    node: Option<String>,
    #[arg(long = "self", help = "The node of the agent that is asked")]
    own: bool,
    #[arg(long, conflicts_with = "disable", required_unless_present = "disable")]
    enable: bool,
    #[arg(long, help = "New allocations go elsewhere; what runs goes on")]
    disable: bool,
}

pub(crate) fn run(command: &NodeCommand, session: &mut Session) -> Ended {
    match command {
        NodeCommand::Status(args) => status(args, session),
        NodeCommand::Eligibility(args) => eligibility(args, session),
        NodeCommand::Drain(args) => drain::drain(args, session),
        NodeCommand::Meta(command) => meta::run(command, session),
        NodeCommand::Intro(command) => intro::run(command, session),
        NodeCommand::Pool(command) => pool::run(command, session),
    }
}

fn status(args: &NodeStatusArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let typed = if args.own { Some(own_id(session)?) } else { args.node.clone() };
    match typed {
        Some(typed) if args.short => show::basics_only(&typed, &args.format, session),
        Some(typed) => show::show(&typed, &args.format, session),
        None => list(args, session),
    }
}

/// The node that `typed` begins the id of.
pub(crate) fn show(typed: &str, format: &Format, session: &mut Session) -> Ended {
    show::show(typed, format, session)
}

fn own_id(session: &mut Session) -> Result<String, Failure> {
    let own = session.client.get("/v1/agent/self", &[]).map_err(error("querying agent info"))?;
    let id = own.at("stats").at("client").text("node_id");
    if id.is_empty() {
        return Err(Failure::new("The agent that was asked is not a client: it has no node"));
    }
    Ok(id.to_owned())
}

fn list(args: &NodeStatusArgs, session: &mut Session) -> Ended {
    let nodes = session.client.get("/v1/nodes", &[]).map_err(error("querying node status"))?;
    let allocs = if args.allocs { Allocs::Counted } else { Allocs::Unasked };
    print_nodes(&nodes, "No nodes registered", allocs, &args.format, session)
}

/// Whether how many run is asked of each node.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Allocs {
    Unasked,
    Counted,
}

/// The list of nodes; without one, `none`.
fn print_nodes(
    nodes: &Value,
    none: &str,
    allocs: Allocs,
    format: &Format,
    session: &mut Session,
) -> Ended {
    if format.json {
        return session.print_json(nodes);
    }
    if nodes.items().is_empty() {
        session.terminal.line(none);
        return Ok(Exit::Done);
    }
    let mut sorted: Vec<_> = nodes.items().iter().collect();
    sorted.sort_by_key(|node| (node.text("Name"), node.text("ID")));
    let mut rows = Vec::new();
    for node in sorted {
        let mut row = list_row(node, format.verbose);
        if allocs == Allocs::Counted {
            let path = format!("/v1/node/{}/allocations", node.text("ID"));
            let allocs = session.client.get(&path, &[]);
            let allocs = allocs.map_err(error("querying node allocations"))?;
            let running =
                allocs.items().iter().filter(|alloc| alloc.text("ClientStatus") == "running");
            row.push(running.count().to_string());
        }
        rows.push(row);
    }
    let mut header = vec!["ID", "Node Pool", "DC", "Name", "Class"];
    if format.verbose {
        header.extend(["Address", "Version"]);
    }
    header.extend(["Drain", "Eligibility", "Status"]);
    if allocs == Allocs::Counted {
        header.push("Running Allocs");
    }
    session.terminal.line(&table(&header, &rows));
    Ok(Exit::Done)
}

fn list_row(node: &Value, verbose: bool) -> Vec<String> {
    let ids = Ids::of(verbose);
    let mut row = vec![ids.show(node.text("ID")), pool(node)];
    row.extend(["Datacenter", "Name", "NodeClass"].map(|key| node.text(key).to_owned()));
    if verbose {
        row.extend(["Address", "Version"].map(|key| node.text(key).to_owned()));
    }
    row.push(node.flag("Drain").to_string());
    row.extend(["SchedulingEligibility", "Status"].map(|key| node.text(key).to_owned()));
    row
}

fn pool(node: &Value) -> String {
    let pool = node.text("NodePool");
    if pool.is_empty() { "default" } else { pool }.to_owned()
}

fn eligibility(args: &EligibilityArgs, session: &mut Session) -> Ended {
    let typed = match &args.node {
        Some(typed) => typed.clone(),
        None if args.own => own_id(session)?,
        None => return Err(Failure::new("Name a node, or say -self for the one of this agent")),
    };
    let node = session.find_node(&typed)?;
    let id = node.text("ID");
    let word = if args.enable { "eligible" } else { "ineligible" };
    let body = json!({ "NodeID": id, "Eligibility": word });
    session
        .client
        .put(&format!("/v1/node/{id}/eligibility"), &[], &body)
        .map_err(error("updating scheduling eligibility"))?;
    let line = format!("Node \"{id}\" scheduling eligibility set: {word} for scheduling");
    session.terminal.line(&line);
    Ok(Exit::Done)
}
