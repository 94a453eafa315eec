//! Applying a plan: the only door through which allocs come into being.
//!
//! The scheduler looked at an older state; everything it relied on is looked at again here. What does
//! not hold any more is left out and the job is evaluated again, so that a drain, a death or a new
//! version that reached the log first always wins.
//!
//! Invariants
//! - an alloc is placed only on a node that is ready, eligible, older than the plan and has room;
//! - an alloc is placed only on a node of its version's pool;
//! - an alloc is replaced at most once;
//! - a version whose deployment is paused or failed gets no alloc but for one that it has lost;
//! - a group that has to wait gets no alloc;
//! - a plan of an evaluation that is not pending, or that is younger than the plan, changes nothing;
//! - a job has at most one blocked evaluation: the newest.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::eval::{self, Cause};
use super::{Outcome, check_length, deployment, gate, invalid, not_found, preempt, rebalance};
use crate::api::Rejection;
use crate::limits::RESCHEDULE_EVENTS_MAX;
use crate::state::State;
use crate::state::txn::{Txn, holds_room};
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, Claim, ClientStatus, DeploymentGroup, DeploymentId, DeploymentStatus,
    DesiredStatus, DeviceAsk, DeviceGrant, EvalId, EvalStatus, Evaluation, Group, Index, Job,
    JobKind, JobSpec, Migration, NodeId, NodeStatus, Pieces, Placement, PlacementFailure, Plan,
    RescheduleEvent, Stop, StopReason, Trigger, Verdict,
};

pub(super) fn apply(txn: &mut Txn<'_>, plan: &Plan) -> Result<Outcome, Rejection> {
    let eval = check(txn.state(), plan)?.clone();
    gate::let_in(txn, plan);
    let deployment = deployment::of_plan(txn, plan);
    let mut joined = Vec::new();
    for &alloc in &plan.in_place {
        joined.extend(move_to_version(txn, plan, alloc, deployment));
    }
    let (mut refused_placements, mut abandoned) = (0, BTreeSet::new());
    for placement in &plan.placements {
        match place(txn, plan, placement, deployment) {
            Some(id) if plan.version_of(placement) == plan.version => {
                joined.push((placement.group, id, placement.canary));
            }
            Some(_) => {}
            None => {
                refused_placements += 1;
                let left = placement.previous.filter(|&id| has_no_successor(txn.state(), id));
                abandoned.extend(left);
            }
        }
    }
    if let Some(deployment) = deployment {
        deployment::note_joined(txn, deployment, &joined);
    }
    let mut is_late = false;
    for stop in &plan.stops {
        if !(awaits_successor(stop.reason) && abandoned.contains(&stop.alloc)) {
            is_late |= comes_too_late(txn.state(), stop);
            stop_alloc(txn, plan, stop);
        }
    }
    is_late |= preempt::apply(txn, plan);
    let mut next =
        (0 < refused_placements || is_late).then(|| evaluate_again(txn, &eval)).flatten();
    match &plan.verdict {
        Verdict::More => {}
        Verdict::Done { failures, queued, later } => {
            next = next.or(later_eval(txn, plan, later)).or(next_step(txn, plan));
            complete(txn, Evaluation { next, deployment, ..eval }, failures, queued);
            eval::settle_older(txn, plan.job, plan.based_on);
            rebalance::give_up(txn, plan);
        }
    }
    if let Some(id) = deployment {
        deployment::review(txn, id);
    }
    Ok(Outcome::Applied { eval: next, job: Some(plan.job), refused_placements, more: false })
}

/// The evaluation that the plan is of, if the plan may be applied at all.
fn check<'a>(state: &'a State, plan: &Plan) -> Result<&'a Evaluation, Rejection> {
    // A placement writes two rows: the alloc and the one that it replaces.
    let later_rows = match &plan.verdict {
        Verdict::More => 0,
        Verdict::Done { later, .. } => later.len(),
    };
    let placed_rows = plan.placements.len().saturating_mul(2);
    // So does a preemption: the alloc and, at most, an evaluation of its job.
    let placed_rows = placed_rows.saturating_add(plan.preempted.len().saturating_mul(2));
    let rows = plan.stops.len().saturating_add(plan.in_place.len());
    check_length("plan", rows.saturating_add(placed_rows).saturating_add(later_rows))?;
    let eval = state.eval(plan.eval).ok_or_else(|| not_found("eval"))?;
    if eval.status != EvalStatus::Pending {
        return Err(Rejection::Conflict { index: eval.modify_index });
    }
    // Made before a saved state took the place of the one it was made from.
    if plan.based_on < eval.modify_index {
        return Err(Rejection::Conflict { index: eval.modify_index });
    }
    if eval.job != plan.job {
        return Err(invalid("job", "a plan is for the job of its evaluation"));
    }
    Ok(eval)
}

