//! Time-to-live of client nodes, kept by the leader.
//!
//! Any server accepts a heartbeat and relays it with its age. What is decided here becomes a
//! command; until the state machine confirms it, it is not decided again, but for a retry in case
//! the command was lost.
//!
//! Invariants
//! - a node that is not down has exactly one deadline, a node that is down and silent has none;
//! - a node is called down only after its whole time-to-live and grace in silence;
//! - each verdict is said once until the state confirms it or `VERDICT_RETRY_MS` have passed.
//!
//! It does not probe silent nodes, and it does not know whether it leads: it exists only then.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::limits::{ELECTION_MS_MAX, HEARTBEAT_GRACE_MS, HEARTBEAT_TTL_MS};
use crate::time::MonoTime;
use crate::types::{NodeId, NodeStatus};

/// How long a verdict may stay unconfirmed before it is said again: longer than a commit takes.
const VERDICT_RETRY_MS: u64 = 5_000;

/// What the state machine must be told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// These nodes' time-to-live ran out at the same moment: one command.
    NodesDown(Vec<NodeId>),
    /// A node that was not ready was heard from.
    NodeReady(NodeId),
}

/// What the node is told about its heartbeat.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Answer {
    /// It must be heard from again within `ttl_ms`.
    Known { ttl_ms: u64 },
    /// It must register first.
    Unknown,
}

/// How long a node may be silent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Config {
    /// What nodes are told.
    pub ttl_ms: u64,
    /// Added before a silent node is called down.
    pub grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { ttl_ms: HEARTBEAT_TTL_MS, grace_ms: HEARTBEAT_GRACE_MS }
    }
}

/// Deadlines of every node that must be heard from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Heartbeats {
    config: Config,
    nodes: BTreeMap<NodeId, Watched>,
    by_deadline: BTreeSet<(MonoTime, NodeId)>,
}

/// One node.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Watched {
    /// As the state machine last said.
    status: NodeStatus,
    /// Said and not yet confirmed, and when.
    verdict: Option<(NodeStatus, MonoTime)>,
    /// When its silence becomes a verdict; `None` while it is down.
    deadline: Option<MonoTime>,
}

impl Heartbeats {
    /// Takes office: every known node gets a whole fresh time-to-live, and the time an election may
    /// have kept it from being heard.
    #[must_use]
    pub fn new(
        config: Config,
        now: MonoTime,
        nodes: impl IntoIterator<Item = (NodeId, NodeStatus)>,
    ) -> Self {
        assert!(0 < config.ttl_ms, "a node may be silent for some time");
        let mut this = Self { config, nodes: BTreeMap::new(), by_deadline: BTreeSet::new() };
        let mut deadline = now.plus_ms(config.ttl_ms + config.grace_ms + ELECTION_MS_MAX);
        if planted!(NoGraceForNewLeader) {
            deadline = now.plus_ms(ELECTION_MS_MAX);
        }
        for (node, status) in nodes {
            this.nodes.insert(node, Watched { status, verdict: None, deadline: None });
            if status != NodeStatus::Down {
                this.arm(node, deadline);
            }
        }
        this
    }

    /// The node's registration was applied and left it with `status`.
    pub fn on_registered(&mut self, now: MonoTime, node: NodeId, status: NodeStatus) {
        let watched =
            self.nodes.entry(node).or_insert(Watched { status, verdict: None, deadline: None });
        watched.status = status;
        watched.verdict = None;
        if status == NodeStatus::Down {
            self.disarm(node);
        } else {
            self.arm(node, now.plus_ms(self.config.ttl_ms + self.config.grace_ms));
        }
    }

    /// The node was heard by this server.
    pub fn on_heartbeat(
        &mut self,
        now: MonoTime,
        node: NodeId,
        out: &mut impl Emit<Output>,
    ) -> Answer {
        self.on_relayed(now, node, 0, out)
    }

