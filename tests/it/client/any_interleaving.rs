//! Whatever order servers, drivers, disk, clock and crashes choose, the client keeps its promises:
//!
//! - no two processes of one task live at once, and none starts under a key already used;
//! - nothing starts before its assignment, and its attempt, are durable;
//! - nothing is stopped without a tombstone, or the end of a task of its group;
//! - what stands of an alloc in the catalog is of tasks that have begun, and of none that is asked to end;
//! - once an alloc was reported as ended, it is never reported otherwise, and never starts again; when it
//!   is forgotten too, all that is left to say is that it does not run;
//! - it says that it is not behind only when all that it knew at its start was looked for and reported since;
//! - when the faults end, the servers know what really runs, and it is what they want.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use drover_core::client::{
    Client, ClientRecord, Config, Link, Moment, NodeMessage, Output, Recovered, ServerMessage,
};
use drover_core::rng::Rng;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::{
    AllocId, AllocSpec, AllocUpdate, Assignment, Boot, ClientStatus, Index, JobKind, NodeId,
    RestartMode, ServerId, TaskChange, TaskKey, WriteSeq,
};
use proptest::prelude::{ProptestConfig, any, proptest};

use super::specs;

mod checks;
mod processes;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_client_keeps_its_promises(seed in any::<u64>()) {
        promises_are_kept(seed);
    }
}

/// Chance found these; each is a mend that must hold.
#[test]
fn what_once_broke_a_promise_breaks_none() {
    for seed in [15_537_929_042_555_326_085, 7_726_271_222_851_579_127] {
        promises_are_kept(seed);
    }
}

fn promises_are_kept(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..250 {
        world.something_happens();
    }
    world.faults_end();
    world.check_outcome();
}

/// A process, as its driver knows it; kept after its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Process {
    Alive,
    Ended { exit_code: i32 },
}

/// What the servers want of an alloc, and since when.
struct Wanted {
    spec: Arc<AllocSpec>,
    made: u64,
    tombstoned: Option<u64>,
    ended: Option<u64>,
}

struct World {
    rng: Rng,
    at: Moment,
    client: Client,
    durable: Vec<ClientRecord>,
    writing: VecDeque<ClientRecord>,
    upto: WriteSeq,
    index: u64,
    acknowledged: u64,
    wanted: BTreeMap<AllocId, Wanted>,
    known: BTreeMap<AllocId, AllocUpdate>,
    /// Allocs in whose group a task has ended by itself.
    troubled: BTreeSet<AllocId>,
    reported_ends: BTreeMap<AllocId, ClientStatus>,
    to_client: Vec<ServerMessage>,
    to_server: Vec<NodeMessage>,
    to_driver: VecDeque<Output>,
    from_driver: VecDeque<(TaskKey, TaskChange)>,
    processes: BTreeMap<TaskKey, Process>,
    asked_to_stop: BTreeSet<TaskKey>,
    /// What was on the disk at the last start, and was not reported since to servers that said so.
    unconfirmed: BTreeSet<AllocId>,
    /// What each report of this start speaks of.
    reports: BTreeMap<u64, BTreeSet<AllocId>>,
    /// By alloc, the tasks whose services stand in the catalog.
    advertised: BTreeMap<AllocId, BTreeSet<String>>,
}

const SERVER: ServerId = ServerId(1);

impl World {
    fn new(seed: u64) -> Self {
        let rng = Rng::from_seed(seed);
        let mut world = Self {
            client: Client::new(config(), rng.fork("client")),
            rng,
            at: Moment { now: MonoTime { ns: 1 }, wall: WallTime { unix_ms: 1 } },
            durable: vec![],
            writing: VecDeque::new(),
            upto: WriteSeq(0),
            index: 10,
            acknowledged: 0,
            wanted: BTreeMap::new(),
            known: BTreeMap::new(),
            troubled: BTreeSet::new(),
            reported_ends: BTreeMap::new(),
            to_client: vec![],
            to_server: vec![],
            to_driver: VecDeque::new(),
            from_driver: VecDeque::new(),
            processes: BTreeMap::new(),
            asked_to_stop: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            reports: BTreeMap::new(),
            advertised: BTreeMap::new(),
        };
        world.boot(Boot::Same);
        world
    }

