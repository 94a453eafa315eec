//! Which slot a node has, found at once: of every alloc that is placed, told or counted it is asked.
//!
//! A table of slots with room for twice as many, by a mix of the node's id (linear probing; Knuth, The Art of
//! Computer Programming 3, 6.4). Who is at a slot, the fleet's column says.
//!
//! Invariants
//! - a node that has a slot is found, whatever came and went before;
//! - what is found does not depend on the order in which nodes came.
use ::alloc::vec;
use ::alloc::vec::Vec;

use crate::rng::mix;
use crate::types::{NodeId, NodeSlot};

const LEN_MIN: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// One more than a slot; zero where there is none.
    table: Vec<u32>,
    count: usize,
}

/// The column that says who is at a slot.
type Ids = [Option<NodeId>];

impl Slots {
    #[expect(clippy::cast_possible_truncation, reason = "what is cut is not needed")]
    const fn home(&self, NodeId(id): NodeId) -> usize {
        let mixed = mix((id >> 64) as u64 ^ mix(id as u64));
        mixed as usize & (self.table.len() - 1)
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.table.len() - 1)
    }

    fn id(ids: &Ids, entry: u32) -> NodeId {
        ids[entry as usize - 1].expect("invariant: a slot in the table has a node")
    }

    /// The slot of the node.
    pub(super) fn of(&self, id: NodeId, ids: &Ids) -> Option<NodeSlot> {
        if self.count == 0 {
            return None;
        }
        let mut at = self.home(id);
        while self.table[at] != 0 {
            if Self::id(ids, self.table[at]) == id {
                return Some(NodeSlot(self.table[at] - 1));
            }
            at = self.after(at);
        }
        None
    }

    /// The node at the slot has come.
    pub(super) fn insert(&mut self, slot: NodeSlot, ids: &Ids) {
        self.count += 1;
        if self.table.len() < 2 * self.count {
            let len = (4 * self.count).next_power_of_two().max(LEN_MIN);
            let before = core::mem::replace(&mut self.table, vec![0; len]);
            before.into_iter().filter(|&entry| entry != 0).for_each(|entry| self.put(entry, ids));
        }
        self.put(slot.0 + 1, ids);
    }

    fn put(&mut self, entry: u32, ids: &Ids) {
        let mut at = self.home(Self::id(ids, entry));
        while self.table[at] != 0 {
            at = self.after(at);
        }
        self.table[at] = entry;
    }

    /// The node at the slot, which is still in the column, goes.
    pub(super) fn remove(&mut self, slot: NodeSlot, ids: &Ids) {
        let mask = self.table.len() - 1;
        let mut hole = self.home(Self::id(ids, slot.0 + 1));
        while self.table[hole] != slot.0 + 1 {
            assert!(self.table[hole] != 0, "who has a slot is found");
            hole = self.after(hole);
        }
        // Whoever was pushed on by it moves back.
        let mut at = self.after(hole);
        while self.table[at] != 0 {
            let home = self.home(Self::id(ids, self.table[at]));
            if (at.wrapping_sub(hole) & mask) <= (at.wrapping_sub(home) & mask) {
                self.table[hole] = self.table[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.table[hole] = 0;
        self.count -= 1;
    }

    /// Everyone in the column is found where they are, and nobody else.
    ///
    /// # Panics
    /// When that is not so.
    pub(super) fn check_invariants(&self, ids: &Ids) {
        let there = (0..).map(NodeSlot).zip(ids).filter_map(|(slot, id)| Some((slot, (*id)?)));
        let mut count = 0;
        for (slot, id) in there {
            assert!(self.of(id, ids) == Some(slot), "a node has one slot, and a slot one node");
            count += 1;
        }
        assert!(count == self.count, "who is gone is not counted");
        assert!(self.table.iter().filter(|&&entry| entry != 0).count() == count, "nor kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn whoever_comes_and_goes_those_who_are_there_are_found() {
        let (mut slots, mut ids, mut rng) = (Slots::default(), vec![None; 200], Rng::from_seed(7));
        for step in 0..20_000_u32 {
            let slot = NodeSlot(u32::try_from(rng.between(0, 199)).unwrap());
            let at = slot.0 as usize;
            if ids[at].is_some() {
                slots.remove(slot, &ids);
                ids[at] = None;
            } else {
                ids[at] = Some(NodeId(u128::from(step) + 1));
                slots.insert(slot, &ids);
            }
            if step % 50 == 0 {
                slots.check_invariants(&ids);
            }
        }
        assert_eq!(slots.of(NodeId(0), &ids), None);
    }
}
