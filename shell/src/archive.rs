//! A snapshot as a file that leaves the cluster: the replicated state, and what it is of.
//!
//! ```text
//!   DROVSNP1 │ SHA-256 of all that follows │ what it is of (postcard) │ the state, as servers keep it
//! ```
//!
//! Invariants
//! - bytes whose sum does not match are refused before anything in them is believed;
//! - `unpack` gives back what `pack` was given.
use drover_core::raft::Configuration;
use drover_core::time::WallTime;
use drover_core::types::{ClusterId, Index, Term};
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

/// The format's name and version.
const MAGIC: &[u8; 8] = b"DROVSNP1";
const SUM_BYTES: usize = 32;

/// What a snapshot is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct About {
    /// The program that made it.
    pub version: String,
    pub taken: WallTime,
    pub cluster: ClusterId,
    /// The last entry of the log that is in it.
    pub index: Index,
    /// The term in which it was made.
    pub term: Term,
    pub configuration: Configuration,
}

/// Variants are appended and never changed.
#[derive(Deserialize, Serialize)]
enum Header {
    V1 { about: About, state_bytes: u64 },
}

/// A snapshot that was read and checked.
#[derive(Debug)]
pub struct Archive<'a> {
    pub about: About,
    /// As `State::encode` wrote it.
    pub state: &'a [u8],
    pub sha256: [u8; SUM_BYTES],
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("it is not a snapshot that `drover operator snapshot save` made")]
    Foreign,
    #[error("it is damaged or was cut short: its checksum does not match. Take another copy")]
    Damaged,
    #[error("a newer version of Drover made it: read it with that version")]
    Newer,
}

/// The file's bytes.
///
/// # Panics
/// Never: a header is plain data and encodes.
#[must_use]
pub fn pack(about: About, state: &[u8]) -> Vec<u8> {
    let header = Header::V1 { about, state_bytes: state.len() as u64 };
    let header = postcard::to_allocvec(&header).expect("invariant: a header is plain data");
    let mut sum = Context::new(&SHA256);
    sum.update(&header);
    sum.update(state);
    [&MAGIC[..], sum.finish().as_ref(), &header, state].concat()
}

/// What is in the file's bytes.
///
/// # Errors
/// Why they are not believed.
pub fn unpack(bytes: &[u8]) -> Result<Archive<'_>, Fault> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Fault::Foreign)?;
    let (named, content) = rest.split_first_chunk::<SUM_BYTES>().ok_or(Fault::Damaged)?;
    if digest(&SHA256, content).as_ref() != named {
        return Err(Fault::Damaged);
    }
    // The bytes are those that were written: what does not read was written by someone else.
    let (Header::V1 { about, state_bytes }, state) =
        postcard::take_from_bytes(content).map_err(|_| Fault::Newer)?;
    if state.len() as u64 != state_bytes {
        return Err(Fault::Newer);
    }
    Ok(Archive { about, state, sha256: *named })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let about = About {
            version: "0.1.0".into(),
            taken: WallTime { unix_ms: 5 },
            cluster: ClusterId(7),
            index: Index(12),
            term: Term(3),
            configuration: Configuration::default(),
        };
        pack(about, b"the state")
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let bytes = packed();
        let archive = unpack(&bytes).unwrap();
        assert_eq!((archive.about.index, archive.state), (Index(12), &b"the state"[..]));
    }

    #[test]
    fn no_byte_can_change_and_none_can_be_missing() {
        let whole = packed();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(unpack(&bytes).is_err(), "byte {at}");
            assert!(unpack(&whole[..at]).is_err(), "{at} bytes");
        }
        assert_eq!(unpack(b"PK\x03\x04").unwrap_err(), Fault::Foreign);
    }
}
