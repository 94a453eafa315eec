//! `drover node drain NODE`: empty a machine, and watch it become empty.
//!
//! Invariants
//! - it ends well only when nothing that had to leave the node runs there any more;
//! - every change is said once.
use std::collections::BTreeMap;

use clap::Args;
use drover_shell::jobspec::duration;
use serde_json::{Value, json};

use super::own_id;
use crate::api::{Fields as _, Ids};
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::terminal::Terminal;
use crate::watch::{Watch, heading, say};

#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    #[arg(value_name = "NODE", help = "The node, or the beginning of its id")]
    node: Option<String>,
    #[arg(long = "self", help = "The node of the agent that is asked")]
    own: bool,
    #[arg(long, help = "Move everything off the node")]
    enable: bool,
    #[arg(long, conflicts_with = "enable", help = "Stop doing so: what has not left stays")]
    disable: bool,
    #[arg(long, value_name = "TIME", help = "What is left by then is stopped [default: 1h]")]
    deadline: Option<String>,
    #[arg(long, conflicts_with_all = ["deadline", "no_deadline"], help = "Stop everything now")]
    force: bool,
    #[arg(long, conflicts_with = "deadline", help = "Wait for as long as it takes")]
    no_deadline: bool,
    #[arg(long, help = "Leave what system jobs run")]
    ignore_system: bool,
    #[arg(long, requires = "disable", help = "New allocations go elsewhere all the same")]
    keep_ineligible: bool,
    #[arg(short = 'm', value_name = "TEXT", help = "Why: kept with the node")]
    message: Option<String>,
    #[arg(
        long = "meta",
        value_name = "KEY=VALUE",
        help = "Kept with the node; may be given again"
    )]
    meta: Vec<String>,
    #[arg(
        long,
        conflicts_with_all = ["enable", "disable"],
        help = "Only watch a drain that goes on"
    )]
    monitor: bool,
    #[arg(long, help = "Do not watch it")]
    detach: bool,
    #[arg(long, short = 'y', help = "Do not ask, though only the beginning of an id is given")]
    yes: bool,
    #[arg(long, help = "Ids in full")]
    verbose: bool,
}

const HOUR_NS: i64 = 3_600_000_000_000;

pub(super) fn drain(args: &DrainArgs, session: &mut Session) -> Ended {
    if !args.enable && !args.disable && !args.monitor {
        return Err(Failure::new("Say -enable, -disable or -monitor"));
    }
    let typed = match &args.node {
        Some(typed) => typed.clone(),
        None if args.own => own_id(session)?,
        None => return Err(Failure::new("Name a node, or say -self for the one of this agent")),
    };
    let spec = args.enable.then(|| spec(args)).transpose()?;
    let meta = meta(args)?;
    let node = session.find_node(&typed)?;
    let (id, ids) = (node.text("ID").to_owned(), Ids::of(args.verbose));
    if args.monitor {
        if !node.flag("Drain") {
            let line = format!("No drain strategy set for node \"{}\"", ids.show(&id));
            session.terminal.line(&line);
            return Ok(Exit::Done);
        }
        return follow(session, &id, ids);
    }
    if typed != id && !args.yes && !is_meant(args, &node, session)? {
        session.terminal.line("Nothing was changed");
        return Ok(Exit::Done);
    }
    let body = json!({
        "NodeID": id, "DrainSpec": spec, "Meta": meta,
        "MarkEligible": args.disable && !args.keep_ineligible,
    });
    let path = format!("/v1/node/{id}/drain");
    session.client.put(&path, &[], &body).map_err(error("updating drain specification"))?;
    let word = if args.enable { "set" } else { "unset" };
    session.terminal.line(&format!("Node \"{id}\" drain strategy {word}"));
    if args.disable || args.detach {
        return Ok(Exit::Done);
    }
    follow(session, &id, ids)
}

fn spec(args: &DrainArgs) -> Result<Value, Failure> {
    let ns = match &args.deadline {
        _ if args.force => -1_000_000_000,
        _ if args.no_deadline => 0,
        None => HOUR_NS,
        Some(text) => duration::parse_ns(text).filter(|&ns| 0 < ns).ok_or_else(|| {
            let why = "is no time above zero: write 90s, 30m or 1h; or say -force or -no-deadline";
            Failure::new(format!("-deadline: \"{text}\" {why}"))
        })?,
    };
    Ok(json!({ "Deadline": ns, "IgnoreSystemJobs": args.ignore_system }))
}

