//! What operators say of a node while it runs: read, and said.
//!
//! Invariants
//! - what is answered as done is on the node's disk; the servers hear of it at once, and the answer does
//!   not wait for them.
use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use drover_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer, Failure};
use super::query::{self, Query};
use super::write::body;
use super::{BODY_BYTES_MAX, Http, Shared};
use crate::node::{Changes, OwnNode, Refused, Told};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    /// Nomad's clients name the node here, and not in the query.
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    #[serde(rename = "Meta")]
    meta: Option<Changes>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    /// As constraints see it.
    meta: BTreeMap<String, String>,
    /// `null`: said not to be there.
    dynamic: Changes,
    r#static: BTreeMap<String, String>,
}

impl Metadata {
    fn of(told: Told) -> Self {
        Self { meta: told.all, dynamic: told.dynamic, r#static: told.configured }
    }
}

pub(super) async fn read(State(http): State<Shared>, _: Query) -> Answer {
    let node = http.own_node()?;
    // What is being said at the moment is waited for, and with it the disk.
    let told = tokio::task::spawn_blocking(move || node.metadata()).await;
    answer::json(&Metadata::of(told.map_err(|why| Failure::broken(why.to_string()))?))
}

pub(super) async fn apply(State(http): State<Shared>, _: Query, request: Request) -> Answer {
    let (parts, content) = request.into_parts();
    let bytes = axum::body::to_bytes(content, BODY_BYTES_MAX).await;
    let bytes = bytes
        .map_err(|why| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: {why}")))?;
    let ask: Ask = body(&bytes)?;
    if let Some(id) = ask.node_id.filter(|id| !id.is_empty()) {
        let request = Request::from_parts(parts, Body::from(bytes));
        if let Some(answer) = http.ask_node(NodeId(query::uuid(&id)?.0), request).await? {
            return Ok(answer);
        }
    }
    let (node, changes) = (http.own_node()?, ask.meta.unwrap_or_default());
    let said = tokio::task::spawn_blocking(move || node.apply_metadata(changes)).await;
    let told = said.map_err(|why| Failure::broken(why.to_string()))?;
    let told = told.map_err(|refused| match refused {
        Refused::Invalid(why) => Failure::bad(why),
        Refused::NotKept(why) => Failure::broken(why),
    })?;
    answer::json(&Metadata::of(told))
}

impl Http {
    fn own_node(&self) -> Result<OwnNode, Failure> {
        self.api.node.clone().ok_or_else(|| {
            Failure::bad("the agent that was asked is not a client: name a node with node_id")
        })
    }
}
