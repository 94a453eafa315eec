//! The row of segments: the live ones with the log's end in the last, and the ready ones after it.
//!
//! Invariants
//! - segments are numbered without gaps, live ones before ready ones;
//! - the segment with the log's end is never given up;
//! - a block lies inside one segment.
use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::block::{self, Draft, HEADER_BYTES, Place};
use super::{Config, Lane, PerLane, SegmentId, Tail};

/// Ready segments beyond which an old one is deleted instead of recycled.
const READY_MAX: usize = 2;
/// A new segment is this many times the one before, up to the configured size. It is filled with
/// zeros while the one before is written, so the disk must be this many times faster at zeros.
const GROWTH: u64 = 2;

/// One file of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Segment {
    pub id: SegmentId,
    pub bytes: u64,
    /// The last record in it of each lane; zero if there is none.
    pub last_seq: PerLane,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Segments {
    bytes_first: u64,
    bytes_max: u64,
    live: VecDeque<Segment>,
    ready: VecDeque<Segment>,
    /// Where the next block goes in the last live segment.
    offset: u64,
    /// The segment of the last durable block; those before it are no longer the log's end.
    durable: Option<SegmentId>,
    /// The last number given, and the size that went with it.
    newest: Option<Segment>,
}

impl Segments {
    pub(super) fn new(config: Config, tail: &Tail) -> Self {
        let block_bytes_max = block::padded_bytes(HEADER_BYTES + config.write_bytes_max) as u64;
        let bytes_max = block::padded_bytes_u64(config.segment_bytes);
        let bytes_first = block::padded_bytes_u64(config.segment_bytes_first.max(1));
        assert!(bytes_first <= bytes_max, "segments grow");
        assert!(block_bytes_max <= bytes_max, "a block fits into a grown segment");
        let newest = tail.ready.last().or(tail.live.last()).copied();
        let (live, ready) = (tail.live.iter().copied(), tail.ready.iter().copied());
        let (live, ready) = (live.collect(), ready.collect());
        let durable = tail.live.last().map(|segment| segment.id);
        Self { bytes_first, bytes_max, live, ready, offset: tail.offset, durable, newest }
    }

    /// See to it that a block of `bytes` fits at the end; false if a segment must be prepared first.
    pub(super) fn make_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let fits_in = |segment: &Segment, offset: u64| bytes <= segment.bytes - offset;
        if self.live.back().is_some_and(|segment| fits_in(segment, self.offset)) {
            return true;
        }
        // A young log's segments may be too small for a large block, and stay empty.
        while let Some(segment) = self.ready.pop_front() {
            self.live.push_back(segment);
            self.offset = 0;
            if fits_in(&segment, 0) {
                return true;
            }
        }
        false
    }

    /// Give `draft` the place that `make_room` found.
    pub(super) fn take(&mut self, draft: &Draft) -> Place {
        let segment = self.live.back_mut().expect("invariant: make_room came first");
        for lane in Lane::ALL {
            segment.last_seq.raise(lane, draft.last_of(lane));
        }
        let place =
            Place { segment: segment.id, offset: self.offset, segment_bytes: segment.bytes };
        self.offset += draft.block_bytes() as u64;
        assert!(self.offset <= segment.bytes, "a block lies inside one segment");
        place
    }

    /// The block in `segment` is durable.
    pub(super) fn on_durable(&mut self, segment: SegmentId) {
        assert!(self.durable <= Some(segment), "the log's end never goes backwards");
        self.durable = Some(segment);
    }

    /// The oldest segment, if nobody needs its records and a durable block lies after it: without
    /// one, recovery would not know where the log ends.
    pub(super) fn pop_unneeded(&mut self, marks: &PerLane) -> Option<Segment> {
        let oldest = self.live.front()?;
        let is_unneeded = Some(oldest.id) < self.durable && oldest.last_seq.is_within(marks);
        if is_unneeded { self.live.pop_front() } else { None }
    }

    /// Whether `unneeded` should become the next segment.
    pub(super) fn wants(&self, unneeded: &Segment) -> bool {
        self.ready.len() < READY_MAX && unneeded.bytes == self.bytes_max
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The size of the next new segment.
    pub(super) fn next_bytes(&self) -> u64 {
        let grown = self.newest.map_or(self.bytes_first, |newest| newest.bytes * GROWTH);
        grown.min(self.bytes_max)
    }

    /// Give the next number to a segment of `bytes`.
    pub(super) fn number(&mut self, bytes: u64) -> Segment {
        let id = SegmentId(self.newest.map_or(1, |newest| newest.id.0 + 1));
        let segment = Segment { id, bytes, last_seq: PerLane::default() };
        self.newest = Some(segment);
        segment
    }

    pub(super) fn on_prepared(&mut self, segment: Segment) {
        self.ready.push_back(segment);
    }

    /// `segment` could not be made: its number is free again.
    pub(super) fn on_unprepared(&mut self, segment: Segment) {
        assert!(self.newest == Some(segment), "segments are numbered without gaps");
        self.newest = self.ready.back().or(self.live.back()).copied();
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live.iter().map(|segment| segment.bytes).sum()
    }

    pub(super) fn check_invariants(&self) {
        let mut row = self.live.iter().chain(&self.ready);
        if let Some(first) = row.next() {
            let mut expected = first.id.0;
            for segment in row {
                expected += 1;
                assert!(segment.id.0 == expected, "segments are numbered without gaps");
            }
        }
        let last_bytes = self.live.back().map_or(0, |segment| segment.bytes);
        assert!(self.offset <= last_bytes, "the log's end is inside its last segment");
    }
}