    /// The node was heard by some server, `age_ms` ago.
    pub fn on_relayed(
        &mut self,
        now: MonoTime,
        node: NodeId,
        age_ms: u64,
        out: &mut impl Emit<Output>,
    ) -> Answer {
        let mut silence_ms = self.config.ttl_ms + self.config.grace_ms;
        if planted!(DownEarly) {
            silence_ms = self.config.ttl_ms / 2;
        }
        let Some(watched) = self.nodes.get_mut(&node) else {
            return Answer::Unknown;
        };
        let answer = Answer::Known { ttl_ms: self.config.ttl_ms };
        if silence_ms <= age_ms {
            return answer;
        }
        let is_away = watched.status != NodeStatus::Ready && !planted!(ReturnNotNoticed);
        if is_away && watched.may_say(now, NodeStatus::Ready) {
            watched.verdict = Some((NodeStatus::Ready, now));
            out.emit(Output::NodeReady(node));
        }
        // A relayed word may be older than one already heard.
        let deadline = now.plus_ms(silence_ms - age_ms);
        let deadline = watched.deadline.map_or(deadline, |known| known.max(deadline));
        self.arm(node, deadline);
        answer
    }

    /// The state machine applied a change of the node's status.
    pub fn on_status(&mut self, now: MonoTime, node: NodeId, status: NodeStatus) {
        let Some(watched) = self.nodes.get_mut(&node) else {
            return;
        };
        watched.status = status;
        watched.verdict = None;
        if status == NodeStatus::Down {
            self.disarm(node);
        } else if watched.deadline.is_none() {
            self.arm(node, now.plus_ms(self.config.ttl_ms + self.config.grace_ms));
        }
    }

    /// The node's row is gone.
    pub fn on_node_removed(&mut self, node: NodeId) {
        self.disarm(node);
        self.nodes.remove(&node);
    }

