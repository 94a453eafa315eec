//! What an agent wants done. Effects may run in any order or at once across kinds: whatever must wait
//! for something is not emitted until it may go.
//!
//! Invariants
//! - operations of one disk are ordered by their `op`; operations on one task by their position.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::api::{Rejection, Response};
use crate::digest::Digest;
use crate::raft::{Configuration, Frame, Position, SnapshotMark};
use crate::time::MonoTime;
use crate::types::{
    Advert, AllocId, AllocSpec, ClusterId, Index, Plan, RequestId, ServerId, TaskKey, TaskStart,
    Uuid,
};
use crate::wal;
use crate::wire::{Message, PeerId};

/// Something the shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand to the transport. May be lost.
    Send {
        to: PeerId,
        message: Message,
    },
    /// Carry out, then say so with `DiskDone` or `DiskFailed`.
    Disk {
        op: wal::OpId,
        operation: wal::Operation,
    },
    /// Answer an outside caller.
    Reply {
        id: RequestId,
        answer: Result<Response, Rejection>,
    },
    /// Keep a link to this address.
    Dial {
        address: String,
    },
    HangUp {
        peer: PeerId,
    },
    /// The link to this address need not be kept any more.
    Forget {
        address: String,
    },
    StartTask {
        key: TaskKey,
        start: Arc<TaskStart>,
    },
    /// Find the task that an earlier start of this agent left running.
    ReattachTask {
        key: TaskKey,
        uuid: Uuid,
        spec: Arc<AllocSpec>,
    },
    /// Ask the task with this signal to end; `KillTask` follows if it does not.
    StopTask {
        key: TaskKey,
        signal: String,
    },
    SignalTask {
        key: TaskKey,
        signal: String,
    },
    KillTask {
        key: TaskKey,
    },
    /// Its directory may go.
    DestroyAlloc {
        alloc: AllocId,
        uuid: Uuid,
    },
    /// These services of the alloc stand in the catalog, and no others of it.
    /// Say `ChecksChanged`, with `round`, when it changes whether all their checks pass.
    Advertise {
        alloc: AllocId,
        uuid: Uuid,
        round: u32,
        services: Vec<Advert>,
    },
    /// This server belongs to that cluster, for good: write it down, and greet with it.
    Joined {
        cluster: ClusterId,
    },
    /// For the shadow: this frame is committed and was applied here.
    Committed {
        frame: Arc<Frame>,
    },
    /// For the shadow: write a snapshot of the state, which is here; say `SnapshotSaved`.
    Cut {
        position: Position,
        configuration: Configuration,
        digest: Digest,
    },
    /// Read a part of the snapshot at this index; say `ChunkRead` or `ChunkMissing`.
    ReadChunk {
        to: ServerId,
        snapshot: Index,
        offset: u64,
        bytes_max: u64,
    },
    /// Keep a part of a snapshot that is being received; offset zero begins a new one.
    StoreChunk {
        mark: Box<SnapshotMark>,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// The snapshot is whole: make it safe, verify and read it, say `SnapshotLoaded` or
    /// `SnapshotRefused`. No other part comes until then.
    LoadSnapshot {
        mark: Box<SnapshotMark>,
    },
    /// Stop at once: going on could do harm.
    Halt {
        reason: String,
    },
    /// It was asked to go, and may stop now. `unfinished`: what is not as it should be, and why.
    Departed {
        unfinished: Option<String>,
    },
}

/// Where a step puts what it wants done. Owned and emptied by the caller.
#[derive(Debug, Default)]
pub struct Effects {
    pub list: Vec<Effect>,
    /// When to come back even if nothing happens. Set by every step.
    pub wake: Option<Wake>,
    /// What the step has planned, for whoever records decisions. Set by every step.
    pub planned: Option<Box<Plan>>,
}

/// A deadline and whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wake {
    pub at: MonoTime,
    /// For people and traces.
    pub why: &'static str,
}
