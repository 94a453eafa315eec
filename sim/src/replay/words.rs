//! Entries of the replicated log and plans in words, with the names that people know things by.
//!
//! Invariants
//! - a thing that the state does not know any more is named by its id.
use drover_core::fsm::record::decode_batch;
use drover_core::fsm::{Command, Entry};
use drover_core::raft::{Frame, Payload};
use drover_core::state::State;
use drover_core::types::{
    AllocId, EvalId, Gate, Index, JobId, NodeId, NodeSlot, Placement, Plan, StopReason, Trigger,
    Uuid, Verdict,
};

use crate::drains;
use crate::launching;
use crate::rebalancing;
use crate::steering;

/// Digits of a UUID that people are shown.
const SHORT: usize = 8;
/// Placements and stops of a plan that are told one by one.
const TOLD_MAX: usize = 4;

/// The beginning of a UUID.
#[must_use]
pub fn short(uuid: Uuid) -> String {
    let mut text = uuid.to_string();
    text.truncate(SHORT);
    text
}

#[must_use]
pub fn alloc(state: &State, id: AllocId) -> String {
    short(state.uuid(id.0))
}

#[must_use]
pub fn eval(state: &State, id: EvalId) -> String {
    short(state.uuid(id.0))
}

/// The node's name, and the beginning of its id.
#[must_use]
pub fn node(state: &State, id: NodeId) -> String {
    match state.node(id) {
        Some(node) => format!("{} ({})", node.spec.name, short(id.uuid())),
        None => short(id.uuid()),
    }
}

#[must_use]
pub fn job(state: &State, id: JobId) -> String {
    let spec = state.job(id).map(|job| &job.newest().spec);
    spec.map_or_else(|| format!("job {}", id.0), |spec| spec.id.clone())
}

/// The node in the slot.
#[must_use]
pub fn slot(state: &State, slot: NodeSlot) -> String {
    let found = state.node_at(slot).map(|node| node.spec.id);
    found.map_or_else(|| format!("slot {}", slot.0), |id| node(state, id))
}

/// The entries of a frame, each with its index.
#[must_use]
pub fn entries(frame: &Frame) -> Vec<(Index, Entry)> {
    let Payload::Commands { count, bytes } = &frame.payload else { return Vec::new() };
    let entries = decode_batch(bytes, *count).map_while(Result::ok);
    let numbered = entries.zip(frame.first.0..);
    numbered.map(|(entry, index)| (Index(index), entry)).collect()
}

