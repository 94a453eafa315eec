//! `drover alloc stop`, `restart` and `signal`.
use clap::Args;
use serde_json::json;

use super::the_task;
use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::monitor::monitor;

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

pub(crate) fn stop(args: &StopArgs, session: &mut Session) -> Ended {
    let alloc = session.find_alloc(&args.id)?;
    let path = format!("/v1/allocation/{}/stop", alloc.text("ID"));
    let answer = session.client.put(&path, &[], &json!({}));
    let answer = answer.map_err(error("stopping allocation"))?;
    let eval = answer.text("EvalID");
    if args.detach || eval.is_empty() {
        session.terminal.line(eval);
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}

#[derive(Args, Debug)]
pub(crate) struct RestartArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(value_name = "TASK", help = "Only this task")]
    task: Option<String>,
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task", help = "The same")]
    task_flag: Option<String>,
    #[arg(long, help = "Tasks that have ended, too")]
    all_tasks: bool,
}

pub(crate) fn restart(args: &RestartArgs, session: &mut Session) -> Ended {
    let alloc = session.find_alloc(&args.id)?;
    let named = args.task.as_deref().or(args.task_flag.as_deref());
    let task = match named {
        Some(named) => the_task(&alloc, Some(named))?,
        None => String::new(),
    };
    if args.all_tasks && !task.is_empty() {
        return Err(Failure::new("Say -all-tasks or name a task, not both"));
    }
    let path = format!("/v1/client/allocation/{}/restart", alloc.text("ID"));
    let body = json!({ "TaskName": task, "AllTasks": args.all_tasks });
    session
        .of_node(&alloc, |client| client.put(&path, &[], &body))
        .map_err(error("restarting allocation"))?;
    Ok(Exit::Done)
}

#[derive(Args, Debug)]
pub(crate) struct SignalArgs {
    #[arg(short = 's', value_name = "SIGNAL", default_value = "SIGKILL", help = "The signal")]
    signal: String,
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(value_name = "TASK", help = "Only this task")]
    task: Option<String>,
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task", help = "The same")]
    task_flag: Option<String>,
}

pub(crate) fn signal(args: &SignalArgs, session: &mut Session) -> Ended {
    let alloc = session.find_alloc(&args.id)?;
    let named = args.task.as_deref().or(args.task_flag.as_deref());
    let task = match named {
        Some(named) => the_task(&alloc, Some(named))?,
        None => String::new(),
    };
    let path = format!("/v1/client/allocation/{}/signal", alloc.text("ID"));
    let body = json!({ "Task": task, "Signal": args.signal });
    session
        .of_node(&alloc, |client| client.put(&path, &[], &body))
        .map_err(error("signalling allocation"))?;
    Ok(Exit::Done)
}
