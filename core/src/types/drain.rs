//! A drain: everything moves off a node, by a deadline or at its own pace.
//!
//! | an operator asked for | when what is left must go |
//! |---|---|
//! | a deadline | so long after the drain was set |
//! | force | at once |
//! | no deadline | never |
//!
//! Invariants
//! - a node that drains gets nothing new, and stays so when the drain is over.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::time::WallTime;

/// How an operator wants a node emptied.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrainSpec {
    pub deadline: DrainDeadline,
    /// What system jobs run stays.
    pub ignore_system: bool,
}

/// How long allocs may take to leave by themselves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum DrainDeadline {
    /// No time at all.
    Force,
    After {
        ms: u64,
    },
    Never,
}

/// A drain under way, as its node's row has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Drain {
    pub spec: DrainSpec,
    pub started_at: WallTime,
    /// From then on nothing is waited for any more; `None`: never.
    pub force_at: Option<WallTime>,
    /// When the leader must look at it, if nothing else happens.
    pub due: Option<WallTime>,
}

/// What became of a node's last drain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastDrain {
    pub started_at: WallTime,
    pub updated_at: WallTime,
    pub status: DrainStatus,
    /// What operators noted.
    pub meta: BTreeMap<String, String>,
}

/// Whether a drain goes on, is done, or was called off.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum DrainStatus {
    Draining,
    Complete,
    Canceled,
}

/// Whether an alloc must leave its node: for a drain, or for a rebalance, if that makes things better.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Migration {
    #[default]
    None,
    /// As soon as another has a place.
    WhenReplaced,
    /// Whether there is a place for another or not.
    AtOnce,
    /// Another node was found to be better by so much, and its turn to move there has not come.
    Chosen { gain_permille_min: u32 },
    /// Its turn has come: as soon as another has a place that is better by so much.
    IfBetter { gain_permille_min: u32 },
}

impl Migration {
    /// Whether another takes its place, or may.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        match self {
            Self::WhenReplaced | Self::AtOnce | Self::IfBetter { .. } => true,
            Self::None | Self::Chosen { .. } => false,
        }
    }

    /// Whether a drain is why.
    #[must_use]
    pub const fn is_of_drain(self) -> bool {
        match self {
            Self::WhenReplaced | Self::AtOnce => true,
            Self::None | Self::Chosen { .. } | Self::IfBetter { .. } => false,
        }
    }

    /// Whether a rebalance is why.
    #[must_use]
    pub const fn is_of_rebalance(self) -> bool {
        match self {
            Self::Chosen { .. } | Self::IfBetter { .. } => true,
            Self::None | Self::WhenReplaced | Self::AtOnce => false,
        }
    }
}

impl DrainSpec {
    /// When a drain that is set at `now` waits for nothing any more.
    #[must_use]
    pub const fn force_at(&self, now: WallTime) -> Option<WallTime> {
        match self.deadline {
            DrainDeadline::Force => Some(now),
            DrainDeadline::After { ms } => Some(now.plus_ms(ms)),
            DrainDeadline::Never => None,
        }
    }
}

impl Drain {
    /// Whether its deadline has come.
    #[must_use]
    pub fn is_forced(&self, now: WallTime) -> bool {
        self.force_at.is_some_and(|at| at <= now)
    }
}
