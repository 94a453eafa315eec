//! The whole replicated state as one file.
//!
//! Invariants
//! - one snapshot is made at once: each holds the encoded state in memory;
//! - one that is not stale holds every write that was answered before it was asked for.
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Shared;
use super::answer::{Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use crate::archive::{self, About};
use crate::clock::Clock;

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
