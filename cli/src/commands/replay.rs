//! `drover replay`: a recorded input log, stepped again.
use std::path::{Path, PathBuf};

use clap::Args;
use drover_core::agent::{Agent, Effects, Input};
use drover_shell::recorder::{self, Reader, Record, Start};
use drover_sim::replay;

use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    #[arg(value_name = "FILE", help = "The recorded inputs of an agent, or their folder")]
    pub(crate) file: PathBuf,
    #[arg(long, value_name = "N", help = "Stop after so many records")]
    pub(crate) until: Option<u64>,
    #[arg(long, help = "Print every input")]
    pub(crate) ladder: bool,
}

/// A segment, or the directory of an agent's segments: then its newest.
pub(crate) fn run(args: &ReplayArgs, terminal: Terminal) -> Ended {
    let path = if args.file.is_dir() { newest_in(&args.file)? } else { args.file.clone() };
    let shown = path.display();
    let unreadable =
        |fault: std::io::Error| Failure::new(format!("{shown} cannot be replayed: {fault}"));
    let (mut reader, start) = Reader::open(&path).map_err(unreadable)?;
    let agent = match start {
        Start::Boot { config, seed } => Agent::new(*config, seed),
        Start::Frozen(bytes) => Agent::thaw(&bytes).map_err(|why| {
            Failure::new(format!("{shown} starts with an agent of another version: {why}"))
        })?,
    };
    let records = std::iter::from_fn(|| reader.read_next::<Record>().transpose()).map(|record| {
        record.map(|record| match record {
            Record::Input(input) => replay::Record::Input(input),
            Record::Digest { inputs, digest } => replay::Record::Digest { inputs, digest },
        })
    });
    let until = args.until.unwrap_or(u64::MAX);
    let mut stepped = 0_u64;
    let records = records.take_while(|_| {
        stepped += 1;
        stepped <= until
    });
    let replayed = replay::replay(agent, records, |input, effects, _| {
        if args.ladder {
            terminal.line(&ladder_line(input, effects));
        }
    });
    match replayed {
        Ok(replay::Replayed { agent, inputs, digests }) => {
            terminal.line(&format!("{inputs} inputs stepped, {digests} digests agree"));
            terminal.line(&format!("the agent ends as {}", agent.digest()));
            Ok(Exit::Done)
        }
        Err(fault) => Err(Failure::new(format!("the replay of {shown} has diverged: {fault}"))),
    }
}

fn newest_in(dir: &Path) -> Result<PathBuf, Failure> {
    let segments = recorder::segments(dir);
    let newest = segments.ok().and_then(|mut segments| segments.pop());
    newest.map(|(_, path)| path).ok_or_else(|| {
        Failure::new(format!(
            "{} holds no input log: name a file `*.inputs`, or the folder `inputs` of a data directory",
            dir.display()
        ))
    })
}

/// One input and how much followed from it.
fn ladder_line(input: &Input, effects: &Effects) -> String {
    let mut event = format!("{:?}", input.event);
    if let Some((at, _)) = event.char_indices().nth(160) {
        event.truncate(at);
        event.push('…');
    }
    let ms = input.now.ns / 1_000_000;
    format!("{:>9}.{:03}s  {event}  -> {} effects", ms / 1_000, ms % 1_000, effects.list.len())
}
