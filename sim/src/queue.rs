//! What is going to happen, in the order of time; at one moment, in the order it was planned.
//!
//! Invariants
//! - nothing is planned for the past, so time never goes back.
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::clock::Moment;

/// Events to come.
#[derive(Debug)]
pub struct Queue<T> {
    now: Moment,
    next_seq: u64,
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    at: Moment,
    seq: u64,
    what: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { now: Moment::default(), next_seq: 0, heap: BinaryHeap::new() }
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
        self.heap.push(Reverse(Entry { at, seq: self.next_seq, what }));
        self.next_seq += 1;
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
        Some(entry.what)
    }
}

impl<T> Entry<T> {
    const fn key(&self) -> (Moment, u64) {
        (self.at, self.seq)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
