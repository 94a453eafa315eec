//! What a crash left: from the bytes of the segments to the records and the log's end.
//!
//! Invariants
//! - a bad block with nothing valid after it is a torn write and is cut: one write was in flight,
//!   so nothing of it was called durable;
//! - a bad block with a block after it in the log's order is corruption, and is never cut;
//! - what a recycled file still holds is told from the log by the place it claims.
//!
//! It does not tell a torn last block from one that rotted after it was durable: only a block
//! after it can (`Wal::on_quiet` writes one).
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::block::{self, BLOCK_ALIGN_BYTES, Block};
use super::segments::Segment;
use super::{Lane, PerLane, SegmentId};
use crate::types::WriteSeq;

const ZEROS: [u8; BLOCK_ALIGN_BYTES] = [0; BLOCK_ALIGN_BYTES];

/// The bytes of one segment, as the disk holds them.
#[derive(Clone, Debug)]
pub struct SegmentImage<B> {
    pub segment: SegmentId,
    /// The whole file, or all of it that was ever written, in whole pages.
    pub bytes: B,
    /// Zeros behind them, which need not be brought.
    pub blank_bytes: u64,
}

impl SegmentImage<&[u8]> {
    const fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64 + self.blank_bytes
    }
}

/// Where the log ends and what it consists of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tail {
    /// Segments up to the one with the end.
    pub live: Vec<Segment>,
    /// Segments after it, made but not used.
    pub ready: Vec<Segment>,
    /// Where the next block goes in the last live segment.
    pub offset: u64,
    pub next_seq: WriteSeq,
    /// Checksum of the last block: what `seal` needs for the next.
    pub crc: u32,
    /// Per lane: records up to here are no longer needed.
    pub marks: PerLane,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The records that are still needed, in order.
    pub records: Vec<(WriteSeq, Lane, Vec<u8>)>,
    pub tail: Tail,
    pub torn: Option<TornTail>,
}

/// A write that a crash interrupted. The bytes should be overwritten with zeros.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TornTail {
    pub segment: SegmentId,
    pub offset: u64,
    pub bytes: u64,
}

/// Durable records are damaged: this log must not be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Corruption {
    pub segment: SegmentId,
    pub offset: u64,
    pub why: Damage,
}

/// How records were damaged.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Damage {
    /// The bytes changed or never arrived, and a later block shows that they were durable.
    Unreadable,
    /// A valid block of another place lies here.
    Misdirected,
    /// A valid block does not follow the one before it.
    Unchained,
    /// A segment between others, or before the first needed record, is not there.
    SegmentMissing,
    /// The file is longer or shorter than its blocks say.
    SegmentResized,
    /// Written by a version of Drover that this one does not know.
    UnknownVersion,
    /// The checksum is right and the content is not: a bug, or a forged block.
    Malformed,
}

impl Tail {
    /// A log in which nothing was ever written.
    #[must_use]
    pub const fn fresh() -> Self {
        Self {
            live: Vec::new(),
            ready: Vec::new(),
            offset: 0,
            next_seq: WriteSeq(1),
            crc: 0,
            marks: PerLane { raft: WriteSeq(0), client: WriteSeq(0) },
        }
    }
}

/// Reads the log out of `images`, which come in the order of their numbers.
///
/// # Errors
/// If records that may have been called durable cannot be read.
pub fn recover<B: AsRef<[u8]>>(
    images: impl IntoIterator<Item = SegmentImage<B>>,
    crc: impl Fn(&[u8]) -> u32,
) -> Result<Recovery, Corruption> {
    let mut scan = Scan {
        tail: Tail::fresh(),
        records: Vec::new(),
        torn: None,
        first_seq: None,
        is_blank: true,
    };
    for image in images {
        let SegmentImage { segment, bytes, blank_bytes } = image;
        scan.on_image(&SegmentImage { segment, bytes: bytes.as_ref(), blank_bytes }, &crc)?;
    }
    scan.finish()
}

