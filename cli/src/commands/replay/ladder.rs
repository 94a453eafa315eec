//! `drover replay DIR --ladder`.
use drover_core::time::WallTime;
use drover_shell::api::time::rfc3339;
use drover_sim::replay::ladder::{Detail, Rung, rung};
use drover_sim::replay::{Source as _, Tape, Turn, Until};
use serde_json::{Value, json};

use super::files::Files;
use super::{GUARD, ReplayArgs};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(super) fn run(files: &Files, args: &ReplayArgs, terminal: Terminal) -> Ended {
    let until = args.at.within(files, terminal)?;
    let failed = |fault: drover_sim::replay::Fault| Failure::new(fault.to_string());
    let mut tape = match args.from {
        Some(from) => from.within(files, terminal)?.reach(files, GUARD).map_err(failed)?,
        None => Tape::begin(files, GUARD, 0).map_err(failed)?,
    };
    let detail = if args.everything { Detail::Everything } else { Detail::Told };
    while !until.is_reached(&mut tape, files).map_err(failed)? {
        match tape.turn().map_err(failed)? {
            Turn::Stepped(stepped) => {
                let effects = &tape.effects().list;
                let Some(rung) = rung(&stepped, effects, tape.agent(), detail) else { continue };
                if args.json {
                    terminal.line(&shown(&rung).to_string());
                } else {
                    terminal.line(&lines(&rung));
                }
            }
            Turn::Digest { recorded, replayed } if recorded != replayed => {
                return Err(Failure::new(format!(
                    "here the replay diverges: the agent was {recorded} and is {replayed} now"
                )));
            }
            Turn::Begun(_) if !args.json => {
                terminal.line(&format!("{:>26}{} begins", "", files.name(tape.place().0)));
            }
            Turn::Digest { .. } | Turn::Begun(_) => (),
            Turn::Over => break,
        }
    }
    if until == Until::End && !args.json {
        terminal.line(&format!("{} inputs", tape.inputs()));
    }
    Ok(Exit::Done)
}

/// One rung: the input, and indented below it what came of it.
pub(super) fn lines(rung: &Rung) -> String {
    let at = rfc3339(WallTime { unix_ms: rung.wall_ms });
    let mut text = format!("{at:<24} {:>7}  {:<8}  {}", rung.number, rung.from, rung.event);
    for (to, what) in &rung.effects {
        text.push_str(&format!("\n{:>42}  {to:>8}  {what}", "→"));
    }
    text
}

pub(super) fn shown(rung: &Rung) -> Value {
    let effects: Vec<Value> =
        rung.effects.iter().map(|(to, what)| json!({ "To": to, "What": what })).collect();
    json!({
        "Input": rung.number,
        "Time": rfc3339(WallTime { unix_ms: rung.wall_ms }),
        "MonoNs": rung.mono_ns,
        "From": rung.from,
        "Event": rung.event,
        "Effects": effects,
    })
}
