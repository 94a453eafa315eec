//! What a search keeps of the nodes that it looks at: the best of all, or the best of each part.
//!
//! Invariants
//! - whoever is worth less than `least` would not be kept;
//! - what is kept of a part are its best, and of those that are worth as much the lowest slots.
use ::alloc::collections::BinaryHeap;
use ::alloc::vec::Vec;
use core::cmp::Reverse;

use super::search::Parting;
use crate::types::NodeSlot;

/// A node and what it is worth. The greatest is the best, then the lowest slot.
type Candidate = (i64, Reverse<NodeSlot>);

/// See the module.
pub(super) trait Keeper {
    /// Whoever is worth less is kept nowhere.
    fn least(&mut self) -> i64;

    /// Whether a node that is worth so much would be kept.
    fn may_keep(&self, worth: i64, slot: NodeSlot) -> bool;

    /// Keep the node, which may be kept.
    fn keep(&mut self, worth: i64, slot: NodeSlot);

    /// The node may not be kept, and nor may any of its part that is worth as much and has a higher slot:
    /// until `begin_anew`, only such follow. Whether that is so of every part.
    fn close(&mut self, slot: NodeSlot) -> bool;

    /// Nodes of other worth follow.
    fn begin_anew(&mut self);
}

/// The best so many.
#[derive(Debug)]
pub(super) struct Shelf {
    wanted: usize,
    /// The worst of those found comes first.
    found: BinaryHeap<Reverse<Candidate>>,
    /// Whoever is worth less is not among the best, nor is who is worth as much and has a higher slot.
    least: i64,
    least_slot: NodeSlot,
}

impl Shelf {
    pub(super) const fn of(wanted: usize) -> Self {
        let least = if wanted == 0 { i64::MAX } else { i64::MIN };
        Self { wanted, found: BinaryHeap::new(), least, least_slot: NodeSlot(u32::MAX) }
    }

    /// What was found, the best last.
    pub(super) fn into_nodes(self) -> Vec<(i64, NodeSlot)> {
        let found = self.found.into_vec().into_iter();
        let mut nodes: Vec<(i64, NodeSlot)> =
            found.map(|Reverse((worth, Reverse(slot)))| (worth, slot)).collect();
        nodes.sort_unstable_by_key(|&(worth, slot)| (worth, Reverse(slot)));
        nodes
    }

    /// Whether it is among the best so far.
    #[inline]
    fn may_put(&self, worth: i64, slot: NodeSlot) -> bool {
        self.least < worth || (self.least == worth && slot <= self.least_slot)
    }

    fn put(&mut self, worth: i64, slot: NodeSlot) {
        let candidate = Reverse((worth, Reverse(slot)));
        if self.found.len() < self.wanted {
            self.found.push(candidate);
        } else if let Some(mut worst) = self.found.peek_mut() {
            *worst = candidate;
        }
        if self.found.len() == self.wanted
            && let Some(&Reverse((worth, Reverse(slot)))) = self.found.peek()
        {
            (self.least, self.least_slot) = (worth, slot);
        }
    }
}

impl Keeper for Shelf {
    fn least(&mut self) -> i64 {
        self.least
    }

    fn may_keep(&self, worth: i64, slot: NodeSlot) -> bool {
        self.may_put(worth, slot)
    }

    fn keep(&mut self, worth: i64, slot: NodeSlot) {
        self.put(worth, slot);
    }

    fn close(&mut self, _: NodeSlot) -> bool {
        true
    }

    fn begin_anew(&mut self) {}
}

/// A shelf for each part.
#[derive(Debug)]
pub(super) struct Shelves<'s> {
    of_slot: &'s [u32],
    shelves: Vec<Shelf>,
    /// The least of all; `None`: it has risen since it was looked for.
    least: Option<i64>,
    is_closed: Vec<bool>,
    open_count: usize,
}

impl<'s> Shelves<'s> {
    pub(super) fn of(parting: Parting<'s>) -> Self {
        let shelves = parting.wanted.iter().map(|&wanted| Shelf::of(wanted as usize));
        let shelves: Vec<Shelf> = shelves.collect();
        let mut is_closed = Vec::new();
        is_closed.resize(shelves.len(), false);
        let of_slot = parting.of_slot;
        let mut shelves = Self { of_slot, shelves, least: None, is_closed, open_count: 0 };
        shelves.begin_anew();
        shelves
    }

    pub(super) fn into_shelves(self) -> Vec<Shelf> {
        self.shelves
    }

    fn part(&self, slot: NodeSlot) -> Option<usize> {
        let part = self.of_slot.get(slot.0 as usize).map(|&part| part as usize)?;
        (part < self.shelves.len()).then_some(part)
    }
}

impl Keeper for Shelves<'_> {
    fn least(&mut self) -> i64 {
        let shelves = &self.shelves;
        let found = || shelves.iter().map(|shelf| shelf.least).min().unwrap_or(i64::MAX);
        *self.least.get_or_insert_with(found)
    }

    fn may_keep(&self, worth: i64, slot: NodeSlot) -> bool {
        let part = self.part(slot);
        part.is_some_and(|part| !self.is_closed[part] && self.shelves[part].may_put(worth, slot))
    }

    fn keep(&mut self, worth: i64, slot: NodeSlot) {
        let part = self.part(slot).expect("invariant: what may be kept has a part");
        let shelf = &mut self.shelves[part];
        let before = shelf.least;
        shelf.put(worth, slot);
        if before != shelf.least && self.least == Some(before) {
            self.least = None;
        }
    }

    fn close(&mut self, slot: NodeSlot) -> bool {
        if let Some(part) = self.part(slot).filter(|&part| !self.is_closed[part]) {
            self.is_closed[part] = true;
            self.open_count -= 1;
        }
        self.open_count == 0
    }

    fn begin_anew(&mut self) {
        for (is_closed, shelf) in self.is_closed.iter_mut().zip(&self.shelves) {
            *is_closed = shelf.wanted == 0;
        }
        self.open_count = self.is_closed.iter().filter(|is_closed| !**is_closed).count();
    }
}
