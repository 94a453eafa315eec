//! One client node under test, with a disk and a clock that the story moves.
//!
//! What the client says is told back as short lines: `start a5/main#0`, `stop a5/main#0 SIGINT 5000`,
//! `s1 < heartbeat 5`, `write assigned 5`.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::client::{
    Client, ClientRecord, Config, Link, Moment, NodeMessage, Output, Recovered, ServerMessage,
};
use drover_core::rng::Rng;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::{
    Advert, AllocId, AllocSpec, AllocUpdate, Boot, Index, NodeId, ORDINAL_BITS, Remedy, ServerId,
    TaskChange, TaskKey, TaskStart, WriteSeq,
};

use super::specs;

pub(super) const S1: ServerId = ServerId(1);
pub(super) const S2: ServerId = ServerId(2);
pub(super) const REGISTERED: ServerMessage =
    ServerMessage::Registered { ttl_ms: 10_000, index: Index(4) };

pub(super) struct Node {
    pub(super) client: Client,
    pub(super) at: Moment,
    out: Vec<Output>,
    /// Written and durable; written only.
    pub(super) durable: Vec<ClientRecord>,
    pub(super) writing: Vec<ClientRecord>,
    /// Writes of this start of the agent that are durable.
    upto: WriteSeq,
    names: BTreeMap<AllocId, Vec<String>>,
    pub(super) starts: BTreeMap<TaskKey, TaskStart>,
    pub(super) updates: BTreeMap<AllocId, AllocUpdate>,
    /// What stands in the catalog.
    pub(super) adverts: BTreeMap<AllocId, Vec<Advert>>,
    /// In which round that was said.
    pub(super) rounds: BTreeMap<AllocId, u32>,
    /// The last report that was said and not acknowledged by `settle`.
    unacknowledged: Option<u64>,
}

impl Node {
    /// Booted, with an empty disk; knows no server and not its machine.
    pub(super) fn new() -> Self {
        let config = Config { ended_allocs_max: 2, ..Config::new(NodeId(9)) };
        let mut node = Self {
            client: Client::new(config, Rng::from_seed(1)),
            at: Moment { now: MonoTime { ns: 1 }, wall: WallTime { unix_ms: 1_000_000 } },
            out: vec![],
            durable: vec![],
            writing: vec![],
            upto: WriteSeq(0),
            names: BTreeMap::new(),
            starts: BTreeMap::new(),
            updates: BTreeMap::new(),
            adverts: BTreeMap::new(),
            rounds: BTreeMap::new(),
            unacknowledged: None,
        };
        node.step(|client, at, out| client.on_booted(at, Recovered::default(), out));
        node
    }

