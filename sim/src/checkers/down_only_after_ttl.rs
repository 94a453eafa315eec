//! ∀ node n called down by leader l: no heartbeat of n reached l within ttl + grace before — design,
//! section 5 (a fixed time-to-live at any fleet size).
//!
//! Invariants
//! - only heartbeats that reached the leader itself count: what others heard may be lost on its way.
use std::collections::BTreeMap;

use drover_core::types::{NodeId, ServerId};

use super::Verdict;
use crate::clock::Moment;

/// How wrong the leader's clock may go in that time.
const SLACK_MS: u64 = 1_000;

/// Who was heard where, and when.
#[derive(Debug, Default)]
pub struct DownOnlyAfterTtl {
    heard: BTreeMap<(ServerId, NodeId), Moment>,
}

impl DownOnlyAfterTtl {
    /// A heartbeat of `node` reached `server`.
    pub fn on_heartbeat(&mut self, at: Moment, server: ServerId, node: NodeId) {
        self.heard.insert((server, node), at);
    }

    /// How long ago `server` heard `node`, if it has ever.
    #[must_use]
    pub fn silent_ms(&self, at: Moment, server: ServerId, node: NodeId) -> Option<u64> {
        self.heard.get(&(server, node)).map(|&heard| at.ms_since(heard))
    }

    /// `leader` proposes to call `node` down; nodes may be silent for `silence_ms`.
    pub fn on_down(&self, at: Moment, leader: ServerId, node: NodeId, silence_ms: u64) -> Verdict {
        let Some(silent_ms) = self.silent_ms(at, leader, node) else { return Ok(()) };
        if silence_ms <= silent_ms + SLACK_MS {
            return Ok(());
        }
        Err(format!("s{} calls {node:?} down after {silent_ms} ms of silence", leader.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_a_node_is_called_down_that_was_heard_just_now() {
        let mut checker = DownOnlyAfterTtl::default();
        let (server, other, node) = (ServerId(1), ServerId(2), NodeId(7));
        checker.on_heartbeat(Moment::at_ms(1_000), server, node);
        assert_eq!(checker.on_down(Moment::at_ms(21_000), server, node, 20_000), Ok(()));
        assert_eq!(checker.on_down(Moment::at_ms(9_000), other, node, 20_000), Ok(()));
        assert!(checker.on_down(Moment::at_ms(9_000), server, node, 20_000).is_err());
    }
}
