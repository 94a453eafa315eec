//! Allocs: the row of a list, and the whole.
//!
//! Invariants
//! - an alloc's name is made as its tasks see it: `job.group[ordinal]`.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{
    AllocId, Allocation, ClientStatus, DesiredStatus, EvalId, Group, JobId, JobKind, JobVersion,
    NodeId, PlacementFailure, PlacementNote, RescheduleEvent, ScoreParts,
};
use serde::Serialize;

use super::gate::Waiting;
use super::job::Job;
use super::resources::{Allocated, Flat, Holding};
use super::task::Task;
use super::time::{duration_ns, rfc3339, unix_ns};
use super::{Absent, jobs, node, some};

/// What a list says of an alloc.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stub {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub name: String,
    pub namespace: String,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub job_type: &'static str,
    pub job_version: u64,
    pub task_group: String,
    pub desired_status: &'static str,
    pub desired_description: String,
    pub client_status: &'static str,
    pub client_description: String,
    pub desired_transition: Transition,
    pub task_states: Option<BTreeMap<String, Task>>,
    pub deployment_status: Option<Health>,
    #[serde(rename = "FollowupEvalID")]
    pub followup_eval_id: String,
    pub reschedule_tracker: Option<Reschedules>,
    pub preempted_allocations: Absent,
    pub preempted_by_allocation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_resources: Option<Allocated>,
    pub create_index: u64,
    pub modify_index: u64,
    pub create_time: i64,
    pub modify_time: i64,
}

/// Whether an alloc can be relied on; null while nobody knows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    pub healthy: Option<bool>,
    pub timestamp: Option<String>,
    pub canary: bool,
    pub modify_index: u64,
}

impl Health {
    /// `None`: no deployment has the alloc, and nobody has judged it.
    fn of(alloc: &Allocation) -> Option<Self> {
        let is_watched = alloc.deployment.is_some() || alloc.health.is_some();
        is_watched.then(|| Self {
            healthy: alloc.health.map(|health| health.healthy),
            timestamp: alloc.health.map(|health| rfc3339(health.at)),
            canary: alloc.canary,
            modify_index: alloc.modify_index.0,
        })
    }
}

/// What somebody asked to happen to an alloc: nothing that Drover remembers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Transition {
    pub migrate: Option<bool>,
    pub reschedule: Absent,
    pub force_reschedule: Absent,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reschedules {
    pub events: Vec<Reschedule>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reschedule {
    pub reschedule_time: i64,
    #[serde(rename = "PrevAllocID")]
    pub prev_alloc_id: String,
    #[serde(rename = "PrevNodeID")]
    pub prev_node_id: String,
    pub delay: i64,
}

/// Everything about an alloc.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alloc {
    #[serde(rename = "ID")]
    pub id: String,
    pub namespace: String,
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub name: String,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub job: Job,
    pub task_group: String,
    pub resources: Flat,
    pub shared_resources: Flat,
    pub task_resources: BTreeMap<String, Flat>,
    pub allocated_resources: Allocated,
    pub metrics: Metrics,
    pub desired_status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub desired_description: String,
    pub client_status: &'static str,
    pub client_description: String,
    pub task_states: Option<BTreeMap<String, Task>>,
    pub network_status: Absent,
    #[serde(rename = "DeploymentID", skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_status: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_allocation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_allocation: Option<String>,
    #[serde(rename = "FollowupEvalID", skip_serializing_if = "Option::is_none")]
    pub followup_eval_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reschedule_tracker: Option<Reschedules>,
    pub create_index: u64,
    pub modify_index: u64,
    pub alloc_modify_index: u64,
    pub create_time: i64,
    pub modify_time: i64,
}

/// How a placement came about, or why it did not.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    pub nodes_evaluated: u32,
    pub nodes_filtered: u32,
    pub nodes_available: Option<BTreeMap<String, u32>>,
    /// Not kept with what was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_in_pool: Option<u32>,
    pub class_filtered: Absent,
    pub constraint_filtered: Option<BTreeMap<String, u32>>,
    pub nodes_exhausted: u32,
    pub class_exhausted: Absent,
    pub dimension_exhausted: Option<BTreeMap<String, u32>>,
    pub quota_exhausted: Absent,
    pub resources_exhausted: Absent,
    pub scores: Absent,
    pub score_meta_data: Option<Vec<Score>>,
    pub allocation_time: u64,
    pub coalesced_failures: u32,
    /// Ours: allocs of the group that wait until less important ones have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaited_preemptions: Option<u32>,
    /// Ours: what the group waits for. Then no node was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Vec<Waiting>>,
    /// Ours: of the nodes that met every constraint, the one that comes closest to having room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearMiss>,
}

/// A node that would do if it had more room.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NearMiss {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    pub free: Flat,
    pub asked: Flat,
    pub devices_free: u32,
    pub devices_asked: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Score {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub norm_score: f64,
    pub scores: BTreeMap<&'static str, f64>,
}

/// What a row of the list should hold beside the essential.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    pub resources: bool,
    pub task_states: bool,
}

