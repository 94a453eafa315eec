//! What is going to happen, in the order of time; at one moment, in the order it was planned.
//!
//! Invariants
//! - nothing is planned for the past, so time never goes back.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Moment;

/// Events to come.
#[derive(Debug)]
pub struct Queue<T> {
    now: Moment,
    next_seq: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    /// What happens, by slot: it stays where it is while the heap is sorted.
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Entry {
    at: Moment,
    seq: u64,
    slot: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (heap, slots, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { now: Moment::default(), next_seq: 0, heap, slots, free }
    }
}

impl<T> Queue<T> {
    /// The moment of the last event taken out.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// Let `what` happen at `at`, or now if that is past.
    pub fn push(&mut self, at: Moment, what: T) {
        let at = at.max(self.now);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.heap.push(Reverse(Entry { at, seq: self.next_seq, slot }));
        self.next_seq += 1;
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next event, if it happens before `end`.
    pub fn pop_before(&mut self, end: Moment) -> Option<T> {
        if self.heap.peek().is_none_or(|Reverse(entry)| end <= entry.at) {
            self.now = self.now.max(end);
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        assert!(self.now <= entry.at, "time never goes back");
        self.now = entry.at;
        self.free.push(entry.slot);
        self.slots[entry.slot].take()
    }
}
