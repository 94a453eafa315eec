//! Which servers exist and live: those of one region, or those of all.
//!
//! What servers say of themselves and whether they live is `gossip/swim.rs`, which knows members by id.
//! This adds links and dialling, who belongs to the membership at all (`gossip/member.rs`), and when enough
//! have met to found a cluster (`gossip/bootstrap.rs`).
//!
//! Invariants
//! - a server does not list itself among the others, nor anyone beyond its scope;
//! - members are bounded.
//!
//! It does not know Raft's configuration.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{ClusterId, Incarnation, ServerId};

mod bootstrap;
mod dial;
mod farewell;
mod member;
pub mod swim;
mod world;

pub use farewell::Memory;
pub use member::{Member, Said, Status};
use member::{Scope, status_of};
pub use swim::Timings;
use swim::{Matter, Packet, Record, State, Swim};

/// While a cluster is waited for, one linked server, drawn by lot, is asked whom it has met this often.
const MEETING_MS: u64 = 5_000;

/// What the machine must be told before it starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config {
    /// What this server says of itself.
    pub own: Member,
    /// Addresses to dial from the start, for as long as the server runs (`retry_join`).
    pub join: Vec<String>,
    /// Where servers were when it ran last: dialled as well, for a while.
    pub remembered: Vec<String>,
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

/// Who speaks, and how far it is on the way to a cluster.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Word {
    /// The speaker's own description.
    pub own: Record<Said>,
    /// Whom it has met: itself, and who is alive and has spoken to it. Sorted.
    pub met: Vec<ServerId>,
    pub stage: Stage,
}

/// What servers tell each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Message {
    /// This is who I am; answer with who you are.
    Push(Box<Word>),
    /// The answer to a push.
    Pull(Box<Word>),
    /// Of the membership; may be lost.
    Datagram(Packet<Said>),
    /// Of the membership; in order.
    Stream(Packet<Said>),
    /// An operator wants this member, who is not there, forgotten.
    Forget { id: ServerId, incarnation: Incarnation },
}

/// What the rest must learn or do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    Send(ServerId, Message),
    /// Keep a connection to whoever answers there.
    Dial(String),
    /// Nobody is looked for there any more.
    Forget(String),
    /// The member is there, for the first time, again, or with a new description.
    MemberAlive(ServerId),
    MemberFailed(ServerId),
    MemberLeft(ServerId),
    /// The membership has come to rest: what has become of whom, and on whose word.
    Shift(swim::Shift),
    /// Found the cluster with these voters, this server among them.
    Bootstrap(Vec<ServerId>),
}

/// What a server has said of whom it met, in this start of ours.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Meeting {
    met: Vec<ServerId>,
    stage: Stage,
}

/// A membership of servers, as this one sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Gossip {
    scope: Scope,
    own: Member,
    join: Vec<String>,
    remembered: Vec<String>,
    /// None before the first `on_time`.
    remembered_until: Option<MonoTime>,
    rng: Rng,
    swim: Swim<Said>,
    /// Of those who have spoken to this server.
    meetings: BTreeMap<ServerId, Meeting>,
    /// The address of each member that was dialled last.
    dialled: BTreeMap<ServerId, String>,
    links: BTreeSet<ServerId>,
    stage: Stage,
    /// What the others were last told about whom we met.
    told_met: Vec<ServerId>,
    /// None before the first `on_time`.
    meeting_at: Option<MonoTime>,
}

impl Gossip {
    /// A server of a region that knows nobody yet.
    #[must_use]
    pub fn new(config: Config, rng: Rng) -> Self {
        Self::of_scope(Scope::Region, config, rng)
    }

    fn of_scope(scope: Scope, config: Config, rng: Rng) -> Self {
        let Config { mut own, join, remembered, timings } = config;
        own.status = Status::Alive;
        let stage = if own.cluster == ClusterId::default() && scope == Scope::Region {
            Stage::Waiting
        } else {
            Stage::Settled
        };
        let swim = swim::Config {
            id: own.id,
            incarnation: own.incarnation,
            said: Box::new(own.clone()),
            timings,
            members_max: scope.members_max(),
        };
        Self {
            scope,
            own,
            join,
            remembered,
            remembered_until: None,
            swim: Swim::new(swim, rng.fork("swim")),
            rng,
            meetings: BTreeMap::new(),
            dialled: BTreeMap::new(),
            links: BTreeSet::new(),
            stage,
            told_met: Vec::new(),
            meeting_at: None,
        }
    }

