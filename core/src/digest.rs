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
        let mut hash = Hash::default();
        hash.extend(bytes);
        hash.finish()
    }

    /// The hash of the bytes that `value` is encoded as, which are never laid down.
    ///
    /// # Panics
    /// If `value` is not plain data.
    #[must_use]
    pub fn of_encoded<T: Serialize + ?Sized>(value: &T) -> Self {
        let done = postcard::serialize_with_flavor(value, Hash::default());
        done.expect("invariant: plain data always encodes")
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

/// A hash on its way: two lanes of 64 bits that take sixteen bytes at a time, each by one product of
/// 128 bits folded in half (as Wang Yi's wyhash does).
struct Hash {
    lanes: [u64; 2],
    /// Bytes that do not make sixteen yet.
    waiting: u128,
    /// How many: less than sixteen.
    filled: u32,
    length: u64,
}

/// Digits of pi: any odd numbers without a pattern will do.
const SEEDS: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345];
const KEYS: [u64; 2] = [0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];
const BLOCK_BYTES: u32 = 16;

impl Default for Hash {
    fn default() -> Self {
        Self { lanes: SEEDS, waiting: 0, filled: 0, length: 0 }
    }
}

impl Hash {
    /// `block` holds `bytes` bytes, at most sixteen; above them it is zero.
    fn take(&mut self, block: u128, bytes: u32) {
        let before = self.filled;
        self.waiting |= block << (8 * before);
        self.filled += bytes;
        self.length += u64::from(bytes);
        if BLOCK_BYTES <= self.filled {
            self.mix_in(self.waiting);
            // What did not fit waits; nothing, if nothing waited before.
            self.waiting = block.checked_shr(8 * (BLOCK_BYTES - before)).unwrap_or(0);
            self.filled -= BLOCK_BYTES;
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<16>();
        for &block in blocks {
            self.take(u128::from_le_bytes(block), BLOCK_BYTES);
        }
        let (mut block, mut filled) = (0, 0);
        for &byte in rest {
            block |= u128::from(byte) << filled;
            filled += 8;
        }
        self.take(block, filled / 8);
    }

    const fn mix_in(&mut self, block: u128) {
        let [low, high] = halves(block);
        self.lanes = [
            folded(self.lanes[0] ^ low, high ^ KEYS[0]) ^ self.lanes[1],
            folded(self.lanes[1] ^ high, low ^ KEYS[1]).wrapping_add(self.lanes[0]),
        ];
    }

    const fn finish(mut self) -> Digest {
        self.mix_in(self.waiting);
        let low = mix(self.lanes[0] ^ self.length);
        let high = mix(self.lanes[1].wrapping_add(self.length)) ^ low;
        Digest(((high as u128) << 64) | low as u128)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(wide: u128) -> [u64; 2] {
    [wide as u64, (wide >> 64) as u64]
}

const fn folded(a: u64, b: u64) -> u64 {
    let [low, high] = halves(a as u128 * b as u128);
    low ^ high
}

impl postcard::ser_flavors::Flavor for Hash {
    type Output = Digest;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.take(byte.into(), 1);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Digest> {
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_value_hashes_as_the_bytes_it_is_encoded_as() {
        let mut text = alloc::string::String::new();
        for length in 0_u64..70 {
            let value = (7_u8, length, &text, alloc::vec![length; 3]);
            let bytes = postcard::to_allocvec(&value).unwrap();
            assert_eq!(Digest::of_encoded(&value), Digest::of(&bytes), "{length}");
            text.push('x');
        }
    }

    #[test]
    fn a_hash_is_the_same_for_ever() {
        assert_eq!(Digest::of(b"").to_string(), "32d32795bd425eb0af1a9be33557e5d1");
        assert_eq!(Digest::of(b"drover").to_string(), "7688428a02cce8262fab1eefe576cebc");
        assert_eq!(
            Digest::of(b"the same for ever, on all").to_string(),
            "3a70956f5e41d174abbd97cf299ae367"
        );
    }

    #[test]
    fn every_bit_matters_to_about_half_of_the_digest() {
        for length in [1, 8, 15, 16, 17, 40] {
            let bytes: alloc::vec::Vec<u8> = (0..length).collect();
            let before = Digest::of(&bytes);
            for bit in 0..8 * usize::from(length) {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let differ = (before.0 ^ Digest::of(&changed).0).count_ones();
                assert!((32..=96).contains(&differ), "bit {bit} of {length} bytes: {differ}");
            }
        }
    }
}
