//! A client node's side: which allocs are assigned here, what their tasks do, and what the servers
//! hear of it.
//!
//! | module | what |
//! |---|---|
//! | `alloc`, `task`, `restart` | an alloc, its tasks, what follows a task's end |
//! | `health` | whether an alloc can be relied on |
//! | `environment` | a task's variables, and `${...}` |
//! | `services` | what others find in the catalog |
//! | `report` | what the servers do not know yet |
//! | `servers` | which server is spoken to, registration, heartbeats |
//! | `assignment` | what a server says must run here |
//! | `wishes` | what operators want of tasks |
//! | `record`, `journal` | what is written, and when it is written anew |
//! | `message`, `output` | what is said to servers, and to the rest of the agent |
//!
//! Invariants
//! - nothing stops because it is absent: only a tombstone, its own end, or its group's end stops it;
//!   unless the servers were made anew from an old state (`assignment.rs`);
//! - an assignment with a sequence number already heard changes nothing;
//! - an alloc that was forgotten does not come back, with the same exception;
//! - a task starts or is stopped, and a status is reported, only when what it rests on is durable;
//! - without servers, tasks go on.
//!
//! It does not know the machine: what `NodeSpec` says is found out by the shell.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{AllocId, Index, NodeSpec, ServerId, TaskChange, TaskKey, WriteSeq};

mod alloc_run;
mod assignment;
pub mod environment;
mod health;
mod journal;
mod message;
mod output;
mod record;
mod report;
mod restart;
mod servers;
mod services;
mod task;
mod view;
mod wishes;
mod words;

pub use environment::{Lookup, interpolate, interpolate_json};
pub use message::{NodeMessage, ServerMessage};
pub use output::{Config, Link, Moment, Output, Refusal};
pub use record::{AllocRow, ClientRecord, Recovered, RecoveredAlloc};
pub use restart::RestartsRow;
pub use task::TaskRow;

use alloc_run::AllocRun;
use journal::Journal;
use report::{Reports, Urgency};
use servers::{Left, Servers, Word};

/// The client.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Client {
    ground: Ground,
    allocs: BTreeMap<AllocId, AllocRun>,
    /// When each alloc must next be looked at.
    timers: BTreeSet<(MonoTime, AllocId)>,
    /// Allocs that wait for a write.
    unsettled: BTreeSet<(WriteSeq, AllocId)>,
    /// Ended, reported and acknowledged: only their files are left.
    ended: BTreeSet<AllocId>,
    /// Must not run, as a server said, and never did or are forgotten: the servers wait to hear that.
    strangers: BTreeSet<AllocId>,
    journal: Journal,
    heard: Heard,
    reports: Reports,
    servers: Servers,
}

/// What all allocs stand on.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Ground {
    config: Config,
    rng: Rng,
    node: Option<Arc<NodeSpec>>,
    /// Writes up to here are durable.
    durable: WriteSeq,
    /// Whether an assignment was heard since the agent started.
    has_heard_servers: bool,
}

/// How far the servers' assignments were heard.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Heard {
    latest: Index,
    /// The write that says so.
    written: WriteSeq,
    /// As far as is durable: what is acknowledged.
    seq: Index,
    /// Who waits for an acknowledgement.
    acknowledge: BTreeSet<ServerId>,
}

impl Client {
    /// Knows nothing yet: `on_booted` comes first, then `on_fingerprint`.
    #[must_use]
    pub fn new(config: Config, rng: Rng) -> Self {
        let servers = Servers::new(rng.fork("servers"));
        let ground = Ground {
            config,
            rng: rng.fork("restarts"),
            node: None,
            durable: WriteSeq(0),
            has_heard_servers: false,
        };
        Self {
            ground,
            allocs: BTreeMap::new(),
            timers: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            ended: BTreeSet::new(),
            strangers: BTreeSet::new(),
            journal: Journal::default(),
            heard: Heard::default(),
            reports: Reports::new(rng.fork("reports")),
            servers,
        }
    }

    /// The log was read. Tasks that may live are looked for, not started; the others go on.
    pub fn on_booted(&mut self, at: Moment, recovered: Recovered, out: &mut impl Emit<Output>) {
        assert!(self.allocs.is_empty(), "a client is booted once");
        self.journal.on_booted(recovered.records);
        (self.heard.latest, self.heard.seq) = (recovered.seq, recovered.seq);
        for id in recovered.strangers {
            self.note_stranger(at, id);
        }
        for (id, RecoveredAlloc { run, spec, row }) in recovered.allocs {
            let mut alloc = AllocRun::restore(at, (run, spec), row);
            alloc.on_booted(at, recovered.boot, &mut self.ground.rng, out);
            self.allocs.insert(id, alloc);
            self.reports.on_changed(at.now, id, Urgency::Batched);
            self.look_at(at, id, out);
        }
        self.finish(at, out);
    }

