//! A snapshot that came from another server, read beside the loop.
use std::sync::Arc;

use drover_core::agent::snapshot::Loaded;
use drover_core::raft::SnapshotMark;
use drover_core::state::State;

/// What came of a snapshot from another server.
#[derive(Debug)]
pub enum Received {
    Whole {
        mark: SnapshotMark,
        snapshot: Loaded,
        /// Another of the same state, for the shadow.
        twin: Box<State>,
    },
    /// It is not what its name says.
    Damaged(SnapshotMark),
    /// Another version wrote it.
    Foreign(String),
}

impl Received {
    /// Reads it: for a thread that may take its time. Without `bytes` it was not what its name says.
    #[must_use]
    pub fn read(mark: SnapshotMark, bytes: Option<Arc<[u8]>>) -> Self {
        let Some(bytes) = bytes else { return Self::Damaged(mark) };
        match Loaded::read(bytes) {
            Ok(snapshot) => {
                let twin = Box::new(snapshot.state().clone());
                Self::Whole { mark, snapshot, twin }
            }
            Err(why) => Self::Foreign(format!(
                "the snapshot at index {} from another server cannot be read ({why}): is this \
                 version older than theirs? Upgrade it",
                mark.index.0
            )),
        }
    }
}
