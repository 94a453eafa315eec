//! The best nodes for an ask, by branch and bound.
//!
//! Invariants
//! - no node that was not found is better than one that was, or as good with a lower slot; where the
//!   fleet is parted, of each part;
//! - everything found has what is asked for, is allowed, and is not excluded;
//! - which nodes are looked at follows from where they are, not from how they came there.
use ::alloc::vec::Vec;

use super::keep::{Keeper, Shelf, Shelves};
use super::{Entry, Grid, Kind, LEVELS, Place, level, level_floor, share};
use crate::state::bits::Bits;
use crate::types::{Capacity, NodeSlot, PortGrant};

/// How nodes are compared.
pub trait Preference {
    /// Which of them are better.
    const FIRST: End;

    /// What it costs that this share of the cpu, or of the memory, stays free. It never falls as the
    /// share grows.
    fn cost(&self, share: u64) -> u64;

    /// What a node is worth whose cpu and memory cost so much together. It never grows with `cost`
    /// where the fullest are the best, and never falls where the emptiest are.
    fn worth(&self, cost: u64) -> i64;
}

/// An end of the order of nodes by what is left on them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Fullest,
    Emptiest,
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

/// Nodes in parts, of each of which the best are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Parting<'q> {
    /// The part of each node; one that there is not: none.
    pub of_slot: &'q [u32],
    /// How many nodes of each part.
    pub wanted: &'q [u32],
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What each is worth, the best last; fewer than wanted when there are no more.
    pub nodes: Vec<(i64, NodeSlot)>,
    /// Nodes that were looked at one by one, and lacked cpu, memory or disk.
    pub lacking: u32,
}

struct Search<'s, P, F, K> {
    quest: Quest<'s>,
    preference: &'s P,
    takes: F,
    kept: K,
    lacking: u32,
    /// The last node of a cell that had what is asked for, and what it was worth. In large fleets most are
    /// like the one before, and differ in their slots alone.
    last: Option<(Entry, i64)>,
}

impl Grid {
    /// The nodes that are best for the quest. `takes` says whether the ports are free on a node.
    pub(in crate::state) fn search(
        &self,
        quest: Quest<'_>,
        preference: &impl Preference,
        takes: impl Fn(NodeSlot) -> bool,
    ) -> Found {
        assert!(0 < quest.wanted, "something is looked for");
        let kept = Shelf::of(quest.wanted);
        let search = Search { quest, preference, takes, kept, lacking: 0, last: None };
        let (kept, lacking) = search.visit(self);
        Found { nodes: kept.into_nodes(), lacking }
    }

    /// The nodes of each part that are best for the quest, and how many lacked something. How many are
    /// wanted, the parts say.
    pub(in crate::state) fn search_parts(
        &self,
        quest: Quest<'_>,
        parting: Parting<'_>,
        preference: &impl Preference,
        takes: impl Fn(NodeSlot) -> bool,
    ) -> (Vec<Vec<(i64, NodeSlot)>>, u32) {
        let kept = Shelves::of(parting);
        let search = Search { quest, preference, takes, kept, lacking: 0, last: None };
        let (kept, lacking) = search.visit(self);
        (kept.into_shelves().into_iter().map(Shelf::into_nodes).collect(), lacking)
    }
}