    fn something_happens(&mut self) {
        match self.rng.between(0, 99) {
            0..=9 => self.place(),
            10..=14 => self.tombstone(),
            15..=27 => self.assign(),
            28..=42 => self.deliver_to_client(),
            43..=55 => self.deliver_to_server(),
            56..=67 => self.drive(),
            68..=79 => self.hear_driver(),
            80..=87 => self.write(),
            88..=92 => self.process_ends(),
            93..=96 => self.pass(3_000),
            97 => self.link(),
            _ => self.crash(),
        }
    }

    fn place(&mut self) {
        self.index += 1;
        let kind = if self.rng.chance(500) { JobKind::Service } else { JobKind::Batch };
        let count = self.rng.between(1, 2);
        let mut tasks: Vec<_> = (0..count).map(|at| specs::task(&format!("t{at}"))).collect();
        // Apart, so that the rest of a seed's history is as it was without.
        let mut rng = self.rng.fork("services");
        for task in tasks.iter_mut().filter(|_| rng.chance(600)) {
            task.services = vec![specs::service("found")];
        }
        tasks[0].leader = count == 2 && self.rng.chance(300);
        tasks[0].shutdown_delay_ms = self.rng.between(0, 1) * 500;
        let mut spec = specs::spec(kind, tasks);
        spec.group.restart.attempts = u32::try_from(self.rng.between(0, 2)).expect("small");
        spec.group.restart.interval_ms = 60_000;
        if self.rng.chance(300) {
            spec.group.restart.mode = RestartMode::Delay;
        }
        let (spec, made) = (Arc::new(spec), self.index);
        let wanted = Wanted { spec, made, tombstoned: None, ended: None };
        self.wanted.insert(specs::alloc(made), wanted);
    }

    fn tombstone(&mut self) {
        let live: Vec<_> = self.wanted.keys().copied().collect();
        if let Some(&alloc) = pick(&mut self.rng, &live) {
            self.index += 1;
            let index = self.index;
            self.wanted.get_mut(&alloc).expect("picked").tombstoned.get_or_insert(index);
        }
    }

    /// A server, up to date or behind, sends a full set or what changed after some index.
    fn assign(&mut self) {
        let seq = self.index - self.rng.between(0, 3).min(self.index - 10);
        let after = self.rng.chance(600).then(|| self.rng.between(seq.saturating_sub(4), seq));
        let assignment = self.assignment(seq, after);
        self.to_client.push(ServerMessage::Assign(assignment));
    }

    fn assignment(&self, seq: u64, after: Option<u64>) -> Assignment {
        let is_new = |made: u64| made <= seq && after.is_none_or(|after| after < made);
        let is_past = |moment: Option<u64>| moment.is_some_and(|moment| moment <= seq);
        let mut assignment =
            Assignment { seq: Index(seq), after: after.map(Index), ..Assignment::default() };
        for (&id, wanted) in &self.wanted {
            if is_new(wanted.made) && !is_past(wanted.tombstoned) && !is_past(wanted.ended) {
                let spec = u32::try_from(assignment.specs.len()).expect("few");
                assignment.specs.push(Arc::clone(&wanted.spec));
                assignment.runs.push(drover_core::types::AssignedAlloc { spec, ..specs::run(id) });
            }
            // A tombstone is dropped once the node has acknowledged it.
            if let Some(index) = wanted.tombstoned
                && is_new(index)
                && (self.acknowledged < index || after.is_some())
            {
                assignment.tombstones.push(id);
            }
        }
        assignment
    }

