//! Allocs: what clients report of them, and an operator's wish to stop one.
//!
//! Invariants
//! - what a client reports moves an alloc along its table, and a task that is dead stays dead;
//! - a report that another has overtaken changes nothing, nor does one of a client that has forgotten how
//!   the alloc ended;
//! - a report about an alloc of another node changes nothing; but what runs there and is not known at all
//!   is stopped: its node was forgotten, and what it was to be told with it;
//! - an alloc that ends without having been asked to is followed by an evaluation of its job, unless
//!   it is a batch alloc that completed, or one of a system job that failed: another node is no way out;
//! - one of a job that runs on every node that has made way is followed by an evaluation.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

use super::eval::{self, Cause};
use super::{Outcome, check_length, deployment, not_found, shortened};
use crate::api::Rejection;
use crate::limits::{CLIENT_ALLOCS_MAX, TASK_EVENTS_MAX};
use crate::scheduler;
use crate::state::State;
use crate::state::txn::Txn;
use crate::time::WallTime;
use crate::types::{
    AllocHealth, AllocId, AllocUpdate, Allocation, ClientStatus, DesiredStatus, Group, Migration,
    NodeId, TaskPhase, TaskState, Trigger,
};

pub(super) fn stop(txn: &mut Txn<'_>, id: AllocId) -> Result<Outcome, Rejection> {
    let mut alloc = txn.state().alloc(id).ok_or_else(|| not_found("alloc"))?.clone();
    let job = alloc.job;
    if alloc.desired == DesiredStatus::Run {
        alloc.desired = DesiredStatus::Stop;
        alloc.desired_description = "alloc was stopped by a user".to_string();
        // Who comes for it comes because of the user, not of a drain.
        alloc.migration = Migration::None;
        txn.put_alloc(alloc);
    }
    let made = eval::create(txn, job, Cause::of(Trigger::AllocStop));
    Ok(Outcome::evaluated(job, made))
}

pub(super) fn update(
    txn: &mut Txn<'_>,
    node: NodeId,
    updates: &[AllocUpdate],
) -> Result<Outcome, Rejection> {
    check_length("updates", updates.len())?;
    let (mut jobs, mut watched) = (BTreeSet::new(), BTreeSet::new());
    let mut vacated = BTreeSet::new();
    for report in updates {
        if is_stray(txn.state(), node, report) {
            txn.bury(node, report.id);
        }
        let ours = txn.state().alloc(report.id).filter(|alloc| alloc.node == node);
        let Some(before) = ours else {
            continue;
        };
        let Some(after) = merge(txn.state(), before, report) else {
            continue;
        };
        if needs_evaluation(txn.state(), before, &after) {
            jobs.insert(after.job);
        }
        if before.health != after.health {
            watched.extend(after.deployment);
        }
        if after.is_healthy() && !before.is_healthy() && is_rolling(txn.state(), &after) {
            jobs.insert(before.job);
        }
        let (has_made_way, job) = (has_made_way(txn.state(), before, &after), after.job);
        txn.put_alloc(after);
        if has_made_way && scheduler::awaits(txn.state(), job, node) {
            vacated.insert(job);
        }
    }
    let mut first = None;
    for deployment in watched {
        if let Some(made) = deployment::review(txn, deployment) {
            first = first.or(Some(made));
            if let Some(job) = txn.state().eval(made).map(|eval| eval.job) {
                jobs.remove(&job);
            }
        }
    }
    for job in jobs {
        let made = eval::create(txn, job, Cause::of(Trigger::AllocFailure));
        first = first.or(Some(made));
        vacated.remove(&job);
    }
    for job in vacated {
        let cause = Cause { node: Some(node), ..Cause::of(Trigger::QueuedAllocs) };
        let made = eval::look_again(txn, job, cause);
        first = first.or(Some(made));
    }
    Ok(Outcome::with_eval(first))
}

/// Whether the node runs what nobody knows any more, and was not told yet. Ids that no entry has given out
/// are nobody's, whatever a node says.
fn is_stray(state: &State, node: NodeId, report: &AllocUpdate) -> bool {
    let runs = !report.status.is_terminal() && report.id.made_by() < state.index();
    if !runs || state.alloc(report.id).is_some() || state.node(node).is_none() {
        return false;
    }
    let told = state.tombstones_of_node(node);
    let (count, is_told) =
        told.fold((0, false), |(count, is_told), (id, _)| (count + 1, is_told || id == report.id));
    !is_told && count < CLIENT_ALLOCS_MAX && !planted!(StrayRunsOn)
}

