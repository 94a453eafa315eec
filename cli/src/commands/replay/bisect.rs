//! `drover replay DIR bisect --checker NAME`.
use drover_core::time::WallTime;
use drover_shell::api::time::rfc3339;
use drover_sim::replay::bisect::{Outcome, bisect};
use drover_sim::replay::checks::{ALL, Known};
use serde_json::{Value, json};

use super::files::Files;
use super::{BisectArgs, GUARD, ReplayArgs, ladder};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(super) fn run(
    files: &Files,
    args: &ReplayArgs,
    asked: &BisectArgs,
    terminal: Terminal,
) -> Ended {
    let name = &asked.checker;
    let known = Known::named(name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|known| known.name).collect();
        Failure::new(format!("No checker {name:?}: choose among {}", names.join(", ")))
    })?;
    let outcome = bisect(files, GUARD, known.check(), asked.every)
        .map_err(|fault| Failure::new(fault.to_string()))?;
    if args.json {
        terminal.line(&format!("{:#}", shown(name, &outcome)));
    } else {
        terminal.line(&said(name, &outcome));
    }
    Ok(match outcome {
        Outcome::Holds { .. } => Exit::Done,
        Outcome::Fails(_) | Outcome::FailsFromStart { .. } => Exit::Found,
    })
}

fn said(name: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Holds { inputs, looks } => {
            format!("{name} holds: looked at {looks} times in {inputs} inputs")
        }
        Outcome::FailsFromStart { message } => {
            format!("{name} fails before the first recorded input: {message}")
        }
        Outcome::Fails(failing) => {
            let at = rfc3339(WallTime { unix_ms: failing.wall_ms });
            let (input, segment) = (failing.input, &failing.segment);
            let mut text = format!(
                "{name} fails after input {input} ({segment}, {at}): {}\n",
                failing.message
            );
            for rung in &failing.rungs {
                let mark = if rung.number == input { "\n>>> this one" } else { "" };
                text.push_str(&format!("{mark}\n{}", ladder::lines(rung)));
            }
            text
        }
    }
}

fn shown(name: &str, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Holds { inputs, looks } => {
            json!({ "Checker": name, "Holds": true, "Inputs": inputs, "Looks": looks })
        }
        Outcome::FailsFromStart { message } => {
            json!({ "Checker": name, "Holds": false, "Input": 0, "Message": message })
        }
        Outcome::Fails(failing) => json!({
            "Checker": name,
            "Holds": false,
            "Input": failing.input,
            "Segment": failing.segment,
            "Time": rfc3339(WallTime { unix_ms: failing.wall_ms }),
            "Message": failing.message,
            "Ladder": failing.rungs.iter().map(ladder::shown).collect::<Vec<_>>(),
        }),
    }
}
