//! `drover alloc explain`: why an alloc is where it is, by what the scheduler noted then; and where it would
//! go now.
//!
//! Invariants
//! - what was then and what is now are never mixed: each stands under a heading of its own.
use clap::Args;
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::comparison::{self, nodes};
use crate::failure::{Exit, error};
use crate::reasons;
use crate::table::block;
use crate::time;

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &ExplainArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let alloc = session.find_alloc(&args.id)?;
    let path = format!("/v1/allocation/{}/explain", alloc.text("ID"));
    let answer = session.client.get(&path, &[]).map_err(error("explaining allocation"))?;
    if args.format.json {
        return session.print_json(&answer);
    }
    let (terminal, ids) = (session.terminal, Ids::of(args.format.verbose));
    terminal.line(&basics(&answer, ids, args.format.verbose));
    terminal.section("Why There, As Noted Then", &then(&answer));
    let now = answer.at("Now");
    if now.is_object() {
        let (index, version) = (now.int("Index"), now.int("JobVersion"));
        let text =
            format!("If it were placed anew at index {index}, as version {version} of the job:");
        terminal.section("As Of Now", &text);
        comparison::group(terminal, now.at("Group"), ids);
    } else {
        terminal.section("As Of Now", &format!("Not placed: {}", answer.text("NeverNow")));
    }
    let id = ids.show(answer.text("ID"));
    terminal.line(&format!(
        "\nExactly as it was then, from a server's recorded inputs: drover replay DIR why {id}"
    ));
    Ok(Exit::Done)
}

fn basics(answer: &Value, ids: Ids, verbose: bool) -> String {
    let at = answer.int("CreateTime");
    let created = if verbose { time::stamp(at) } else { time::ago(at, time::now_unix_ns()) };
    let (eval, replaced) = (answer.at("Evaluation"), answer.at("Replaced"));
    let mut by = ids.show(answer.text("EvalID"));
    if eval.is_object() {
        let (trigger, status) = (eval.text("TriggeredBy"), eval.text("Status"));
        by.push_str(&format!(", triggered by {trigger}, {status}"));
    } else {
        by.push_str(", which has been collected");
    }
    let node = format!("{} ({})", answer.text("NodeName"), ids.show(answer.text("NodeID")));
    let mut pairs = vec![
        ("ID", answer.text("ID").to_owned()),
        ("Name", answer.text("Name").to_owned()),
        ("Job", format!("{}, version {}", answer.text("JobID"), answer.int("JobVersion"))),
        ("Node", node),
        ("Created", format!("{created}, index {}", answer.int("CreateIndex"))),
        ("Evaluation", by),
        ("Replaced", before(replaced, ids)),
    ];
    let attempts = answer.at("RescheduleTracker").list("Events").len();
    if 0 < attempts {
        pairs.push(("Reschedule Attempts", attempts.to_string()));
    }
    block(&pairs)
}

/// Who was there before, and what became of it.
fn before(replaced: &Value, ids: Ids) -> String {
    let id = ids.show(replaced.text("ID"));
    if !replaced.is_object() {
        return "nothing".to_owned();
    }
    if !replaced.flag("Known") {
        return format!("{id}, which has been collected");
    }
    let (node, status) = (replaced.text("NodeName"), replaced.text("ClientStatus"));
    let version = replaced.int("JobVersion");
    let mut text = format!("{id} of version {version} on {node}, {status}");
    for key in ["ClientDescription", "DesiredDescription"] {
        if !replaced.text(key).is_empty() {
            text.push_str(&format!("; {}", replaced.text(key)));
        }
    }
    text
}

/// What the scheduler kept of its choice.
fn then(answer: &Value) -> String {
    let metrics = answer.at("Metrics");
    let (evaluated, filtered) = (metrics.int("NodesEvaluated"), metrics.int("NodesFiltered"));
    let exhausted = metrics.int("NodesExhausted");
    let node = answer.text("NodeName");
    let compared = (evaluated - filtered - exhausted).max(1);
    let best = if compared == 1 {
        format!("  * {node} was the only one left")
    } else {
        format!("  * {node} was the best of the {compared} that were left")
    };
    let lines = [
        format!("  * {} looked at", nodes(evaluated, "was", "were")),
        format!("  * {} kept out by what is asked of nodes", nodes(filtered, "was", "were")),
        format!("  * {} without room", nodes(exhausted, "was", "were")),
        best,
        String::new(),
        reasons::scores(metrics),
    ];
    lines.join("\n")
}
