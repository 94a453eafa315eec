//! Nodes: listed, shown, emptied, and whether allocs may be placed on them.
//!
//! Invariants
//! - what cannot be done to a node is refused, not pretended.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use drover_core::api::Request;
use drover_core::state::{Change, State as Tables, TableKind, UuidPrefix};
use drover_core::types::{DrainDeadline, DrainSpec, Node as Row, NodeId};
use serde::Deserialize;

use super::Shared;
use super::allocs::newest;
use super::answer::{Answer, Failure};
use super::query::{self, Query};
use super::read::Seen;
use super::write::{Applied, body, written};
use crate::api::alloc::Alloc;
use crate::api::job::Ns;
use crate::api::misc::NodeUpdated;
use crate::api::node::{Detail, Node, Stub};
use crate::shadow::Key;

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let wanted = wanted(&query)?;
    let look = |state: &Tables| page(state, &query, wanted, |_| true);
    http.read(&query, |_| vec![Key::Table(TableKind::Nodes)], look).await
}

/// How much is said of a node, and of which.
type Wanted = (Detail, UuidPrefix);

pub(super) fn wanted(query: &Query) -> Result<Wanted, Failure> {
    let detail = Detail {
        resources: query.flag("resources")?.unwrap_or(false),
        attributes: query.flag("os")?.unwrap_or(false),
    };
    Ok((detail, query.uuid_prefix()?))
}

pub(super) fn page(
    state: &Tables,
    query: &Query,
    (detail, prefix): Wanted,
    is_listed: impl Fn(&Row) -> bool,
) -> Seen<Vec<Stub>> {
    Seen::page(
        state.table_index(TableKind::Nodes),
        state.nodes_with_prefix(prefix).filter(|node| is_listed(node)),
        &query.page,
        |node| node.spec.id.uuid().to_string(),
        |node| Stub::of(node, detail),
    )
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
        let mut allocs: Vec<_> = state.allocs_of_node(id).collect();
        allocs.sort_unstable_by_key(|alloc| alloc.id);
        Seen::page(
            newest(state, allocs.iter().copied()),
            allocs.into_iter(),
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
    check_names(&id, ask.node_id.as_deref())?;
    let eligible = match ask.eligibility.as_deref() {
        Some("eligible") => true,
        Some("ineligible") => false,
        Some(_) | None => {
            return Err(Failure::bad("Eligibility must be \"eligible\" or \"ineligible\""));
        }
    };
    let applied = http.submit(Request::SetNodeEligible { node, eligible }).await?;
    updated(&http, applied)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Drain {
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    /// `null`: stop draining.
    drain_spec: Option<Spec>,
    mark_eligible: bool,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Spec {
    /// Below zero: by force; zero: never by force.
    deadline: Option<Ns>,
    ignore_system_jobs: bool,
}

pub(super) async fn drain(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let node = node_id(&id)?;
    let ask: Drain = body(&bytes)?;
    check_names(&id, ask.node_id.as_deref())?;
    let spec = ask.drain_spec.map(|spec| DrainSpec {
        deadline: deadline(spec.deadline.unwrap_or_default()),
        ignore_system: spec.ignore_system_jobs,
    });
    let (mark_eligible, meta) = (ask.mark_eligible, ask.meta.unwrap_or_default());
    let request = Request::SetNodeDrain { node, spec, mark_eligible, meta };
    let applied = http.submit(request).await?;
    updated(&http, applied)
}

fn deadline(Ns(ns): Ns) -> DrainDeadline {
    match u64::try_from(ns) {
        Err(_) => DrainDeadline::Force,
        Ok(0) => DrainDeadline::Never,
        Ok(ns) => DrainDeadline::After { ms: ns.div_ceil(1_000_000) },
    }
}

fn check_names(id: &str, named: Option<&str>) -> Result<(), Failure> {
    if named.is_some_and(|named| !named.is_empty() && named != id) {
        return Err(Failure::bad("the NodeID in the body is not the one in the path"));
    }
    Ok(())
}

fn updated(http: &Shared, applied: Applied) -> Answer {
    let evals = applied.eval.map(|_| http.eval_uuid(applied)).transpose()?;
    let answer = NodeUpdated {
        eval_create_index: applied.eval.map_or(0, |_| applied.index.0),
        eval_ids: evals.map(|eval| vec![eval]),
        node_modify_index: applied.index.0,
        index: applied.index.0,
    };
    written(applied.index, &answer)
}
