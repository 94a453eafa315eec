//! Which server this node talks to, its registration, and its heartbeats.
//!
//! Of the connected servers one is current, drawn by chance so that a fleet spreads. A server that
//! does not answer in time, or does not get a report written down, is left for another. Registration
//! comes first; the first heartbeat follows it at once, the next ones once in a time-to-live, a little
//! early each, so that a fleet that registered together does not beat together. One that gets lost is
//! sent again within the servers' grace.
//!
//! Servers tell which there are, so that a node that was told of one knows all. Of a fleet, such a part
//! moves to a server that is new as is its share.
//!
//! Invariants
//! - the current server is connected;
//! - while a server is current, the next word to it has its time;
//! - heartbeats are sent only while registered;
//! - whatever servers answer, registrations that no heartbeat confirms are a second apart.
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Client, NodeMessage, Output};
use crate::emit::Emit;
use crate::limits::{HEARTBEAT_TTL_MS, SERVERS_MAX};
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{Index, ServerId};

/// How long a server may take to answer, at least and at most: by chance, so that a fleet that was
/// left by its server does not return in step.
const ANSWER_MS_MIN: u64 = 1_000;
/// See `ANSWER_MS_MIN`.
const ANSWER_MS_MAX: u64 = 2_000;
/// A heartbeat is at most such a part of the time-to-live early.
const EARLY_PART: u64 = 20;

/// Connected servers, and how this node stands with them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Servers {
    up: BTreeSet<ServerId>,
    current: Option<ServerId>,
    /// Where the next heartbeat goes instead.
    next: Option<ServerId>,
    /// Where servers are, as one of them said.
    told: BTreeSet<String>,
    registration: Registration,
    /// The entry that holds the last registration.
    registered_at: Index,
    /// When the next word is due; `None`: no server, or nothing to say yet.
    due: Option<MonoTime>,
    /// Whether the last word is still unanswered.
    is_answer_awaited: bool,
    /// Whether a heartbeat was answered since the last registration.
    is_confirmed: bool,
    /// Whether the current server has answered a heartbeat, and no word to it was left unanswered since.
    is_in_touch: bool,
    /// Once the last word is answered, there is another.
    has_more: bool,
    rng: Rng,
}

/// Whether the servers know this node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Registration {
    /// The machine was not looked at yet.
    Unknown,
    Needed,
    /// Asked for, and the machine has changed since.
    Outdated,
    Done,
}

/// What must be said now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Register,
    Heartbeat,
}