impl<P: Preference, F: Fn(NodeSlot) -> bool, K: Keeper> Search<'_, P, F, K> {
    fn visit(mut self, grid: &Grid) -> (K, u32) {
        match P::FIRST {
            End::Fullest => {
                for &kind in grid.kind_of.values() {
                    self.visit_kind(&grid.kinds[kind]);
                }
                for (&size, alike) in &grid.untouched {
                    self.visit_untouched(grid, size, alike);
                }
            }
            End::Emptiest => {
                for (&size, alike) in grid.untouched.iter().rev() {
                    self.visit_untouched(grid, size, alike);
                }
                self.kept.begin_anew();
                for &kind in grid.kind_of.values() {
                    self.visit_kind_from_above(&grid.kinds[kind]);
                }
            }
        }
        (self.kept, self.lacking)
    }

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
            let row = &kind.rows[row_level as usize];
            let mut columns = row.levels & (u64::MAX << first);
            if columns == 0 {
                // Where memory is what is scarce, many rows are passed over at no cost.
                continue;
            }
            let left = level_floor(row_level).saturating_sub(cpu_mhz);
            let cpu_cost = self.preference.cost(kind.cpu.least(left));
            if self.bound(cpu_cost, 0) < self.kept.least() {
                return;
            }
            for cell in &row.cells[row.position(first)..] {
                let left = level_floor(columns.trailing_zeros()).saturating_sub(memory_mib);
                columns &= columns - 1;
                if self.bound(cpu_cost, kind.memory.least(left)) < self.kept.least() {
                    break;
                }
                cell.iter().for_each(|entry| self.look_at(kind, entry));
            }
        }
    }

    /// The same from the other end: nodes are the better, the more is left.
    fn visit_kind_from_above(&mut self, kind: &Kind) {
        let Capacity { cpu_mhz, memory_mib, .. } = self.quest.ask;
        if kind.key.0 < cpu_mhz || kind.key.1 < memory_mib {
            return;
        }
        let first = level(memory_mib);
        let memory_most = kind.memory.most(kind.key.1 - memory_mib);
        let mut rows = kind.levels & (u64::MAX << level(cpu_mhz));
        while rows != 0 {
            let row_level = rows.ilog2();
            rows &= !(1 << row_level);
            let left = level_top(row_level).min(kind.key.0).saturating_sub(cpu_mhz);
            let cpu_cost = self.preference.cost(kind.cpu.most(left));
            if self.bound(cpu_cost, memory_most) < self.kept.least() {
                return;
            }
            let row = &kind.rows[row_level as usize];
            let mut columns = row.levels & (u64::MAX << first);
            if columns == 0 {
                continue;
            }
            for cell in row.cells[row.position(first)..].iter().rev() {
                let column = columns.ilog2();
                columns &= !(1 << column);
                let left = level_top(column).min(kind.key.1).saturating_sub(memory_mib);
                if self.bound(cpu_cost, kind.memory.most(left)) < self.kept.least() {
                    break;
                }
                cell.iter().for_each(|entry| self.look_at(kind, entry));
            }
        }
    }

    #[inline]
    fn is_open(&self, slot: NodeSlot) -> bool {
        self.quest.allowed.has(slot) && !self.quest.excluded.has(slot)
    }

    fn look_at(&mut self, kind: &Kind, entry: &Entry) {
        let slot = entry.slot;
        if !self.is_open(slot) {
            return;
        }
        let known = match &self.last {
            Some((last, worth)) if last.is_like(entry) => Some(*worth),
            Some(_) | None => None,
        };
        let worth = match known {
            Some(worth) => worth,
            None => match self.worth_of(kind, entry) {
                Some(worth) => worth,
                None => return,
            },
        };
        if self.kept.may_keep(worth, slot) && (self.takes)(slot) {
            self.kept.keep(worth, slot);
        }
    }

    /// What a node is worth that is not like the last; `None`: nothing fits there, or it is not kept anyway.
    fn worth_of(&mut self, kind: &Kind, entry: &Entry) -> Option<i64> {
        let Some(left) = entry.free.checked_sub(self.quest.ask) else {
            self.lacking += 1;
            return None;
        };
        if P::FIRST == End::Fullest {
            // Most are turned away without a division.
            let cpu_cost = self.preference.cost(kind.cpu.least(left.cpu_mhz));
            let bound = self.bound(cpu_cost, kind.memory.least(left.memory_mib));
            if !self.kept.may_keep(bound, entry.slot) {
                return None;
            }
        }
        let worth = self.worth(left, entry.cpu_mhz_total, entry.memory_mib_total);
        self.last = Some((*entry, worth));
        Some(worth)
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
        if worth < self.kept.least() {
            return;
        }
        self.kept.begin_anew();
        for slot in alike.within(self.quest.allowed) {
            if self.quest.excluded.has(slot) {
                continue;
            }
            if !self.kept.may_keep(worth, slot) {
                // Those behind it are worth as much, and have higher slots.
                if self.kept.close(slot) {
                    return;
                }
                continue;
            }
            let disk = match grid.places[slot.0 as usize] {
                Place::Untouched { disk_mib, .. } => disk_mib,
                Place::Nowhere | Place::InCell { .. } => 0,
            };
            if disk < ask.disk_mib {
                self.lacking += 1;
            } else if (self.takes)(slot) {
                self.kept.keep(worth, slot);
            }
        }
    }
}

/// The most that is free at a level.
fn level_top(level: u32) -> u32 {
    if level as usize == LEVELS - 1 { u32::MAX } else { level_floor(level + 1) - 1 }
}
