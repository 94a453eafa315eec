//! Events as numbers: what the digest of a run is made of, beside agents and moments.
//!
//! Invariants
//! - a kind keeps its number, so that digests of one program compare.
use drover_core::agent::Event;
use drover_core::digest::Digest;

use crate::clock::Moment;
use crate::network::HostId;

/// The event's kind, for the digest of a run.
#[must_use]
pub const fn kind_of(event: &Event) -> u8 {
    match event {
        Event::Booted(_) => 1,
        Event::Received { .. } => 2,
        Event::LinkChanged { .. } => 3,
        Event::DiskDone { .. } => 4,
        Event::DiskFailed { .. } => 5,
        Event::Requested { .. } => 6,
        Event::Abandoned { .. } => 7,
        Event::TaskChanged { .. } => 8,
        Event::TaskAsked { .. } => 9,
        Event::Fingerprinted(_) => 10,
        Event::SnapshotSaved(_) => 11,
        Event::ChunkRead { .. } => 12,
        Event::ChunkMissing { .. } => 13,
        Event::SnapshotLoaded { .. } => 14,
        Event::SnapshotRefused { .. } => 15,
        Event::Woken => 16,
        Event::LeaveAsked => 17,
        Event::ChecksChanged { .. } => 18,
    }
}

/// One more link in the chain of everything that happened.
#[must_use]
pub fn chained(chain: Digest, at: Moment, (host, kind): (HostId, u8), agent: Digest) -> Digest {
    let mut bytes = [0; 49];
    bytes[..16].copy_from_slice(&chain.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&at.ns.to_le_bytes());
    bytes[24..32].copy_from_slice(&(host.0 as u64).to_le_bytes());
    bytes[32..48].copy_from_slice(&agent.0.to_le_bytes());
    bytes[48] = kind;
    Digest::of(&bytes)
}