    /// Registered with s1, and has beaten once.
    pub(super) fn registered() -> Self {
        let mut node = Self::new();
        node.fingerprint();
        node.link(S1, Link::Up);
        node.hear(S1, REGISTERED);
        node.hear(S1, ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() });
        node.said();
        node
    }

    /// Registered, and running every task of `spec` as the alloc that entry 5 made.
    pub(super) fn running(spec: &AllocSpec) -> Self {
        let mut node = Self::registered();
        node.assign((5, None), spec, &[5], &[]);
        node.sync();
        for task in &spec.group.tasks {
            node.started(&format!("a5/{}#0", task.name));
        }
        node.settle();
        node
    }

    pub(super) fn step(&mut self, f: impl FnOnce(&mut Client, Moment, &mut Vec<Output>)) {
        f(&mut self.client, self.at, &mut self.out);
        self.client.check_invariants();
    }

    pub(super) fn fingerprint(&mut self) {
        let spec = Arc::new(specs::node_spec());
        self.step(|client, at, out| client.on_fingerprint(at, spec, out));
    }

    pub(super) fn link(&mut self, server: ServerId, link: Link) {
        self.step(|client, at, out| client.on_link(at, server, link, out));
    }

    pub(super) fn hear(&mut self, from: ServerId, message: ServerMessage) {
        self.step(|client, at, out| client.on_message(at, from, message, out));
    }

    /// s1 assigns allocs, named by the entries that made them.
    pub(super) fn assign(
        &mut self,
        seq: (u64, Option<u64>),
        spec: &AllocSpec,
        runs: &[u64],
        tombstones: &[u64],
    ) {
        let ids = |made: &[u64]| -> Vec<_> { made.iter().map(|&at| specs::alloc(at)).collect() };
        let names: Vec<_> = spec.group.tasks.iter().map(|task| task.name.as_str()).collect();
        for &made in runs {
            self.name(made, &names);
        }
        let spec = Arc::new(spec.clone());
        let assignment = specs::assignment(seq, &spec, &ids(runs), &ids(tombstones));
        self.hear(S1, ServerMessage::Assign(assignment));
    }

    /// What the tasks of an alloc are called.
    pub(super) fn name(&mut self, made: u64, tasks: &[&str]) {
        let names = tasks.iter().map(ToString::to_string).collect();
        self.names.insert(specs::alloc(made), names);
    }

    pub(super) fn task(&mut self, key: &str, change: &TaskChange) {
        let key = self.key(key);
        self.step(|client, at, out| client.on_task(at, key, change, out));
    }

    pub(super) fn started(&mut self, key: &str) {
        self.task(key, &TaskChange::Started { pid: 1 });
    }

    pub(super) fn exited(&mut self, key: &str, exit_code: i32) {
        self.task(key, &TaskChange::Exited { exit_code, signal: 0 });
    }

    /// Whether Consul is content with what was told last of an alloc.
    pub(super) fn checks(&mut self, alloc: u64, pass: bool) {
        self.said();
        let alloc = specs::alloc(alloc);
        let round = self.rounds[&alloc];
        self.step(|client, at, out| client.on_checks(at, alloc, (round, pass), out));
    }

    pub(super) fn start_failed(&mut self, key: &str, remedy: Remedy) {
        self.task(key, &TaskChange::StartFailed { why: "no such file".into(), remedy });
    }

    /// Time passes, with the client woken whenever it asked to be.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.at.now.plus_ms(ms);
        let mut wakes = 0;
        while let Some(due) = self.client.next_deadline().filter(|&due| due <= end) {
            self.move_to(due.max(self.at.now));
            self.step(Client::on_time);
            wakes += 1;
            assert!(wakes < 10_000, "a deadline that is never met");
        }
        self.move_to(end);
    }

    /// The disk writes what it was given, once.
    pub(super) fn flush(&mut self) {
        self.take_writes();
        self.upto.0 += self.writing.len() as u64;
        self.durable.append(&mut self.writing);
        let upto = self.upto;
        self.step(|client, at, out| client.on_persisted(at, upto, out));
    }

    /// The disk writes until nothing is left to write.
    pub(super) fn sync(&mut self) {
        self.take_writes();
        while !self.writing.is_empty() {
            self.flush();
            self.take_writes();
        }
    }

    /// The disk writes, s1 acknowledges all reports, and what was said is forgotten.
    pub(super) fn settle(&mut self) {
        loop {
            self.sync();
            self.pass(200);
            self.sync();
            self.said();
            let Some(report) = self.unacknowledged.take() else { return };
            self.hear(S1, ServerMessage::ReportAck { report });
        }
    }

    /// The agent dies and starts again, knowing only what was durable.
    pub(super) fn crash(&mut self, boot: Boot) {
        self.said();
        self.writing.clear();
        let recovered = Recovered::from_records(self.durable.clone(), boot);
        let config = Config { ended_allocs_max: 2, ..Config::new(NodeId(9)) };
        self.client = Client::new(config, Rng::from_seed(2));
        self.upto = WriteSeq(0);
        self.step(|client, at, out| client.on_booted(at, recovered, out));
    }

    /// And is registered again.
    pub(super) fn restart(&mut self, boot: Boot) {
        self.crash(boot);
        self.fingerprint();
        self.link(S1, Link::Up);
        self.hear(S1, REGISTERED);
        self.hear(S1, ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() });
    }

    /// What the client said since it was last asked, but for words about reports and records.
    pub(super) fn did(&mut self) -> Vec<String> {
        let said = self.said();
        said.into_iter()
            .filter(|line| !line.contains(" < ") && !line.starts_with("write"))
            .collect()
    }

    /// Everything the client said since it was last asked.
    pub(super) fn said(&mut self) -> Vec<String> {
        self.take_writes();
        let out = std::mem::take(&mut self.out);
        out.into_iter().map(|output| self.line(output)).collect()
    }

    /// The numbers of the reports that were sent and not yet looked at.
    pub(super) fn reports(&self) -> Vec<u64> {
        let sent = self.out.iter().filter_map(|output| match output {
            Output::Send { message: NodeMessage::Report { report, .. }, .. } => Some(*report),
            _ => None,
        });
        sent.collect()
    }

    /// The status last reported, and the last lines of the task's history, newest last.
    pub(super) fn history(&mut self, alloc: u64, task: &str) -> (String, Vec<String>) {
        self.settle();
        let update = &self.updates[&specs::alloc(alloc)];
        let events = &update.tasks[task].events;
        let lines = events.iter().map(|event| event.message.clone()).collect();
        (format!("{:?}: {}", update.status, update.description), lines)
    }

    fn move_to(&mut self, now: MonoTime) {
        self.at.wall = self.at.wall.plus_ms(now.ms_since(self.at.now));
        self.at.now = now;
    }

    /// Puts aside what is to be written; `line` is told of it all the same.
    fn take_writes(&mut self) {
        let seen = self.upto.0 + self.writing.len() as u64;
        for output in &self.out {
            if let Output::Persist { seq, record } = output
                && seen < seq.0
            {
                self.writing.push(record.clone());
            }
        }
    }

    fn key(&self, text: &str) -> TaskKey {
        let (alloc, rest) = text[1..].split_once('/').expect("a<entry>/<task>#<attempt>");
        let (name, attempt) = rest.split_once('#').expect("a<entry>/<task>#<attempt>");
        let alloc = specs::alloc(alloc.parse().expect("an entry"));
        let at = self.names[&alloc].iter().position(|known| known == name).expect("a task");
        let task = u16::try_from(at).expect("few tasks");
        TaskKey { alloc, task, attempt: attempt.parse().expect("an attempt") }
    }

    fn named(&self, key: TaskKey) -> String {
        let name = &self.names[&key.alloc][usize::from(key.task)];
        format!("{}/{name}#{}", short(key.alloc), key.attempt)
    }

    fn line(&mut self, output: Output) -> String {
        match output {
            Output::Send { to, message } => format!("s{} < {}", to.0, self.message(message)),
            Output::Dial { address } => format!("dial {address}"),
            Output::Forget { address } => format!("forget {address}"),
            Output::Persist { record, .. } => format!("write {}", written(&record)),
            Output::Compacted { before } => format!("compacted {}", before.0),
            Output::StartTask { key, start } => {
                self.starts.insert(key, start);
                format!("start {}", self.named(key))
            }
            Output::Reattach { key, .. } => format!("look for {}", self.named(key)),
            Output::StopTask { key, signal } => {
                format!("stop {} {signal}", self.named(key))
            }
            Output::KillTask { key } => format!("kill {}", self.named(key)),
            Output::SignalTask { key, signal } => format!("signal {} {signal}", self.named(key)),
            Output::DestroyAlloc { alloc, .. } => format!("destroy {}", short(alloc)),
            Output::Advertise { alloc, services, round, .. } => {
                self.rounds.insert(alloc, round);
                let names: Vec<_> = services.iter().map(|one| one.name.as_str()).collect();
                self.adverts.insert(alloc, services.clone());
                format!("advertise {}: {}", short(alloc), names.join(", "))
            }
        }
    }

    fn message(&mut self, message: NodeMessage) -> String {
        match message {
            NodeMessage::Register { .. } => "register".into(),
            NodeMessage::Heartbeat { seq, is_behind, .. } => {
                format!("heartbeat {}{}", seq.0, if is_behind { " behind" } else { "" })
            }
            NodeMessage::Acknowledge { seq } => format!("acknowledge {}", seq.0),
            NodeMessage::AskFullSet => "ask full set".into(),
            NodeMessage::Report { report, updates } => {
                self.unacknowledged = Some(report);
                let mut text = "report".to_string();
                for update in updates {
                    text += &format!(" {} {:?}", short(update.id), update.status);
                    self.updates.insert(update.id, update);
                }
                text
            }
        }
    }
}

fn short(alloc: AllocId) -> String {
    format!("a{}", alloc.0 >> ORDINAL_BITS)
}

fn written(record: &ClientRecord) -> String {
    match record {
        ClientRecord::Assigned { seq, .. } => format!("assigned {}", seq.0),
        ClientRecord::Progress { alloc, .. } => format!("progress {}", short(*alloc)),
        ClientRecord::Forgotten { alloc } => format!("forgotten {}", short(*alloc)),
        ClientRecord::Row { run, .. } => format!("row {}", short(run.id)),
        ClientRecord::Compacted { seq } => format!("compacted {}", seq.0),
    }
}
