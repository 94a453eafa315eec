//! Jobs that run nothing themselves but make children: by the calendar, or when somebody asks.
//!
//! Invariants
//! - a job makes children by the calendar or on demand, never both;
//! - a child's name begins with its parent's, and a child makes no children.
use ::alloc::collections::{BTreeMap, BTreeSet};
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::ids::EvalId;
use crate::time::WallTime;

/// What makes a job run.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Launch {
    /// That it is registered.
    #[default]
    AtOnce,
    /// The calendar: each moment makes a child.
    Periodic(Periodic),
    /// Somebody who dispatches it: each time makes a child.
    Parameterized(Parameterized),
}

/// When children are made.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Periodic {
    /// Never empty. What each says is in `cron`.
    pub crons: Vec<String>,
    /// No child while another one has not ended.
    pub overlap_prohibited: bool,
    /// As the user wrote it; `zone` is what it means.
    pub time_zone: String,
    pub enabled: bool,
    /// The zone's offsets, oldest first, as they were known when the job was submitted; the last one
    /// stays. Empty: UTC.
    pub zone: Vec<Shift>,
}

/// From this moment on, until the next one, a zone's clocks are so far ahead of UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Shift {
    pub unix_s: i64,
    pub offset_s: i32,
}

/// What whoever dispatches must give and may give.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Parameterized {
    pub payload: PayloadRule,
    pub meta_required: BTreeSet<String>,
    pub meta_optional: BTreeSet<String>,
}

/// Whether a payload comes with a dispatch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum PayloadRule {
    #[default]
    Optional,
    Required,
    Forbidden,
}

/// What a job is to the one that made it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Child {
    /// The name of the parent, which may be gone.
    pub parent: String,
    pub made: Made,
}

/// What made a child.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Made {
    /// This moment of the parent's calendar.
    At(WallTime),
    /// An operator, at this moment.
    Forced(WallTime),
    Dispatched {
        #[serde(with = "crate::bytes")]
        payload: Arc<[u8]>,
        /// Who dispatches with the same token again gets this child. Empty: none.
        token: String,
    },
}

/// What of a job's row has to do with launches, scaling and gates.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lineage {
    pub child: Option<Child>,
    /// The moment for which the next child is made. `None`: it is not periodic, not enabled,
    /// stopped, or its calendar has ended.
    pub next_launch: Option<WallTime>,
    /// By group, oldest first.
    pub scaling_events: BTreeMap<String, Vec<ScalingEvent>>,
    /// Groups with gates that were all open once since the job was last started: they wait no more.
    pub opened: BTreeSet<String>,
}

/// Between which counts others may scale a group.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Scaling {
    pub min: u32,
    pub max: u32,
    /// Whether an autoscaler may act. People always may.
    pub enabled: bool,
    /// What an autoscaler reads, as a JSON object; empty: nothing.
    pub policy_json: String,
}

/// Somebody changed a group's count, or said why not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ScalingEvent {
    pub at: WallTime,
    /// `None`: only something was said.
    pub count: Option<u32>,
    pub previous_count: u32,
    pub message: String,
    /// Whether it tells of a failure.
    pub error: bool,
    /// Whatever the caller wants to be kept, as a JSON object; empty: nothing.
    pub meta_json: String,
    pub eval: Option<EvalId>,
}

impl Launch {
    /// Whether the job runs nothing itself and makes children.
    #[must_use]
    pub const fn makes_children(&self) -> bool {
        match self {
            Self::AtOnce => false,
            Self::Periodic(_) | Self::Parameterized(_) => true,
        }
    }
}

impl Child {
    /// What came with the dispatch.
    #[must_use]
    pub fn payload(&self) -> Option<&Arc<[u8]>> {
        match &self.made {
            Made::Dispatched { payload, .. } => Some(payload),
            Made::At(_) | Made::Forced(_) => None,
        }
    }

    /// The token of the dispatch; empty where there is none.
    #[must_use]
    pub fn token(&self) -> &str {
        match &self.made {
            Made::Dispatched { token, .. } => token,
            Made::At(_) | Made::Forced(_) => "",
        }
    }
}
