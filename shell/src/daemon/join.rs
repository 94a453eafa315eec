//! How long an agent looks for somebody to join before it gives up.
//!
//! | what is configured | it gives up |
//! |---|---|
//! | `start_join` alone | after ten seconds |
//! | `retry_join` | never |
//! | `retry_join` with `retry_max` | after so many times `retry_interval` |
//!
//! Invariants
//! - whoever has met a server once does not give up any more, whatever becomes of it.
use std::collections::BTreeSet;
use std::future;
use std::time::Duration;

use drover_core::time::go_duration;
use drover_core::wire::PeerId;
use tokio::time::{Instant, sleep};

use crate::config::Join;
use crate::transport::{PeerView, Transport};

/// Longer than an answer takes.
const TRY_MS: u64 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Resolves when nobody was met in time, with what to tell the operator.
pub(super) async fn given_up(joins: Vec<Join>, transport: Transport) -> String {
    let began = Instant::now();
    let limits = joins.iter().filter_map(|join| Some((join, patience_ms(join)?)));
    let Some((join, ms)) = limits.min_by_key(|&(_, ms)| ms) else { return future::pending().await };
    while began.elapsed() < Duration::from_millis(ms) {
        if has_met(&transport) {
            return future::pending().await;
        }
        sleep(LOOK_EVERY).await;
    }
    let sought = [join.addresses(), join.programs.clone()].concat().join(", ");
    let remedy = if !join.is_retried() {
        "start_join waits no longer: write retry_join to wait for ever"
    } else {
        "leave retry_max out to wait for ever"
    };
    format!(
        "no server was met within {}: {sought}. Check the addresses and that agents run there; \
         the lines above say what became of each; {remedy}",
        go_duration(ms)
    )
}

/// Dials whom somebody names `now`, and not any more whom it named before and does not now.
pub(super) fn dial_named(
    transport: &Transport,
    named: &mut BTreeSet<String>,
    now: BTreeSet<String>,
) {
    now.difference(named).for_each(|address| transport.dial(address));
    named.difference(&now).for_each(|address| transport.forget(address));
    *named = now;
}

/// Whether a server is linked.
pub(super) fn has_met(transport: &Transport) -> bool {
    let is_server = |peer: PeerView| matches!(peer.peer, PeerId::Server(_) | PeerId::Foreign(_));
    transport.peers().into_iter().any(is_server)
}

/// `None`: for ever.
fn patience_ms(join: &Join) -> Option<u64> {
    match (join.is_any(), join.is_retried(), join.retry_max) {
        (true, false, _) => Some(TRY_MS),
        (_, true, 1..) => Some(join.retry_interval_ms.saturating_mul(join.retry_max.into())),
        (false, false, _) | (_, true, 0) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_looks_for_as_long_as_it_was_told_to() {
        let join = |start: &[&str], retry: &[&str], retry_max| Join {
            start: start.iter().map(ToString::to_string).collect(),
            retry: retry.iter().map(ToString::to_string).collect(),
            programs: Vec::new(),
            retry_interval_ms: 30_000,
            retry_max,
        };
        assert_eq!(patience_ms(&join(&[], &[], 3)), None, "it looks for nobody");
        assert_eq!(patience_ms(&join(&["a:1"], &[], 0)), Some(TRY_MS));
        assert_eq!(patience_ms(&join(&[], &["a:1"], 0)), None);
        assert_eq!(
            patience_ms(&join(&["b:1"], &["a:1"], 0)),
            None,
            "it would wait for one of them"
        );
        assert_eq!(patience_ms(&join(&[], &["a:1"], 3)), Some(90_000));
    }
}
