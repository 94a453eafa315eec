//! `drover operator snapshot`: the cluster's state as a file.
//!
//! Invariants
//! - a file appears under its name only when all of it was received and its sums are right;
//! - it is for its owner's eyes: jobs may hold secrets.
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use drover_core::state::State;
use drover_shell::archive::{self, Archive};
use serde_json::json;

use super::recover::{self, RestoreArgs};
use crate::args::{Format, Global};
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::{block, bytes, table};
use crate::terminal::Terminal;
use crate::time;

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    #[command(about = "Save the cluster's state to a file")]
    Save(SaveArgs),
    #[command(about = "Check a saved file and show what is in it; needs no agent")]
    Inspect(InspectArgs),
    #[command(
        about = "Go back to a saved state: the running cluster, or the first server of a lost one"
    )]
    Restore(RestoreArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    #[arg(value_name = "FILE", help = "Where to; an older file is replaced")]
    file: PathBuf,
    #[arg(long, help = "What the asked server has, even if there is no leader")]
    stale: bool,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(command: &SnapshotCommand, global: &Global, terminal: Terminal) -> Ended {
    match command {
        SnapshotCommand::Save(args) => save(args, &mut Session::open(global, terminal)?),
        SnapshotCommand::Inspect(args) => inspect(args, terminal),
        SnapshotCommand::Restore(args) => match &args.data_dir {
            Some(data_dir) => recover::restore(args, data_dir, terminal),
            None => restore(args, &mut Session::open(global, terminal)?),
        },
    }
}

fn save(args: &SaveArgs, session: &mut Session) -> Ended {
    let query: &[(&str, &str)] = if args.stale { &[("stale", "true")] } else { &[] };
    let content = session.client.fetch("/v1/operator/snapshot", query);
    let content = content.map_err(error("saving the snapshot"))?;
    let archive = archive::unpack(&content)
        .map_err(|why| Failure::new(format!("what the server sent is no snapshot: {why}")))?;
    let place = args.file.display();
    write(&args.file, &content).map_err(|why| Failure::new(format!("{place}: {why}")))?;
    let (index, size) = (archive.about.index.0, bytes(content.len() as u64));
    session.terminal.line(&format!("The state at index {index} was saved to {place} ({size})"));
    Ok(Exit::Done)
}

/// The running cluster goes back to the saved state.
fn restore(args: &RestoreArgs, session: &mut Session) -> Ended {
    let content = read(&args.file)?;
    let (archive, state) = open(&args.file, &content)?;
    let (saved_at, jobs, allocs) =
        (archive.about.index.0, state.jobs().count(), state.allocs().count());
    drop(state);
    let reply = session.client.upload("/v1/operator/snapshot", &content);
    let reply = reply.map_err(error("restoring the snapshot"))?;
    session.terminal.line(&format!(
        "The state saved at index {saved_at} ({jobs} jobs, {allocs} allocations) was restored at index {}",
        reply["Index"]
    ));
    Ok(Exit::Done)
}

/// Whole or not at all.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_added_extension("new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

/// The bytes of a saved file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
}

/// A saved file, and the state in it: sums are checked, and every row is read.
pub(super) fn open<'a>(path: &Path, content: &'a [u8]) -> Result<(Archive<'a>, State), Failure> {
    let place = path.display();
    let archive =
        archive::unpack(content).map_err(|why| Failure::new(format!("{place}: {why}")))?;
    let state = State::decode(archive.state).map_err(|why| {
        Failure::new(format!("{place}: the state in it cannot be read by this version: {why:?}"))
    })?;
    Ok((archive, state))
}

fn inspect(args: &InspectArgs, terminal: Terminal) -> Ended {
    args.format.check()?;
    let content = read(&args.file)?;
    let (Archive { about, sha256, .. }, state) = open(&args.file, &content)?;
    let sum: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = state.digest().to_string();
    let taken_ns = i64::try_from(about.taken.unix_ms).unwrap_or(0).saturating_mul(1_000_000);
    let counts = [
        ("Jobs", state.jobs().count()),
        ("Nodes", state.nodes().count()),
        ("Allocations", state.allocs().count()),
        ("Evaluations", state.evals().count()),
    ];
    if args.format.json {
        let text = json!({
            "Version": about.version,
            "Taken": time::stamp(taken_ns),
            "Cluster": format!("{:032x}", about.cluster.0),
            "Index": about.index.0,
            "Term": about.term.0,
            "Voters": about.configuration.voters.len(),
            "Bytes": content.len(),
            "SHA256": sum,
            "Digest": digest,
            "Counts": counts.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        });
        terminal.line(&format!("{text:#}"));
        return Ok(Exit::Done);
    }
    terminal.line(&block(&[
        ("File", args.file.display().to_string()),
        ("Size", bytes(content.len() as u64)),
        ("Checksum", format!("{sum} (matches)")),
        ("Version", about.version),
        ("Taken", time::stamp(taken_ns)),
        ("Cluster", format!("{:032x}", about.cluster.0)),
        ("Voters", about.configuration.voters.len().to_string()),
        ("Term", about.term.0.to_string()),
        ("Index", about.index.0.to_string()),
        ("Digest", digest),
    ]));
    let row = |(name, count): (&str, usize)| vec![name.to_owned(), count.to_string()];
    let rows: Vec<_> = counts.into_iter().map(row).collect();
    terminal.section("Content", &table(&["Table", "Rows"], &rows));
    Ok(Exit::Done)
}
