//! What operators set for the whole cluster.
//!
//! Invariants
//! - what is not set is as Nomad has it.
use serde::{Deserialize, Serialize};

use super::ids::Index;
use super::job::JobKind;

/// How the servers schedule.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchedulerConfig {
    pub algorithm: Algorithm,
    pub preemption: Preemption,
    /// Tasks that name a `memory_max` may use so much, where they are placed from now on.
    pub memory_oversubscription: bool,
    /// No job is registered, and no version of one.
    pub reject_job_registration: bool,
    /// Evaluations wait until it is taken back.
    pub pause_eval_broker: bool,
}

/// Which of the nodes with room is the best, when nothing else speaks for or against them.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum Algorithm {
    /// The fullest by cpu and memory, as Nomad has it.
    BinPack,
    /// The emptiest.
    Spread,
    /// The fullest by cpu, memory and devices: devices are for those who ask for some.
    #[default]
    Pack,
}

/// Jobs of which types may have less important allocs stopped for theirs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Preemption {
    pub system: bool,
    pub sysbatch: bool,
    pub batch: bool,
    pub service: bool,
}

impl Default for Preemption {
    /// Nomad's.
    fn default() -> Self {
        Self { system: true, sysbatch: false, batch: false, service: false }
    }
}

impl Preemption {
    /// Whether jobs of the type may.
    #[must_use]
    pub const fn allows(self, kind: JobKind) -> bool {
        match kind {
            JobKind::Service => self.service,
            JobKind::Batch => self.batch,
            JobKind::System => self.system,
            JobKind::Sysbatch => self.sysbatch,
        }
    }
}

/// How the leader cares for who votes: Nomad's autopilot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AutopilotConfig {
    /// A voter that has failed goes when another takes its place; otherwise operators remove it.
    pub cleanup_dead_servers: bool,
    /// Nobody is healthy whose last answer is older.
    pub last_contact_ms_max: u64,
    /// Nor anybody whose log is so many entries behind the leader's.
    pub trailing_logs_max: u64,
    /// Fewer voters are never left by cleaning up.
    pub min_quorum: u32,
    /// A server that is new votes when it has been healthy for so long.
    pub stabilization_ms: u64,
}

impl Default for AutopilotConfig {
    /// Nomad's.
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_ms_max: 200,
            trailing_logs_max: 250,
            min_quorum: 0,
            stabilization_ms: 10_000,
        }
    }
}

/// A row of its own: a configuration and when it was set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfigRow<C> {
    pub config: C,
    pub create_index: Index,
    /// Zero: never set.
    pub modify_index: Index,
}

impl<C> ConfigRow<C> {
    /// Set by the entry at `index`.
    pub(crate) fn set(&mut self, config: C, index: Index) {
        if self.modify_index == Index(0) {
            self.create_index = index;
        }
        self.config = config;
        self.modify_index = index;
    }
}