    /// This server belongs to `cluster` now. Zero says nothing.
    pub fn on_cluster(&mut self, now: MonoTime, cluster: ClusterId) {
        if cluster == ClusterId::default() {
            return;
        }
        self.own.cluster = cluster;
        self.stage = Stage::Settled;
        self.swim.on_described(now, Box::new(self.own.clone()));
        let foreign = |said: &Member| !self.scope.holds(&self.own, said);
        let strangers = self.swim.others().filter(|(_, said)| foreign(said));
        let strangers: Vec<_> = strangers.map(|(outline, _)| outline.id).collect();
        for id in strangers {
            self.swim.forget(id);
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
        now: MonoTime,
        peer: ServerId,
        link: Link,
        out: &mut impl Emit<Output>,
    ) {
        match link {
            Link::Up => {
                if peer != self.own.id && self.links.len() < self.scope.members_max() {
                    self.links.insert(peer);
                    out.emit(Output::Send(peer, Message::Push(Box::new(self.word()))));
                    self.with_swim(out, |swim, said| swim.on_contact(now, peer, said));
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
            Message::Push(word) => {
                self.learn(now, from, *word, out);
                out.emit(Output::Send(from, Message::Pull(Box::new(self.word()))));
            }
            Message::Pull(word) => self.learn(now, from, *word, out),
            Message::Forget { id, incarnation } => self.forget(id, incarnation),
            Message::Datagram(packet) | Message::Stream(packet) => {
                self.hear(now, from, packet, out);
            }
        }
        self.tell_whom_we_met(out);
        self.try_bootstrap(out);
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if self.meeting_at.is_none() {
            self.dial_first(now, out);
        }
        self.with_swim(out, |swim, said| swim.on_time(now, said));
        self.forget_gone(now, out);
        if self.meeting_at.is_none_or(|at| at <= now) {
            self.meeting_at = Some(now.plus_ms(MEETING_MS));
            self.ask_whom_they_met(out);
        }
        self.tell_whom_we_met(out);
        self.try_bootstrap(out);
    }

    /// When `on_time` must next be called. Who knows nobody has nobody to probe.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let Some(meeting_at) = self.meeting_at else { return Some(MonoTime::default()) };
        let waits = self.stage == Stage::Waiting && !self.links.is_empty();
        let meeting_at = waits.then_some(meeting_at);
        self.swim.next_deadline().into_iter().chain(meeting_at).min()
    }

    /// Everyone who is known, this server first.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        let judged = |(outline, said): (swim::Outline, &Said)| {
            let status = status_of(outline.state, said);
            Member { status, ..said.as_ref().clone() }
        };
        let own =
            Member { status: status_of(self.swim.own().state, &self.own), ..self.own.clone() };
        core::iter::once(own).chain(self.swim.others().map(judged))
    }

    /// The same for people to look at. A server that is cut off calls nobody failed, and decides nothing
    /// by that, but whoever asks it is not told that somebody lives of whom it hears nothing.
    pub fn members_to_show(&self) -> impl Iterator<Item = Member> {
        let is_cut_off = self.swim.is_cut_off();
        self.members().map(move |mut member| {
            let is_there = matches!(member.status, Status::Alive | Status::Leaving);
            if is_cut_off && member.id != self.own.id && is_there {
                member.status = Status::Failed;
            }
            member
        })
    }

    /// Why `id` is called failed, and when that was.
    #[must_use]
    pub fn verdict(&self, id: ServerId) -> Option<&swim::Verdict> {
        self.swim.verdict(id)
    }

