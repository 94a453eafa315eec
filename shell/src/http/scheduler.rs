//! How the servers schedule: read and set.
//!
//! Invariants
//! - with `cas`, nothing is set that was set by another since.
use axum::body::Bytes;
use axum::extract::State;
use drover_core::api::{Rejection, Request};
use serde_json::json;

use super::Shared;
use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use super::write::{body, written};
use crate::api::scheduler::Configuration;

pub(super) async fn read(State(http): State<Shared>, query: Query) -> Answer {
    let (shadow, known_leader) = http.fresh(query.freshness).await?;
    let (index, row) = {
        let state = shadow.read();
        (state.index(), *state.scheduler())
    };
    let mut response = answer::json(&json!({
        "SchedulerConfig": Configuration::of(&row),
        "Index": row.modify_index.0.max(1),
        "LastContact": 0,
        "KnownLeader": known_leader,
    }))?;
    mark_read(&mut response, index, known_leader);
    Ok(response)
}

pub(super) async fn set(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let asked: Configuration = body(&bytes)?;
    let config = asked.converted().map_err(Failure::bad)?;
    let known = http.shadow()?.read().scheduler().modify_index;
    let check_index = query.check_index(known)?;
    match http.submit(Request::SetSchedulerConfig { config, check_index }).await {
        Ok(applied) => {
            written(applied.index, &json!({ "Updated": true, "Index": applied.index.0 }))
        }
        Err(Rejection::Conflict { index }) => {
            written(index, &json!({ "Updated": false, "Index": index.0 }))
        }
        Err(other) => Err(other.into()),
    }
}
