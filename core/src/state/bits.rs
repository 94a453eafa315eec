//! A set of small numbers, slots mostly, one bit each.
//!
//! Invariants
//! - it ends with its last number: equal sets are equal words, whatever was in them before.
use ::alloc::vec::Vec;
use core::marker::PhantomData;

use crate::types::NodeSlot;

const WORD_BITS: u32 = u64::BITS;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bits<N = NodeSlot> {
    words: Vec<u64>,
    of: PhantomData<N>,
}

impl<N: Copy + From<u32> + Into<u32>> Bits<N> {
    fn at(number: N) -> (usize, u64) {
        let number = number.into();
        ((number / WORD_BITS) as usize, 1 << (number % WORD_BITS))
    }

    #[must_use]
    pub fn has(&self, number: N) -> bool {
        let (word, bit) = Self::at(number);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Take the number in. Whether it was not there.
    pub fn insert(&mut self, number: N) -> bool {
        let (word, bit) = Self::at(number);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let was = self.words[word] & bit;
        self.words[word] |= bit;
        was == 0
    }

    /// Take the number out. Whether it was there.
    pub fn remove(&mut self, number: N) -> bool {
        if !self.has(number) {
            return false;
        }
        let (word, bit) = Self::at(number);
        self.words[word] &= !bit;
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        true
    }

    /// Take the number in or out.
    pub fn set(&mut self, number: N, is_in: bool) {
        if is_in {
            self.insert(number);
        } else {
            self.remove(number);
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Every number, in order.
    pub fn iter(&self) -> impl Iterator<Item = N> + '_ {
        self.within(self)
    }

    /// Every number that is in `other` too, in order.
    pub fn within<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = N> + 'b {
        let both = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        let ones = (0..).zip(both);
        ones.flat_map(|(word, bits)| Ones { first: word * WORD_BITS, bits }).map(N::from)
    }
}

impl<N: Copy + Default + From<u32> + Into<u32>> FromIterator<N> for Bits<N> {
    fn from_iter<I: IntoIterator<Item = N>>(numbers: I) -> Self {
        let mut all = Self::default();
        for number in numbers {
            all.insert(number);
        }
        all
    }
}

/// The ones of a word, from the lowest.
struct Ones {
    first: u32,
    bits: u64,
}

impl Iterator for Ones {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.bits == 0 {
            return None;
        }
        let lowest = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(self.first + lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_what_is_in_it_and_not_how_it_came_to_be() {
        let (mut one, mut other) = (Bits::default(), Bits::default());
        for slot in [3, 64, 700] {
            assert!(one.insert(NodeSlot(slot)));
        }
        assert!(!one.insert(NodeSlot(3)) && one.remove(NodeSlot(700)) && !one.remove(NodeSlot(5)));
        other.insert(NodeSlot(64));
        other.set(NodeSlot(3), true);
        assert_eq!(one, other);
        other.insert(NodeSlot(9));
        assert!(one.iter().eq([3, 64].map(NodeSlot)) && one.within(&other).eq(one.iter()));
        assert!(one.has(NodeSlot(64)) && !one.has(NodeSlot(6_400)));
    }
}
