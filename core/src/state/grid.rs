//! Nodes that may be placed on, by what is free on them: the index behind best fit.
//!
//! Machines of nearly one size make a kind. Each kind has rows by free cpu and in them cells by free
//! memory, both in levels of a quarter of a doubling. A search visits cells from the fullest to the
//! emptiest and ends where no cell that is left can hold a better node than those found: of ten
//! thousand nodes on which different things run it looks at some dozens. Where the same runs on all machines
//! of one size they share a cell, and it looks at each, but weighs only those unlike the one before.
//! Machines with nothing on them stand apart: there the first that is allowed is the best.
//!
//! Source: branch and bound over a grid file (Nievergelt, Hinterberger, Sevcik: The Grid File, 1984).
//!
//! Invariants
//! - every node that may be placed on, and does not hold more than it has, is in exactly one place; that
//!   follows from its totals and from what is free there;
//! - what a search finds does not depend on the order in which nodes came to be in a cell.
//!
//! It knows neither ports nor constraints; both are asked for while it searches.
use ::alloc::collections::BTreeMap;
use ::alloc::vec::Vec;

use super::bits::Bits;
use crate::types::{Capacity, NodeSlot};

mod keep;
mod search;

pub use self::search::{End, Found, Parting, Preference, Quest};

/// Levels of free cpu and memory.
const LEVELS: usize = 64;
/// Less than this is level zero.
const LEVEL_FIRST: u32 = 32;
/// Digits of a machine's size that tell kinds apart: kinds are one percent wide, so that machines whose
/// kernels keep a little more or less for themselves are of one kind.
const SIZE_DIGITS: u32 = 7;

/// Four to a doubling.
fn level(free: u32) -> usize {
    if free < LEVEL_FIRST {
        return 0;
    }
    let doublings = free.ilog2();
    let quarter = (free >> (doublings - 2)) & 3;
    let level = (doublings - LEVEL_FIRST.ilog2()) * 4 + quarter + 1;
    (level as usize).min(LEVELS - 1)
}

/// The least that is free at a level.
const fn level_floor(level: u32) -> u32 {
    if level == 0 {
        return 0;
    }
    let above = level - 1;
    (4 + above % 4) << (LEVEL_FIRST.ilog2() + above / 4 - 2)
}

/// The fixed point of shares: this is the whole.
pub const SHARE_ONE: u64 = 1 << 20;

/// Which share of `total` is left.
#[must_use]
pub fn share(left: u64, total: u64) -> u64 {
    // A node without any of it has none left.
    (left * SHARE_ONE).checked_div(total).unwrap_or(0)
}

/// Shares of what machines of nearly one size have.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// Of the largest.
    factor: u64,
    /// What the smallest has.
    floor: u32,
}

impl Shares {
    const DIGITS: u32 = 32;

    /// Of machines that have at most `top`, which is a kind's.
    fn of(top: u32) -> Self {
        Self { factor: share(1 << Self::DIGITS, top.into()), floor: top & !kind_mask(top) }
    }

    /// At most the share of `left`, and hardly less where it is of the largest; without a division.
    const fn least(self, left: u32) -> u64 {
        (left as u64 * self.factor) >> Self::DIGITS
    }

    /// At least the share of `left`.
    fn most(self, left: u32) -> u64 {
        share(left.into(), self.floor.into()).min(SHARE_ONE)
    }
}

/// The largest machine of the kind that one with `total` is of.
const fn kind_top(total: u32) -> u32 {
    total | kind_mask(total)
}

/// The digits in which machines of a kind may differ.
const fn kind_mask(total: u32) -> u32 {
    let digits = u32::BITS - total.leading_zeros();
    (1_u32 << digits.saturating_sub(SIZE_DIGITS)) - 1
}

/// How a node stands: what it has, and what of it is free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    pub(super) total: Capacity,
    pub(super) free: Capacity,
}

/// A node in a cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    slot: NodeSlot,
    cpu_mhz_total: u32,
    memory_mib_total: u32,
    free: Capacity,
}

impl Entry {
    const fn of(slot: NodeSlot, Standing { total, free }: Standing) -> Self {
        let (cpu_mhz_total, memory_mib_total) = (total.cpu_mhz, total.memory_mib);
        Self { slot, cpu_mhz_total, memory_mib_total, free }
    }

    /// Whether the two differ in nothing but where they are.
    #[inline]
    fn is_like(&self, other: &Self) -> bool {
        let Self { slot: _, cpu_mhz_total, memory_mib_total, free } = *self;
        // What differs in most comes first.
        free == other.free
            && cpu_mhz_total == other.cpu_mhz_total
            && memory_mib_total == other.memory_mib_total
    }
}

/// The kind, the row and the column that a node belongs to.
fn place_of(entry: &Entry) -> (KindKey, (usize, usize)) {
    let kind = (kind_top(entry.cpu_mhz_total), kind_top(entry.memory_mib_total));
    (kind, (level(entry.free.cpu_mhz), level(entry.free.memory_mib)))
}

