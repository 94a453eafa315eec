//! Through the log: three servers, each a whole agent, and 5,000 client nodes that say what they must and
//! run nothing. Words between them arrive at once, disks are done at once; so what is told is the work of
//! the servers themselves: requests, consensus, the log's records, applying, scheduling, telling nodes.
//!
//! Beside the work of the leader stands that of all three, and the longest single step.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use drover_core::agent::{Agent, Config, Effect, Effects, Event, Input, Recovered};
use drover_core::api::{Rejection, Request, Response};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::raft;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::*;
use drover_core::wal::{Operation, Tail};
use drover_core::wire::{Message, PeerId};
use drover_tests::rig::agent::dev_config;

use crate::shapes::{a_job, mock_node};
use crate::world::cpu_now;
use crate::{Row, per_second};

const NODES: usize = 5_000;
const SERVERS: usize = 3;
/// Steps between two looks at what is placed.
const LOOK: u64 = 32;
/// Between two beats of a node, in ms.
const BEAT_MS: u64 = 4_000;

/// See the module.
struct Servers {
    agents: Vec<Agent>,
    wakes: Vec<Option<MonoTime>>,
    now: MonoTime,
    queue: VecDeque<(usize, Event)>,
    links: Vec<(usize, usize)>,
    nodes: Vec<NodeSpec>,
    requests: u64,
    answers: BTreeMap<RequestId, Result<Response, Rejection>>,
    meter: Meter,
    /// So many allocs are to run, and what was spent when they did, as far as the leader knows.
    wanted: usize,
    placed: Option<Meter>,
    steps: u64,
}

/// What was spent since it was set back.
#[derive(Clone, Default)]
struct Meter {
    of_server: [Duration; SERVERS],
    longest: Duration,
    /// Bytes that one server wrote to its log.
    logged: usize,
    /// Allocs that nodes were told to run.
    told: usize,
}

pub(crate) fn rows() -> Vec<Row> {
    let mut servers = Servers::new();
    let mut rows = Vec::new();
    for (kind, nomad) in [(JobKind::Batch, "4,600/s"), (JobKind::Service, "2,100/s")] {
        let spec = JobSpec { kind, ..a_job(&format!("{kind:?}"), 5_000, (500, 256, 150)) };
        let [placed, told] = servers.ask_all(vec![register(spec)], 5_000);
        let what = format!("{NODES} nodes, one {kind:?} job of 5,000");
        rows.push(Meter::row((&placed, &told), &what, (5_000, "allocs"), (nomad, "500,000/s")));
    }
    let single = |nth| register(a_job(&format!("single-{nth}"), 1, (500, 256, 150)));
    let [placed, told] = servers.ask_all((0..500).map(single).collect(), 500);
    let (what, goal) = ("500 jobs of one alloc", ("209/s", "20,000/s"));
    rows.push(Meter::row((&placed, &told), what, (500, "evals"), goal));
    let mut feed = a_job("feed", 1, (100, 64, 10));
    feed.launch = Launch::Parameterized(Parameterized::default());
    servers.ask_all(vec![register(feed)], 0);
    let [placed, told] = servers.ask_all((0..2_000).map(dispatch).collect(), 2_000);
    let (what, goal) = ("2,000 dispatches", ("117 to 261/s", "20,000/s"));
    rows.push(Meter::row((&placed, &told), what, (2_000, "evals"), goal));
    rows.push(servers.lose(30));
    rows
}

fn register(spec: JobSpec) -> Request {
    Request::RegisterJob { spec: spec.into(), check_index: None }
}

fn dispatch(nth: usize) -> Request {
    Request::DispatchJob {
        namespace: "default".to_owned(),
        job: "feed".to_owned(),
        payload: [7; 64].as_slice().into(),
        meta: BTreeMap::new(),
        id_prefix: String::new(),
        token: nth.to_string(),
    }
}

impl Meter {
    fn leader(&self) -> Duration {
        self.of_server.into_iter().max().unwrap_or_default()
    }

    fn row(
        (placed, told): (&Self, &Self),
        what: &str,
        (count, of): (usize, &str),
        (nomad, goal): (&'static str, &'static str),
    ) -> Row {
        let all: Duration = placed.of_server.iter().sum();
        let figure = format!(
            "{} {of}: leader {:.1} ms, all three {:.1} ms; until nodes are told {:.1} ms; longest step \
             {:.1} ms; written {} B each",
            per_second(count, placed.leader()),
            ms(placed.leader()),
            ms(all),
            ms(told.leader()),
            ms(told.longest),
            told.logged / count.max(1),
        );
        Row { what: format!("through the log: {what}"), figure, checked: 0, nomad, goal }
    }
}

