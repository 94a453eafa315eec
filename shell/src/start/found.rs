//! What a start finds in the data directory, and what becomes of a server whose share of it is damaged.
//!
//! A damaged server must not go on as the one it was: of a vote it gave or an entry it acknowledged the
//! record may be gone. While others have everything it begins anew beside them: it takes another id,
//! stays in its cluster, sets the damaged files aside, and gets from the leader what it lacks; the leader
//! lets it vote in the place of the server it was.
//!
//! Invariants
//! - the new id is written before anything is moved: no start finds the old id without its log;
//! - nothing is deleted;
//! - an agent that knows of no other server, or that runs tasks, is not repaired: what it has may be all
//!   there is.
use std::sync::Arc;

use drover_core::agent::snapshot;
use drover_core::types::{ClusterId, Index, WriteSeq};
use drover_core::{raft, wal};

use super::Failure;
use crate::config::{Mode, Resolved};
use crate::identity::Identity;
use crate::storage::{self, Damaged, Storage};

/// A whole snapshot, as it was stored.
pub(crate) type Stored = (raft::SnapshotMark, Arc<[u8]>);
pub(crate) type LogRecord = (WriteSeq, wal::Lane, Vec<u8>);

/// The disk, and what is on it.
pub(super) struct Found {
    pub(super) storage: Storage,
    pub(super) recovery: wal::Recovery,
    pub(super) snapshot: Option<Stored>,
    pub(super) identity: Identity,
}

/// Reads the data directory; repairs it where that is sound.
///
/// # Errors
/// What is in the way, and what to do about it.
pub(super) fn open(resolved: &Resolved) -> Result<Found, Failure> {
    loop {
        let failure = match read(resolved) {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        let Some(damaged) = damaged(&failure) else { return Err(failure) };
        let mut identity = Identity::begin(&resolved.data_dir)?;
        if !has_peers(resolved, &identity) {
            return Err(failure);
        }
        identity.become_new_server()?;
        let place = storage::set_aside(&resolved.data_dir, damaged)?;
        let cause = match &failure {
            Failure::Storage(failure) => failure.cause(),
            other => other.to_string(),
        };
        tracing::error!(
            "{cause}. What is damaged was moved to {}. This server begins anew as {:016x} and is given \
             everything by its peers, as soon as a majority of them runs",
            place.display(),
            identity.server().0
        );
    }
}

fn read(resolved: &Resolved) -> Result<Found, Failure> {
    let (storage, recovery) = Storage::open(&resolved.data_dir)?;
    let storage = match resolved.mode {
        Mode::Dev => storage.keeping_nothing(),
        Mode::Production => storage,
    };
    let snapshot = newest_snapshot(&storage.snapshots(), &recovery.records)?;
    let identity = Identity::begin(&resolved.data_dir)?;
    Ok(Found { storage, recovery, snapshot, identity })
}

/// Whether a log says that durable bytes of it have changed: its server may begin anew beside its peers.
#[must_use]
pub fn may_begin_anew(corruption: wal::Corruption) -> bool {
    corruption.why != wal::Damage::UnknownVersion
}

/// What is to be set aside, if the failure says that durable bytes have changed.
fn damaged(failure: &Failure) -> Option<Damaged> {
    match failure {
        Failure::Storage(storage::Failure::Corrupt { corruption, .. }) => {
            may_begin_anew(*corruption).then_some(Damaged::Log)
        }
        Failure::Storage(storage::Failure::SnapshotDamaged { .. }) => {
            Some(Damaged::LogAndSnapshots)
        }
        Failure::Storage(_)
        | Failure::Identity(_)
        | Failure::Transport(_)
        | Failure::Io { .. }
        | Failure::Node(_)
        | Failure::Volume { .. }
        | Failure::Snapshot { .. } => None,
    }
}

/// Whether other servers hold what this one lost, as far as it can know.
fn has_peers(resolved: &Resolved, identity: &Identity) -> bool {
    let Some(server) = &resolved.server else { return false };
    let own = resolved.rpc_advertise.to_string();
    let mut others = server.join.start.iter().chain(&server.join.retry);
    resolved.client.is_none()
        && identity.cluster() != ClusterId::default()
        && others.any(|address| *address != own)
}

/// A damaged snapshot is made up for by an older one, if the log leads from there beyond it.
pub(crate) fn newest_snapshot(
    snapshots: &storage::Snapshots,
    records: &[LogRecord],
) -> Result<Option<Stored>, Failure> {
    let Some(loaded) = snapshots.load_newest()? else { return Ok(None) };
    let index = loaded.name.index;
    for path in loaded.damaged {
        let promised = storage::SnapshotName::of_path(&path).map(|name| name.index);
        if promised.is_some_and(|promised| !log_leads(records, index, promised)) {
            return Err(storage::Failure::SnapshotDamaged { path }.into());
        }
    }
    let unpacked = snapshot::unpack(&loaded.bytes);
    let (mark, _) = unpacked.map_err(|why| Failure::Snapshot { index: index.0, why })?;
    Ok(Some((mark, Arc::from(loaded.bytes))))
}

/// Whether the log in these records holds every entry after `from` and up to `upto`.
fn log_leads(records: &[LogRecord], from: Index, upto: Index) -> bool {
    let mut held: Option<(Index, Index)> = None;
    for (_, _, bytes) in records.iter().filter(|(_, lane, _)| *lane == wal::Lane::Raft) {
        // What does not decode stops the agent when it boots.
        match postcard::from_bytes(bytes) {
            Ok(raft::Record::Frame { truncate_from, frame }) => {
                let is_kept = |first| truncate_from.is_none_or(|from| first < from);
                let kept = held.filter(|&(first, _)| is_kept(first));
                let first = kept.map_or(frame.first, |(first, _)| first);
                held = Some((first, frame.last()));
            }
            Ok(raft::Record::SnapshotInstalled(_)) => held = None,
            Ok(raft::Record::HardState(_)) | Err(_) => (),
        }
    }
    held.is_some_and(|(first, last)| first <= from.next() && upto <= last)
}
