//! What a job would rather have of its nodes, as written; no node is refused for it.
//!
//! Invariants
//! - a weight of an affinity is never zero: it would say nothing;
//! - the percents of a spread's targets are at most a hundred together.
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::constraint::Operator;

/// A demand that a node should rather meet, or, with a negative weight, rather not.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Affinity {
    pub left: String,
    pub operator: Operator,
    pub right: String,
    /// From -100 to 100.
    pub weight: i8,
}

/// A group's allocs should be spread over the values of an attribute.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Spread {
    /// Such as `${node.datacenter}`.
    pub attribute: String,
    /// From 0 to 100: how much it counts beside the job's other spreads.
    pub weight: u8,
    /// None: evenly over all values.
    pub targets: Vec<SpreadTarget>,
}

/// How large a share of the allocs one value should have.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct SpreadTarget {
    pub value: String,
    pub percent: u8,
}

/// Nomad's default of both weights.
pub const LEANING_WEIGHT: u8 = 50;
