//! `drover job stop`.
//!
//! Invariants
//! - a job whose id was not typed in full is stopped only after a yes.
use clap::Args;

use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::monitor::monitor;
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    #[arg(value_name = "JOB", required = true, help = "Jobs, or the beginnings of their ids")]
    jobs: Vec<String>,
    #[arg(long, help = "Forget it, too: its history is deleted")]
    purge: bool,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, short = 'y', help = "Do not ask")]
    yes: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

pub(crate) fn run(args: &StopArgs, session: &mut Session) -> Ended {
    for job in &args.jobs {
        let exit = stop(job, args, session)?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

fn stop(typed: &str, args: &StopArgs, session: &mut Session) -> Ended {
    let found = session.find_job(typed)?;
    if !found.exact && !args.yes {
        if !Terminal::can_ask() {
            let id = &found.id;
            return Err(Failure::new(format!(
                "\"{typed}\" is only the beginning of job \"{id}\": type it in full, or add -yes"
            )));
        }
        if !session.terminal.confirm(&format!("Stop job \"{}\"?", found.id)) {
            session.terminal.complain("Nothing was stopped.");
            return Ok(Exit::Done);
        }
    }
    let purge = if args.purge { "true" } else { "false" };
    let query = [("namespace", found.namespace.as_str()), ("purge", purge)];
    let answer = session.client.delete(&found.path(""), &query);
    let answer = answer.map_err(error("deregistering job"))?;
    let eval = answer.text("EvalID");
    if eval.is_empty() {
        let said = "It makes no more children; those that it has made go on.";
        session.terminal.line(&format!("Job \"{}\" is stopped. {said}", found.id));
        return Ok(Exit::Done);
    }
    if args.detach {
        session.terminal.line(eval);
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}
