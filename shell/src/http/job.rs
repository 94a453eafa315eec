//! One job: everything beneath `/v1/job/`. A job's name may hold slashes, so the last word of the
//! path decides, as in Nomad.
//!
//! Invariants
//! - a purged job is not found, whatever is left of it in the tables.
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use drover_core::api::Request;
use drover_core::state::{Change, State as Tables, TableKind};
use drover_core::types::{Index, Job};
use serde::{Deserialize, Serialize};

use super::allocs::newest;
use super::answer::{Answer, Failure};
use super::query::Query;
use super::read::Seen;
use super::write::{body, written};
use super::{Http, Shared, launch, misc};
use crate::api::alloc::{Detail, Stub};
use crate::api::deployment::Deployment;
use crate::api::eval::Eval;
use crate::api::jobs::{Summary, whole};
use crate::api::misc::{Deregistered, Registered, Stability, Versions};
use crate::shadow::Key;

/// What follows a job's name in the path.
const PARTS: [&str; 15] = [
    "/plan",
    "/allocations",
    "/evaluations",
    "/summary",
    "/versions",
    "/deployments",
    "/deployment",
    "/evaluate",
    "/explain",
    "/scale",
    "/dispatch",
    "/dispatch/payload",
    "/revert",
    "/stable",
    "/periodic/force",
];

/// A job's name and what is asked of it; empty: the job itself.
fn split(rest: &str) -> (&str, &'static str) {
    let found = PARTS.into_iter().find_map(|part| {
        rest.strip_suffix(part).filter(|name| !name.is_empty()).map(|name| (name, part))
    });
    found.unwrap_or((rest, ""))
}

pub(super) async fn read(
    State(http): State<Shared>,
    Path(rest): Path<String>,
    query: Query,
) -> Answer {
    let (name, part) = split(&rest);
    let job = Named { http: &http, query: &query, name };
    match part {
        "" => {
            job.read(|_, job| job.modify_index, |state, job| whole(state, job, job.newest())).await
        }
        "/summary" => job.read(newest_of, Summary::of).await,
        "/versions" => job.versions().await,
        "/allocations" => job.allocations().await,
        "/evaluations" => job.evaluations().await,
        "/deployments" => job.deployments().await,
        "/deployment" => job.deployment().await,
        "/explain" => http.explain_job(&query, name).await,
        "/scale" => job.read(newest_of, launch::scale).await,
        "/dispatch/payload" => job.read(|_, job| job.modify_index, launch::payload).await,
        _ => Err(misc::wrong()),
    }
}

pub(super) async fn write(
    State(http): State<Shared>,
    Path(rest): Path<String>,
    query: Query,
    parts: Parts,
    bytes: Bytes,
) -> Answer {
    let (name, part) = split(&rest);
    if let "" | "/plan" = part
        && let Some(answer) = http.submit_abroad(parts, &bytes).await?
    {
        return Ok(answer);
    }
    match part {
        "" => http.register(&query, &bytes, Some(name)).await,
        "/plan" => http.plan(&query, name, &bytes).await,
        "/evaluate" => http.evaluate(&query, name).await,
        "/revert" => http.revert(&query, name, &bytes).await,
        "/stable" => http.set_stable(&query, name, &bytes).await,
        "/scale" => http.scale(&query, name, &bytes).await,
        "/dispatch" => http.dispatch(&query, name, &bytes).await,
        "/periodic/force" => http.force(&query, name).await,
        _ => Err(misc::wrong()),
    }
}

pub(super) async fn stop(
    State(http): State<Shared>,
    Path(rest): Path<String>,
    query: Query,
) -> Answer {
    let (name, part) = split(&rest);
    if !part.is_empty() {
        return Err(misc::wrong());
    }
    let purge = query.flag("purge")?.unwrap_or(false);
    let namespace = query.namespace.name().to_owned();
    let request = Request::DeregisterJob { namespace, job: name.to_owned(), purge };
    let applied = http.submit(request).await?;
    let answer = Deregistered {
        eval_id: http.eval_uuid(applied)?,
        eval_create_index: applied.index.0,
        job_modify_index: applied.index.0,
        index: applied.index.0,
        ..Deregistered::default()
    };
    written(applied.index, &answer)
}