/// Nodes of one kind with nearly as much cpu free.
#[derive(Clone, Debug, Default)]
struct Row {
    /// Levels of free memory that have a cell.
    levels: u64,
    /// Those cells, in the order of their levels; none is empty.
    cells: Vec<Vec<Entry>>,
}

impl Row {
    const fn position(&self, level: usize) -> usize {
        (self.levels & ((1 << level) - 1)).count_ones() as usize
    }

    /// The cell of the level, which is there or is made from `spare`.
    fn cell_mut(&mut self, level: usize, spare: &mut Vec<Vec<Entry>>) -> &mut Vec<Entry> {
        let at = self.position(level);
        if self.levels & (1 << level) == 0 {
            self.levels |= 1 << level;
            self.cells.insert(at, spare.pop().unwrap_or_default());
        }
        &mut self.cells[at]
    }

    fn drop_cell(&mut self, level: usize, spare: &mut Vec<Vec<Entry>>) {
        let at = self.position(level);
        let cell = self.cells.remove(at);
        assert!(cell.is_empty(), "only a cell without nodes goes");
        spare.push(cell);
        self.levels &= !(1 << level);
    }
}

/// The largest cpu and memory of a kind.
type KindKey = (u32, u32);

/// Machines of nearly one size, with something on them.
#[derive(Clone, Debug)]
struct Kind {
    key: KindKey,
    /// Of the largest machine of the kind.
    cpu: Shares,
    memory: Shares,
    node_count: u32,
    /// Levels of free cpu that have a row with nodes.
    levels: u64,
    rows: Vec<Row>,
    /// Cells that have lost their last node: each move of a node would ask for memory otherwise.
    spare: Vec<Vec<Entry>>,
}

impl Kind {
    fn new(key: KindKey) -> Self {
        let mut rows = Vec::new();
        rows.resize_with(LEVELS, Row::default);
        let (cpu, memory) = (Shares::of(key.0), Shares::of(key.1));
        Self { key, cpu, memory, node_count: 0, levels: 0, rows, spare: Vec::new() }
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    /// Nothing fits there.
    #[default]
    Nowhere,
    Untouched {
        size: KindKey,
        disk_mib: u32,
    },
    InCell {
        kind: usize,
        row: usize,
        column: usize,
        position: usize,
    },
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Grid {
    /// By slot.
    places: Vec<Place>,
    /// By cpu and memory, to the machines of that size with nothing on them.
    untouched: BTreeMap<KindKey, Bits>,
    kinds: Vec<Kind>,
    kind_of: BTreeMap<KindKey, usize>,
    /// Kinds without nodes, to be used again.
    spare: Vec<usize>,
}

impl Grid {
    /// The node at `slot` stands like this now; `None`: nothing fits there.
    pub(super) fn put(&mut self, slot: NodeSlot, standing: Option<Standing>) {
        let at = slot.0 as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, Place::Nowhere);
        }
        let Some(Standing { total, free }) = standing else {
            return self.take_out(slot);
        };
        if total == free {
            self.take_out(slot);
            let size = (total.cpu_mhz, total.memory_mib);
            self.untouched.entry(size).or_default().insert(slot);
            self.places[at] = Place::Untouched { size, disk_mib: total.disk_mib };
            return;
        }
        let entry = Entry::of(slot, Standing { total, free });
        let (key, (row, column)) = place_of(&entry);
        if let Place::InCell { kind, row: old_row, column: old_column, position } = self.places[at]
            && (old_row, old_column) == (row, column)
            && self.kinds[kind].key == key
        {
            let cells = &mut self.kinds[kind].rows[row];
            let at = cells.position(column);
            cells.cells[at][position] = entry;
            return;
        }
        self.take_out(slot);
        let kind = self.kind(key);
        let found = &mut self.kinds[kind];
        found.node_count += 1;
        found.levels |= 1 << row;
        let cell = found.rows[row].cell_mut(column, &mut found.spare);
        cell.push(entry);
        let position = cell.len() - 1;
        self.places[at] = Place::InCell { kind, row, column, position };
    }

    fn kind(&mut self, key: KindKey) -> usize {
        if let Some(&known) = self.kind_of.get(&key) {
            return known;
        }
        let fresh = match self.spare.pop() {
            Some(spare) => {
                // Its rows are empty, and stay.
                let rows = core::mem::take(&mut self.kinds[spare].rows);
                self.kinds[spare] = Kind { rows, ..Kind::new(key) };
                spare
            }
            None => {
                self.kinds.push(Kind::new(key));
                self.kinds.len() - 1
            }
        };
        self.kind_of.insert(key, fresh);
        fresh
    }

    fn take_out(&mut self, slot: NodeSlot) {
        match core::mem::take(&mut self.places[slot.0 as usize]) {
            Place::Nowhere => {}
            Place::Untouched { size, .. } => {
                let alike = self.untouched.get_mut(&size);
                let alike = alike.expect("invariant: a place that a node has exists");
                let was = alike.remove(slot);
                assert!(was, "a node is where it is said to be");
                if alike.is_empty() {
                    self.untouched.remove(&size);
                }
            }
            Place::InCell { kind, row, column, position } => {
                self.take_out_of_cell((kind, row, column), position);
            }
        }
    }

