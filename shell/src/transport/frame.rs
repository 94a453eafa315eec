//! How messages lie on a stream: a length of four bytes (little-endian), then the message.
//!
//! The first byte of every stream names its lane. The first frame of an ordered stream is a `Hello`.
//!
//! Invariants
//! - a length above the bound is refused before anything is allocated for it;
//! - no more is allocated for a frame than has arrived of it;
//! - frames come out as they went in: whole, in order, once.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use drover_core::limits::MESSAGE_BYTES_MAX;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{HELLO_VERSION, Hello};
use crate::node_key::Proof;

/// First byte of an ordered stream.
pub const LANE_ORDERED: u8 = 1;
/// First byte of a bulk stream.
pub const LANE_BULK: u8 = 2;
/// A greeting is short; more is no greeting.
pub const HELLO_BYTES_MAX: usize = 4 << 10;

const HEADER_BYTES: usize = 4;
/// Frames up to this size are copied together; larger ones are passed on as they are.
const COPY_BYTES_MAX: usize = 8 << 10;

/// What a peer did wrong.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Fault {
    /// A frame that we would never accept.
    #[error("a frame of {bytes} bytes exceeds the bound of {bytes_max}")]
    TooLong {
        /// As announced.
        bytes: usize,
        /// Of this kind of frame.
        bytes_max: usize,
    },
    /// Not a greeting of a version that we know.
    #[error("speaks version {version} of the greeting, this build knows {HELLO_VERSION}")]
    UnknownVersion {
        /// The first byte.
        version: u8,
    },
    /// Bytes that mean nothing.
    #[error("the greeting cannot be read")]
    Malformed,
    /// A stream that announces no lane we know, or a second of its kind.
    #[error("opened a stream of unexpected kind {kind}")]
    UnexpectedStream {
        /// Its first byte.
        kind: u8,
    },
}

/// Cuts what arrives on a stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    arrived: BytesMut,
    /// Bytes of `arrived` before which no whole frame can end; spares looking at every packet.
    wanted: usize,
}

impl Decoder {
    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.put_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// If the frame is longer than `bytes_max`.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Bytes>, Fault> {
        if self.arrived.len() < HEADER_BYTES.max(self.wanted) {
            return Ok(None);
        }
        let header = self.arrived[..HEADER_BYTES].try_into().expect("invariant: four bytes");
        let bytes = u32::from_le_bytes(header) as usize;
        if bytes_max < bytes {
            return Err(Fault::TooLong { bytes, bytes_max });
        }
        self.wanted = HEADER_BYTES + bytes;
        if self.arrived.len() < self.wanted {
            return Ok(None);
        }
        self.wanted = 0;
        self.arrived.advance(HEADER_BYTES);
        Ok(Some(self.arrived.split_to(bytes).freeze()))
    }
}

/// Lays frames one after the other, ready for one write.
#[must_use]
pub fn join(frames: Vec<Bytes>) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(2);
    let mut small = BytesMut::new();
    for frame in frames {
        assert!(frame.len() <= MESSAGE_BYTES_MAX, "a message was bounded before it was queued");
        small.put_u32_le(u32::try_from(frame.len()).expect("invariant: bounded above"));
        if frame.len() <= COPY_BYTES_MAX {
            small.put_slice(&frame);
        } else {
            chunks.push(small.split().freeze());
            chunks.push(frame);
        }
    }
    if !small.is_empty() {
        chunks.push(small.freeze());
    }
    chunks
}

/// What the first frame carries: who speaks, and which of its connections this is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Greeting {
    /// First, so that its version is the first byte.
    pub hello: Hello,
    /// Grows with every dial of one start of the dialler; zero from the side that was dialled.
    pub ordinal: u64,
    /// From a client node: that it is the one that it says it is.
    pub proof: Option<Proof>,
    /// From a client node that has one: the token by which it may become a node.
    pub introduction: Option<String>,
}

/// The bytes of a greeting, without its length.
#[must_use]
pub fn encode_greeting(greeting: &Greeting) -> Bytes {
    let bytes = postcard::to_allocvec(greeting).expect("invariant: a greeting is plain data");
    assert!(bytes.len() <= HELLO_BYTES_MAX, "our own greeting is short");
    Bytes::from(bytes)
}

/// Reads a greeting.
///
/// # Errors
/// If it is of another version, or damaged.
pub fn decode_greeting(bytes: &[u8]) -> Result<Greeting, Fault> {
    match bytes.first() {
        None => Err(Fault::Malformed),
        Some(&version) if version != HELLO_VERSION => Err(Fault::UnknownVersion { version }),
        Some(_) => postcard::from_bytes(bytes).map_err(|_| Fault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(frames: &[&[u8]]) -> Vec<u8> {
        let chunks = join(frames.iter().map(|f| Bytes::copy_from_slice(f)).collect());
        chunks.concat()
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let large = vec![7; 3 * COPY_BYTES_MAX];
        let frames: [&[u8]; 4] = [b"one", b"", &large, b"four"];
        let stream = flat(&frames);
        for step in [1, 2, 3, 5, 1_000, stream.len()] {
            let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
            for piece in stream.chunks(step) {
                decoder.push(piece);
                while let Some(frame) = decoder.next(MESSAGE_BYTES_MAX).unwrap() {
                    heard.push(frame);
                }
            }
            assert_eq!(heard, frames);
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused_by_its_header_alone() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        let fault = decoder.next(MESSAGE_BYTES_MAX).unwrap_err();
        assert_eq!(
            fault,
            Fault::TooLong { bytes: u32::MAX as usize, bytes_max: MESSAGE_BYTES_MAX }
        );
        assert!(decoder.arrived.capacity() < 1_024);
    }

    #[test]
    fn a_greeting_of_another_version_is_told_by_its_first_byte() {
        assert_eq!(decode_greeting(&[9, 0]), Err(Fault::UnknownVersion { version: 9 }));
        assert_eq!(decode_greeting(&[HELLO_VERSION, 77]), Err(Fault::Malformed));
        assert_eq!(decode_greeting(&[]), Err(Fault::Malformed));
    }
}