impl Http {
    async fn evaluate(&self, query: &Query, name: &str) -> Answer {
        let namespace = query.namespace.name().to_owned();
        let request = Request::EvaluateJob { namespace, job: name.to_owned() };
        let applied = self.submit(request).await?;
        let spec_index = {
            let state = self.shadow()?.read();
            state.job_named(query.namespace.name(), name).map_or(Index(0), |job| job.spec_index)
        };
        let answer = Registered {
            eval_id: self.eval_uuid(applied)?,
            eval_create_index: applied.index.0,
            job_modify_index: spec_index.0,
            index: applied.index.0,
            ..Registered::default()
        };
        written(applied.index, &answer)
    }
}

/// A job that somebody reads about.
struct Named<'a> {
    http: &'a Http,
    query: &'a Query,
    name: &'a str,
}

impl Named<'_> {
    fn find<'s>(&self, state: &'s Tables) -> Option<&'s Job> {
        state.job_named(self.query.namespace.name(), self.name)
    }

    /// What changes when anything that is said of the job does.
    fn keys(&self, state: &Tables) -> Vec<Key> {
        match self.find(state) {
            Some(job) => vec![
                Key::Row(Change::Job(job.id)),
                Key::AllocsOfJob(job.id),
                Key::EvalsOfJob(job.id),
                Key::DeploymentsOfJob(job.id),
            ],
            None => vec![Key::Table(TableKind::Jobs)],
        }
    }

    async fn read<T: Serialize>(
        &self,
        index: impl Fn(&Tables, &Job) -> Index,
        show: impl Fn(&Tables, &Job) -> T,
    ) -> Answer {
        let look = |state: &Tables| match self.find(state) {
            Some(job) => Seen::of(index(state, job), show(state, job)),
            None => Seen::missing(state.table_index(TableKind::Jobs), "job"),
        };
        self.http.read(self.query, |state| self.keys(state), look).await
    }

    async fn versions(&self) -> Answer {
        let wants_diffs = self.query.flag("diffs")?.unwrap_or(false);
        let show = |state: &Tables, job: &Job| {
            let newest_first = job.versions.iter().rev();
            let versions: Vec<_> = newest_first.map(|version| whole(state, job, version)).collect();
            let pairs = versions.windows(2);
            let diffs = pairs.map(|pair| super::diff::jobs(Some(&pair[1]), &pair[0])).collect();
            Versions {
                versions,
                diffs: wants_diffs.then_some(diffs),
                index: job.modify_index.0,
                last_contact: 0,
                known_leader: true,
            }
        };
        self.read(|_, job| job.modify_index, show).await
    }

    async fn allocations(&self) -> Answer {
        let detail = Detail { resources: false, task_states: true };
        // Nomad lists nothing for a job that it does not know, instead of refusing.
        let look = |state: &Tables| {
            let Some(job) = self.find(state) else {
                return Seen::of(state.table_index(TableKind::Allocs), Vec::new());
            };
            Seen::page(
                newest(state, state.allocs_of_job(job.id)),
                state.allocs_of_job(job.id),
                &self.query.page,
                |alloc| state.uuid(alloc.id.0).to_string(),
                |alloc| Stub::of(state, alloc, detail),
            )
        };
        self.http.read(self.query, |state| self.keys(state), look).await
    }

    async fn evaluations(&self) -> Answer {
        let look = |state: &Tables| {
            let Some(job) = self.find(state) else {
                return Seen::of(state.table_index(TableKind::Evals), Vec::new());
            };
            let evals = || state.evals_of_job(job.id);
            let index = evals().map(|eval| eval.modify_index).max();
            Seen::page(
                index.unwrap_or_else(|| state.table_index(TableKind::Evals)),
                evals().rev(),
                &self.query.page,
                |eval| state.uuid(eval.id.0).to_string(),
                |eval| Eval::of(state, eval),
            )
        };
        self.http.read(self.query, |state| self.keys(state), look).await
    }
}

