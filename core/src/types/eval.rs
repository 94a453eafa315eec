//! An evaluation: the servers must look at a job.
//!
//! Status transitions:
//!
//! | from \ to | pending | blocked | complete | failed | cancelled |
//! |---|---|---|---|---|---|
//! | pending | | | all placed, or a blocked one made | scheduling failed | |
//! | blocked | capacity appeared | | | | superseded |
//!
//! Invariants
//! - complete, failed and cancelled are final;
//! - a job has at most one blocked evaluation.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;

use serde::{Deserialize, Serialize};

use super::alloc::PlacementFailure;
use super::ids::{DeploymentId, EvalId, Index, JobId, NodeId};
use crate::time::WallTime;

/// A row of the table of evaluations.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Evaluation {
    pub id: EvalId,
    pub job: JobId,
    pub priority: u8,
    pub trigger: Trigger,
    pub status: EvalStatus,
    /// For people; empty when there is nothing to say.
    pub status_description: String,
    /// The node whose change caused it.
    pub node: Option<NodeId>,
    /// Not before this moment of the replicated clock.
    pub wait_until: Option<WallTime>,
    pub previous: Option<EvalId>,
    pub next: Option<EvalId>,
    /// The deployment that it belongs to, as far as is known.
    pub deployment: Option<DeploymentId>,
    /// The blocked evaluation that this one left behind.
    pub blocked: Option<EvalId>,
    /// By group: why not everything could be placed.
    pub failures: BTreeMap<String, PlacementFailure>,
    /// By group: allocs still to be placed.
    pub queued: BTreeMap<String, u32>,
    pub create_index: Index,
    pub modify_index: Index,
    pub create_time: WallTime,
    pub modify_time: WallTime,
}

impl Evaluation {
    /// Of a job that is to be looked at now, for no reason but `trigger`.
    #[must_use]
    pub const fn of(id: EvalId, job: JobId, priority: u8, trigger: Trigger) -> Self {
        Self {
            id,
            job,
            priority,
            trigger,
            status: EvalStatus::Pending,
            status_description: String::new(),
            node: None,
            wait_until: None,
            previous: None,
            next: None,
            deployment: None,
            blocked: None,
            failures: BTreeMap::new(),
            queued: BTreeMap::new(),
            create_index: Index(0),
            modify_index: Index(0),
            create_time: WallTime { unix_ms: 0 },
            modify_time: WallTime { unix_ms: 0 },
        }
    }
}

/// What made the servers look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Trigger {
    JobRegister,
    JobDeregister,
    NodeUpdate,
    /// An alloc ended or failed.
    AllocFailure,
    /// A failed alloc's delay is over.
    FailedFollowUp,
    /// Some placements found no room.
    QueuedAllocs,
    /// A placement was refused when its plan was applied.
    PlanRefused,
    AllocStop,
    /// An operator asked.
    Manual,
    /// A deployment has come further, or to its end.
    DeploymentWatcher,
    /// The next step of a system job's update is due.
    RollingUpdate,
    /// An alloc must leave its node.
    NodeDrain,
    /// The calendar, or who forced it, made a child.
    PeriodicJob,
    /// A group's count was changed.
    JobScaling,
    /// Allocs of the job were stopped for a more important one.
    Preemption,
    /// Allocs of the job may move to better nodes.
    Rebalance,
}

/// See the module's table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum EvalStatus {
    Pending,
    Blocked,
    Complete,
    Failed,
    Cancelled,
}

impl EvalStatus {
    /// Whether nothing will happen to it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Cancelled)
    }
}

impl EvalStatus {
    /// Every change of status that there is: the module's table as data.
    pub const TRANSITIONS: [(Self, Self); 4] = [
        (Self::Pending, Self::Complete),
        (Self::Pending, Self::Failed),
        (Self::Blocked, Self::Pending),
        (Self::Blocked, Self::Cancelled),
    ];

    /// Whether a row with this status may get `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        Self::TRANSITIONS.contains(&(self, next))
    }
}
