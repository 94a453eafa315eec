//! Evaluations: made by whatever changes a job's world, unblocked by capacity, ended by plans.
//!
//! Invariants
//! - final evaluations stay as they are;
//! - a job has at most one blocked evaluation.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Outcome, check_length, not_found, shortened};
use crate::api::Rejection;
use crate::state::txn::Txn;
use crate::time::WallTime;
use crate::types::{
    DesiredStatus, EvalId, EvalStatus, Evaluation, Index, JobId, NodeId, PlacementFailure, Trigger,
};

/// Why an evaluation is made, and what it starts with.
pub(super) struct Cause {
    pub(super) trigger: Trigger,
    pub(super) status: EvalStatus,
    pub(super) node: Option<NodeId>,
    pub(super) previous: Option<EvalId>,
    pub(super) wait_until: Option<WallTime>,
    pub(super) failures: BTreeMap<String, PlacementFailure>,
    pub(super) queued: BTreeMap<String, u32>,
}

impl Cause {
    /// To be scheduled at once, and with nothing else to say.
    pub(super) const fn of(trigger: Trigger) -> Self {
        Self {
            trigger,
            status: EvalStatus::Pending,
            node: None,
            previous: None,
            wait_until: None,
            failures: BTreeMap::new(),
            queued: BTreeMap::new(),
        }
    }
}

/// Make an evaluation of `job`, which exists.
pub(super) fn create(txn: &mut Txn<'_>, job: JobId, cause: Cause) -> EvalId {
    assert!(!cause.status.is_final(), "an evaluation begins open");
    let id = EvalId(txn.new_id());
    let priority = txn.state().job(job).map(|job| job.newest().spec.priority);
    let priority = priority.expect("invariant: only a job that exists is evaluated");
    txn.put_eval(Evaluation {
        status: cause.status,
        node: cause.node,
        wait_until: cause.wait_until,
        previous: cause.previous,
        failures: cause.failures,
        queued: cause.queued,
        ..Evaluation::of(id, job, priority, cause.trigger)
    });
    id
}

/// Something has changed that the job, which runs on every node, must look at. Where evaluations wait for
/// their turn already, the last of them sees to it: a thousand nodes that come make no thousand
/// evaluations.
pub(super) fn look_again(txn: &mut Txn<'_>, job: JobId, cause: Cause) -> EvalId {
    let (mut waiting, mut newest) = (0, None);
    for eval in txn.state().pending_evals_of_job(job) {
        if eval.wait_until.is_none() && is_made_by_change(eval.trigger) {
            (waiting, newest) = (waiting + 1, Some(eval));
        }
    }
    // The first of two may be on its way to a plan that has not seen the change. Written again, the last
    // one is younger than any such plan, and none settles it.
    match newest.filter(|_| 1 < waiting).cloned() {
        Some(eval) => {
            let id = eval.id;
            txn.put_eval(eval);
            id
        }
        None => create(txn, job, cause),
    }
}

/// The job's blocked evaluation, if any, has nothing to wait for any more.
pub(super) fn cancel_blocked(txn: &mut Txn<'_>, job: JobId, why: &str) {
    let Some(blocked) = txn.state().blocked_eval_of_job(job) else {
        return;
    };
    let mut eval = blocked.clone();
    eval.status = EvalStatus::Cancelled;
    eval.status_description = why.to_string();
    txn.put_eval(eval);
}

/// A plan that looked at the state at `looked_at` settled all that these evaluations were made for.
/// Those that a user waits for keep their turn, so that each tells what came of it; and those whose
/// moment comes later while a failed alloc waits for it.
pub(super) fn settle_older(txn: &mut Txn<'_>, job: JobId, looked_at: Index) {
    let state = txn.state();
    let is_later = |eval: &Evaluation| eval.wait_until.is_some();
    let mut awaited = BTreeSet::new();
    if state.pending_evals_of_job(job).any(is_later) {
        let failed = state.allocs_of_job(job);
        let waiting = failed.filter(|a| a.desired == DesiredStatus::Run && a.next.is_none());
        awaited.extend(waiting.filter_map(|alloc| alloc.follow_up));
    }
    let settled = state.pending_evals_of_job(job).filter(|eval| {
        let waits = is_later(eval) && !is_of_nobody(eval, &awaited);
        eval.modify_index <= looked_at && !waits && is_made_by_change(eval.trigger)
    });
    let settled: Vec<Evaluation> = settled.take(txn.rows_left()).cloned().collect();
    for mut eval in settled {
        eval.status = EvalStatus::Complete;
        eval.status_description = "another evaluation has looked at the job since".to_string();
        txn.put_eval(eval);
    }
}

/// It waits for the delay of failed allocs of which none is to be replaced any more.
fn is_of_nobody(eval: &Evaluation, awaited: &BTreeSet<EvalId>) -> bool {
    eval.trigger == Trigger::FailedFollowUp && !awaited.contains(&eval.id)
}

const fn is_made_by_change(trigger: Trigger) -> bool {
    match trigger {
        Trigger::NodeUpdate
        | Trigger::AllocFailure
        | Trigger::FailedFollowUp
        | Trigger::QueuedAllocs
        | Trigger::DeploymentWatcher
        | Trigger::RollingUpdate
        | Trigger::NodeDrain
        | Trigger::Preemption
        | Trigger::Rebalance
        | Trigger::PlanRefused => true,
        Trigger::JobRegister
        | Trigger::JobDeregister
        | Trigger::AllocStop
        | Trigger::Manual
        | Trigger::PeriodicJob
        | Trigger::JobScaling => false,
    }
}

pub(super) fn fail(txn: &mut Txn<'_>, id: EvalId, why: &str) -> Result<Outcome, Rejection> {
    let mut eval = txn.state().eval(id).ok_or_else(|| not_found("eval"))?.clone();
    if eval.status != EvalStatus::Pending {
        return Err(Rejection::Conflict { index: eval.modify_index });
    }
    eval.status = EvalStatus::Failed;
    eval.status_description = shortened(why);
    txn.put_eval(eval);
    Ok(Outcome::DONE)
}

/// Those that are not blocked any more are left as they are.
pub(super) fn unblock(
    txn: &mut Txn<'_>,
    evals: &[EvalId],
    reason: &str,
) -> Result<Outcome, Rejection> {
    check_length("evals", evals.len())?;
    for &id in evals {
        let blocked = txn.state().eval(id).filter(|eval| eval.status == EvalStatus::Blocked);
        let Some(mut eval) = blocked.cloned() else {
            continue;
        };
        eval.status = EvalStatus::Pending;
        eval.status_description = shortened(reason);
        txn.put_eval(eval);
    }
    Ok(Outcome::DONE)
}
