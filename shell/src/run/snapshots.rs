//! Snapshots as the loop uses them: parts read for other servers, and parts that come from them.
//!
//! Invariants
//! - nothing here makes the loop wait for more than one part of a snapshot to be written.
use std::sync::Arc;

use drover_core::agent::Event;
use drover_core::raft::{Chunk, SnapshotMark};
use drover_core::types::{Index, ServerId};

use super::{Core, Inbox, Received};
use crate::storage::{Incoming, SnapshotName, Snapshots};

/// Where snapshots are. What comes of `read` and `load` is told to the loop later.
pub trait SnapshotStore: Send {
    /// Read a part for another server: `ChunkRead` or `ChunkMissing` follows.
    fn read(&mut self, to: ServerId, snapshot: Index, offset: u64, bytes_max: u64);
    /// Keep a part of a snapshot that is being received; offset zero begins a new one.
    fn store(&mut self, mark: &SnapshotMark, offset: u64, bytes: &[u8]);
    /// All parts were stored: make it safe, check and read it. `Inbox::Snapshot` follows.
    fn load(&mut self, mark: SnapshotMark);
}

/// Reads files on threads of their own. Lives on a tokio runtime.
pub struct Background {
    snapshots: Snapshots,
    core: Core,
    incoming: Option<Incoming>,
}

impl Background {
    /// Of the files in `snapshots`; what comes of it is told to `core`.
    #[must_use]
    pub const fn new(snapshots: Snapshots, core: Core) -> Self {
        Self { snapshots, core, incoming: None }
    }
}

impl SnapshotStore for Background {
    fn read(&mut self, to: ServerId, snapshot: Index, offset: u64, bytes_max: u64) {
        let (snapshots, core) = (self.snapshots.clone(), self.core.clone());
        let _in_the_background = tokio::task::spawn_blocking(move || {
            let name = snapshots
                .names()
                .ok()
                .and_then(|names| names.into_iter().find(|name| name.index == snapshot));
            let length = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            let read = name.and_then(|name| snapshots.read_chunk(name, offset, length).ok());
            let event = match read {
                Some(bytes) => {
                    let chunk = Chunk { snapshot, offset, bytes: Arc::from(bytes) };
                    Event::ChunkRead { to, chunk }
                }
                None => Event::ChunkMissing { to, snapshot },
            };
            core.tell_blocking(Inbox::Event(event));
        });
    }

    fn store(&mut self, mark: &SnapshotMark, offset: u64, bytes: &[u8]) {
        if offset == 0 {
            let name = SnapshotName { index: mark.index, digest: mark.digest };
            self.incoming = self.snapshots.receive(name, mark.bytes).ok();
        }
        let stored = self.incoming.as_mut().is_some_and(|i| i.store(offset, bytes).is_ok());
        if !stored {
            self.incoming = None;
        }
    }

    fn load(&mut self, mark: SnapshotMark) {
        let (incoming, core) = (self.incoming.take(), self.core.clone());
        let _in_the_background = tokio::task::spawn_blocking(move || {
            let bytes = incoming.and_then(|incoming| incoming.finish().ok());
            let received = Received::read(mark, bytes.map(Arc::from));
            core.tell_blocking(Inbox::Snapshot(received));
        });
    }
}
