//! `drover rehearse`: what this version of the program would have decided otherwise, had it been running
//! when another one recorded.
use std::path::PathBuf;

use clap::Args;
use drover_core::time::WallTime;
use drover_shell::api::time::rfc3339;
use drover_sim::replay::rehearse::{Difference, Kind, Rehearsed, rehearse};
use serde_json::{Value, json};

use super::replay::files::Files;
use super::replay::{GUARD, quietly};
use crate::commands::{Ended, Exit};
use crate::terminal::Terminal;

const HELP: &str = "\
Run the new program on the data directory (or a copy of its folder `inputs`) of an agent that ran the
old one. Every step is compared with what was recorded of it:
  plans     whole: which alloc goes to which node, which is stopped. Where they differ, the recorded one
            is followed, so every later eval is scheduled on the state that it met then
  all else  by a sum of each step, which says where something differs (a vote, a message, a task), and
            by the digest of the agent. What follows such a difference may be its consequence, until the
            next segment of the log brings the agent back
Plans are in the log of the server that led: rehearse every server's log.

Exit codes
  0  nothing would have been decided otherwise
  1  an error: the log cannot be read
  2  something would, or something could not be compared";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct RehearseArgs {
    #[arg(value_name = "DIR", help = "A data directory, its folder `inputs`, or one file of it")]
    pub(crate) dir: PathBuf,
    #[arg(long, value_name = "N", default_value_t = 20, help = "Print so many of each kind")]
    pub(crate) most: u64,
    #[arg(long, help = "Print JSON")]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &RehearseArgs, terminal: Terminal) -> Ended {
    let files = Files::find(&args.dir)?;
    let (mut told, mut counts) = (Vec::new(), std::collections::BTreeMap::<Kind, u64>::new());
    let rehearsed = quietly(|| {
        rehearse(&files, GUARD, |difference| {
            let count = counts.entry(difference.kind).or_default();
            *count += 1;
            if *count <= args.most {
                if args.json {
                    told.push(shown(difference));
                } else {
                    terminal.line(&said(difference));
                }
            }
        })
    });
    let is_same = rehearsed.is_same() && rehearsed.skipped.is_empty();
    if args.json {
        terminal.line(&format!("{:#}", summary(&rehearsed, &told)));
    } else {
        terminal.line(&summed_up(&rehearsed));
    }
    Ok(if is_same { Exit::Done } else { Exit::Found })
}

fn said(difference: &Difference) -> String {
    let at = rfc3339(WallTime { unix_ms: difference.wall_ms });
    let (input, word) = (difference.input, difference.kind.word());
    let lines: Vec<String> = difference.what.iter().map(|line| format!("\n    {line}")).collect();
    format!("{at}  input {input}  another {word}{}", lines.concat())
}

fn summed_up(rehearsed: &Rehearsed) -> String {
    let Rehearsed { inputs, steps_compared, plans_compared, digests_compared, .. } = rehearsed;
    let mut text = format!(
        "{inputs} inputs rehearsed: {plans_compared} plans, {steps_compared} steps and \
         {digests_compared} digests compared"
    );
    if *steps_compared < *inputs {
        text.push_str(&format!(
            "\n{} steps have no recorded sum: the agent was killed, or it did not record them",
            inputs - steps_compared
        ));
    }
    for skipped in &rehearsed.skipped {
        text.push_str(&format!("\nnot rehearsed: {skipped}"));
    }
    if rehearsed.is_same() {
        text.push_str("\nnothing would have been decided otherwise");
        return text;
    }
    let counts = rehearsed.differences.iter();
    let counts: Vec<String> =
        counts.map(|(kind, count)| format!("{count} × {}", kind.word())).collect();
    text.push_str(&format!("\nwould have been otherwise: {}", counts.join(", ")));
    text
}

fn shown(difference: &Difference) -> Value {
    json!({
        "Input": difference.input,
        "Time": rfc3339(WallTime { unix_ms: difference.wall_ms }),
        "Kind": difference.kind.word(),
        "What": difference.what,
    })
}

fn summary(rehearsed: &Rehearsed, told: &[Value]) -> Value {
    let counts: serde_json::Map<String, Value> = rehearsed
        .differences
        .iter()
        .map(|(kind, &count)| (kind.word().to_owned(), count.into()))
        .collect();
    json!({
        "Inputs": rehearsed.inputs,
        "Plans": rehearsed.plans_compared,
        "Steps": rehearsed.steps_compared,
        "Digests": rehearsed.digests_compared,
        "Differences": counts,
        "Told": told,
        "Skipped": rehearsed.skipped,
    })
}
