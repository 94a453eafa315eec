//! Where a plan's chance comes from: a seed, or bytes that somebody chose, and a seed when they end.
//!
//! Who changes the bytes changes the plan in one place: so a fuzzer finds plans, and makes them small.
//!
//! Invariants
//! - without bytes the numbers are those of the core's generator.
use std::cell::Cell;

use drover_core::rng::Rng;

/// A source of chance.
#[derive(Clone, Debug)]
pub(super) struct Entropy<'a> {
    rng: Rng,
    /// What is left of the bytes, for all forks together.
    bytes: Option<&'a Cell<&'a [u8]>>,
}

impl<'a> Entropy<'a> {
    pub(super) const fn from_seed(seed: u64) -> Self {
        Self { rng: Rng::from_seed(seed), bytes: None }
    }

    /// The bytes first.
    pub(super) const fn from_bytes(bytes: &'a Cell<&'a [u8]>) -> Self {
        Self { rng: Rng::from_seed(0), bytes: Some(bytes) }
    }

    pub(super) fn fork(&self, label: &str) -> Self {
        Self { rng: self.rng.fork(label), ..*self }
    }

    pub(super) fn fork_number(&self, number: u64) -> Self {
        Self { rng: self.rng.fork_number(number), ..*self }
    }

    /// A number in `min..=max`.
    pub(super) fn between(&mut self, min: u64, max: u64) -> u64 {
        assert!(min <= max, "a range has its smaller end first");
        match self.take(max - min) {
            Some(offset) => min + offset,
            None => self.rng.between(min, max),
        }
    }

    /// Whether an event of `permille` in a thousand happens.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.between(0, 999) < permille
    }

    /// A number up to `max` out of as many bytes as it needs, if they are there.
    fn take(&self, max: u64) -> Option<u64> {
        let bytes = self.bytes?;
        let needed = usize::try_from((u64::BITS - max.leading_zeros()).div_ceil(8)).ok()?;
        let (taken, rest) = bytes.get().split_at_checked(needed)?;
        bytes.set(rest);
        let mut padded = [0; 8];
        padded[..needed].copy_from_slice(taken);
        let drawn = u128::from(u64::from_le_bytes(padded)) % (u128::from(max) + 1);
        u64::try_from(drawn).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_first_and_then_the_generator() {
        let bytes = Cell::new(&[7, 1, 1, 9][..]);
        let mut entropy = Entropy::from_bytes(&bytes);
        assert_eq!(entropy.between(10, 20), 17);
        assert_eq!(entropy.fork("other").between(0, 999), 257, "forks share the bytes");
        let mut without = Rng::from_seed(0);
        assert_eq!(entropy.between(0, 1_000), without.between(0, 1_000), "one byte is too little");
        assert_eq!(entropy.between(3, 3), 3);
        assert_eq!(bytes.get(), [9]);
    }
}
