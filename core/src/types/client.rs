//! What servers and clients tell each other about work.
//!
//! Invariants
//! - a client stops an alloc only because a tombstone names it, never because it is absent;
//! - `seq` is a log index: an assignment older than one already heard changes nothing.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::alloc::{ClientStatus, TaskState};
use super::ids::{AllocId, Index, Uuid};
use super::job::{Group, JobKind};
use super::resources::PortGrant;

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
}

/// What a client reports of one alloc.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocUpdate {
    pub id: AllocId,
    pub status: ClientStatus,
    pub description: String,
    pub tasks: BTreeMap<String, TaskState>,
}
