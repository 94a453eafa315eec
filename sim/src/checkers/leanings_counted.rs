//! ∀ alloc of a group that would rather have some nodes, or is spread over datacenters: its score says so.
//! An affinity counts exactly where it is met; an even spread says something of each alloc but the first
//! of its plan, since by then one datacenter has more than another, or all have as many
//! (core/scheduler/tally.rs).
//!
//! Invariants
//! - only affinities for a datacenter are judged, which no node of a run ever changes.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{Allocation, Group, Index};

use super::Verdict;

const DATACENTER: &str = "${node.datacenter}";

/// Looks at every alloc.
pub fn check(state: &State) -> Verdict {
    let mut first: BTreeMap<(u64, Index, u16), u64> = BTreeMap::new();
    for alloc in state.allocs() {
        let Some(group) = group_of(state, alloc) else { continue };
        check_affinity(state, group, alloc)?;
        let is_even = |spread: &drover_core::types::Spread| {
            spread.attribute == DATACENTER && spread.targets.is_empty()
        };
        if group.spreads.iter().any(is_even) {
            // Ids are given in the order of a plan's placements.
            let plan = (alloc.job.0, alloc.create_index, alloc.group);
            let first = *first.entry(plan).or_insert(alloc.id.0);
            let said = alloc.placed.parts.map_or(0, |parts| parts.spread);
            if first < alloc.id.0 && said == 0 {
                return Err(format!("{:?} is placed as if no other of its group was", alloc.id));
            }
        }
    }
    Ok(())
}

fn group_of<'a>(state: &'a State, alloc: &Allocation) -> Option<&'a Group> {
    let version = state.job(alloc.job)?.version(alloc.version)?;
    version.spec.groups.get(usize::from(alloc.group))
}

fn check_affinity(state: &State, group: &Group, alloc: &Allocation) -> Verdict {
    let [affinity] = &group.affinities[..] else { return Ok(()) };
    let Some(node) = state.node(alloc.node) else { return Ok(()) };
    if affinity.left != DATACENTER {
        return Ok(());
    }
    let is_met = affinity.right == node.spec.datacenter;
    let said = alloc.placed.parts.map_or(0, |parts| parts.affinity);
    if is_met != (0 < said) {
        let datacenter = &node.spec.datacenter;
        return Err(format!("{:?} is in {datacenter}, for which {said} speaks", alloc.id));
    }
    Ok(())
}
