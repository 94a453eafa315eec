//! `drover job run`: submit a job, and watch what becomes of it.
//!
//! Invariants
//! - the job is submitted at most once;
//! - exit 2 says that it was accepted, but that not everything has a place.
use clap::Args;
use drover_shell::api::job::Job;

use super::files::{self, FileArgs};
use super::launch;
use crate::api::Fields as _;
use crate::client::escaped;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, Refusal, error};
use crate::monitor::monitor;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    file: FileArgs,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, value_name = "INDEX", help = "Only if the job's modify index is this (0: is new)")]
    check_index: Option<u64>,
    #[arg(long, help = "Print the job as JSON instead of submitting it")]
    output: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

pub(crate) fn run(args: &RunArgs, session: &mut Session) -> Ended {
    let job = args.file.read(session)?;
    let mut body = files::body(&job)?;
    if args.output {
        return session.print_json(&body);
    }
    if let Some(index) = args.check_index {
        body["EnforceIndex"] = true.into();
        body["JobModifyIndex"] = index.into();
    }
    let answer = session.client.put("/v1/jobs", &[], &body).map_err(refused)?;
    files::warn(session, &answer);
    let eval = answer.text("EvalID");
    if eval.is_empty() || args.detach {
        session.terminal.line("Job registration successful");
        if !eval.is_empty() {
            session.terminal.line(&format!("Evaluation ID: {eval}"));
        }
        say_next_launch(&job.written, session);
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}

/// An index that does not fit is no mishap: the servers' words, and what to do about it.
fn refused(refusal: Refusal) -> Failure {
    if let Refusal::Status { text, .. } = &refusal
        && text.contains("Enforcing job modify index")
    {
        return Failure::new(format!(
            "{text}\nJob not updated; plan it again to see what changed."
        ));
    }
    error("submitting job")(refusal)
}

/// When a periodic job is first due: it was accepted, so nothing fails here.
fn say_next_launch(job: &Job, session: &mut Session) {
    let (Some(id), Some(_)) = (&job.id, &job.periodic) else { return };
    let namespace = job.namespace.clone();
    let namespace = namespace.or_else(|| session.client.target.namespace.clone());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let path = format!("/v1/job/{}", escaped(id));
    if let Ok(job) = session.client.get(&path, &[("namespace", &namespace)])
        && let Some(next) = launch::next_launch(&job)
    {
        session.terminal.line(&format!("Approximate next launch time: {next}"));
    }
}