/// Whether an alloc stopped for this reason runs on when its successor was refused.
const fn awaits_successor(reason: StopReason) -> bool {
    match reason {
        StopReason::Updated | StopReason::Rescheduled | StopReason::Migrating => true,
        StopReason::NotNeeded | StopReason::NodeLost | StopReason::Drained => false,
    }
}

/// Whether the next alloc on the node waits for an end that has been: its report will not come again.
fn comes_too_late(state: &State, stop: &Stop) -> bool {
    let alloc = state.alloc(stop.alloc).filter(|alloc| alloc.desired == DesiredStatus::Run);
    alloc.is_some_and(|alloc| {
        let kind = state.job(alloc.job).map(|job| job.newest().spec.kind);
        alloc.client_status.is_terminal() && kind.is_some_and(JobKind::is_on_every_node)
    })
}

/// Whether a drain or a rebalance is why it is stopped.
const fn is_move(reason: StopReason) -> bool {
    match reason {
        StopReason::Migrating | StopReason::Drained => true,
        StopReason::NotNeeded
        | StopReason::Updated
        | StopReason::NodeLost
        | StopReason::Rescheduled => false,
    }
}

fn stop_alloc(txn: &mut Txn<'_>, plan: &Plan, stop: &Stop) {
    let of_job = txn.state().alloc(stop.alloc).filter(|alloc| alloc.job == plan.job);
    let Some(mut alloc) = of_job.cloned() else {
        return;
    };
    let lost = stop.reason == StopReason::NodeLost
        && holds_room(&alloc)
        && !may_hear(txn.state(), alloc.node);
    if alloc.desired == DesiredStatus::Stop && !lost {
        return;
    }
    if lost {
        alloc.client_status = ClientStatus::Lost;
        alloc.client_description = "the node is down".to_string();
    }
    if alloc.desired == DesiredStatus::Run {
        alloc.desired = DesiredStatus::Stop;
        alloc.desired_description = description(stop.reason).to_string();
    }
    if !is_move(stop.reason) {
        alloc.migration = Migration::None;
    }
    txn.put_alloc(alloc);
}

/// Whether the node is there and can say itself what became of its allocs.
fn may_hear(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.status != NodeStatus::Down)
}

/// As users of Nomad read it.
const fn description(reason: StopReason) -> &'static str {
    match reason {
        StopReason::NotNeeded => "alloc not needed due to job update",
        StopReason::Updated => "alloc is being updated due to job update",
        StopReason::NodeLost => "alloc is lost since its node is down",
        StopReason::Rescheduled => "alloc was rescheduled because it failed",
        StopReason::Migrating => "alloc is being migrated",
        StopReason::Drained => "alloc must leave its node, whose drain waits no longer",
    }
}

/// The alloc takes the plan's version without a restart; its group is looked up by name there.
fn move_to_version(
    txn: &mut Txn<'_>,
    plan: &Plan,
    id: AllocId,
    deployment: Option<DeploymentId>,
) -> Option<(u16, AllocId, bool)> {
    let mut alloc = txn.state().alloc(id)?.clone();
    if alloc.job != plan.job || alloc.desired == DesiredStatus::Stop {
        return None;
    }
    let group = group_in_version(txn.state(), &alloc, plan.version)?;
    if alloc.version == plan.version {
        return None;
    }
    alloc.version = plan.version;
    alloc.group = group;
    // What runs under another policy must prove itself by that.
    (alloc.deployment, alloc.health, alloc.canary) = (deployment, None, false);
    txn.put_alloc(alloc);
    Some((group, id, false))
}

fn group_in_version(state: &State, alloc: &Allocation, version: u64) -> Option<u16> {
    let job = state.job(alloc.job)?;
    let old = &job.version(alloc.version)?.spec;
    let name = &old.groups.get(usize::from(alloc.group))?.name;
    let (position, _) = job.version(version)?.spec.group(name)?;
    u16::try_from(position).ok()
}

