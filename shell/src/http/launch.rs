//! Children on demand, and other counts: `dispatch`, `periodic/force` and `scale`.
//!
//! Invariants
//! - who is told of a child can look it up here by the name that was told.
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use drover_core::api::Request;
use drover_core::state::State as Tables;
use drover_core::types::{Job, ScalingEvent};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::Http;
use super::answer::{Answer, Failure};
use super::query::Query;
use super::write::{Applied, body, written};
use crate::api::jobs::Summary;
use crate::api::time::unix_ns;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DispatchAsk {
    payload: Option<String>,
    meta: Option<BTreeMap<String, String>>,
    id_prefix_template: Option<String>,
    #[serde(alias = "idempotency_token")]
    idempotency_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ScaleAsk {
    count: Option<i64>,
    target: Option<BTreeMap<String, String>>,
    message: Option<String>,
    error: Option<bool>,
    meta: Json,
}

impl Http {
    pub(super) async fn dispatch(&self, query: &Query, name: &str, bytes: &[u8]) -> Answer {
        let ask: DispatchAsk = body(bytes)?;
        let payload = ask.payload.unwrap_or_default();
        let payload = BASE64.decode(payload.trim()).map_err(|why| {
            Failure::bad(format!("Payload: it must be written in base64, and is not: {why}"))
        })?;
        let token = query.text("idempotency_token").map(str::to_owned).or(ask.idempotency_token);
        let request = Request::DispatchJob {
            namespace: query.namespace.name().to_owned(),
            job: name.to_owned(),
            payload: payload.into(),
            meta: ask.meta.unwrap_or_default(),
            id_prefix: ask.id_prefix_template.unwrap_or_default(),
            token: token.unwrap_or_default(),
        };
        let applied = self.submit(request).await?;
        let (child, create_index) = self.child(applied)?;
        let answer = json!({
            "DispatchedJobID": child,
            "EvalID": self.eval_uuid(applied)?,
            "EvalCreateIndex": applied.index.0,
            "JobCreateIndex": create_index,
            "Index": applied.index.0,
        });
        written(applied.index, &answer)
    }

    pub(super) async fn force(&self, query: &Query, name: &str) -> Answer {
        let namespace = query.namespace.name().to_owned();
        let request = Request::ForcePeriodic { namespace, job: name.to_owned() };
        let applied = self.submit(request).await?;
        let (child, _) = self.child(applied)?;
        let answer = json!({
            "EvalID": self.eval_uuid(applied)?,
            "EvalCreateIndex": applied.index.0,
            "LaunchedJobID": child,
            "Index": applied.index.0,
        });
        written(applied.index, &answer)
    }

    /// The name of the child that a write made or found, and the entry that made it.
    fn child(&self, applied: Applied) -> Result<(String, u64), Failure> {
        let state = self.shadow()?.read();
        let job = applied.job.and_then(|id| state.job(id));
        let job =
            job.ok_or_else(|| Failure::missing("the job that was made is gone already: it"))?;
        Ok((job.newest().spec.id.clone(), job.create_index.0))
    }

    pub(super) async fn scale(&self, query: &Query, name: &str, bytes: &[u8]) -> Answer {
        let ask: ScaleAsk = body(bytes)?;
        let target = ask.target.unwrap_or_default();
        let group = target.get("Group").filter(|group| !group.is_empty());
        let group = group.ok_or_else(|| {
            Failure::bad("Target: name the group, as in {\"Target\": {\"Group\": \"web\"}}")
        })?;
        let too_odd = |count| Failure::bad(format!("Count: {count} is no count of allocs"));
        let count = ask.count.map(|count| u32::try_from(count).map_err(|_| too_odd(count)));
        let request = Request::ScaleJob {
            namespace: query.namespace.name().to_owned(),
            job: name.to_owned(),
            group: group.clone(),
            count: count.transpose()?,
            message: ask.message.unwrap_or_default(),
            error: ask.error.unwrap_or(false),
            meta_json: if ask.meta.is_null() { String::new() } else { ask.meta.to_string() },
        };
        let applied = self.submit(request).await?;
        let spec_index = {
            let state = self.shadow()?.read();
            let job = state.job_named(query.namespace.name(), name);
            job.map_or(applied.index, |job| job.spec_index)
        };
        let has_eval = applied.eval.is_some();
        let answer = json!({
            "EvalID": self.eval_uuid(applied)?,
            "EvalCreateIndex": if has_eval { applied.index.0 } else { 0 },
            "JobModifyIndex": spec_index.0,
            "Warnings": "",
            "Index": applied.index.0,
        });
        written(applied.index, &answer)
    }
}

/// How the groups of a job are scaled, and what changed that.
pub(super) fn scale(state: &Tables, job: &Job) -> Json {
    let summary = Summary::of(state, job).summary;
    let groups: Map<String, Json> = job
        .newest()
        .spec
        .groups
        .iter()
        .map(|group| {
            let counts = summary.get(&group.name).copied().unwrap_or_default();
            let events = job.lineage.scaling_events.get(&group.name);
            let newest_first = events.into_iter().flatten().rev();
            let events: Vec<Json> = newest_first.map(|one| event(state, one)).collect();
            let shown = json!({
                "Desired": group.count,
                "Placed": counts.starting + counts.running,
                "Running": counts.running,
                "Healthy": counts.running,
                "Unhealthy": 0,
                "Events": if events.is_empty() { Json::Null } else { events.into() },
            });
            (group.name.clone(), shown)
        })
        .collect();
    json!({
        "JobID": job.newest().spec.id,
        "Namespace": job.newest().spec.namespace,
        "JobCreateIndex": job.create_index.0,
        "JobModifyIndex": job.spec_index.0,
        "JobStopped": job.stopped,
        "TaskGroups": groups,
    })
}

fn event(state: &Tables, event: &ScalingEvent) -> Json {
    let meta: Json = serde_json::from_str(&event.meta_json).unwrap_or(Json::Null);
    json!({
        "Time": unix_ns(event.at),
        "Count": event.count,
        "PreviousCount": event.previous_count,
        "Message": event.message,
        "Error": event.error,
        "Meta": meta,
        "EvalID": event.eval.map(|id| state.uuid(id.0).to_string()),
    })
}

/// What a child was dispatched with, in base64.
pub(super) fn payload(_: &Tables, job: &Job) -> Json {
    let payload = job.lineage.child.as_ref().and_then(|child| child.payload());
    json!({ "Payload": payload.map(|bytes| BASE64.encode(bytes)).unwrap_or_default() })
}