impl Named<'_> {
    async fn deployments(&self) -> Answer {
        let look = |state: &Tables| {
            let table = state.table_index(TableKind::Deployments);
            let Some(job) = self.find(state) else {
                return Seen::of(table, Vec::new());
            };
            let newest_first = state.deployments_of_job(job.id).rev();
            let index = state.deployments_of_job(job.id).map(|one| one.modify_index).max();
            Seen::page(
                index.unwrap_or(table),
                newest_first,
                &self.query.page,
                |one| state.uuid(one.id.0).to_string(),
                |one| Deployment::of(state, one),
            )
        };
        self.http.read(self.query, |state| self.keys(state), look).await
    }

    /// The newest; null where there is none.
    async fn deployment(&self) -> Answer {
        let look = |state: &Tables| {
            let table = state.table_index(TableKind::Deployments);
            let newest = self.find(state).and_then(|job| state.deployments_of_job(job.id).last());
            let index = newest.map_or(table, |newest| newest.modify_index);
            Seen::of(index, newest.map(|newest| Deployment::of(state, newest)))
        };
        self.http.read(self.query, |state| self.keys(state), look).await
    }
}

/// Which version an operator means.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionAsk {
    job_version: Option<u64>,
    enforce_prior_version: Option<u64>,
    stable: Option<bool>,
}

impl Http {
    async fn revert(&self, query: &Query, name: &str, bytes: &[u8]) -> Answer {
        let ask: VersionAsk = body(bytes)?;
        let version = ask.job_version.ok_or_else(|| Failure::bad("JobVersion must be given"))?;
        let request = Request::RevertJob {
            namespace: query.namespace.name().to_owned(),
            job: name.to_owned(),
            version,
            enforce_prior: ask.enforce_prior_version,
        };
        let applied = self.submit(request).await?;
        let answer = Registered {
            eval_id: self.eval_uuid(applied)?,
            eval_create_index: applied.index.0,
            job_modify_index: applied.index.0,
            index: applied.index.0,
            ..Registered::default()
        };
        written(applied.index, &answer)
    }

    async fn set_stable(&self, query: &Query, name: &str, bytes: &[u8]) -> Answer {
        let ask: VersionAsk = body(bytes)?;
        let version = ask.job_version.ok_or_else(|| Failure::bad("JobVersion must be given"))?;
        let request = Request::SetJobStable {
            namespace: query.namespace.name().to_owned(),
            job: name.to_owned(),
            version,
            stable: ask.stable.unwrap_or(false),
        };
        let applied = self.submit(request).await?;
        let (job_modify_index, index) = (applied.index.0, applied.index.0);
        written(applied.index, &Stability { job_modify_index, index })
    }
}

/// The last change of the job, its allocs or its evaluations.
fn newest_of(state: &Tables, job: &Job) -> Index {
    let allocs = state.allocs_of_job(job.id).map(|alloc| alloc.modify_index);
    let evals = state.evals_of_job(job.id).map(|eval| eval.modify_index);
    allocs.chain(evals).fold(job.modify_index, Index::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_slashes_is_told_from_what_is_asked_of_it() {
        for (rest, name, part) in [
            ("web", "web", ""),
            ("web/plan", "web", "/plan"),
            ("cron/periodic-17/allocations", "cron/periodic-17", "/allocations"),
            ("cron/periodic/force", "cron", "/periodic/force"),
            ("feed/dispatch-7-ab/dispatch/payload", "feed/dispatch-7-ab", "/dispatch/payload"),
            ("a/b/c", "a/b/c", ""),
            ("plan", "plan", ""),
        ] {
            assert_eq!(split(rest), (name, part), "{rest}");
        }
    }
}
