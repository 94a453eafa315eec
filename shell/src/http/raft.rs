//! The consensus: who takes part, who leads, and what its operator orders.
//!
//! Invariants
//! - a server is named by its id or its address, never by both, and by an address only while one
//!   server alone has it.
use axum::extract::State;
use axum::http::StatusCode;
use drover_core::agent::ServerView;
use drover_core::api::{Heir, Order, Request};
use drover_core::types::ServerId;

use super::answer::{self, Answer, Failure};
use super::query::{Freshness, Query};
use super::write::written;
use super::{Http, Shared};
use crate::api::agent::{RaftConfiguration, server_of};
use crate::api::raft::{LeadTransferred, RaftAddress, RaftInfo};

impl Http {
    /// This server's standing; the configuration in it is at least as new as the request.
    async fn fresh_server(&self) -> Result<ServerView, Failure> {
        self.fresh(Freshness::default()).await?;
        self.view().await?.server.ok_or_else(|| Failure::broken("this agent is not a server"))
    }
}

pub(super) async fn configuration(State(http): State<Shared>, _: Query) -> Answer {
    answer::json(&RaftConfiguration::of(&http.view().await?))
}

pub(super) async fn info(State(http): State<Shared>, _: Query) -> Answer {
    let info = RaftInfo::of(&http.view().await?);
    answer::json(&info.ok_or_else(|| Failure::broken("this agent is not a server"))?)
}

pub(super) async fn remove_peer(
    State(http): State<Shared>,
    query: Query,
) -> Result<StatusCode, Failure> {
    let view = http.fresh_server().await?;
    let server = named(&query, &view)?.ok_or_else(|| {
        Failure::bad("which server is to be removed? Name it: ?id=ID or ?address=HOST:PORT")
    })?;
    http.submit(Request::Order(Order::RemoveServer { server })).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn transfer_leadership(State(http): State<Shared>, query: Query) -> Answer {
    let before = http.fresh_server().await?;
    let from = before.leader.ok_or_else(|| Failure::broken("No cluster leader"))?;
    let heir = named(&query, &before)?.map_or(Heir::AnyBut(from), Heir::Server);
    let applied = http.submit(Request::Order(Order::TransferLead { heir })).await?;
    let after = http.view().await?.server;
    let to = match heir {
        Heir::Server(heir) => heir,
        Heir::AnyBut(_) => after.and_then(|view| view.leader).unwrap_or(from),
    };
    let transferred = LeadTransferred {
        from: RaftAddress::of(from, &before),
        to: RaftAddress::of(to, &before),
        noop: from == to,
        err: None,
        index: applied.index.0,
    };
    written(applied.index, &transferred)
}

/// The server of the configuration that the query names; `None` if it names none.
fn named(query: &Query, view: &ServerView) -> Result<Option<ServerId>, Failure> {
    let members = view.configuration.members();
    match (query.text("id"), query.text("address")) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Failure::bad("name the server by its id or its address, not both"))
        }
        (Some(text), None) => {
            let found = server_of(text).filter(|id| members.contains(id));
            found.map(Some).ok_or_else(|| {
                Failure::broken(format!("id {text:?} is not in the Raft configuration"))
            })
        }
        (None, Some(text)) => {
            let has_address = |id: &ServerId| {
                view.members.iter().any(|member| member.id == *id && member.address == text)
            };
            let found: Vec<ServerId> = members.into_iter().filter(has_address).collect();
            match found[..] {
                [] => {
                    let why = format!("address {text:?} is not in the Raft configuration");
                    Err(Failure::broken(why))
                }
                [one] => Ok(Some(one)),
                [..] => {
                    let why =
                        format!("several servers have had the address {text}: name one by id");
                    Err(Failure::bad(why))
                }
            }
        }
    }
}
