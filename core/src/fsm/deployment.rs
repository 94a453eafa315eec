//! Deployments: made with the first plan of a version, fed by what allocs become, ended by success,
//! a deadline, an operator or a newer version.
//!
//! `review` looks whether anything follows from the counts and the clock; it is called after whatever
//! may have changed either. The clock is the replicated one: the leader enters a review when the
//! moment of a deadline has come.
//!
//! Invariants
//! - a deployment that is final stays as it is;
//! - success marks the version as stable; failure goes back to the last stable one where that is asked;
//! - a paused deployment neither fails nor succeeds by itself.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::eval::{self, Cause};
use super::{Outcome, check_length, invalid, job, not_found};
use crate::api::Rejection;
use crate::limits::GROUP_COUNT_MAX;
use crate::state::State;
use crate::state::txn::Txn;
use crate::time::WallTime;
use crate::types::{
    AllocHealth, AllocId, Allocation, Deployment, DeploymentGroup, DeploymentId, DeploymentStatus,
    EvalId, Index, Job, JobId, Plan, Trigger,
};

/// Canaries that a row names: a group's count, and many that failed before.
const CANARIES_SHOWN_MAX: usize = GROUP_COUNT_MAX as usize + 1_024;
const FAILED_BY_DEADLINE: &str = "Failed due to progress deadline";
const FAILED_BY_HEALTH: &str = "Failed due to unhealthy allocations";
const FAILED_BY_OPERATOR: &str = "Deployment marked as failed";

/// The active deployment of the plan's version; made if the plan says that it needs one.
pub(super) fn of_plan(txn: &mut Txn<'_>, plan: &Plan) -> Option<DeploymentId> {
    let state = txn.state();
    if let Some(known) = state.deployment_of_version(plan.job, plan.version) {
        return known.status.is_active().then_some(known.id);
    }
    let groups = watched_groups(state, plan)?;
    let deployment = Deployment {
        id: DeploymentId(txn.new_id()),
        job: plan.job,
        version: plan.version,
        status: DeploymentStatus::Running,
        status_description: String::new(),
        groups,
        create_index: Index(0),
        modify_index: Index(0),
        create_time: WallTime::default(),
        modify_time: WallTime::default(),
    };
    let id = deployment.id;
    txn.put_deployment(described(deployment));
    Some(id)
}

fn watched_groups(state: &State, plan: &Plan) -> Option<BTreeMap<String, DeploymentGroup>> {
    let job = state.job(plan.job).filter(|job| !job.stopped)?;
    let newest = Some(job.newest()).filter(|newest| newest.version == plan.version)?;
    let clock = state.clock();
    let groups = plan.watched.iter().filter_map(|watched| {
        let group = newest.spec.groups.get(usize::from(watched.group))?;
        let policy = &group.update;
        newest.spec.is_watched(group).then(|| {
            let made = DeploymentGroup {
                desired_total: group.count,
                desired_canaries: watched.canaries,
                placed_canaries: Vec::new(),
                promoted: false,
                placed: 0,
                healthy: 0,
                healthy_most: 0,
                unhealthy: 0,
                auto_revert: policy.auto_revert,
                auto_promote: policy.auto_promote,
                progress_deadline_ms: policy.progress_deadline_ms,
                require_progress_by: clock.plus_ms(policy.progress_deadline_ms),
                waits: !job.is_let_in(group),
            };
            (group.name.clone(), made)
        })
    });
    let groups: BTreeMap<_, _> = groups.collect();
    (!groups.is_empty()).then_some(groups)
}

/// These groups of the newest version may begin: their time runs from now on.
pub(super) fn wait_no_more(txn: &mut Txn<'_>, job: JobId, groups: &[String]) {
    let Some(mut deployment) = txn.state().active_deployment(job).cloned() else { return };
    let clock = txn.state().clock();
    for (_, group) in deployment.groups.iter_mut().filter(|(name, _)| groups.contains(name)) {
        group.waits = false;
        group.require_progress_by = clock.plus_ms(group.progress_deadline_ms);
    }
    txn.put_deployment(described(deployment));
}

