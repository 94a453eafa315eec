//! What would become of the cluster, as callers see it. Ours: Nomad has nothing of the kind.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::JobId;
use serde::Serialize;

use super::alloc::{Metrics, node_name};
use crate::forecast::{Supposition, Told};

/// What was supposed, and what would come of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WhatIf {
    pub supposed: Vec<String>,
    pub moves: Vec<Move>,
    pub placed: Vec<Count>,
    pub ended: Vec<Count>,
    pub unplaced: Vec<Unplaced>,
}

/// An alloc that would be on another node.
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
    pub from: String,
    pub to: String,
}

/// Allocs of one group.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Count {
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub namespace: String,
    pub task_group: String,
    pub count: u32,
}

/// Allocs of one group that would wait for room.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Unplaced {
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub namespace: String,
    pub task_group: String,
    pub queued: u32,
    pub queued_before: u32,
    pub metrics: Metrics,
}

impl WhatIf {
    /// `state` is the one that it would come to.
    #[must_use]
    pub fn of(state: &State, told: &Told, supposed: &[Supposition]) -> Self {
        let moves = told.moves.iter().map(|one| {
            let (job_id, namespace) = job(state, one.job);
            Move {
                alloc_id: state.uuid(one.alloc.0).to_string(),
                name: format!("{job_id}.{}[{}]", one.group, one.ordinal),
                job_id,
                namespace,
                task_group: one.group.clone(),
                from: node_name(state, one.from),
                to: node_name(state, one.to),
            }
        });
        let unplaced = told.unplaced.iter().map(|one| {
            let (job_id, namespace) = job(state, one.job);
            Unplaced {
                job_id,
                namespace,
                task_group: one.group.clone(),
                queued: one.queued,
                queued_before: one.queued_before,
                metrics: Metrics::of_group(state, (one.job, &one.group), &one.why),
            }
        });
        Self {
            supposed: supposed.iter().map(ToString::to_string).collect(),
            moves: moves.collect(),
            placed: counts(state, &told.placed),
            ended: counts(state, &told.ended),
            unplaced: unplaced.collect(),
        }
    }
}

fn counts(state: &State, of: &BTreeMap<(JobId, String), u32>) -> Vec<Count> {
    let shown = of.iter().map(|((id, group), &count)| {
        let (job_id, namespace) = job(state, *id);
        Count { job_id, namespace, task_group: group.clone(), count }
    });
    shown.collect()
}

/// Its name and namespace.
fn job(state: &State, id: JobId) -> (String, String) {
    let spec = state.job(id).map(|job| &job.newest().spec);
    spec.map(|spec| (spec.id.clone(), spec.namespace.clone())).unwrap_or_default()
}
