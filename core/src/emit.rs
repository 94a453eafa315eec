//! How a machine says something without knowing who listens.
//!
//! Invariants
//! - what is said first is heard first.
use alloc::vec::Vec;

/// Takes what a machine says, in order.
pub trait Emit<T> {
    /// Take one more.
    fn emit(&mut self, output: T);
}

/// For tests: look at what was said.
impl<T> Emit<T> for Vec<T> {
    fn emit(&mut self, output: T) {
        self.push(output);
    }
}