    /// The machine was looked at: registers if anything is new.
    pub fn on_fingerprint(&mut self, at: Moment, spec: Arc<NodeSpec>, out: &mut impl Emit<Output>) {
        if self.ground.node.as_ref() == Some(&spec) {
            return;
        }
        self.ground.node = Some(spec);
        self.allocs.values_mut().for_each(AllocRun::on_node_changed);
        self.servers.on_registration_needed(at.now);
        self.look_at_ready(at, out);
        self.finish(at, out);
    }

    /// A server's connection came or went.
    pub fn on_link(
        &mut self,
        at: Moment,
        server: ServerId,
        link: Link,
        out: &mut impl Emit<Output>,
    ) {
        match link {
            Link::Up => self.servers.on_up(at.now, server),
            Link::Down => {
                self.heard.acknowledge.remove(&server);
                if self.servers.on_down(at.now, server) {
                    self.reports.on_server_lost();
                }
            }
        }
        self.finish(at, out);
    }

    /// A server spoke.
    pub fn on_message(
        &mut self,
        at: Moment,
        from: ServerId,
        message: ServerMessage,
        out: &mut impl Emit<Output>,
    ) {
        match message {
            ServerMessage::Registered { index, .. } => {
                if self.servers.on_registered(at.now, from, index) {
                    self.tell_what_lives(at);
                }
            }
            ServerMessage::HeartbeatAck { ttl_ms, servers } => {
                self.servers.on_told(&servers, out);
                self.servers.on_heartbeat_ack(at.now, from, ttl_ms);
                self.ask_what_runs(from, out);
            }
            ServerMessage::Unregistered => {
                if self.servers.on_unregistered(at.now, from) {
                    self.reports.on_server_lost();
                }
            }
            // As if it had not answered: another one is asked in a while.
            ServerMessage::Unavailable => {}
            ServerMessage::Probe if self.servers.is_registered() => {
                let message = self.heartbeat();
                out.emit(Output::Send { to: from, message });
            }
            // It is about to register.
            ServerMessage::Probe => {}
            ServerMessage::Assign(assignment) => self.on_assignment(at, from, assignment, out),
            ServerMessage::ReportAck { report } => self.on_report_acknowledged(at, report, out),
        }
        self.finish(at, out);
    }

    /// This machine's writes up to `upto` are durable.
    pub fn on_persisted(&mut self, at: Moment, upto: WriteSeq, out: &mut impl Emit<Output>) {
        assert!(self.ground.durable <= upto, "durability never goes backward");
        assert!(upto <= self.journal.last(), "only what was written can be durable");
        self.ground.durable = upto;
        if self.heard.written <= upto {
            self.heard.seq = self.heard.latest;
        }
        while let Some(&(written, alloc)) = self.unsettled.first() {
            if upto < written {
                break;
            }
            self.unsettled.pop_first();
            self.look_at(at, alloc, out);
        }
        self.journal.on_persisted(upto, out);
        self.finish(at, out);
    }

    /// A driver spoke.
    pub fn on_task(
        &mut self,
        at: Moment,
        key: TaskKey,
        change: &TaskChange,
        out: &mut impl Emit<Output>,
    ) {
        if let Some(alloc) = self.allocs.get_mut(&key.alloc) {
            alloc.on_task(at, key, change, &mut self.ground.rng);
            self.look_at(at, key.alloc, out);
        }
        self.finish(at, out);
    }

    /// Whether all checks pass of what was told of an alloc in that round.
    pub fn on_checks(
        &mut self,
        at: Moment,
        alloc: AllocId,
        (round, pass): (u32, bool),
        out: &mut impl Emit<Output>,
    ) {
        if let Some(known) = self.allocs.get_mut(&alloc) {
            known.on_checks(round, pass);
            self.look_at(at, alloc, out);
        }
        self.finish(at, out);
    }

    /// Time passed.
    pub fn on_time(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        while let Some(&(due, alloc)) = self.timers.first() {
            if at.now < due {
                break;
            }
            self.look_at(at, alloc, out);
        }
        self.finish(at, out);
    }

