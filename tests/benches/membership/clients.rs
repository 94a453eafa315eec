//! Client nodes and the servers that watch them: three whole servers, and clients that beat, answer
//! probes, turn to another server when one does not answer, and run nothing.
//!
//! Words arrive at once and disks are done at once, so what is told is what the rules take: times of
//! silence, rounds of probes, entries of the log.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::agent::{Agent, Effects, Event, Input};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::limits::HEARTBEAT_TTL_MS;
use drover_core::rng::Rng;
use drover_core::state::TableKind;
use drover_core::time::MonoTime;
use drover_core::types::{Index, NodeId, NodeStatus, ServerId};
use drover_core::wire::{Message, PeerId};
use drover_tests::rig::agent::node_spec;
use drover_tests::rig::cluster::{Beside, Cluster};

use super::scenes::Times;

const SERVERS: u64 = 3;
/// As long as a client waits for an answer before it turns to another server, at least and at most.
const PATIENCE_MS: (u64, u64) = (1_000, 2_000);

/// What clients have heard and servers have said of them.
pub(crate) struct Fleet {
    /// Who is dead, and since when.
    dead: BTreeMap<NodeId, MonoTime>,
    /// A server that hears no client.
    deaf: Option<ServerId>,
    answered: BTreeSet<NodeId>,
    /// The nodes table as the leader had it last.
    nodes_at: Index,
    now: MonoTime,
    /// How long it took to call each of the dead down.
    pub(crate) found: BTreeMap<NodeId, u64>,
    /// Entries that called somebody down.
    pub(crate) verdicts: usize,
    /// The living that were called down.
    pub(crate) wronged: BTreeSet<NodeId>,
}

/// See the module.
pub(crate) struct Clients {
    cluster: Cluster<Fleet>,
    /// Who speaks next, and to whom.
    due: BTreeSet<(MonoTime, NodeId)>,
    server: BTreeMap<NodeId, ServerId>,
    rng: Rng,
}

impl Fleet {
    fn new() -> Self {
        Self {
            dead: BTreeMap::new(),
            deaf: None,
            answered: BTreeSet::new(),
            nodes_at: Index(0),
            now: MonoTime::default(),
            found: BTreeMap::new(),
            verdicts: 0,
            wronged: BTreeSet::new(),
        }
    }

    fn look(&mut self, leader: &Agent) {
        let state = leader.state().expect("a server");
        let at = state.table_index(TableKind::Nodes);
        if self.nodes_at == at {
            return;
        }
        self.nodes_at = at;
        let before = self.found.len() + self.wronged.len();
        for node in state.nodes().filter(|node| node.status == NodeStatus::Down) {
            match self.dead.get(&node.spec.id) {
                Some(&since) => {
                    self.found.entry(node.spec.id).or_insert(self.now.ms_since(since));
                }
                None => drop(self.wronged.insert(node.spec.id)),
            }
        }
        self.verdicts += usize::from(before < self.found.len() + self.wronged.len());
    }
}

impl Beside for Fleet {
    fn step(&mut self, _: ServerId, agent: &mut Agent, input: Input, effects: &mut Effects) {
        self.now = input.now;
        agent.step(input, effects);
        if agent.is_open() {
            self.look(agent);
        }
    }

    fn hear(&mut self, from: ServerId, node: NodeId, said: &ServerMessage) -> Option<NodeMessage> {
        if self.dead.contains_key(&node) || self.deaf == Some(from) {
            return None;
        }
        match said {
            ServerMessage::Probe => Some(BEAT),
            ServerMessage::HeartbeatAck { .. } => {
                self.answered.insert(node);
                None
            }
            ServerMessage::Registered { .. }
            | ServerMessage::Unregistered
            | ServerMessage::Unavailable
            | ServerMessage::Assign(_)
            | ServerMessage::ReportAck { .. } => None,
        }
    }
}

const BEAT: NodeMessage =
    NodeMessage::Heartbeat { seq: Index(0), registered_at: Index(0), is_behind: false };

