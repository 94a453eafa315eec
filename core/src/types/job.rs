//! A job's specification: what a user wrote, checked and with every default filled in.
//!
//! Invariants
//! - a specification never changes: an edit is a new version;
//! - a group runs at least zero allocs and has at least one task; names are unique within their parent.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::constraint::Constraint;
use super::gate::Gate;
use super::groups::Groups;
use super::ids::{Index, JobId};
use super::launch::{Launch, Lineage, Scaling};
use super::leaning::{Affinity, Spread};
use super::pieces::{DeviceAsk, NodePieces};
use super::pool::PoolName;
use super::resources::{Capacity, NetworkAsk, TaskResources};
use super::service::Service;
use super::volume::{VolumeAsk, VolumeMount};
use crate::time::WallTime;

/// How long a job's allocs are meant to live.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum JobKind {
    /// Runs until stopped; an alloc that ends is replaced.
    Service,
    /// Runs until it has succeeded.
    Batch,
    /// Like a service, once on every node that meets its demands.
    System,
    /// Like a batch, once on every node that meets its demands.
    Sysbatch,
}

impl JobKind {
    /// Whether each group has one alloc on every node, instead of a count.
    #[must_use]
    pub const fn is_on_every_node(self) -> bool {
        match self {
            Self::System | Self::Sysbatch => true,
            Self::Service | Self::Batch => false,
        }
    }

    /// Whether an alloc that has succeeded is done, and not to be replaced.
    #[must_use]
    pub const fn ends(self) -> bool {
        match self {
            Self::Batch | Self::Sysbatch => true,
            Self::Service | Self::System => false,
        }
    }
}

/// A whole job.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct JobSpec {
    /// What users call it; unique within its namespace.
    pub id: String,
    /// Shown; equal to `id` unless the file says otherwise.
    pub name: String,
    pub namespace: String,
    pub region: String,
    pub kind: JobKind,
    /// 1 to 100; higher is scheduled first.
    pub priority: u8,
    /// Glob patterns are allowed (`*`, `dc?`). Never empty.
    pub datacenters: Vec<String>,
    pub constraints: Vec<Constraint>,
    pub groups: Groups,
    pub meta: BTreeMap<String, String>,
    pub launch: Launch,
    pub affinities: Vec<Affinity>,
    pub spreads: Vec<Spread>,
    pub node_pool: PoolName,
    /// What every group waits for.
    pub after: Vec<Gate>,
}

/// Tasks that run together on one node.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Group {
    pub name: String,
    pub count: u32,
    pub constraints: Vec<Constraint>,
    pub tasks: Vec<Task>,
    pub network: NetworkAsk,
    pub restart: RestartPolicy,
    pub reschedule: ReschedulePolicy,
    pub update: UpdatePolicy,
    /// `ephemeral_disk.size`.
    pub disk_mib: u32,
    pub meta: BTreeMap<String, String>,
    pub shutdown_delay_ms: u64,
    pub migrate: MigratePolicy,
    pub scaling: Option<Scaling>,
    pub affinities: Vec<Affinity>,
    pub spreads: Vec<Spread>,
    /// What the group waits for beside its job.
    pub after: Vec<Gate>,
    pub services: Vec<Service>,
    /// By what its tasks call them.
    pub volumes: BTreeMap<String, VolumeAsk>,
}

/// One process, started by a driver.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Task {
    pub name: String,
    pub driver: String,
    /// Empty: the agent's own user.
    pub user: String,
    /// The driver's own block as a JSON object, interpolation unresolved.
    pub config_json: String,
    pub env: BTreeMap<String, String>,
    pub constraints: Vec<Constraint>,
    pub resources: TaskResources,
    pub meta: BTreeMap<String, String>,
    pub kill_timeout_ms: u64,
    /// A name such as `SIGTERM`; empty: the driver's default (SIGINT, as in Nomad).
    pub kill_signal: String,
    /// When it ends, the other tasks of its group are stopped.
    pub leader: bool,
    pub shutdown_delay_ms: u64,
    pub logs: LogLimits,
    /// Where in its own directory the task finds what its job was dispatched with; empty: nowhere.
    pub payload_file: String,
    pub affinities: Vec<Affinity>,
    pub services: Vec<Service>,
    pub volume_mounts: Vec<VolumeMount>,
}

/// When a task's log files are rotated and dropped.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct LogLimits {
    pub files_max: u32,
    pub file_mib_max: u32,
}

