//! Entries as bytes: what a frame of the log holds.
//!
//! A frame's payload is `count` records one after another. Each begins with the number of its
//! format, so that a new format can be appended while old logs are still read.
//!
//! Invariants
//! - decoding what was encoded gives the same entries;
//! - a payload that does not hold exactly `count` entries is a fault: an entry is never skipped.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Entry;

/// Why a payload does not read: the log is damaged, or newer than this program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordFault {
    /// The record with this position in the payload does not read.
    Malformed { position: u32 },
    /// All records were read, and then the payload goes on.
    TrailingBytes { bytes: usize },
}

/// Variants are appended and never changed.
#[derive(Serialize)]
enum Written<'a> {
    V1(&'a Entry),
}

/// The same, as it is read.
#[derive(Deserialize)]
enum Read {
    V1(Entry),
}

/// A frame's payload.
#[must_use]
pub fn encode_batch(entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::new();
    for entry in entries {
        encode_entry(entry, &mut payload);
    }
    payload
}

/// Append one entry to a payload.
pub fn encode_entry(entry: &Entry, payload: &mut Vec<u8>) {
    let bytes = postcard::to_allocvec(&Written::V1(entry));
    payload.extend_from_slice(&bytes.expect("invariant: plain data can be written to memory"));
}

/// The `count` entries of a payload, in order. Ends after the first fault.
#[must_use]
pub const fn decode_batch(payload: &[u8], count: u32) -> Records<'_> {
    Records { rest: payload, position: 0, count }
}

/// See `decode_batch`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    position: u32,
    count: u32,
}

impl Iterator for Records<'_> {
    type Item = Result<Entry, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if planted!(LastOfFrameForgotten) && 1 < self.count && self.position + 1 == self.count {
            return None;
        }
        if self.position == self.count {
            let bytes = core::mem::take(&mut self.rest).len();
            return (0 < bytes).then_some(Err(RecordFault::TrailingBytes { bytes }));
        }
        let position = self.position;
        match postcard::take_from_bytes(self.rest) {
            Ok((Read::V1(entry), rest)) => {
                self.rest = rest;
                self.position += 1;
                Some(Ok(entry))
            }
            Err(_) => {
                self.rest = &[];
                self.position = self.count;
                Some(Err(RecordFault::Malformed { position }))
            }
        }
    }
}
