//! `drover replay DIR why ID`: of an alloc, an eval or a node.
use drover_core::types::Index;
use drover_shell::api::time::rfc3339;
use drover_sim::replay::history::At;
use drover_sim::replay::why::{Cause, Link, PREFIX_CHARS_MIN, Unknown, why};
use serde_json::json;

use super::files::Files;
use super::{GUARD, ReplayArgs, WhyArgs};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::table::table;
use crate::terminal::Terminal;

pub(super) fn run(files: &Files, args: &ReplayArgs, asked: &WhyArgs, terminal: Terminal) -> Ended {
    let typed = &asked.id;
    if typed.chars().count() < PREFIX_CHARS_MIN {
        return Err(Failure::new("Identifier must contain at least two characters."));
    }
    let until = args.at.within(files, terminal)?;
    let found = why(files, GUARD, until, typed).map_err(|unknown| match unknown {
        Unknown::Fault(fault) => Failure::new(fault.to_string()),
        Unknown::None => Failure::new(format!(
            "No allocation(s), evaluation(s) or node(s) with prefix or id \"{typed}\" found in this log. It \
             may have come after it ends, or this agent is only a client: replay a server's log"
        )),
        Unknown::Several(found) => {
            let rows: Vec<_> = found
                .into_iter()
                .map(|found| vec![found.kind.word().to_owned(), found.id, found.name])
                .collect();
            let shown = table(&["Kind", "ID", "Name"], &rows);
            Failure::new(format!("Prefix matched several things\n\n{shown}"))
        }
    })?;
    if args.json {
        let links: Vec<_> = found.links.iter().map(shown).collect();
        let subject = &found.subject;
        let whole = json!({
            "Kind": subject.kind.word(), "ID": subject.id, "Name": subject.name, "Links": links
        });
        terminal.line(&format!("{whole:#}"));
        return Ok(Exit::Done);
    }
    let subject = &found.subject;
    terminal.line(&format!("{} {}  {}\n", subject.kind.word(), subject.name, subject.id));
    let mut told = None;
    for link in &found.links {
        // Several entries may be because of one input.
        if let Some(cause) = link.cause.as_ref().filter(|cause| told != Some(cause.at.input)) {
            terminal.line(&line_of(Some(cause.at), None, &cause.what));
        }
        told = link
            .at
            .map(|at| at.input)
            .into_iter()
            .chain(link.cause.as_ref().map(|cause| cause.at.input))
            .next_back();
        terminal.line(&line_of(link.at, link.index, &link.what));
    }
    Ok(Exit::Done)
}

fn line_of(at: Option<At>, index: Option<Index>, what: &str) -> String {
    let input = at.map(|at| format!("input {}", at.input)).unwrap_or_default();
    let at = at.map(|at| rfc3339(at.wall)).unwrap_or_default();
    let index = index.map(|index| format!("index {}", index.0)).unwrap_or_default();
    format!("{at:<24}  {input:<13}  {index:<12}  {what}")
}

fn shown(link: &Link) -> serde_json::Value {
    json!({
        "Time": link.at.map(|at| rfc3339(at.wall)),
        "Input": link.at.map(|at| at.input),
        "Index": link.index.map(|index| index.0),
        "What": link.what,
        "Cause": link.cause.as_ref().map(cause_shown),
    })
}

fn cause_shown(cause: &Cause) -> serde_json::Value {
    json!({ "Time": rfc3339(cause.at.wall), "Input": cause.at.input, "What": cause.what })
}
