//! `drover replay`: the recorded inputs of an agent, stepped again.
//!
//! Invariants
//! - nothing is written: neither to the log, nor to the agent that recorded it, nor to its cluster.
use std::panic;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_core::agent::Guard;
use drover_sim::replay::checks;

use self::files::Files;
use self::when::When;
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

mod bisect;
pub(crate) mod files;
mod ladder;
mod past;
mod state;
mod verify;
mod when;
mod why;

const HELP: &str = "\
WHEN is one of
  2026-11-01T12:00:00Z   the last input before this moment (or with an offset, +02:00)
  +90s, -5m, -1h30m      so long after the first input, or before the last
  index:4711, 4711       the input that applies this entry of the replicated log
  input:4711             this input, counted from the first that is recorded
  end                    the last input

Examples
  drover replay /var/lib/drover                                    what is recorded, and the cluster at its end
  drover replay /var/lib/drover --verify                           whether it leads to what was recorded
  drover replay /var/lib/drover --at 2026-11-01T12:00:00Z -- job status web
  drover replay /var/lib/drover --from -5m --ladder                the last five minutes, line by line
  drover replay /var/lib/drover why 3f2a                           why that alloc, eval or node is what it is
  drover replay /var/lib/drover bisect --checker invariants

Exit codes
  0  done; all digests agree; the property holds
  1  an error: the log cannot be read, or the command failed
  2  a digest differs, or a property does not hold";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct ReplayArgs {
    #[arg(value_name = "DIR", help = "A data directory, its folder `inputs`, or one file of it")]
    pub(crate) dir: PathBuf,
    #[arg(long, visible_alias = "until", value_name = "WHEN", default_value = "end")]
    #[arg(allow_hyphen_values = true, value_parser = When::parse)]
    #[arg(help = "Step no further; commands are answered as of then")]
    pub(crate) at: When,
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = When::parse)]
    #[arg(requires = "ladder", help = "The ladder begins behind this")]
    pub(crate) from: Option<When>,
    #[arg(long, help = "Compare every digest, and the start of every segment")]
    pub(crate) verify: bool,
    #[arg(long, help = "Print what happened, line by line")]
    pub(crate) ladder: bool,
    #[arg(long, requires = "ladder", help = "Every input, also where nothing came of it")]
    pub(crate) everything: bool,
    #[arg(long, help = "Print JSON")]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) question: Option<Question>,
    #[arg(
        last = true,
        value_name = "COMMAND",
        help = "A command of drover that reads, as in -- job status web"
    )]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// What can be asked of a recorded log.
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    #[command(about = "The cluster at that moment")]
    State,
    #[command(about = "Why an alloc is where and what it is, an eval is there, or a node is down")]
    Why(WhyArgs),
    #[command(about = "The first input after which a property does not hold")]
    Bisect(BisectArgs),
}

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    #[arg(value_name = "ID")]
    #[arg(help = "An alloc, an eval or a node: the beginning of its id, or the node's name")]
    pub(crate) id: String,
}

#[derive(Args, Debug)]
pub(crate) struct BisectArgs {
    #[arg(
        long,
        value_name = "NAME",
        help = "The property; help lists them",
        default_value = "help"
    )]
    pub(crate) checker: String,
    #[arg(long, value_name = "N", help = "Inputs between two looks", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(default_value_t = drover_sim::replay::bisect::INPUTS_PER_LOOK)]
    pub(crate) every: u64,
}

pub(crate) fn run(args: &ReplayArgs, terminal: Terminal) -> Ended {
    if let Some(Question::Bisect(asked)) = &args.question
        && asked.checker == "help"
    {
        for known in checks::ALL {
            terminal.line(&format!("{:<26}{}", known.name, known.statement));
        }
        return Ok(Exit::Done);
    }
    let goes_to_the_end = args.verify || matches!(args.question, Some(Question::Bisect(_)));
    if goes_to_the_end && args.at != When::End {
        return Err(Failure::new("--verify and bisect look at the whole log: leave --at out"));
    }
    let files = Files::find(&args.dir)?;
    if args.verify {
        return quietly(|| verify::run(&files, args, terminal));
    }
    if !args.command.is_empty() {
        if args.question.is_some() {
            return Err(Failure::new(
                "ask one thing at a time: a question, or a command behind --",
            ));
        }
        return past::run(&files, args, terminal);
    }
    if args.ladder {
        return quietly(|| ladder::run(&files, args, terminal));
    }
    quietly(|| match &args.question {
        None => state::run(&files, args, state::Log::Shown, terminal),
        Some(Question::State) => state::run(&files, args, state::Log::Left, terminal),
        Some(Question::Why(asked)) => why::run(&files, args, asked, terminal),
        Some(Question::Bisect(asked)) => bisect::run(&files, args, asked, terminal),
    })
}

/// A panic of a replayed agent is a result, told by whoever stepped it.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let done = work();
    panic::set_hook(loud);
    done
}

/// As the recorded agent scheduled.
pub(crate) const GUARD: Guard = Guard(drover_shell::start::guard);
