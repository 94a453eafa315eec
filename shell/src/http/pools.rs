//! Node pools: listed, shown with what is in them, made and deleted.
//!
//! Invariants
//! - what is built in is listed and shown like what was made;
//! - a list of what is in a pool that does not exist is not empty but not found.
use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{Path, State};
use drover_core::api::Request;
use drover_core::state::{State as Tables, TableKind};
use drover_core::types::{NodePool, PoolName};

use super::answer::{self, Answer, Failure, set_index};
use super::query::Query;
use super::read::Seen;
use super::write::body;
use super::{Http, Shared, jobs, nodes};
use crate::api::pool::Pool;
use crate::shadow::Key;

const WHAT: &str = "node pool";
const KEY: Key = Key::Table(TableKind::Pools);

fn found<'a>(state: &'a Tables, name: &str) -> Option<Cow<'a, NodePool>> {
    let made = state.made_pool(name).map(Cow::Borrowed);
    made.or_else(|| NodePool::built_in(name).map(Cow::Owned))
}

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let look = |state: &Tables| {
        let built_in =
            [PoolName::ALL, PoolName::DEFAULT].into_iter().filter_map(NodePool::built_in);
        let mut pools: Vec<Cow<'_, NodePool>> = built_in.map(Cow::Owned).collect();
        pools.extend(state.made_pools().map(Cow::Borrowed));
        pools.retain(|pool| pool.spec.name.as_str().starts_with(&query.prefix));
        pools.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        Seen::page(
            state.table_index(TableKind::Pools),
            pools.into_iter(),
            &query.page,
            |pool| pool.spec.name.to_string(),
            |pool| Pool::of(&pool),
        )
    };
    http.read(&query, |_| vec![KEY], look).await
}

pub(super) async fn one(
    State(http): State<Shared>,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    let look = |state: &Tables| match found(state, &name) {
        Some(pool) => Seen::of(pool.modify_index, Pool::of(&pool)),
        None => Seen::missing(state.table_index(TableKind::Pools), WHAT),
    };
    http.read(&query, |_| vec![KEY], look).await
}

/// The nodes in the pool; in `all` are all of them.
pub(super) async fn nodes(
    State(http): State<Shared>,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    let pool = PoolName::of(&name);
    let wanted = nodes::wanted(&query)?;
    let look = |state: &Tables| {
        if !state.has_pool(&pool) {
            return Seen::missing(state.table_index(TableKind::Pools), WHAT);
        }
        nodes::page(state, &query, wanted, |node| pool.covers(&node.spec.pool))
    };
    let keys = [KEY, Key::Table(TableKind::Nodes)];
    http.read(&query, |_| keys.to_vec(), look).await
}

/// The jobs that name the pool.
pub(super) async fn jobs(
    State(http): State<Shared>,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    let pool = PoolName::of(&name);
    let look = |state: &Tables| {
        if !state.has_pool(&pool) {
            return Seen::missing(state.table_index(TableKind::Pools), WHAT);
        }
        jobs::page(state, &query, |job| job.newest().spec.node_pool == pool)
    };
    let keys = || jobs::TABLES.map(Key::Table).into_iter().chain([KEY]).collect();
    http.read(&query, |_| keys(), look).await
}

/// The name stands in the body alone.
pub(super) async fn apply(State(http): State<Shared>, _: Query, bytes: Bytes) -> Answer {
    http.apply(body(&bytes)?).await
}

pub(super) async fn apply_named(
    State(http): State<Shared>,
    Path(name): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let mut pool: Pool = body(&bytes)?;
    if pool.name.is_empty() {
        pool.name.clone_from(&name);
    }
    if pool.name != name {
        return Err(Failure::bad("Name: the one in the body is not the one in the path"));
    }
    http.apply(pool).await
}

pub(super) async fn delete(
    State(http): State<Shared>,
    Path(name): Path<String>,
    _: Query,
) -> Answer {
    http.write_pool(Request::DeleteNodePool { pool: PoolName::of(&name) }).await
}

impl Http {
    async fn apply(&self, pool: Pool) -> Answer {
        let spec = pool.converted().map_err(Failure::bad)?;
        self.write_pool(Request::UpsertNodePool { spec }).await
    }

    /// As in Nomad, there is nothing to say but at which index.
    async fn write_pool(&self, request: Request) -> Answer {
        let applied = self.submit(request).await?;
        let mut response = answer::text(axum::http::StatusCode::OK, "");
        set_index(&mut response, applied.index);
        Ok(response)
    }
}
