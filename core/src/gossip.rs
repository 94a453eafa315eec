//! Which servers of the region exist and live.
//!
//! A region has few servers (`SERVERS_MAX`), so everyone probes everyone once a period, and a member
//! list fits into one message: of SWIM (Das, Gupta, Motivala 2002) this keeps probe and ack,
//! incarnations and push-pull, and needs neither relays nor piggyback. Whether a member lives is
//! each server's own judgement and is not spread; what a member says of itself is.
//!
//! ```text
//!   status    Alive ── `missed_max` probes without any word ──▶ Failed
//!             Failed ── any word ──▶ Alive
//! ```
//!
//! When enough have met to found a cluster is in `gossip/bootstrap.rs`.
//!
//! Invariants
//! - merging is order-free: of two descriptions of one member the greater stays, whoever brought it;
//! - a server does not list itself among the others, nor anyone of another region or cluster;
//! - members are bounded.
//!
//! It does not know Raft's configuration, nor other regions.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::limits::SERVERS_MAX;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{ClusterId, Incarnation, ServerId};

mod bootstrap;

/// Failed servers that were replaced are remembered for a while beside the living.
pub const MEMBERS_MAX: usize = 4 * SERVERS_MAX;

/// Whether a member answers us.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Status {
    /// It answers, or was heard of and not probed long enough to say otherwise.
    Alive,
    /// It misses its probes.
    Failed,
}

/// What a server says of itself. The order of the fields decides between two descriptions.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Member {
    pub id: ServerId,
    /// Which start of the server says this; a later one knows better.
    pub incarnation: Incarnation,
    /// Zero until it belongs to one; within one start it is never lost again.
    pub cluster: ClusterId,
    pub name: String,
    pub region: String,
    pub datacenter: String,
    /// Where the server is dialled, `host:port`.
    pub address: String,
    /// Where its HTTP API is, `host:port`.
    pub http_address: String,
    /// `bootstrap_expect`; zero: it founds no cluster.
    pub expect: u32,
    pub build: String,
    /// The judgement of whoever holds this value. Not part of the description.
    pub status: Status,
}

/// How often, and how patiently.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Timings {
    /// Each member is probed once in this time.
    pub probe_ms: u64,
    /// Probes in a row without any word after which a member has failed.
    pub missed_max: u32,
    /// One member, drawn by lot, is told everything and asked for everything.
    pub sync_ms: u64,
    /// A member that failed this long ago is forgotten.
    pub forget_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self { probe_ms: 1_000, missed_max: 5, sync_ms: 5_000, forget_ms: 72 * 3_600_000 }
    }
}

/// What the machine must be told before it starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config {
    /// What this server says of itself.
    pub own: Member,
    /// Addresses to dial from the start (`retry_join`).
    pub join: Vec<String>,
    pub timings: Timings,
}

/// Whether a peer can be spoken to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Link {
    Up,
    Down,
}

/// Where a server stands on the way to a cluster.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Stage {
    /// It has no cluster and has founded none.
    Waiting,
    /// It founded one, or belongs to one.
    Settled,
}

/// All that a server knows, as it tells it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Word {
    /// The speaker's own description.
    pub own: Member,
    /// Whom it believes alive, itself left out.
    pub others: Vec<Member>,
    /// Whom it has met: itself, and who is alive and has spoken to it. Sorted.
    pub met: Vec<ServerId>,
    pub stage: Stage,
}

/// What servers tell each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Message {
    /// Are you there?
    Ping,
    /// I am here.
    Ack,
    /// This is what I know; answer with what you know.
    Push(Box<Word>),
    /// The answer to a push.
    Pull(Box<Word>),
}

/// What the rest must learn or do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    Send(ServerId, Message),
    /// Keep a connection to whoever answers there.
    Dial(String),
    /// The member speaks, for the first time, again, or with a new description.
    MemberAlive(Box<Member>),
    MemberFailed(ServerId),
    /// Found the cluster with these voters, this server among them.
    Bootstrap(Vec<ServerId>),
}

/// A member beside its description.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Known {
    member: Member,
    /// Of this start of ours. None: only heard of.
    heard_at: Option<MonoTime>,
    failed_at: Option<MonoTime>,
    /// Probes since the last word.
    missed: u32,
    /// Whom it had met when it last said so.
    met: Vec<ServerId>,
    stage: Stage,
    /// The address that was dialled last.
    dialled: Option<String>,
}

impl Known {
    const fn has_been_met(&self) -> bool {
        self.heard_at.is_some() && matches!(self.member.status, Status::Alive)
    }
}

/// The membership of one region's servers, as this one sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Gossip {
    own: Member,
    join: Vec<String>,
    timings: Timings,
    rng: Rng,
    others: BTreeMap<ServerId, Known>,
    links: BTreeSet<ServerId>,
    stage: Stage,
    /// What the others were last told about whom we met.
    told_met: Vec<ServerId>,
    /// None before the first `on_time`.
    probe_at: Option<MonoTime>,
    sync_at: Option<MonoTime>,
}