/// What a command does.
#[must_use]
pub fn of_command(state: &State, command: &Command) -> String {
    match command {
        Command::Bootstrap { cluster } => format!("founds cluster {:032x}", cluster.0),
        Command::RegisterNode { spec } => {
            format!("registers node {} ({})", spec.name, short(spec.id.uuid()))
        }
        Command::SetNodeStatus { nodes, status, reason } => {
            let names: Vec<String> =
                nodes.iter().take(TOLD_MAX).map(|&id| node(state, id)).collect();
            let more = nodes.len().saturating_sub(TOLD_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("calls {}{more} {status:?}: {reason}", names.join(", "))
        }
        Command::SetNodeEligible { node: id, eligible } => {
            format!("{} is {}eligible", node(state, *id), if *eligible { "" } else { "not " })
        }
        Command::SetNodeDrain { node: id, spec, mark_eligible, .. } => {
            drains::told(&node(state, *id), *spec, *mark_eligible)
        }
        Command::Rebalance { moves, gain_permille_min } => {
            rebalancing::told(moves, *gain_permille_min)
        }
        Command::ReviewDrains { nodes } => drains::due(nodes.len()),
        Command::RegisterJob { spec, .. } => {
            let groups =
                spec.groups.iter().map(|group| format!("{} × {}", group.count, group.name));
            format!("registers job {}: {}", spec.id, groups.collect::<Vec<_>>().join(", "))
        }
        Command::DeregisterJob { job, purge, .. } => {
            format!("stops job {job}{}", if *purge { " and forgets it" } else { "" })
        }
        Command::EvaluateJob { job, .. } => format!("has job {job} looked at"),
        Command::StopAlloc { alloc: id } => format!("stops alloc {}", alloc(state, *id)),
        Command::ApplyPlan(plan) => of_plan(state, plan),
        Command::FailEval { eval: id, why } => format!("fails eval {}: {why}", eval(state, *id)),
        Command::UnblockEvals { evals, reason } => {
            format!("{} evals go on: {reason}", evals.len())
        }
        Command::UpdateAllocs { node: id, updates } => {
            let told: Vec<String> = updates
                .iter()
                .take(TOLD_MAX)
                .map(|update| format!("{} {:?}", alloc(state, update.id), update.status))
                .collect();
            let more = updates.len().saturating_sub(TOLD_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{} reports {}{more}", node(state, *id), told.join(", "))
        }
        Command::CollectGarbage { .. } => "forgets what ended long ago".to_owned(),
        Command::AcknowledgeAssignment { node: id, seq } => {
            format!("{} knows its work up to index {}", node(state, *id), seq.0)
        }
        Command::RaiseFeatureLevel { level } => format!("raises the feature level to {level}"),
        Command::SetSchedulerConfig { config, .. } => steering::scheduling(config),
        Command::SetAutopilotConfig { config, .. } => steering::caring(config),
        Command::UpsertNodePool { spec } => steering::pool(spec),
        Command::DeleteNodePool { pool } => format!("node pool {pool} goes"),
        Command::SetCutBytes { bytes } => format!("cuts the log every {bytes} bytes"),
        Command::RestorePart { nth, .. } => format!("takes part {nth} of a saved state"),
        Command::Restore { parts, .. } => format!("goes back to a saved state of {parts} parts"),
        Command::PromoteDeployment { .. }
        | Command::PauseDeployment { .. }
        | Command::FailDeployment { .. }
        | Command::SetAllocHealth { .. }
        | Command::ReviewDeployments { .. }
        | Command::RevertJob { .. }
        | Command::SetJobStable { .. } => steering::of_command(command).unwrap_or_default(),
        Command::LaunchPeriodic { .. }
        | Command::ForcePeriodic { .. }
        | Command::DispatchJob { .. }
        | Command::ScaleJob { .. } => launching::of_command(command).unwrap_or_default(),
    }
}

/// What a plan changes.
#[must_use]
pub fn of_plan(state: &State, plan: &Plan) -> String {
    let mut parts = Vec::new();
    for placement in plan.placements.iter().take(TOLD_MAX) {
        parts.push(format!("places {}", of_placement(state, plan, placement)));
    }
    for stop in plan.stops.iter().take(TOLD_MAX) {
        parts.push(format!("stops {} ({})", alloc(state, stop.alloc), of_reason(stop.reason)));
    }
    for preempted in plan.preempted.iter().take(TOLD_MAX) {
        parts.push(format!("preempts {}", alloc(state, preempted.alloc)));
    }
    let all = plan.placements.len() + plan.stops.len() + plan.preempted.len();
    if parts.len() < all {
        parts.push(format!("… {all} changes"));
    }
    if !plan.in_place.is_empty() {
        parts.push(format!("updates {} in place", plan.in_place.len()));
    }
    match &plan.verdict {
        Verdict::More => parts.push("more follows".to_owned()),
        Verdict::Done { failures, later, .. } => {
            for (group, failure) in failures {
                let count = u64::from(failure.coalesced) + 1;
                parts.push(if failure.closed.is_empty() {
                    format!("no room for {count} × {group}")
                } else {
                    format!("{count} × {group} wait for {}", gates(&failure.closed))
                });
            }
            if !later.is_empty() {
                parts.push(format!("{} to be replaced later", later.len()));
            }
        }
    }
    let what = if parts.is_empty() { "changes nothing".to_owned() } else { parts.join(", ") };
    format!("plan for {}, eval {}: {what}", job(state, plan.job), eval(state, plan.eval))
}

/// What a group waits for.
#[must_use]
pub fn gates(closed: &[Gate]) -> String {
    let target = |gate: &Gate| match (&gate.job, &gate.group) {
        (Some(job), Some(group)) => format!("{job}.{group}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => "itself".to_owned(),
    };
    closed.iter().map(target).collect::<Vec<_>>().join(" and ")
}

/// One placement: which alloc, where, and its score.
#[must_use]
pub fn of_placement(state: &State, plan: &Plan, placement: &Placement) -> String {
    let name =
        alloc_name(state, plan.job, plan.version_of(placement), placement.group, placement.ordinal);
    format!("{name} on {} (score {})", slot(state, placement.slot), placement.note.score_permille)
}

/// `job.group[ordinal]`.
#[must_use]
pub fn alloc_name(state: &State, id: JobId, version: u64, group: u16, ordinal: u32) -> String {
    let spec = state.job(id).and_then(|job| job.version(version)).map(|kept| &kept.spec);
    let group = spec.and_then(|spec| spec.groups.get(usize::from(group)));
    let name = group.map_or("?", |group| group.name.as_str());
    format!("{}.{name}[{ordinal}]", job(state, id))
}

#[must_use]
pub const fn of_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::NotNeeded => "not needed",
        StopReason::Updated => "a newer version takes its place",
        StopReason::NodeLost => "its node is down",
        StopReason::Rescheduled => "it failed and is placed again",
        StopReason::Migrating => "it leaves its node, which is drained",
        StopReason::Drained => "the drain of its node waits no longer",
    }
}

#[must_use]
pub const fn of_trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::JobRegister => "the job was registered",
        Trigger::JobDeregister => "the job was stopped",
        Trigger::NodeUpdate => "a node changed",
        Trigger::AllocFailure => "an alloc ended or failed",
        Trigger::FailedFollowUp => "the delay of a failed alloc is over",
        Trigger::QueuedAllocs => "some allocs had found no room",
        Trigger::PlanRefused => "a placement did not hold when it was applied",
        Trigger::AllocStop => "an operator stopped an alloc",
        Trigger::Manual => "an operator asked",
        Trigger::DeploymentWatcher => "a deployment has come further",
        Trigger::RollingUpdate => "the next step of an update was due",
        Trigger::Rebalance => "its allocs may move to better nodes",
        Trigger::NodeDrain => "an alloc must leave its node",
        Trigger::PeriodicJob => "a periodic job was due",
        Trigger::JobScaling => "a group's count was changed",
        Trigger::Preemption => "its allocs were stopped for a more important job",
    }
}
