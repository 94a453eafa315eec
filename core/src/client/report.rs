//! What the servers do not know yet.
//!
//! Changes of one alloc are one update: the last. They leave together every `REPORT_BATCH_MS`, at
//! once when an alloc runs or has ended, and again until they are acknowledged, by whichever server
//! is current then. A second report waits for the first, so that an old word cannot overtake a new
//! one; and so that what changes meanwhile leaves together: the busier the servers, the more.
//!
//! A node that was not in touch with servers tells them with its heartbeats that it is behind, until they
//! know what changed meanwhile: they place nothing on it before. What changes from then on is news as
//! on any other node, so that a busy one catches up, too.
//!
//! Invariants
//! - at most one report is unacknowledged;
//! - an alloc that changed is waiting until a report that said so was acknowledged;
//! - only what is durable here is said, and of tasks that ran before only once their driver was asked;
//! - whatever the servers are behind with waits, or is on its way to them.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::alloc_run::AllocRun;
use super::{Client, ClientRecord, Moment, NodeMessage, Output};
use crate::emit::Emit;
use crate::limits::REPORT_TASKS_MAX;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{AllocId, AllocUpdate, ClientStatus};

/// How long changes that nobody waits for are gathered (as Nomad's clients do with all).
const REPORT_BATCH_MS: u64 = 200;
/// How long a report may stay unacknowledged: longer than an election and a commit.
const REPORT_RETRY_MS: u64 = 5_000;

/// What is to be told, and what is being told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Reports {
    waiting: BTreeSet<AllocId>,
    /// Those of them that somebody waits for: they leave as soon as they are durable here.
    urgent: BTreeSet<AllocId>,
    leaves: Leaves,
    in_flight: Option<InFlight>,
    last_report: u64,
    /// What changed while the node was not in touch, as far as the servers do not know it.
    behind: BTreeSet<AllocId>,
}

/// When `waiting` leaves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Leaves {
    /// Nothing waits.
    #[default]
    Never,
    At(MonoTime),
    /// As soon as the disk, a server and the report before it let it.
    AtOnce,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct InFlight {
    report: u64,
    allocs: Vec<AllocId>,
    retry_at: MonoTime,
}

/// How soon the servers must hear of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Urgency {
    Batched,
    AtOnce,
}

/// What is said of an alloc that must not run and of which nothing is known here.
fn of_stranger(id: AllocId) -> AllocUpdate {
    AllocUpdate {
        id,
        status: ClientStatus::Complete,
        description: "it was stopped before its node heard of it".into(),
        tasks: BTreeMap::new(),
        health: None,
    }
}

impl Reports {
    /// Numbers begin by chance, so that an acknowledgement meant for an earlier start of the agent
    /// is not taken for one of this start's.
    pub(super) fn new(mut rng: Rng) -> Self {
        let last_report = rng.next_u64() >> 1;
        let (waiting, urgent, leaves) = (BTreeSet::new(), BTreeSet::new(), Leaves::Never);
        Self { waiting, urgent, leaves, in_flight: None, last_report, behind: BTreeSet::new() }
    }

    /// A word leaves for servers that may know nothing of what changed so far.
    pub(super) fn on_out_of_touch(&mut self) {
        self.behind.extend(&self.waiting);
        self.behind.extend(self.in_flight.iter().flat_map(|sent| &sent.allocs));
    }

    /// Whether the servers know all that changed while the node was not in touch with them.
    pub(super) fn have_caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    pub(super) fn on_changed(&mut self, now: MonoTime, alloc: AllocId, urgency: Urgency) {
        self.waiting.insert(alloc);
        if urgency == Urgency::AtOnce {
            self.urgent.insert(alloc);
        }
        if self.leaves == Leaves::Never {
            self.leaves = Leaves::At(now.plus_ms(REPORT_BATCH_MS));
        }
    }

    /// What waits leaves as soon as it can.
    fn leave_at_once(&mut self) {
        if !self.waiting.is_empty() {
            self.leaves = Leaves::AtOnce;
        }
    }

    /// Answers which allocs are thereby known to the servers as they are.
    pub(super) fn on_acknowledged(&mut self, report: u64) -> Vec<AllocId> {
        match self.in_flight.take() {
            Some(sent) if sent.report == report => {
                for alloc in &sent.allocs {
                    self.behind.remove(alloc);
                }
                sent.allocs.into_iter().filter(|alloc| !self.waiting.contains(alloc)).collect()
            }
            in_flight => {
                self.in_flight = in_flight;
                Vec::new()
            }
        }
    }

    /// The server that was told is gone: tell the next.
    pub(super) fn on_server_lost(&mut self) {
        if let Some(sent) = self.in_flight.take()
            && !planted!(ReportLostWithServer)
        {
            self.waiting.extend(sent.allocs);
            self.leaves = Leaves::AtOnce;
        }
    }

    /// Whether a report may leave now; `may_tell` says of an alloc whether what is known of it here can be said.
    fn is_due(&self, may_tell: impl Fn(&AllocId) -> bool) -> bool {
        let is_time = self.leaves == Leaves::AtOnce;
        self.in_flight.is_none() && (is_time || self.urgent.iter().any(may_tell))
    }

    /// Who waits, the urgent first.
    fn waiting(&self) -> impl Iterator<Item = &AllocId> {
        let others = self.waiting.iter().filter(|alloc| !self.urgent.contains(alloc));
        self.urgent.iter().chain(others)
    }

