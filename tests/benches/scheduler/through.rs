//! Through the log: three servers, each a whole agent, and 5,000 client nodes that say what they must and
//! run nothing. Words between them arrive at once, disks are done at once; so what is told is the work of
//! the servers themselves: requests, consensus, the log's records, applying, scheduling, telling nodes.
//!
//! Beside the work of the leader stands that of all three, and the longest single step.
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use drover_core::agent::{Agent, Effect, Effects, Event, Input};
use drover_core::api::Request;
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::state::State;
use drover_core::types::*;
use drover_core::wal::Operation;
use drover_core::wire::{Message, PeerId};
use drover_tests::rig::cluster::{Beside, Cluster};

use crate::shapes::{a_job, mock_node};
use crate::world::cpu_now;
use crate::{Row, per_second};

const NODES: usize = 5_000;
const SERVERS: u32 = 3;
/// Between two beats of a node, in ms.
const BEAT_MS: u64 = 4_000;

/// What was spent since it was set back.
#[derive(Clone, Default)]
struct Meter {
    of_leader: Duration,
    of_all: Duration,
    longest: Duration,
    /// Bytes that the leader wrote to its log, in whole blocks.
    written: usize,
    /// Allocs that nodes were told to run.
    told: usize,
}

/// Stands beside the servers: measures their steps, and answers for the nodes.
#[derive(Default)]
struct Bench {
    meter: Meter,
    /// Nothing counts until the leader calls a node down.
    awaits_loss: bool,
    /// What nodes know: how far they have acknowledged, and when they registered.
    known: BTreeMap<NodeId, (Index, Index)>,
}

/// See the module.
struct Servers {
    cluster: Cluster<Bench>,
    nodes: Vec<NodeSpec>,
}

pub(crate) fn rows() -> Vec<Row> {
    let mut servers = Servers::with(NODES);
    let mut rows = Vec::new();
    for (kind, nomad) in [(JobKind::Batch, "4,600/s"), (JobKind::Service, "2,100/s")] {
        let spec = JobSpec { kind, ..a_job(&format!("{kind:?}"), 5_000, (500, 256, 150)) };
        let meter = servers.ask_all(vec![register(spec)], 5_000);
        let what = format!("{NODES} nodes, one {kind:?} job of 5,000");
        rows.push(meter.row(&what, (5_000, "allocs"), (nomad, "500,000/s")));
    }
    let single = |nth| register(a_job(&format!("single-{nth}"), 1, (500, 256, 150)));
    let meter = servers.ask_all((0..500).map(single).collect(), 500);
    let (what, goal) = ("500 jobs of one alloc", ("209/s", "20,000/s"));
    rows.push(meter.row(what, (500, "evals"), goal));
    let mut feed = a_job("feed", 1, (100, 64, 10));
    feed.launch = Launch::Parameterized(Parameterized::default());
    servers.ask_all(vec![register(feed)], 0);
    let meter = servers.ask_all((0..2_000).map(dispatch).collect(), 2_000);
    let (what, goal) = ("2,000 dispatches", ("117 to 261/s", "20,000/s"));
    rows.push(meter.row(what, (2_000, "evals"), goal));
    rows.push(servers.lose(30));
    rows
}

/// A hundred jobs that together have a million allocs, submitted at once.
pub(crate) fn million() -> Vec<Row> {
    const NODES: usize = 10_000;
    const JOBS: usize = 100;
    const EACH: u32 = 10_000;
    let mut servers = Servers::with(NODES);
    let job =
        |nth| JobSpec { kind: JobKind::Batch, ..a_job(&format!("job-{nth}"), EACH, (100, 64, 10)) };
    let all = JOBS * EACH as usize;
    let meter = servers.ask_all((0..JOBS).map(|nth| register(job(nth))).collect(), all);
    let what = format!("{NODES} nodes, {JOBS} jobs with {all} allocs together");
    let published = "C1M 3,750/s, C2M 1,500/s (published)";
    vec![meter.row(&what, (all, "allocs"), (published, "10 s, 32 B each"))]
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
    fn row(
        &self,
        what: &str,
        (count, of): (usize, &str),
        (nomad, goal): (&'static str, &'static str),
    ) -> Row {
        let figure = format!(
            "{} {of}: leader {:.1} ms, all three {:.1} ms; longest step {:.1} ms; written {} B each",
            per_second(count, self.of_leader),
            ms(self.of_leader),
            ms(self.of_all),
            ms(self.longest),
            self.written / count.max(1),
        );
        Row { what: format!("through the log: {what}"), figure, checked: 0, nomad, goal }
    }
}

fn ms(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e3
}

impl Bench {
    /// The work of the leader that was just done belongs to what is measured.
    fn look(&mut self, leader: &Agent) {
        let is_down = |node: &Node| node.status == NodeStatus::Down;
        if self.awaits_loss && leader.state().expect("a server").nodes().any(is_down) {
            (self.awaits_loss, self.meter) = (false, Meter::default());
        }
    }
}

