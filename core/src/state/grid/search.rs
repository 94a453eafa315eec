//! The best nodes for an ask, by branch and bound.
//!
//! Invariants
//! - no node that was not found is better than one that was, or as good with a lower slot;
//! - everything found has what is asked for, is allowed, and is not excluded;
//! - which nodes are looked at follows from where they are, not from how they came there.
use ::alloc::collections::BinaryHeap;
use ::alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Entry, Grid, Kind, Place, level, level_floor, share};
use crate::state::bits::Bits;
use crate::types::{Capacity, NodeSlot, PortGrant};

/// How nodes are compared: the less is left, the better.
pub trait Preference {
    /// What it costs that this share of the cpu, or of the memory, stays free. It never falls as the
    /// share grows.
    fn cost(&self, share: u64) -> u64;

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
    /// Nodes that were looked at one by one, and lacked cpu, memory or disk.
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
    /// Whoever is worth less is not among the best.
    least: i64,
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
        let least = i64::MIN;
        let mut search = Search { quest, preference, has_ports, found, least, lacking: 0 };
        for &kind in self.kind_of.values() {
            search.visit_kind(&self.kinds[kind]);
        }
        for (&size, alike) in &self.untouched {
            search.visit_untouched(self, size, alike);
        }
        let Search { found, lacking, .. } = search;
        let found = found.into_vec().into_iter();
        let mut nodes: Vec<(i64, NodeSlot)> =
            found.map(|Reverse((worth, Reverse(slot)))| (worth, slot)).collect();
        nodes.sort_unstable_by_key(|&(worth, slot)| (worth, Reverse(slot)));
        Found { nodes, lacking }
    }
}

impl<P: Preference, F: Fn(NodeSlot) -> bool> Search<'_, P, F> {
    /// What a node is worth at most of which such shares are left.
    fn bound(&self, cpu_cost: u64, memory_share: u64) -> i64 {
        self.preference.worth(cpu_cost + self.preference.cost(memory_share))
    }

    fn visit_kind(&mut self, kind: &Kind) {
        let Capacity { cpu_mhz, memory_mib, .. } = self.quest.ask;
        if kind.key.0 < cpu_mhz || kind.key.1 < memory_mib {
            return;
        }
        let first = level(memory_mib);
        let mut rows = kind.levels & (u64::MAX << level(cpu_mhz));
        while rows != 0 {
            let row_level = rows.trailing_zeros();
            rows &= rows - 1;
            let left = level_floor(row_level).saturating_sub(cpu_mhz);
            let cpu_cost = self.preference.cost(kind.cpu.least(left));
            if self.bound(cpu_cost, 0) < self.least {
                return;
            }
            let row = &kind.rows[row_level as usize];
            let mut columns = row.levels & (u64::MAX << first);
            if columns == 0 {
                continue;
            }
            for cell in &row.cells[row.position(first)..] {
                let left = level_floor(columns.trailing_zeros()).saturating_sub(memory_mib);
                columns &= columns - 1;
                if self.bound(cpu_cost, kind.memory.least(left)) < self.least {
                    break;
                }
                cell.iter().for_each(|entry| self.look_at(kind, entry));
            }
        }
    }

    fn is_open(&self, slot: NodeSlot) -> bool {
        self.quest.allowed.has(slot) && !self.quest.excluded.has(slot)
    }

    fn look_at(&mut self, kind: &Kind, entry: &Entry) {
        if !self.is_open(entry.slot) {
            return;
        }
        let Some(left) = entry.free.checked_sub(self.quest.ask) else {
            self.lacking += 1;
            return;
        };
        // Most are turned away without a division.
        let cpu_cost = self.preference.cost(kind.cpu.least(left.cpu_mhz));
        if self.bound(cpu_cost, kind.memory.least(left.memory_mib)) < self.least {
            return;
        }
        let worth = self.worth(left, entry.cpu_mhz_total, entry.memory_mib_total);
        if worth < self.least {
            return;
        }
        if (self.has_ports)(entry.slot) {
            self.keep(worth, entry.slot);
        }
    }

    fn worth(&self, left: Capacity, cpu_mhz_total: u32, memory_mib_total: u32) -> i64 {
        let cpu = share(left.cpu_mhz.into(), cpu_mhz_total.into());
        let memory = share(left.memory_mib.into(), memory_mib_total.into());
        self.bound(self.preference.cost(cpu), memory)
    }

    fn visit_untouched(&mut self, grid: &Grid, size: (u32, u32), alike: &Bits) {
        let ask = self.quest.ask;
        let whole = Capacity { cpu_mhz: size.0, memory_mib: size.1, disk_mib: ask.disk_mib };
        let Some(left) = whole.checked_sub(ask) else {
            return;
        };
        let worth = self.worth(left, size.0, size.1);
        if worth < self.least {
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
            if disk < ask.disk_mib {
                self.lacking += 1;
            } else if (self.has_ports)(slot) && !self.keep(worth, slot) {
                // Those behind it are worth as much, and have higher slots.
                return;
            }
        }
    }

    /// Keep the node if it is among the best so far.
    fn keep(&mut self, worth: i64, slot: NodeSlot) -> bool {
        let candidate = Reverse((worth, Reverse(slot)));
        let was_full = self.found.len() == self.quest.wanted;
        if !was_full {
            self.found.push(candidate);
        } else if let Some(mut worst) = self.found.peek_mut().filter(|worst| candidate < **worst) {
            *worst = candidate;
        } else {
            return false;
        }
        if self.found.len() == self.quest.wanted {
            self.least = self.found.peek().map_or(i64::MIN, |Reverse((worth, _))| *worth);
        }
        true
    }
}
