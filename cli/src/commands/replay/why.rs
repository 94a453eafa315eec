//! `drover replay DIR why ALLOC`.
use drover_shell::api::time::rfc3339;
use drover_sim::replay::why::{Link, PREFIX_CHARS_MIN, Unknown, why};
use serde_json::json;

use super::files::Files;
use super::{GUARD, ReplayArgs, WhyArgs};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::table::table;
use crate::terminal::Terminal;

pub(super) fn run(files: &Files, args: &ReplayArgs, asked: &WhyArgs, terminal: Terminal) -> Ended {
    let typed = &asked.alloc;
    if typed.chars().count() < PREFIX_CHARS_MIN {
        return Err(Failure::new("Identifier must contain at least two characters."));
    }
    let until = args.at.within(files, terminal)?;
    let found = why(files, GUARD, until, typed).map_err(|unknown| match unknown {
        Unknown::Fault(fault) => Failure::new(fault.to_string()),
        Unknown::None => Failure::new(format!(
            "No allocation(s) with prefix or id \"{typed}\" found in this log. It may have been placed \
             after it ends, or this agent is only a client: replay a server's log"
        )),
        Unknown::Several(found) => {
            let rows: Vec<_> = found.into_iter().map(|(id, name)| vec![id, name]).collect();
            let shown = table(&["ID", "Name"], &rows);
            Failure::new(format!("Prefix matched multiple allocations\n\n{shown}"))
        }
    })?;
    if args.json {
        let links: Vec<_> = found.links.iter().map(shown).collect();
        let whole = json!({ "ID": found.alloc, "Name": found.name, "Links": links });
        terminal.line(&format!("{whole:#}"));
        return Ok(Exit::Done);
    }
    terminal.line(&format!("{}  {}\n", found.name, found.alloc));
    for link in &found.links {
        terminal.line(&line(link));
    }
    Ok(Exit::Done)
}

fn line(link: &Link) -> String {
    let at = link.at.map(|at| rfc3339(at.wall)).unwrap_or_default();
    let input = link.at.map(|at| format!("input {}", at.input)).unwrap_or_default();
    let index = link.index.map(|index| format!("index {}", index.0)).unwrap_or_default();
    format!("{at:<24}  {input:<13}  {index:<12}  {}", link.what)
}

fn shown(link: &Link) -> serde_json::Value {
    json!({
        "Time": link.at.map(|at| rfc3339(at.wall)),
        "Input": link.at.map(|at| at.input),
        "Index": link.index.map(|index| index.0),
        "What": link.what,
    })
}