impl Clients {
    /// All are ready, and beat at moments of their own.
    pub(crate) fn with(count: u64, seed: u64) -> Self {
        let cluster = Cluster::founded_beside(3, Fleet::new());
        let mut this = Self {
            cluster,
            due: BTreeSet::new(),
            server: BTreeMap::new(),
            rng: Rng::from_seed(seed),
        };
        for id in 1..=count {
            let (node, server) = (NodeId(u128::from(id)), ServerId(id % SERVERS + 1));
            this.server.insert(node, server);
            let spec = node_spec(node).into();
            let words = [NodeMessage::Register { spec }, BEAT];
            this.cluster.tell(words.map(|said| (server, heard(node, said))));
            let first = this.rng.between(0, HEARTBEAT_TTL_MS);
            this.due.insert((this.cluster.now().plus_ms(first), node));
        }
        this.pass_ms(2 * HEARTBEAT_TTL_MS);
        let state = this.cluster.state(this.leader());
        assert!(state.nodes().all(|node| node.status == NodeStatus::Ready), "all are ready");
        assert_eq!(state.nodes().count() as u64, count, "and there");
        this
    }

    pub(crate) fn leader(&self) -> ServerId {
        self.cluster.leader().expect("one leads")
    }

    pub(crate) const fn fleet(&self) -> &Fleet {
        &self.cluster.beside
    }

    /// It says nothing any more.
    pub(crate) fn kill(&mut self, id: u64) {
        let now = self.cluster.now();
        self.cluster.beside.dead.insert(NodeId(u128::from(id)), now);
    }

    pub(crate) fn kill_leader(&mut self) {
        let leader = self.leader();
        self.cluster.stop(leader);
    }

    /// The leader hears no client for so long.
    pub(crate) fn deafen(&mut self, ms: u64) {
        self.cluster.beside.deaf = Some(self.leader());
        self.pass_ms(ms);
        self.cluster.beside.deaf = None;
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let until = self.cluster.now().plus_ms(ms);
        while let Some(&(at, node)) = self.due.first().filter(|&&(at, _)| at <= until) {
            self.due.pop_first();
            self.cluster.pass_ms(at.ms_since(self.cluster.now()));
            self.speak(node);
        }
        self.cluster.pass_ms(until.ms_since(self.cluster.now()));
    }

    /// A beat, and the next one after it, or soon if it is not answered.
    fn speak(&mut self, node: NodeId) {
        if self.cluster.beside.dead.contains_key(&node) {
            return;
        }
        let server = self.server[&node];
        self.cluster.beside.answered.remove(&node);
        if self.cluster.beside.deaf != Some(server) {
            self.cluster.tell([(server, heard(node, BEAT))]);
        }
        let wait_ms = if self.cluster.beside.answered.contains(&node) {
            HEARTBEAT_TTL_MS - self.rng.between(0, HEARTBEAT_TTL_MS / 20)
        } else {
            let hop = self.rng.between(1, SERVERS - 1);
            self.server.insert(node, ServerId((server.0 - 1 + hop) % SERVERS + 1));
            self.rng.between(PATIENCE_MS.0, PATIENCE_MS.1)
        };
        self.due.insert((self.cluster.now().plus_ms(wait_ms), node));
    }
}

const fn heard(node: NodeId, said: NodeMessage) -> Event {
    Event::Received { from: PeerId::Client(node), message: Message::FromNode(said) }
}

/// So many die one after the other, `every_ms` apart: how long it takes until each is called down.
pub(crate) fn crashes(count: u64, dying: u64, every_ms: u64, seed: u64) -> (Times, usize) {
    let mut clients = Clients::with(count, seed);
    for nth in 0..dying {
        clients.kill(1 + nth * (count / dying));
        clients.pass_ms(every_ms);
    }
    clients.pass_ms(20_000);
    let fleet = clients.fleet();
    assert_eq!(fleet.found.len() as u64, dying, "each is found");
    (Times(fleet.found.values().copied().collect()), fleet.wronged.len())
}