impl Gossip {
    /// A server that knows nobody yet.
    #[must_use]
    pub fn new(config: Config, rng: Rng) -> Self {
        let Config { mut own, join, timings } = config;
        own.status = Status::Alive;
        let (others, links, told_met) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let stage =
            if own.cluster == ClusterId::default() { Stage::Waiting } else { Stage::Settled };
        let (probe_at, sync_at) = (None, None);
        Self { own, join, timings, rng, others, links, stage, told_met, probe_at, sync_at }
    }

    /// This server belongs to `cluster` now. Zero says nothing.
    pub fn on_cluster(&mut self, cluster: ClusterId) {
        if cluster == ClusterId::default() {
            return;
        }
        self.own.cluster = cluster;
        self.stage = Stage::Settled;
        let foreign = |known: &Known| !is_compatible(&self.own, &known.member);
        let strangers: Vec<_> =
            self.others.iter().filter(|(_, known)| foreign(known)).map(|(id, _)| *id).collect();
        for id in strangers {
            self.others.remove(&id);
        }
    }

    /// This server has a part in a cluster, though it may not know yet in which: its log has begun,
    /// but nothing in it is known to be committed. It founds none, nor counts for who would.
    pub fn on_log_begun(&mut self) {
        if !planted!(FoundsBesideLog) {
            self.stage = Stage::Settled;
        }
    }

    /// A connection to `peer` was made or lost. A lost one is no failure: probes decide.
    pub fn on_link(
        &mut self,
        _now: MonoTime,
        peer: ServerId,
        link: Link,
        out: &mut impl Emit<Output>,
    ) {
        match link {
            Link::Up => {
                if peer != self.own.id && self.links.len() < MEMBERS_MAX {
                    self.links.insert(peer);
                    out.emit(Output::Send(peer, Message::Push(Box::new(self.word()))));
                }
            }
            Link::Down => {
                self.links.remove(&peer);
            }
        }
    }

    /// A word from `from`, which the connection has authenticated.
    pub fn on_message(
        &mut self,
        now: MonoTime,
        from: ServerId,
        message: Message,
        out: &mut impl Emit<Output>,
    ) {
        match message {
            Message::Ping => {
                out.emit(Output::Send(from, Message::Ack));
                self.hear(now, from, out);
            }
            Message::Ack => self.hear(now, from, out),
            Message::Push(word) => {
                self.learn(now, from, *word, out);
                out.emit(Output::Send(from, Message::Pull(Box::new(self.word()))));
            }
            Message::Pull(word) => self.learn(now, from, *word, out),
        }
        self.tell_whom_we_met(out);
        self.try_bootstrap(out);
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let (Some(probe_at), Some(sync_at)) = (self.probe_at, self.sync_at) else {
            self.begin(now, out);
            return;
        };
        if probe_at <= now {
            // Who was paused has not listened: it must not judge others by its own deafness.
            let was_paused = self.timings.probe_ms < now.ms_since(probe_at);
            self.probe(now, was_paused, out);
            self.probe_at = Some(now.plus_ms(self.timings.probe_ms));
        }
        if sync_at <= now {
            self.sync(out);
            self.sync_at = Some(now.plus_ms(self.timings.sync_ms));
        }
        self.tell_whom_we_met(out);
        self.try_bootstrap(out);
    }

