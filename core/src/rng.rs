//! The only source of chance in the core, written here so that its stream never changes with a
//! dependency. Each machine gets a fork of its own, so a new draw in one does not shift another's.
//!
//! Invariants
//! - the same seed and the same calls give the same numbers, on every machine and for ever.
use serde::{Deserialize, Serialize};

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose stream is a function of `seed` alone.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An independent stream named by `label`.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mixed = label
            .bytes()
            .fold(self.state, |acc, byte| (acc ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { state: mix(mixed) }
    }

    /// An independent stream numbered by `number`.
    #[must_use]
    pub const fn fork_number(&self, number: u64) -> Self {
        Self { state: mix(self.state ^ mix(number)) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `min..=max`. Closed on both ends, so it cannot fail.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        assert!(min <= max, "a range has its smaller end first");
        let span = u128::from(max - min) + 1;
        // Multiply-shift; the bias is below 2^-32 for the small spans used here.
        let high = (u128::from(self.next_u64()) * span) >> 64;
        min + u64::try_from(high).expect("invariant: the high half of a 128-bit product")
    }

    /// Whether an event of `permille` in a thousand happens.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.between(0, 999) < permille
    }
}

/// The finaliser of `SplitMix64`: a bijection of 64 bits in which every bit depends on all.
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
