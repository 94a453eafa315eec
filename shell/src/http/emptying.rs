//! A node that is emptied because its agent goes: asked for and watched through the agent's own API, which
//! finds a server.
//!
//! Invariants
//! - it ends: when nothing is left that had to go, or when the time is up.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use drover_core::types::NodeId;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Api, Shared};
use crate::config::DrainOnShutdown;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A drain that has come to its deadline ends what is left, which takes as long as tasks are given.
const AFTER_DEADLINE: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Have everything moved away from `node`, and wait until it has.
///
/// # Errors
/// Why it may not be empty.
pub async fn empty_node(
    api: Arc<Api>,
    own: SocketAddr,
    node: NodeId,
    how: DrainOnShutdown,
) -> Result<(), String> {
    let http = super::shared(api);
    let own = if own.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), own.port())
    } else {
        own
    };
    let until = Instant::now() + Duration::from_millis(how.deadline_ms) + AFTER_DEADLINE;
    let path = format!("/v1/node/{}", node.uuid());
    let deadline_ns = if how.is_forced {
        -1
    } else {
        i64::try_from(how.deadline_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
    };
    let spec = json!({ "Deadline": deadline_ns, "IgnoreSystemJobs": how.ignore_system_jobs });
    let meta = json!({ "message": "the agent is shutting down" });
    let ask = json!({ "DrainSpec": spec, "MarkEligible": false, "Meta": meta });
    ask_own(&http, own, Method::PUT, &format!("{path}/drain"), ask.to_string()).await?;
    loop {
        let answer = ask_own(&http, own, Method::GET, &path, String::new()).await;
        match answer {
            Ok(row) if row["DrainStrategy"].is_null() => return Ok(()),
            Err(why) if until <= Instant::now() => return Err(why),
            Ok(_) if until <= Instant::now() => {
                return Err("its drain has not ended in time: see `drover node status`".to_owned());
            }
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn ask_own(
    http: &Shared,
    own: SocketAddr,
    method: Method,
    path: &str,
    body: String,
) -> Result<Value, String> {
    let request = Request::builder().method(method).uri(path).body(Body::from(body));
    let request = request.map_err(|fault| fault.to_string())?;
    let answer = http.forward(vec![own.to_string()], request).await;
    let answer = answer.map_err(|failure| failure.why)?;
    let is_done = answer.status().is_success();
    let bytes = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|fault| fault.to_string())?;
    if !is_done {
        return Err(String::from_utf8_lossy(&bytes).into_owned());
    }
    serde_json::from_slice(&bytes).map_err(|fault| fault.to_string())
}
