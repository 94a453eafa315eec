//! What operators set for the whole cluster.
//!
//! Invariants
//! - what is kept and not in force yet says so.
use serde::{Deserialize, Serialize};

use super::ids::Index;

/// How the servers schedule.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchedulerConfig {
    pub algorithm: Algorithm,
    /// Kept and shown; nothing is preempted yet.
    pub preemption: Preemption,
    /// Kept and shown; no task may use more than it asks for yet.
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
    /// The fullest.
    #[default]
    BinPack,
    /// The emptiest.
    Spread,
}

/// Whose allocs may take the place of those of lower priority.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Preemption {
    pub system: bool,
    pub sysbatch: bool,
    pub batch: bool,
    pub service: bool,
}

impl Default for Preemption {
    /// Nobody's, as long as there is no preemption.
    fn default() -> Self {
        Self { system: false, sysbatch: false, batch: false, service: false }
    }
}

/// A row of its own: the configuration and when it was set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchedulerRow {
    pub config: SchedulerConfig,
    pub create_index: Index,
    /// Zero: never set.
    pub modify_index: Index,
}
