//! `drover job plan`: what running a job would change, and whether it would find room.
//!
//! Invariants
//! - nothing is changed on the servers;
//! - exit 0: nothing would be started or stopped; 1: something would; 255: an error.
use clap::Args;
use serde_json::Value;

use super::diff;
use super::files::{self, FileArgs};
use super::launch;
use super::what_if;
use crate::api::{Fields as _, Ids};
use crate::client::escaped;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::reasons;
use crate::table::table;
use crate::terminal::Style;
use crate::time;

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    file: FileArgs,
    #[arg(long, hide = true, help = "The default")]
    diff: bool,
    #[arg(long, overrides_with = "diff", help = "Without the differences (-diff=false)")]
    no_diff: bool,
    #[arg(long, help = "Every field of what is new or goes")]
    verbose: bool,
    #[arg(
        long,
        value_name = "WHAT",
        help = "Suppose that this had happened: drain NODE, lose NODE, lose dc=NAME, lose class=NAME, \
                lose pool=NAME, add N like NODE, remove job JOB; may be repeated"
    )]
    what_if: Vec<String>,
}

pub(crate) fn run(args: &PlanArgs, session: &mut Session) -> Ended {
    let job = args.file.read(session)?;
    let mut body = files::body(&job)?;
    let id = job.written.id.clone().unwrap_or_default();
    if id.is_empty() {
        return Err(Failure::new("Error planning job: the job has no id"));
    }
    let wants_diff = args.diff || !args.no_diff;
    body["Diff"] = wants_diff.into();
    if !args.what_if.is_empty() {
        body["WhatIf"] = args.what_if.clone().into();
    }
    let namespace = job.written.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let path = format!("/v1/job/{}/plan", escaped(&id));
    let answer = session
        .client
        .put(&path, &[("namespace", &namespace)], &body)
        .map_err(error("during plan"))?;
    let terminal = session.terminal;
    if wants_diff && answer.at("Diff").is_object() {
        for line in diff::job(answer.at("Diff"), args.verbose) {
            terminal.line(&line.painted(terminal));
        }
        terminal.line("");
    }
    what_if::show(session, answer.at("WhatIf"), Ids::of(args.verbose));
    terminal.line(&terminal.paint(Style::Heading, "Scheduler dry-run:"));
    dry_run(session, &answer, args.verbose);
    files::warn(session, &answer);
    let index = answer.int("JobModifyIndex");
    let modify = format!("Job Modify Index: {index}");
    terminal.line(&terminal.paint(Style::Heading, &modify));
    if !args.what_if.is_empty() {
        return Ok(if changes(&answer) { Exit::Changes } else { Exit::Done });
    }
    terminal.line(&format!(
        "To run exactly what was planned here, and nothing if somebody changes the job before:\n\n\
         drover job run -check-index {index} {}{}",
        variables(&args.file),
        args.file.file.display(),
    ));
    Ok(if changes(&answer) { Exit::Changes } else { Exit::Done })
}

/// The flags that the same file needs again.
fn variables(file: &FileArgs) -> String {
    let vars = file.vars.iter().map(|var| format!("-var '{}' ", var.replace('\'', r"'\''")));
    let files = file.var_file.iter().map(|path| format!("-var-file '{}' ", path.display()));
    vars.chain(files).collect()
}

fn dry_run(session: &Session, answer: &Value, verbose: bool) {
    let terminal = session.terminal;
    let failed = answer.entries("FailedTGAllocs");
    if failed.is_empty() {
        let text = "- All tasks successfully allocated.";
        terminal.line(&terminal.paint(Style::Added, text));
    } else {
        let text = if reasons::only_wait(&failed) {
            "- Placed when what it waits for has come:"
        } else {
            "- WARNING: Failed to place all allocations."
        };
        terminal.line(&terminal.paint(Style::Warning, text));
        for (group, metrics) in failed {
            terminal.line(&format!("  {}", reasons::headline(group, metrics)));
            for line in reasons::lines(metrics, "    ") {
                terminal.line(&line);
            }
        }
    }
    if let Some(next) = time::parse(answer.text("NextPeriodicLaunch")) {
        let next = launch::moment(next);
        terminal.line(&format!("- If submitted now, next periodic launch would be at {next}."));
    }
    let preempted = answer.at("Annotations").list("PreemptedAllocs");
    if !preempted.is_empty() {
        let ids = Ids::of(verbose);
        let row = |alloc: &Value| {
            let of = |key| alloc.text(key).to_owned();
            vec![ids.show(alloc.text("ID")), of("JobID"), of("TaskGroup"), of("NodeName")]
        };
        let rows: Vec<_> = preempted.iter().map(row).collect();
        terminal.line("- Preemptions: these would be stopped to make room.");
        terminal.line(&table(&["Alloc ID", "Job ID", "Task Group", "Node"], &rows));
    }
    for eval in answer.list("CreatedEvals") {
        let wait = eval.text("WaitUntil");
        if !wait.is_empty() {
            let group = eval.text("TriggeredBy");
            terminal.line(&format!("- Evaluation ({group}) would wait until {wait}."));
        }
    }
    terminal.line("");
}

/// Whether any allocation would be started, stopped or replaced.
fn changes(answer: &Value) -> bool {
    const MOVES: [&str; 5] = ["Place", "Stop", "Migrate", "DestructiveUpdate", "Canary"];
    let updates = answer.at("Annotations").entries("DesiredTGUpdates");
    updates.iter().any(|(_, counts)| MOVES.iter().any(|key| counts.int(key) > 0))
}
