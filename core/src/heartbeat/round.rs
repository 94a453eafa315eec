//! One round of asking after silent nodes: who is asked after, who looks, and what they have said.
//!
//! Invariants
//! - a server's word counts once, and only if it was asked;
//! - a node that was heard is in no round.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::{PROBE_LAG_MS, PROBE_ROUND_MS, PROBED_NODES_MAX};
use crate::time::MonoTime;
use crate::types::{NodeId, ServerId};

/// Servers that look for silent nodes, the leader among them.
const PROBERS: usize = 3;
/// Servers that must have found a node silent, where there is more than one.
const WITNESSES_MIN: u8 = 2;

/// From where a leader can have nodes looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vantage {
    /// The leader itself.
    pub own: ServerId,
    /// Other servers that answer it.
    pub others: Vec<ServerId>,
    /// Whether it has the whole cluster to itself.
    pub is_alone: bool,
}

/// See the module.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Round {
    /// Distinguishes rounds.
    pub(super) id: u64,
    pub(super) since: MonoTime,
    until: MonoTime,
    /// How many servers have found each silent.
    silent: BTreeMap<NodeId, u8>,
    /// Who was asked and has not said anything.
    awaited: BTreeSet<ServerId>,
}

impl Round {
    /// Asks the leader itself and two others: which, changes from round to round.
    pub(super) fn new(now: MonoTime, vantage: &Vantage, nodes: &[NodeId]) -> Self {
        assert!(!nodes.is_empty() && nodes.len() <= PROBED_NODES_MAX, "a round has bounds");
        let mut awaited = BTreeSet::from([vantage.own]);
        if !vantage.others.is_empty() {
            let count = vantage.others.len() as u64;
            let first = usize::try_from(now.ns % count).expect("invariant: few servers");
            let chosen = vantage.others.iter().cycle().skip(first);
            awaited.extend(chosen.take((PROBERS - 1).min(vantage.others.len())));
        }
        Self {
            id: now.ns,
            since: now,
            until: now.plus_ms(PROBE_ROUND_MS),
            silent: nodes.iter().map(|&node| (node, 0)).collect(),
            awaited,
        }
    }

    pub(super) fn probers(&self) -> Vec<ServerId> {
        self.awaited.iter().copied().collect()
    }

    /// Whom it does not name it has heard, though the word of that may come later than this one.
    pub(super) fn on_report(&mut self, from: ServerId, silent: &[NodeId]) {
        if !self.awaited.remove(&from) {
            return;
        }
        let silent: BTreeSet<NodeId> = silent.iter().copied().collect();
        self.silent.retain(|node, witnesses| {
            *witnesses += 1;
            silent.contains(node)
        });
    }

    /// It was heard, or is watched no more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.silent.remove(&node);
    }

    /// When it is to be looked at: its end, or at once.
    pub(super) fn due(&self) -> MonoTime {
        let is_told = self.awaited.is_empty() || self.silent.is_empty();
        if is_told || planted!(VerdictUnwitnessed) { self.since } else { self.until }
    }

    /// Whether what was said is too old to act on: this server was held up.
    pub(super) fn is_stale(&self, now: MonoTime) -> bool {
        self.until.plus_ms(PROBE_LAG_MS) < now
    }

    /// Those still silent, and how far that is sure.
    pub(super) fn silent(&self, is_alone: bool) -> impl Iterator<Item = (NodeId, Evidence)> + '_ {
        let witnesses_min = if is_alone { 1 } else { WITNESSES_MIN };
        self.silent.iter().map(move |(&node, &witnesses)| {
            let evidence = match witnesses {
                0 => Evidence::None,
                few if few < witnesses_min => Evidence::Weak,
                _ => Evidence::Confirmed,
            };
            (node, evidence)
        })
    }

    pub(super) fn check_invariants(&self, is_watched: impl Fn(NodeId) -> bool) {
        assert!(
            self.silent.keys().all(|&node| is_watched(node)),
            "only known nodes are asked after"
        );
        assert!(self.silent.len() <= PROBED_NODES_MAX, "a round has bounds");
    }
}

/// What a round has found out of a silent node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Evidence {
    /// Nobody could look.
    None,
    /// Too few have looked.
    Weak,
    Confirmed,
}