    /// Time passed: every deadline at or before `now` has run out.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let mut down = Vec::new();
        while let Some(&(deadline, node)) = self.by_deadline.first() {
            if now < deadline {
                break;
            }
            let watched = self.nodes.get_mut(&node).expect("invariant: a deadline has a node");
            if watched.status == NodeStatus::Down {
                // It was heard, but never confirmed ready, and is silent again.
                self.disarm(node);
                continue;
            }
            watched.verdict = Some((NodeStatus::Down, now));
            down.push(node);
            // Until the state confirms, the next deadline is that of saying it again.
            self.arm(node, now.plus_ms(VERDICT_RETRY_MS));
        }
        if !down.is_empty() {
            down.sort_unstable();
            out.emit(Output::NodesDown(down));
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// Walks both indexes.
    pub fn check_invariants(&self) {
        let armed: BTreeSet<_> = self
            .nodes
            .iter()
            .filter_map(|(&node, watched)| watched.deadline.map(|deadline| (deadline, node)))
            .collect();
        assert_eq!(armed, self.by_deadline, "a node has at most one deadline");
        for watched in self.nodes.values() {
            assert!(
                watched.deadline.is_some() || watched.status == NodeStatus::Down,
                "a node that is not down has exactly one deadline"
            );
        }
    }

    fn arm(&mut self, node: NodeId, deadline: MonoTime) {
        self.disarm(node);
        let watched = self.nodes.get_mut(&node).expect("invariant: only known nodes are watched");
        watched.deadline = Some(deadline);
        self.by_deadline.insert((deadline, node));
    }

    fn disarm(&mut self, node: NodeId) {
        let armed = self.nodes.get_mut(&node).and_then(|watched| watched.deadline.take());
        if let Some(deadline) = armed {
            let was_armed = self.by_deadline.remove(&(deadline, node));
            assert!(was_armed, "a node has at most one deadline");
        }
    }
}

impl Watched {
    /// Whether `verdict` has not just been said.
    const fn may_say(&self, now: MonoTime, verdict: NodeStatus) -> bool {
        match self.verdict {
            Some((said, at)) if said as u8 == verdict as u8 => VERDICT_RETRY_MS <= now.ms_since(at),
            Some(_) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const CONFIG: Config = Config { ttl_ms: 10_000, grace_ms: 5_000 };

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().plus_ms(ms)
    }

    fn leader(nodes: &[(NodeId, NodeStatus)]) -> Heartbeats {
        Heartbeats::new(CONFIG, at(0), nodes.iter().copied())
    }

    fn time(heartbeats: &mut Heartbeats, ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        heartbeats.on_time(at(ms), &mut out);
        heartbeats.check_invariants();
        out
    }

    fn beat(heartbeats: &mut Heartbeats, ms: u64, node: NodeId, age_ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        let answer = heartbeats.on_relayed(at(ms), node, age_ms, &mut out);
        assert_eq!(answer, Answer::Known { ttl_ms: 10_000 });
        heartbeats.check_invariants();
        out
    }

    #[test]
    fn the_first_heartbeat_makes_a_registered_node_ready_and_is_said_once() {
        let mut heartbeats = leader(&[]);
        let unknown = heartbeats.on_heartbeat(at(0), A, &mut Vec::new());
        assert_eq!(unknown, Answer::Unknown);
        heartbeats.on_registered(at(1), A, NodeStatus::Init);
        assert_eq!(beat(&mut heartbeats, 2, A, 0), [Output::NodeReady(A)]);
        assert_eq!(beat(&mut heartbeats, 3, A, 0), []);
        heartbeats.on_status(at(4), A, NodeStatus::Ready);
        assert_eq!(beat(&mut heartbeats, 5, A, 0), []);
    }

    #[test]
    fn a_verdict_that_was_lost_is_said_again() {
        let mut heartbeats = leader(&[(A, NodeStatus::Init)]);
        assert_eq!(beat(&mut heartbeats, 0, A, 0), [Output::NodeReady(A)]);
        assert_eq!(beat(&mut heartbeats, 4_999, A, 0), []);
        assert_eq!(beat(&mut heartbeats, 5_000, A, 0), [Output::NodeReady(A)]);
        assert_eq!(time(&mut heartbeats, 20_000), [Output::NodesDown(vec![A])]);
        assert_eq!(time(&mut heartbeats, 24_999), []);
        assert_eq!(time(&mut heartbeats, 25_000), [Output::NodesDown(vec![A])]);
    }

    #[test]
    fn nodes_that_fall_silent_together_are_one_verdict_after_ttl_and_grace() {
        let mut heartbeats = leader(&[(B, NodeStatus::Ready), (A, NodeStatus::Ready)]);
        beat(&mut heartbeats, 1_000, A, 0);
        beat(&mut heartbeats, 1_000, B, 0);
        // The whole amnesty of a new leader counts, though the nodes were heard before.
        assert_eq!(heartbeats.next_deadline(), Some(at(16_000)));
        assert_eq!(time(&mut heartbeats, 15_999), []);
        assert_eq!(time(&mut heartbeats, 16_000), [Output::NodesDown(vec![A, B])]);
    }

    #[test]
    fn a_node_that_is_down_is_watched_no_more_and_returns_with_a_heartbeat() {
        let mut heartbeats = leader(&[(A, NodeStatus::Ready)]);
        assert_eq!(time(&mut heartbeats, 16_000), [Output::NodesDown(vec![A])]);
        heartbeats.on_status(at(16_001), A, NodeStatus::Down);
        assert_eq!(heartbeats.next_deadline(), None);
        assert_eq!(beat(&mut heartbeats, 60_000, A, 0), [Output::NodeReady(A)]);
        // It went silent before that was confirmed: it is down already.
        assert_eq!(time(&mut heartbeats, 90_000), []);
        assert_eq!(heartbeats.next_deadline(), None);
    }

    #[test]
    fn a_relayed_heartbeat_counts_from_when_it_was_heard() {
        let mut heartbeats = leader(&[(A, NodeStatus::Ready)]);
        beat(&mut heartbeats, 10_000, A, 4_000);
        assert_eq!(heartbeats.next_deadline(), Some(at(21_000)));
        // An older word than one already heard takes nothing away; one too old says nothing.
        beat(&mut heartbeats, 10_001, A, 9_000);
        beat(&mut heartbeats, 10_002, A, 15_000);
        assert_eq!(heartbeats.next_deadline(), Some(at(21_000)));
    }

    #[test]
    fn a_removed_node_is_unknown() {
        let mut heartbeats = leader(&[(A, NodeStatus::Ready)]);
        heartbeats.on_node_removed(A);
        assert_eq!(heartbeats.next_deadline(), None);
        assert_eq!(heartbeats.on_heartbeat(at(1), A, &mut Vec::new()), Answer::Unknown);
    }
}