fn ms(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e3
}

fn config(number: usize) -> Config {
    let id = number as u64 + 1;
    let mut config = dev_config(ServerId(id), NodeId(0));
    config.client = None;
    let server = config.server.as_mut().expect("a server");
    let own = &mut server.gossip.own;
    (own.name, own.address, own.expect) = (format!("s{id}"), format!("s{id}"), 3);
    server.gossip.join = (1..=SERVERS).map(|other| format!("s{other}")).collect();
    config
}

impl Servers {
    /// A leader, and every node ready.
    fn new() -> Self {
        let mut this = Self {
            agents: (0..SERVERS).map(|number| Agent::new(config(number), number as u64)).collect(),
            wakes: vec![None; SERVERS],
            now: MonoTime { ns: 1 },
            queue: VecDeque::new(),
            links: Vec::new(),
            nodes: (0..NODES).map(mock_node).collect(),
            requests: 0,
            answers: BTreeMap::new(),
            meter: Meter::default(),
            wanted: 0,
            placed: None,
            steps: 0,
        };
        for server in 0..SERVERS {
            let booted = Recovered {
                incarnation: Incarnation(1),
                rebooted: false,
                records: Vec::new(),
                tail: Tail::fresh(),
                snapshot: None,
            };
            this.queue.push_back((server, Event::Booted(Box::new(booted))));
        }
        this.pass_until(60_000, |this| this.leader().is_some());
        for (nth, spec) in this.nodes.clone().into_iter().enumerate() {
            let peer = PeerId::Client(spec.id);
            this.queue.push_back((nth % SERVERS, Event::LinkChanged { peer, up: true }));
            this.hear(nth, NodeMessage::Register { spec: spec.into() });
        }
        this.pass_until(9_000, |this| this.ready() == NODES);
        assert_eq!(this.ready(), NODES, "every node is ready");
        this
    }

    fn leader(&self) -> Option<usize> {
        let leads = |agent: &Agent| agent.view().server.is_some_and(|server| server.is_open);
        self.agents.iter().position(leads)
    }

    fn state(&self) -> &drover_core::state::State {
        let leader = self.leader().unwrap_or(0);
        self.agents[leader].state().expect("a server")
    }

    fn ready(&self) -> usize {
        self.state().nodes().filter(|node| node.status == NodeStatus::Ready).count()
    }

    /// Asks the leader for all of it at once, and waits until it is answered, `count` allocs more are placed
    /// and nodes were told of them. What was spent when they were placed, and when all was done.
    fn ask_all(&mut self, requests: Vec<Request>, count: usize) -> [Meter; 2] {
        self.beat(NODES);
        self.settle();
        self.begin(self.live() + count);
        self.answers.clear();
        let (leader, asked) = (self.leader().expect("a leader"), requests.len());
        for request in requests {
            self.requests += 1;
            let id = RequestId(self.requests);
            self.queue.push_back((leader, Event::Requested { id, request }));
        }
        self.pass_until(3_000, |this| asked == this.answers.len() && count <= this.meter.told);
        assert!(self.answers.values().all(Result::is_ok), "{:?}", self.answers.values().next());
        assert!(count <= self.meter.told, "{} of {count} allocs were told of", self.meter.told);
        let placed = self.placed.take();
        [placed.unwrap_or_else(|| self.meter.clone()), self.meter.clone()]
    }

    fn begin(&mut self, wanted: usize) {
        (self.meter, self.placed, self.wanted) = (Meter::default(), None, wanted);
    }

    /// Allocs that are to run.
    fn live(&self) -> usize {
        let runs = |alloc: &&Allocation| alloc.desired == DesiredStatus::Run;
        self.state().allocs().filter(runs).count()
    }

    /// So many nodes fall silent; what it takes from the first verdict until all is replaced.
    fn lose(&mut self, count: usize) -> Row {
        let lost: Vec<NodeId> = self.nodes[..count].iter().map(|spec| spec.id).collect();
        let is_lost =
            |alloc: &&Allocation| lost.contains(&alloc.node) && !alloc.client_status.is_terminal();
        let gone = self.state().allocs().filter(is_lost).count();
        let wanted = self.live();
        self.nodes.rotate_left(count);
        let (mut begun, until) = (false, self.now.plus_ms(60_000));
        while self.now < until && (!begun || self.meter.told < gone) {
            self.beat(NODES - count);
            let beat = self.now.plus_ms(BEAT_MS);
            while self.now < beat && (!begun || self.meter.told < gone) {
                self.pass(beat);
                if !begun && self.ready() < NODES {
                    begun = true;
                }
                if !begun {
                    self.begin(wanted);
                }
            }
        }
        let what = format!("{count} nodes of {NODES} are lost, with {gone} allocs");
        let placed = self.placed.take().unwrap_or_else(|| self.meter.clone());
        let goal = ("1.6 to 2.1 s", "20 ms");
        Meter::row((&placed, &self.meter), &what, (gone, "allocs"), goal)
    }

