//! Which allocs would be better elsewhere, and which may move at all.
//!
//! An alloc is compared as if it were placed now: its own node and all others, without itself. What is asked
//! here for people is what a move asks when its turn has come (`rank::elsewhere`).
//!
//! Invariants
//! - what is found better may move, and is where the next alloc of its group would be placed.
use alloc::vec::Vec;
use core::fmt;

use super::View;
use super::bucket::Sorter;
use super::draft::Draft;
use super::look::Standing;
use super::memo::Memo;
use crate::state::State;
use crate::types::{
    AllocId, Allocation, ClientStatus, DesiredStatus, EvalId, Evaluation, JobId, JobKind,
    NodeStatus, Trigger,
};

/// An alloc that would be better elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Better {
    pub alloc: AllocId,
    /// What its own node is worth to it.
    pub here: Standing,
    /// What the best other is.
    pub there: Standing,
}

impl Better {
    /// By how much its score rises.
    #[must_use]
    pub const fn gain_permille(&self) -> i32 {
        self.there.score_permille.saturating_sub(self.here.score_permille)
    }
}

/// Why an alloc stays where it is, whatever it might gain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stays {
    /// Of a batch job, whose work would be lost, or of one that runs on every node.
    NotAService,
    NotRunning,
    /// A newer version takes its place, or must prove itself first.
    Updating,
    /// It leaves its node already.
    Leaving,
    /// Nothing may go to its node, and what is there leaves for other reasons.
    NodeClosed,
    /// `migrate.max_parallel` of its group is zero.
    Unpaced,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAService => "of jobs that are no services",
            Self::NotRunning => "not running",
            Self::Updating => "of jobs that are being updated",
            Self::Leaving => "leaving their nodes already",
            Self::NodeClosed => "on nodes that drain, are not eligible or not ready",
            Self::Unpaced => "of groups whose migrate.max_parallel is 0",
        })
    }
}

/// Whether the alloc may be moved to a better node at all.
///
/// # Errors
/// Why not.
pub fn may_move(state: &State, alloc: &Allocation) -> Result<(), Stays> {
    let job = state.job(alloc.job).filter(|job| !job.stopped && !job.purged);
    let (Some(job), DesiredStatus::Run, ClientStatus::Running) =
        (job, alloc.desired, alloc.client_status)
    else {
        return Err(Stays::NotRunning);
    };
    let newest = job.newest();
    if newest.spec.kind != JobKind::Service {
        return Err(Stays::NotAService);
    }
    if alloc.version != newest.version || state.active_deployment(job.id).is_some() {
        return Err(Stays::Updating);
    }
    if alloc.canary {
        return Err(Stays::Updating);
    }
    if alloc.migration.is_leaving() || alloc.next.is_some() {
        return Err(Stays::Leaving);
    }
    let node = state.node(alloc.node).filter(|node| node.status == NodeStatus::Ready);
    if !node.is_some_and(|node| node.eligible && node.drain.is_none()) {
        return Err(Stays::NodeClosed);
    }
    let group = newest.spec.groups.get(usize::from(alloc.group));
    if group.is_none_or(|group| group.migrate.parallel_max == 0) {
        return Err(Stays::Unpaced);
    }
    Ok(())
}

/// Those of the job's allocs that may move and would be better elsewhere by so much; or `only` the one.
/// `compared` is told how many were looked at.
#[must_use]
pub fn better(
    memo: &mut Memo,
    view: &View<'_>,
    job: JobId,
    (gain_permille_min, only): (u32, Option<AllocId>),
    compared: &mut usize,
) -> Vec<Better> {
    let (view, state) = (*view, view.state);
    // As if somebody asked: nothing of it is kept.
    let eval = Evaluation::of(EvalId(0), job, 0, Trigger::Rebalance);
    let sorter = Sorter { state, job: state.job(job), now: state.clock(), eval: eval.id };
    let (Some(spec), Some(job)) = (sorter.wanted(), sorter.job) else { return Vec::new() };
    if spec.kind != JobKind::Service {
        return Vec::new();
    }
    let buckets = sorter.sort(state.allocs_of_job(job.id));
    let mut draft = Draft::of(memo, view, &eval, usize::MAX);
    let is_meant = |alloc: &Allocation| {
        only.is_none_or(|only| alloc.id == only) && may_move(state, alloc).is_ok()
    };
    draft.better((job, &buckets), gain_permille_min, &is_meant, compared)
}
