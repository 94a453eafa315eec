//! A few whole servers with a network that loses nothing and disks that are done at once.
//!
//! For stories about what operators order; faults are the simulator's business, except for servers
//! that are stopped for good. And for benches: whoever stands beside sees each step, and may speak for
//! client nodes.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drover_core::agent::{Agent, Config, Effect, Effects, Event, Input, View};
use drover_core::api::{Rejection, Request, Response};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::raft::SnapshotMark;
use drover_core::state::State;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::{NodeId, RequestId, ServerId};
use drover_core::wire::{Message, PeerId};

use super::agent::{dev_config, nth_start};

/// Who stands beside the servers.
pub trait Beside {
    /// Has a server do a step.
    fn step(&mut self, id: ServerId, agent: &mut Agent, input: Input, effects: &mut Effects);

    /// What a client node answers to what `from` said.
    fn hear(&mut self, from: ServerId, node: NodeId, said: &ServerMessage) -> Option<NodeMessage>;
}

/// Nobody speaks for nodes, and the servers' invariants are looked at after each step.
pub struct Nobody;

impl Beside for Nobody {
    fn step(&mut self, _: ServerId, agent: &mut Agent, input: Input, effects: &mut Effects) {
        agent.step(input, effects);
        agent.check_invariants();
    }

    fn hear(&mut self, _: ServerId, _: NodeId, _: &ServerMessage) -> Option<NodeMessage> {
        None
    }
}

/// Servers by id, and what they have answered.
pub struct Cluster<B = Nobody> {
    pub beside: B,
    servers: BTreeMap<ServerId, Server>,
    under_way: VecDeque<(ServerId, Event)>,
    now: MonoTime,
    requests: u64,
    cut: BTreeSet<ServerId>,
    /// Answers by request.
    pub answers: BTreeMap<RequestId, Result<Response, Rejection>>,
    /// Who has gone with grace, and what was left undone.
    pub departed: BTreeMap<ServerId, Option<String>>,
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
        Self::founded_beside(count, Nobody)
    }
}

impl<B: Beside> Cluster<B> {
    /// As `founded`.
    ///
    /// # Panics
    /// If they elect no leader.
    #[must_use]
    pub fn founded_beside(count: u32, beside: B) -> Self {
        let ids: Vec<u64> = (1..=u64::from(count)).collect();
        let mut this = Self {
            beside,
            servers: BTreeMap::new(),
            under_way: VecDeque::new(),
            now: MonoTime::default(),
            requests: 0,
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            departed: BTreeMap::new(),
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
        self.start(id, config, 1);
    }

    fn start(&mut self, id: u64, config: Config, nth: u64) {
        let agent = Agent::new(config, id);
        self.servers.insert(ServerId(id), Server { agent, wake: None });
        self.tell([(ServerId(id), nth_start(nth))]);
    }

    /// The same of a server that was there before, and lost its disk meanwhile: its `nth` start.
    pub fn join_again(&mut self, id: u64, nth: u64) {
        self.start(id, config(id, 0, &[1, 2, 3]), nth);
    }

    /// From now on it is spoken to by nobody, and nobody hears it.
    pub fn cut(&mut self, id: ServerId) {
        self.cut.insert(id);
    }

    /// Everybody hears everybody again.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// It says nothing any more.
    pub fn stop(&mut self, id: ServerId) {
        self.servers.remove(&id);
        let others: Vec<ServerId> = self.servers.keys().copied().collect();
        for other in others {
            self.tell([(other, Event::LinkChanged { peer: PeerId::Server(id), up: false })]);
        }
    }

    /// The moment of the last step, or to which time was let pass.
    #[must_use]
    pub const fn now(&self) -> MonoTime {
        self.now
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
        self.ask_all(server, [request]);
        RequestId(self.requests)
    }

    /// The same of many at once.
    pub fn ask_all(&mut self, server: ServerId, requests: impl IntoIterator<Item = Request>) {
        let asked = requests.into_iter().map(|request| {
            self.requests += 1;
            (server, Event::Requested { id: RequestId(self.requests), request })
        });
        let asked: Vec<_> = asked.collect();
        self.tell(asked);
    }

    /// Lets `ms` pass, serving every deadline on the way.
    pub fn pass_ms(&mut self, ms: u64) {
        self.pass_until(ms, |_| false);
    }

    /// The same, but no longer than until `is_done`.
    pub fn pass_until(&mut self, ms: u64, is_done: impl Fn(&Self) -> bool) {
        let end = self.now.plus_ms(ms);
        while !is_done(self) {
            let wakes = self.servers.iter().filter_map(|(&id, server)| Some((server.wake?, id)));
            let Some((wake, id)) = wakes.min().filter(|&(wake, _)| wake <= end) else {
                self.now = self.now.max(end);
                break;
            };
            self.now.ns = self.now.ns.max(wake.ns.saturating_sub(1));
            self.tell([(id, Event::Woken)]);
        }
    }

    /// These happen, one after the other, and then all that comes of them at once.
    pub fn tell(&mut self, events: impl IntoIterator<Item = (ServerId, Event)>) {
        self.under_way.extend(events);
        while let Some((id, event)) = self.under_way.pop_front() {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            self.now.ns += 1;
            let wall = WallTime { unix_ms: 1_000_000 + self.now.ns / 1_000_000 };
            let mut effects = Effects::default();
            let input = Input { now: self.now, wall, event };
            self.beside.step(id, &mut server.agent, input, &mut effects);
            server.wake = effects.wake.map(|wake| wake.at);
            effects.list.into_iter().for_each(|effect| self.carry_out(id, effect));
        }
    }

    fn carry_out(&mut self, own: ServerId, effect: Effect) {
        match effect {
            Effect::Disk { op, .. } => self.under_way.push_back((own, Event::DiskDone { op })),
            Effect::Send { to: PeerId::Server(to), message } => {
                let event = Event::Received { from: PeerId::Server(own), message };
                if !self.cut.contains(&own) && !self.cut.contains(&to) {
                    self.under_way.push_back((to, event));
                }
            }
            Effect::Send { to: PeerId::Client(node), message: Message::ToNode(said) } => {
                let answer = self.beside.hear(own, node, &said);
                let from = PeerId::Client(node);
                let heard = |said| Event::Received { from, message: Message::FromNode(said) };
                self.under_way.extend(answer.map(|said| (own, heard(said))));
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
            Effect::Departed { unfinished } => {
                self.departed.insert(own, unfinished);
                self.stop(own);
            }
            Effect::Halt { reason } => panic!("server {} halted: {reason}", own.0),
            Effect::Send { .. }
            | Effect::HangUp { .. }
            | Effect::Forget { .. }
            | Effect::StartTask { .. }
            | Effect::ReattachTask { .. }
            | Effect::StopTask { .. }
            | Effect::SignalTask { .. }
            | Effect::KillTask { .. }
            | Effect::DestroyAlloc { .. }
            | Effect::Advertise { .. }
            | Effect::Joined { .. }
            | Effect::Committed { .. }
            | Effect::ReadChunk { .. }
            | Effect::StoreChunk { .. }
            | Effect::LoadSnapshot { .. } => (),
        }
    }
}
