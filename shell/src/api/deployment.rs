//! Deployments.
//!
//! Invariants
//! - a list of canaries is null where there are none, as Nomad has it.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{
    AllocId, Deployment as Stored, DeploymentGroup as StoredGroup, DeploymentStatus,
};
use serde::Serialize;

use super::time::{duration_ns, rfc3339};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deployment {
    #[serde(rename = "ID")]
    pub id: String,
    pub namespace: String,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub job_version: u64,
    pub job_modify_index: u64,
    pub job_spec_modify_index: u64,
    pub job_create_index: u64,
    pub is_multiregion: bool,
    pub task_groups: BTreeMap<String, Group>,
    pub status: &'static str,
    pub status_description: String,
    pub create_index: u64,
    pub modify_index: u64,
    pub create_time: i64,
    pub modify_time: i64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    pub auto_revert: bool,
    pub auto_promote: bool,
    pub progress_deadline: i64,
    pub require_progress_by: String,
    pub promoted: bool,
    pub placed_canaries: Option<Vec<String>>,
    pub desired_canaries: u32,
    pub desired_total: u32,
    pub placed_allocs: u32,
    pub healthy_allocs: u32,
    pub unhealthy_allocs: u32,
}

impl Deployment {
    #[must_use]
    pub fn of(state: &State, deployment: &Stored) -> Self {
        let job = state.job(deployment.job).expect("invariant: a deployment's job exists");
        let spec = &job.newest().spec;
        let made = job
            .version(deployment.version)
            .map_or(deployment.create_index, |version| version.create_index);
        let groups = deployment.groups.iter();
        Self {
            id: state.uuid(deployment.id.0).to_string(),
            namespace: spec.namespace.clone(),
            job_id: spec.id.clone(),
            job_version: deployment.version,
            job_modify_index: made.0,
            job_spec_modify_index: made.0,
            job_create_index: job.create_index.0,
            is_multiregion: false,
            task_groups: groups
                .map(|(name, group)| (name.clone(), Group::of(state, group)))
                .collect(),
            status: status(deployment.status),
            status_description: deployment.status_description.clone(),
            create_index: deployment.create_index.0,
            modify_index: deployment.modify_index.0,
            create_time: super::time::unix_ns(deployment.create_time),
            modify_time: super::time::unix_ns(deployment.modify_time),
        }
    }
}

impl Group {
    fn of(state: &State, group: &StoredGroup) -> Self {
        let canaries = group.placed_canaries.iter();
        let canaries: Vec<_> = canaries.map(|&AllocId(id)| state.uuid(id).to_string()).collect();
        Self {
            auto_revert: group.auto_revert,
            auto_promote: group.auto_promote,
            progress_deadline: duration_ns(group.progress_deadline_ms),
            require_progress_by: rfc3339(group.require_progress_by),
            promoted: group.promoted,
            placed_canaries: (!canaries.is_empty()).then_some(canaries),
            desired_canaries: group.desired_canaries,
            desired_total: group.desired_total,
            placed_allocs: group.placed,
            healthy_allocs: group.healthy,
            unhealthy_allocs: group.unhealthy,
        }
    }
}

/// The word for a status.
#[must_use]
pub const fn status(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Running => "running",
        DeploymentStatus::Paused => "paused",
        DeploymentStatus::Successful => "successful",
        DeploymentStatus::Failed => "failed",
        DeploymentStatus::Cancelled => "cancelled",
    }
}
