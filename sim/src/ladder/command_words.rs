//! Entries of the log and requests of callers, in words.
//!
//! Invariants
//! - whoever is named is named as everywhere in the ladder.
use std::sync::Arc;

use drover_core::api::{Heir, Order, Rejection, Request, Response};
use drover_core::fsm::Command;
use drover_core::raft::Configuration;
use drover_core::state::State;
use drover_core::types::{
    AllocId, AllocUpdate, ClientStatus, Index, NodeId, NodeStatus, Plan, StopReason,
};

use super::names::Names;
use super::rung::Kind;
use super::words::{Dull, Said};
use crate::drains;
use crate::launching;
use crate::rebalancing;
use crate::steering;

/// How many of a kind are named before the rest is counted.
const NAMED_MAX: usize = 6;

/// `a, b, c and 4 more`.
pub(super) fn list(mut parts: Vec<String>) -> String {
    let more = parts.len().saturating_sub(NAMED_MAX);
    parts.truncate(NAMED_MAX);
    let listed = parts.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

/// An entry, as the tables have it after it was applied.
pub(super) fn of_command(
    command: &Command,
    index: Index,
    (state, names): (Option<&State>, &mut Names),
) -> Said {
    let said = |sort, text: String, dull| Said::new(Kind::Commit, sort, text, dull);
    match command {
        Command::Bootstrap { cluster } => {
            let text = format!("the cluster is founded ({:08x})", cluster.0 >> 96);
            said("founding", text, Dull::Never)
        }
        Command::RegisterNode { spec } => {
            said("node", format!("node {} is registered", spec.name), Dull::Never)
        }
        Command::SetNodeStatus { nodes, status, reason } => {
            let who = list(nodes.iter().map(|&node| names.node(node)).collect());
            let text = match status {
                NodeStatus::Down => format!("node {who} is called DOWN: {reason}"),
                NodeStatus::Ready | NodeStatus::Init => format!("node {who} is {status:?}"),
            };
            said("node status", text, Dull::Never)
        }
        Command::SetNodeEligible { node, eligible } => {
            let word = if *eligible { "admitted" } else { "barred" };
            said("node", format!("node {} is {word}", names.node(*node)), Dull::Never)
        }
        Command::SetNodeDrain { node, spec, mark_eligible, .. } => {
            let name = format!("node {}", names.node(*node));
            said("node", drains::told(&name, *spec, *mark_eligible), Dull::Never)
        }
        Command::Rebalance { moves, gain_permille_min } => {
            said("rebalance", rebalancing::told(moves, *gain_permille_min), Dull::Never)
        }
        Command::ReviewDrains { nodes } => said("node", drains::due(nodes.len()), Dull::Never),
        Command::RegisterJob { spec, .. } => {
            let count: u32 = spec.groups.iter().map(|group| group.count).sum();
            let text = format!("job {} wants {count} allocs", spec.id);
            said("job", text, Dull::Never).of_job(&spec.id)
        }
        Command::DeregisterJob { job, purge, .. } => {
            let word = if *purge { "purged" } else { "stopped" };
            said("job", format!("job {job} is {word}"), Dull::Never).of_job(job)
        }
        Command::EvaluateJob { job, .. } => {
            said("job", format!("job {job} is to be looked at"), Dull::Never).of_job(job)
        }
        Command::StopAlloc { alloc } => {
            learn(names, state, *alloc);
            let text = format!("{} is to be stopped and replaced", names.alloc(*alloc));
            said("alloc", text, Dull::Never).of_alloc(names, *alloc)
        }
        Command::ApplyPlan(plan) => of_plan(plan, index, (state, names)),
        Command::FailEval { eval, why } => {
            said("eval", format!("eval {} has failed: {why}", eval.0), Dull::Never)
        }
        Command::UnblockEvals { evals, reason } => {
            said("eval", format!("{} blocked evals go on: {reason}", evals.len()), Dull::Never)
        }
        Command::UpdateAllocs { node, updates } => of_report(*node, updates, (state, names)),
        Command::CollectGarbage { .. } => said("garbage", "garbage is removed".into(), Dull::Never),
        Command::AcknowledgeAssignment { node, seq } => {
            let text = format!("{} has heard its work up to {}", names.node(*node), seq.0);
            said("heard", text, Dull::Always)
        }
        Command::RaiseFeatureLevel { level } => {
            said("feature level", format!("feature level {level}"), Dull::Never)
        }
        Command::SetSchedulerConfig { config, .. } => {
            said("scheduler", steering::scheduling(config), Dull::Never)
        }
        Command::SetAutopilotConfig { config, .. } => {
            said("autopilot", steering::caring(config), Dull::Never)
        }
        Command::UpsertNodePool { spec } => said("pool", steering::pool(spec), Dull::Never),
        Command::DeleteNodePool { pool } => {
            said("pool", format!("node pool {pool} goes"), Dull::Never)
        }
        Command::SetCutBytes { bytes } => {
            said("cut bytes", format!("a cut every {bytes} bytes"), Dull::Never)
        }
        Command::RestorePart { nth, .. } => {
            said("restore", format!("part {} of a saved state", nth + 1), Dull::Never)
        }
        Command::Restore { parts, .. } => {
            let text =
                format!("the saved state of {parts} parts takes the place of the present one");
            said("restore", text, Dull::Never)
        }
        Command::PromoteDeployment { .. }
        | Command::PauseDeployment { .. }
        | Command::FailDeployment { .. }
        | Command::SetAllocHealth { .. }
        | Command::ReviewDeployments { .. }
        | Command::RevertJob { .. }
        | Command::SetJobStable { .. } => {
            said("deployment", steering::of_command(command).unwrap_or_default(), Dull::Never)
        }
        Command::LaunchPeriodic { .. }
        | Command::ForcePeriodic { .. }
        | Command::DispatchJob { .. }
        | Command::ScaleJob { .. } => {
            said("launch", launching::of_command(command).unwrap_or_default(), Dull::Never)
        }
    }
}

fn learn(names: &mut Names, state: Option<&State>, alloc: AllocId) {
    if names.known_alloc(alloc).is_none()
        && let Some(state) = state
    {
        names.learn_alloc(state, alloc);
    }
}

fn of_plan(plan: &Plan, index: Index, (state, names): (Option<&State>, &mut Names)) -> Said {
    let mut placed = Vec::new();
    if let Some(state) = state {
        names.learn_job(state, plan.job);
        for alloc in state.allocs_of_job(plan.job).filter(|alloc| alloc.create_index == index) {
            placed.push((alloc.id, alloc.node));
        }
        for &(id, _) in &placed {
            names.learn_alloc(state, id);
        }
    }
    let preempted = || plan.preempted.iter().map(|one| one.alloc);
    for alloc in plan.stops.iter().map(|stop| stop.alloc).chain(preempted()) {
        learn(names, state, alloc);
    }
    let mut parts = Vec::new();
    if !placed.is_empty() {
        let place = |&(id, node)| format!("{} on {}", names.alloc(id), names.node(node));
        parts.push(format!("place {}", list(placed.iter().map(place).collect())));
    }
    let refused = plan.placements.len().saturating_sub(placed.len());
    if state.is_some() && 0 < refused {
        parts.push(format!("{refused} placements are refused"));
    }
    if !plan.stops.is_empty() {
        let stop = |stop: &drover_core::types::Stop| {
            format!("{} ({})", names.alloc(stop.alloc), of_reason(stop.reason))
        };
        parts.push(format!("stop {}", list(plan.stops.iter().map(stop).collect())));
    }
    if !plan.in_place.is_empty() {
        parts.push(format!("{} take the new version as they are", plan.in_place.len()));
    }
    if !plan.preempted.is_empty() {
        parts.push(format!("preempt {}", list(preempted().map(|id| names.alloc(id)).collect())));
    }
    if parts.is_empty() {
        parts.push("nothing to change".into());
    }
    let job = names.job(plan.job);
    let text = format!("plan for {job}: {}", parts.join("; "));
    let mut said = Said::new(Kind::Plan, "plan", text, Dull::Never).of_job(&job);
    let stopped = plan.stops.iter().map(|stop| stop.alloc).chain(preempted());
    for alloc in placed.iter().map(|(id, _)| *id).chain(stopped) {
        said = said.of_alloc(names, alloc);
    }
    said
}

/// What came of the allocs of a node.
fn of_report(
    node: NodeId,
    updates: &[AllocUpdate],
    (state, names): (Option<&State>, &mut Names),
) -> Said {
    for update in updates {
        learn(names, state, update.id);
    }
    let text = format!("{} reports {}", names.node(node), of_updates(updates, names));
    let said = Said::new(Kind::Commit, "report", text, Dull::Never);
    updates.iter().fold(said, |said, update| said.of_alloc(names, update.id))
}

const fn of_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::NotNeeded => "not needed",
        StopReason::Updated => "updated",
        StopReason::NodeLost => "its node is down",
        StopReason::Rescheduled => "placed again",
        StopReason::Migrating => "leaves its node",
        StopReason::Drained => "must leave its node",
    }
}

