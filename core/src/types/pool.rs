//! Node pools: which nodes a job may run on, before anything else is asked of them.
//!
//! Each node is in one pool. A job names one, or `all` of them.
//!
//! Invariants
//! - `default` and `all` are always there, and nothing about them changes;
//! - no node is in `all`.
use ::alloc::borrow::ToOwned;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use core::borrow::Borrow;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::ids::Index;
use super::operator::Algorithm;
use crate::limits::POOL_NAME_CHARS_MAX;

/// What a pool is called.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PoolName(String);

impl PoolName {
    /// Of nodes and jobs that name none.
    pub const DEFAULT: &'static str = "default";
    /// Every pool, as a job sees it.
    pub const ALL: &'static str = "all";

    /// The name as it is written, whether or not it may be one.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is there without having been made.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.0 == Self::DEFAULT || self.is_all()
    }

    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0 == Self::ALL
    }

    /// Whether a job of this pool may run on a node of that one.
    #[must_use]
    pub fn covers(&self, of_node: &Self) -> bool {
        self.is_all() || self == of_node
    }

    /// Whether a pool may be called so.
    ///
    /// # Errors
    /// What it would have to be.
    pub fn check(&self) -> Result<(), &'static str> {
        const _: () = assert!(POOL_NAME_CHARS_MAX == 128, "as the message says");
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let has_length = (1..=POOL_NAME_CHARS_MAX).contains(&self.0.len());
        if has_length && self.0.chars().all(is_allowed) {
            return Ok(());
        }
        Err("a pool's name has 1 to 128 letters, digits, dashes and underscores")
    }

    /// Whether a node may be in it.
    ///
    /// # Errors
    /// Why not.
    pub fn check_of_node(&self) -> Result<(), &'static str> {
        if self.is_all() {
            return Err("a node is in one pool, and \"all\" stands for every pool");
        }
        self.check()
    }
}

impl Default for PoolName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl Borrow<str> for PoolName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an operator says of a pool.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoolSpec {
    pub name: PoolName,
    pub description: String,
    pub meta: BTreeMap<String, String>,
    pub scheduler: PoolScheduler,
}

/// What is otherwise for jobs of the pool than for the whole cluster.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoolScheduler {
    pub algorithm: Option<Algorithm>,
    /// Kept and shown; no task may use more than it asks for yet.
    pub memory_oversubscription: Option<bool>,
}

/// A row of the table of pools, which has those that were made.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodePool {
    pub spec: PoolSpec,
    pub create_index: Index,
    pub modify_index: Index,
}

impl NodePool {
    /// The pool that nobody made, if it is called so.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let description = match name {
            PoolName::DEFAULT => "Default node pool.",
            PoolName::ALL => "Node pool with all nodes in the cluster.",
            _ => return None,
        };
        let (name, description) = (PoolName::of(name), description.to_owned());
        // They are as old as the log.
        let (create_index, modify_index) = (Index(1), Index(1));
        let spec = PoolSpec { name, description, ..PoolSpec::default() };
        Some(Self { spec, create_index, modify_index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_words() {
        for good in ["default", "all", "gpu", "A-1_b", &"x".repeat(128)] {
            assert_eq!(PoolName::of(good).check(), Ok(()), "{good}");
        }
        for bad in ["", "gpu pool", "gpu/1", "süd", "*", &"x".repeat(129)] {
            assert!(PoolName::of(bad).check().is_err(), "{bad}");
        }
        assert!(PoolName::of("all").check_of_node().is_err());
    }

    #[test]
    fn a_job_of_a_pool_runs_there_and_one_of_all_everywhere() {
        let (all, gpu, usual) = (PoolName::of("all"), PoolName::of("gpu"), PoolName::default());
        assert!(gpu.covers(&gpu) && !gpu.covers(&usual) && !usual.covers(&gpu));
        assert!(all.covers(&gpu) && all.covers(&usual));
    }
}
