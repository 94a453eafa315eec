//! One whole agent, server and client in one, with a disk that is done at once and tasks that obey.
//!
//! For stories about how the machines work together; faults are the simulator's business.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::agent::{
    Agent, ClientConfig, Config, Effect, Effects, Event, Input, LeadConfig, Recovered, ServerConfig,
};
use drover_core::api::{Rejection, Request, Response};
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::{
    Capacity, ClusterId, DriverInfo, Group, Incarnation, JobKind, JobSpec, Launch, LogLimits,
    MigratePolicy, NetworkAsk, NodeId, NodeSpec, Plan, PoolName, RequestId, ReschedulePolicy,
    RestartPolicy, ServerId, Task, TaskChange, TaskKey, TaskResources, UpdatePolicy,
};
use drover_core::wal::Tail;
use drover_core::wire::{Message, PeerId};
use drover_core::{client, gossip, heartbeat, raft, wal};

/// The agent and what it has done.
pub struct DevAgent {
    pub agent: Agent,
    now: MonoTime,
    wake: Option<MonoTime>,
    requests: u64,
    /// Answers by request.
    pub answers: BTreeMap<RequestId, Result<Response, Rejection>>,
    /// Attempts that were started and have not ended.
    pub running: BTreeMap<TaskKey, String>,
    /// What was said to other agents.
    pub sent: Vec<(PeerId, Message)>,
    /// Every input so far: the log.
    pub inputs: Vec<Input>,
    /// What another version would have planned in place of this.
    pub decide: fn(&Plan) -> Option<Plan>,
}

/// The configuration of a server and client in one.
#[must_use]
pub fn dev_config(server: ServerId, node: NodeId) -> Config {
    let own = gossip::Member {
        id: server,
        incarnation: Incarnation(0),
        cluster: ClusterId(0),
        name: "dev".into(),
        region: "global".into(),
        datacenter: "dc1".into(),
        address: String::new(),
        http_address: String::new(),
        expect: 1,
        build: String::new(),
        tags: BTreeMap::new(),
        is_leaving: false,
        status: gossip::Status::Alive,
    };
    Config {
        wal: wal::Config {
            segment_bytes_first: 128 << 10,
            segment_bytes: 4 << 20,
            write_bytes_max: 2 << 20,
        },
        server: Some(ServerConfig {
            raft: raft::Config::new(server),
            gossip: gossip::Config {
                own,
                join: Vec::new(),
                remembered: Vec::new(),
                timings: gossip::Timings::default(),
            },
            heartbeat: heartbeat::Config::default(),
            lead: LeadConfig::default(),
            cut_bytes: drover_core::limits::CUT_BYTES,
            scheduler: drover_core::types::SchedulerConfig::default(),
            autopilot: drover_core::types::AutopilotConfig::default(),
        }),
        client: Some(ClientConfig {
            client: client::Config::new(node),
            servers: Vec::new(),
            remembered: Vec::new(),
        }),
    }
}

/// The first start, with an empty disk.
pub(super) fn first_start() -> Event {
    nth_start(1)
}

/// A start, which finds an empty disk.
pub(super) fn nth_start(nth: u64) -> Event {
    Event::Booted(Box::new(Recovered {
        incarnation: Incarnation(nth),
        rebooted: false,
        records: Vec::new(),
        tail: Tail::fresh(),
        snapshot: None,
    }))
}

