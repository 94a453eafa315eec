//! Time-to-live of client nodes, kept by the leader.
//!
//! Any server accepts a heartbeat and relays it with its age. A node that was silent for its time-to-live
//! and grace is asked after: in rounds, of which there is one at a time, three servers look for whoever
//! is silent then (`prober.rs`), and who was found silent by two of them is called down. So a leader that
//! is deaf, stopped or new calls nobody down for its own fault. What is decided here becomes a
//! command; until the state machine confirms it, it is not decided again, but for a retry in case
//! the command was lost.
//!
//! Of many that fall silent together the first are told of soon, and then nothing for a time-to-live: the
//! others are silent by then, and one command says so of all.
//!
//! Invariants
//! - a node that is not down has exactly one deadline, a node that is down and silent has none;
//! - a node is called down only after its whole time-to-live and grace in silence, and only by a round;
//! - nodes for which too few servers could look are held for `VERDICT_HELD_MS`; and so is, on a server
//!   that is alone, more than half of all nodes;
//! - each verdict is said once until the state confirms it or `VERDICT_RETRY_MS` have passed.
//!
//! It does not know whether it leads: it exists only then.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

mod round;

pub use self::round::Vantage;
use self::round::{Evidence, Round};
use crate::emit::Emit;
use crate::limits::{
    HEARTBEAT_GRACE_MS, HEARTBEAT_TTL_MS, PROBE_ROUND_MS, PROBED_NODES_MAX, VERDICT_HELD_MS,
};
use crate::time::MonoTime;
use crate::types::{NodeId, NodeStatus, ServerId};

/// How long a verdict may stay unconfirmed before it is said again: longer than a commit takes.
const VERDICT_RETRY_MS: u64 = 5_000;

/// So many nodes called down at once, and so many thousandths of all, are no accident: more will follow.
const MANY_MIN: usize = 5;
/// See `MANY_MIN`.
const MANY_PERMILLE: usize = 5;

/// What the rest of the core must do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// Have these servers look for the nodes; their reports name the round.
    LookFor { round: u64, nodes: Vec<NodeId>, probers: Vec<ServerId> },
    /// These nodes were found silent in the same round: one command.
    NodesDown(Vec<NodeId>),
    /// A node that was not ready was heard from, and has reported what became of its allocs.
    NodeReady(NodeId),
    /// A node that was down was heard from, and has something to report first.
    NodeReturned(NodeId),
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
    /// Added before a silent node is asked after.
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
    round: Option<Round>,
    /// No round begins before.
    rest_until: MonoTime,
}

/// One node.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Watched {
    /// As the state machine last said.
    status: NodeStatus,
    /// Said and not yet confirmed, and when.
    verdict: Option<(NodeStatus, MonoTime)>,
    /// When it is asked after; `None` while it is down.
    deadline: Option<MonoTime>,
    /// When it was first asked after, unless it was heard since.
    missed_at: Option<MonoTime>,
}

impl Heartbeats {
    /// Takes office: every known node gets a whole fresh time-to-live.
    #[must_use]
    pub fn new(
        config: Config,
        now: MonoTime,
        nodes: impl IntoIterator<Item = (NodeId, NodeStatus)>,
    ) -> Self {
        assert!(0 < config.ttl_ms, "a node may be silent for some time");
        let mut this = Self {
            config,
            nodes: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            round: None,
            rest_until: now,
        };
        let mut deadline = now.plus_ms(config.ttl_ms + config.grace_ms);
        if planted!(NoGraceForNewLeader) {
            deadline = now;
        }
        for (node, status) in nodes {
            this.nodes.insert(node, Watched::new(status));
            if status != NodeStatus::Down {
                this.arm(node, deadline);
            }
        }
        this
    }

    /// The node's registration was applied and left it with `status`.
    pub fn on_registered(&mut self, now: MonoTime, node: NodeId, status: NodeStatus) {
        let watched = self.nodes.entry(node).or_insert(Watched::new(status));
        watched.status = status;
        watched.verdict = None;
        self.acquit(node);
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
        is_behind: bool,
        out: &mut impl Emit<Output>,
    ) -> Answer {
        self.on_relayed(now, node, (0, is_behind), out)
    }