/// Create one alloc; `None` when what the scheduler relied on does not hold any more.
fn place(
    txn: &mut Txn<'_>,
    plan: &Plan,
    placement: &Placement,
    deployment: Option<DeploymentId>,
) -> Option<AllocId> {
    let mut alloc = plan_alloc(txn.state(), plan, placement)?;
    if alloc.version == plan.version {
        alloc.deployment = deployment;
        alloc.canary = placement.canary && awaits_promotion(txn.state(), deployment, &alloc);
    }
    let previous = match placement.previous {
        Some(id) => Some(replaceable(txn.state(), plan, id)?.clone()),
        None => None,
    };
    let id = AllocId(txn.new_id());
    let reschedules = history(previous.as_ref(), placement, txn.state().clock());
    txn.add_alloc(Allocation { id, reschedules, ..alloc }, placement.slot);
    if let Some(mut previous) = previous {
        previous.next = Some(id);
        txn.put_alloc(previous);
    }
    Some(id)
}

/// Whether the alloc's group still has to be promoted: that may have happened since the plan was made.
fn awaits_promotion(state: &State, id: Option<DeploymentId>, alloc: &Allocation) -> bool {
    let deployment = id.and_then(|id| state.deployment(id));
    let group = deployment.zip(state.group_name(alloc)).and_then(|(d, name)| d.groups.get(name));
    group.is_some_and(DeploymentGroup::awaits_promotion)
}

/// Whether the version may get one more alloc, as its deployment stands by now: a plan may have been
/// made before an operator stopped it. What is lost comes back all the same.
fn is_let_in(state: &State, plan: &Plan, placement: &Placement) -> bool {
    let version = plan.version_of(placement);
    let watched = state.deployment_of_version(plan.job, version);
    let is_halted = watched.is_some_and(|deployment| match deployment.status {
        DeploymentStatus::Paused | DeploymentStatus::Failed => true,
        DeploymentStatus::Running | DeploymentStatus::Successful | DeploymentStatus::Cancelled => {
            false
        }
    });
    let previous = placement.previous.and_then(|id| state.alloc(id));
    !is_halted || previous.is_some_and(|previous| previous.version == version)
}

/// Whether the alloc's group has closed gates in the version that is wanted by now.
fn has_to_wait(job: &Job, version: u64, group: &Group) -> bool {
    let newest = job.newest();
    if version == newest.version {
        // Most are, and nobody need be looked up by name.
        return !job.is_let_in(group);
    }
    newest.spec.group(&group.name).is_some_and(|(_, wanted)| !job.is_let_in(wanted))
}

/// The alloc that the placement asks for, without an id.
fn plan_alloc(state: &State, plan: &Plan, placement: &Placement) -> Option<Allocation> {
    let version = plan.version_of(placement);
    let job = state.job(plan.job)?;
    let spec = open_version(job, version)?;
    let group = spec.groups.get(usize::from(placement.group))?;
    if !is_let_in(state, plan, placement) || has_to_wait(job, version, group) {
        return None;
    }
    let node = state.node_at(placement.slot)?;
    let capacity = group.capacity_on(node.spec.pieces.as_deref())?;
    // The slot may have been another node's when the scheduler looked.
    if plan.based_on < node.create_index {
        return None;
    }
    if !spec.node_pool.covers(&node.spec.pool) {
        return None;
    }
    // A job that runs on every node has no other to choose: what it knew of this one must still hold.
    if spec.kind.is_on_every_node() && plan.based_on < node.modify_index {
        return None;
    }
    let pieces = placement.pieces.as_deref();
    if !has_its_pieces(group, pieces) {
        return None;
    }
    state.fleet().fits(placement.slot, Claim { capacity, ports: &placement.ports, pieces }).ok()?;
    let clock = state.clock();
    Some(Allocation {
        id: AllocId(0),
        job: plan.job,
        version,
        group: placement.group,
        ordinal: placement.ordinal,
        node: node.spec.id,
        eval: plan.eval,
        capacity,
        ports: placement.ports.clone(),
        pieces: placement.pieces.clone(),
        desired: DesiredStatus::Run,
        desired_description: String::new(),
        client_status: ClientStatus::Pending,
        client_description: String::new(),
        tasks: BTreeMap::new(),
        previous: placement.previous,
        next: None,
        reschedules: Vec::new(),
        follow_up: None,
        deployment: None,
        canary: false,
        health: None,
        placed: placement.note,
        create_index: Index(0),
        modify_index: Index(0),
        assign_index: Index(0),
        create_time: clock,
        modify_time: clock,
        migration: Migration::None,
        preempted_by: None,
        may_exceed_memory: group.wants_more_memory()
            && state.oversubscribes_memory(&spec.node_pool),
    })
}