    fn deliver_to_client(&mut self) {
        if self.to_client.is_empty() {
            return;
        }
        let at = self.rng.between(0, self.to_client.len() as u64 - 1);
        let at = usize::try_from(at).expect("small");
        let message = if self.rng.chance(150) {
            self.to_client[at].clone()
        } else {
            self.to_client.remove(at)
        };
        if self.rng.chance(900) {
            self.note_confirmed(&message);
            self.step(|client, at, out| client.on_message(at, SERVER, message, out));
        }
    }

    fn deliver_to_server(&mut self) {
        if self.to_server.is_empty() {
            return;
        }
        let message = self.to_server.remove(0);
        let answer = match message {
            _ if self.rng.chance(100) => ServerMessage::Unavailable,
            NodeMessage::Register { .. } => {
                ServerMessage::Registered { ttl_ms: 10_000, index: Index(self.index) }
            }
            NodeMessage::Heartbeat { seq, .. } | NodeMessage::Acknowledge { seq } => {
                self.acknowledged = self.acknowledged.max(seq.0);
                ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() }
            }
            NodeMessage::AskFullSet => ServerMessage::Assign(self.assignment(self.index, None)),
            NodeMessage::Report { report, updates } => {
                self.index += 1;
                for update in updates {
                    if update.status.is_terminal() {
                        let wanted = self.wanted.get_mut(&update.id).expect("assigned here");
                        wanted.ended.get_or_insert(self.index);
                    }
                    let ended = |known: &AllocUpdate| known.status.is_terminal();
                    if !(is_forgotten(&update) && self.known.get(&update.id).is_some_and(ended)) {
                        self.known.insert(update.id, update);
                    }
                }
                ServerMessage::ReportAck { report }
            }
        };
        self.to_client.push(answer);
    }

    fn write(&mut self) {
        let count = self.rng.between(0, self.writing.len() as u64);
        self.write_some(count);
    }

    fn write_some(&mut self, count: u64) {
        self.durable.extend(self.writing.drain(..usize::try_from(count).expect("small")));
        self.upto.0 += count;
        let upto = self.upto;
        self.step(|client, at, out| client.on_persisted(at, upto, out));
    }

    fn pass(&mut self, ms_max: u64) {
        let mut end = self.at.now.plus_ms(self.rng.between(0, ms_max));
        if self.rng.chance(500) {
            end = self.client.next_deadline().unwrap_or(end).max(self.at.now);
        }
        self.at = Moment { now: end, wall: WallTime { unix_ms: end.ns / 1_000_000 } };
        self.step(Client::on_time);
    }

    fn link(&mut self) {
        self.step(|client, at, out| client.on_link(at, SERVER, Link::Down, out));
        self.step(|client, at, out| client.on_link(at, SERVER, Link::Up, out));
    }

    /// The agent dies: what was not durable may be lost; so are words to and from drivers.
    fn crash(&mut self) {
        let kept = self.rng.between(0, self.writing.len() as u64);
        self.durable.extend(self.writing.drain(..usize::try_from(kept).expect("small")));
        self.to_driver.clear();
        self.from_driver.clear();
        let boot = if self.rng.chance(300) { Boot::Rebooted } else { Boot::Same };
        if boot == Boot::Rebooted {
            // No process outlives its machine, and what its driver knew is gone with it.
            let used: Vec<_> = self.processes.keys().copied().collect();
            for key in used {
                self.processes.insert(key, Process::Ended { exit_code: 255 });
                self.troubled.insert(key.alloc);
            }
        }
        self.boot(boot);
    }

    fn boot(&mut self, boot: Boot) {
        self.writing.clear();
        self.upto = WriteSeq(0);
        let recovered = Recovered::from_records(self.durable.clone(), boot);
        let rng = self.rng.fork_number(self.at.now.ns);
        self.unconfirmed = recovered.allocs.keys().chain(&recovered.strangers).copied().collect();
        self.reports.clear();
        self.client = Client::new(config(), rng);
        self.advertised.clear();
        self.step(|client, at, out| client.on_booted(at, recovered, out));
        let node = Arc::new(specs::node_spec());
        self.step(|client, at, out| client.on_fingerprint(at, node, out));
        self.step(|client, at, out| client.on_link(at, SERVER, Link::Up, out));
    }

    fn step(&mut self, f: impl FnOnce(&mut Client, Moment, &mut Vec<Output>)) {
        let mut out = vec![];
        f(&mut self.client, self.at, &mut out);
        self.client.check_invariants();
        for output in out {
            self.take(output);
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send { message, .. } => {
                self.check_report(&message);
                self.to_server.push(message);
            }
            Output::Persist { record, .. } => self.writing.push_back(record),
            Output::StartTask { key, .. } => {
                self.check_start(key);
                self.to_driver.push_back(output);
            }
            Output::StopTask { key, .. } | Output::KillTask { key } => {
                self.check_stop(key);
                self.check_hidden(key);
                self.to_driver.push_back(output);
            }
            Output::Reattach { .. } => self.to_driver.push_back(output),
            Output::DestroyAlloc { alloc, .. } => {
                let ended = self.known.get(&alloc).is_some_and(|known| known.status.is_terminal());
                assert!(ended, "files go when the servers know that the alloc has ended");
            }
            Output::Dial { .. } | Output::Forget { .. } => (),
            Output::Compacted { before } => self.forget_records(before),
            Output::SignalTask { .. } => {}
            Output::Advertise { alloc, services, .. } => {
                let tasks = services.into_iter().filter_map(|one| one.task).collect();
                self.check_advertised(alloc, &tasks);
                self.advertised.insert(alloc, tasks);
            }
        }
    }

    /// The log's oldest records go, if those that are left say the same.
    fn forget_records(&mut self, before: WriteSeq) {
        let kept = usize::try_from(self.upto.0 + 1 - before.0).expect("small");
        let rest = self.durable.split_off(self.durable.len() - kept);
        let whole = core::mem::replace(&mut self.durable, rest);
        let whole = whole.into_iter().chain(self.durable.iter().cloned());
        let whole = Recovered::from_records(whole, Boot::Same);
        let rest = Recovered::from_records(self.durable.clone(), Boot::Same);
        assert_eq!(whole.seq, rest.seq, "what is given up is not needed");
        assert_eq!(whole.allocs, rest.allocs, "what is given up is not needed");
    }

    /// Nothing breaks any more, and nobody wants anything new: everything comes to rest.
    fn faults_end(&mut self) {
        for _ in 0..2_000 {
            while !self.to_client.is_empty() {
                let message = self.to_client.remove(0);
                self.note_confirmed(&message);
                self.step(|client, at, out| client.on_message(at, SERVER, message, out));
            }
            while !self.to_server.is_empty() {
                self.deliver_to_server();
            }
            while !self.to_driver.is_empty() {
                self.drive();
            }
            for key in core::mem::take(&mut self.asked_to_stop) {
                self.end(key, 130);
            }
            while !self.from_driver.is_empty() {
                self.hear_driver();
            }
            self.write_some(self.writing.len() as u64);
            if self.client.seq().0 < self.index || self.rng.chance(50) {
                let assignment = self.assignment(self.index, None);
                self.to_client.push(ServerMessage::Assign(assignment));
            }
            self.pass(500);
        }
    }
}

/// Whether all that the client knows is that it does not run: the servers keep what they were told before.
fn is_forgotten(update: &AllocUpdate) -> bool {
    update.tasks.is_empty()
}

/// Few files are kept, and the log is often written anew.
fn config() -> Config {
    Config { ended_allocs_max: 3, records_min: 10, ..Config::new(NodeId(9)) }
}

fn pick<'a, T>(rng: &mut Rng, among: &'a [T]) -> Option<&'a T> {
    let last = among.len().checked_sub(1)?;
    among.get(usize::try_from(rng.between(0, last as u64)).expect("small"))
}
