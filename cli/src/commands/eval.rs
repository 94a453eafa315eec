//! `drover eval`: what the scheduler was asked, and what came of it.
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};
use crate::monitor::monitor;
use crate::reasons;
use crate::table::{block, table};
use crate::time;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    #[command(about = "Show an evaluation")]
    Status(EvalStatusArgs),
    #[command(about = "List evaluations")]
    List(EvalListArgs),
}

#[derive(Args, Debug)]
pub(crate) struct EvalStatusArgs {
    #[arg(value_name = "EVAL", help = "The evaluation, or the beginning of its id")]
    eval: String,
    #[arg(long, help = "Watch it to its end")]
    monitor: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct EvalListArgs {
    #[arg(long, value_name = "JOB", help = "Only of this job")]
    job: Option<String>,
    #[arg(long, value_name = "STATUS", help = "Only with this status")]
    status: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(command: &EvalCommand, session: &mut Session) -> Ended {
    match command {
        EvalCommand::Status(args) if args.monitor => {
            let eval = session.find_eval(&args.eval)?;
            monitor(session, eval.text("ID"), args.format.verbose)
        }
        EvalCommand::Status(args) => show(&args.eval, &args.format, session),
        EvalCommand::List(args) => list(args, session),
    }
}

/// The evaluation that `typed` begins the id of.
pub(crate) fn show(typed: &str, format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let eval = session.find_eval(typed)?;
    if format.json {
        return session.print_json(&eval);
    }
    let ids = Ids::of(format.verbose);
    session.terminal.line(&basics(&eval, ids, format.verbose));
    let failed = eval.entries("FailedTGAllocs");
    if !failed.is_empty() {
        let mut lines = Vec::new();
        for &(group, metrics) in &failed {
            lines.push(reasons::headline(group, metrics));
            lines.extend(reasons::lines(metrics, "  "));
        }
        let title = if reasons::only_wait(&failed) { "Waiting" } else { "Failed Placements" };
        session.terminal.section(title, &lines.join("\n"));
        let blocked = eval.text("BlockedEval");
        if !blocked.is_empty() {
            let blocked = ids.show(blocked);
            let wait = reasons::awaited(&failed);
            session.terminal.line(&format!("\nEvaluation \"{blocked}\" {wait}"));
        }
    }
    Ok(Exit::Done)
}

fn basics(eval: &Value, ids: Ids, verbose: bool) -> String {
    let now = time::now_unix_ns();
    let when = |key: &str| {
        if verbose { time::stamp(eval.int(key)) } else { time::ago(eval.int(key), now) }
    };
    let description = eval.text("StatusDescription");
    let status = eval.text("Status");
    let mut pairs = vec![
        ("ID", ids.show(eval.text("ID"))),
        ("Create Time", when("CreateTime")),
        ("Modify Time", when("ModifyTime")),
        ("Status", status.to_owned()),
        (
            "Status Description",
            if description.is_empty() { status } else { description }.to_owned(),
        ),
        ("Type", eval.text("Type").to_owned()),
        ("TriggeredBy", eval.text("TriggeredBy").to_owned()),
        ("Job ID", eval.text("JobID").to_owned()),
        ("Namespace", eval.text("Namespace").to_owned()),
        ("Priority", eval.int("Priority").to_string()),
        ("Placement Failures", reasons::placement_failures(eval).to_owned()),
    ];
    if !eval.text("NodeID").is_empty() {
        pairs.push(("Node ID", ids.show(eval.text("NodeID"))));
    }
    if let Some(wait) = time::parse(eval.text("WaitUntil")).filter(|wait| *wait > 0) {
        pairs.push(("Wait Until", time::ago(wait, now)));
    }
    for (name, key) in [
        ("Previous Eval", "PreviousEval"),
        ("Next Eval", "NextEval"),
        ("Blocked Eval", "BlockedEval"),
    ] {
        pairs.push((name, ids.show(eval.text(key))));
    }
    block(&pairs)
}

fn list(args: &EvalListArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let mut query = Vec::new();
    query.extend(args.job.as_deref().map(|job| ("job", job)));
    query.extend(args.status.as_deref().map(|status| ("status", status)));
    let evals = session.client.get("/v1/evaluations", &query);
    let evals = evals.map_err(error("querying evaluations"))?;
    // Servers that do not know the filter send everything.
    let wanted = |eval: &&Value| {
        args.job.as_deref().is_none_or(|job| eval.text("JobID") == job)
            && args.status.as_deref().is_none_or(|status| eval.text("Status") == status)
    };
    let mut found: Vec<_> = evals.items().iter().filter(wanted).collect();
    found.sort_by_key(|eval| (-eval.int("CreateIndex"), eval.text("ID")));
    if args.format.json {
        return session.print_json(&found.into_iter().cloned().collect());
    }
    if found.is_empty() {
        session.terminal.line("No evals found");
        return Ok(Exit::Done);
    }
    let ids = Ids::of(args.format.verbose);
    let row = |eval: &&Value| {
        vec![
            ids.show(eval.text("ID")),
            eval.int("Priority").to_string(),
            eval.text("TriggeredBy").to_owned(),
            eval.text("JobID").to_owned(),
            eval.text("Namespace").to_owned(),
            ids.show(eval.text("NodeID")),
            eval.text("Status").to_owned(),
            reasons::placement_failures(eval).to_owned(),
        ]
    };
    let header = [
        "ID",
        "Priority",
        "Triggered By",
        "Job ID",
        "Namespace",
        "Node ID",
        "Status",
        "Placement Failures",
    ];
    let rows: Vec<_> = found.iter().map(row).collect();
    session.terminal.line(&table(&header, &rows));
    Ok(Exit::Done)
}
