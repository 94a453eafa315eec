//! An allocation: one group of a job's version, placed on a node.
//!
//! Client status transitions:
//!
//! | from \ to | pending | running | complete | failed | lost |
//! |---|---|---|---|---|---|
//! | pending | | tasks started | stopped before start | could not start | node lost |
//! | running | task restarting | | all tasks succeeded, or stopped | a task failed | node lost |
//! | lost | | | the node returned: what really happened | same | |
//!
//! Invariants
//! - an alloc never moves: its node and job are fixed when it is placed; its version (and with it the
//!   position of its group) changes only by an update in place;
//! - its resources are held on its node until it is terminal for the servers and, if its node is
//!   alive, for the client too.
use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::drain::Migration;
use super::gate::Gate;
use super::ids::{AllocId, DeploymentId, EvalId, Index, JobId, NodeId};
use super::pieces::{Claim, Pieces};
use super::resources::{Capacity, PortGrant};
use crate::time::WallTime;

/// A row of the table of allocs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allocation {
    pub id: AllocId,
    pub job: JobId,
    pub version: u64,
    /// Position of its group in the version's specification.
    pub group: u16,
    /// Which of the group's `count` it is, from zero: `job.group[ordinal]` is its name.
    pub ordinal: u32,
    pub node: NodeId,
    pub eval: EvalId,
    pub capacity: Capacity,
    pub ports: Vec<PortGrant>,
    /// What it has for itself; most have nothing.
    pub pieces: Option<Box<Pieces>>,
    pub desired: DesiredStatus,
    pub desired_description: String,
    pub client_status: ClientStatus,
    pub client_description: String,
    pub tasks: BTreeMap<String, TaskState>,
    /// The alloc that this one replaces.
    pub previous: Option<AllocId>,
    /// The alloc that replaces this one.
    pub next: Option<AllocId>,
    /// Reschedulings that led here, oldest first.
    pub reschedules: Vec<RescheduleEvent>,
    /// The delayed evaluation that will replace this failed alloc.
    pub follow_up: Option<EvalId>,
    /// The deployment that brought it its version.
    pub deployment: Option<DeploymentId>,
    /// Runs beside those that it may replace: its version is not promoted yet.
    pub canary: bool,
    /// As its client, an operator or its end has it; `None`: not known yet.
    pub health: Option<AllocHealth>,
    pub placed: PlacementNote,
    pub create_index: Index,
    pub modify_index: Index,
    /// The last entry that changed what the node must do: its assignment's sequence number.
    pub assign_index: Index,
    pub create_time: WallTime,
    pub modify_time: WallTime,
    /// Its node drains and its turn has come, or a better node was found for it.
    pub migration: Migration,
    /// The job for which it was stopped, being of a less important one.
    pub preempted_by: Option<JobId>,
    /// Its tasks may use memory up to their `memory_max`: decided when it was placed.
    pub may_exceed_memory: bool,
}

/// Whether an alloc can be relied on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocHealth {
    /// An update in place begins anew.
    pub version: u64,
    pub healthy: bool,
    pub at: WallTime,
}

/// What the servers want of an alloc.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum DesiredStatus {
    Run,
    Stop,
}

/// What the client reports of an alloc.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ClientStatus {
    Pending,
    Running,
    Complete,
    Failed,
    Lost,
}

impl Allocation {
    /// What it takes of its node.
    #[must_use]
    pub fn claim(&self) -> Claim<'_> {
        Claim { capacity: self.capacity, ports: &self.ports, pieces: self.pieces.as_deref() }
    }

    /// Whether it is known to be healthy, and is not on its way out.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let is_live = self.desired == DesiredStatus::Run && !self.client_status.is_terminal();
        is_live && self.health.is_some_and(|health| health.healthy)
    }

    /// Whether it was found unhealthy.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.health.is_some_and(|health| !health.healthy)
    }
}

impl ClientStatus {
    /// Whether its tasks will not run again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Lost)
    }
}

impl ClientStatus {
    /// Every change of status that there is: the module's table as data.
    pub const TRANSITIONS: [(Self, Self); 10] = [
        (Self::Pending, Self::Running),
        (Self::Pending, Self::Complete),
        (Self::Pending, Self::Failed),
        (Self::Pending, Self::Lost),
        (Self::Running, Self::Pending),
        (Self::Running, Self::Complete),
        (Self::Running, Self::Failed),
        (Self::Running, Self::Lost),
        (Self::Lost, Self::Complete),
        (Self::Lost, Self::Failed),
    ];

