//! Choices taken from bytes, one after the other.
//!
//! Invariants
//! - what is taken is gone, and nothing is made up when all is.

/// What is left.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A number of so many bytes, at most eight.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken.iter().rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte)))
    }

    /// The next bytes, or those that are left.
    pub(super) fn slice(&mut self, length: u64) -> &'a [u8] {
        let length = usize::try_from(length).map_or(self.rest.len(), |n| n.min(self.rest.len()));
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// Whatever the next bytes stand for.
    pub(super) fn decoded<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let (value, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }
}
