//! Why something runs where it does, and not elsewhere, as callers see it. Ours: Nomad has nothing of the
//! kind. Where it counts nodes it does so in Nomad's shapes.
use std::collections::BTreeMap;

use drover_core::scheduler::{Asked, Look, Standing, Tried};
use drover_core::state::State;
use drover_core::types::{Allocation, Group, Job, NodeSlot};
use serde::Serialize;

use super::alloc::{self, Metrics, Reschedules, node_name};
use super::eval::Eval;
use super::gate::Waiting;
use super::time::unix_ns;

/// Where the next allocs of a job would go.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobExplained {
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub namespace: String,
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub version: u64,
    /// Of the state that was looked at.
    pub index: u64,
    pub groups: Vec<GroupExplained>,
}

/// How the nodes compare for the next alloc of a group.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupExplained {
    pub name: String,
    pub count: u32,
    /// Allocs that are to be placed now.
    pub missing: usize,
    pub nodes: usize,
    /// Of them, those that are not ready or not eligible.
    pub nodes_closed: usize,
    /// And those that are open, of another pool or in none of the job's datacenters.
    pub nodes_elsewhere: usize,
    /// Of a job that runs on every node: nodes that need nothing now.
    pub nodes_served: usize,
    /// What it waits for, wherever there may be room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Vec<Waiting>>,
    pub metrics: Metrics,
    /// Nodes that may take one alloc more.
    pub candidates: usize,
    /// The best of them.
    pub best: Vec<Candidate>,
    /// The node that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeExplained>,
}

/// A node that may take one alloc more.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Candidate {
    /// From 1.
    pub rank: usize,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    pub norm_score: f64,
    pub scores: BTreeMap<&'static str, f64>,
}

/// One node, demand by demand.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeExplained {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    pub demands: Vec<Demand>,
    /// Null where a demand is not met.
    pub standing: Option<Candidate>,
}

/// One thing that is asked of a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Demand {
    pub kind: &'static str,
    pub demand: String,
    /// Null where the node has nothing of the kind.
    pub found: Option<String>,
    pub met: bool,
}

/// Why an alloc is where it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AllocExplained {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub namespace: String,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub job_version: u64,
    pub task_group: String,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    pub create_index: u64,
    pub create_time: i64,
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    /// Null where it has been collected.
    pub evaluation: Option<Eval>,
    /// Null where it replaced nothing.
    pub replaced: Option<Replaced>,
    pub reschedule_tracker: Option<Reschedules>,
    /// What the scheduler noted when it placed the alloc.
    pub metrics: Metrics,
    /// Null where it would not be placed at all.
    pub now: Option<Now>,
    /// Why it would not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub never_now: String,
}

/// The alloc before.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Replaced {
    #[serde(rename = "ID")]
    pub id: String,
    /// It has not been collected.
    pub known: bool,
    pub job_version: u64,
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_name: String,
    pub client_status: &'static str,
    pub client_description: String,
    pub desired_description: String,
}

/// The alloc if it were placed at this moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Now {
    pub index: u64,
    pub job_version: u64,
    pub group: GroupExplained,
}

impl JobExplained {
    /// Of a job none of whose groups have been looked at.
    #[must_use]
    pub fn of(state: &State, job: &Job) -> Self {
        let newest = job.newest();
        Self {
            job_id: newest.spec.id.clone(),
            namespace: newest.spec.namespace.clone(),
            kind: alloc::kind(newest.spec.kind),
            version: newest.version,
            index: state.index().0,
            groups: Vec::new(),
        }
    }
}

impl GroupExplained {
    /// `look` with at most `best_max` candidates, and the node that was asked about.
    #[must_use]
    pub fn of(
        state: &State,
        (job, group): (&Job, &Group),
        look: &Look,
        (best_max, node): (usize, Option<NodeSlot>),
    ) -> Self {
        let evaluated = look.looked_at.nodes_evaluated as usize;
        let node = node.zip(look.tried.as_ref()).map(|(slot, tried)| NodeExplained {
            node_id: node_id(state, slot),
            node_name: name_of(state, slot),
            demands: tried.iter().map(Demand::of).collect(),
            standing: look.rank(slot).map(|(rank, one)| Candidate::of(state, rank, one)),
        });
        let best = (1..).zip(&look.candidates).take(best_max);
        Self {
            name: group.name.clone(),
            count: group.count,
            missing: look.missing_count,
            nodes: look.node_count,
            nodes_closed: look.closed_count,
            nodes_elsewhere: look.node_count.saturating_sub(look.closed_count + evaluated),
            nodes_served: look.served_count,
            waits: waits(state, job, group),
            metrics: Metrics::of_failure(state, &look.looked_at),
            candidates: look.candidates.len(),
            best: best.map(|(rank, one)| Candidate::of(state, rank, one)).collect(),
            node,
        }
    }
}

