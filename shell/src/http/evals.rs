//! Evaluations: listed and shown, with what they placed.
//!
//! Invariants
//! - the newest comes first where no prefix is asked for.
use axum::extract::{Path, State};
use drover_core::state::{Change, State as Tables, TableKind};
use drover_core::types::{Allocation, Evaluation};

use super::Shared;
use super::allocs::newest;
use super::answer::Answer;
use super::query::{self, Query};
use super::read::Seen;
use crate::api::alloc::{Detail, Stub};
use crate::api::eval::{Eval, status};
use crate::shadow::Key;

pub(super) async fn list(State(http): State<Shared>, query: Query) -> Answer {
    let prefix = query.uuid_prefix()?;
    let (job, wanted) = (query.text("job"), query.text("status"));
    http.read(
        &query,
        |_| vec![Key::Table(TableKind::Evals)],
        |state| {
            let rows: Box<dyn Iterator<Item = &Evaluation>> = match query.prefix.as_str() {
                "" => Box::new(state.evals().rev()),
                _ => Box::new(state.evals_with_prefix(prefix)),
            };
            let meant = rows.filter(|eval| {
                let owner = state.job(eval.job).expect("invariant: an evaluation's job exists");
                let spec = &owner.newest().spec;
                query.namespace.holds(&spec.namespace)
                    && job.is_none_or(|job| job == spec.id)
                    && wanted.is_none_or(|wanted| wanted == status(eval.status))
            });
            Seen::page(
                state.table_index(TableKind::Evals),
                meant,
                &query.page,
                |eval| state.uuid(eval.id.0).to_string(),
                |eval| Eval::of(state, eval),
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
        let found = state.eval_by_uuid(uuid);
        found.map_or_else(
            || vec![Key::Table(TableKind::Evals)],
            |eval| vec![Key::Row(Change::Eval(eval.id))],
        )
    };
    let look = |state: &Tables| match state.eval_by_uuid(uuid) {
        Some(eval) => Seen::of(eval.modify_index, Eval::of(state, eval)),
        None => Seen::missing(state.table_index(TableKind::Evals), "eval"),
    };
    http.read(&query, keys, look).await
}

pub(super) async fn allocations(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let uuid = query::uuid(&id)?;
    let detail = Detail { resources: false, task_states: true };
    let keys = |state: &Tables| match state.eval_by_uuid(uuid) {
        Some(eval) => vec![Key::AllocsOfJob(eval.job)],
        None => vec![Key::Table(TableKind::Evals)],
    };
    let look = |state: &Tables| {
        let Some(eval) = state.eval_by_uuid(uuid) else {
            return Seen::of(state.table_index(TableKind::Allocs), Vec::new());
        };
        let placed: Vec<&Allocation> =
            state.allocs_of_job(eval.job).filter(|alloc| alloc.eval == eval.id).collect();
        let index = newest(state, placed.iter().copied());
        Seen::of(index, placed.iter().map(|alloc| Stub::of(state, alloc, detail)).collect())
    };
    http.read(&query, keys, look).await
}
