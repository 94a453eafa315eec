//! The format of one block: what one write puts on the disk.
//!
//! Little endian. A block is padded with zeros to whole pages of 4 KiB, so that a write never
//! touches a page that holds an older, durable block. The checksum covers all that follows it, the
//! place included: a block that landed elsewhere, or that a recycled file still holds, is no block.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | crc32c of all that follows, padding included |
//! | 4 | 4 | magic |
//! | 8 | 4 | version |
//! | 12 | 4 | crc32c of the block before; zero before the first |
//! | 16 | 4 | bytes of the block, padding included |
//! | 20 | 4 | records |
//! | 24 | 8 | segment |
//! | 32 | 8 | offset in the segment |
//! | 40 | 8 | bytes of the segment |
//! | 48 | 8 | sequence number of the first record; without records, of the next |
//! | 56 | 16 | per lane: records up to here are no longer needed |
//! | 72 | | records: bytes (4), lane (1), zero (3), body |
//!
//! Invariants
//! - the checksum's place, the magic and the version never move: an older agent must see that it
//!   cannot read a newer log, not take it for an empty one;
//! - a valid block says where it lies.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Lane, PerLane, SegmentId};
use crate::types::WriteSeq;

/// Blocks begin and end at multiples of this.
pub const BLOCK_ALIGN_BYTES: usize = 4_096;
pub(super) const HEADER_BYTES: usize = 72;
pub(super) const RECORD_HEADER_BYTES: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"DROV");
const VERSION: u32 = 1;

const CRC_AT: usize = 0;
const MAGIC_AT: usize = 4;
const VERSION_AT: usize = 8;
const PREVIOUS_CRC_AT: usize = 12;
const BYTES_AT: usize = 16;
const COUNT_AT: usize = 20;
const SEGMENT_AT: usize = 24;
const OFFSET_AT: usize = 32;
const SEGMENT_BYTES_AT: usize = 40;
const FIRST_SEQ_AT: usize = 48;
const MARKS_AT: usize = 56;

/// Where a block lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) segment_bytes: u64,
}

/// A block being filled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    first_seq: WriteSeq,
    count: u32,
    last: PerLane,
}

/// A block as it was read, its checksum found right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) place: Place,
    pub(super) crc: u32,
    pub(super) previous_crc: u32,
    pub(super) bytes: usize,
    pub(super) first_seq: WriteSeq,
    pub(super) count: u32,
    pub(super) marks: PerLane,
    version: u32,
    records: &'a [u8],
}

/// Fills in the chain and the checksum of a block that the log emitted, and returns the checksum:
/// the next block's `previous_crc`.
///
/// # Panics
/// If `block` is not a block.
pub fn seal(block: &mut [u8], previous_crc: u32, crc: impl Fn(&[u8]) -> u32) -> u32 {
    assert!(block.len().is_multiple_of(BLOCK_ALIGN_BYTES), "a block is whole pages");
    assert!(u32_at(block, MAGIC_AT) == MAGIC, "only blocks are sealed");
    put(block, PREVIOUS_CRC_AT, &previous_crc.to_le_bytes());
    let sum = crc(&block[MAGIC_AT..]);
    put(block, CRC_AT, &sum.to_le_bytes());
    sum
}

/// The valid block that begins at `at`, wherever it claims to lie.
pub(super) fn read<'a>(
    image: &'a [u8],
    at: usize,
    crc: &impl Fn(&[u8]) -> u32,
) -> Option<Block<'a>> {
    let page = image.get(at..at + HEADER_BYTES)?;
    if u32_at(page, MAGIC_AT) != MAGIC {
        return None;
    }
    let bytes = usize::try_from(u32_at(page, BYTES_AT)).ok()?;
    let block = image.get(at..at.checked_add(bytes)?)?;
    let is_shaped = HEADER_BYTES <= bytes && bytes.is_multiple_of(BLOCK_ALIGN_BYTES);
    let is_whole =
        || crc(&block[MAGIC_AT..]) == u32_at(block, CRC_AT) || planted!(TornBlockBelieved);
    if !is_shaped || !is_whole() {
        return None;
    }
    Some(Block {
        place: Place {
            segment: SegmentId(u64_at(block, SEGMENT_AT)),
            offset: u64_at(block, OFFSET_AT),
            segment_bytes: u64_at(block, SEGMENT_BYTES_AT),
        },
        crc: u32_at(block, CRC_AT),
        previous_crc: u32_at(block, PREVIOUS_CRC_AT),
        bytes,
        first_seq: WriteSeq(u64_at(block, FIRST_SEQ_AT)),
        count: u32_at(block, COUNT_AT),
        marks: PerLane {
            raft: WriteSeq(u64_at(block, MARKS_AT)),
            client: WriteSeq(u64_at(block, MARKS_AT + 8)),
        },
        version: u32_at(block, VERSION_AT),
        records: &block[HEADER_BYTES..],
    })
}