/// Allocs that a plan has placed or moved to the version, by the position of their group.
pub(super) fn note_joined(txn: &mut Txn<'_>, id: DeploymentId, joined: &[(u16, AllocId, bool)]) {
    let Some(mut deployment) = txn.state().deployment(id).cloned() else { return };
    let spec = txn.state().job(deployment.job).and_then(|job| job.version(deployment.version));
    let Some(spec) = spec.map(|version| Arc::clone(&version.spec)) else { return };
    for &(at, alloc, is_canary) in joined {
        let name = spec.groups.get(usize::from(at)).map(|group| group.name.as_str());
        let Some(group) = name.and_then(|name| deployment.groups.get_mut(name)) else { continue };
        group.placed = group.placed.saturating_add(1);
        if is_canary {
            group.placed_canaries.push(alloc);
            let old = group.placed_canaries.len().saturating_sub(CANARIES_SHOWN_MAX);
            group.placed_canaries.drain(..old);
        }
    }
    if !joined.is_empty() {
        txn.put_deployment(deployment);
    }
}

/// The job's version is not wanted any more.
pub(super) fn cancel(txn: &mut Txn<'_>, job: JobId, why: &str) {
    if let Some(active) = txn.state().active_deployment(job).cloned() {
        end(txn, active, DeploymentStatus::Cancelled, why.to_string());
    }
}

fn end(txn: &mut Txn<'_>, mut deployment: Deployment, status: DeploymentStatus, why: String) {
    deployment.status = status;
    deployment.status_description = why;
    txn.put_deployment(deployment);
}

/// What follows from the counts and the clock. Answers the evaluation that was made of it.
pub(super) fn review(txn: &mut Txn<'_>, id: DeploymentId) -> Option<EvalId> {
    let known = txn.state().deployment(id)?;
    if known.status != DeploymentStatus::Running {
        return None;
    }
    let mut known = known.clone();
    let is_ill = |group: &DeploymentGroup| group.progress_deadline_ms == 0 && 0 < group.unhealthy;
    if known.groups.values().any(is_ill) {
        return Some(fail(txn, known, FAILED_BY_HEALTH));
    }
    let promotes_itself = may_promote_itself(txn.state(), &known);
    if promotes_itself {
        known = promote_groups(txn, known, &[]);
    }
    if is_complete(&known) {
        let (job, version) = (known.job, known.version);
        let why = "Deployment completed successfully".to_string();
        end(txn, known, DeploymentStatus::Successful, why);
        job::mark_stable(txn, job, version, true);
        return promotes_itself.then(|| evaluate(txn, job));
    }
    if known.deadline().is_some_and(|deadline| deadline <= txn.state().clock()) {
        return Some(fail(txn, known, FAILED_BY_DEADLINE));
    }
    promotes_itself.then(|| evaluate(txn, known.job))
}

/// Something has changed what the job's versions may do.
fn evaluate(txn: &mut Txn<'_>, job: JobId) -> EvalId {
    eval::create(txn, job, Cause::of(Trigger::DeploymentWatcher))
}

fn is_complete(deployment: &Deployment) -> bool {
    let counted = |group: &DeploymentGroup| {
        group.healthy + if planted!(UnhealthyCounts) { group.unhealthy } else { 0 }
    };
    let is_done = |group: &DeploymentGroup| {
        !group.awaits_promotion() && group.desired_total <= counted(group)
    };
    deployment.groups.values().all(is_done)
}

/// How many of the group's canaries are healthy now.
fn healthy_canaries(state: &State, group: &DeploymentGroup) -> usize {
    let canaries = group.placed_canaries.iter().filter_map(|&id| state.alloc(id));
    canaries.filter(|alloc| alloc.is_healthy()).count()
}

fn has_healthy_canaries(state: &State, group: &DeploymentGroup) -> bool {
    let healthy = healthy_canaries(state, group) + usize::from(planted!(CanaryTooFew));
    usize::try_from(group.desired_canaries).is_ok_and(|all| all <= healthy)
}

fn may_promote_itself(state: &State, deployment: &Deployment) -> bool {
    let mut waiting = deployment.groups.values().filter(|group| group.awaits_promotion());
    deployment.awaits_promotion()
        && waiting.all(|group| group.auto_promote && has_healthy_canaries(state, group))
}

