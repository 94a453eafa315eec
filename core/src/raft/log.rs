//! The log in memory: frames in order above a base, shared with whoever sends or stores them.
//!
//! Beside each frame lies how many bytes the log holds up to its end, so that every window and
//! limit is a difference of two such sums: there is no counter that could leak.
//!
//! Invariants
//! - frames follow each other and the base without a gap;
//! - terms do not fall from one frame to the next;
//! - a frame is appended and removed whole.
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::membership::Membership;
use super::message::{Frame, Payload, Position};
use crate::types::{Index, Term};

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    last: Index,
    term: Term,
    /// Cost of all frames up to and with this one.
    bytes_upto: u64,
    frame: Arc<Frame>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Log {
    /// What lies just below the first frame: a snapshot, compacted frames, or nothing at all.
    base: Position,
    base_bytes_upto: u64,
    entries: VecDeque<Entry>,
    /// Where the last frame, or the base, ends: asked for at every turn.
    last: Position,
    last_bytes_upto: u64,
}

impl Log {
    /// An empty log above `base`.
    pub(super) fn new(base: Position) -> Self {
        let entries = VecDeque::new();
        Self { base, base_bytes_upto: 0, entries, last: base, last_bytes_upto: 0 }
    }

    /// The log that was read from disk beside a snapshot that ends at `snapshot`. Configurations
    /// above the snapshot go into `membership`.
    pub(super) fn recovered(
        snapshot: Position,
        frames: Vec<Arc<Frame>>,
        membership: &mut Membership,
    ) -> Self {
        let first = frames.first().map_or(snapshot.index.next(), |frame| frame.first);
        assert!(first <= snapshot.index.next(), "no hole between the snapshot and the log");
        let connects = first == snapshot.index.next()
            || frames.iter().any(|frame| frame.position() == snapshot);
        if !connects {
            // The snapshot came from elsewhere and the log was older, or not the same.
            return Self::new(snapshot);
        }
        // What precedes the first frame is known if it is the snapshot or nothing; else that frame
        // itself becomes what precedes.
        let is_known = first == snapshot.index.next() || first == Index(1);
        let mut log = match frames.first() {
            Some(frame) if !is_known => Self::new(frame.position()),
            Some(_) if first == Index(1) => Self::new(Position::default()),
            Some(_) | None => Self::new(snapshot),
        };
        for frame in frames {
            if frame.first <= log.base.index {
                continue;
            }
            if let Payload::Configuration(configuration) = &frame.payload
                && snapshot.index < frame.first
            {
                membership.append(frame.first, (**configuration).clone());
            }
            log.append(frame);
        }
        log
    }

    pub(super) const fn base(&self) -> Position {
        self.base
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) const fn last(&self) -> Position {
        self.last
    }

    pub(super) const fn last_index(&self) -> Index {
        self.last.index
    }

