//! Deployments: listed, shown, steered.
//!
//! Invariants
//! - a deployment is steered by its whole id.
use axum::body::Bytes;
use axum::extract::{Path, State};
use drover_core::api::Request;
use drover_core::state::{Change, State as Tables, TableKind};
use drover_core::types::{AllocId, Allocation, Deployment as Row, DeploymentId, DeploymentStatus};
use serde::Deserialize;

use super::allocs::newest;
use super::answer::{Answer, Failure};
use super::query::{self, Query};
use super::read::Seen;
use super::write::{body, written};
use super::{Http, Shared};
use crate::api::alloc::{Detail, Stub};
use crate::api::deployment::Deployment;
use crate::api::misc::DeploymentUpdated;
use crate::shadow::Key;

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let prefix = query.uuid_prefix()?;
    http.read(
        &query,
        |_| vec![Key::Table(TableKind::Deployments)],
        |state| {
            let rows: Box<dyn Iterator<Item = &Row>> = match query.prefix.as_str() {
                "" => Box::new(state.deployments().rev()),
                _ => Box::new(state.deployments_with_prefix(prefix)),
            };
            Seen::page(
                state.table_index(TableKind::Deployments),
                rows.filter(|row| query.namespace.holds(namespace_of(state, row))),
                &query.page,
                |row| state.uuid(row.id.0).to_string(),
                |row| Deployment::of(state, row),
            )
        },
    )
    .await
}

fn namespace_of<'a>(state: &'a Tables, deployment: &Row) -> &'a str {
    state.job(deployment.job).map_or("", |job| &job.newest().spec.namespace)
}

pub(super) async fn one(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let uuid = query::uuid(&id)?;
    let keys = |state: &Tables| match state.deployment_by_uuid(uuid) {
        Some(row) => vec![Key::Row(Change::Deployment(row.id))],
        None => vec![Key::Table(TableKind::Deployments)],
    };
    let look = |state: &Tables| match state.deployment_by_uuid(uuid) {
        Some(row) => Seen::of(row.modify_index, Deployment::of(state, row)),
        None => Seen::missing(state.table_index(TableKind::Deployments), "deployment"),
    };
    http.read(&query, keys, look).await
}

pub(super) async fn allocations(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let uuid = query::uuid(&id)?;
    let detail = Detail { resources: false, task_states: true };
    let keys = |state: &Tables| match state.deployment_by_uuid(uuid) {
        Some(row) => vec![Key::AllocsOfJob(row.job)],
        None => vec![Key::Table(TableKind::Deployments)],
    };
    let look = |state: &Tables| {
        let Some(row) = state.deployment_by_uuid(uuid) else {
            return Seen::of(state.table_index(TableKind::Deployments), Vec::new());
        };
        let is_ours = |alloc: &&Allocation| alloc.deployment == Some(row.id);
        let ours = || state.allocs_of_job(row.job).filter(is_ours);
        Seen::page(
            newest(state, ours()),
            ours(),
            &query.page,
            |alloc| state.uuid(alloc.id.0).to_string(),
            |alloc| Stub::of(state, alloc, detail),
        )
    };
    http.read(&query, keys, look).await
}

/// What is wanted of a deployment.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ask {
    all: Option<bool>,
    groups: Option<Vec<String>>,
    pause: Option<bool>,
    #[serde(rename = "HealthyAllocationIDs")]
    healthy: Option<Vec<String>>,
    #[serde(rename = "UnhealthyAllocationIDs")]
    unhealthy: Option<Vec<String>>,
}

pub(super) async fn promote(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let ask: Ask = body(&bytes)?;
    let groups = ask.groups.unwrap_or_default();
    if ask.all != Some(true) && groups.is_empty() {
        return Err(Failure::bad("say All, or name Groups to promote"));
    }
    let groups = if ask.all == Some(true) { Vec::new() } else { groups };
    http.steer(&id, |deployment| Request::PromoteDeployment { deployment, groups }).await
}

pub(super) async fn pause(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let ask: Ask = body(&bytes)?;
    let pause = ask.pause.unwrap_or(false);
    http.steer(&id, |deployment| Request::PauseDeployment { deployment, pause }).await
}

pub(super) async fn fail(State(http): State<Shared>, Path(id): Path<String>, _: Query) -> Answer {
    http.steer(&id, |deployment| Request::FailDeployment { deployment }).await
}

/// Only deployments of several regions wait for each other.
pub(super) async fn unblock(Path(id): Path<String>, _: Query) -> Answer {
    query::uuid(&id)?;
    Err(Failure::bad("can't unblock a deployment that is not blocked: it is of one region"))
}

pub(super) async fn set_health(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let ask: Ask = body(&bytes)?;
    let ids = |list: Option<Vec<String>>| -> Result<Vec<AllocId>, Failure> {
        list.unwrap_or_default().iter().map(|text| http.alloc_id(text)).collect()
    };
    let (healthy, unhealthy) = (ids(ask.healthy)?, ids(ask.unhealthy)?);
    http.steer(&id, |deployment| Request::SetAllocHealth { deployment, healthy, unhealthy }).await
}

impl Http {
    async fn steer(&self, id: &str, ask: impl FnOnce(DeploymentId) -> Request) -> Answer {
        let uuid = query::uuid(id)?;
        let key = self.shadow()?.read().uuid_key();
        let object = uuid.object(key).ok_or_else(|| Failure::missing("deployment"))?;
        let deployment = DeploymentId(object);
        let applied = self.submit(ask(deployment)).await?;
        let reverted = {
            let state = self.shadow()?.read();
            let known = state.deployment(deployment);
            known.filter(|row| row.status == DeploymentStatus::Failed).and_then(|row| {
                let newest = state.job(row.job)?.newest();
                let is_new = row.version < newest.version && newest.create_index == applied.index;
                is_new.then_some(newest.version)
            })
        };
        let answer = DeploymentUpdated {
            eval_id: self.eval_uuid(applied)?,
            eval_create_index: applied.index.0,
            deployment_modify_index: applied.index.0,
            reverted_job_version: reverted,
            index: applied.index.0,
        };
        written(applied.index, &answer)
    }
}
