//! ∀ node n called down by leader l at t: at least two servers sent n a probe shortly before t; one is
//! enough where l is the only voter, or when no heartbeat of n has reached l for a minute more than its
//! silence — design, section 5 (no verdict on a leader's word alone).
//!
//! Invariants
//! - a probe that was sent counts, whether it arrives or not.
use std::collections::BTreeMap;

use drover_core::limits::{PROBE_LAG_MS, PROBE_ROUND_MS, VERDICT_HELD_MS};
use drover_core::types::{NodeId, ServerId};

use super::Verdict;
use crate::clock::Moment;

/// How long before the verdict a probe may have been sent: a round, a leader that is late to conclude
/// it, and clocks that go wrong meanwhile.
const ROUND_MS: u64 = PROBE_ROUND_MS + PROBE_LAG_MS + 1_000;

/// Who looked for whom, and when last.
#[derive(Debug, Default)]
pub struct DownOnlyIfSought {
    sought: BTreeMap<(NodeId, ServerId), Moment>,
}

/// What a leader has for its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Grounds {
    pub leader: ServerId,
    /// Nobody else votes.
    pub is_alone: bool,
    /// How long ago it heard the node, if it has ever.
    pub silent_ms: Option<u64>,
    /// How long nodes may be silent.
    pub silence_ms: u64,
}

impl DownOnlyIfSought {
    /// `server` sends `node` a probe.
    pub fn on_probe(&mut self, at: Moment, server: ServerId, node: NodeId) {
        self.sought.insert((node, server), at);
    }

    /// A leader proposes to call `node` down.
    ///
    /// # Errors
    /// Too few have looked for it.
    pub fn on_down(&self, at: Moment, node: NodeId, grounds: Grounds) -> Verdict {
        let of_node = self.sought.range((node, ServerId(0))..=(node, ServerId(u64::MAX)));
        let sought = of_node.filter(|&(_, &when)| at.ms_since(when) <= ROUND_MS).count();
        let held = |silent_ms| grounds.silence_ms + VERDICT_HELD_MS <= silent_ms + 1_000;
        let is_enough = match sought {
            0 => false,
            1 => grounds.is_alone || grounds.silent_ms.is_none_or(held),
            _ => true,
        };
        if is_enough {
            return Ok(());
        }
        let leader = grounds.leader.0;
        Err(format!("s{leader} calls {node:?} down, and {sought} servers have looked for it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    fn grounds(is_alone: bool, silent_ms: u64) -> Grounds {
        let silent_ms = Some(silent_ms);
        Grounds { leader: ServerId(1), is_alone, silent_ms, silence_ms: 12_000 }
    }

    #[test]
    fn it_fires_when_nobody_or_only_the_leader_has_looked() {
        let mut checker = DownOnlyIfSought::default();
        let at = Moment::at_ms(30_000);
        assert!(checker.on_down(at, NODE, grounds(true, 13_000)).is_err());
        checker.on_probe(Moment::at_ms(29_000), ServerId(1), NODE);
        assert!(checker.on_down(at, NODE, grounds(false, 13_000)).is_err());
        assert!(checker.on_down(at, NODE, grounds(true, 13_000)).is_ok());
        assert!(checker.on_down(at, NODE, grounds(false, 72_000)).is_ok());
        checker.on_probe(Moment::at_ms(29_500), ServerId(2), NodeId(8));
        assert!(checker.on_down(at, NODE, grounds(false, 13_000)).is_err(), "another node");
        checker.on_probe(Moment::at_ms(29_500), ServerId(2), NODE);
        assert!(checker.on_down(at, NODE, grounds(false, 13_000)).is_ok());
        assert!(checker.on_down(Moment::at_ms(39_000), NODE, grounds(false, 13_000)).is_err());
    }
}
