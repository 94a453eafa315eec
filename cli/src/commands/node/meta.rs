//! `drover node meta`: what is said of a node beside its configuration, while it runs.
use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::own_id;
use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::block;
use crate::terminal::Style;

const PATH: &str = "/v1/client/metadata";

#[derive(Debug, Subcommand)]
pub(crate) enum MetaCommand {
    #[command(about = "Set and unset metadata of a node; it outlives the agent")]
    Apply(ApplyArgs),
    #[command(about = "Show the metadata of a node, and who says it")]
    Read(ReadArgs),
}

#[derive(Args, Debug)]
pub(crate) struct OfNode {
    #[arg(
        long,
        value_name = "NODE",
        help = "The node, or the beginning of its id [default: the node of the agent that is asked]"
    )]
    node_id: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    of: OfNode,
    #[arg(
        long,
        value_name = "KEY,...",
        value_delimiter = ',',
        help = "Keys that are not to be there, whatever the configuration says"
    )]
    unset: Vec<String>,
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    of: OfNode,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: &MetaCommand, session: &mut Session) -> Ended {
    match command {
        MetaCommand::Apply(args) => apply(args, session),
        MetaCommand::Read(args) => read(args, session),
    }
}

fn apply(args: &ApplyArgs, session: &mut Session) -> Ended {
    let changes = changes(args)?;
    let id = node(args.of.node_id.as_deref(), session)?;
    let body = json!({ "NodeID": id, "Meta": changes });
    session
        .client
        .put(PATH, &[("node_id", &id)], &body)
        .map_err(error("applying dynamic node metadata"))?;
    session.terminal.line(&format!("Metadata of node \"{id}\" updated"));
    Ok(Exit::Done)
}

fn changes(args: &ApplyArgs) -> Result<BTreeMap<&str, Option<&str>>, Failure> {
    let mut changes = BTreeMap::new();
    for pair in &args.pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(format!("\"{pair}\" has no =: write key=value, or -unset {pair}"))
        })?;
        if changes.insert(key, Some(value)).is_some() {
            return Err(Failure::new(format!("\"{key}\" is there twice: which value is meant?")));
        }
    }
    for key in args.unset.iter().filter(|key| !key.is_empty()) {
        if changes.insert(key, None).is_some_and(|value| value.is_some()) {
            return Err(Failure::new(format!("\"{key}\" is to be set and to be unset")));
        }
    }
    if changes.is_empty() {
        return Err(Failure::new("Say what to change: key=value, or -unset key"));
    }
    Ok(changes)
}

fn read(args: &ReadArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let id = node(args.of.node_id.as_deref(), session)?;
    let told = session.client.get(PATH, &[("node_id", &id)]);
    let told = told.map_err(error("reading dynamic node metadata"))?;
    if args.format.json {
        return session.print_json(&told);
    }
    session.terminal.line(&session.terminal.paint(Style::Heading, "All Meta"));
    session.terminal.line(&shown(&told, "Meta"));
    session.terminal.section("Dynamic Meta", &shown(&told, "Dynamic"));
    session.terminal.section("Static Meta", &shown(&told, "Static"));
    Ok(Exit::Done)
}

fn shown(told: &Value, key: &str) -> String {
    let pairs = told.entries(key).into_iter();
    let pairs = pairs.map(|(name, value)| (name, value.as_str().unwrap_or("<unset>").to_owned()));
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() { "<none>".to_owned() } else { block(&pairs) }
}

fn node(typed: Option<&str>, session: &mut Session) -> Result<String, Failure> {
    match typed {
        Some(typed) => Ok(session.find_node(typed)?.text("ID").to_owned()),
        None => own_id(session),
    }
}