/// An alloc with what it points at.
struct Sight<'a> {
    state: &'a State,
    alloc: &'a Allocation,
    version: &'a JobVersion,
    group: &'a Group,
}

impl<'a> Sight<'a> {
    fn of(state: &'a State, alloc: &'a Allocation) -> Self {
        let job = state.job(alloc.job).expect("invariant: an alloc's job exists");
        let version = job.version(alloc.version);
        let version = version.expect("invariant: the version that an alloc points at is kept");
        let group = &version.spec.groups[usize::from(alloc.group)];
        Self { state, alloc, version, group }
    }

    fn name(&self) -> String {
        format!("{}.{}[{}]", self.version.spec.id, self.group.name, self.alloc.ordinal)
    }

    fn node_name(&self) -> String {
        node_name(self.state, self.alloc.node)
    }

    fn holding(&self) -> Holding {
        let ip = self.state.node(self.alloc.node).map(node::address).unwrap_or_default();
        Holding::of(self.alloc, self.group, &ip)
    }

    fn reschedules(&self) -> Option<Reschedules> {
        let shown = |event: &RescheduleEvent| Reschedule {
            reschedule_time: unix_ns(event.at),
            prev_alloc_id: self.state.uuid(event.from.0).to_string(),
            prev_node_id: event.from_node.uuid().to_string(),
            delay: duration_ns(event.delay_ms),
        };
        let events: Vec<_> = self.alloc.reschedules.iter().map(shown).collect();
        (!events.is_empty()).then_some(Reschedules { events })
    }

    fn task_states(&self) -> Option<BTreeMap<String, Task>> {
        let tasks = self.alloc.tasks.iter();
        let shown: BTreeMap<_, _> =
            tasks.map(|(name, task)| (name.clone(), Task::of(task))).collect();
        (!shown.is_empty()).then_some(shown)
    }
}

/// The alloc's name, as users know it.
#[must_use]
pub fn name(state: &State, alloc: &Allocation) -> String {
    Sight::of(state, alloc).name()
}

/// The group that the alloc is one of, and its job's version.
#[must_use]
pub fn group_of<'a>(state: &'a State, alloc: &'a Allocation) -> (&'a Group, &'a JobVersion) {
    let sight = Sight::of(state, alloc);
    (sight.group, sight.version)
}

/// What was placed again before the alloc, if anything was.
pub(super) fn reschedules(state: &State, alloc: &Allocation) -> Option<Reschedules> {
    Sight::of(state, alloc).reschedules()
}

impl Stub {
    #[must_use]
    pub fn of(state: &State, alloc: &Allocation, detail: Detail) -> Self {
        let sight = Sight::of(state, alloc);
        let spec = &sight.version.spec;
        let followup = alloc.follow_up.map(|EvalId(id)| state.uuid(id).to_string());
        Self {
            id: state.uuid(alloc.id.0).to_string(),
            eval_id: state.uuid(alloc.eval.0).to_string(),
            name: sight.name(),
            namespace: spec.namespace.clone(),
            node_id: alloc.node.uuid().to_string(),
            node_name: sight.node_name(),
            job_id: spec.id.clone(),
            job_type: kind(spec.kind),
            job_version: alloc.version,
            task_group: sight.group.name.clone(),
            desired_status: desired(alloc.desired),
            desired_description: alloc.desired_description.clone(),
            client_status: client(alloc.client_status),
            client_description: alloc.client_description.clone(),
            desired_transition: Transition {
                migrate: alloc.migration.is_leaving().then_some(true),
                ..Transition::default()
            },
            task_states: if detail.task_states { sight.task_states() } else { None },
            deployment_status: Health::of(alloc),
            followup_eval_id: followup.unwrap_or_default(),
            reschedule_tracker: sight.reschedules(),
            preempted_allocations: (),
            preempted_by_allocation: String::new(),
            allocated_resources: detail.resources.then(|| sight.holding().allocated),
            create_index: alloc.create_index.0,
            modify_index: alloc.modify_index.0,
            create_time: unix_ns(alloc.create_time),
            modify_time: unix_ns(alloc.modify_time),
        }
    }
}

impl Alloc {
    #[must_use]
    pub fn of(state: &State, alloc: &Allocation) -> Self {
        let sight = Sight::of(state, alloc);
        let job = state.job(alloc.job).expect("invariant: an alloc's job exists");
        let spec = &sight.version.spec;
        let holding = sight.holding();
        let other = |id: Option<AllocId>| id.map(|AllocId(id)| state.uuid(id).to_string());
        Self {
            id: state.uuid(alloc.id.0).to_string(),
            namespace: spec.namespace.clone(),
            eval_id: state.uuid(alloc.eval.0).to_string(),
            name: sight.name(),
            node_id: alloc.node.uuid().to_string(),
            node_name: sight.node_name(),
            job_id: spec.id.clone(),
            job: jobs::whole(state, job, sight.version),
            task_group: sight.group.name.clone(),
            resources: holding.total,
            shared_resources: holding.shared,
            task_resources: holding.tasks,
            allocated_resources: holding.allocated,
            metrics: Metrics::of_placement(&alloc.placed, alloc.node),
            desired_status: desired(alloc.desired),
            desired_description: alloc.desired_description.clone(),
            client_status: client(alloc.client_status),
            client_description: alloc.client_description.clone(),
            task_states: sight.task_states(),
            network_status: (),
            deployment_id: alloc.deployment.map(|id| state.uuid(id.0).to_string()),
            deployment_status: Health::of(alloc),
            previous_allocation: other(alloc.previous),
            next_allocation: other(alloc.next),
            followup_eval_id: alloc.follow_up.map(|EvalId(id)| state.uuid(id).to_string()),
            reschedule_tracker: sight.reschedules(),
            create_index: alloc.create_index.0,
            modify_index: alloc.modify_index.0,
            alloc_modify_index: alloc.assign_index.0,
            create_time: unix_ns(alloc.create_time),
            modify_time: unix_ns(alloc.modify_time),
        }
    }
}

