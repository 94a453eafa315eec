//! Events as numbers: what the digest of a run is made of, beside agents and moments.
//!
//! Invariants
//! - a kind keeps its number, so that digests of one program compare.
use drover_core::agent::Event;

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
    }
}