    /// The term of the entry at `index`, unless it is compacted or not there.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.last.index {
            return Some(self.last.term);
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index {
            return None;
        }
        self.entries.get(self.slot(index)).map(|entry| entry.term)
    }

    /// Whether a frame, or the base, ends exactly at `at`.
    pub(super) fn holds(&self, at: Position) -> bool {
        at == self.last
            || at == self.base
            || (self.base.index < at.index
                && self
                    .entries
                    .get(self.slot(at.index))
                    .is_some_and(|entry| entry.last == at.index && entry.term == at.term))
    }

    /// The last end of a frame at or below both `at.index` and `at.term`; the base if none is.
    pub(super) fn floor(&self, at: Position) -> Position {
        let by_index = self.entries.partition_point(|entry| entry.last <= at.index);
        let by_term = self.entries.partition_point(|entry| entry.term <= at.term);
        let slot = by_index.min(by_term).checked_sub(1);
        slot.and_then(|slot| self.entries.get(slot))
            .map_or(self.base, |entry| Position { term: entry.term, index: entry.last })
    }

    /// Cost of the frames up to `index`, which must be the end of one.
    pub(super) fn bytes_upto(&self, index: Index) -> u64 {
        if self.last.index <= index {
            return self.last_bytes_upto;
        }
        if index <= self.base.index {
            return self.base_bytes_upto;
        }
        let entry = self.entries.get(self.slot(index));
        entry.map_or(self.last_bytes_upto, |entry| entry.bytes_upto)
    }

    /// Cost of the frames above `low` up to `high`.
    pub(super) fn bytes_between(&self, low: Index, high: Index) -> u64 {
        assert!(low <= high, "a range has its smaller end first");
        if low == high {
            return 0;
        }
        self.bytes_upto(high) - self.bytes_upto(low)
    }

    /// The frame that holds `index`.
    pub(super) fn frame_at(&self, index: Index) -> Option<&Arc<Frame>> {
        if index <= self.base.index {
            return None;
        }
        self.entries.get(self.slot(index)).map(|entry| &entry.frame)
    }

    /// The frames from the one that holds `from` on.
    pub(super) fn frames_from(&self, from: Index) -> impl Iterator<Item = &Arc<Frame>> {
        assert!(self.base.index < from, "what is compacted cannot be read");
        self.entries.range(self.slot(from)..).map(|entry| &entry.frame)
    }

    pub(super) fn append(&mut self, frame: Arc<Frame>) {
        let last = self.last();
        assert!(0 < frame.count(), "a frame holds at least one entry");
        assert!(frame.first == last.index.next(), "frames follow each other without a gap");
        assert!(last.term <= frame.term, "terms do not fall");
        self.last = frame.position();
        self.last_bytes_upto += frame.cost_bytes();
        let (bytes_upto, last) = (self.last_bytes_upto, self.last);
        self.entries.push_back(Entry { last: last.index, term: last.term, bytes_upto, frame });
    }

    /// Drops every frame from the one that begins at `from` on.
    pub(super) fn truncate_from(&mut self, from: Index) {
        assert!(self.base.index < from, "what is compacted is committed");
        let slot = self.slot(from);
        let begins = self.entries.get(slot).is_none_or(|entry| entry.frame.first == from);
        assert!(begins, "a frame is removed whole");
        self.entries.truncate(slot);
        let (base, base_bytes_upto) = (self.base, self.base_bytes_upto);
        let end = |entry: &Entry| (entry.frame.position(), entry.bytes_upto);
        (self.last, self.last_bytes_upto) =
            self.entries.back().map_or((base, base_bytes_upto), end);
    }

    /// Drops frames from below, up to and with the one that ends at or before `upto`, but keeps the
    /// last `retained_bytes` of them for followers that are not far behind.
    pub(super) fn compact(&mut self, upto: Index, retained_bytes: u64) {
        let bytes_upto = self.bytes_upto(upto);
        while let Some(entry) = self.entries.front() {
            if upto < entry.last || bytes_upto - entry.bytes_upto < retained_bytes {
                break;
            }
            self.base = Position { term: entry.term, index: entry.last };
            self.base_bytes_upto = entry.bytes_upto;
            self.entries.pop_front();
        }
    }

    /// Forgets everything: the log now begins above `base`.
    pub(super) fn replace(&mut self, base: Position) {
        *self = Self::new(base);
    }

    /// Which frame holds `index`: the first that ends at or above it.
    fn slot(&self, index: Index) -> usize {
        // Nearly every question is about the newest few frames.
        let mut slot = self.entries.len();
        for _ in 0..4 {
            match slot.checked_sub(1).and_then(|below| self.entries.get(below)) {
                Some(entry) if index <= entry.last => slot -= 1,
                Some(_) | None => return slot,
            }
        }
        self.entries.partition_point(|entry| entry.last < index)
    }

    pub(super) fn check_invariants(&self) {
        let mut at = self.base;
        let mut bytes_upto = self.base_bytes_upto;
        for entry in &self.entries {
            assert!(entry.frame.first == at.index.next(), "frames follow without a gap");
            assert!(at.term <= entry.term, "terms do not fall");
            assert!(entry.term == entry.frame.term && entry.last == entry.frame.last());
            bytes_upto += entry.frame.cost_bytes();
            assert!(entry.bytes_upto == bytes_upto, "the sums are those of the frames");
            at = entry.frame.position();
        }
        assert!(self.last == at, "the log ends where its last frame does");
        assert!(self.last_bytes_upto == bytes_upto, "the sums are those of the frames");
    }
}
