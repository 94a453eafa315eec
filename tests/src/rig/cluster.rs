//! A few whole servers with a network that loses nothing and disks that are done at once.
//!
//! For stories about what operators order; faults are the simulator's business, except for servers
//! that are stopped for good.
use std::collections::{BTreeMap, VecDeque};

use drover_core::agent::{Agent, Config, Effect, Effects, Event, Input, Recovered, View};
use drover_core::api::{Rejection, Request, Response};
use drover_core::raft::SnapshotMark;
use drover_core::state::State;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::{Incarnation, NodeId, RequestId, ServerId};
use drover_core::wal::Tail;
use drover_core::wire::PeerId;

use super::agent::dev_config;

/// Servers by id, and what they have answered.
pub struct Cluster {
    servers: BTreeMap<ServerId, Server>,
    under_way: VecDeque<(ServerId, Event)>,
    now: MonoTime,
    requests: u64,
    /// Answers by request.
    pub answers: BTreeMap<RequestId, Result<Response, Rejection>>,
}

struct Server {
    agent: Agent,
    wake: Option<MonoTime>,
}

/// A server that founds a cluster with the others of `ids`, or joins one.
fn config(id: u64, expect: u32, ids: &[u64]) -> Config {
    let mut config = dev_config(ServerId(id), NodeId(0));
    config.client = None;
    let server = config.server.as_mut().expect("it is a server");
    server.gossip.own.name = format!("s{id}");
    server.gossip.own.address = id.to_string();
    server.gossip.own.expect = expect;
    server.gossip.join = ids.iter().filter(|&&other| other != id).map(u64::to_string).collect();
    config
}

impl Cluster {
    /// Servers `1..=count` that found a cluster, which has a leader.
    ///
    /// # Panics
    /// If they elect none.
    #[must_use]
    pub fn founded(count: u32) -> Self {
        let ids: Vec<u64> = (1..=u64::from(count)).collect();
        let mut this = Self {
            servers: BTreeMap::new(),
            under_way: VecDeque::new(),
            now: MonoTime::default(),
            requests: 0,
            answers: BTreeMap::new(),
        };
        for &id in &ids {
            this.boot(id, config(id, count, &ids));
        }
        this.pass_ms(8_000);
        assert!(this.leader().is_some(), "they elect a leader");
        this
    }

    /// One more server, which knows the first.
    pub fn join(&mut self, id: u64) {
        self.boot(id, config(id, 0, &[1, 2]));
    }

    fn boot(&mut self, id: u64, config: Config) {
        let agent = Agent::new(config, id);
        self.servers.insert(ServerId(id), Server { agent, wake: None });
        let booted = Recovered {
            incarnation: Incarnation(1),
            rebooted: false,
            records: Vec::new(),
            tail: Tail::fresh(),
            snapshot: None,
        };
        self.step(ServerId(id), Event::Booted(Box::new(booted)));
    }

    /// It says nothing any more.
    pub fn stop(&mut self, id: ServerId) {
        self.servers.remove(&id);
        let others: Vec<ServerId> = self.servers.keys().copied().collect();
        for other in others {
            self.step(other, Event::LinkChanged { peer: PeerId::Server(id), up: false });
        }
    }

    /// Who leads, and has made sure of what it inherited.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        self.servers.iter().find(|(_, server)| server.agent.is_open()).map(|(&id, _)| id)
    }

    /// What a server says of itself.
    ///
    /// # Panics
    /// If it was stopped.
    #[must_use]
    pub fn view(&self, id: ServerId) -> View {
        self.servers[&id].agent.view()
    }

    /// The tables of a server.
    ///
    /// # Panics
    /// If it was stopped.
    #[must_use]
    pub fn state(&self, id: ServerId) -> &State {
        self.servers[&id].agent.state().expect("it is a server")
    }

    /// Voters, as the leader has them.
    ///
    /// # Panics
    /// If none leads.
    #[must_use]
    pub fn voters(&self) -> Vec<ServerId> {
        let view = self.view(self.leader().expect("one leads"));
        view.server.expect("a server").configuration.voters
    }

    /// Asks `server` for something; the answer comes with time.
    pub fn ask(&mut self, server: ServerId, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(server, Event::Requested { id, request });
        id
    }

    /// Lets `ms` pass, serving every deadline on the way.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let wakes = self.servers.iter().filter_map(|(&id, server)| Some((server.wake?, id)));
            let Some((wake, id)) = wakes.min().filter(|&(wake, _)| wake <= end) else { break };
            self.now.ns = self.now.ns.max(wake.ns.saturating_sub(1));
            self.step(id, Event::Woken);
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, id: ServerId, event: Event) {
        self.under_way.push_back((id, event));
        while let Some((id, event)) = self.under_way.pop_front() {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            self.now.ns += 1;
            let wall = WallTime { unix_ms: 1_000_000 + self.now.ns / 1_000_000 };
            let mut effects = Effects::default();
            server.agent.step(Input { now: self.now, wall, event }, &mut effects);
            server.agent.check_invariants();
            server.wake = effects.wake.map(|wake| wake.at);
            effects.list.into_iter().for_each(|effect| self.carry_out(id, effect));
        }
    }

    fn carry_out(&mut self, own: ServerId, effect: Effect) {
        match effect {
            Effect::Disk { op, .. } => self.under_way.push_back((own, Event::DiskDone { op })),
            Effect::Send { to: PeerId::Server(to), message } => {
                let event = Event::Received { from: PeerId::Server(own), message };
                self.under_way.push_back((to, event));
            }
            Effect::Dial { address } => {
                let to = ServerId(address.parse().expect("an address is an id"));
                // Who is not there yet dials when it boots.
                let ends = [(own, to), (to, own)].into_iter();
                for (here, there) in ends.filter(|_| self.servers.contains_key(&to)) {
                    let peer = PeerId::Server(there);
                    self.under_way.push_back((here, Event::LinkChanged { peer, up: true }));
                }
            }
            Effect::Reply { id, answer } => drop(self.answers.insert(id, answer)),
            Effect::Cut { position, configuration, digest } => {
                let (index, term, bytes) = (position.index, position.term, 1);
                let mark = SnapshotMark { index, term, digest, bytes, configuration };
                self.under_way.push_back((own, Event::SnapshotSaved(mark)));
            }
            Effect::Halt { reason } => panic!("server {} halted: {reason}", own.0),
            Effect::Send { .. }
            | Effect::HangUp { .. }
            | Effect::StartTask { .. }
            | Effect::ReattachTask { .. }
            | Effect::StopTask { .. }
            | Effect::SignalTask { .. }
            | Effect::KillTask { .. }
            | Effect::DestroyAlloc { .. }
            | Effect::Joined { .. }
            | Effect::Committed { .. }
            | Effect::ReadChunk { .. }
            | Effect::StoreChunk { .. }
            | Effect::LoadSnapshot { .. } => (),
        }
    }
}
