//! The whole replicated state as one file, and back.
//!
//! Invariants
//! - one snapshot is made at once, and one is restored: each holds the encoded state in memory;
//! - one that is not stale holds every write that was answered before it was asked for;
//! - a file that is damaged, of another cluster or too long is refused before the log hears of it;
//! - a restore that fails before its last step has changed nothing.
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover_core::api::{Rejection, Request};
use drover_core::digest::Digest;
use drover_core::limits::{RESTORE_PART_BYTES, RESTORE_PARTS_MAX};
use drover_core::state::Saved;
use serde_json::json;

use super::Shared;
use super::answer::{Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use super::write::written;
use crate::archive::{self, About};
use crate::clock::Clock;

pub(super) const PATH: &str = "/v1/operator/snapshot";
/// The longest state that can be restored online, and what the file says of it.
pub(super) const BODY_BYTES_MAX: usize = STATE_BYTES_MAX + (1 << 20);
/// For a large file on a slow line; whoever stalls for longer keeps others from restoring.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);
const STATE_BYTES_MAX: usize = RESTORE_PART_BYTES * RESTORE_PARTS_MAX as usize;
/// The sum of the body, as users of Nomad's API check it.
const DIGEST: HeaderName = HeaderName::from_static("digest");

pub(super) async fn save(State(http): State<Shared>, query: Query) -> Answer {
    let Ok(_one_at_a_time) = http.saves.try_acquire() else {
        return Err(Failure::busy("another snapshot is being made", 1));
    };
    let (shadow, known_leader) = http.fresh(query.freshness).await?;
    let view = http.view().await?.server;
    let view = view.ok_or_else(|| Failure::broken("this agent is not a server"))?;
    let (shadow, version) = (shadow.clone(), http.api.me.version.clone());
    // Readers go on meanwhile; the shadow waits, and the core does not notice.
    let made = tokio::task::spawn_blocking(move || {
        let (index, cluster, state) = {
            let state = shadow.read();
            (state.index(), state.cluster(), state.encode())
        };
        let taken = Clock::new().wall();
        let (term, configuration) = (view.term, view.configuration);
        let about = About { version, taken, cluster, index, term, configuration };
        let bytes = archive::pack(about, &state);
        let sum = ring::digest::digest(&ring::digest::SHA256, &bytes);
        (index, bytes, format!("sha-256={}", STANDARD.encode(sum)))
    });
    let (index, bytes, sum) = made
        .await
        .map_err(|why| Failure::broken(format!("the snapshot could not be made: {why}")))?;
    let mut response = Response::new(Body::from(bytes));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Ok(sum) = HeaderValue::from_str(&sum) {
        response.headers_mut().insert(DIGEST, sum);
    }
    mark_read(&mut response, index, known_leader);
    Ok(response)
}

/// The parts go through the log one after the other; the last entry puts all of it in force.
pub(super) async fn restore(State(http): State<Shared>, query: Query, body: Body) -> Answer {
    let Ok(_one_at_a_time) = http.restores.try_acquire() else {
        return Err(Failure::busy("another snapshot is being restored", 1));
    };
    let upload = tokio::time::timeout(UPLOAD_PATIENCE, axum::body::to_bytes(body, BODY_BYTES_MAX));
    let bytes = upload.await.map_err(|_| {
        let why = "the body: it did not come in time, and nothing was restored";
        Failure::new(StatusCode::REQUEST_TIMEOUT, why)
    })?;
    let bytes = bytes.map_err(|why| {
        let why = format!("the body: {why}; at most {STATE_BYTES_MAX} bytes of state are taken");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    let read = tokio::task::spawn_blocking(move || read(&bytes)).await;
    let read = read.map_err(|why| Failure::broken(format!("the body was not read: {why}")))?;
    let (state, of, saved) = read.map_err(Failure::bad)?;
    let (shadow, _) = http.fresh(query.freshness).await?;
    saved.check_origin(&shadow.read()).map_err(Failure::bad)?;
    drop(saved);
    let mut parts = 0;
    for part in state.chunks(RESTORE_PART_BYTES) {
        let request = Request::RestorePart { of, nth: parts, bytes: part.into() };
        http.ask(request).await.map_err(in_vain)?;
        parts += 1;
    }
    tracing::info!("{} bytes of a saved state are in the log, and are put in force", state.len());
    let restored = http.submit(Request::Restore { of, parts }).await;
    let applied = restored.map_err(|why| match why {
        Rejection::Conflict { .. } => in_vain(why),
        _ => why.into(),
    })?;
    written(applied.index, &json!({ "Index": applied.index.0 }))
}

/// The state in a saved file, its name, and the proof that it reads.
fn read(file: &Bytes) -> Result<(Bytes, Digest, Saved), String> {
    let archive = archive::unpack(file).map_err(|why| format!("the body: {why}"))?;
    if STATE_BYTES_MAX < archive.state.len() {
        return Err(format!("the state has more than {STATE_BYTES_MAX} bytes: restore it offline"));
    }
    let saved = Saved::read(archive.state).map_err(|why| {
        format!("the state in the body cannot be read by this version of Drover: {why:?}")
    })?;
    Ok((file.slice_ref(archive.state), Digest::of(archive.state), saved))
}

/// A restore that ended before its last step.
fn in_vain(why: Rejection) -> Failure {
    if matches!(why, Rejection::Conflict { .. }) {
        let why = "another restore was begun meanwhile, or this one paused for too long: nothing \
                   was restored by this one";
        return Failure::new(StatusCode::CONFLICT, why);
    }
    if why == Rejection::Unknown {
        let why = "the leader was lost: nothing was restored. Send it again";
        return Failure::new(StatusCode::GATEWAY_TIMEOUT, why);
    }
    let mut failure = Failure::from(why);
    failure.why.push_str("; nothing was restored");
    failure
}