    /// Whose this is: the region of this server.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.own.region
    }

    /// Whether anything is known of `id`; of this server that is so.
    #[must_use]
    pub fn knows(&self, id: ServerId) -> bool {
        id == self.own.id || self.swim.state(id).is_some()
    }

    /// What holds of `id`, and of which of its starts, if it is known.
    #[must_use]
    pub fn standing(&self, id: ServerId) -> Option<(Status, Incarnation)> {
        let (state, said) = if id == self.own.id {
            (self.swim.own().state, &self.own)
        } else {
            (self.swim.state(id)?, self.swim.said(id)?.as_ref())
        };
        Some((status_of(state, said), said.incarnation))
    }

    /// Whether there is a connection to `id`.
    #[must_use]
    pub fn is_linked(&self, id: ServerId) -> bool {
        self.links.contains(&id)
    }

    /// Checks what holds between any two calls.
    pub fn check_invariants(&self) {
        self.swim.check_invariants();
        let most = self.scope.members_max();
        assert!(self.links.len() <= most, "links are bounded");
        assert!(self.meetings.len() <= most, "meetings are bounded");
        assert!(self.dialled.len() <= most, "dialled addresses are bounded");
        for (outline, said) in self.swim.others() {
            assert!(said.id == outline.id, "a member stands under its own id");
            assert!(outline.id != self.own.id, "a server is not among the others");
            assert!(self.scope.holds(&self.own, said), "members are within the scope");
        }
    }

    fn ask_whom_they_met(&mut self, out: &mut impl Emit<Output>) {
        if self.stage == Stage::Settled || self.links.is_empty() {
            return;
        }
        let nth = self.rng.between(0, self.links.len() as u64 - 1);
        let nth = usize::try_from(nth).expect("invariant: links are bounded");
        if let Some(&peer) = self.links.iter().nth(nth) {
            out.emit(Output::Send(peer, Message::Push(Box::new(self.word()))));
        }
    }

    /// A packet of the membership. Of those who are beyond its scope nothing is believed.
    fn hear(
        &mut self,
        now: MonoTime,
        from: ServerId,
        mut packet: Packet<Said>,
        out: &mut impl Emit<Output>,
    ) {
        packet.news.retain_mut(|record| {
            let Some(said) = &mut record.said else { return true };
            said.status = Status::Alive;
            said.id == record.id && self.scope.holds(&self.own, said)
        });
        let introduces_itself = packet.news.iter().any(|record| record.id == from);
        if self.swim.state(from).is_some() || introduces_itself {
            self.with_swim(out, |swim, said| swim.on_packet(now, from, packet, said));
        } else if matches!(packet.matter, Matter::Ping { .. }) && from != self.own.id {
            // It knows us, we do not know it: its first words were lost.
            out.emit(Output::Send(from, Message::Push(Box::new(self.word()))));
        }
    }

    fn learn(&mut self, now: MonoTime, from: ServerId, word: Word, out: &mut impl Emit<Output>) {
        let Word { own, met, stage } = word;
        let Some(said) = own.said.as_ref() else { return };
        let is_its_own = own.id == from && said.id == from && own.state == State::Alive;
        if !is_its_own || from == self.own.id || !self.scope.holds(&self.own, said) {
            return;
        }
        self.note_replaced(now, &said.clone(), out);
        let packet = Packet { matter: Matter::News, news: alloc::vec![own] };
        self.hear(now, from, packet, out);
        if self.swim.state(from).is_some() {
            self.meetings.insert(from, Meeting { met, stage });
            let swim = &self.swim;
            self.meetings.retain(|id, _| swim.state(*id).is_some());
        }
    }

    /// Whoever speaks from another's address has taken its place: a server that lost its data comes
    /// back as somebody else.
    fn note_replaced(&mut self, now: MonoTime, speaker: &Member, out: &mut impl Emit<Output>) {
        if speaker.address.is_empty() {
            return;
        }
        let is_replaced = |(outline, said): &(swim::Outline, &Said)| {
            outline.id != speaker.id
                && said.region == speaker.region
                && said.address == speaker.address
                && !self.links.contains(&outline.id)
        };
        let replaced = self.swim.others().filter(is_replaced).map(|(outline, _)| outline.id);
        let replaced: Vec<_> = replaced.collect();
        for id in replaced {
            self.with_swim(out, |swim, said| swim.on_replaced(now, id, said));
        }
    }

    /// Lets the membership do something, and carries out what it says.
    fn with_swim(
        &mut self,
        out: &mut impl Emit<Output>,
        does: impl FnOnce(&mut Swim<Said>, &mut Vec<swim::Output<Said>>),
    ) {
        let mut said = Vec::new();
        does(&mut self.swim, &mut said);
        for output in said {
            match output {
                swim::Output::Datagram(to, packet) => {
                    self.send(to, Message::Datagram(packet), out);
                }
                swim::Output::Stream(to, packet) => self.send(to, Message::Stream(packet), out),
                swim::Output::Alive(id) => {
                    out.emit(Output::MemberAlive(id));
                    if self.own.id < id {
                        // Of two that are not connected yet the lower id dials at once, so that
                        // they do not cross.
                        self.dial(id, out);
                    }
                }
                swim::Output::Failed(id) => out.emit(Output::MemberFailed(id)),
                swim::Output::Left(id) => out.emit(Output::MemberLeft(id)),
                swim::Output::Shift(shift) => out.emit(Output::Shift(shift)),
                swim::Output::Suspected(_) | swim::Output::Cleared(_) => (),
            }
        }
    }

    fn send(&mut self, to: ServerId, message: Message, out: &mut impl Emit<Output>) {
        if self.links.contains(&to) {
            out.emit(Output::Send(to, message));
        } else if let Message::Datagram(Packet { matter: Matter::Ping { .. }, .. }) = message {
            // Whoever waited in vain dials too.
            self.dial(to, out);
        }
    }

    /// What this server says of itself, to everybody whom it can.
    fn speak_to_all(&self, out: &mut impl Emit<Output>) {
        let word = Box::new(self.word());
        for &peer in &self.links {
            out.emit(Output::Send(peer, Message::Pull(word.clone())));
        }
    }

    fn word(&self) -> Word {
        let own = Record { said: Some(Box::new(self.own.clone())), ..self.swim.introduction() };
        let met = match self.scope {
            Scope::Region => self.met(),
            // Nobody founds anything together with another region.
            Scope::World => Vec::new(),
        };
        Word { own, met, stage: self.stage }
    }
}
