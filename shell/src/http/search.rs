//! Looking for things by a part of their name or id.
//!
//! Invariants
//! - at most `MATCHES_MAX` of a kind are told, and it is told when there are more.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use drover_core::state::{State as Tables, UuidPrefix};
use serde::Serialize;

use super::Shared;
use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use super::write::body;
use crate::api::alloc;
use crate::api::misc::{Found, FuzzyMatch, SearchAsk};

/// Matches of one kind (Nomad's).
const MATCHES_MAX: usize = 20;
/// The shortest text that is looked for inside names (Nomad's).
const TEXT_CHARS_MIN: usize = 2;
const KINDS: [&str; 5] = ["jobs", "evals", "allocs", "nodes", "deployment"];
/// Kinds of which there is never anything.
const NEVER: [&str; 4] = ["volumes", "plugins", "scaling_policy", "namespaces"];

/// Whether `kind` is looked for.
fn wants(context: &str, kind: &str) -> bool {
    context.is_empty() || context == "all" || context == kind
}

fn check(context: &str) -> Result<(), Failure> {
    let known = wants(context, "") || KINDS.contains(&context) || NEVER.contains(&context);
    let unknown = || Failure::bad(format!("context must be one of all, {}", KINDS.join(", ")));
    if known { Ok(()) } else { Err(unknown()) }
}

/// Up to the limit, and whether there is more.
fn some<T>(mut all: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let found = all.by_ref().take(MATCHES_MAX).collect();
    (found, all.next().is_some())
}

pub(super) async fn by_prefix(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let ask: SearchAsk = body(&bytes)?;
    let (prefix, context) = (ask.prefix.unwrap_or_default(), ask.context.unwrap_or_default());
    check(&context)?;
    let (shadow, known_leader) = http.fresh(query.freshness).await?;
    let state = shadow.read();
    let mut found = BTreeMap::new();
    for kind in KINDS.into_iter().filter(|kind| wants(&context, kind)) {
        found.insert(kind, matching(&state, &query, kind, &prefix));
    }
    drop(state);
    said(found, shadow.applied().0, known_leader)
}

fn matching(state: &Tables, query: &Query, kind: &str, prefix: &str) -> (Vec<String>, bool) {
    if kind == "jobs" {
        let jobs = state.jobs().filter(|job| !job.purged).map(|job| &job.newest().spec);
        let meant = jobs
            .filter(|spec| query.namespace.holds(&spec.namespace) && spec.id.starts_with(prefix));
        return some(meant.map(|spec| spec.id.clone()));
    }
    // What is no start of an id is the start of no id.
    let Some(prefix) = UuidPrefix::parse(prefix) else { return (Vec::new(), false) };
    match kind {
        "evals" => some(state.evals_with_prefix(prefix).map(|e| state.uuid(e.id.0).to_string())),
        "allocs" => some(state.allocs_with_prefix(prefix).map(|a| state.uuid(a.id.0).to_string())),
        "deployment" => {
            some(state.deployments_with_prefix(prefix).map(|d| state.uuid(d.id.0).to_string()))
        }
        _ => some(state.nodes_with_prefix(prefix).map(|node| node.spec.id.uuid().to_string())),
    }
}

pub(super) async fn by_part(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let ask: SearchAsk = body(&bytes)?;
    let (text, context) = (ask.text.unwrap_or_default(), ask.context.unwrap_or_default());
    check(&context)?;
    let length = text.chars().count();
    if length < TEXT_CHARS_MIN {
        return Err(Failure::broken(format!(
            "fuzzy search query must be at least {TEXT_CHARS_MIN} characters, got {length}"
        )));
    }
    let (shadow, known_leader) = http.fresh(query.freshness).await?;
    let state = shadow.read();
    let mut found = BTreeMap::new();
    for kind in KINDS.into_iter().filter(|kind| wants(&context, kind)) {
        found.insert(kind, holding(&state, &query, kind, &text.to_lowercase()));
    }
    drop(state);
    said(found, shadow.applied().0, known_leader)
}

fn holding(state: &Tables, query: &Query, kind: &str, text: &str) -> (Vec<FuzzyMatch>, bool) {
    let holds = |name: &str| name.to_lowercase().contains(text);
    match kind {
        "jobs" => {
            let jobs = state.jobs().filter(|job| !job.purged).map(|job| &job.newest().spec);
            let meant =
                jobs.filter(|spec| query.namespace.holds(&spec.namespace) && holds(&spec.name));
            some(meant.map(|spec| FuzzyMatch {
                id: spec.name.clone(),
                scope: vec![spec.namespace.clone(), spec.id.clone()],
            }))
        }
        "allocs" => some(state.allocs().filter_map(|row| {
            let namespace = &alloc::group_of(state, row).1.spec.namespace;
            let id = alloc::name(state, row);
            let scope = vec![namespace.clone(), state.uuid(row.id.0).to_string()];
            let meant = query.namespace.holds(namespace) && holds(&id);
            meant.then_some(FuzzyMatch { id, scope })
        })),
        "nodes" => some(state.nodes().filter(|node| holds(&node.spec.name)).map(|node| {
            let scope = vec![node.spec.id.uuid().to_string()];
            FuzzyMatch { id: node.spec.name.clone(), scope }
        })),
        // Evaluations have no names.
        _ => (Vec::new(), false),
    }
}

fn said<T: Serialize>(
    found: BTreeMap<&'static str, (Vec<T>, bool)>,
    index: u64,
    known_leader: bool,
) -> Answer {
    let truncations = found.iter().map(|(&kind, &(_, more))| (kind, more)).collect();
    let matches = found.into_iter().map(|(kind, (list, _))| (kind, list)).collect();
    let found = Found { matches, truncations, index, last_contact: 0, known_leader };
    let mut response = answer::json(&found)?;
    mark_read(&mut response, drover_core::types::Index(index), known_leader);
    Ok(response)
}
