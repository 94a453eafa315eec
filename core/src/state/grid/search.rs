//! The best nodes for an ask, by branch and bound.
//!
//! Invariants
//! - no node that was not found is better than one that was, or as good with a lower slot;
//! - everything found has what is asked for, is allowed, and is not excluded.
use ::alloc::collections::BinaryHeap;
use ::alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Entry, Grid, Kind, Place, level, level_floor};
use crate::state::bits::Bits;
use crate::types::{Capacity, NodeSlot, PortGrant};

/// How nodes are compared: the less is left, the better.
pub trait Preference {
    /// What it costs that `left` of `total` stays free, of cpu or of memory. It never falls as `left`
    /// grows, and never grows with `total`.
    fn cost(&self, left: u64, total: u64) -> u64;

    /// What a node is worth whose cpu and memory cost so much together. It never grows with `cost`.
    fn worth(&self, cost: u64) -> i64;
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Quest<'q> {
    pub ask: Capacity,
    /// Ports that must be free.
    pub ports: &'q [PortGrant],
    /// How many nodes.
    pub wanted: usize,
    pub allowed: &'q Bits,
    pub excluded: &'q Bits,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What each is worth, the best last; fewer than wanted when there are no more.
    pub nodes: Vec<(i64, NodeSlot)>,
    /// Nodes that were looked at one by one, and lacked something.
    pub lacking: u32,
}

/// A node and what it is worth. The greatest is the best, then the lowest slot.
type Candidate = (i64, Reverse<NodeSlot>);

struct Search<'s, P, F> {
    quest: Quest<'s>,
    preference: &'s P,
    has_ports: F,
    /// The worst of those found comes first.
    found: BinaryHeap<Reverse<Candidate>>,
    lacking: u32,
}

impl Grid {
    /// The nodes that are best for the quest. `has_ports` says whether the ports are free on a node.
    pub(in crate::state) fn search(
        &self,
        quest: Quest<'_>,
        preference: &impl Preference,
        has_ports: impl Fn(NodeSlot) -> bool,
    ) -> Found {
        assert!(0 < quest.wanted, "something is looked for");
        let found = BinaryHeap::new();
        let mut search = Search { quest, preference, has_ports, found, lacking: 0 };
        for &kind in self.kind_of.values() {
            search.visit_kind(&self.kinds[kind]);
        }
        for (&size, alike) in &self.untouched {
            search.visit_untouched(self, size, alike);
        }
        let Search { found, lacking, .. } = search;
        // Reversed twice: what is greatest in the heap is the worst.
        let sorted = found.into_sorted_vec().into_iter().rev();
        let nodes = sorted.map(|Reverse((worth, Reverse(slot)))| (worth, slot)).collect();
        Found { nodes, lacking }
    }
}

impl<P: Preference, F: Fn(NodeSlot) -> bool> Search<'_, P, F> {
    /// Whether a node that is worth at most `bound` may be among the best.
    fn may_better(&self, bound: i64) -> bool {
        let is_full = self.found.len() == self.quest.wanted;
        !is_full || self.found.peek().is_none_or(|Reverse((worst, _))| *worst <= bound)
    }

    fn visit_kind(&mut self, kind: &Kind) {
        let (cpu_top, memory_top) = (u64::from(kind.key.0), u64::from(kind.key.1));
        let Capacity { cpu_mhz, memory_mib, .. } = self.quest.ask;
        if kind.key.0 < cpu_mhz || kind.key.1 < memory_mib {
            return;
        }
        let left = |level, ask: u32| u64::from(level_floor(level).saturating_sub(ask));
        let memory_cost_min = self.preference.cost(0, memory_top);
        let mut rows = kind.levels & (u64::MAX << level(cpu_mhz));
        while rows != 0 {
            let row_level = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            let cpu_cost = self.preference.cost(left(row_level, cpu_mhz), cpu_top);
            if !self.may_better(self.preference.worth(cpu_cost + memory_cost_min)) {
                return;
            }
            let row = &kind.rows[row_level];
            let first = level(memory_mib);
            let mut columns = row.levels & (u64::MAX << first);
            let cells = &row.cells[row.position(first)..];
            for cell in cells {
                let column = columns.trailing_zeros() as usize;
                columns &= columns - 1;
                let memory_cost = self.preference.cost(left(column, memory_mib), memory_top);
                if !self.may_better(self.preference.worth(cpu_cost + memory_cost)) {
                    break;
                }
                cell.iter().for_each(|entry| self.look_at(entry));
            }
        }
    }

    fn is_open(&self, slot: NodeSlot) -> bool {
        self.quest.allowed.has(slot) && !self.quest.excluded.has(slot)
    }

    fn look_at(&mut self, entry: &Entry) {
        if !self.is_open(entry.slot) {
            return;
        }
        let ask = self.quest.ask;
        let Some(left) = entry.free.checked_sub(ask) else {
            self.lacking += 1;
            return;
        };
        let cost = |left: u32, total: u32| self.preference.cost(left.into(), total.into());
        let cost =
            cost(left.cpu_mhz, entry.cpu_mhz_total) + cost(left.memory_mib, entry.memory_mib_total);
        let worth = self.preference.worth(cost);
        if !self.may_better(worth) {
            return;
        }
        if (self.has_ports)(entry.slot) {
            self.keep(worth, entry.slot);
        } else {
            self.lacking += 1;
        }
    }

    fn visit_untouched(&mut self, grid: &Grid, size: (u32, u32), alike: &Bits) {
        let Capacity { cpu_mhz, memory_mib, disk_mib } = self.quest.ask;
        let (cpu_left, memory_left) = (size.0.checked_sub(cpu_mhz), size.1.checked_sub(memory_mib));
        let (Some(cpu_left), Some(memory_left)) = (cpu_left, memory_left) else {
            return;
        };
        let cost = |left: u32, total: u32| self.preference.cost(left.into(), total.into());
        let worth = self.preference.worth(cost(cpu_left, size.0) + cost(memory_left, size.1));
        if !self.may_better(worth) {
            return;
        }
        for slot in alike.within(self.quest.allowed) {
            if self.quest.excluded.has(slot) {
                continue;
            }
            let disk = match grid.places[slot.0 as usize] {
                Place::Untouched { disk_mib, .. } => disk_mib,
                Place::Nowhere | Place::InCell { .. } => 0,
            };
            if disk < disk_mib || !(self.has_ports)(slot) {
                self.lacking += 1;
            } else if !self.keep(worth, slot) {
                // Those behind it are worth as much, and have higher slots.
                return;
            }
        }
    }

    /// Keep the node if it is among the best so far.
    fn keep(&mut self, worth: i64, slot: NodeSlot) -> bool {
        let candidate = Reverse((worth, Reverse(slot)));
        if self.found.len() < self.quest.wanted {
            self.found.push(candidate);
            return true;
        }
        match self.found.peek_mut() {
            Some(mut worst) if candidate < *worst => {
                *worst = candidate;
                true
            }
            Some(_) | None => false,
        }
    }
}
