//! Allocs: listed, shown, stopped.
//!
//! Invariants
//! - a list comes in the order of ids where no prefix is asked for, else in that of UUIDs.
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue};
use drover_core::api::Request;
use drover_core::state::{Change, State as Tables, TableKind};
use drover_core::types::{AllocId, Allocation, Index};

use super::answer::{Answer, Failure};
use super::query::{self, Query};
use super::read::Seen;
use super::write::written;
use super::{Http, Shared};
use crate::api::alloc::{Alloc, Detail, Stub, group_of};
use crate::api::misc::Stopped;
use crate::shadow::Key;

/// Ours: the id of an alloc inside the cluster, for agents that have no tables.
pub(super) const ALLOC_ID: HeaderName = HeaderName::from_static("x-drover-alloc");

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let detail = Detail {
        resources: query.flag("resources")?.unwrap_or(false),
        task_states: query.flag("task_states")?.unwrap_or(true),
    };
    let prefix = query.uuid_prefix()?;
    http.read(
        &query,
        |_| vec![Key::Table(TableKind::Allocs)],
        |state| {
            let rows: Box<dyn Iterator<Item = &Allocation>> = match query.prefix.as_str() {
                "" => Box::new(state.allocs()),
                _ => Box::new(state.allocs_with_prefix(prefix)),
            };
            let meant = rows
                .filter(|alloc| query.namespace.holds(&group_of(state, alloc).1.spec.namespace));
            Seen::page(
                state.table_index(TableKind::Allocs),
                meant,
                &query.page,
                |alloc| state.uuid(alloc.id.0).to_string(),
                |alloc| Stub::of(state, alloc, detail),
            )
        },
    )
    .await
}

pub(super) async fn one(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let uuid = query::uuid(&id)?;
    let keys = |state: &Tables| {
        let found = state.alloc_by_uuid(uuid);
        found.map_or_else(
            || vec![Key::Table(TableKind::Allocs)],
            |alloc| vec![Key::Row(Change::Alloc(alloc.id))],
        )
    };
    let look = |state: &Tables| match state.alloc_by_uuid(uuid) {
        Some(alloc) => Seen::of(alloc.modify_index, Alloc::of(state, alloc)),
        None => Seen::missing(state.table_index(TableKind::Allocs), "alloc"),
    };
    let mut response = http.read(&query, keys, look).await?;
    if let Some(alloc) = uuid.object(http.shadow()?.read().uuid_key()) {
        response.headers_mut().insert(ALLOC_ID, HeaderValue::from(alloc));
    }
    Ok(response)
}

pub(super) async fn stop(State(http): State<Shared>, Path(id): Path<String>, _: Query) -> Answer {
    let alloc = http.alloc_id(&id)?;
    let applied = http.submit(Request::StopAlloc { alloc }).await?;
    let answer = Stopped { eval_id: http.eval_uuid(applied)?, index: applied.index.0 };
    written(applied.index, &answer)
}

impl Http {
    /// The id of the alloc whose UUID is `text`, whether or not it exists.
    pub(super) fn alloc_id(&self, text: &str) -> Result<AllocId, Failure> {
        let uuid = query::uuid(text)?;
        let key = self.shadow()?.read().uuid_key();
        uuid.object(key).map(AllocId).ok_or_else(|| Failure::missing("alloc"))
    }
}

/// The last change of `allocs`; where there are none, of any alloc.
pub(super) fn newest<'a>(state: &Tables, allocs: impl Iterator<Item = &'a Allocation>) -> Index {
    let newest = allocs.map(|alloc| alloc.modify_index).max();
    newest.unwrap_or_else(|| state.table_index(TableKind::Allocs))
}