/// What a score is the mean of, in Nomad's words.
pub(super) fn scores(parts: ScoreParts) -> BTreeMap<&'static str, f64> {
    let shown = |permille: i32| f64::from(permille) / 1_000.0;
    let mut scores = BTreeMap::from([
        ("binpack", shown(parts.fit)),
        ("job-anti-affinity", shown(parts.crowd)),
        ("node-affinity", shown(parts.affinity)),
        ("node-reschedule-penalty", shown(parts.failed_before)),
    ]);
    if parts.spread != 0 {
        scores.insert("allocation-spread", shown(parts.spread));
    }
    if parts.devices != 0 {
        scores.insert("devices", shown(parts.devices));
    }
    scores
}

impl Metrics {
    pub(super) fn of_placement(note: &PlacementNote, node: NodeId) -> Self {
        let score = f64::from(note.score_permille) / 1_000.0;
        let fit_alone = ScoreParts { fit: note.score_permille, ..ScoreParts::default() };
        let scores = scores(note.parts.unwrap_or(fit_alone));
        Self {
            nodes_evaluated: note.nodes_evaluated,
            nodes_filtered: note.nodes_filtered,
            nodes_exhausted: note.nodes_exhausted,
            score_meta_data: Some(vec![Score {
                node_id: node.uuid().to_string(),
                norm_score: score,
                scores,
            }]),
            ..Self::default()
        }
    }

    /// Why a group of the job could not be placed, or what it waits for.
    #[must_use]
    pub fn of_group(
        state: &State,
        (job, group): (JobId, &str),
        failure: &PlacementFailure,
    ) -> Self {
        let failed = Self::of_failure(state, failure);
        let Some(job) = state.job(job).filter(|_| !failure.closed.is_empty()) else {
            return failed;
        };
        let gates = failure.closed.iter();
        let spec = &job.newest().spec;
        let waits = gates.map(|gate| Waiting::of(state, spec, (group, gate))).collect();
        Self { waits: Some(waits), ..failed }
    }

    /// Why a group could not be placed.
    #[must_use]
    pub fn of_failure(state: &State, failure: &PlacementFailure) -> Self {
        let sum = |counts: &BTreeMap<String, u32>| counts.values().copied().sum();
        let nearest = failure.nearest.map(|miss| NearMiss {
            node_id: miss.node.uuid().to_string(),
            node_name: node_name(state, miss.node),
            free: Flat { cores: miss.cores_free, ..Flat::of(miss.free, None) },
            asked: Flat { cores: miss.cores_asked, ..Flat::of(miss.asked, None) },
            devices_free: miss.devices_free,
            devices_asked: miss.devices_asked,
        });
        Self {
            nodes_evaluated: failure.nodes_evaluated,
            nodes_filtered: sum(&failure.filtered),
            nodes_available: some(&failure.nodes_available),
            nodes_in_pool: Some(failure.nodes_in_pool),
            constraint_filtered: some(&failure.filtered),
            nodes_exhausted: sum(&failure.exhausted),
            dimension_exhausted: some(&failure.exhausted),
            coalesced_failures: failure.coalesced,
            nearest,
            awaited_preemptions: Some(failure.awaited).filter(|&count| 0 < count),
            ..Self::default()
        }
    }
}

/// Empty if the node has been forgotten.
pub(super) fn node_name(state: &State, id: NodeId) -> String {
    state.node(id).map(|node| node.spec.name.clone()).unwrap_or_default()
}

pub(super) const fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Service => "service",
        JobKind::Batch => "batch",
        JobKind::System => "system",
        JobKind::Sysbatch => "sysbatch",
    }
}

const fn desired(status: DesiredStatus) -> &'static str {
    match status {
        DesiredStatus::Run => "run",
        DesiredStatus::Stop => "stop",
    }
}

/// The word for a client status.
#[must_use]
pub const fn client(status: ClientStatus) -> &'static str {
    match status {
        ClientStatus::Pending => "pending",
        ClientStatus::Running => "running",
        ClientStatus::Complete => "complete",
        ClientStatus::Failed => "failed",
        ClientStatus::Lost => "lost",
    }
}