fn meta(args: &DrainArgs) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let mut meta = BTreeMap::new();
    for pair in &args.meta {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(format!("-meta: \"{pair}\" has no =: write -meta key=value"))
        })?;
        meta.insert(key.to_owned(), value.to_owned());
    }
    meta.extend(args.message.clone().map(|message| ("message".to_owned(), message)));
    Ok((!meta.is_empty()).then_some(meta))
}

/// A beginning of an id may be another node's than the one that is meant.
fn is_meant(args: &DrainArgs, node: &Value, session: &Session) -> Result<bool, Failure> {
    if !Terminal::can_ask() {
        let id = node.text("ID");
        let why = "nobody can be asked here whether it is the one: nothing was changed";
        return Err(Failure::new(format!("node \"{id}\": {why}; add -yes, or give its whole id")));
    }
    let (verb, name) = (if args.enable { "Drain" } else { "Stop draining" }, node.text("Name"));
    Ok(session.terminal.confirm(&format!("{verb} node \"{name}\" ({})?", node.text("ID"))))
}

/// Says what leaves until the node is empty, or is not drained any more.
fn follow(session: &mut Session, id: &str, ids: Ids) -> Ended {
    let short = ids.show(id);
    crate::interrupt::say_on_interrupt(format!(
        "\nNot watching any more; the drain goes on. See: drover node drain -monitor {short}"
    ));
    heading(session, &format!("Monitoring the drain of node \"{short}\""));
    let mut watch = Watch::new(format!("/v1/node/{id}/allocations"));
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    loop {
        let allocs = watch.look(session).map_err(error("reading allocations"))?;
        for alloc in allocs.items() {
            say_alloc(session, alloc, &mut said, ids);
        }
        let node = session.client.get(&format!("/v1/node/{id}"), &[]);
        let node = node.map_err(error("reading the node"))?;
        if !node.flag("Drain") {
            // What became of its allocs was said before it was called empty.
            let allocs = session.client.get(&format!("/v1/node/{id}/allocations"), &[]);
            for alloc in allocs.map_err(error("reading allocations"))?.items() {
                say_alloc(session, alloc, &mut said, ids);
            }
            return Ok(finish(session, &node, &short));
        }
    }
}

fn finish(session: &Session, node: &Value, short: &str) -> Exit {
    let status = node.at("LastDrain").text("Status");
    if status == "complete" {
        heading(session, &format!("Drain complete for node \"{short}\""));
        say(session, "Everything that had to leave it has stopped; it stays ineligible");
        return Exit::Done;
    }
    heading(session, &format!("The drain of node \"{short}\" was stopped"));
    Exit::Failed
}

/// What was last said of an alloc.
#[derive(Default)]
struct Said {
    status: String,
    is_marked: bool,
    is_stopping: bool,
}

fn say_alloc(session: &Session, alloc: &Value, said: &mut BTreeMap<String, Said>, ids: Ids) {
    let (id, status) = (alloc.text("ID"), alloc.text("ClientStatus"));
    let is_over = matches!(status, "complete" | "failed" | "lost");
    let is_new = !said.contains_key(id);
    let last = said.entry(id.to_owned()).or_default();
    // What had ended before is no news.
    if is_new && is_over {
        status.clone_into(&mut last.status);
        (last.is_marked, last.is_stopping) = (true, true);
        return;
    }
    let name = format!("Alloc \"{}\" ({})", ids.show(id), alloc.text("Name"));
    if !last.is_marked && alloc.at("DesiredTransition").flag("Migrate") {
        last.is_marked = true;
        say(session, &format!("{name} marked for migration"));
    }
    if !last.is_stopping && alloc.text("DesiredStatus") == "stop" {
        last.is_stopping = true;
        let next = alloc.text("NextAllocation");
        let next = if next.is_empty() {
            String::new()
        } else {
            format!(", \"{}\" takes its place", ids.show(next))
        };
        say(session, &format!("{name} draining{next}"));
    }
    if !last.status.is_empty() && last.status != status {
        say(session, &format!("{name} status {} -> {status}", last.status));
    }
    status.clone_into(&mut last.status);
}
