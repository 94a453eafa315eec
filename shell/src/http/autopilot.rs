//! Who is to vote, read and set; and how well the servers are.
//!
//! Invariants
//! - with `cas`, nothing is set that was set by another since;
//! - health is the leader's word: others pass the question on.
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use drover_core::api::{Rejection, Request};
use serde_json::json;

use super::Shared;
use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use super::write::{body, written};
use crate::api::autopilot::{Configuration, Health};
use crate::clock::Clock;

pub(super) async fn read(State(http): State<Shared>, query: Query) -> Answer {
    let (shadow, known_leader) = http.fresh(query.freshness).await?;
    let (index, row) = {
        let state = shadow.read();
        (state.index(), *state.autopilot())
    };
    let mut response = answer::json(&Configuration::of(&row))?;
    mark_read(&mut response, index, known_leader);
    Ok(response)
}

/// Answers whether it was set.
pub(super) async fn set(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let asked: Configuration = body(&bytes)?;
    let config = asked.converted().map_err(Failure::bad)?;
    let known = http.shadow()?.read().autopilot().modify_index;
    let check_index = query.check_index(known)?;
    match http.submit(Request::SetAutopilotConfig { config, check_index }).await {
        Ok(applied) => written(applied.index, &json!(true)),
        Err(Rejection::Conflict { index }) => written(index, &json!(false)),
        Err(other) => Err(other.into()),
    }
}

/// As Nomad has it, with the status 429 if not all are well.
pub(super) async fn health(State(http): State<Shared>, _: Query) -> Answer {
    let view = http.view().await?;
    let view = view.server.ok_or_else(|| Failure::broken("this agent is not a server"))?;
    let health = Health::of(&view, Clock::new().wall());
    let health = health.ok_or_else(|| Failure::broken("No cluster leader"))?;
    let mut response = answer::json(&health)?;
    if !health.healthy {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    Ok(response)
}