/// The canaries of these groups (none: of all) are allocs like others from now on.
fn promote_groups(txn: &mut Txn<'_>, known: Deployment, only: &[String]) -> Deployment {
    let is_meant = |name: &String| only.is_empty() || only.contains(name);
    let mut canaries: Vec<AllocId> = Vec::new();
    let (mut deployment, clock) = (known, txn.state().clock());
    for (name, group) in &mut deployment.groups {
        if group.awaits_promotion() && is_meant(name) {
            group.promoted = true;
            group.healthy_most = group.healthy;
            group.require_progress_by = clock.plus_ms(group.progress_deadline_ms);
            canaries.extend(&group.placed_canaries);
        }
    }
    txn.put_deployment(described(deployment.clone()));
    for id in canaries {
        let canary = txn.state().alloc(id).filter(|alloc| alloc.canary);
        if let Some(mut alloc) = canary.cloned() {
            alloc.canary = false;
            txn.put_alloc(alloc);
        }
    }
    let id = deployment.id;
    txn.state().deployment(id).expect("invariant: just written").clone()
}

/// The status in words that say what it waits for.
fn described(mut deployment: Deployment) -> Deployment {
    let mut waiting = deployment.groups.values().filter(|group| group.awaits_promotion());
    let words = if deployment.status == DeploymentStatus::Paused {
        "Deployment is paused"
    } else if deployment.only_waits() {
        "Deployment waits for what its job comes after"
    } else if !deployment.awaits_promotion() {
        "Deployment is running"
    } else if waiting.all(|group| group.auto_promote) {
        "Deployment is running pending automatic promotion"
    } else {
        "Deployment is running but requires manual promotion"
    };
    deployment.status_description = words.to_string();
    deployment
}

/// End it as failed, and go back to the last stable version if its policy says so.
fn fail(txn: &mut Txn<'_>, deployment: Deployment, why: &str) -> EvalId {
    let (job, version) = (deployment.job, deployment.version);
    let reverts = deployment.groups.values().any(|group| group.auto_revert);
    let known = txn.state().job(job).expect("invariant: a deployment's job exists").clone();
    let (back_to, words) = match way_back(&known, version) {
        _ if !reverts => (None, why.to_string()),
        Some((stable, spec)) if *spec == *known.newest().spec => {
            let same = "as current job has same specification";
            (None, format!("{why} - not rolling back to stable job version {stable} {same}"))
        }
        Some((stable, spec)) if !txn.state().has_pool(&spec.node_pool) => {
            let gone = format!("as node pool \"{}\" is gone", spec.node_pool);
            (None, format!("{why} - not rolling back to stable job version {stable} {gone}"))
        }
        Some((stable, spec)) => {
            (Some(spec), format!("{why} - rolling back to job version {stable}"))
        }
        None => (None, format!("{why} - no stable job version to auto revert to")),
    };
    end(txn, deployment, DeploymentStatus::Failed, words);
    if let Some(spec) = back_to {
        job::add_version(txn, known, &spec);
    }
    evaluate(txn, job)
}

fn way_back(job: &Job, version: u64) -> Option<(u64, Arc<crate::types::JobSpec>)> {
    let stable = job::latest_stable(job, version)?;
    Some((stable.version, Arc::clone(&stable.spec)))
}

/// The deployment, if it can still be steered.
fn active(state: &State, id: DeploymentId, verb: &str) -> Result<Deployment, Rejection> {
    let known = state.deployment(id).ok_or_else(|| not_found("deployment"))?;
    if !known.status.is_active() {
        let why = format!("can't {verb} a deployment that has ended");
        return Err(invalid("deployment", &why));
    }
    Ok(known.clone())
}

