//! Two runs beside each other, input by input: where the first difference is.
//!
//! Invariants
//! - runs that differ anywhere differ from some input on, which is named.
use drover_core::digest::Digest;

use crate::clock::Moment;
use crate::plan::Plan;
use crate::run::{Options, history_of};

/// An input that an agent took, and what it was afterwards.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stepped {
    pub at: Moment,
    pub host: String,
    /// The event, in words.
    pub event: String,
    /// The agent after it.
    pub agent: Digest,
}

/// How two runs compare.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Compared {
    /// They are one run, of so many inputs.
    Alike { inputs: usize },
    /// After so many inputs that are alike, these follow; `None` where a run has ended.
    Differ { inputs: usize, first: Option<Box<Stepped>>, second: Option<Box<Stepped>> },
}

/// Runs both, and finds the first input by which they differ.
#[must_use]
pub fn compare(first: &Plan, second: &Plan, options: &Options) -> Compared {
    let (first, second) = (history_of(first, options), history_of(second, options));
    let alike = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    if alike == first.len() && alike == second.len() {
        return Compared::Alike { inputs: alike };
    }
    let next = |history: &[Stepped]| history.get(alike).cloned().map(Box::new);
    Compared::Differ { inputs: alike, first: next(&first), second: next(&second) }
}
