//! Groups that wait for another job or group: found out once for each plan.
//!
//! Invariants
//! - a group with a closed gate gets nothing new, and what it runs stays as it is;
//! - a gate that was found open once is said so, whether there was anything to place or not.
use alloc::vec::Vec;

use super::{Draft, position};
use crate::state::State;
use crate::types::{Gate, Job, PlacementFailure};

/// How the groups of the newest version stand to their gates.
#[derive(Default)]
pub(super) struct Gates {
    /// By position, if any group has gates: those of them that are closed.
    closed: Vec<Vec<Gate>>,
    /// Let in by this plan.
    pub(super) opened: Vec<u16>,
}

impl Gates {
    pub(super) fn of(state: &State, job: Option<&Job>) -> Self {
        let waits = |job: &&Job| !job.stopped && job.newest().spec.has_gates();
        let Some(job) = job.filter(waits) else { return Self::default() };
        let mut gates = Self::default();
        for (at, group) in job.newest().spec.groups.iter().enumerate() {
            let closed = state.closed_gates(job, group).into_iter().map(|(gate, _)| gate.clone());
            let closed: Vec<Gate> = closed.filter(|_| !planted!(GateIgnored)).collect();
            if closed.is_empty() && !job.is_let_in(group) {
                gates.opened.push(position(at));
            }
            gates.closed.push(closed);
        }
        gates
    }
}

impl Draft<'_> {
    /// Whether the group has to wait.
    pub(in crate::scheduler) fn is_held(&self, at: usize) -> bool {
        self.gates.closed.get(at).is_some_and(|closed| !closed.is_empty())
    }

    /// So many allocs of the group, which has to wait, are not placed.
    pub(in crate::scheduler) fn hold_back(&mut self, at: usize, count: usize) {
        let job = self.view.state.job(self.eval.job);
        let group = job.and_then(|job| job.newest().spec.groups.get(at));
        let (Some(group), Some(closed)) = (group, self.gates.closed.get(at)) else { return };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count == 0 {
            return;
        }
        let queued = self.queued.entry(group.name.clone()).or_default();
        *queued = queued.saturating_add(count);
        let failure = self.failures.entry(group.name.clone()).or_insert_with(|| PlacementFailure {
            closed: closed.clone(),
            ..PlacementFailure::default()
        });
        failure.coalesced = queued.saturating_sub(1);
    }
}
