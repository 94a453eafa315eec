//! A 128-bit hash of bytes, and the running sum of such hashes that names a whole state.
//!
//! The hash must be the same on every machine and for ever; it defends against bugs and bit rot,
//! not against an adversary. The sum is order-free, so a table's digest is kept by adding a row's
//! hash when it is written and subtracting it when it is removed (incremental multiset hashing).
//!
//! Invariants
//! - the digest of a set of rows does not depend on the order in which they were written;
//! - adding and then removing a row restores the digest.
use serde::{Deserialize, Serialize};

use crate::rng::mix;

/// 128 bits that name a state, a snapshot or a file of bytes.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Digest(pub u128);

impl Digest {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (mut low, mut high) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            low = mix(low ^ word);
            high = mix(high.rotate_left(23).wrapping_add(word)) ^ low;
        }
        let length = bytes.len() as u64;
        low = mix(low ^ length);
        high = mix(high.wrapping_add(length)) ^ low;
        Self((u128::from(high) << 64) | u128::from(low))
    }

    /// Count one more row in.
    pub const fn add(&mut self, row: Self) {
        self.0 = self.0.wrapping_add(row.0);
    }

    /// Count a row out again.
    pub const fn remove(&mut self, row: Self) {
        self.0 = self.0.wrapping_sub(row.0);
    }
}

impl core::fmt::Display for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
