//! Following one attempt to its end, whether this agent started it or an earlier one.
//!
//! Invariants
//! - the end of a shim is seen on its pidfd; what it means is read from its record.
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;

use super::ExitRecord;
use crate::shim::cgroup;
use crate::shim::process::{ProcessId, Stat, kill_all, session_members};
use crate::shim::record::{Record, RunRecord};
use crate::shim::{Refusal, SAID_OK};

/// How long a shim that holds its lock may take until its task runs.
const START_POLLS_MAX: u32 = 1_000;
const START_POLL: Duration = Duration::from_millis(10);
/// How long the leftovers of a lost task may take to die.
const KILL_POLLS_MAX: u32 = 200;
const KILL_POLL: Duration = Duration::from_millis(10);
/// A shim says one line.
const SAID_BYTES_MAX: u64 = 4_096;

/// What the record of an attempt says.
pub(super) enum Found {
    /// It never ran.
    Absent,
    Running(RunRecord, OwnedFd),
    Exited(ExitRecord),
    /// It ran; nobody knows how it ended.
    Lost(String),
}

/// Waits for what a fresh shim says.
pub(super) async fn hear(says: OwnedFd) -> Result<(), Refusal> {
    let mut line = Vec::new();
    let heard = match pipe::Receiver::from_owned_fd(says) {
        Ok(says) => says.take(SAID_BYTES_MAX).read_to_end(&mut line).await.map(drop),
        Err(error) => Err(error),
    };
    match heard {
        Ok(()) if line == SAID_OK.as_bytes() => Ok(()),
        Ok(()) => Err(Refusal::told(&line)),
        Err(error) => Err(Refusal { why: format!("shim: {error}"), recoverable: true }),
    }
}

/// Looks for an attempt by its record; waits while a shim is just starting it.
pub(super) async fn find(record: &Path, boot: &str) -> Found {
    for _ in 0..START_POLLS_MAX {
        match look(record, boot).await {
            Ok(Some(found)) => return found,
            Ok(None) => tokio::time::sleep(START_POLL).await,
            Err(error) => return Found::Lost(format!("{}: {error}", record.display())),
        }
    }
    Found::Lost(format!("{}: the shim does not get on", record.display()))
}

/// `None`: a shim holds the lock and has not started its task yet.
async fn look(path: &Path, boot: &str) -> io::Result<Option<Found>> {
    let Some(record) = Record::read(path)? else { return Ok(Some(Found::Absent)) };
    match record {
        Record { exit: Some(exit), .. } => Ok(Some(Found::Exited(exit))),
        Record { run: Some(run), .. } if run.boot != boot => {
            Ok(Some(Found::Lost("the machine was restarted".into())))
        }
        Record { run: Some(run), .. } => Ok(Some(match run.shim.open() {
            Some(pidfd) => Found::Running(run, pidfd),
            None => conclude(path, &run).await,
        })),
        Record { run: None, exit: None } => {
            let file = File::open(path)?;
            let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // A shim may have come and gone since the record was read: then something is in it.
            let settled = free && file.metadata()?.len() == 0;
            Ok(settled.then_some(Found::Absent))
        }
    }
}

/// Waits for the end of a shim (`None`: it is gone already) and says what became of its task.
pub(super) async fn follow(record: &Path, run: &RunRecord, shim: Option<OwnedFd>) -> Found {
    let Some(shim) = shim else { return conclude(record, run).await };
    match gone(shim).await {
        Ok(()) => conclude(record, run).await,
        Err(error) => Found::Lost(format!("cannot watch the shim: {error}")),
    }
}

async fn gone(shim: OwnedFd) -> io::Result<()> {
    watched(shim)?.readable().await.map(drop)
}

#[expect(unsafe_code, reason = "tokio's registration trusts the descriptor to stay open")]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the registration owns the descriptor, which has one number and is open until dropped.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// The shim is gone: it has left an exit record, or the task is lost and must not go on unwatched.
async fn conclude(record: &Path, run: &RunRecord) -> Found {
    let why = match Record::read(record) {
        Ok(Some(Record { exit: Some(exit), .. })) => return Found::Exited(exit),
        Ok(_) => "the task's shim was killed".into(),
        Err(error) => format!("{}: {error}", record.display()),
    };
    for _ in 0..KILL_POLLS_MAX {
        if kill_leftovers(run) == Leftovers::None {
            break;
        }
        tokio::time::sleep(KILL_POLL).await;
    }
    Found::Lost(why)
}

#[derive(Eq, PartialEq)]
enum Leftovers {
    None,
    Some,
}

/// Kills what a dead shim's task has left: its cgroup, and whoever is still in its session.
fn kill_leftovers(run: &RunRecord) -> Leftovers {
    let group = (!run.cgroup.is_empty()).then(|| Path::new(&run.cgroup));
    if let Some(group) = group {
        cgroup::kill(group).ok();
    }
    let session = run.task.pid;
    // While a session has members its number is not given to another process; so a leader of
    // another birth means that ours is empty and that the members are strangers.
    let strangers = Stat::read(session).is_some_and(|leader| leader.start != run.task.start);
    let members = || if strangers { Vec::new() } else { session_members(session) };
    kill_all(members);
    // A group can be removed once nobody lives in it.
    let emptied = group.is_none_or(|group| !group.exists() || fs::remove_dir(group).is_ok());
    if emptied && members().is_empty() { Leftovers::None } else { Leftovers::Some }
}

/// Sends a signal to exactly this process; false when it is gone.
pub(super) fn send(to: ProcessId, signal: Signal) -> bool {
    to.open().is_some_and(|pidfd| pidfd_send_signal(pidfd, signal).is_ok())
}