    /// Whether a row with this status may get `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        Self::TRANSITIONS.contains(&(self, next))
    }
}

/// One task of an alloc.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskState {
    pub phase: TaskPhase,
    pub failed: bool,
    pub restarts: u32,
    pub last_restart: Option<WallTime>,
    pub started_at: Option<WallTime>,
    pub finished_at: Option<WallTime>,
    /// The last ten, oldest first.
    pub events: Vec<TaskEvent>,
}

/// Where a task is in its life; `Dead` is final.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TaskPhase {
    Pending,
    Running,
    Dead,
}

/// One line of a task's history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskEvent {
    pub at: WallTime,
    pub kind: TaskEventKind,
    /// For people.
    pub message: String,
}

/// Names as users of Nomad know them: the words of `alloc status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TaskEventKind {
    Received,
    TaskSetup,
    Started,
    Terminated {
        exit_code: i32,
        signal: i32,
    },
    Restarting {
        delay_ms: u64,
    },
    NotRestarting,
    Killing {
        timeout_ms: u64,
    },
    Killed,
    DriverFailure,
    SetupFailure,
    Signaling,
    RestartSignaled,
    LeaderTaskDead,
    SiblingFailed,
    /// The machine or the task's keeper went away while the agent was not looking.
    Lost,
}

/// One rescheduling in the history of an alloc's chain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RescheduleEvent {
    pub at: WallTime,
    pub from: AllocId,
    pub from_node: NodeId,
    pub delay_ms: u64,
}

/// Kept with each placement: what the best of all nodes was chosen from.
///
/// The first two count every node of the job's pool and datacenters that could be placed on at that moment. The
/// third does not: an index finds the best without looking at most of the others, so only the few that
/// it did look at can be counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlacementNote {
    pub nodes_evaluated: u32,
    pub nodes_filtered: u32,
    /// Nodes that were looked at one by one and lacked room, for the group's allocs of this plan so far.
    pub nodes_exhausted: u32,
    /// Fixed point: 1,000 is the best possible fit. The mean of all that counted.
    pub score_permille: i32,
    /// What counted. `None`: the fit alone, which is the score.
    pub parts: Option<ScoreParts>,
}

/// What the score of a placement is the mean of, in thousandths; what is zero did not count, but for
/// the fit.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ScoreParts {
    pub fit: i32,
    /// Allocs of the group on the node.
    pub crowd: i32,
    /// The alloc before it failed there.
    pub failed_before: i32,
    pub affinity: i32,
    pub spread: i32,
    /// What its tasks would rather have of devices.
    pub devices: i32,
}

/// Why a group could not be placed, counted per reason.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlacementFailure {
    pub nodes_evaluated: u32,
    /// Ready and eligible nodes per datacenter of the job.
    pub nodes_available: BTreeMap<String, u32>,
    /// Constraint as users write it, to the nodes it excluded.
    pub filtered: BTreeMap<String, u32>,
    /// `cpu`, `memory`, `disk`, `network: port 8080 is taken`, to the nodes that lacked it.
    pub exhausted: BTreeMap<String, u32>,
    /// Further allocs of the group that failed for the same reason.
    pub coalesced: u32,
    /// Of the nodes that met every constraint, the one that comes closest to having room.
    pub nearest: Option<NearMiss>,
    /// Allocs of the group for which less important ones have been stopped and have still to end.
    pub awaited: u32,
    /// Ready and eligible nodes of the job's pool, whatever their datacenter.
    pub nodes_in_pool: u32,
    /// What the group waits for. If there is something, no node was looked at.
    pub closed: Vec<Gate>,
}

/// A node that would do if it had more room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NearMiss {
    pub node: NodeId,
    pub free: Capacity,
    /// What one alloc needs there.
    pub asked: Capacity,
    /// Cores that nobody has; zero where none are asked for.
    pub cores_free: u32,
    pub cores_asked: u32,
    /// Of the devices that are asked for, those that it could have.
    pub devices_free: u32,
    pub devices_asked: u32,
}