impl Candidate {
    fn of(state: &State, rank: usize, standing: &Standing) -> Self {
        Self {
            rank,
            node_id: node_id(state, standing.slot),
            node_name: name_of(state, standing.slot),
            norm_score: f64::from(standing.score_permille) / 1_000.0,
            scores: alloc::scores(standing.parts),
        }
    }
}

impl Demand {
    fn of(tried: &Tried) -> Self {
        Self {
            kind: kind(tried.asked),
            demand: tried.demand.clone(),
            found: tried.found.clone(),
            met: tried.is_met,
        }
    }
}

impl AllocExplained {
    /// As it was; what would be now is added by whoever looks.
    #[must_use]
    pub fn of(state: &State, row: &Allocation) -> Self {
        let (group, version) = alloc::group_of(state, row);
        let replaced = row.previous.map(|id| {
            let known = state.alloc(id);
            let text = |of: fn(&Allocation) -> &String| known.map(of).cloned().unwrap_or_default();
            Replaced {
                id: state.uuid(id.0).to_string(),
                known: known.is_some(),
                job_version: known.map_or(0, |known| known.version),
                node_id: known.map(|known| known.node.uuid().to_string()).unwrap_or_default(),
                node_name: known.map(|known| node_name(state, known.node)).unwrap_or_default(),
                client_status: known.map_or("", |known| alloc::client(known.client_status)),
                client_description: text(|known| &known.client_description),
                desired_description: text(|known| &known.desired_description),
            }
        });
        Self {
            id: state.uuid(row.id.0).to_string(),
            name: alloc::name(state, row),
            namespace: version.spec.namespace.clone(),
            job_id: version.spec.id.clone(),
            job_version: row.version,
            task_group: group.name.clone(),
            node_id: row.node.uuid().to_string(),
            node_name: node_name(state, row.node),
            create_index: row.create_index.0,
            create_time: unix_ns(row.create_time),
            eval_id: state.uuid(row.eval.0).to_string(),
            evaluation: state.eval(row.eval).map(|eval| Eval::of(state, eval)),
            replaced,
            reschedule_tracker: alloc::reschedules(state, row),
            metrics: Metrics::of_placement(&row.placed, row.node),
            now: None,
            never_now: String::new(),
        }
    }
}

/// What keeps the group from being placed, wherever there may be room.
fn waits(state: &State, job: &Job, group: &Group) -> Option<Vec<Waiting>> {
    let (closed, spec) = (state.closed_gates(job, group), &job.newest().spec);
    let waits = closed.iter().map(|(gate, _)| Waiting::of(state, spec, (&group.name, gate)));
    (!closed.is_empty()).then(|| waits.collect())
}

fn node_id(state: &State, slot: NodeSlot) -> String {
    state.node_at(slot).map(|node| node.spec.id.uuid().to_string()).unwrap_or_default()
}

fn name_of(state: &State, slot: NodeSlot) -> String {
    state.node_at(slot).map(|node| node.spec.name.clone()).unwrap_or_default()
}

const fn kind(asked: Asked) -> &'static str {
    match asked {
        Asked::Pool => "node pool",
        Asked::Datacenter => "datacenter",
        Asked::Driver => "driver",
        Asked::Consul => "consul",
        Asked::Constraint => "constraint",
        Asked::Node => "node",
        Asked::DistinctHosts => "distinct_hosts",
        Asked::DistinctProperty => "distinct_property",
        Asked::Need => "once on every node",
        Asked::Cpu => "cpu",
        Asked::Memory => "memory",
        Asked::Disk => "disk",
        Asked::Allocs => "allocs",
        Asked::Cores => "cores",
        Asked::Device => "device",
        Asked::Volume => "host volume",
        Asked::Devices => "devices",
        Asked::Port => "port",
    }
}
