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
    /// Bytes that were not mixed in yet: single bytes, of which encodings are full, cost little here.
    waiting: [u8; WAITING_BYTES],
    /// How many: less than `WAITING_BYTES`.
    filled: usize,
    /// Bytes that were mixed in.
    mixed: u64,
}

/// Digits of pi: any odd numbers without a pattern will do.
const SEEDS: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345];
const KEYS: [u64; 2] = [0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];
const BLOCK_BYTES: usize = 16;
const WAITING_BYTES: usize = 4 * BLOCK_BYTES;

impl Default for Hash {
    fn default() -> Self {
        Self { lanes: SEEDS, waiting: [0; WAITING_BYTES], filled: 0, mixed: 0 }
    }
}

impl Hash {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.waiting[self.filled] = byte;
        self.filled += 1;
        if self.filled == WAITING_BYTES {
            self.mix_waiting();
        }
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if end < WAITING_BYTES {
            self.waiting[self.filled..end].copy_from_slice(bytes);
            self.filled = end;
        } else {
            self.extend_far(bytes);
        }
    }

    /// `bytes` do not all find room among those that wait.
    fn extend_far(&mut self, bytes: &[u8]) {
        let (first, bytes) = bytes.split_at(WAITING_BYTES - self.filled);
        self.waiting[self.filled..].copy_from_slice(first);
        self.mix_waiting();
        let (blocks, rest) = bytes.as_chunks();
        self.mix_blocks(blocks);
        self.waiting[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// No byte waits any more.
    fn mix_waiting(&mut self) {
        let waiting = self.waiting;
        self.mix_blocks(waiting.as_chunks().0);
        self.filled = 0;
    }

    fn mix_blocks(&mut self, blocks: &[[u8; BLOCK_BYTES]]) {
        for &block in blocks {
            self.mix_in(u128::from_le_bytes(block));
        }
        self.mixed += (blocks.len() * BLOCK_BYTES) as u64;
    }

    const fn mix_in(&mut self, block: u128) {
        let [low, high] = halves(block);
        self.lanes = [
            folded(self.lanes[0] ^ low, high ^ KEYS[0]) ^ self.lanes[1],
            folded(self.lanes[1] ^ high, low ^ KEYS[1]).wrapping_add(self.lanes[0]),
        ];
    }

    fn finish(mut self) -> Digest {
        let waiting = self.waiting;
        let (blocks, rest) = waiting[..self.filled].as_chunks();
        self.mix_blocks(blocks);
        // The last block is filled up with zeros, and is mixed in even if it holds nothing else.
        let mut last = [0; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        self.mix_in(u128::from_le_bytes(last));
        let length = self.mixed + rest.len() as u64;
        let low = mix(self.lanes[0] ^ length);
        let high = mix(self.lanes[1].wrapping_add(length)) ^ low;
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
        self.push(byte);
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
