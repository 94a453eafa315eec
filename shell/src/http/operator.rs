//! The cluster: who leads, who votes, and what its operator may set.
//!
//! Invariants
//! - an address that is not known is an empty text, never a guess.
use axum::extract::State;
use axum::http::StatusCode;
use drover_core::agent::View;
use drover_core::api::Request;

use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::{Http, Shared};
use crate::api::agent::RaftConfiguration;

impl Http {
    pub(super) async fn view(&self) -> Result<View, Failure> {
        let view = self.api.core.view().await;
        view.ok_or_else(|| Failure::broken("the agent is shutting down"))
    }
}

/// Where the leader is dialled; empty while none is known.
pub(super) fn leader_address(view: &View) -> String {
    let Some(server) = &view.server else { return String::new() };
    let leader = server.members.iter().find(|member| Some(member.id) == server.leader);
    leader.map(|member| member.address.clone()).unwrap_or_default()
}

pub(super) async fn leader(State(http): State<Shared>, _: Query) -> Answer {
    let address = leader_address(&http.view().await?);
    if address.is_empty() {
        return Err(Failure::broken("No cluster leader"));
    }
    answer::json(&address)
}

pub(super) async fn peers(State(http): State<Shared>, _: Query) -> Answer {
    let servers = RaftConfiguration::of(&http.view().await?).servers;
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    answer::json(&addresses)
}

pub(super) async fn collect(State(http): State<Shared>, _: Query) -> Result<StatusCode, Failure> {
    http.submit(Request::CollectGarbage).await?;
    Ok(StatusCode::OK)
}