pub(super) fn promote(
    txn: &mut Txn<'_>,
    id: DeploymentId,
    groups: &[String],
) -> Result<Outcome, Rejection> {
    let known = active(txn.state(), id, "promote")?;
    if known.status == DeploymentStatus::Paused {
        return Err(invalid("deployment", "it is paused: resume it, then promote it"));
    }
    if let Some(stranger) = groups.iter().find(|name| !known.groups.contains_key(*name)) {
        return Err(invalid("groups", &format!("the deployment has no group \"{stranger}\"")));
    }
    let is_meant = |name: &String| groups.is_empty() || groups.contains(name);
    let waiting = known.groups.iter().filter(|(name, g)| is_meant(name) && g.awaits_promotion());
    let waiting: Vec<_> = waiting.collect();
    if waiting.is_empty() {
        return Err(invalid("groups", "no canaries to promote"));
    }
    for (name, group) in waiting {
        let healthy = healthy_canaries(txn.state(), group);
        if !has_healthy_canaries(txn.state(), group) {
            let wanted = group.desired_canaries;
            let why =
                format!("\"{name}\" has {healthy} of {wanted} healthy canaries: wait for them");
            return Err(invalid("groups", &why));
        }
    }
    let job = known.job;
    promote_groups(txn, known, groups);
    let made = review(txn, id).unwrap_or_else(|| evaluate(txn, job));
    Ok(Outcome::evaluated(job, made))
}

pub(super) fn set_paused(
    txn: &mut Txn<'_>,
    id: DeploymentId,
    pause: bool,
) -> Result<Outcome, Rejection> {
    let mut known = active(txn.state(), id, if pause { "pause" } else { "resume" })?;
    let (job, clock) = (known.job, txn.state().clock());
    known.status = if pause { DeploymentStatus::Paused } else { DeploymentStatus::Running };
    if !pause {
        // The time that passed meanwhile is nobody's fault.
        for group in known.groups.values_mut() {
            let until = clock.plus_ms(group.progress_deadline_ms);
            group.require_progress_by = group.require_progress_by.max(until);
        }
    }
    txn.put_deployment(described(known));
    let made = review(txn, id).unwrap_or_else(|| evaluate(txn, job));
    Ok(Outcome::evaluated(job, made))
}

pub(super) fn fail_by_hand(txn: &mut Txn<'_>, id: DeploymentId) -> Result<Outcome, Rejection> {
    let known = active(txn.state(), id, "fail")?;
    let job = known.job;
    let made = fail(txn, known, FAILED_BY_OPERATOR);
    Ok(Outcome::evaluated(job, made))
}

pub(super) fn set_health(
    txn: &mut Txn<'_>,
    id: DeploymentId,
    healthy: &[AllocId],
    unhealthy: &[AllocId],
) -> Result<Outcome, Rejection> {
    check_length("allocs", healthy.len().saturating_add(unhealthy.len()).saturating_mul(2))?;
    let known = active(txn.state(), id, "judge the allocs of")?;
    if healthy.is_empty() && unhealthy.is_empty() {
        return Err(invalid("allocs", "name at least one alloc"));
    }
    let is_ours = |alloc: &Allocation| alloc.deployment == Some(id);
    for &alloc in healthy.iter().chain(unhealthy) {
        if !txn.state().alloc(alloc).is_some_and(is_ours) {
            return Err(invalid("allocs", "an alloc is not one of the deployment's"));
        }
    }
    let at = txn.state().clock();
    let verdicts = healthy.iter().map(|&alloc| (alloc, true));
    for (alloc, healthy) in verdicts.chain(unhealthy.iter().map(|&alloc| (alloc, false))) {
        let mut alloc = txn.state().alloc(alloc).expect("invariant: looked up before").clone();
        alloc.health = Some(AllocHealth { version: alloc.version, healthy, at });
        txn.put_alloc(alloc);
    }
    let made = review(txn, id).unwrap_or_else(|| evaluate(txn, known.job));
    Ok(Outcome::evaluated(known.job, made))
}

/// Those whose deadline has not come, or was moved meanwhile, are left as they are.
pub(super) fn review_all(txn: &mut Txn<'_>, ids: &[DeploymentId]) -> Result<Outcome, Rejection> {
    check_length("deployments", ids.len())?;
    let mut first = None;
    for &id in ids {
        let made = review(txn, id);
        first = first.or(made);
    }
    Ok(Outcome::with_eval(first))
}
