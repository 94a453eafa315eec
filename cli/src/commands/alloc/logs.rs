//! `drover alloc logs`: what a task prints.
use clap::Args;

use super::{frames, the_task};
use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use serde_json::Value;

/// How many lines `-tail` shows.
const TAIL_LINES: usize = 10;
/// How long a line is taken to be when the end of a log is asked for by lines.
const LINE_BYTES: u64 = 1024;

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(value_name = "TASK", help = "The task, where there are several")]
    task: Option<String>,
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task", help = "The same")]
    task_flag: Option<String>,
    #[arg(short = 'f', help = "Go on with what comes")]
    follow: bool,
    #[arg(long, help = "Standard error instead of standard output")]
    stderr: bool,
    #[arg(long, help = "Only the last lines, 10 or -n")]
    tail: bool,
    #[arg(short = 'n', value_name = "LINES", help = "How many lines -tail shows")]
    lines: Option<usize>,
    #[arg(
        short = 'c',
        value_name = "BYTES",
        help = "Only the last bytes",
        conflicts_with = "lines"
    )]
    bytes: Option<u64>,
    #[arg(long, help = "ALLOC is a job: take one of its allocations")]
    job: bool,
}

pub(crate) fn run(args: &LogsArgs, session: &mut Session) -> Ended {
    let alloc = if args.job { of_job(&args.id, session)? } else { session.find_alloc(&args.id)? };
    let named = args.task.as_deref().or(args.task_flag.as_deref());
    let task = the_task(&alloc, named)?;
    let lines = (args.tail || args.lines.is_some()).then(|| args.lines.unwrap_or(TAIL_LINES));
    let (origin, offset) = match (args.bytes, lines) {
        (Some(bytes), _) => ("end", bytes),
        (None, Some(lines)) => ("end", LINE_BYTES.saturating_mul(lines as u64)),
        (None, None) => ("start", 0),
    };
    let path = format!("/v1/client/fs/logs/{}", alloc.text("ID"));
    let follow = if args.follow { "true" } else { "false" };
    let offset = offset.to_string();
    let kind = if args.stderr { "stderr" } else { "stdout" };
    let query = [
        ("follow", follow),
        ("offset", &offset),
        ("origin", origin),
        ("task", &task),
        ("type", kind),
    ];
    let body = session.of_node(&alloc, |client| client.stream(&path, &query));
    let body = body.map_err(error("reading the log"))?;
    let terminal = session.terminal;
    let mut held = Vec::new();
    // Of a log that goes on, only what was there at first can be cut.
    let mut cut = lines;
    let read = frames::each(body, |data| match cut {
        Some(lines) if args.follow => {
            terminal.raw(frames::last_lines(data, lines));
            cut = None;
        }
        Some(_) => held.extend_from_slice(data),
        None => terminal.raw(data),
    });
    if let Some(lines) = cut {
        terminal.raw(frames::last_lines(&held, lines));
    }
    read.map_err(error("reading the log"))?;
    Ok(Exit::Done)
}

/// An allocation of the job: one that runs, if any does, and the newest of those.
fn of_job(typed: &str, session: &mut Session) -> Result<Value, Failure> {
    let job = session.find_job(typed)?;
    let query = [("all", "false"), ("namespace", job.namespace.as_str())];
    let allocs = session.client.get(&job.path("/allocations"), &query);
    let allocs = allocs.map_err(error("querying job allocations"))?;
    let best = allocs
        .items()
        .iter()
        .max_by_key(|alloc| {
            let runs = alloc.text("ClientStatus") == "running";
            (runs, alloc.int("CreateIndex"), alloc.text("ID"))
        })
        .ok_or_else(|| Failure::new(format!("Job \"{}\" has no allocations", job.id)))?;
    session.find_alloc(best.text("ID"))
}