    /// `allocs` leave now, as the report whose number this answers.
    fn send(&mut self, now: MonoTime, allocs: Vec<AllocId>) -> u64 {
        assert!(self.in_flight.is_none(), "at most one report is unacknowledged");
        for alloc in &allocs {
            self.waiting.remove(alloc);
            self.urgent.remove(alloc);
        }
        if self.waiting.is_empty() {
            self.leaves = Leaves::Never;
        }
        self.last_report += 1;
        let retry_at = now.plus_ms(REPORT_RETRY_MS);
        self.in_flight = Some(InFlight { report: self.last_report, allocs, retry_at });
        self.last_report
    }

    /// Answers whether a report was not acknowledged in its time.
    pub(super) fn on_time(&mut self, now: MonoTime) -> bool {
        if matches!(self.leaves, Leaves::At(due) if due <= now) {
            self.leaves = Leaves::AtOnce;
        }
        let is_overdue = self.in_flight.as_ref().is_some_and(|sent| sent.retry_at <= now);
        if is_overdue {
            self.on_server_lost();
        }
        is_overdue
    }

    pub(super) fn forget(&mut self, alloc: AllocId) {
        self.waiting.remove(&alloc);
        self.urgent.remove(&alloc);
        self.behind.remove(&alloc);
        if self.waiting.is_empty() {
            self.leaves = Leaves::Never;
        }
    }

    /// When `on_time` must next be called. What leaves at once and is still here waits for the disk,
    /// a server or an acknowledgement.
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        let due = match self.leaves {
            Leaves::At(due) => Some(due),
            Leaves::Never | Leaves::AtOnce => None,
        };
        [due, self.in_flight.as_ref().map(|sent| sent.retry_at)].into_iter().flatten().min()
    }

    pub(super) fn check_invariants(&self) {
        let is_leaving = self.leaves != Leaves::Never;
        assert_eq!(is_leaving, !self.waiting.is_empty(), "what waits has a time to leave");
        assert!(self.urgent.is_subset(&self.waiting), "what is urgent waits");
        let is_told =
            |alloc| self.in_flight.as_ref().is_some_and(|sent| sent.allocs.contains(alloc));
        let is_left = |alloc| self.waiting.contains(alloc) || is_told(alloc);
        assert!(
            self.behind.iter().all(is_left),
            "whatever the servers are behind with is being told"
        );
    }
}

impl Client {
    /// The servers have registered this node, and may know nothing of it: it was away for so long that they
    /// forgot it, and what it should have been told.
    pub(super) fn tell_what_lives(&mut self, at: Moment) {
        if planted!(LivesUntold) {
            return;
        }
        for (&id, _) in self.allocs.iter().filter(|(_, run)| !run.has_ended()) {
            self.reports.on_changed(at.now, id, Urgency::Batched);
        }
        self.reports.leave_at_once();
    }

    /// Tells what waits, if it is time and there is somebody to tell.
    pub(super) fn report(&mut self, at: Moment, out: &mut impl Emit<Output>) {
        let Some(to) = self.servers.registered_with() else {
            return;
        };
        let durable = self.ground.durable;
        let may_tell = |id: &AllocId| match self.allocs.get(id) {
            Some(alloc) => alloc.is_settled(durable) && !alloc.is_sought(),
            // Once it is durable that it must not run, no older assignment can start it.
            None => self.heard.written <= durable,
        };
        if !self.reports.is_due(may_tell) {
            return;
        }
        let mut updates = Vec::new();
        let mut room = REPORT_TASKS_MAX;
        for id in self.reports.waiting().filter(|&id| may_tell(id)) {
            let alloc = self.allocs.get(id);
            let tasks = alloc.map_or(1, AllocRun::task_count);
            if room < tasks && !updates.is_empty() {
                break;
            }
            room = room.saturating_sub(tasks);
            updates.push(alloc.map_or_else(|| of_stranger(*id), AllocRun::update));
        }
        if updates.is_empty() {
            return;
        }
        let allocs = updates.iter().map(|update| update.id).collect();
        let report = self.reports.send(at.now, allocs);
        out.emit(Output::Send { to, message: NodeMessage::Report { report, updates } });
    }

    /// The servers know these as they were when the report left.
    pub(super) fn on_report_acknowledged(
        &mut self,
        at: Moment,
        report: u64,
        out: &mut impl Emit<Output>,
    ) {
        let was_behind = !self.reports.have_caught_up();
        for alloc in self.reports.on_acknowledged(report) {
            self.on_reported(alloc, out);
        }
        if was_behind && self.reports.have_caught_up() {
            self.servers.speak_soon(at.now);
        }
    }

    /// The servers know the alloc as it is. If it has ended, only its files are left.
    fn on_reported(&mut self, id: AllocId, out: &mut impl Emit<Output>) {
        if self.strangers.remove(&id) {
            self.journal.write(ClientRecord::Forgotten { alloc: id }, out);
            return;
        }
        if !self.allocs.get(&id).is_some_and(AllocRun::has_ended) {
            return;
        }
        self.ended.insert(id);
        while self.ground.config.ended_allocs_max < self.ended.len() {
            let oldest = self.ended.pop_first().expect("invariant: not empty");
            self.forget(oldest, out);
        }
    }
}