struct Scan {
    tail: Tail,
    records: Vec<(WriteSeq, Lane, Vec<u8>)>,
    torn: Option<TornTail>,
    /// Of the first block; none before it is found.
    first_seq: Option<WriteSeq>,
    /// No image so far began with anything but zeros: the first block may still come.
    is_blank: bool,
}

impl Scan {
    fn on_image(
        &mut self,
        image: &SegmentImage<&[u8]>,
        crc: &impl Fn(&[u8]) -> u32,
    ) -> Result<(), Corruption> {
        self.check_row(image)?;
        let mut segment =
            Segment { id: image.segment, bytes: image.file_bytes(), last_seq: PerLane::default() };
        let mut at = 0;
        while let Some(block) = block::read(image.bytes, at, crc) {
            if !block.is_known() {
                return Err(corruption(image.segment, at, Damage::UnknownVersion));
            }
            if !self.is_next(&block, image.segment, at) {
                break;
            }
            self.accept(&block, &mut segment, at)?;
            at += block.bytes;
        }
        if 0 < at || self.tail.live.is_empty() {
            self.tail.live.append(&mut self.tail.ready);
            self.tail.live.push(segment);
            self.tail.offset = at as u64;
            self.torn = None;
        } else {
            self.tail.ready.push(segment);
        }
        let has_stale = self.look_beyond(image, at, crc)?;
        self.is_blank &= image.bytes.get(..BLOCK_ALIGN_BYTES).is_none_or(|page| page == ZEROS);
        self.torn = self.torn.or_else(|| torn_at(image, at, has_stale));
        Ok(())
    }

    fn check_row(&self, image: &SegmentImage<&[u8]>) -> Result<(), Corruption> {
        let newest = self.tail.ready.last().or(self.tail.live.last());
        if newest.is_some_and(|newest| newest.id.0.checked_add(1) != Some(image.segment.0)) {
            return Err(corruption(image.segment, 0, Damage::SegmentMissing));
        }
        let bytes = image.file_bytes();
        if bytes == 0 || !bytes.is_multiple_of(BLOCK_ALIGN_BYTES as u64) {
            return Err(corruption(image.segment, 0, Damage::SegmentResized));
        }
        Ok(())
    }

    /// Whether `block`, found at `at`, continues the log.
    fn is_next(&self, block: &Block<'_>, segment: SegmentId, at: usize) -> bool {
        let is_here = block.place.segment == segment && block.place.offset == at as u64;
        let is_first = self.first_seq.is_none() && self.is_blank;
        let is_chained =
            block.previous_crc == self.tail.crc && block.first_seq == self.tail.next_seq;
        is_here && (is_first || (self.first_seq.is_some() && is_chained))
    }

    fn accept(
        &mut self,
        block: &Block<'_>,
        segment: &mut Segment,
        at: usize,
    ) -> Result<(), Corruption> {
        if block.place.segment_bytes != segment.bytes {
            return Err(corruption(segment.id, at, Damage::SegmentResized));
        }
        let (Some(records), Some(next_seq)) = (block.records(), block.next_seq()) else {
            return Err(corruption(segment.id, at, Damage::Malformed));
        };
        let first_seq = *self.first_seq.get_or_insert(block.first_seq);
        // Only a segment that was the log's first begins with its first record.
        if segment.id == SegmentId(1) && first_seq != WriteSeq(1) {
            return Err(corruption(segment.id, at, Damage::Malformed));
        }
        for (seq, lane, body) in records {
            segment.last_seq.raise(lane, seq);
            self.records.push((seq, lane, body.to_vec()));
        }
        self.tail.next_seq = next_seq;
        self.tail.crc = block.crc;
        for lane in Lane::ALL {
            self.tail.marks.raise(lane, block.marks.of(lane));
        }
        Ok(())
    }

