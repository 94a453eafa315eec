//! Which allocs should move to better nodes, as callers see it. Ours: Nomad has nothing of the kind.
use std::collections::BTreeMap;

use drover_core::scheduler::Standing;
use drover_core::state::State;
use serde::{Deserialize, Serialize};

use super::alloc::{self, node_name, scores};
use crate::forecast::rebalance;

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ask {
    /// Moves at most.
    pub budget: Option<u64>,
    /// Whoever gains less stays; scores are from -1 to 1.
    pub min_gain: Option<f64>,
    /// Only allocs of this job.
    #[serde(rename = "JobID")]
    pub job_id: Option<String>,
    /// Only allocs on nodes of this pool.
    pub node_pool: Option<String>,
}

/// What would be moved, or was ordered to move, and what not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rebalance {
    /// One after the other: each as it is when those before it are done.
    pub moves: Vec<Move>,
    pub budget: usize,
    pub min_gain: f64,
    /// Others that would gain as much once these have moved, each by itself.
    pub more_moves: usize,
    /// Others that would gain something, but less.
    pub below_min_gain: usize,
    /// Would gain, and their groups have too few healthy allocs to let them go.
    pub held: usize,
    /// Could not be looked at any more.
    pub not_compared: usize,
    /// Why allocs stay whatever they might gain, and how many.
    pub not_movable: BTreeMap<String, usize>,
    /// Of the state that was looked at; of what was ordered, where it was entered.
    pub index: u64,
}

/// An alloc that moves.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Move {
    #[serde(rename = "AllocID")]
    pub alloc_id: String,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub namespace: String,
    pub task_group: String,
    pub name: String,
    #[serde(rename = "FromNodeID")]
    pub from_node_id: String,
    pub from_node_name: String,
    #[serde(rename = "ToNodeID")]
    pub to_node_id: String,
    pub to_node_name: String,
    pub score_before: f64,
    pub score_after: f64,
    pub gain: f64,
    /// What rises, what rises most first.
    pub why: Vec<&'static str>,
    pub scores_before: BTreeMap<&'static str, f64>,
    pub scores_after: BTreeMap<&'static str, f64>,
}

/// What was ordered and has not happened yet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnderWay {
    /// Allocs whose turn has not come.
    pub waiting: Vec<String>,
    /// Allocs for which a better node is being looked for.
    pub moving: Vec<String>,
}

impl Rebalance {
    /// `state` is the one that was looked at.
    #[must_use]
    pub fn of(state: &State, ask: &rebalance::Ask, found: &rebalance::Rebalance) -> Self {
        let staying = found.staying.iter().map(|(why, &count)| (why.to_string(), count));
        Self {
            moves: found.moves.iter().filter_map(|one| Move::of(state, one)).collect(),
            budget: ask.budget,
            min_gain: f64::from(ask.gain_permille_min) / 1_000.0,
            more_moves: found.more,
            below_min_gain: found.slight,
            held: found.held,
            not_compared: found.uncompared,
            not_movable: staying.collect(),
            index: state.index().0,
        }
    }
}

impl Move {
    fn of(state: &State, one: &rebalance::Move) -> Option<Self> {
        let row = state.alloc(one.alloc)?;
        let (group, version) = alloc::group_of(state, row);
        let score = |standing: Standing| f64::from(standing.score_permille) / 1_000.0;
        Some(Self {
            alloc_id: state.uuid(row.id.0).to_string(),
            job_id: version.spec.id.clone(),
            namespace: version.spec.namespace.clone(),
            task_group: group.name.clone(),
            name: alloc::name(state, row),
            from_node_id: one.from.uuid().to_string(),
            from_node_name: node_name(state, one.from),
            to_node_id: one.to.uuid().to_string(),
            to_node_name: node_name(state, one.to),
            score_before: score(one.here),
            score_after: score(one.there),
            gain: f64::from(one.gain_permille()) / 1_000.0,
            why: one.why(),
            scores_before: scores(one.here.parts),
            scores_after: scores(one.there.parts),
        })
    }
}

impl UnderWay {
    #[must_use]
    pub fn of(state: &State) -> Self {
        let (waiting, moving) = rebalance::under_way(state);
        let shown = |allocs: Vec<&drover_core::types::Allocation>| {
            allocs.iter().map(|alloc| state.uuid(alloc.id.0).to_string()).collect()
        };
        Self { waiting: shown(waiting), moving: shown(moving) }
    }
}