impl Servers {
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            up: BTreeSet::new(),
            current: None,
            next: None,
            told: BTreeSet::new(),
            registration: Registration::Unknown,
            registered_at: Index(0),
            due: None,
            is_answer_awaited: false,
            is_confirmed: false,
            is_in_touch: false,
            has_more: false,
            rng,
        }
    }

    pub(super) const fn current(&self) -> Option<ServerId> {
        self.current
    }

    /// The server to report to: none before the registration.
    pub(super) const fn registered_with(&self) -> Option<ServerId> {
        match self.registration {
            Registration::Done => self.current,
            Registration::Unknown | Registration::Needed | Registration::Outdated => None,
        }
    }

    pub(super) const fn is_registered(&self) -> bool {
        matches!(self.registration, Registration::Done)
    }

    pub(super) fn on_up(&mut self, now: MonoTime, server: ServerId) {
        let is_new = self.up.len() < SERVERS_MAX && self.up.insert(server);
        if self.current.is_none() {
            self.choose(now);
        } else if is_new && self.rng.between(1, self.up.len() as u64) == 1 {
            self.next = Some(server);
        }
    }

    /// A server says where servers are.
    pub(super) fn on_told(&mut self, servers: &[String], out: &mut impl Emit<Output>) {
        let now: BTreeSet<String> = servers.iter().take(SERVERS_MAX).cloned().collect();
        if now.is_empty() || now == self.told {
            return;
        }
        for address in now.difference(&self.told).cloned() {
            out.emit(Output::Dial { address });
        }
        for address in self.told.difference(&now).cloned() {
            out.emit(Output::Forget { address });
        }
        self.told = now;
    }

    /// Answers whether it was the current one.
    pub(super) fn on_down(&mut self, now: MonoTime, server: ServerId) -> bool {
        self.up.remove(&server);
        let was_current = self.current == Some(server);
        if was_current {
            self.choose(now);
        }
        was_current
    }

    /// There is something to register. If that was just asked for, once more after the answer: the
    /// answer may be to what was true before.
    pub(super) fn on_registration_needed(&mut self, now: MonoTime) {
        if self.is_answer_awaited && self.registration != Registration::Done {
            self.registration = Registration::Outdated;
            return;
        }
        self.registration = Registration::Needed;
        self.is_answer_awaited = false;
        self.due = self.current.map(|_| now);
    }

    /// The server does not know this node. One that has just registered it is behind the others: one of
    /// them is asked, and not at once, for it may be behind as well and each registration is an entry.
    /// Answers whether the current server was left.
    pub(super) fn on_unregistered(&mut self, now: MonoTime, from: ServerId) -> bool {
        if self.registered_with() != Some(from) {
            return false;
        }
        self.is_answer_awaited = false;
        self.on_registration_needed(now);
        if self.is_confirmed {
            return false;
        }
        self.choose(now);
        self.due = self.due.map(|_| now.plus_ms(self.rng.between(ANSWER_MS_MIN, ANSWER_MS_MAX)));
        self.current != Some(from)
    }

    /// Answers whether that was still awaited.
    pub(super) fn on_registered(&mut self, now: MonoTime, from: ServerId, index: Index) -> bool {
        if self.current != Some(from) || !self.is_answer_awaited {
            return false;
        }
        self.registration = match self.registration {
            Registration::Unknown | Registration::Done => return false,
            Registration::Needed => Registration::Done,
            Registration::Outdated => Registration::Needed,
        };
        self.registered_at = index;
        self.is_confirmed = false;
        self.is_in_touch = false;
        self.is_answer_awaited = false;
        self.due = Some(now);
        true
    }

    pub(super) fn on_heartbeat_ack(&mut self, now: MonoTime, from: ServerId, ttl_ms: u64) {
        if self.registered_with() != Some(from) || !self.is_answer_awaited {
            return;
        }
        self.is_answer_awaited = false;
        self.is_confirmed = true;
        self.is_in_touch = true;
        if core::mem::take(&mut self.has_more) {
            self.due = Some(now);
            return;
        }
        // However odd the server's answer, a node speaks neither all the time nor never.
        let ttl_ms = ttl_ms.clamp(ANSWER_MS_MIN, HEARTBEAT_TTL_MS * 100);
        let early_ms = self.rng.between(0, ttl_ms / EARLY_PART);
        self.due = Some(now.plus_ms(ttl_ms - early_ms));
    }

    /// The next heartbeat says what the last one could not: it does not wait for its time.
    pub(super) fn speak_soon(&mut self, now: MonoTime) {
        if self.is_answer_awaited {
            self.has_more = true;
        } else if self.is_registered() {
            self.due = self.due.map(|_| now);
        }
    }

    /// The current server hears this node and cannot have a report written down: it may be cut off from
    /// whoever leads, and would answer heartbeats all the same. Another may be luckier.
    pub(super) fn on_report_overdue(&mut self, now: MonoTime) {
        if self.is_registered() {
            self.choose(now);
        }
    }

    /// What must be said now, if anything. Answers also whether the current server was left.
    pub(super) fn take_due(&mut self, now: MonoTime) -> Option<(Word, Left)> {
        self.due.filter(|&due| due <= now)?;
        let before = self.current;
        let next = self.next.take().filter(|next| self.up.contains(next));
        if self.is_answer_awaited {
            self.choose(now);
        } else if self.registration == Registration::Done {
            self.is_in_touch &= next.is_none();
            self.current = next.or(self.current);
        }
        self.is_answer_awaited = true;
        self.due = Some(now.plus_ms(self.rng.between(ANSWER_MS_MIN, ANSWER_MS_MAX)));
        let word = match self.registration {
            Registration::Done => Word::Heartbeat,
            Registration::Unknown | Registration::Needed | Registration::Outdated => {
                self.registration = Registration::Needed;
                Word::Register
            }
        };
        Some((word, if before == self.current { Left::No } else { Left::Yes }))
    }

    pub(super) const fn next_deadline(&self) -> Option<MonoTime> {
        self.due
    }

    pub(super) fn check_invariants(&self) {
        let is_up = self.current.is_none_or(|current| self.up.contains(&current));
        assert!(is_up, "the current server is connected");
        assert!(self.current.is_some() || self.due.is_none(), "words need a server");
    }

    /// Another server than the current one, if there is one.
    fn choose(&mut self, now: MonoTime) {
        let others: Vec<_> =
            self.up.iter().copied().filter(|&up| Some(up) != self.current).collect();
        self.is_answer_awaited = false;
        self.is_in_touch = false;
        if others.is_empty() {
            self.current = self.current.filter(|current| self.up.contains(current));
        } else {
            let last = others.len() - 1;
            let at = self.rng.between(0, u64::try_from(last).expect("invariant: few servers"));
            self.current = Some(others[usize::try_from(at).expect("invariant: few servers")]);
        }
        let has_words = self.registration != Registration::Unknown;
        self.due = self.current.filter(|_| has_words).map(|_| now);
    }
}

impl Client {
    /// What is said once in a time-to-live, and to whoever asks.
    pub(super) fn heartbeat(&mut self) -> NodeMessage {
        if !self.servers.is_in_touch {
            self.reports.on_out_of_touch();
        }
        NodeMessage::Heartbeat {
            seq: self.heard.seq,
            registered_at: self.servers.registered_at,
            is_behind: !self.reports.have_caught_up(),
        }
    }

    /// Where servers were, as one of them said when the agent ran last.
    pub fn on_remembered(&mut self, servers: &[String], out: &mut impl Emit<Output>) {
        self.servers.on_told(servers, out);
    }

    /// Where servers are, as one of them said last.
    pub fn told(&self) -> impl Iterator<Item = &String> {
        self.servers.told.iter()
    }
}

/// Whether the current server is another than before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    No,
    Yes,
}
