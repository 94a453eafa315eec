//! Nodes: listed, shown, and whether allocs may be placed on them.
//!
//! Invariants
//! - what cannot be done to a node is refused, not pretended.
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use drover_core::api::Request;
use drover_core::state::{Change, State as Tables, TableKind};
use drover_core::types::NodeId;
use serde::Deserialize;

use super::Shared;
use super::allocs::newest;
use super::answer::{Answer, Failure};
use super::query::{self, Query};
use super::read::Seen;
use super::write::{body, written};
use crate::api::alloc::Alloc;
use crate::api::misc::NodeUpdated;
use crate::api::node::{Detail, Node, Stub};
use crate::shadow::Key;

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let detail = Detail {
        resources: query.flag("resources")?.unwrap_or(false),
        attributes: query.flag("os")?.unwrap_or(false),
    };
    let prefix = query.uuid_prefix()?;
    http.read(
        &query,
        |_| vec![Key::Table(TableKind::Nodes)],
        |state| {
            Seen::page(
                state.table_index(TableKind::Nodes),
                state.nodes_with_prefix(prefix),
                &query.page,
                |node| node.spec.id.uuid().to_string(),
                |node| Stub::of(node, detail),
            )
        },
    )
    .await
}

fn node_id(text: &str) -> Result<NodeId, Failure> {
    Ok(NodeId(query::uuid(text)?.0))
}

pub(super) async fn one(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let id = node_id(&id)?;
    let look = |state: &Tables| match state.node(id) {
        Some(node) => Seen::of(node.modify_index, Node::of(node)),
        None => Seen::missing(state.table_index(TableKind::Nodes), "node"),
    };
    http.read(&query, |_| vec![Key::Row(Change::Node(id))], look).await
}

pub(super) async fn allocations(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let id = node_id(&id)?;
    let look = |state: &Tables| {
        Seen::page(
            newest(state, state.allocs_of_node(id)),
            state.allocs_of_node(id),
            &query.page,
            |alloc| state.uuid(alloc.id.0).to_string(),
            |alloc| Alloc::of(state, alloc),
        )
    };
    http.read(&query, |_| vec![Key::AllocsOfNode(id)], look).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Eligibility {
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    #[serde(rename = "Eligibility")]
    eligibility: Option<String>,
}

pub(super) async fn eligibility(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let node = node_id(&id)?;
    let ask: Eligibility = body(&bytes)?;
    if ask.node_id.as_deref().is_some_and(|named| !named.is_empty() && named != id) {
        return Err(Failure::bad("the NodeID in the body is not the one in the path"));
    }
    let eligible = match ask.eligibility.as_deref() {
        Some("eligible") => true,
        Some("ineligible") => false,
        Some(_) | None => {
            return Err(Failure::bad("Eligibility must be \"eligible\" or \"ineligible\""));
        }
    };
    let applied = http.submit(Request::SetNodeEligible { node, eligible }).await?;
    let evals = applied.eval.map(|_| http.eval_uuid(applied)).transpose()?;
    let answer = NodeUpdated {
        eval_create_index: applied.eval.map_or(0, |_| applied.index.0),
        eval_ids: evals.map(|eval| vec![eval]),
        node_modify_index: applied.index.0,
        index: applied.index.0,
    };
    written(applied.index, &answer)
}

pub(super) async fn drain(Path(id): Path<String>, _: Query) -> Answer {
    node_id(&id)?;
    Err(Failure::new(
        StatusCode::NOT_IMPLEMENTED,
        "draining is not supported yet: mark the node ineligible and stop its allocs one by one",
    ))
}
