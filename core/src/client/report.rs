//! What the servers do not know yet.
//!
//! Changes of one alloc are one update: the last. They leave together every `REPORT_BATCH_MS`, at
//! once when an alloc runs or has ended, and again until they are acknowledged, by whichever server
//! is current then. A second report waits for the first, so that an old word cannot overtake a new
//! one; and so that what changes meanwhile leaves together: the busier the servers, the more.
//!
//! Invariants
//! - at most one report is unacknowledged;
//! - an alloc that changed is waiting until a report that said so was acknowledged;
//! - only what is durable here is said.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

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
pub(super) fn of_stranger(id: AllocId) -> AllocUpdate {
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
        Self { waiting, urgent, leaves, in_flight: None, last_report }
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

    /// Answers which allocs are thereby known to the servers as they are.
    pub(super) fn on_acknowledged(&mut self, report: u64) -> Vec<AllocId> {
        match self.in_flight.take() {
            Some(sent) if sent.report == report => {
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

    /// Whether a report may leave now; `is_settled` says of an alloc whether it is durable here.
    pub(super) fn is_due(&self, is_settled: impl Fn(&AllocId) -> bool) -> bool {
        let is_time = self.leaves == Leaves::AtOnce;
        self.in_flight.is_none() && (is_time || self.urgent.iter().any(is_settled))
    }

    /// Who waits, the urgent first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &AllocId> {
        let others = self.waiting.iter().filter(|alloc| !self.urgent.contains(alloc));
        self.urgent.iter().chain(others)
    }

    /// `allocs` leave now, as the report whose number this answers.
    pub(super) fn send(&mut self, now: MonoTime, allocs: Vec<AllocId>) -> u64 {
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
    }
}
