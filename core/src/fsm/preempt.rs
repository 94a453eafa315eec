//! Stopping allocs for a more important job, and waking that job when they have ended.
//!
//! The more important job is woken by the very entry that frees the room, so that nothing less
//! important is scheduled before it.
//!
//! Invariants
//! - an alloc is preempted only by a job whose priority is higher by at least `PRIORITY_GAP`;
//! - what was stopped already is not preempted as well.
use alloc::collections::BTreeSet;
use alloc::format;

use super::eval::{self, Cause};
use crate::limits::PRIORITY_GAP;
use crate::state::State;
use crate::state::txn::{Txn, holds_room};
use crate::types::{AllocId, Allocation, DesiredStatus, EvalStatus, Plan, Trigger};

/// Stop what the plan preempts. Whether some of it has been stopped by others meanwhile: then the room
/// that it was to make may come otherwise, or not.
pub(super) fn apply(txn: &mut Txn<'_>, plan: &Plan) -> bool {
    let (mut is_late, mut jobs) = (false, BTreeSet::new());
    for preempted in &plan.preempted {
        let Some((mut alloc, name)) = victim(txn.state(), plan, preempted.alloc) else {
            is_late = true;
            continue;
        };
        jobs.insert(alloc.job);
        alloc.desired = DesiredStatus::Stop;
        alloc.desired_description = format!("preempted by job {name:?}");
        alloc.preempted_by = Some(plan.job);
        txn.put_alloc(alloc);
    }
    for job in jobs {
        if txn.state().job(job).is_some_and(|job| !job.stopped) {
            eval::create(txn, job, Cause::of(Trigger::Preemption));
        }
    }
    is_late
}

/// The alloc, if the plan's job may have its room, and that job's name.
fn victim<'a>(state: &'a State, plan: &Plan, id: AllocId) -> Option<(Allocation, &'a str)> {
    let alloc = state.alloc(id).filter(|alloc| alloc.desired == DesiredStatus::Run)?;
    let job = state.job(plan.job).filter(|job| !job.stopped)?;
    let own = job.newest().spec.priority;
    let is_less = priority_of(state, alloc)?.saturating_add(PRIORITY_GAP) <= own;
    let may = holds_room(alloc) && is_less && alloc.job != plan.job;
    may.then(|| (alloc.clone(), job.newest().spec.id.as_str()))
}

/// The priority of the version that the alloc runs.
fn priority_of(state: &State, alloc: &Allocation) -> Option<u8> {
    Some(state.job(alloc.job)?.version(alloc.version)?.spec.priority)
}

/// Jobs for which room was made that is free now look at once whether it is enough.
pub(super) fn wake(txn: &mut Txn<'_>) {
    for job in txn.take_awaited() {
        let blocked = txn.state().blocked_eval_of_job(job).cloned();
        if let Some(mut eval) = blocked {
            eval.status = EvalStatus::Pending;
            eval.status_description = "an alloc has ended that was preempted".into();
            txn.put_eval(eval);
        }
    }
}