/// The alloc as the report has it; `None` when the report says nothing new or cannot be true.
fn merge(state: &State, before: &Allocation, report: &AllocUpdate) -> Option<Allocation> {
    let (from, to) = (before.client_status, report.status);
    // A client that has forgotten the alloc can say no more than that it does not run.
    let is_known_better = from == to && from.is_terminal() && report.tasks.is_empty();
    let is_possible = from == to || from.may_become(to);
    if is_known_better || !is_possible || is_overtaken(&before.tasks, &report.tasks) {
        return None;
    }
    let mut after = before.clone();
    after.client_status = to;
    after.client_description = shortened(&report.description);
    merge_tasks(&mut after.tasks, &report.tasks, group_of(state, before));
    after.health = health(before, report, state.clock());
    (after != *before).then_some(after)
}

/// A client says once whether an alloc is healthy, for each version that it runs as; what fails is not.
fn health(before: &Allocation, report: &AllocUpdate, at: WallTime) -> Option<AllocHealth> {
    let version = before.version;
    if report.status == ClientStatus::Failed && before.deployment.is_some() {
        let ill = AllocHealth { version, healthy: false, at };
        return before.health.filter(|known| !known.healthy).or(Some(ill));
    }
    let said = report.health.filter(|said| said.version == version);
    before.health.or(said)
}

/// Whether allocs of an older version may still wait for this one to be healthy.
fn is_rolling(state: &State, alloc: &Allocation) -> bool {
    let job = state.job(alloc.job).expect("invariant: an alloc's job exists");
    let watched = state.active_deployment(alloc.job).is_some();
    let mut older = job.versions.iter().filter(|kept| kept.version < alloc.version);
    watched && older.any(|kept| 0 < state.uses_of_version(job.id, kept.version))
}

fn group_of<'a>(state: &'a State, alloc: &Allocation) -> &'a Group {
    let job = state.job(alloc.job).expect("invariant: an alloc's job exists");
    let version = job.version(alloc.version);
    let spec = &version.expect("invariant: a version that an alloc points at is kept").spec;
    &spec.groups[usize::from(alloc.group)]
}

/// Whether the report was made before the one that is known: a report waits with the server that heard
/// it until there is a leader, and a later one may have come by another way. A task's restarts only
/// grow, and between two of them its phase does; dead is final, whatever was counted.
fn is_overtaken(
    known: &BTreeMap<String, TaskState>,
    reported: &BTreeMap<String, TaskState>,
) -> bool {
    let progress = |state: &TaskState| (state.restarts, state.phase);
    reported.iter().any(|(name, state)| {
        known.get(name).is_some_and(|known| {
            state.phase != TaskPhase::Dead
                && (known.phase == TaskPhase::Dead || progress(state) < progress(known))
        })
    })
}

/// Only tasks of the group are kept, so that a client cannot make the row grow.
fn merge_tasks(
    kept: &mut BTreeMap<String, TaskState>,
    reported: &BTreeMap<String, TaskState>,
    group: &Group,
) {
    for task in &group.tasks {
        let Some(state) = reported.get(&task.name) else {
            continue;
        };
        let mut state = state.clone();
        let old = state.events.len().saturating_sub(TASK_EVENTS_MAX);
        state.events.drain(..old);
        kept.insert(task.name.clone(), state);
    }
}

/// Whether an alloc has ended that the next one on its node waited for.
fn has_made_way(state: &State, before: &Allocation, after: &Allocation) -> bool {
    let ended = !before.client_status.is_terminal() && after.client_status.is_terminal();
    let job = state.job(after.job).expect("invariant: an alloc's job exists");
    let is_asked = after.desired == DesiredStatus::Stop && !job.stopped;
    ended && is_asked && job.newest().spec.kind.is_on_every_node()
}

/// Whether the servers must look at the job because of this change.
fn needs_evaluation(state: &State, before: &Allocation, after: &Allocation) -> bool {
    let ended = !before.client_status.is_terminal() && after.client_status.is_terminal();
    let job = state.job(after.job).expect("invariant: an alloc's job exists");
    if !ended || job.stopped || after.desired == DesiredStatus::Stop {
        return false;
    }
    match after.client_status {
        ClientStatus::Lost => true,
        ClientStatus::Failed => !job.newest().spec.kind.is_on_every_node(),
        ClientStatus::Complete => !job.newest().spec.kind.ends(),
        ClientStatus::Pending | ClientStatus::Running => false,
    }
}
