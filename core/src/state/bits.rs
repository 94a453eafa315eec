//! A set of slots, one bit each.
//!
//! Invariants
//! - it ends with its last slot: equal sets are equal words, whatever was in them before.
use ::alloc::vec::Vec;

use crate::types::NodeSlot;

const WORD_BITS: u32 = u64::BITS;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    const fn at(slot: NodeSlot) -> (usize, u64) {
        ((slot.0 / WORD_BITS) as usize, 1 << (slot.0 % WORD_BITS))
    }

    #[must_use]
    pub fn has(&self, slot: NodeSlot) -> bool {
        let (word, bit) = Self::at(slot);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Take the slot in. Whether it was not there.
    pub fn insert(&mut self, slot: NodeSlot) -> bool {
        let (word, bit) = Self::at(slot);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let was = self.words[word] & bit;
        self.words[word] |= bit;
        was == 0
    }

    /// Take the slot out. Whether it was there.
    pub fn remove(&mut self, slot: NodeSlot) -> bool {
        if !self.has(slot) {
            return false;
        }
        let (word, bit) = Self::at(slot);
        self.words[word] &= !bit;
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        true
    }

    /// Take the slot in or out.
    pub fn set(&mut self, slot: NodeSlot, is_in: bool) {
        if is_in {
            self.insert(slot);
        } else {
            self.remove(slot);
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Every slot, in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeSlot> + '_ {
        self.within(self)
    }

    /// Every slot that is in `other` too, in order.
    pub fn within<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = NodeSlot> + 'b {
        let both = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        (0..).zip(both).flat_map(|(word, bits)| Ones { first: word * WORD_BITS, bits })
    }
}

/// The ones of a word, from the lowest.
struct Ones {
    first: u32,
    bits: u64,
}

impl Iterator for Ones {
    type Item = NodeSlot;

    fn next(&mut self) -> Option<NodeSlot> {
        if self.bits == 0 {
            return None;
        }
        let lowest = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(NodeSlot(self.first + lowest))
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