    fn beat(&mut self, count: usize) {
        for nth in 0..count {
            let (seq, registered_at) = (Index(0), Index(0));
            self.hear(nth, NodeMessage::Heartbeat { seq, registered_at });
        }
    }

    /// The node says something to its server.
    fn hear(&mut self, nth: usize, message: NodeMessage) {
        let from = PeerId::Client(self.nodes[nth].id);
        let server = nth % SERVERS;
        self.queue
            .push_back((server, Event::Received { from, message: Message::FromNode(message) }));
    }

    fn pass_until(&mut self, ms: u64, is_done: impl Fn(&Self) -> bool) {
        let end = self.now.plus_ms(ms);
        while self.now < end && !is_done(self) {
            self.pass(end);
        }
    }

    /// To the next moment at which somebody wants to be woken.
    fn pass(&mut self, end: MonoTime) {
        self.settle();
        let next = (0..SERVERS).filter_map(|at| Some((self.wakes[at]?, at))).min();
        let Some((wake, at)) = next.filter(|&(wake, _)| wake <= end) else {
            self.now = end;
            return;
        };
        self.now = self.now.max(wake);
        self.queue.push_back((at, Event::Woken));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((at, event)) = self.queue.pop_front() {
            self.now.ns += 1;
            let wall = WallTime { unix_ms: 1_700_000_000_000 + self.now.ns / 1_000_000 };
            let mut effects = Effects::default();
            let before = cpu_now();
            self.agents[at].step(Input { now: self.now, wall, event }, &mut effects);
            let spent = cpu_now() - before;
            self.meter.of_server[at] += spent;
            self.meter.longest = self.meter.longest.max(spent);
            self.wakes[at] = effects.wake.map(|wake| wake.at);
            for effect in effects.list {
                self.carry_out(at, effect);
            }
            self.steps += 1;
            let looks = self.steps.is_multiple_of(LOOK) && self.placed.is_none();
            if looks && self.wanted <= self.live() {
                self.placed = Some(self.meter.clone());
            }
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let own = PeerId::Server(ServerId(at as u64 + 1));
        match effect {
            Effect::Disk { op, operation } => {
                if let (0, Operation::Write { block, .. }) = (at, operation) {
                    self.meter.logged += block.len();
                }
                self.queue.push_back((at, Event::DiskDone { op }));
            }
            Effect::Cut { position, configuration, digest } => {
                let (index, term, bytes) = (position.index, position.term, 1);
                let mark = raft::SnapshotMark { index, term, digest, bytes, configuration };
                self.queue.push_back((at, Event::SnapshotSaved(mark)));
            }
            Effect::Reply { id, answer } => drop(self.answers.insert(id, answer)),
            Effect::Send { to: PeerId::Server(to), message } => {
                let event = Event::Received { from: own, message };
                let to = usize::try_from(to.0).expect("three servers") - 1;
                self.queue.push_back((to, event));
            }
            Effect::Send { to: PeerId::Client(node), message: Message::ToNode(said) } => {
                self.answer_as_node(at, node, &said);
            }
            Effect::Dial { address } => {
                let to = address.trim_start_matches('s').parse::<usize>().expect("a number") - 1;
                let link = (at.min(to), at.max(to));
                if at != to && !self.links.contains(&link) {
                    self.links.push(link);
                    let peer = PeerId::Server(ServerId(to as u64 + 1));
                    self.queue.push_back((at, Event::LinkChanged { peer, up: true }));
                    self.queue.push_back((to, Event::LinkChanged { peer: own, up: true }));
                }
            }
            Effect::Halt { reason } => panic!("halted: {reason}"),
            _ => {}
        }
    }

    fn answer_as_node(&mut self, at: usize, node: NodeId, said: &ServerMessage) {
        let answer = match said {
            ServerMessage::Registered { index, .. } => {
                NodeMessage::Heartbeat { seq: Index(0), registered_at: *index }
            }
            ServerMessage::Assign(work) => {
                self.meter.told += work.runs.len();
                NodeMessage::Acknowledge { seq: work.seq }
            }
            _ => return,
        };
        let (from, message) = (PeerId::Client(node), Message::FromNode(answer));
        self.queue.push_back((at, Event::Received { from, message }));
    }
}