/// What a client says of its allocs.
pub(super) fn of_updates(updates: &[AllocUpdate], names: &Names) -> String {
    let word = |status| match status {
        ClientStatus::Pending => "pending",
        ClientStatus::Running => "running",
        ClientStatus::Complete => "complete",
        ClientStatus::Failed => "FAILED",
        ClientStatus::Lost => "lost",
    };
    let health = |update: &AllocUpdate| match update.health.map(|health| health.healthy) {
        Some(true) => " and healthy",
        Some(false) => " and UNHEALTHY",
        None => "",
    };
    let told = |u: &AllocUpdate| format!("{} {}{}", names.alloc(u.id), word(u.status), health(u));
    list(updates.iter().map(told).collect())
}

/// Who votes.
pub(super) fn of_configuration(configuration: &Configuration, names: &Names) -> String {
    let named = |ids: &[drover_core::types::ServerId]| -> String {
        ids.iter().map(|&id| names.server(id)).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("voters {}", named(&configuration.voters));
    if !configuration.outgoing.is_empty() {
        text = format!("{text}, beside those before: {}", named(&configuration.outgoing));
    }
    if !configuration.learners.is_empty() {
        text = format!("{text}, learners {}", named(&configuration.learners));
    }
    text
}

/// What someone wants.
pub(super) fn of_request(request: &Request, names: &Names) -> (String, Option<Arc<str>>) {
    let mut of_job = None;
    let text = match request {
        Request::RegisterJob { spec, .. } => {
            of_job = Some(spec.id.as_str().into());
            let count: u32 = spec.groups.iter().map(|group| group.count).sum();
            format!("register {} ({count} allocs)", spec.id)
        }
        Request::DeregisterJob { job, purge, .. } => {
            of_job = Some(job.as_str().into());
            format!("{} {job}", if *purge { "purge" } else { "stop" })
        }
        Request::EvaluateJob { job, .. } => {
            of_job = Some(job.as_str().into());
            format!("evaluate {job}")
        }
        Request::StopAlloc { alloc } => format!("stop {}", names.alloc(*alloc)),
        Request::RegisterNode { spec } => format!("register node {}", spec.name),
        Request::SetNodeEligible { node, eligible } => {
            format!("{} {}", if *eligible { "admit" } else { "bar" }, names.node(*node))
        }
        Request::SetNodeDrain { node, spec, mark_eligible, .. } => {
            drains::told(&format!("node {}", names.node(*node)), *spec, *mark_eligible)
        }
        Request::Rebalance { moves, gain_permille_min } => {
            rebalancing::told(moves, *gain_permille_min)
        }
        Request::UpdateAllocs { node, updates } => {
            format!("{} reports {}", names.node(*node), of_updates(updates, names))
        }
        Request::CollectGarbage => "collect garbage".into(),
        Request::ReadPoint { .. } => "read".into(),
        Request::ForceOut { server, prune: false } => {
            format!("{} is not expected back", names.server(*server))
        }
        Request::ForceOut { server, prune: true } => format!("forget {}", names.server(*server)),
        Request::Order(Order::RemoveServer { server }) => {
            format!("strike off {}", names.server(*server))
        }
        Request::Order(Order::Leave) => "let it go".into(),
        Request::Order(Order::TransferLead { heir: Heir::Server(heir) }) => {
            format!("let {} lead", names.server(*heir))
        }
        Request::Order(Order::TransferLead { heir: Heir::AnyBut(former) }) => {
            format!("let anyone but {} lead", names.server(*former))
        }
        Request::RestorePart { nth, .. } => format!("restore, part {}", nth + 1),
        Request::Restore { parts, .. } => format!("restore, all {parts} parts"),
        Request::PromoteDeployment { .. }
        | Request::PauseDeployment { .. }
        | Request::FailDeployment { .. }
        | Request::SetAllocHealth { .. }
        | Request::RevertJob { .. }
        | Request::SetJobStable { .. } => steering::of_request(request).unwrap_or_default(),
        Request::ForcePeriodic { .. } | Request::DispatchJob { .. } | Request::ScaleJob { .. } => {
            launching::of_request(request).unwrap_or_default()
        }
        Request::SetSchedulerConfig { config, .. } => steering::scheduling(config),
        Request::SetAutopilotConfig { config, .. } => steering::caring(config),
        Request::UpsertNodePool { spec } => steering::pool(spec),
        Request::DeleteNodePool { pool } => format!("node pool {pool} goes"),
    };
    (text, of_job)
}

/// What a request came to.
pub(super) fn of_answer(answer: &Result<Response, Rejection>, names: &Names) -> String {
    match answer {
        Ok(Response::Applied { index, .. }) => format!("ACKNOWLEDGED at {}", index.0),
        Ok(Response::ReadPoint { index }) => format!("reads at {}", index.0),
        Err(Rejection::NotLeader { leader: None }) => "refused: nobody leads".into(),
        Err(Rejection::NotLeader { leader: Some(leader) }) => {
            format!("refused: {} leads", names.server(*leader))
        }
        Err(Rejection::Invalid { field, why }) => format!("refused: {field}: {why}"),
        Err(Rejection::NotFound { what }) => format!("refused: there is no such {what}"),
        Err(Rejection::Conflict { index }) => format!("refused: it changed at {}", index.0),
        Err(Rejection::Overloaded { retry_ms }) => {
            format!("refused: too much to do, try again in {retry_ms} ms")
        }
        Err(Rejection::Unknown) => "unknown: it may or may not have been done".into(),
    }
}
