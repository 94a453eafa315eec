//! Who of those that wait may go on: what is asked when room appears on a node, or when it has become
//! another. A wrong yes costs a scheduling, a wrong no would leave a job waiting.
//!
//! Invariants
//! - whoever would be placed on the node may go on;
//! - of jobs that need the same, one may go on if and only if the others may.
use core::hash::{Hash, Hasher as _};

use super::feasible::{Feasibility, is_limited};
use super::memo::{Fold, hash_demands};
use super::system::{Outlook, outlook};
use crate::planner;
use crate::state::State;
use crate::types::{Capacity, Job, JobId, Need, NodeId, NodeSlot};

/// Whether the job may get what it waits for on the node.
#[must_use]
pub fn may_go_on(state: &State, job: JobId, node: NodeId) -> bool {
    let (Some(row), Some(slot)) = (state.job(job), state.slot_of(node)) else { return false };
    if !row.newest().spec.kind.is_on_every_node() {
        let may_fit = planner::may_fit(state, job, node) && is_admitted(state, row, slot);
        return may_fit || may_have_freed_a_value(state, job, node);
    }
    match outlook(state, job, node) {
        Outlook::Idle => false,
        Outlook::Place => planner::may_fit(state, job, node),
        // What is there makes way.
        Outlook::Change => true,
    }
}

/// Whether the node meets the demands of one of the job's groups, of any version: what an older one has lost
/// is replaced where that version wanted it.
fn is_admitted(state: &State, job: &Job, slot: NodeSlot) -> bool {
    job.versions.iter().any(|kept| {
        let mut groups = kept.spec.groups.iter();
        groups.any(|group| Feasibility::of(&kept.spec, group).admits(state, slot))
    })
}

/// Whether the job is limited in how many share a value, and is on the node: with what has changed there,
/// other nodes may be open to it.
fn may_have_freed_a_value(state: &State, job: JobId, node: NodeId) -> bool {
    let is_limited = state.job(job).is_some_and(|job| is_limited(&job.newest().spec));
    is_limited && state.allocs_of_node(node).any(|alloc| alloc.job == job)
}

/// What is free on the node.
#[must_use]
pub fn free_on(state: &State, node: NodeId) -> Capacity {
    let slot = state.slot_of(node);
    slot.map_or(Capacity::default(), |slot| state.fleet().free(slot).to_capacity())
}

/// What the job needs of a node, whichever it is.
#[must_use]
pub fn need(state: &State, job: JobId) -> Need {
    let mut hash = Fold::default();
    let Some(row) = state.job(job) else { return Need::default() };
    let spec = &row.newest().spec;
    if spec.kind.is_on_every_node() || is_limited(spec) {
        // What suits it is not a question of room alone.
        (1_u8, job.0).hash(&mut hash);
        return Need { least: Capacity::default(), alike: hash.finish() };
    }
    if 1 < row.versions.len() || spec.has_gates() {
        (2_u8, job.0).hash(&mut hash);
    }
    let mut least: Option<Capacity> = None;
    for group in &*spec.groups {
        hash_demands(spec, group, &mut hash);
        let capacity = group.capacity();
        (capacity, group.core_count()).hash(&mut hash);
        group.network.ports.iter().for_each(|port| port.fixed.hash(&mut hash));
        let known = least;
        least = capacity.map(|own| known.map_or(own, |known| known.min_of_each(own))).or(known);
    }
    Need { least: least.unwrap_or_default(), alike: hash.finish() }
}
