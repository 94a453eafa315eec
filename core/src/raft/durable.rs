//! What is on disk, and what must wait for it.
//!
//! Records are numbered in the order they are issued and become durable in that order; the shell
//! reports a watermark. A message that promises something waits here for the record it rests on.
//!
//! Invariants
//! - nothing is sent before what it rests on is durable;
//! - durability does not go backwards, and does not pass what was issued;
//! - a frame that was truncated is never counted as durable, however late its write completes.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::message::{Frame, HardState, Message, SnapshotMark};
use crate::types::{Index, ServerId, WriteSeq};

/// One durable write. Replaying all of them in order gives back what the server knew.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Record {
    /// Term and vote, replacing the former.
    HardState(HardState),
    /// A frame at the end of the log.
    Frame {
        /// Drop every frame from the one that begins here on, first.
        truncate_from: Option<Index>,
        /// The frame.
        frame: Arc<Frame>,
    },
    /// A snapshot from another server replaced the log. Written after the snapshot is safe.
    SnapshotInstalled(Box<SnapshotMark>),
}

/// What a server knows when it starts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The newest snapshot that is whole.
    pub snapshot: Option<SnapshotMark>,
    /// The log, without a gap. May begin below the snapshot, must not begin behind it.
    pub frames: Vec<Arc<Frame>>,
}

impl Recovered {
    /// Folds the records in the order they were written, beside the newest whole snapshot.
    ///
    /// # Panics
    /// If the records cannot be the work of one server: damage that a checksum did not catch.
    #[must_use]
    pub fn from_records(
        records: impl IntoIterator<Item = Record>,
        snapshot: Option<SnapshotMark>,
    ) -> Self {
        let mut recovered = Self { snapshot, ..Self::default() };
        let frames = &mut recovered.frames;
        for record in records {
            match record {
                Record::HardState(hard_state) => recovered.hard_state = hard_state,
                Record::SnapshotInstalled(_) => frames.clear(),
                Record::Frame { truncate_from, frame } => {
                    if let Some(from) = truncate_from {
                        frames.truncate(frames.partition_point(|held| held.last() < from));
                    }
                    let follows = frames.last().is_none_or(|l| l.last().next() == frame.first);
                    assert!(follows, "records of frames follow each other without a gap");
                    frames.push(frame);
                }
            }
        }
        recovered
    }

    /// Whether this server never promised anything.
    #[must_use]
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Waiting {
    gate: WriteSeq,
    to: ServerId,
    message: Message,
}

/// Replies that wait for a slow disk; the oldest are dropped, as a network might.
const WAITING_MAX: usize = 64;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Durable {
    issued: WriteSeq,
    done: WriteSeq,
    /// The record of the current hard state: what is said in this term rests on it.
    hard_state: WriteSeq,
    /// The log is durable up to here.
    index: Index,
    /// Writes under way that make it durable further.
    frames: VecDeque<(WriteSeq, Index)>,
    /// The disk still holds a log that the snapshot replaced: a crash came between the two.
    is_replaced: bool,
    /// Sorted by gate.
    waiting: VecDeque<Waiting>,
}

impl Durable {
    /// A log that was read from disk up to `index`, or was dropped because the snapshot replaced it.
    pub(super) fn recovered(index: Index, is_replaced: bool) -> Self {
        Self { index, is_replaced, ..Self::default() }
    }

    /// What the next frame's record drops, if the log in memory drops `truncate_from`.
    pub(super) fn truncation_on_disk(&mut self, truncate_from: Option<Index>) -> Option<Index> {
        if core::mem::take(&mut self.is_replaced) { Some(Index(1)) } else { truncate_from }
    }

    pub(super) const fn index(&self) -> Index {
        self.index
    }

    pub(super) const fn hard_state(&self) -> WriteSeq {
        self.hard_state
    }

    pub(super) fn has(&self, seq: WriteSeq) -> bool {
        seq <= self.done
    }

    pub(super) const fn issue_hard_state(&mut self) -> WriteSeq {
        self.issued = WriteSeq(self.issued.0 + 1);
        self.hard_state = self.issued;
        self.issued
    }

    /// A frame that ends at `last` is written, after the log was truncated if `truncate_from` says so.
    pub(super) fn issue_frame(&mut self, truncate_from: Option<Index>, last: Index) -> WriteSeq {
        if let Some(from) = truncate_from {
            // Writes of dropped frames may still complete; they must not count for their successors.
            let kept = Index(from.0 - 1);
            self.index = self.index.min(kept);
            for (_, end) in &mut self.frames {
                *end = if planted!(DurableAba) { *end } else { kept.min(*end) };
            }
        }
        self.issued = WriteSeq(self.issued.0 + 1);
        self.frames.push_back((self.issued, last));
        self.issued
    }

    /// A snapshot replaced the log; it counts once the record of that is durable.
    pub(super) fn issue_snapshot(&mut self, index: Index) -> WriteSeq {
        self.frames.clear();
        self.index = Index(0);
        self.is_replaced = false;
        self.issue_frame(None, index)
    }

    /// Everything up to `upto` is durable. Answers whether the log is durable further than before.
    pub(super) fn advance(&mut self, upto: WriteSeq) -> bool {
        assert!(self.done <= upto, "durability does not go backwards");
        assert!(upto <= self.issued, "only what was issued becomes durable");
        self.done = upto;
        let before = self.index;
        while let Some(&(seq, last)) = self.frames.front() {
            if upto < seq {
                break;
            }
            self.index = self.index.max(last);
            self.frames.pop_front();
        }
        before < self.index
    }

    /// Keeps a message until `gate` is durable.
    pub(super) fn wait(&mut self, gate: WriteSeq, to: ServerId, message: Message) {
        assert!(self.done < gate, "what is durable need not be waited for");
        let in_order = self.waiting.back().is_none_or(|last| last.gate <= gate);
        assert!(in_order, "what waits longest waits for the oldest record");
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { gate, to, message });
    }

    /// The next message whose record is durable.
    pub(super) fn pop_ready(&mut self) -> Option<(ServerId, Message)> {
        let ready = self.waiting.front().is_some_and(|waiting| waiting.gate <= self.done);
        let waiting = if ready { self.waiting.pop_front() } else { None };
        waiting.map(|waiting| (waiting.to, waiting.message))
    }

    pub(super) fn check_invariants(&self, last: Index) {
        assert!(self.done <= self.issued, "only what was issued becomes durable");
        assert!(self.index <= last, "no more is durable than the log holds");
        assert!(self.frames.iter().all(|&(seq, end)| self.done < seq && end <= last));
        assert!(self.waiting.iter().all(|waiting| self.done < waiting.gate));
    }
}