/// Whether the page at `at` looks like the head of a block made for just this place.
pub(super) fn is_begun(image: &[u8], at: usize, segment: SegmentId) -> bool {
    image.get(at..at + HEADER_BYTES).is_some_and(|page| {
        u32_at(page, MAGIC_AT) == MAGIC
            && u64_at(page, SEGMENT_AT) == segment.0
            && u64_at(page, OFFSET_AT) == at as u64
    })
}

impl<'a> Block<'a> {
    /// Whether this code knows how to read it.
    pub(super) const fn is_known(&self) -> bool {
        self.version == VERSION
    }

    /// The sequence number after its last record, or `None` if its numbers contradict each other.
    pub(super) fn next_seq(&self) -> Option<WriteSeq> {
        let before = WriteSeq(self.first_seq.0.checked_sub(1)?);
        let is_past = self.marks.is_within(&PerLane { raft: before, client: before });
        let next_seq = self.first_seq.0.checked_add(self.count.into()).map(WriteSeq);
        next_seq.filter(|_| is_past)
    }

    /// The records in order, or `None` if they do not fill the block as it says.
    pub(super) fn records(&self) -> Option<Vec<(WriteSeq, Lane, &'a [u8])>> {
        let mut records = Vec::new();
        let mut rest = self.records;
        for ordinal in 0..self.count {
            let (header, bodies) = rest.split_at_checked(RECORD_HEADER_BYTES)?;
            let lane = lane_of(header[4])?;
            let (body, after) =
                bodies.split_at_checked(usize::try_from(u32_at(header, 0)).ok()?)?;
            records.push((WriteSeq(self.first_seq.0.checked_add(ordinal.into())?), lane, body));
            rest = after;
        }
        is_zero(rest).then_some(records)
    }
}

impl Draft {
    pub(super) fn new(first_seq: WriteSeq) -> Self {
        let mut bytes = Vec::with_capacity(BLOCK_ALIGN_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        Self { bytes, first_seq, count: 0, last: PerLane::default() }
    }

    /// Whether a record of `bytes` may join, where all together may take `bytes_max`.
    pub(super) const fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.bytes.len() - HEADER_BYTES + RECORD_HEADER_BYTES + bytes <= bytes_max
    }

    pub(super) fn push(&mut self, seq: WriteSeq, lane: Lane, record: &[u8]) {
        assert!(seq.0 == self.last_seq().0 + 1, "sequence numbers grow by one");
        let length = u32::try_from(record.len()).expect("invariant: a record fits into a block");
        // Room for the padding, too: the block is not moved again when it is whole.
        let upto = padded_bytes(self.bytes.len() + RECORD_HEADER_BYTES + record.len());
        self.bytes.reserve(upto - self.bytes.len());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&[lane_code(lane), 0, 0, 0]);
        self.bytes.extend_from_slice(record);
        self.count += 1;
        self.last.raise(lane, seq);
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The last record in it; without records, the last before it.
    pub(super) const fn last_seq(&self) -> WriteSeq {
        WriteSeq(self.first_seq.0 + self.count as u64 - 1)
    }

    /// The last record of `lane` in it; zero if there is none.
    pub(super) const fn last_of(&self, lane: Lane) -> WriteSeq {
        self.last.of(lane)
    }

    pub(super) const fn block_bytes(&self) -> usize {
        padded_bytes(self.bytes.len())
    }

    /// The block, ready to be sealed.
    pub(super) fn into_block(self, place: Place, marks: PerLane) -> Vec<u8> {
        let mut block = self.bytes;
        block.resize(padded_bytes(block.len()), 0);
        let length = u32::try_from(block.len()).expect("invariant: a block is below 4 GiB");
        put(&mut block, MAGIC_AT, &MAGIC.to_le_bytes());
        put(&mut block, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut block, BYTES_AT, &length.to_le_bytes());
        put(&mut block, COUNT_AT, &self.count.to_le_bytes());
        put(&mut block, SEGMENT_AT, &place.segment.0.to_le_bytes());
        put(&mut block, OFFSET_AT, &place.offset.to_le_bytes());
        put(&mut block, SEGMENT_BYTES_AT, &place.segment_bytes.to_le_bytes());
        put(&mut block, FIRST_SEQ_AT, &self.first_seq.0.to_le_bytes());
        put(&mut block, MARKS_AT, &marks.raft.0.to_le_bytes());
        put(&mut block, MARKS_AT + 8, &marks.client.0.to_le_bytes());
        block
    }
}

/// Whether all bytes are zero; by sixteen, since there are thousands.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|&word| u128::from_ne_bytes(word) == 0) && rest.iter().all(|&byte| byte == 0)
}

/// `bytes` rounded up to whole pages.
pub(super) const fn padded_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_ALIGN_BYTES)
}

/// `bytes` rounded up to whole pages.
pub(super) const fn padded_bytes_u64(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_ALIGN_BYTES as u64)
}

const fn lane_code(lane: Lane) -> u8 {
    match lane {
        Lane::Raft => 1,
        Lane::Client => 2,
    }
}

fn lane_of(code: u8) -> Option<Lane> {
    Lane::ALL.into_iter().find(|&lane| lane_code(lane) == code)
}

fn put(block: &mut [u8], at: usize, field: &[u8]) {
    block[at..at + field.len()].copy_from_slice(field);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
