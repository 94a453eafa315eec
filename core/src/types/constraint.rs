//! What a job demands of a node, as written; the scheduler decides whether it holds.
//!
//! Invariants
//! - an operator that does not exist cannot be stored.
use ::alloc::string::String;

use serde::{Deserialize, Serialize};

/// `left operator right`, where either side may name an attribute as `${attr.kernel.name}`,
/// `${node.datacenter}`, `${node.unique.id}`, `${node.unique.name}`, `${node.class}`, `${node.pool}`, `${meta.rack}`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Constraint {
    pub left: String,
    pub operator: Operator,
    pub right: String,
}

/// How the two sides are compared. Names are those of Nomad's job files.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The left matches the regular expression on the right.
    Regexp,
    /// The left is a version that meets the comma-separated demands on the right.
    Version,
    /// Every comma-separated word on the right is among those on the left.
    SetContains,
    IsSet,
    IsNotSet,
    /// No two allocs of the job (or group) on one node; has no sides.
    DistinctHosts,
    /// The left is a version that meets the demands on the right, as Semantic Versioning orders them.
    Semver,
    /// Some of the comma-separated words on the right are among those on the left.
    SetContainsAny,
    /// At most so many allocs of the job (or group) as the right says, or one, where the left is the
    /// same.
    DistinctProperty,
}

impl Operator {
    /// Every operator with the word that stands for it in job files.
    pub const NAMES: [(&'static str, Self); 19] = [
        ("=", Self::Equal),
        ("==", Self::Equal),
        ("is", Self::Equal),
        ("!=", Self::NotEqual),
        ("not", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
        ("regexp", Self::Regexp),
        ("version", Self::Version),
        ("set_contains", Self::SetContains),
        ("set_contains_all", Self::SetContains),
        ("is_set", Self::IsSet),
        ("is_not_set", Self::IsNotSet),
        ("distinct_hosts", Self::DistinctHosts),
        ("semver", Self::Semver),
        ("set_contains_any", Self::SetContainsAny),
        ("distinct_property", Self::DistinctProperty),
    ];

    /// The operator that `word` stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == word).map(|&(_, operator)| operator)
    }

    /// The first word that stands for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|&&(_, operator)| operator == self);
        found.expect("invariant: every operator has a name").0
    }
}