/// Whether each task is to have what it asks for, and no more.
fn has_its_pieces(group: &Group, pieces: Option<&Pieces>) -> bool {
    if pieces.is_none() {
        return !group.wants_pieces();
    }
    group.tasks.iter().all(|task| {
        let has = pieces.and_then(|pieces| pieces.of_task(&task.name));
        let asked = &task.resources.devices;
        let granted = has.map_or(&[][..], |has| &has.devices);
        let answers = |(ask, grant): (&DeviceAsk, &DeviceGrant)| {
            ask.count as usize == grant.ids.len() && grant.name.answers_to(&ask.name)
        };
        task.resources.cores == has.map_or(0, |has| has.cores.count())
            && asked.len() == granted.len()
            && asked.iter().zip(granted).all(answers)
    })
}

/// The version's specification, if the job still runs anything.
fn open_version(job: &Job, version: u64) -> Option<&JobSpec> {
    let kept = job.version(version).filter(|_| !job.stopped)?;
    Some(&kept.spec)
}

fn has_no_successor(state: &State, id: AllocId) -> bool {
    state.alloc(id).is_some_and(|alloc| alloc.next.is_none())
}

fn replaceable<'a>(state: &'a State, plan: &Plan, id: AllocId) -> Option<&'a Allocation> {
    state.alloc(id).filter(|alloc| alloc.job == plan.job && alloc.next.is_none())
}

/// The reschedulings that led to the new alloc. Only a rescheduling inherits them: an alloc that is
/// replaced for another reason begins anew.
fn history(
    previous: Option<&Allocation>,
    placement: &Placement,
    at: WallTime,
) -> Vec<RescheduleEvent> {
    let (Some(previous), Some(delay_ms)) = (previous, placement.rescheduled_after_ms) else {
        return Vec::new();
    };
    let mut events = previous.reschedules.clone();
    events.push(RescheduleEvent { at, from: previous.id, from_node: previous.node, delay_ms });
    let old = events.len().saturating_sub(RESCHEDULE_EVENTS_MAX);
    events.drain(..old);
    events
}

/// Placements were refused: look at the job again, from the state as it is now.
fn evaluate_again(txn: &mut Txn<'_>, eval: &Evaluation) -> Option<EvalId> {
    if txn.state().job(eval.job)?.stopped {
        return None;
    }
    let cause = Cause { previous: Some(eval.id), ..Cause::of(Trigger::PlanRefused) };
    Some(eval::create(txn, eval.job, cause))
}

/// The evaluation is done; what found no room waits in a blocked one, which replaces an older one.
fn complete(
    txn: &mut Txn<'_>,
    mut eval: Evaluation,
    failures: &BTreeMap<String, PlacementFailure>,
    queued: &BTreeMap<String, u32>,
) {
    eval::cancel_blocked(txn, eval.job, "a newer evaluation has looked at the job");
    let runs = txn.state().job(eval.job).is_some_and(|job| !job.stopped);
    if runs && queued.values().any(|&count| 0 < count) {
        let cause = Cause {
            status: EvalStatus::Blocked,
            previous: Some(eval.id),
            failures: failures.clone(),
            queued: queued.clone(),
            ..Cause::of(Trigger::QueuedAllocs)
        };
        eval.blocked = Some(eval::create(txn, eval.job, cause));
    }
    eval.status = EvalStatus::Complete;
    eval.failures.clone_from(failures);
    eval.queued.clone_from(queued);
    txn.put_eval(eval);
}

/// The delayed evaluation with which a system job's update goes on.
fn next_step(txn: &mut Txn<'_>, plan: &Plan) -> Option<EvalId> {
    let due = plan.next_step?;
    txn.state().job(plan.job).filter(|job| !job.stopped)?;
    let cause = Cause {
        previous: Some(plan.eval),
        wait_until: Some(due),
        ..Cause::of(Trigger::RollingUpdate)
    };
    Some(eval::create(txn, plan.job, cause))
}

/// One delayed evaluation for all failed allocs that are to be replaced later.
fn later_eval(txn: &mut Txn<'_>, plan: &Plan, later: &[(AllocId, WallTime)]) -> Option<EvalId> {
    let waiting = |&&(id, _): &&(AllocId, WallTime)| replaceable(txn.state(), plan, id).is_some();
    let waiting: Vec<(AllocId, WallTime)> = later.iter().filter(waiting).copied().collect();
    let wait_until = waiting.iter().map(|&(_, at)| at).min()?;
    let cause = Cause {
        previous: Some(plan.eval),
        wait_until: Some(wait_until),
        ..Cause::of(Trigger::FailedFollowUp)
    };
    let made = eval::create(txn, plan.job, cause);
    for (id, _) in waiting {
        let mut alloc = txn.state().alloc(id).expect("invariant: looked up before").clone();
        alloc.follow_up = Some(made);
        txn.put_alloc(alloc);
    }
    Some(made)
}
