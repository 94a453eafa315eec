//! What can happen to an agent: the input log's vocabulary.
//!
//! Invariants
//! - variants are appended and never changed: logs outlive versions.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::snapshot::Loaded;
use crate::api::Request;
use crate::raft::{Chunk, SnapshotMark};
use crate::time::{MonoTime, WallTime};
use crate::types::{
    AllocId, Incarnation, Index, NodeSpec, RequestId, ServerId, TaskChange, TaskKey, WriteSeq,
};
use crate::wal;
use crate::wire::{Message, PeerId};

/// One record of the input log: all that the core may ever learn, in the order it learns it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Input {
    /// Strictly later than in the input before.
    pub now: MonoTime,
    pub wall: WallTime,
    pub event: Event,
}

/// Everything that can happen to an agent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// Always the first: what the disk gave back.
    Booted(Box<Recovered>),
    /// A whole message arrived, already decoded; the transport vouches for `from`.
    Received {
        from: PeerId,
        message: Message,
    },
    LinkChanged {
        peer: PeerId,
        up: bool,
    },
    /// The disk finished an operation.
    DiskDone {
        op: wal::OpId,
    },
    /// The disk could not do it. Never retried as if it were clean.
    DiskFailed {
        op: wal::OpId,
        fault: wal::Fault,
    },
    /// Someone outside asked; `id` comes back in the reply.
    Requested {
        id: RequestId,
        request: Request,
    },
    /// Nobody waits for this reply any more.
    Abandoned {
        id: RequestId,
    },
    /// A driver says what became of a task.
    TaskChanged {
        key: TaskKey,
        change: TaskChange,
    },
    /// An operator wants something of a task on this node.
    TaskAsked {
        alloc: AllocId,
        task: Option<String>,
        ask: TaskAsk,
    },
    /// What the machine looks like; sent again when it changes.
    Fingerprinted(Arc<NodeSpec>),
    /// The shadow has written the snapshot of a cut.
    SnapshotSaved(SnapshotMark),
    /// A part of a snapshot that was asked for.
    ChunkRead {
        to: ServerId,
        chunk: Chunk,
    },
    /// The snapshot that a part was asked of is not there any more.
    ChunkMissing {
        to: ServerId,
        snapshot: Index,
    },
    /// A received snapshot was verified and is safe: the state in it becomes the state.
    SnapshotLoaded {
        mark: SnapshotMark,
        snapshot: Loaded,
    },
    /// A received snapshot is not what its name says.
    SnapshotRefused {
        mark: SnapshotMark,
    },
    /// The moment asked for in `Wake` has come.
    Woken,
    /// The agent is to go with grace; `Departed` says when it may stop.
    LeaveAsked,
    /// Whether all checks pass of what `Advertise` told of an alloc in this round.
    ChecksChanged {
        alloc: AllocId,
        round: u32,
        pass: bool,
    },
}

/// What an operator may want of a running task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TaskAsk {
    Restart,
    Signal(String),
}

/// What the disk gave back at the start.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Recovered {
    /// Which start this is; counts up in the data directory.
    pub incarnation: Incarnation,
    /// The machine has booted since the last start: whatever ran then is gone.
    pub rebooted: bool,
    /// Records of the write-ahead log, oldest first, and where it ends.
    pub records: Vec<(WriteSeq, wal::Lane, Vec<u8>)>,
    pub tail: wal::Tail,
    /// The newest snapshot that is whole.
    pub snapshot: Option<(SnapshotMark, Arc<[u8]>)>,
}
