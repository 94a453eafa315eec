//! Evaluations that wait for room, and the room that appears.
//!
//! Room of a node is tried at once against every job that waits. A plan that found no room was based
//! on a state that may be older than room that has appeared since: such room is remembered until the
//! plan's blocked evaluation is heard of, and tried against it then.
//!
//! Invariants
//! - an evaluation is asked to be unblocked at most once before it has left, unless asking was in vain;
//! - room that appeared after the oldest base of an unsettled plan is remembered, or counts as room
//!   everywhere.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Fits;
use crate::types::{EvalId, Index, JobId, NodeId};

/// Nodes whose room is remembered; beyond that, room anywhere is taken for room everywhere.
const RECENT_MAX: usize = 4_096;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Blocked {
    /// Not asked for yet.
    waiting: BTreeMap<EvalId, JobId>,
    /// By job, the state that its unsettled plan is based on.
    bases: BTreeMap<JobId, Index>,
    /// Where room appeared, oldest first.
    recent: VecDeque<(Index, NodeId)>,
    /// Whatever was based on an older state than this may have missed room.
    everywhere: Index,
    /// Asked for in vain.
    lost: Vec<EvalId>,
}

impl Blocked {
    /// An evaluation of the job is scheduled on the state at `base`.
    pub(super) fn on_scheduled(&mut self, job: JobId, base: Index) {
        self.bases.insert(job, base);
    }

    /// The job has no plan that is not settled, and left nothing blocked.
    pub(super) fn on_job_done(&mut self, job: JobId) {
        self.bases.remove(&job);
    }

    /// The evaluation waits for room from now on. Says whether it need not.
    pub(super) fn on_blocked(&mut self, eval: EvalId, job: JobId, fits: &Fits<'_>) -> Vec<EvalId> {
        let missed = match self.bases.remove(&job) {
            // Nobody knows what it was based on.
            None => true,
            Some(base) => {
                let since = self.recent.iter().filter(|&&(index, _)| base < index);
                base < self.everywhere || since.into_iter().any(|&(_, node)| fits(job, node))
            }
        };
        if missed {
            return vec![eval];
        }
        self.waiting.insert(eval, job);
        Vec::new()
    }

    /// The evaluation waits no more.
    pub(super) fn on_left(&mut self, eval: EvalId) {
        self.waiting.remove(&eval);
        self.lost.retain(|&lost| lost != eval);
    }

    /// Room on one node. Says who may go on.
    pub(super) fn on_room(&mut self, node: NodeId, index: Index, fits: &Fits<'_>) -> Vec<EvalId> {
        self.remember(node, index);
        let fitting = self.waiting.iter().filter(|&(_, &job)| fits(job, node));
        let fitting: Vec<EvalId> = fitting.map(|(&eval, _)| eval).collect();
        for eval in &fitting {
            self.waiting.remove(eval);
        }
        fitting
    }

    /// Room that belongs to no one node. Says who may go on: everyone.
    pub(super) fn on_room_everywhere(&mut self, index: Index) -> Vec<EvalId> {
        self.everywhere = self.everywhere.max(index);
        core::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// These were asked for in vain.
    pub(super) fn on_lost(&mut self, evals: &[EvalId]) {
        self.lost.extend(evals);
    }

    /// What is to be asked for again.
    pub(super) fn take_lost(&mut self) -> Vec<EvalId> {
        core::mem::take(&mut self.lost)
    }

    fn remember(&mut self, node: NodeId, index: Index) {
        let oldest = self.bases.values().min().copied().unwrap_or(index);
        while self.recent.front().is_some_and(|&(at, _)| at <= oldest) {
            self.recent.pop_front();
        }
        if oldest < index {
            self.recent.push_back((index, node));
        }
        if RECENT_MAX < self.recent.len() {
            self.recent.clear();
            self.everywhere = index;
        }
        assert!(self.recent.len() <= RECENT_MAX, "what is remembered is bounded");
    }
}