    /// The log seems to end at or before `at`. A block from there on that claims a place at or after
    /// the end shows that it does not. Tells whether older blocks are there instead.
    fn look_beyond(
        &self,
        image: &SegmentImage<&[u8]>,
        at: usize,
        crc: &impl Fn(&[u8]) -> u32,
    ) -> Result<bool, Corruption> {
        let last = self.tail.live.last().expect("invariant: an image was taken in");
        let end = (last.id, self.tail.offset);
        let mut has_stale = false;
        for page in (at..image.bytes.len()).step_by(BLOCK_ALIGN_BYTES) {
            let Some(block) = block::read(image.bytes, page, crc) else { continue };
            let place = (block.place.segment, block.place.offset);
            if place < end {
                has_stale = true;
                continue;
            }
            if planted!(RotCalledTear) {
                continue;
            }
            let found = (image.segment, page as u64);
            let broken = self.broken_at(image, at, end, found);
            let why = match (place == found, broken == found) {
                (false, _) => Damage::Misdirected,
                (true, true) => Damage::Unchained,
                (true, false) => Damage::Unreadable,
            };
            return Err(Corruption { segment: broken.0, offset: broken.1, why });
        }
        Ok(has_stale)
    }

    /// Where the block lies, or should lie, that is missing between `end` and the block at `found`:
    /// there if it fitted, or at the start of the next segment.
    fn broken_at(
        &self,
        image: &SegmentImage<&[u8]>,
        at: usize,
        end: (SegmentId, u64),
        found: (SegmentId, u64),
    ) -> (SegmentId, u64) {
        let (Some(next), Some(last)) = (self.tail.ready.first(), self.tail.live.last()) else {
            return end;
        };
        let here = (image.segment, at as u64);
        if let Some(torn) = self.torn {
            (torn.segment, torn.offset)
        } else if last.bytes == end.1 {
            (next.id, 0)
        } else if found != here && block::is_begun(image.bytes, at, image.segment) {
            here
        } else {
            end
        }
    }

    fn finish(mut self) -> Result<Recovery, Corruption> {
        let marks = self.tail.marks;
        let needed_seq = marks.raft.max(marks.client).0 + 1;
        if let Some(first) = self.tail.live.first() {
            // All that is missing in front was given up by its lane, or something was lost.
            let is_whole = match self.first_seq {
                Some(first_seq) => first_seq.0 <= needed_seq,
                None => first.id == SegmentId(1),
            };
            if !is_whole {
                return Err(corruption(first.id, 0, Damage::SegmentMissing));
            }
        }
        self.records.retain(|(seq, lane, _)| marks.of(*lane) < *seq);
        Ok(Recovery { records: self.records, tail: self.tail, torn: self.torn })
    }
}

/// What an interrupted write left at `at`. A recycled file is full of older blocks there, so its
/// bytes say nothing unless they are the head of a block made for this place.
fn torn_at(image: &SegmentImage<&[u8]>, at: usize, has_stale: bool) -> Option<TornTail> {
    let rest = image.bytes.get(at..)?;
    let mut pages = rest.chunks(BLOCK_ALIGN_BYTES);
    let torn_pages = pages.rposition(|page| page != &ZEROS[..page.len()])? + 1;
    let is_torn = !has_stale || block::is_begun(image.bytes, at, image.segment);
    is_torn.then_some(TornTail {
        segment: image.segment,
        offset: at as u64,
        bytes: (torn_pages * BLOCK_ALIGN_BYTES) as u64,
    })
}

const fn corruption(segment: SegmentId, at: usize, why: Damage) -> Corruption {
    Corruption { segment, offset: at as u64, why }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, why } = self;
        write!(f, "segment {} at byte {offset}: {why}", segment.0)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "a durable block cannot be read",
            Self::Misdirected => "a block was written to the wrong place",
            Self::Unchained => "a block does not follow the one before it",
            Self::SegmentMissing => "a segment that is still needed is missing",
            Self::SegmentResized => "the file's size is not the size its blocks were written for",
            Self::UnknownVersion => "a block was written by a newer version of drover",
            Self::Malformed => "a block's checksum is right but its content is not",
        })
    }
}

impl core::error::Error for Corruption {}
