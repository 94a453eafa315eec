//! `drover operator raft recover` and `drover operator snapshot restore -data-dir`: servers made anew, while no
//! agent runs.
//!
//! Invariants
//! - what would be done is shown first, and nothing is changed without a yes.
use std::path::{Path, PathBuf};

use clap::Args;
use drover_core::raft::Position;
use drover_core::types::ServerId;
use drover_shell::api::agent::id;
use drover_shell::recover::{self, Anew, Survivor};

use super::snapshot::{open, read};
use crate::commands::Ended;
use crate::failure::{Exit, Failure};
use crate::table::{block, table};
use crate::terminal::Terminal;
use crate::time;

const LOST: &str = "
This is for a cluster that has lost the majority of its servers for good.
  * Entries of the log that only the others had are gone. If several servers survive, look at each of
    them and recover the one with the highest term and, in that term, the highest last index.
  * The servers that are left out must not start again with their data: what they do then is lost, too.
    Move their data directories away first. Started empty, without bootstrap_expect, they join this one.
";

const BACK: &str = "
All that happened in the cluster after the snapshot is gone. Servers that still have data of that
cluster must not start with it again: move their data directories away first. Started empty, without
bootstrap_expect, they join this one. Clients keep their data: what they run and the snapshot does not
know is stopped.
";

#[derive(Args, Debug)]
pub(crate) struct RecoverArgs {
    #[arg(long, value_name = "PATH", help = "The data directory of the server that survives")]
    data_dir: PathBuf,
    #[arg(long, short = 'y', help = "Do not ask")]
    yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    #[arg(value_name = "FILE", help = "What snapshot save has saved")]
    pub(super) file: PathBuf,
    #[arg(
        long,
        value_name = "PATH",
        help = "Make a first server in this empty data directory; needs no agent"
    )]
    pub(super) data_dir: Option<PathBuf>,
    #[arg(long, short = 'y', requires = "data_dir", help = "Do not ask")]
    yes: bool,
}

pub(crate) fn recover(args: &RecoverArgs, terminal: Terminal) -> Ended {
    let survivor = Survivor::look(&args.data_dir).map_err(|why| failed("recovering", &why))?;
    show(&survivor, args, terminal);
    if survivor.is_alone() {
        return Err(failed("recovering", &recover::Failure::Alone));
    }
    terminal.complain(LOST);
    if !agreed(args.yes, "Make this server the only voter?", terminal)? {
        terminal.complain("Nothing was changed.");
        return Ok(Exit::Done);
    }
    let anew = survivor.go_alone().map_err(|why| failed("recovering", &why))?;
    say_next(&anew, terminal);
    Ok(Exit::Done)
}

fn show(survivor: &Survivor, args: &RecoverArgs, terminal: Terminal) {
    let state = &survivor.state;
    let newest_ns = i64::try_from(state.clock().unix_ms).unwrap_or(0).saturating_mul(1_000_000);
    let snapshot = survivor.snapshot_index.map(|index| index.0.to_string());
    terminal.line(&block(&[
        ("Data Directory", args.data_dir.display().to_string()),
        ("Server", id(survivor.server)),
        ("Cluster", format!("{:032x}", state.cluster().0)),
        ("Term", survivor.term.0.to_string()),
        ("Last Index", survivor.last.index.0.to_string()),
        ("Last Term", survivor.last.term.0.to_string()),
        ("Snapshot Index", snapshot.unwrap_or_default()),
        ("Newest Entry", time::stamp(newest_ns)),
        ("Jobs", state.jobs().count().to_string()),
        ("Nodes", state.nodes().count().to_string()),
        ("Allocations", state.allocs().count().to_string()),
    ]));
    let configuration = &survivor.configuration;
    let row = |server: ServerId| {
        let votes = if configuration.is_voter(server) {
            "voter"
        } else if configuration.is_member(server) {
            "learner"
        } else {
            "none"
        };
        let fate = if server == survivor.server { "the only voter" } else { "left out" };
        vec![id(server), votes.to_owned(), fate.to_owned()]
    };
    let all = survivor.others().into_iter().chain([survivor.server]);
    let rows: Vec<_> = all.map(row).collect();
    terminal.section("Servers", &table(&["ID", "Now", "Then"], &rows));
    if !configuration.is_voter(survivor.server) {
        terminal.complain("\nThis server did not vote: it may lack much that the others had.");
    }
}

/// The saved state becomes the first server of its cluster.
pub(crate) fn restore(args: &RestoreArgs, data_dir: &Path, terminal: Terminal) -> Ended {
    let content = read(&args.file)?;
    let (archive, state) = open(&args.file, &content)?;
    let about = archive.about;
    let taken_ns = i64::try_from(about.taken.unix_ms).unwrap_or(0).saturating_mul(1_000_000);
    terminal.line(&block(&[
        ("Snapshot", args.file.display().to_string()),
        ("Taken", time::stamp(taken_ns)),
        ("Cluster", format!("{:032x}", about.cluster.0)),
        ("Index", about.index.0.to_string()),
        ("Data Directory", data_dir.display().to_string()),
    ]));
    terminal.complain(BACK);
    if !agreed(args.yes, "Make a server of it, the only voter of its cluster?", terminal)? {
        terminal.complain("Nothing was changed.");
        return Ok(Exit::Done);
    }
    let last = Position { term: about.term, index: about.index };
    let anew = recover::restore(data_dir, state, last);
    say_next(&anew.map_err(|why| failed("restoring the snapshot", &why))?, terminal);
    Ok(Exit::Done)
}

/// Whether the operator says yes, here or on the command line.
fn agreed(yes: bool, question: &str, terminal: Terminal) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !Terminal::can_ask() {
        return Err(Failure::new("nobody can be asked here: nothing was changed; add -yes"));
    }
    Ok(terminal.confirm(question))
}

fn say_next(anew: &Anew, terminal: Terminal) {
    terminal.line(&format!(
        "\nServer {} is the only voter of cluster {:032x}, from index {} in term {} on. Start its agent;",
        id(anew.server),
        anew.cluster.0,
        anew.position.index.0,
        anew.position.term.0,
    ));
    terminal.line(
        "then start the other servers, with empty data directories and without bootstrap_expect.",
    );
}

fn failed(what: &str, why: &recover::Failure) -> Failure {
    Failure::new(format!("Error {what}: {why}"))
}
