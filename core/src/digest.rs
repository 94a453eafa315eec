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

use self::words::Words;
use crate::rng::mix;

mod words;

/// 128 bits that name a state, a snapshot or a file of bytes.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Digest(pub u128);

impl Digest {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut lanes = Lanes::default();
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for &block in blocks {
            lanes.mix_block(block);
        }
        // The last block is filled up with zeros, and is mixed in even if it holds nothing else.
        let mut last = [0; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        lanes.mix_block(last);
        lanes.finish(bytes.len() as u64)
    }

    /// The hash of what `value` tells serde; not that of its encoding.
    ///
    /// # Panics
    /// If `value` is not plain data.
    #[must_use]
    pub fn of_value<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut words = Words::default();
        value.serialize(&mut words).expect("invariant: plain data always tells its words");
        words.finish()
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
struct Lanes([u64; 2]);

/// Digits of pi: any odd numbers without a pattern will do.
const SEEDS: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345];
const KEYS: [u64; 2] = [0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];
const BLOCK_BYTES: usize = 16;

impl Default for Lanes {
    fn default() -> Self {
        Self(SEEDS)
    }
}

impl Lanes {
    const fn mix_block(&mut self, block: [u8; BLOCK_BYTES]) {
        let [low, high] = halves(u128::from_le_bytes(block));
        self.mix_in(low, high);
    }

    #[inline]
    const fn mix_in(&mut self, low: u64, high: u64) {
        let lanes = self.0;
        self.0 = [
            folded(lanes[0] ^ low, high ^ KEYS[0]) ^ lanes[1],
            folded(lanes[1] ^ high, low ^ KEYS[1]).wrapping_add(lanes[0]),
        ];
    }

    const fn finish(self, length: u64) -> Digest {
        let low = mix(self.0[0] ^ length);
        let high = mix(self.0[1].wrapping_add(length)) ^ low;
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

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::string::{String, ToString};
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn text(length: usize) -> String {
        "x".repeat(length)
    }

    /// A value of each shape, most of them alike.
    fn values() -> Vec<Digest> {
        let of = [
            Digest::of_value(&()),
            Digest::of_value(&0_u8),
            Digest::of_value(&(0_u8, 0_u8)),
            Digest::of_value(&(0_u8, 0_u8, 0_u8)),
            Digest::of_value(&-1_i64),
            Digest::of_value(&1_u128),
            Digest::of_value(&(1_u128 << 64)),
            Digest::of_value(&Some((1_u64, "a"))),
            Digest::of_value(&vec![vec![1_u64], vec![]]),
            Digest::of_value(&vec![vec![], vec![1_u64]]),
            Digest::of_value(&vec![vec![1_u64, 0]]),
            Digest::of_value(&("ab", "c")),
            Digest::of_value(&("a", "bc")),
            Digest::of_value(&("abc", "")),
            Digest::of_value(&("abc\0", "")),
            Digest::of_value(&BTreeMap::from([(1_u64, 2_u64), (3, 4)])),
            Digest::of_value(&BTreeMap::from([(1_u64, 2_u64), (3, 5)])),
        ];
        let texts = (1..70).map(|length| Digest::of_value(&(text(length), length)));
        of.into_iter().chain(texts).collect()
    }

    #[test]
    fn values_that_differ_have_different_digests() {
        let all = values();
        let different: BTreeSet<Digest> = all.iter().copied().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn every_bit_of_a_value_matters_to_about_half_of_the_digest() {
        for length in 1..20 {
            let words: Vec<u64> = (0..length).collect();
            let before = Digest::of_value(&words);
            for nth in 0..words.len() {
                for bit in 0..u64::BITS {
                    let mut changed = words.clone();
                    changed[nth] ^= 1 << bit;
                    let differ = (before.0 ^ Digest::of_value(&changed).0).count_ones();
                    assert!((28..=100).contains(&differ), "bit {bit} of {nth}: {differ}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_not_plain_is_refused() {
        assert!(0.5_f64.serialize(&mut Words::default()).is_err());
    }

    #[test]
    fn a_hash_is_the_same_for_ever() {
        assert_eq!(
            Digest::of_value(&(7_u8, "drover", Some(-1_i64))).to_string(),
            "e29eb417df5f998bf9131981531bd1fc"
        );
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
            let bytes: Vec<u8> = (0..length).collect();
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
