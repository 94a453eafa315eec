//! How a leader works.
//!
//! Invariants
//! - it changes when things are done, and never what is decided.
use serde::{Deserialize, Serialize};

use crate::limits::{
    EVALS_KEPT_MS, GARBAGE_COLLECT_MS, JOBS_KEPT_MS, NODES_KEPT_MS, PLACEMENTS_PER_STEP_MAX,
    PLANS_IN_FLIGHT_MAX, UNCOMMITTED_BYTES_MAX,
};

/// How a leader works. Whoever founds a cluster decides nothing by it: each leader has its own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeadConfig {
    /// Bytes of requests that wait for the log.
    pub asked_bytes_max: usize,
    /// Plans proposed and not yet applied at once.
    pub plans_in_flight_max: usize,
    /// Placements per scheduling step.
    pub placements_per_step_max: usize,
    /// How often it is looked for what has ended and nobody needs any more.
    pub garbage_collect_ms: u64,
    /// How long ended evaluations and allocs are shown.
    pub evals_kept_ms: u64,
    /// How long stopped jobs are shown.
    pub jobs_kept_ms: u64,
    /// How long nodes that are down are shown.
    pub nodes_kept_ms: u64,
}

impl Default for LeadConfig {
    /// As `limits` has it.
    fn default() -> Self {
        Self {
            asked_bytes_max: UNCOMMITTED_BYTES_MAX,
            plans_in_flight_max: PLANS_IN_FLIGHT_MAX,
            placements_per_step_max: PLACEMENTS_PER_STEP_MAX,
            garbage_collect_ms: GARBAGE_COLLECT_MS,
            evals_kept_ms: EVALS_KEPT_MS,
            jobs_kept_ms: JOBS_KEPT_MS,
            nodes_kept_ms: NODES_KEPT_MS,
        }
    }
}
