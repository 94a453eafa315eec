//! Evaluations that wait for room, and the room that appears; and those that wait for another job.
//!
//! Room of a node is tried at once against every job that waits. A plan that found no room was based
//! on a state that may be older than room that has appeared since: such room is remembered until the
//! plan's blocked evaluation is heard of, and tried against it then.
//!
//! A job that is waited for is not used up by whoever notices it: it is looked at again whenever it has
//! changed, so nothing need be remembered of it.
//!
//! Invariants
//! - what waits only for other jobs is woken by no room;
//! - an evaluation is asked to be unblocked at most once before it has left, unless asking was in vain;
//! - room that appeared after the oldest base of an unsettled plan is remembered, or counts as room
//!   everywhere.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Fits;
use crate::types::{EvalId, Evaluation, Index, JobId, NodeId};

/// Nodes whose room is remembered; beyond that, room anywhere is taken for room everywhere.
const RECENT_MAX: usize = 4_096;

/// What an evaluation waits for: its groups do for one or the other.
struct Waits {
    for_room: bool,
    for_jobs: bool,
}

impl Waits {
    fn of(eval: &Evaluation) -> Self {
        let for_jobs = |group: &&String| {
            eval.failures.get(*group).is_some_and(|failure| !failure.closed.is_empty())
        };
        let gated = eval.queued.keys().filter(for_jobs).count();
        Self { for_room: gated == 0 || gated < eval.queued.len(), for_jobs: 0 < gated }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Blocked {
    /// Those that wait for room, and were not asked for yet.
    waiting: BTreeMap<EvalId, JobId>,
    /// Those that wait for other jobs, by their own, and were not asked for yet.
    gated: BTreeMap<JobId, EvalId>,
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

    /// The evaluation waits from now on. Says whether it need not.
    pub(super) fn on_blocked(&mut self, eval: &Evaluation, fits: &Fits<'_>) -> Vec<EvalId> {
        let (eval, job, waits) = (eval.id, eval.job, Waits::of(eval));
        if waits.for_jobs {
            self.gated.insert(job, eval);
        }
        if !waits.for_room {
            self.bases.remove(&job);
            return Vec::new();
        }
        let missed = match self.bases.remove(&job) {
            // Nobody knows what it was based on.
            None => true,
            Some(base) => {
                let since = self.recent.iter().filter(|&&(index, _)| base < index);
                base < self.everywhere || since.into_iter().any(|&(_, node)| fits(job, node))
            }
        };
        if missed {
            self.gated.remove(&job);
            return vec![eval];
        }
        self.waiting.insert(eval, job);
        Vec::new()
    }

    pub(super) fn is_gated(&self, job: JobId) -> bool {
        self.gated.contains_key(&job)
    }

    /// What the job waited for is as it should be. Says whether something may go on.
    pub(super) fn on_let_in(&mut self, job: JobId) -> Vec<EvalId> {
        let Some(eval) = self.gated.remove(&job) else { return Vec::new() };
        self.waiting.remove(&eval);
        vec![eval]
    }

    /// The evaluation waits no more.
    pub(super) fn on_left(&mut self, eval: EvalId, job: JobId) {
        self.waiting.remove(&eval);
        if self.gated.get(&job) == Some(&eval) {
            self.gated.remove(&job);
        }
        self.lost.retain(|&lost| lost != eval);
    }

    /// Room on one node. Says who may go on.
    pub(super) fn on_room(&mut self, node: NodeId, index: Index, fits: &Fits<'_>) -> Vec<EvalId> {
        self.remember(node, index);
        let fitting = self.waiting.iter().filter(|&(_, &job)| fits(job, node));
        let fitting: Vec<EvalId> = fitting.map(|(&eval, _)| eval).collect();
        for eval in &fitting {
            if let Some(job) = self.waiting.remove(eval) {
                self.gated.remove(&job);
            }
        }
        fitting
    }

    /// Room that belongs to no one node. Says who may go on: everyone.
    pub(super) fn on_room_everywhere(&mut self, index: Index) -> Vec<EvalId> {
        self.everywhere = self.everywhere.max(index);
        let waiting = core::mem::take(&mut self.waiting);
        for job in waiting.values() {
            self.gated.remove(job);
        }
        waiting.into_keys().collect()
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
