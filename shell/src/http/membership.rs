//! Which servers there are, as operators change it: who is met, and who is not expected back.
//!
//! Invariants
//! - nobody who lives is forced out;
//! - whoever names a server that is not known is told who is.
use axum::extract::State;
use axum::http::StatusCode;
use drover_core::agent::ServerView;
use drover_core::api::{Order, Request};
use drover_core::gossip::{Member, Status};
use drover_core::wire::PeerId;
use serde_json::json;

use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::{Http, Shared};
use crate::api::agent::full_name;
use crate::config;

impl Http {
    async fn own_server(&self) -> Result<ServerView, Failure> {
        let why = "this agent is not a server: ask one, with -address=http://SERVER:4646";
        self.view().await?.server.ok_or_else(|| Failure::bad(why))
    }
}

pub(super) async fn join(State(http): State<Shared>, query: Query) -> Answer {
    http.own_server().await?;
    let joins = http.api.joins.as_ref().ok_or_else(|| Failure::broken("nobody can be dialled"))?;
    let (mut joined, mut faults) = (0, Vec::new());
    for text in query.all("address") {
        let Some(address) = config::host_port(text, joins.port) else {
            faults.push(format!("\"{text}\" is no address: write HOST or HOST:PORT"));
            continue;
        };
        match joins.transport.reach(&address).await {
            Ok(PeerId::Server(_) | PeerId::Foreign(_)) => joined += 1,
            Ok(PeerId::Client(_)) => {
                joins.transport.forget(&address);
                faults.push(format!("{address}: a client answers there, not a server"));
            }
            Err(why) => faults.push(format!("{address}: {why}")),
        }
    }
    if joined == 0 && faults.is_empty() {
        return Err(Failure::bad("which server is to be joined? Name it: ?address=HOST:PORT"));
    }
    answer::json(&json!({ "num_joined": joined, "error": faults.join("; ") }))
}

pub(super) async fn force_leave(
    State(http): State<Shared>,
    query: Query,
) -> Result<StatusCode, Failure> {
    let view = http.own_server().await?;
    let prune = query.has("prune") && query.flag("prune")?.unwrap_or(true);
    let named = query
        .text("node")
        .ok_or_else(|| Failure::bad("which server is to be forced out? Name it: ?node=NAME"))?;
    let member = find(named, &view)?;
    // Whoever is forgotten leaves no trace by which the leader could see that it should not vote.
    if prune && view.configuration.is_member(member.id) && is_gone(member) {
        http.submit(Request::Order(Order::RemoveServer { server: member.id })).await?;
    }
    http.ask(Request::ForceOut { server: member.id, prune }).await?;
    Ok(StatusCode::OK)
}

/// Whether nobody answers there, as far as is known.
pub(super) const fn is_gone(member: &Member) -> bool {
    matches!(member.status, Status::Failed | Status::Left)
}

/// The member called `name`, with or without its region. Of several that were called so, whoever is gone
/// is meant.
fn find<'a>(name: &str, view: &'a ServerView) -> Result<&'a Member, Failure> {
    let is_named = |member: &&Member| member.name == name || full_name(member) == name;
    let named = || view.members.iter().chain(&view.foreigners).filter(is_named);
    let found = named().find(|member| is_gone(member)).or_else(|| named().next());
    found.ok_or_else(|| {
        let known = view.members.iter().chain(&view.foreigners);
        let known: Vec<String> = known.map(full_name).collect();
        let why = format!("no server is called {name:?}; known are {}", known.join(", "));
        Failure::new(StatusCode::NOT_FOUND, why)
    })
}
