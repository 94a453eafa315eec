//! What servers and clients tell each other about work.
//!
//! Invariants
//! - a client stops an alloc only because a tombstone names it, never because it is absent;
//! - `seq` is a log index: an assignment older than one already heard changes nothing.
use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::alloc::{AllocHealth, ClientStatus, TaskState};
use super::ids::{AllocId, Index, Uuid};
use super::job::{Group, JobKind};
use super::pieces::{CoreSet, Pieces};
use super::resources::{MemoryLimit, PortGrant};

/// What a node must run and what it must stop, as of `seq`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Assignment {
    /// Everything up to this index is in here or was in an earlier one.
    pub seq: Index,
    /// This follows directly on the assignment with this sequence number; `None`: it is the full set.
    pub after: Option<Index>,
    /// Specifications that `runs` point into; allocs of one group share one.
    pub specs: Vec<Arc<AllocSpec>>,
    pub runs: Vec<AssignedAlloc>,
    pub tombstones: Vec<AllocId>,
}

/// One alloc to run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AssignedAlloc {
    pub id: AllocId,
    pub uuid: Uuid,
    pub ordinal: u32,
    /// Position in `Assignment::specs`.
    pub spec: u32,
    pub ports: Vec<PortGrant>,
    /// A deployment watches its health.
    pub is_deployed: bool,
    /// Its version is not promoted yet.
    pub is_canary: bool,
    /// Its tasks may use memory up to their `memory_max`.
    pub may_exceed_memory: bool,
    /// What its tasks have for themselves.
    pub pieces: Option<Box<Pieces>>,
}

/// What a client must know of a job to run one of its groups.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocSpec {
    pub job_id: String,
    pub job_name: String,
    pub namespace: String,
    pub region: String,
    pub kind: JobKind,
    pub version: u64,
    pub job_meta: BTreeMap<String, String>,
    pub group: Group,
    /// What the job was dispatched with, if a task of the group wants it.
    #[serde(with = "crate::bytes")]
    pub payload: Arc<[u8]>,
}

/// What a client reports of one alloc.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocUpdate {
    pub id: AllocId,
    pub status: ClientStatus,
    pub description: String,
    pub tasks: BTreeMap<String, TaskState>,
    pub health: Option<AllocHealth>,
}

/// One attempt at running one task of an alloc. No two processes ever share a key.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct TaskKey {
    pub alloc: AllocId,
    /// Position in the group's tasks.
    pub task: u16,
    /// From zero; grows with every start.
    pub attempt: u32,
}

/// Everything a driver needs to start a task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskStart {
    pub uuid: Uuid,
    pub spec: Arc<AllocSpec>,
    pub ports: Vec<PortGrant>,
    /// Resolved, but for `${NOMAD_ALLOC_DIR}`, `${NOMAD_TASK_DIR}` and `${NOMAD_SECRETS_DIR}`: only
    /// the shell knows where directories are. It adds these three and interpolates once more.
    pub env: BTreeMap<String, String>,
    /// The driver's block, resolved as far as `env`.
    pub config_json: String,
    /// Held to that much memory; `None`: the task did not ask to be.
    pub memory: Option<MemoryLimit>,
    /// Runs on these cores alone; none: it did not ask for any.
    pub cores: CoreSet,
}

/// What a driver reports of an attempt, after `StartTask` or `Reattach`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TaskChange {
    /// It runs: just started, or found running after the agent restarted.
    Started {
        pid: u32,
    },
    StartFailed {
        why: String,
        remedy: Remedy,
    },
    Exited {
        exit_code: i32,
        /// Zero: none.
        signal: i32,
    },
    /// Nothing is known of it: its keeper is gone and left no exit status.
    Lost,
}

/// Whether starting again may help.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Remedy {
    /// The fault may pass: the restart policy decides.
    Retry,
    /// The specification is wrong for this machine: the task has failed.
    None,
}

/// Whether the machine went down since the agent last ran; after a reboot no task can be alive.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Boot {
    #[default]
    Same,
    Rebooted,
}

impl Assignment {
    /// Whether every alloc points at a specification.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.runs.iter().all(|run| usize::try_from(run.spec).is_ok_and(|at| at < self.specs.len()))
    }
}
