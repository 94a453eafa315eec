//! The leader's side of requests: entries on their way into the log, and who waits for each.
//!
//! Entries that arrive while earlier frames are under way are put into one frame together: the log
//! itself sets the pace, no timer. The window is counted in frames, so that one caller alone waits
//! for nobody.
//!
//! Invariants
//! - what was proposed first is applied first;
//! - what callers want and waits is bounded in bytes; full means `Overloaded`;
//! - what the leader itself wants is never refused: there is no caller who would ask again, and only so
//!   much of it can come before a leader whose log stands still stands down.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::{
    FRAME_BYTES_MAX, FRAME_ENTRIES_MAX, FRAME_FILL_BYTES, PROPOSAL_FRAMES_IN_FLIGHT,
};
use crate::types::{EvalId, Index, Session};

/// Who waits for an entry to be applied.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Origin {
    /// A request, by the server that it came through.
    Request(Session),
    /// A plan of the scheduler for this evaluation.
    Plan(EvalId),
    /// Nobody: the leader's own housekeeping.
    Housekeeping,
    /// Nobody; what is left over is collected next.
    Garbage,
}

/// Entries to be put into one frame.
#[derive(Debug)]
pub struct Batch {
    /// Encoded entries, one after the other.
    pub bytes: Vec<u8>,
    pub origins: Vec<Origin>,
}

/// Entries that wait for a frame, and frames that wait to be applied.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Proposals {
    /// Bytes of requests that may wait, unless one alone is longer.
    asked_bytes_max: usize,
    waiting: VecDeque<(Vec<u8>, Origin)>,
    /// Of the requests among them.
    asked_bytes: usize,
    /// First index of each frame under way, and who waits for its entries.
    in_flight: VecDeque<(Index, VecDeque<Origin>)>,
}

