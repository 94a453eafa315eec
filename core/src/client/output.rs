//! What a client node's side is told to be, and what it says.
//!
//! Invariants
//! - it speaks its own words: no effect, no other machine.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ClientRecord, NodeMessage};
use crate::limits::{CLIENT_ENDED_ALLOCS_MAX, CLIENT_RECORDS_MIN, KILL_TIMEOUT_MS_MAX};
use crate::time::{MonoTime, WallTime};
use crate::types::{
    Advert, AllocId, AllocSpec, NodeId, ServerId, TaskKey, TaskStart, Uuid, WriteSeq,
};

/// Both clocks, as the input brought them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Moment {
    pub now: MonoTime,
    pub wall: WallTime,
}

/// Bounds of a client node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Config {
    pub node: NodeId,
    /// `client.max_kill_timeout`.
    pub kill_timeout_ms_max: u64,
    /// Ended allocs whose files are kept (`client.gc_max_allocs`).
    pub ended_allocs_max: usize,
    /// A log of fewer records is not worth writing anew.
    pub records_min: usize,
}

/// What the rest of the agent must do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    Send {
        to: ServerId,
        message: NodeMessage,
    },
    /// Keep a link to this server, too.
    Dial {
        address: String,
    },
    /// It need not be kept any more.
    Forget {
        address: String,
    },
    /// Write `record`; `seq` counts this machine's own writes from 1 since its start, and comes back
    /// in `on_persisted`.
    Persist {
        seq: WriteSeq,
        record: ClientRecord,
    },
    /// Of this machine's records, those before `before`, and all of earlier starts, may go.
    Compacted {
        before: WriteSeq,
    },
    StartTask {
        key: TaskKey,
        start: TaskStart,
    },
    /// Find the attempt, begun before this agent, and say what became of it.
    Reattach {
        key: TaskKey,
        uuid: Uuid,
        spec: Arc<AllocSpec>,
    },
    /// Ask the task with `signal` to end. If it has not after its kill timeout, `KillTask` follows; an
    /// agent that dies in between finds the task again and begins anew.
    StopTask {
        key: TaskKey,
        signal: String,
    },
    KillTask {
        key: TaskKey,
    },
    /// An operator's signal.
    SignalTask {
        key: TaskKey,
        signal: String,
    },
    /// Its files may go.
    DestroyAlloc {
        alloc: AllocId,
        uuid: Uuid,
    },
    /// These services of the alloc stand in the catalog from now on, and no others.
    /// What comes of their checks is told with `round`.
    Advertise {
        alloc: AllocId,
        uuid: Uuid,
        round: u32,
        services: Vec<Advert>,
    },
}

/// Why an operator's wish about a task cannot be met.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refusal {
    UnknownAlloc,
    UnknownTask,
    NotRunning,
}

/// Whether a server's connection stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Link {
    Up,
    Down,
}

impl Config {
    /// Nomad's bounds.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self {
            node,
            kill_timeout_ms_max: KILL_TIMEOUT_MS_MAX,
            ended_allocs_max: CLIENT_ENDED_ALLOCS_MAX,
            records_min: CLIENT_RECORDS_MIN,
        }
    }
}
