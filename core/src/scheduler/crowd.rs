//! How many allocs of the job are on each node, or are placed there by the plan that is being made.
//!
//! Invariants
//! - those that have made way for a successor are not counted.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::feasible::Distinct;
use crate::types::NodeSlot;

/// See the module.
pub(super) struct Crowd {
    of_group: Vec<BTreeMap<NodeSlot, u32>>,
}

impl Crowd {
    pub(super) fn of(groups: usize) -> Self {
        Self { of_group: vec![BTreeMap::new(); groups] }
    }

    /// One more alloc of the group is on the node.
    pub(super) fn join(&mut self, group: usize, slot: NodeSlot) {
        *self.of_group[group].entry(slot).or_default() += 1;
    }

    /// One alloc of the group makes way.
    pub(super) fn leave(&mut self, group: usize, slot: NodeSlot) {
        let count = self.of_group[group].get_mut(&slot);
        let count = count.expect("invariant: only what was counted leaves");
        *count -= 1;
        if *count == 0 {
            self.of_group[group].remove(&slot);
        }
    }

    pub(super) fn of_group(&self, group: usize, slot: NodeSlot) -> u32 {
        self.of_group[group].get(&slot).copied().unwrap_or(0)
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
        groups.iter().flat_map(|counts| counts.keys().copied())
    }

    /// Whether the group may not have another alloc there.
    pub(super) fn excludes(&self, distinct: Distinct, group: usize, slot: NodeSlot) -> bool {
        match distinct {
            Distinct::Nobody => false,
            Distinct::WithinGroup => self.of_group[group].contains_key(&slot),
            Distinct::WithinJob => self.of_group.iter().any(|counts| counts.contains_key(&slot)),
        }
    }
}