/// A machine with room for a few tasks.
#[must_use]
pub fn node_spec(id: NodeId) -> NodeSpec {
    let healthy = DriverInfo { detected: true, healthy: true, description: "Healthy".into() };
    NodeSpec {
        id,
        name: "dev".into(),
        datacenter: "dc1".into(),
        attributes: [("kernel.name", "linux"), ("driver.raw_exec", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        capacity: Capacity { cpu_mhz: 4_000, memory_mib: 8_192, disk_mib: 100_000 },
        drivers: [("raw_exec".to_owned(), healthy)].into(),
        ..NodeSpec::default()
    }
}

/// A job of one group of one task.
#[must_use]
pub fn job_spec(id: &str, kind: JobKind, count: u32) -> JobSpec {
    let task = Task {
        name: "work".into(),
        driver: "raw_exec".into(),
        user: String::new(),
        config_json: r#"{"command":"/bin/true"}"#.into(),
        env: BTreeMap::new(),
        constraints: Vec::new(),
        resources: TaskResources::default(),
        meta: BTreeMap::new(),
        kill_timeout_ms: 5_000,
        kill_signal: String::new(),
        leader: false,
        shutdown_delay_ms: 0,
        logs: LogLimits::default(),
        payload_file: String::new(),
        affinities: Vec::new(),
        services: Vec::new(),
        volume_mounts: Vec::new(),
    };
    let group = Group {
        name: "group".into(),
        count,
        constraints: Vec::new(),
        tasks: vec![task],
        network: NetworkAsk::default(),
        restart: RestartPolicy::default_of(kind),
        reschedule: ReschedulePolicy::default_of(kind),
        update: UpdatePolicy::default(),
        disk_mib: 300,
        meta: BTreeMap::new(),
        shutdown_delay_ms: 0,
        migrate: MigratePolicy::default(),
        scaling: None,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        services: Vec::new(),
        volumes: BTreeMap::new(),
    };
    JobSpec {
        id: id.into(),
        name: id.into(),
        namespace: "default".into(),
        region: "global".into(),
        kind,
        priority: 50,
        datacenters: vec!["*".into()],
        constraints: Vec::new(),
        groups: vec![group].into(),
        meta: BTreeMap::new(),
        launch: Launch::AtOnce,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        node_pool: PoolName::default(),
    }
}

/// Steps `agent`, whose plan, if it makes one, `decide` may replace.
pub fn step_deciding(
    agent: &mut Agent,
    input: Input,
    decide: impl Fn(&Plan) -> Option<Plan>,
) -> Effects {
    // What would be planned is asked of a twin.
    let mut asked = Effects::default();
    agent.clone().step(input.clone(), &mut asked);
    let other = asked.planned.as_deref().and_then(decide);
    agent.follow(other.clone().map(Box::new));
    let mut effects = Effects::default();
    agent.step(input, &mut effects);
    // This is what that version would have said that it planned.
    effects.planned = other.map(Box::new).or(effects.planned);
    effects
}

impl Default for DevAgent {
    fn default() -> Self {
        Self::new()
    }
}

impl DevAgent {
    /// Booted and fingerprinted.
    #[must_use]
    pub fn new() -> Self {
        Self::of(dev_config(ServerId(1), NodeId(7)))
    }

    /// As `new`, with a configuration of the caller's.
    #[must_use]
    pub fn of(config: Config) -> Self {
        let node = config.client.as_ref().map(|config| config.client.node);
        let mut this = Self {
            agent: Agent::new(config, 1),
            now: MonoTime::default(),
            wake: None,
            requests: 0,
            answers: BTreeMap::new(),
            running: BTreeMap::new(),
            sent: Vec::new(),
            inputs: Vec::new(),
            decide: |_| None,
        };
        this.step(first_start());
        if let Some(node) = node {
            this.step(Event::Fingerprinted(node_spec(node).into()));
        }
        this
    }

    /// One input, and everything that disk and drivers answer to it.
    pub fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.now.ns += 1;
            let input = Input { now: self.now, wall: self.wall(), event };
            self.inputs.push(input.clone());
            let effects = step_deciding(&mut self.agent, input, self.decide);
            self.agent.check_invariants();
            self.wake = effects.wake.map(|wake| wake.at);
            for effect in effects.list {
                events.splice(0..0, self.carry_out(effect));
            }
        }
    }

    /// The time of day.
    #[must_use]
    pub const fn wall(&self) -> WallTime {
        WallTime { unix_ms: 1_000_000 + self.now.ns / 1_000_000 }
    }

    /// Let `ms` pass, serving every deadline on the way.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(wake) = self.wake.filter(|&wake| wake <= end) {
            self.now.ns = self.now.ns.max(wake.ns.saturating_sub(1));
            self.step(Event::Woken);
        }
        self.now = self.now.max(end);
    }

    /// Ask for something; returns the request's id.
    pub fn ask(&mut self, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(Event::Requested { id, request });
        id
    }

    /// Register a job and let it be scheduled.
    pub fn run_job(&mut self, spec: JobSpec) -> Result<Response, Rejection> {
        let id = self.ask(Request::RegisterJob { spec: Arc::new(spec), check_index: None });
        self.pass_ms(50);
        self.answers.remove(&id).expect("the request was answered")
    }

    /// End a running attempt.
    pub fn exit(&mut self, key: TaskKey, exit_code: i32) {
        self.running.remove(&key);
        self.step(Event::TaskChanged { key, change: TaskChange::Exited { exit_code, signal: 0 } });
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::Disk { op, .. } => vec![Event::DiskDone { op }],
            // A snapshot is a promise to hold what the log then may forget; nobody here reads it.
            Effect::Cut { position, configuration, digest } => {
                let (index, term, bytes) = (position.index, position.term, 1);
                let mark = raft::SnapshotMark { index, term, digest, bytes, configuration };
                vec![Event::SnapshotSaved(mark)]
            }
            Effect::Reply { id, answer } => {
                self.answers.insert(id, answer);
                Vec::new()
            }
            Effect::StartTask { key, start } => {
                self.running.insert(key, start.config_json.clone());
                vec![Event::TaskChanged { key, change: TaskChange::Started { pid: 4_711 } }]
            }
            Effect::StopTask { key, .. } | Effect::KillTask { key } => {
                let was_there = self.running.remove(&key).is_some();
                let change = TaskChange::Exited { exit_code: 0, signal: 2 };
                if was_there { vec![Event::TaskChanged { key, change }] } else { Vec::new() }
            }
            Effect::Halt { reason } => panic!("halted: {reason}"),
            Effect::Departed { .. } => panic!("nobody has told it to go"),
            Effect::Send { to, message } => {
                self.sent.push((to, message));
                Vec::new()
            }
            Effect::Dial { .. }
            | Effect::HangUp { .. }
            | Effect::Forget { .. }
            | Effect::ReattachTask { .. }
            | Effect::SignalTask { .. }
            | Effect::DestroyAlloc { .. }
            | Effect::Advertise { .. }
            | Effect::Joined { .. }
            | Effect::Committed { .. }
            | Effect::ReadChunk { .. }
            | Effect::StoreChunk { .. }
            | Effect::LoadSnapshot { .. } => Vec::new(),
        }
    }
}