impl Beside for Bench {
    fn step(&mut self, _: ServerId, agent: &mut Agent, input: Input, effects: &mut Effects) {
        let before = cpu_now();
        agent.step(input, effects);
        let spent = cpu_now() - before;
        self.meter.of_all += spent;
        self.meter.longest = self.meter.longest.max(spent);
        if agent.is_open() {
            self.meter.of_leader += spent;
            let written = effects.list.iter().map(|effect| match effect {
                Effect::Disk { operation: Operation::Write { block, .. }, .. } => block.len(),
                _ => 0,
            });
            self.meter.written += written.sum::<usize>();
            self.look(agent);
        }
    }

    fn hear(&mut self, _: ServerId, node: NodeId, said: &ServerMessage) -> Option<NodeMessage> {
        let known = self.known.entry(node).or_default();
        match said {
            ServerMessage::Registered { index, .. } => {
                known.1 = *index;
                Some(beat(*known))
            }
            ServerMessage::Assign(work) => {
                known.0 = work.seq;
                self.meter.told += work.runs.len();
                Some(NodeMessage::Acknowledge { seq: work.seq })
            }
            _ => None,
        }
    }
}

const fn beat((seq, registered_at): (Index, Index)) -> NodeMessage {
    NodeMessage::Heartbeat { seq, registered_at, is_behind: false }
}

fn ready(state: &State) -> usize {
    state.nodes().filter(|node| node.status == NodeStatus::Ready).count()
}

/// The server that the node is connected to.
const fn server_of(nth: usize) -> ServerId {
    ServerId(nth as u64 % SERVERS as u64 + 1)
}

impl Servers {
    /// A leader, and every node ready.
    fn with(nodes: usize) -> Self {
        let cluster = Cluster::founded_beside(SERVERS, Bench::default());
        let mut this = Self { cluster, nodes: (0..nodes).map(mock_node).collect() };
        let registering = this.nodes.iter().enumerate().flat_map(|(nth, spec)| {
            let peer = PeerId::Client(spec.id);
            let registers = NodeMessage::Register { spec: spec.clone().into() };
            let event = Event::LinkChanged { peer, up: true };
            [(server_of(nth), event), says(nth, spec, registers)]
        });
        let registering: Vec<_> = registering.collect();
        this.cluster.tell(registering);
        let all_ready = |cluster: &Cluster<Bench>| {
            let servers = (1..=u64::from(SERVERS)).map(ServerId);
            servers.map(|id| ready(cluster.state(id))).all(|count| count == nodes)
        };
        this.cluster.pass_until(9_000, all_ready);
        assert!(all_ready(&this.cluster), "every node is ready, as far as any server knows");
        this
    }

    /// Asks the leader for all of it at once, and waits until it is answered and nodes were told of `count`
    /// allocs. What was spent until then.
    fn ask_all(&mut self, requests: Vec<Request>, count: usize) -> Meter {
        self.beat(0..self.nodes.len());
        self.cluster.beside.meter = Meter::default();
        self.cluster.answers.clear();
        let (leader, asked) = (self.cluster.leader().expect("a leader"), requests.len());
        self.cluster.ask_all(leader, requests);
        let is_done = |cluster: &Cluster<Bench>| {
            asked == cluster.answers.len() && count <= cluster.beside.meter.told
        };
        self.cluster.pass_until(3_000, is_done);
        assert!(is_done(&self.cluster), "all is answered and told");
        assert!(self.cluster.answers.values().all(Result::is_ok), "and done");
        self.cluster.beside.meter.clone()
    }

    /// So many nodes fall silent; what it takes from the first verdict until all is replaced.
    fn lose(&mut self, count: usize) -> Row {
        let lost: Vec<NodeId> = self.nodes[..count].iter().map(|spec| spec.id).collect();
        let before = state(&self.cluster);
        let gone = before.allocs().filter(|alloc| lost.contains(&alloc.node));
        let gone = gone.filter(|alloc| !alloc.client_status.is_terminal()).count();
        let mut beats = 0;
        self.cluster.beside.awaits_loss = true;
        let is_done = |cluster: &Cluster<Bench>| {
            !cluster.beside.awaits_loss && gone <= cluster.beside.meter.told
        };
        while !is_done(&self.cluster) {
            assert!(beats < 15, "a minute is enough");
            beats += 1;
            self.beat(count..self.nodes.len());
            self.cluster.pass_until(BEAT_MS, is_done);
        }
        let what = format!("{count} nodes of {NODES} are lost, with {gone} allocs");
        self.cluster.beside.meter.row(&what, (gone, "allocs"), ("1.6 to 2.1 s", "20 ms"))
    }

    fn beat(&mut self, nodes: Range<usize>) {
        let beats = nodes.map(|nth| {
            let spec = &self.nodes[nth];
            says(nth, spec, beat(self.cluster.beside.known[&spec.id]))
        });
        let beats: Vec<_> = beats.collect();
        self.cluster.tell(beats);
    }
}

/// The node says something to its server.
fn says(nth: usize, spec: &NodeSpec, said: NodeMessage) -> (ServerId, Event) {
    let from = PeerId::Client(spec.id);
    (server_of(nth), Event::Received { from, message: Message::FromNode(said) })
}

/// As the leader has it.
fn state(cluster: &Cluster<Bench>) -> &State {
    cluster.state(cluster.leader().expect("a leader"))
}
