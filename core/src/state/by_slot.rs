//! Something for a few of all slots, found at once.
//!
//! A plan touches some nodes of many, and asks for what it knows of one again and again. Positions
//! stand in pages of which only those are there that are needed.
//!
//! Invariants
//! - each slot has at most one value; they keep the order in which they came.
use ::alloc::boxed::Box;
use ::alloc::vec::Vec;

use crate::types::NodeSlot;

const PAGE_SLOTS: u32 = 64;

/// One more than the position of each slot's value; zero where there is none.
type Page = [u32; PAGE_SLOTS as usize];

/// See the module.
#[derive(Clone, Debug)]
pub struct BySlot<T> {
    pages: Vec<Option<Box<Page>>>,
    values: Vec<(NodeSlot, T)>,
}

impl<T> Default for BySlot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> BySlot<T> {
    /// Nothing for any slot.
    #[must_use]
    pub const fn new() -> Self {
        Self { pages: Vec::new(), values: Vec::new() }
    }

    const fn at(slot: NodeSlot) -> (usize, usize) {
        ((slot.0 / PAGE_SLOTS) as usize, (slot.0 % PAGE_SLOTS) as usize)
    }

    fn position(&self, slot: NodeSlot) -> Option<usize> {
        let (page, at) = Self::at(slot);
        let known = self.pages.get(page)?.as_ref()?[at];
        (known as usize).checked_sub(1)
    }

    #[must_use]
    pub fn get(&self, slot: NodeSlot) -> Option<&T> {
        self.position(slot).map(|at| &self.values[at].1)
    }

    pub fn get_mut(&mut self, slot: NodeSlot) -> Option<&mut T> {
        self.position(slot).map(|at| &mut self.values[at].1)
    }

    /// The slot's value, which begins as `fresh` says.
    pub fn get_or_insert_with(&mut self, slot: NodeSlot, fresh: impl FnOnce() -> T) -> &mut T {
        let at = self.position(slot).unwrap_or_else(|| {
            let (page, at) = Self::at(slot);
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            self.values.push((slot, fresh()));
            let position = u32::try_from(self.values.len());
            let entries = self.pages[page].get_or_insert_with(|| Box::new([0; _]));
            entries[at] = position.expect("invariant: fewer than 2^32 nodes");
            self.values.len() - 1
        });
        &mut self.values[at].1
    }

    /// Every slot that has a value, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (NodeSlot, &T)> {
        self.values.iter().map(|(slot, value)| (*slot, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_what_it_was_given() {
        let mut counts = BySlot::new();
        for slot in [700, 3, 64, 3] {
            *counts.get_or_insert_with(NodeSlot(slot), || 10) += 1;
        }
        let seen = |counts: &BySlot<i32>| [3, 64, 700, 4].map(|s| counts.get(NodeSlot(s)).copied());
        assert_eq!(seen(&counts), [Some(12), Some(11), Some(11), None]);
        assert!(counts.iter().map(|(slot, _)| slot.0).eq([700, 3, 64]));
        assert!(counts.get_mut(NodeSlot(9_999)).is_none());
    }
}