impl Default for LogLimits {
    /// Nomad's: ten files of 10 MiB.
    fn default() -> Self {
        Self { files_max: 10, file_mib_max: 10 }
    }
}

/// What happens on the node itself when a task ends badly.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RestartPolicy {
    pub attempts: u32,
    pub interval_ms: u64,
    pub delay_ms: u64,
    pub mode: RestartMode,
}

/// What happens when `attempts` are used up within `interval_ms`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum RestartMode {
    /// Wait for the interval to end, then go on.
    Delay,
    /// The alloc has failed.
    Fail,
}

/// What the servers do about an alloc that failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ReschedulePolicy {
    /// Ignored when `unlimited`.
    pub attempts: u32,
    pub interval_ms: u64,
    pub delay_ms: u64,
    pub delay_function: DelayFunction,
    pub delay_ms_max: u64,
    pub unlimited: bool,
}

/// How the delay grows from one rescheduling to the next.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum DelayFunction {
    Constant,
    Exponential,
    Fibonacci,
}

/// How a destructive update is spread over time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct UpdatePolicy {
    /// Allocs replaced at once; zero: all, and nobody watches.
    pub parallel_max: u32,
    pub health_check: HealthCheck,
    pub min_healthy_ms: u64,
    pub healthy_deadline_ms: u64,
    /// Zero: the first unhealthy alloc fails the deployment.
    pub progress_deadline_ms: u64,
    /// Allocs of a new version that run beside the old ones before it is promoted.
    pub canary: u32,
    pub auto_revert: bool,
    pub auto_promote: bool,
    /// Between two allocs of a system job.
    pub stagger_ms: u64,
}

/// How allocs leave a node that drains.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct MigratePolicy {
    /// Allocs on their way at once; zero: none before the drain's deadline.
    pub parallel_max: u32,
    /// Of whoever takes an alloc's place without a deployment. Never `Manual`.
    pub health_check: HealthCheck,
    pub min_healthy_ms: u64,
    pub healthy_deadline_ms: u64,
}

/// Who says whether an alloc is healthy.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum HealthCheck {
    /// Its checks and its tasks.
    #[default]
    Checks,
    TaskStates,
    /// An operator.
    Manual,
}

impl RestartPolicy {
    /// Nomad's defaults: what does not end 2 in 30 min, what ends 3 in 24 h, 15 s apart, then fail.
    #[must_use]
    pub const fn default_of(kind: JobKind) -> Self {
        let (attempts, interval_ms) =
            if kind.ends() { (3, 24 * 3_600_000) } else { (2, 30 * 60_000) };
        Self { attempts, interval_ms, delay_ms: 15_000, mode: RestartMode::Fail }
    }
}

impl ReschedulePolicy {
    /// Nomad's defaults: service for ever, 30 s growing exponentially to 1 h; batch once in 24 h after 5 s;
    /// on every node never: there is no other node to go to.
    #[must_use]
    pub const fn default_of(kind: JobKind) -> Self {
        match kind {
            JobKind::Service => Self {
                attempts: 0,
                interval_ms: 0,
                delay_ms: 30_000,
                delay_function: DelayFunction::Exponential,
                delay_ms_max: 3_600_000,
                unlimited: true,
            },
            JobKind::Batch => Self {
                attempts: 1,
                interval_ms: 24 * 3_600_000,
                delay_ms: 5_000,
                delay_function: DelayFunction::Constant,
                delay_ms_max: 0,
                unlimited: false,
            },
            JobKind::System | JobKind::Sysbatch => Self {
                attempts: 0,
                interval_ms: 0,
                delay_ms: 0,
                delay_function: DelayFunction::Constant,
                delay_ms_max: 0,
                unlimited: false,
            },
        }
    }
}

impl UpdatePolicy {
    /// Nomad's, for a job that says nothing of it: one on every node is replaced everywhere at once.
    #[must_use]
    pub fn default_of(kind: JobKind) -> Self {
        let usual = Self::default();
        if kind.is_on_every_node() { Self { parallel_max: 0, ..usual } } else { usual }
    }
}

impl Default for UpdatePolicy {
    /// Nomad's.
    fn default() -> Self {
        Self {
            parallel_max: 1,
            health_check: HealthCheck::Checks,
            min_healthy_ms: 10_000,
            healthy_deadline_ms: 5 * 60_000,
            progress_deadline_ms: 10 * 60_000,
            canary: 0,
            auto_revert: false,
            auto_promote: false,
            stagger_ms: 30_000,
        }
    }
}

