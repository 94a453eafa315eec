//! A snapshot that came from another server, read beside the loop.
use drover_core::agent::snapshot::Loaded;
use drover_core::raft::SnapshotMark;
use drover_core::state::State;

use crate::storage::Incoming;

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
    /// Reads it: for a thread that may take its time.
    pub(super) fn read(mark: SnapshotMark, incoming: Option<Incoming>) -> Self {
        let Some(bytes) = incoming.and_then(|incoming| incoming.finish().ok()) else {
            return Self::Damaged(mark);
        };
        match Loaded::read(bytes.into()) {
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