    fn take_out_of_cell(&mut self, (kind, row, column): (usize, usize, usize), position: usize) {
        let found = &mut self.kinds[kind];
        let at = found.rows[row].position(column);
        let cell = &mut found.rows[row].cells[at];
        cell.swap_remove(position);
        match cell.get(position) {
            Some(moved) => {
                let place = Place::InCell { kind, row, column, position };
                self.places[moved.slot.0 as usize] = place;
            }
            None if cell.is_empty() => found.rows[row].drop_cell(column, &mut found.spare),
            None => {}
        }
        if found.rows[row].levels == 0 {
            found.levels &= !(1 << row);
        }
        found.node_count -= 1;
        if found.node_count == 0 {
            self.kind_of.remove(&found.key);
            self.spare.push(kind);
        }
    }

    /// One more than the highest slot that was ever put.
    pub(super) const fn slot_count(&self) -> usize {
        self.places.len()
    }

    /// Every node is in one place, and in the right one. `standing` says how the node at a slot stands.
    ///
    /// # Panics
    /// When one is not.
    pub(super) fn check_invariants(&self, standing: impl Fn(NodeSlot) -> Option<Standing>) {
        let (mut untouched_count, mut touched_count) = (0, 0);
        for (slot, place) in (0..).map(NodeSlot).zip(&self.places) {
            let standing = standing(slot);
            match *place {
                Place::Nowhere => assert!(standing.is_none(), "what may be placed on has a place"),
                Place::Untouched { size, disk_mib } => {
                    let (cpu_mhz, memory_mib) = size;
                    let total = Capacity { cpu_mhz, memory_mib, disk_mib };
                    assert!(standing == Some(Standing { total, free: total }), "nothing is held");
                    let alike = self.untouched.get(&size);
                    assert!(alike.is_some_and(|alike| alike.has(slot)), "a place leads back");
                    untouched_count += 1;
                }
                Place::InCell { kind, row, column, position } => {
                    let standing = standing.expect("invariant: only what may be placed on");
                    let entry = Entry::of(slot, standing);
                    let (key, at) = place_of(&entry);
                    assert!(key == self.kinds[kind].key, "a node is of the kind of its size");
                    assert!(at == (row, column), "a node is in the cell of what is free");
                    let cells = &self.kinds[kind].rows[row];
                    let found = &cells.cells[cells.position(column)][position];
                    assert!(*found == entry, "a node is in its cell as it stands");
                    touched_count += 1;
                }
            }
        }
        let untouched: usize = self.untouched.values().map(|alike| alike.iter().count()).sum();
        assert!(untouched == untouched_count, "who is in no place has none");
        assert!(self.untouched.values().all(|alike| !alike.is_empty()), "a size has machines");
        let touched: usize = self.kind_of.values().map(|&at| self.kinds[at].checked_count()).sum();
        assert!(touched == touched_count, "who is in no cell has none");
    }
}

impl Kind {
    /// How many nodes are in its cells, which are marked where there are any.
    fn checked_count(&self) -> usize {
        let mut count = 0;
        for (row, cells) in self.rows.iter().enumerate() {
            let is_marked = self.levels & (1 << row) != 0;
            assert!(is_marked != cells.cells.is_empty(), "a row with cells is marked");
            let marked = cells.levels.count_ones() as usize;
            assert!(marked == cells.cells.len(), "each cell of a row is marked");
            assert!(cells.cells.iter().all(|cell| !cell.is_empty()), "a cell has nodes");
            count += cells.cells.iter().map(Vec::len).sum::<usize>();
        }
        assert!(count == self.node_count as usize && 0 < count, "a kind counts its nodes");
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_begins_at_its_floor() {
        assert_eq!(level(0), 0);
        for at in 1..LEVELS {
            let floor = level_floor(u32::try_from(at).unwrap());
            assert_eq!(level(floor), at);
            assert_eq!(level(floor - 1), at - 1);
        }
        assert_eq!(level(u32::MAX), LEVELS - 1);
    }

    #[test]
    fn a_share_without_a_division_is_never_too_large_and_hardly_too_small() {
        for total in [1_u32, 3, 100, 14_335, 65_535, 3_000_000, u32::MAX] {
            for left in [0, 1, total / 3, total / 2, total - total / 7, total] {
                let (exact, least) =
                    (share(left.into(), total.into()), Shares::of(total).least(left));
                assert!(least <= exact && exact <= least + 2, "{left} of {total}: {least} {exact}");
            }
        }
        assert_eq!(Shares::of(0).least(0), share(0, 0));
    }

    #[test]
    fn a_kind_reaches_to_its_top_and_is_one_percent_wide() {
        for total in [0, 1, 100, 127, 128, 14_000, 65_536, u32::MAX] {
            let top = kind_top(total);
            assert!(total <= top && u64::from(top - total) * 64 <= u64::from(total));
            assert_eq!(kind_top(top), top);
        }
        assert_ne!(kind_top(14_000), kind_top(14_200));
    }
}
