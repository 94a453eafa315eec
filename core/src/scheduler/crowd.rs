//! How many allocs of the job are on each node, or are placed there by the plan that is being made.
//!
//! Invariants
//! - those that have made way for a successor are not counted.
use alloc::vec::Vec;

use super::feasible::Distinct;
use crate::state::by_slot::BySlot;
use crate::types::NodeSlot;

/// See the module.
pub(super) struct Crowd {
    of_group: Vec<BySlot<u32>>,
}

impl Crowd {
    pub(super) fn of(groups: usize) -> Self {
        let mut of_group = Vec::new();
        of_group.resize_with(groups, BySlot::new);
        Self { of_group }
    }

    /// One more alloc of the group is on the node.
    pub(super) fn join(&mut self, group: usize, slot: NodeSlot) {
        *self.of_group[group].get_or_insert_with(slot, || 0) += 1;
    }

    /// One alloc of the group makes way.
    pub(super) fn leave(&mut self, group: usize, slot: NodeSlot) {
        let count = self.of_group[group].get_mut(slot).filter(|count| 0 < **count);
        *count.expect("invariant: only what was counted leaves") -= 1;
    }

    pub(super) fn of_group(&self, group: usize, slot: NodeSlot) -> u32 {
        self.of_group[group].get(slot).copied().unwrap_or(0)
    }

    /// The nodes that have allocs of the group, and how many.
    pub(super) fn counts(&self, group: usize) -> impl Iterator<Item = (NodeSlot, u32)> + '_ {
        self.of_group[group].iter().map(|(slot, &count)| (slot, count))
    }

    /// How many groups there are.
    pub(super) const fn groups(&self) -> usize {
        self.of_group.len()
    }

    /// Nodes that matter to the group: with allocs of its own, or of the whole job.
    pub(super) fn slots(
        &self,
        distinct: Distinct,
        group: usize,
    ) -> impl Iterator<Item = NodeSlot> + '_ {
        let groups = match distinct {
            Distinct::Nobody | Distinct::WithinGroup => &self.of_group[group..=group],
            Distinct::WithinJob => &self.of_group[..],
        };
        groups.iter().flat_map(|counts| counts.iter().map(|(slot, _)| slot))
    }

    /// Whether the group may not have another alloc there.
    pub(super) fn excludes(&self, distinct: Distinct, group: usize, slot: NodeSlot) -> bool {
        let is_there = |group| 0 < self.of_group(group, slot);
        match distinct {
            Distinct::Nobody => false,
            Distinct::WithinGroup => is_there(group),
            Distinct::WithinJob => (0..self.of_group.len()).any(is_there),
        }
    }
}