    /// When `on_time` must next be called. Who knows nobody has nobody to probe.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let (Some(probe_at), Some(sync_at)) = (self.probe_at, self.sync_at) else {
            return Some(MonoTime::default());
        };
        let is_alone = self.others.is_empty() && self.links.is_empty();
        (!is_alone).then(|| probe_at.min(sync_at))
    }

    /// Everyone who is known, this server first.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        core::iter::once(&self.own).chain(self.others.values().map(|known| &known.member))
    }

    /// Checks what holds between any two calls.
    pub fn check_invariants(&self) {
        assert!(!self.others.contains_key(&self.own.id), "a server is not among the others");
        assert!(self.others.len() <= MEMBERS_MAX, "members are bounded");
        assert!(self.links.len() <= MEMBERS_MAX, "links are bounded");
        for (id, known) in &self.others {
            assert!(known.member.id == *id, "a member stands under its own id");
            assert!(
                is_compatible(&self.own, &known.member),
                "members are of our region and cluster"
            );
            let has_failed = known.member.status == Status::Failed;
            assert!(has_failed == known.failed_at.is_some(), "failing has a moment");
        }
    }

    fn begin(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        // Servers that started together do not probe together.
        let first_ms = self.rng.between(0, self.timings.probe_ms);
        self.probe_at = Some(now.plus_ms(first_ms));
        self.sync_at = Some(now.plus_ms(self.timings.sync_ms + first_ms));
        for address in self.join.iter().filter(|address| **address != self.own.address) {
            out.emit(Output::Dial(address.clone()));
        }
        self.try_bootstrap(out);
    }

    fn probe(&mut self, now: MonoTime, was_paused: bool, out: &mut impl Emit<Output>) {
        let timings = self.timings;
        self.others.retain(|_, known| {
            known.failed_at.is_none_or(|at| now.ms_since(at) < timings.forget_ms)
        });
        for (&id, known) in &mut self.others {
            if !was_paused {
                known.missed = known.missed.saturating_add(1);
            }
            if timings.missed_max < known.missed && known.member.status == Status::Alive {
                known.member.status = Status::Failed;
                known.failed_at = Some(now);
                out.emit(Output::MemberFailed(id));
            }
            if self.links.contains(&id) {
                out.emit(Output::Send(id, Message::Ping));
            } else if known.dialled.as_ref() != Some(&known.member.address) {
                // The lower id has dialled at once; whoever waited in vain dials too.
                known.dialled = Some(known.member.address.clone());
                out.emit(Output::Dial(known.member.address.clone()));
            }
        }
    }

    fn sync(&mut self, out: &mut impl Emit<Output>) {
        let Some(last) = self.links.len().checked_sub(1) else { return };
        let nth = usize::try_from(self.rng.between(0, last as u64));
        let nth = nth.expect("invariant: links are bounded");
        let peer = self.links.iter().nth(nth).copied();
        let peer = peer.expect("invariant: the lot is drawn among the links");
        out.emit(Output::Send(peer, Message::Push(Box::new(self.word()))));
    }

    /// Any word is a sign of life.
    fn hear(&mut self, now: MonoTime, from: ServerId, out: &mut impl Emit<Output>) {
        let Some(known) = self.others.get_mut(&from) else {
            // It knows us, we do not know it: its first words were lost.
            if from != self.own.id {
                out.emit(Output::Send(from, Message::Push(Box::new(self.word()))));
            }
            return;
        };
        let is_news = !known.has_been_met();
        known.heard_at = Some(now);
        known.missed = 0;
        known.failed_at = None;
        if !planted!(ReturnNotHeard) {
            known.member.status = Status::Alive;
        }
        if is_news {
            out.emit(Output::MemberAlive(Box::new(known.member.clone())));
        }
    }

    fn learn(&mut self, now: MonoTime, from: ServerId, word: Word, out: &mut impl Emit<Output>) {
        if word.own.id != from || from == self.own.id || !is_compatible(&self.own, &word.own) {
            return;
        }
        self.note_replaced(now, &word.own, out);
        self.merge(word.own, out);
        self.hear(now, from, out);
        for member in word.others.into_iter().take(MEMBERS_MAX) {
            self.merge(member, out);
        }
        if let Some(known) = self.others.get_mut(&from) {
            known.met = word.met;
            known.stage = word.stage;
        }
    }

    /// Whoever speaks from another's address has taken its place: a server that lost its data comes
    /// back as somebody else.
    fn note_replaced(&mut self, now: MonoTime, speaker: &Member, out: &mut impl Emit<Output>) {
        if speaker.address.is_empty() {
            return;
        }
        for (&id, known) in &mut self.others {
            let is_replaced = id != speaker.id && known.member.address == speaker.address;
            if is_replaced && known.member.status == Status::Alive && !self.links.contains(&id) {
                known.member.status = Status::Failed;
                known.failed_at = Some(now);
                out.emit(Output::MemberFailed(id));
            }
        }
    }

    /// Keeps the greater of two descriptions. That is a maximum, so the order of merging is nothing.
    fn merge(&mut self, told: Member, out: &mut impl Emit<Output>) {
        if told.id == self.own.id || !is_compatible(&self.own, &told) {
            return;
        }
        let id = told.id;
        if let Some(known) = self.others.get_mut(&id) {
            let told = Member { status: known.member.status, ..told };
            if told <= known.member {
                return;
            }
            known.member = told;
            if known.has_been_met() {
                out.emit(Output::MemberAlive(Box::new(known.member.clone())));
            }
        } else if self.others.len() < MEMBERS_MAX {
            self.others.insert(
                id,
                Known {
                    member: Member { status: Status::Alive, ..told },
                    heard_at: None,
                    failed_at: None,
                    missed: 0,
                    met: Vec::new(),
                    stage: Stage::Waiting,
                    dialled: None,
                },
            );
        }
        self.dial_the_higher(id, out);
    }

    /// Of two that are not connected yet the lower id dials at once, so that they do not cross.
    fn dial_the_higher(&mut self, id: ServerId, out: &mut impl Emit<Output>) {
        if id < self.own.id || self.links.contains(&id) {
            return;
        }
        let Some(known) = self.others.get_mut(&id) else { return };
        if known.dialled.as_ref() != Some(&known.member.address) {
            known.dialled = Some(known.member.address.clone());
            out.emit(Output::Dial(known.member.address.clone()));
        }
    }

    fn word(&self) -> Word {
        let alive = self.others.values().filter(|known| known.member.status == Status::Alive);
        let others = alive.map(|known| known.member.clone()).collect();
        Word { own: self.own.clone(), others, met: self.met(), stage: self.stage }
    }
}

/// Servers of one region, which do not belong to different clusters.
fn is_compatible(own: &Member, other: &Member) -> bool {
    let nobody = ClusterId::default();
    let one_cluster =
        own.cluster == nobody || other.cluster == nobody || own.cluster == other.cluster;
    own.region == other.region && one_cluster
}
