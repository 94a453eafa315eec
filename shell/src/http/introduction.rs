//! Tokens by which machines become client nodes.
//!
//! Invariants
//! - none is good for longer than the operator allows.
use axum::body::Bytes;
use axum::extract::State;
use drover_core::time::WallTime;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Shared;
use super::answer::{self, Answer, Failure};
use super::write::body;
use crate::clock::Clock;
use crate::jobspec::duration;
use crate::transport::introduction::Claims;

/// As Nomad takes it; `ttl` is text such as `5m`, or nanoseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ask {
    #[serde(rename = "TTL")]
    ttl: Json,
    node_name: String,
    node_pool: String,
}

pub(super) async fn create(State(http): State<Shared>, bytes: Bytes) -> Answer {
    let Ask { ttl, node_name, node_pool } = body(&bytes)?;
    let allowed = http.api.introduction;
    let ttl_ms = ttl_ms(&ttl)?.unwrap_or(allowed.ttl_ms);
    if allowed.ttl_ms_max < ttl_ms {
        return Err(Failure::bad(format!(
            "TTL: a token is good for at most {}, as `client_introduction.max_identity_ttl` says",
            duration::show_ms(allowed.ttl_ms_max)
        )));
    }
    let joins = http.api.joins.as_ref();
    let transport = &joins.ok_or_else(|| Failure::broken("nobody can be let in here"))?.transport;
    let until = WallTime { unix_ms: Clock::new().wall().unix_ms + ttl_ms };
    let claims = Claims { region: http.api.me.region.clone(), node_name, node_pool, until };
    let token = transport.introduce(&claims).map_err(|why| Failure::broken(why.to_string()))?;
    answer::json(&json!({ "JWT": token }))
}

fn ttl_ms(asked: &Json) -> Result<Option<u64>, Failure> {
    let ns = match asked {
        Json::Null => return Ok(None),
        Json::String(text) if text.is_empty() => return Ok(None),
        Json::String(text) => duration::parse_ns(text),
        other => other.as_i64(),
    };
    let ms = ns.and_then(|ns| u64::try_from(ns / 1_000_000).ok());
    match ms {
        Some(0) => Ok(None),
        Some(ms) => Ok(Some(ms)),
        None => Err(Failure::bad(format!("TTL: {asked} is no duration, such as \"5m\""))),
    }
}
