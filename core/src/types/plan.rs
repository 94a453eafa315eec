//! What the scheduler wants done for one evaluation.
//!
//! Invariants
//! - a placement names its node by slot; a slot that changed hands after `based_on` is refused;
//! - no alloc is both stopped and placed over by one entry of `placements`.
use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::alloc::{PlacementFailure, PlacementNote};
use super::ids::{AllocId, EvalId, Index, JobId, NodeSlot};
use super::pieces::Pieces;
use super::resources::PortGrant;
use crate::time::WallTime;

/// Everything that one scheduling of an evaluation changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Plan {
    pub eval: EvalId,
    pub job: JobId,
    /// The version that placements are of, unless they say otherwise.
    pub version: u64,
    /// The state that the scheduler looked at.
    pub based_on: Index,
    pub stops: Vec<Stop>,
    pub placements: Vec<Placement>,
    /// Allocs that take the new version without a restart.
    pub in_place: Vec<AllocId>,
    /// Groups that a deployment of `version` watches: where there is none yet, it is made. None: the
    /// plan does not need one.
    pub watched: Vec<WatchedGroup>,
    /// Allocs of less important jobs that are stopped so that there will be room.
    pub preempted: Vec<Preempted>,
    /// What becomes of the evaluation when the plan is applied.
    pub verdict: Verdict,
    /// When a system job's update goes on: a delayed evaluation is made for that moment.
    pub next_step: Option<WallTime>,
    /// Groups, by their position in the version, whose gates were found open: they wait no more.
    pub opened: Vec<u16>,
}

/// One alloc to stop.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stop {
    pub alloc: AllocId,
    pub reason: StopReason,
}

/// Why an alloc is stopped.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum StopReason {
    /// The job was stopped or the group is gone or shrank.
    NotNeeded,
    /// A newer version replaces it.
    Updated,
    /// Its node is down: the alloc is lost as well as stopped.
    NodeLost,
    /// It failed and is placed again.
    Rescheduled,
    /// It must leave its node, and another takes its place.
    Migrating,
    /// It must leave its node, whether another takes its place or not.
    Drained,
}

/// One alloc to create. Its name and capacity follow from the job's version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Placement {
    pub slot: NodeSlot,
    pub group: u16,
    pub ordinal: u32,
    pub ports: Vec<PortGrant>,
    /// What it is to have for itself.
    pub pieces: Option<Box<Pieces>>,
    pub previous: Option<AllocId>,
    /// Older than the plan's: it replaces an alloc of that version while the new one may not yet.
    pub version: Option<u64>,
    pub canary: bool,
    /// Set when `previous` failed: this placement counts as a rescheduling with that delay.
    pub rescheduled_after_ms: Option<u64>,
    pub note: PlacementNote,
}

/// A group that a new deployment watches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WatchedGroup {
    /// Position in the plan's version.
    pub group: u16,
    /// How many of its allocs must prove themselves before the others are replaced.
    pub canaries: u32,
}

/// An alloc of another job that makes way.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Preempted {
    pub alloc: AllocId,
    /// Position in the plan's version of the group that is to have its room.
    pub group: u16,
}

impl Plan {
    /// The version that the placement is of.
    #[must_use]
    pub fn version_of(&self, placement: &Placement) -> u64 {
        placement.version.unwrap_or(self.version)
    }
}

/// What becomes of the evaluation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Verdict {
    /// More placements follow in the next plan of the same evaluation.
    More,
    /// Done; whatever found no room waits in a blocked evaluation.
    Done {
        failures: BTreeMap<String, PlacementFailure>,
        queued: BTreeMap<String, u32>,
        /// Failed allocs to replace later: one delayed evaluation is made for the earliest moment.
        later: Vec<(AllocId, WallTime)>,
    },
}
