//! Collecting what has ended and nobody needs any more.
//!
//! Invariants
//! - an alloc is collected only when its client is done with it and no scheduling looks at it;
//! - a job goes only after everything that names it, and only when it is stopped, or a child that ended;
//! - a restore that may go on keeps its parts;
//! - a node that is remembered and may still run a collected alloc is told that it must not. What it was to be
//!   told goes with it: whoever comes back after that says what it runs, and is told anew (`fsm/alloc.rs`).
use alloc::vec::Vec;

use super::Outcome;
use crate::api::Rejection;
use crate::limits::RESTORE_KEPT_MS;
use crate::state::txn::{Txn, holds_room};
use crate::state::{State, Upload};
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, ClientStatus, Deployment, DeploymentId, EvalId, Index, Job, JobId, NodeId,
    NodeStatus,
};

/// At most one command's rows; what is left is said in the outcome.
pub(super) fn collect(
    txn: &mut Txn<'_>,
    eval_before: WallTime,
    job_before: WallTime,
    node_before: WallTime,
) -> Result<Outcome, Rejection> {
    collect_jobs(txn, eval_before, job_before);
    collect_evals(txn, eval_before);
    collect_deployments(txn, eval_before);
    collect_allocs(txn, eval_before);
    collect_nodes(txn, node_before);
    drop_stale_upload(txn);
    let more = txn.rows_left() == 0;
    Ok(Outcome::Applied { eval: None, job: None, refused_placements: 0, more })
}

/// Nobody goes on with a restore that has paused for so long.
fn drop_stale_upload(txn: &mut Txn<'_>) {
    let clock = txn.state().clock();
    let is_stale = |upload: Upload| upload.newest_at.plus_ms(RESTORE_KEPT_MS) < clock;
    if txn.state().upload().is_some_and(is_stale) {
        txn.drop_upload();
    }
}

fn collect_evals(txn: &mut Txn<'_>, before: WallTime) {
    let evals: Vec<EvalId> = txn.state().final_evals(before).take(txn.rows_left()).collect();
    for id in evals {
        txn.remove_eval(id);
    }
}

/// The newest version's deployment stays: it says whether the version may take over.
fn collect_deployments(txn: &mut Txn<'_>, before: WallTime) {
    let state = txn.state();
    let is_over = |deployment: &&Deployment| {
        let job = state.job(deployment.job);
        let is_newest = job.is_some_and(|job| job.newest().version == deployment.version);
        !deployment.status.is_active() && deployment.modify_time < before && !is_newest
    };
    let over = state.deployments().filter(is_over).take(txn.rows_left());
    let over: Vec<DeploymentId> = over.map(|deployment| deployment.id).collect();
    for id in over {
        txn.remove_deployment(id);
    }
}

fn collect_allocs(txn: &mut Txn<'_>, before: WallTime) {
    let spent = txn.state().spent_allocs(before).take(txn.rows_left());
    let spent: Vec<AllocId> = spent.map(|alloc| alloc.id).collect();
    for id in spent {
        forget_alloc(txn, id);
    }
}

fn forget_alloc(txn: &mut Txn<'_>, id: AllocId) {
    let state = txn.state();
    let alloc = state.alloc(id).expect("invariant: looked up before");
    let told_at = untold(state, alloc);
    txn.remove_alloc(id, told_at);
}

/// The entry that the alloc's node must hear of before the alloc can be forgotten altogether.
fn untold(state: &State, alloc: &Allocation) -> Option<Index> {
    let believed = alloc.client_status == ClientStatus::Lost;
    let heard = state.acknowledged(alloc.node)?;
    (believed && heard < alloc.assign_index).then_some(alloc.assign_index)
}

/// A purged job waits for nothing but its last alloc and evaluation.
fn collect_jobs(txn: &mut Txn<'_>, eval_before: WallTime, job_before: WallTime) {
    let is_closed = |job: &&Job| job.stopped || job.lineage.child.is_some();
    let stopped = txn.state().jobs().filter(is_closed);
    let stopped: Vec<(JobId, WallTime)> = stopped
        .map(|job| (job.id, if job.purged { eval_before.max(job_before) } else { job_before }))
        .collect();
    for (job, before) in stopped {
        if !is_over(txn.state(), job, before) {
            continue;
        }
        let evals: Vec<EvalId> = txn.state().evals_of_job(job).map(|eval| eval.id).collect();
        for id in evals.into_iter().take(txn.rows_left()) {
            txn.remove_eval(id);
        }
        let allocs: Vec<AllocId> = txn.state().allocs_of_job(job).map(|alloc| alloc.id).collect();
        for id in allocs.into_iter().take(txn.rows_left()) {
            forget_alloc(txn, id);
        }
        let watched = txn.state().deployments_of_job(job).take(txn.rows_left());
        let watched: Vec<DeploymentId> = watched.map(|deployment| deployment.id).collect();
        for id in watched {
            txn.remove_deployment(id);
        }
        if txn.rows_left() == 0 {
            return;
        }
        txn.remove_job(job);
    }
}

/// Whether nothing of the job has happened since `before` or can happen any more.
fn is_over(state: &State, job: JobId, before: WallTime) -> bool {
    let changed = state.job_row(job).map(|row| row.modify_time);
    changed.is_some_and(|at| at < before)
        && state.evals_of_job(job).all(|eval| eval.status.is_final() && eval.modify_time < before)
        && state
            .allocs_of_job(job)
            .all(|alloc| alloc.client_status.is_terminal() && alloc.modify_time < before)
}

fn collect_nodes(txn: &mut Txn<'_>, before: WallTime) {
    let gone = txn.state().nodes().filter(|node| {
        node.status == NodeStatus::Down
            && node.status_changed_at < before
            && !txn.state().allocs_of_node(node.spec.id).any(holds_room)
    });
    let gone: Vec<NodeId> = gone.map(|node| node.spec.id).take(txn.rows_left()).collect();
    for id in gone {
        txn.remove_node(id);
    }
}
