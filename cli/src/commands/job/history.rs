//! `drover job history`, `revert`, `deployments`, `promote`: a job's versions and how they took over.
//!
//! Invariants
//! - a job goes back only to a version that is still kept, and only if nobody was faster where that
//!   is asked.
use clap::Args;
use serde_json::{Value, json};

use super::diff;
use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::deployment::{self, Watch};
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::find::FoundJob;
use crate::monitor::monitor;
use crate::table::block;
use crate::time;

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(short = 'p', help = "What changed from each version to the next")]
    diff: bool,
    #[arg(long, value_name = "NUMBER", help = "Only this version")]
    version: Option<i64>,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct RevertArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(value_name = "VERSION", help = "As `drover job history` numbers it")]
    version: u64,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DeploymentsArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(long, help = "Only the newest")]
    latest: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(long = "group", value_name = "GROUP", help = "Only this group; may be repeated")]
    groups: Vec<String>,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

fn ask(session: &mut Session, found: &FoundJob, rest: &str) -> Result<Value, Failure> {
    let query = [("namespace", found.namespace.as_str()), ("diffs", "true")];
    session.client.get(&found.path(rest), &query).map_err(error("querying job"))
}

pub(crate) fn history(args: &HistoryArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let found = session.find_job(&args.job)?;
    let answer = ask(session, &found, "/versions")?;
    let (versions, diffs) = (answer.list("Versions"), answer.list("Diffs"));
    let is_meant = |job: &&Value| args.version.is_none_or(|wanted| job.int("Version") == wanted);
    let meant: Vec<&Value> = versions.iter().filter(is_meant).collect();
    if meant.is_empty() {
        return Err(Failure::new(format!("Job \"{}\" has no such version", found.id)));
    }
    if args.format.json {
        return session.print_json(&meant.into_iter().cloned().collect());
    }
    for (at, job) in meant.into_iter().enumerate() {
        if 0 < at {
            session.terminal.line("");
        }
        session.terminal.line(&block(&[
            ("Version", job.int("Version").to_string()),
            ("Stable", job.flag("Stable").to_string()),
            ("Submit Date", time::stamp(job.int("SubmitTime"))),
        ]));
        let position = versions.iter().position(|one| one.int("Version") == job.int("Version"));
        let diff = position.and_then(|at| diffs.get(at)).filter(|_| args.diff);
        if let Some(diff) = diff {
            session.terminal.line("Diff        =");
            for line in diff::job(diff, args.format.verbose) {
                session.terminal.line(&line.painted(session.terminal));
            }
        }
    }
    Ok(Exit::Done)
}

pub(crate) fn revert(args: &RevertArgs, session: &mut Session) -> Ended {
    let found = session.find_job(&args.job)?;
    let body = json!({ "JobID": found.id, "JobVersion": args.version });
    let query = [("namespace", found.namespace.as_str())];
    let answer = session.client.put(&found.path("/revert"), &query, &body);
    let answer = answer.map_err(error("reverting job"))?;
    let eval = answer.text("EvalID");
    if args.detach || eval.is_empty() {
        session.terminal.line(&format!("Evaluation ID: {eval}"));
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}

pub(crate) fn deployments(args: &DeploymentsArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let found = session.find_job(&args.job)?;
    let all = ask(session, &found, "/deployments")?;
    let all = if args.latest { all.items().iter().take(1).cloned().collect() } else { all };
    if args.format.json {
        return session.print_json(&all);
    }
    if all.items().is_empty() {
        session.terminal.line("No deployments found");
        return Ok(Exit::Done);
    }
    let shown = deployment::rows(all.items(), Ids::of(args.format.verbose));
    session.terminal.line(&shown);
    Ok(Exit::Done)
}

pub(crate) fn promote(args: &PromoteArgs, session: &mut Session) -> Ended {
    let found = session.find_job(&args.job)?;
    let newest = ask(session, &found, "/deployment")?;
    if !newest.is_object() {
        return Err(Failure::new(format!("Job \"{}\" has no deployment to promote", found.id)));
    }
    let then = Watch { detach: args.detach, verbose: args.verbose };
    deployment::promote(newest.text("ID"), &args.groups, then, session)
}