impl Default for MigratePolicy {
    /// Nomad's.
    fn default() -> Self {
        Self {
            parallel_max: 1,
            health_check: HealthCheck::Checks,
            min_healthy_ms: 10_000,
            healthy_deadline_ms: 5 * 60_000,
        }
    }
}

impl JobSpec {
    /// Whether a deployment watches over the group while this version takes over.
    #[must_use]
    pub fn is_watched(&self, group: &Group) -> bool {
        self.kind == JobKind::Service && 0 < group.update.parallel_max && 0 < group.count
    }

    /// The group called `name` and its position.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<(usize, &Group)> {
        self.groups.iter().enumerate().find(|(_, group)| group.name == name)
    }
}

impl Group {
    /// Whether a task would use more memory than is kept for it.
    #[must_use]
    pub fn wants_more_memory(&self) -> bool {
        self.tasks.iter().any(|task| task.resources.memory_limit().is_some())
    }

    /// Whether an alloc of it has something for itself.
    #[must_use]
    pub fn wants_pieces(&self) -> bool {
        self.tasks.iter().any(|task| task.resources.wants_pieces())
    }

    /// How many cores one alloc has for itself.
    #[must_use]
    pub fn core_count(&self) -> u32 {
        self.tasks.iter().fold(0, |sum, task| sum.saturating_add(task.resources.cores))
    }

    /// The devices that its tasks ask for, task by task.
    pub fn device_asks(&self) -> impl Iterator<Item = &DeviceAsk> + Clone {
        self.tasks.iter().flat_map(|task| &task.resources.devices)
    }

    /// What one alloc of this group takes from a node with these pieces; `None` when the sum overflows.
    #[must_use]
    pub fn capacity_on(&self, pieces: Option<&NodePieces>) -> Option<Capacity> {
        let mut capacity = self.capacity()?;
        let core_mhz = pieces.map_or(0, |pieces| pieces.core_mhz);
        let cpu_mhz = self.core_count().checked_mul(core_mhz)?;
        capacity.cpu_mhz = capacity.cpu_mhz.checked_add(cpu_mhz)?;
        Some(capacity)
    }

    /// What one alloc of this group takes from any node, cores aside; `None` when the sum overflows.
    #[must_use]
    pub fn capacity(&self) -> Option<Capacity> {
        let disk = Capacity { disk_mib: self.disk_mib, ..Capacity::default() };
        self.tasks.iter().try_fold(disk, |sum, task| {
            sum.checked_add(Capacity {
                cpu_mhz: task.resources.cpu_mhz,
                memory_mib: task.resources.memory_mib,
                disk_mib: 0,
            })
        })
    }
}

/// A row of the table of jobs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Job {
    pub id: JobId,
    /// Newest last, never empty, `JOB_VERSIONS_MAX` and those that allocs still point at.
    pub versions: Vec<JobVersion>,
    /// A stopped job runs nothing and can be registered again.
    pub stopped: bool,
    /// Hidden from users; the row goes when its last alloc is collected.
    pub purged: bool,
    pub create_index: Index,
    /// The last change of any kind.
    pub modify_index: Index,
    /// The last change of its specification or of `stopped`: what `check-index` compares.
    pub spec_index: Index,
    pub lineage: Lineage,
}

/// One version of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JobVersion {
    /// From zero.
    pub version: u64,
    pub spec: Arc<JobSpec>,
    pub submitted_at: WallTime,
    /// It has proved itself: a failed deployment may go back to it.
    pub stable: bool,
    pub create_index: Index,
}

impl Job {
    /// Whether the group of the newest version waits for nothing, or for nothing any more.
    #[must_use]
    pub fn is_let_in(&self, group: &Group) -> bool {
        let mut gates = self.newest().spec.gates_of(group);
        gates.next().is_none() || self.lineage.opened.contains(&group.name)
    }

    /// The newest version.
    #[must_use]
    pub fn newest(&self) -> &JobVersion {
        self.versions.last().expect("invariant: a job has a version")
    }

    /// The version numbered `version`, if it is still kept.
    #[must_use]
    pub fn version(&self, version: u64) -> Option<&JobVersion> {
        self.versions.iter().rev().find(|kept| kept.version == version)
    }
}