impl Proposals {
    /// Nothing waits yet, and so many bytes of requests may.
    #[must_use]
    pub const fn new(asked_bytes_max: usize) -> Self {
        Self {
            asked_bytes_max,
            waiting: VecDeque::new(),
            asked_bytes: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// One more encoded entry. `false`: too many requests wait already, and this one was not taken.
    #[must_use]
    pub fn on_entry(&mut self, bytes: Vec<u8>, origin: Origin) -> bool {
        let asked_bytes = asked_bytes_of(&bytes, origin);
        let is_full = self.asked_bytes_max < self.asked_bytes + asked_bytes;
        if is_full && 0 < asked_bytes && 0 < self.asked_bytes {
            return false;
        }
        self.asked_bytes += asked_bytes;
        self.waiting.push_back((bytes, origin));
        true
    }

    /// Whether a frame should be proposed now.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        !self.waiting.is_empty() && (self.has_window() || planted!(FramesUnbounded))
    }

    /// Whether one more entry need not wait for those before it.
    #[must_use]
    pub fn has_window(&self) -> bool {
        self.in_flight.len() < PROPOSAL_FRAMES_IN_FLIGHT
    }

    /// Bytes of the requests that wait for a frame, and how many may.
    #[must_use]
    pub fn asked_bytes(&self) -> (usize, usize) {
        (self.asked_bytes, self.asked_bytes_max.max(FRAME_BYTES_MAX))
    }

    /// Frames that were proposed here and are not applied.
    #[must_use]
    pub fn frames_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What the next frame is made of. It must be given to `on_proposed` or `on_refused`.
    pub fn take_batch(&mut self) -> Batch {
        let mut batch = Batch { bytes: Vec::new(), origins: Vec::new() };
        while batch.origins.len() < FRAME_ENTRIES_MAX
            && let Some((bytes, _)) = self.waiting.front()
        {
            if !batch.bytes.is_empty() && FRAME_FILL_BYTES < batch.bytes.len() + bytes.len() {
                break;
            }
            let Some((bytes, origin)) = self.waiting.pop_front() else { break };
            self.asked_bytes -= asked_bytes_of(&bytes, origin);
            batch.bytes.extend_from_slice(&bytes);
            batch.origins.push(origin);
        }
        batch
    }

    /// The log took the batch; its first entry is at `first`.
    pub fn on_proposed(&mut self, first: Index, origins: Vec<Origin>) {
        assert!(!origins.is_empty(), "a frame holds an entry");
        let last = self.in_flight.back().map(|&(first, _)| first);
        assert!(last.is_none_or(|last| last < first), "what is proposed first is applied first");
        self.in_flight.push_back((first, origins.into()));
    }

    /// Whether a plan of the evaluation is on its way.
    #[must_use]
    pub fn has_plan(&self, eval: EvalId) -> bool {
        let waiting = self.waiting.iter().map(|(_, origin)| origin);
        let in_flight = self.in_flight.iter().flat_map(|(_, origins)| origins);
        waiting.chain(in_flight).any(|&origin| origin == Origin::Plan(eval))
    }

    /// Nobody waits for plans any more.
    pub fn forget_plans(&mut self) {
        let waiting = self.waiting.iter_mut().map(|(_, origin)| origin);
        let in_flight = self.in_flight.iter_mut().flat_map(|(_, origins)| origins);
        for origin in waiting.chain(in_flight) {
            if matches!(origin, Origin::Plan(_)) {
                *origin = Origin::Housekeeping;
            }
        }
    }

    /// The entry at `index` was applied: who waited for it, if it was proposed here.
    pub fn on_applied(&mut self, index: Index) -> Option<Origin> {
        let (first, origins) = self.in_flight.front_mut()?;
        if index < *first {
            return None;
        }
        assert_eq!(*first, index, "entries are applied in the order of the log");
        let origin = origins.pop_front();
        *first = index.next();
        if origins.is_empty() {
            self.in_flight.pop_front();
        }
        origin
    }
}

const fn asked_bytes_of(bytes: &[u8], origin: Origin) -> usize {
    match origin {
        Origin::Request(_) => bytes.len(),
        Origin::Plan(_) | Origin::Housekeeping | Origin::Garbage => 0,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::limits::UNCOMMITTED_BYTES_MAX;
    use crate::types::{Incarnation, ServerId};

    #[test]
    fn callers_are_turned_away_when_too_much_waits_and_the_leader_never() {
        let asked = |seq| {
            Origin::Request(Session { origin: ServerId(1), incarnation: Incarnation(1), seq })
        };
        let mut proposals = Proposals::new(100);
        assert!(proposals.on_entry(vec![0; 300], asked(1)), "one alone may be longer");
        assert!(!proposals.on_entry(vec![0; 1], asked(2)));
        assert!(proposals.on_entry(vec![0; 300], Origin::Housekeeping));
        assert!(proposals.on_entry(vec![0; 300], Origin::Plan(EvalId(1))));
        assert!(!proposals.on_entry(vec![0; 1], asked(3)));
        assert_eq!(proposals.take_batch().origins.len(), 3);
        assert_eq!(proposals.asked_bytes().0, 0);
        assert!(
            proposals.on_entry(vec![0; 60], asked(4)) && proposals.on_entry(vec![0; 40], asked(5))
        );
        assert!(!proposals.on_entry(vec![0; 1], asked(6)));
    }

    #[test]
    fn a_frame_holds_a_bounded_number_of_entries() {
        let mut proposals = Proposals::new(UNCOMMITTED_BYTES_MAX);
        for _ in 0..=FRAME_ENTRIES_MAX {
            assert!(proposals.on_entry(vec![0], Origin::Housekeeping));
        }
        assert_eq!(proposals.take_batch().origins.len(), FRAME_ENTRIES_MAX);
        assert_eq!(proposals.take_batch().origins.len(), 1, "the rest goes into the next");
    }

    #[test]
    fn a_frame_that_is_full_takes_no_more_and_a_long_entry_goes_alone() {
        let mut proposals = Proposals::new(UNCOMMITTED_BYTES_MAX);
        for bytes in [1, FRAME_FILL_BYTES, FRAME_FILL_BYTES / 2, FRAME_FILL_BYTES / 2, 1] {
            assert!(proposals.on_entry(vec![0; bytes], Origin::Housekeeping));
        }
        let batches = core::iter::from_fn(|| Some(proposals.take_batch().bytes.len()));
        let batches: Vec<_> = batches.take_while(|&bytes| bytes != 0).collect();
        assert_eq!(batches, [1, FRAME_FILL_BYTES, FRAME_FILL_BYTES, 1]);
    }

    #[test]
    fn plans_are_forgotten_wherever_they_are_and_nobody_loses_a_place() {
        let mut proposals = Proposals::new(UNCOMMITTED_BYTES_MAX);
        let (plan, other) = (Origin::Plan(EvalId(1)), Origin::Garbage);
        for origin in [plan, other] {
            assert!(proposals.on_entry(vec![0], origin));
        }
        let batch = proposals.take_batch();
        proposals.on_proposed(Index(5), batch.origins);
        assert!(proposals.on_entry(vec![0], Origin::Plan(EvalId(2))));
        proposals.forget_plans();
        assert!(!proposals.has_plan(EvalId(1)) && !proposals.has_plan(EvalId(2)));
        assert_eq!(proposals.on_applied(Index(5)), Some(Origin::Housekeeping));
        assert_eq!(proposals.on_applied(Index(6)), Some(Origin::Garbage));
        assert_eq!(proposals.take_batch().origins, [Origin::Housekeeping]);
    }
}
