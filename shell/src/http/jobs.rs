//! Jobs as a table: listed, registered, parsed and validated.
//!
//! Invariants
//! - a job that is refused here and one that is refused in a file are refused for the same reasons.
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::request::Parts;
use drover_core::api::{Rejection, Request};
use drover_core::state::{State as Tables, TableKind};
use drover_core::types::{Index, Job as Row, JobSpec};
use serde::Deserialize;

use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::read::Seen;
use super::write::{body, written};
use super::{Http, Shared};
use crate::api::job::Job;
use crate::api::jobs::Stub;
use crate::api::misc::{Registered, Validated};
use crate::api::warnings::warnings;
use crate::jobspec::{self, Folder, Inputs, Problem, Source};
use crate::shadow::Key;

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let look = |state: &Tables| page(state, &query, |_| true);
    http.read(&query, |_| TABLES.map(Key::Table).to_vec(), look).await
}

/// What a list of jobs is made from.
pub(super) const TABLES: [TableKind; 3] = [TableKind::Jobs, TableKind::Allocs, TableKind::Evals];

pub(super) fn page(
    state: &Tables,
    query: &Query,
    is_listed: impl Fn(&Row) -> bool,
) -> Seen<Vec<Stub>> {
    let index = TABLES.map(|kind| state.table_index(kind)).into_iter().max();
    let is_meant = |job: &&Row| {
        let spec = &job.newest().spec;
        query.namespace.holds(&spec.namespace) && spec.id.starts_with(&query.prefix)
    };
    let listed = state.jobs().filter(|job| !job.purged && is_listed(job));
    let mut jobs: Vec<_> = listed.filter(is_meant).collect();
    jobs.sort_by(|a, b| name(a).cmp(&name(b)));
    Seen::page(
        index.unwrap_or_default(),
        jobs.into_iter(),
        &query.page,
        |job| job.newest().spec.id.clone(),
        |job| Stub::of(state, job),
    )
}

fn name(job: &Row) -> (&str, &str) {
    let spec = &job.newest().spec;
    (&spec.namespace, &spec.id)
}

/// What stands beside the job in a registration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Registration {
    enforce_index: Option<bool>,
    job_modify_index: Option<u64>,
}

pub(super) async fn register(
    State(http): State<Shared>,
    query: Query,
    parts: Parts,
    bytes: Bytes,
) -> Answer {
    match http.submit_abroad(parts, &bytes).await? {
        Some(answer) => Ok(answer),
        None => http.register(&query, &bytes, None).await,
    }
}

impl Http {
    /// Register the job in `bytes`, which must be `named`, if that is given.
    pub(super) async fn register(
        &self,
        query: &Query,
        bytes: &[u8],
        named: Option<&str>,
    ) -> Answer {
        let written_job = decode(bytes)?;
        let options: Registration = body(bytes)?;
        let spec = self.spec(query, &written_job)?;
        if named.is_some_and(|name| name != spec.id) {
            return Err(Failure::bad("Job ID does not match"));
        }
        let enforced = options.enforce_index.unwrap_or(false);
        let check_index = enforced.then(|| Index(options.job_modify_index.unwrap_or(0)));
        let (namespace, name) = (spec.namespace.clone(), spec.id.clone());
        let spec = Arc::new(spec);
        let request = Request::RegisterJob { spec: Arc::clone(&spec), check_index };
        let applied = self.submit(request).await.map_err(|why| refusal(why, check_index))?;
        let (spec_index, warnings) = {
            let state = self.shadow()?.read();
            let job = state.job_named(&namespace, &name);
            (job.map_or(applied.index, |job| job.spec_index), warnings(&state, &spec))
        };
        let answer = Registered {
            eval_id: self.eval_uuid(applied)?,
            eval_create_index: applied.index.0,
            job_modify_index: spec_index.0,
            warnings,
            index: applied.index.0,
            ..Registered::default()
        };
        written(applied.index, &answer)
    }

    /// The checked specification of `job`, in the namespace and region that the query names where
    /// the job names none.
    pub(super) fn spec(&self, query: &Query, job: &Job) -> Result<JobSpec, Failure> {
        let mut job = job.clone();
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if !is_given(&job.namespace) {
            job.namespace = Some(query.namespace.name().to_owned());
        }
        if !is_given(&job.region) || job.region.as_deref() == Some("global") {
            job.region = Some(self.api.me.region.clone());
        }
        let spec = jobspec::from_api(&job).map_err(|problems| Failure::bad(told(&problems)))?;
        if spec.region != self.api.me.region {
            let (own, of_job) = (&self.api.me.region, &spec.region);
            return Err(Failure::bad(format!(
                "the job is of region {of_job:?}, and region {own:?} was asked: leave out one of them"
            )));
        }
        Ok(spec)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Job, Failure> {
    if bytes.trim_ascii().is_empty() {
        return Err(Failure::bad("Job must be specified"));
    }
    Job::decode(bytes).map_err(Failure::bad)
}

/// Nomad's words for a job that is not what the caller believed it to be.
fn refusal(rejection: Rejection, check_index: Option<Index>) -> Failure {
    match (rejection, check_index) {
        (Rejection::Conflict { index }, Some(asked)) => {
            let what = match (asked.0, index.0) {
                (0, _) => "job already exists".to_owned(),
                (_, 0) => "job does not exist".to_owned(),
                (_, found) => {
                    format!("job exists with conflicting job modify index: {found}")
                }
            };
            Failure::broken(format!("Enforcing job modify index {}: {what}", asked.0))
        }
        (rejection, _) => rejection.into(),
    }
}

fn told(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| match problem.field.as_str() {
            "" => problem.why.clone(),
            _ => problem.to_string(),
        })
        .collect();
    lines.join("; ")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ParseAsk {
    #[serde(rename = "JobHCL")]
    job_hcl: Option<String>,
    #[serde(rename = "Canonicalize")]
    canonicalize: Option<bool>,
    /// Values for `variable` blocks, as a file of them would hold.
    #[serde(rename = "Variables")]
    variables: Option<String>,
}

pub(super) async fn parse(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let ask: ParseAsk = body(&bytes)?;
    let text = ask.job_hcl.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Failure::bad("Job spec is empty"))?;
    let mut inputs = Inputs { folder: Folder::Closed, ..Inputs::default() };
    if let Some(text) = ask.variables {
        inputs.files.push(Source { file: "input.vars".to_owned(), text });
    }
    let source = Source { file: "input.hcl".to_owned(), text };
    // A file may cost a second of work, which is not for a thread that serves others.
    let parsed = tokio::task::spawn_blocking(move || jobspec::parse(&source, &inputs)).await;
    let file = parsed
        .map_err(|why| Failure::broken(format!("the job file could not be evaluated: {why}")))?
        .map_err(|wrong| Failure::bad(wrong.to_string().trim_end().to_owned()))?;
    if ask.canonicalize.unwrap_or(false) {
        let spec = http.spec(&query, &file.written)?;
        return answer::json(&Job::of(&spec, &crate::api::job::Row::default()));
    }
    answer::json(&file.written)
}

pub(super) async fn validate(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let job = decode(&bytes)?;
    let spec = http.spec(&query, &job);
    let warnings = match (&spec, http.shadow()) {
        (Ok(spec), Ok(shadow)) => warnings(&shadow.read(), spec),
        (Err(_), _) | (_, Err(_)) => String::new(),
    };
    let wrong = spec.err().map(|failure| failure.why);
    answer::json(&Validated {
        driver_config_validated: true,
        validation_errors: wrong.as_ref().map(|why| vec![why.clone()]),
        error: wrong.unwrap_or_default(),
        warnings,
    })
}