    /// When `on_time` must next be called. What is due and not listed waits for something else.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let alloc = self.timers.first().map(|&(due, _)| due);
        let others = [alloc, self.reports.next_deadline(), self.servers.next_deadline()];
        others.into_iter().flatten().min()
    }

    /// The present attempt of a task: where its logs are.
    #[must_use]
    pub fn attempt(&self, alloc: AllocId, task: &str) -> Option<TaskKey> {
        let alloc = self.allocs.get(&alloc)?;
        alloc.task(task).map(|task| alloc.key(task))
    }

    /// The last assignment that is durable here.
    #[must_use]
    pub const fn seq(&self) -> Index {
        self.heard.seq
    }

    /// Walks everything.
    pub fn check_invariants(&self) {
        let timers: BTreeSet<_> = self
            .allocs
            .iter()
            .filter_map(|(&id, alloc)| alloc.timer.map(|timer| (timer, id)))
            .collect();
        assert_eq!(timers, self.timers, "every timer of an alloc is in the index");
        for (&id, alloc) in &self.allocs {
            alloc.check_invariants(&self.ground);
            assert!(!alloc.is_dirty(), "what changed was written in the same step");
            assert!(
                alloc.is_settled(self.ground.durable)
                    || self.unsettled.contains(&(alloc.written(), id)),
                "an alloc that waits for a write is woken by it"
            );
        }
        for id in &self.ended {
            assert!(self.allocs[id].has_ended(), "only what ended is kept for its files alone");
        }
        assert!(self.heard.seq <= self.heard.latest, "what is durable was heard");
        for id in &self.strangers {
            assert!(!self.allocs.contains_key(id), "a stranger is not known");
        }
        self.reports.check_invariants();
        self.servers.check_invariants();
    }

    /// Lets an alloc do what it can, and writes what changed.
    fn look_at(&mut self, at: Moment, id: AllocId, out: &mut impl Emit<Output>) {
        let Some(alloc) = self.allocs.get_mut(&id) else {
            return;
        };
        alloc.advance(at, &self.ground, out);
        if alloc.is_dirty() {
            let AllocRow { tasks, health, .. } = alloc.row(at.now);
            let record = ClientRecord::Progress { alloc: id, tasks, health };
            alloc.on_written(self.journal.write(record, out));
            self.reports.on_changed(at.now, id, alloc.urgency());
        }
        if !alloc.is_settled(self.ground.durable) {
            self.unsettled.insert((alloc.written(), id));
        }
        let timer = alloc.next_deadline(at.now);
        if let Some(before) = core::mem::replace(&mut alloc.timer, timer) {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(timer.map(|timer| (timer, id)));
    }

    /// Something came that several allocs waited for.
    fn look_at_ready(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        let ready: Vec<_> =
            self.allocs.iter().filter(|(_, run)| run.has_ready()).map(|(&id, _)| id).collect();
        for id in ready {
            self.look_at(at, id, out);
        }
    }

    /// The last part of every step: says what can now be said.
    fn finish(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        if self.reports.on_time(at.now) {
            self.servers.on_report_overdue(at.now);
        }
        self.speak(at, out);
        self.acknowledge(out);
        self.report(at, out);
        self.compact(at, out);
    }

    fn speak(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        let Some(spec) = self.ground.node.clone() else {
            return;
        };
        let Some((word, left)) = self.servers.take_due(at.now) else {
            return;
        };
        let to = self.servers.current().expect("invariant: words need a server");
        if left == Left::Yes {
            self.reports.on_server_lost();
        }
        let message = match word {
            Word::Register => NodeMessage::Register { spec },
            Word::Heartbeat => self.heartbeat(),
        };
        out.emit(Output::Send { to, message });
    }

    fn acknowledge(&mut self, out: &mut impl Emit<Output>) {
        if self.ground.durable < self.heard.written {
            return;
        }
        let seq = self.heard.seq;
        while let Some(to) = self.heard.acknowledge.pop_first() {
            out.emit(Output::Send { to, message: NodeMessage::Acknowledge { seq } });
        }
    }

    fn forget(&mut self, id: AllocId, out: &mut impl Emit<Output>) {
        let alloc = self.allocs.remove(&id).expect("invariant: only known allocs are forgotten");
        assert!(alloc.has_ended(), "only what ended is forgotten");
        assert!(alloc.timer.is_none(), "what ended waits for nothing");
        self.reports.forget(id);
        self.journal.write(ClientRecord::Forgotten { alloc: id }, out);
        out.emit(Output::DestroyAlloc { alloc: id, uuid: alloc.run.uuid });
    }

    fn compact(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        if !self.journal.is_long(self.allocs.len(), self.ground.config.records_min) {
            return;
        }
        self.journal.begin_compaction();
        for (&id, alloc) in &mut self.allocs {
            let (run, spec) = (alloc.run.clone(), Arc::clone(&alloc.spec));
            let record = ClientRecord::Row { run, spec, row: alloc.row(at.now) };
            alloc.on_written(self.journal.write(record, out));
            self.unsettled.insert((alloc.written(), id));
        }
        if !self.strangers.is_empty() {
            let (seq, tombstones) = (self.heard.latest, self.strangers.iter().copied().collect());
            let (specs, runs) = (Vec::new(), Vec::new());
            self.journal.write(ClientRecord::Assigned { seq, specs, runs, tombstones }, out);
        }
        // Everything that was heard is in these rows.
        self.heard.written = self.journal.end_compaction(self.heard.latest, out);
    }
}