    /// The node was heard by some server, `age_ms` ago, and said whether it is behind with its reports.
    pub fn on_relayed(
        &mut self,
        now: MonoTime,
        node: NodeId,
        (age_ms, is_behind): (u64, bool),
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
        let news = match (watched.status, is_behind) {
            (NodeStatus::Ready, _) | (NodeStatus::Init, true) => None,
            (NodeStatus::Down, true) => Some((NodeStatus::Init, Output::NodeReturned(node))),
            (NodeStatus::Init | NodeStatus::Down, false) => {
                Some((NodeStatus::Ready, Output::NodeReady(node)))
            }
        };
        if let Some((verdict, output)) = news
            && watched.may_say(now, verdict)
            && !planted!(ReturnNotNoticed)
        {
            watched.verdict = Some((verdict, now));
            out.emit(output);
        }
        // A relayed word may be older than one already heard.
        let deadline = now.plus_ms(silence_ms - age_ms);
        let deadline = watched.deadline.map_or(deadline, |known| known.max(deadline));
        self.acquit(node);
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
            self.acquit(node);
            self.disarm(node);
        } else if watched.deadline.is_none() {
            self.arm(node, now.plus_ms(self.config.ttl_ms + self.config.grace_ms));
        }
    }

    /// The node's row is gone.
    pub fn on_node_removed(&mut self, node: NodeId) {
        self.acquit(node);
        self.disarm(node);
        self.nodes.remove(&node);
    }

    /// A server that was asked in this round could not hear these.
    pub fn on_report(&mut self, from: ServerId, round: u64, silent: &[NodeId]) {
        if let Some(current) = self.round.as_mut().filter(|current| current.id == round) {
            current.on_report(from, silent);
        }
    }

    /// Time passed: a round has come to its end, or one begins with all that were silent for too long.
    pub fn on_time(&mut self, now: MonoTime, vantage: &Vantage, out: &mut impl Emit<Output>) {
        if let Some(round) = self.round.take_if(|round| round.due() <= now) {
            self.conclude(now, &round, vantage.is_alone, out);
        }
        if self.round.is_none() && self.rest_until <= now {
            self.begin_round(now, vantage, out);
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        if let Some(round) = &self.round {
            return Some(round.due());
        }
        self.by_deadline.first().map(|&(deadline, _)| deadline.max(self.rest_until))
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
        if let Some(round) = &self.round {
            round.check_invariants(|node| {
                self.nodes.get(&node).is_some_and(|watched| watched.deadline.is_some())
            });
        }
    }

    fn begin_round(&mut self, now: MonoTime, vantage: &Vantage, out: &mut impl Emit<Output>) {
        let mut nodes = Vec::new();
        while let Some(&(deadline, node)) = self.by_deadline.first() {
            if now < deadline || nodes.len() == PROBED_NODES_MAX {
                break;
            }
            let watched = self.nodes.get_mut(&node).expect("invariant: a deadline has a node");
            if watched.status == NodeStatus::Down {
                // It was heard, but never confirmed ready, and is silent again.
                self.disarm(node);
                continue;
            }
            watched.missed_at.get_or_insert(now);
            nodes.push(node);
            // If the round does not tell, the next one asks.
            self.arm(node, now.plus_ms(PROBE_ROUND_MS));
        }
        if nodes.is_empty() {
            return;
        }
        nodes.sort_unstable();
        let round = Round::new(now, vantage, &nodes);
        let (id, probers) = (round.id, round.probers());
        self.round = Some(round);
        out.emit(Output::LookFor { round: id, nodes, probers });
    }

    fn conclude(
        &mut self,
        now: MonoTime,
        round: &Round,
        is_alone: bool,
        out: &mut impl Emit<Output>,
    ) {
        if round.is_stale(now) {
            return;
        }
        let found: Vec<(NodeId, Evidence)> = round.silent(is_alone).collect();
        let watched = self.by_deadline.len();
        // Whoever hears most of all nodes no more, and has nobody to ask, is likely the one cut off.
        let is_doubtful = is_alone && MANY_MIN < found.len() && watched < 2 * found.len();
        let mut down = Vec::new();
        for (node, evidence) in found {
            let watched =
                self.nodes.get_mut(&node).expect("invariant: only known nodes are asked after");
            let held_ms = watched.missed_at.map_or(0, |at| now.ms_since(at));
            let is_sure = match evidence {
                Evidence::None => planted!(VerdictUnwitnessed),
                Evidence::Confirmed if !is_doubtful => true,
                Evidence::Weak | Evidence::Confirmed => VERDICT_HELD_MS <= held_ms,
            };
            if is_sure {
                watched.verdict = Some((NodeStatus::Down, now));
                down.push(node);
                // Until the state confirms, the next deadline is that of saying it again.
                self.arm(node, now.plus_ms(VERDICT_RETRY_MS));
            }
        }
        if MANY_MIN.max(watched * MANY_PERMILLE / 1_000) <= down.len() {
            self.rest_until = round.since.plus_ms(self.config.ttl_ms);
        }
        if !down.is_empty() {
            out.emit(Output::NodesDown(down));
        }
    }

    /// It was heard, or is watched no more.
    fn acquit(&mut self, node: NodeId) {
        if let Some(watched) = self.nodes.get_mut(&node) {
            watched.missed_at = None;
        }
        if let Some(round) = &mut self.round {
            round.forget(node);
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
    const fn new(status: NodeStatus) -> Self {
        Self { status, verdict: None, deadline: None, missed_at: None }
    }

    /// Whether `verdict` has not just been said.
    const fn may_say(&self, now: MonoTime, verdict: NodeStatus) -> bool {
        match self.verdict {
            Some((said, at)) if said as u8 == verdict as u8 => VERDICT_RETRY_MS <= now.ms_since(at),
            Some(_) | None => true,
        }
    }
}
