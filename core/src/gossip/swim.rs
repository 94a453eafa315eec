//! Which members of a group live: SWIM with Lifeguard, and beyond.
//!
//! Sources: SWIM (Das, Gupta, Motivala 2002), Lifeguard (Dadgar, Phillips, Currey 2018), Rapid (Suresh
//! et al. 2018). Why it is as it is: `docs/decisions/0028`.
//!
//! ```text
//!   Alive ── a probe fails, and others cannot reach it either ──▶ Suspect
//!   Suspect ── it speaks for itself with a later turn ──▶ Alive
//!   Suspect ── time is up, we asked it too, and enough others accuse it ──▶ Failed
//!   any ── it says that it goes ──▶ Left          Failed, Left ── a later turn or start ──▶ Alive
//! ```
//!
//! | file | what |
//! |---|---|
//! | `table`, `index` | the members, and an order-free sum of who is active |
//! | `probe` | one member a period is asked, by others too; failed ones now and then |
//! | `suspicion` | time to answer, accusers, the verdict |
//! | `merge` | what others say, and what is said of this member |
//! | `spread` | news travel on other messages and by lot |
//! | `sync` | joining by one snapshot; tables that stay different are compared |
//! | `health` | whether this member is fit to judge, or to be among the others |
//! | `shift` | changes that belong together are told together |
//!
//! Invariants
//! - of two records of one member the greater stays: later start, later turn, worse state;
//! - nobody is failed here without as many accusers as the group's size asks for, itself silent to us;
//! - whoever was paused, is cut off or is not heard by others judges nobody;
//! - tables, queues and packets are bounded.
//!
//! It knows no addresses and no links: what cannot be sent is lost, and that is borne.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{Incarnation, ServerId};

mod farewell;
mod health;
mod index;
mod merge;
mod probe;
mod shift;
mod spread;
mod suspicion;
mod sync;
mod table;

use health::Health;
use probe::{Probe, Relayed};
use shift::Shifts;
pub use shift::{Shift, Verdict};
use spread::Queue;
use suspicion::Suspicions;
use sync::Contacts;
use table::Table;

/// Accusers that a verdict needs in a large group.
pub const ACCUSERS_MAX: usize = 3;
/// Bytes of news in one packet: with the envelope it fits into the smallest datagram of QUIC.
const NEWS_BYTES_MAX: usize = 1_050;

/// What a member says of itself.
pub trait Description: Clone + Debug + Eq {
    /// About how long it is on the wire.
    fn size_bytes(&self) -> usize;
}

/// Which word of a member is meant: only itself counts it on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Version {
    /// Which start of the member: a later one is somebody new, whatever was said of the earlier.
    pub incarnation: Incarnation,
    /// How often it has spoken for itself, or changed what it says, in this start.
    pub turn: u32,
}

/// What holds of a member. The order decides between records of one version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum State {
    Alive,
    /// Somebody could not reach it. It counts among the active.
    Suspect,
    Failed,
    /// It went of its own accord.
    Left,
}

impl State {
    /// Whether it counts among those who are there.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// A fact about a member, as members tell each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record<D> {
    pub id: ServerId,
    pub version: Version,
    pub state: State,
    /// Who could not reach it, if it is suspect or failed.
    pub accusers: Vec<ServerId>,
    /// What it says of itself, where the listener may not know it.
    pub said: Option<D>,
}

/// A record without its reasons: enough to see who knows more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Outline {
    pub id: ServerId,
    pub version: Version,
    pub state: State,
}

/// What a packet is for. `view` is the sum of whom the sender holds for active.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Matter {
    /// Are you there?
    Ping { seq: u32, view: u64 },
    /// I am.
    Ack { seq: u32, view: u64 },
    /// Ask `subject` for me.
    PingReq { seq: u32, subject: ServerId },
    /// Answer on the stream that this comes on: datagrams may have no way.
    Knock { seq: u32 },
    /// I asked, and it answered; or it is I whom you asked on the stream.
    Reached { seq: u32 },
    /// I asked, and it did not answer me either.
    Nack { seq: u32 },
    /// Nothing but the news.
    News,
    /// Tell `subject` the news in here: they are about it.
    Tell { subject: ServerId },
    /// I am new, or was told of you: who is there, unless your sum is mine?
    Join { view: u64 },
    /// Everyone I know is in the news.
    Snapshot,
    /// Our sums differ; these are mine, by bucket.
    Compare { buckets: Vec<u64> },
    /// Whom I know in the buckets that differ from yours; these are my sums.
    Outlines { buckets: Vec<u64>, outlines: Vec<Outline> },
    /// The news are what you did not know; tell me of these.
    Want(Vec<ServerId>),
}

/// What members send each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Packet<D> {
    pub matter: Matter,
    pub news: Vec<Record<D>>,
}

/// What the rest must learn or do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output<D> {
    /// Maybe it arrives.
    Datagram(ServerId, Packet<D>),
    /// It is repeated until it arrives, or the link ends.
    Stream(ServerId, Packet<D>),
    /// A member is active that was not, or says something new of itself.
    Alive(ServerId),
    Suspected(ServerId),
    /// A suspicion is over, and was wrong.
    Cleared(ServerId),
    Failed(ServerId),
    Left(ServerId),
    /// The group has come to rest in a new state.
    Shift(Shift),
}

/// How often, and how patiently.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Timings {
    /// One member is probed in this time.
    pub probe_ms: u64,
    /// While there are news, some members are told this often.
    pub gossip_ms: u64,
    /// How long the accused has for its answer, in a group of up to 128.
    pub suspect_ms: u64,
    /// Who failed or left this long ago is forgotten.
    pub forget_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self { probe_ms: 800, gossip_ms: 200, suspect_ms: 2_200, forget_ms: 72 * 3_600_000 }
    }
}

/// What the machine must be told before it starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config<D> {
    pub id: ServerId,
    pub incarnation: Incarnation,
    pub said: D,
    pub timings: Timings,
    /// Others are never more.
    pub members_max: usize,
}

/// One member's knowledge of its group.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Swim<D> {
    timings: Timings,
    members_max: usize,
    rng: Rng,
    table: Table<D>,
    queue: Queue,
    probe: Option<Probe>,
    relayed: Vec<Relayed>,
    suspicions: Suspicions,
    /// Why those failed that failed, by place in the table.
    verdicts: BTreeMap<u32, Verdict>,
    contacts: Contacts,
    health: Health,
    shifts: Shifts,
    /// Of the last ping.
    seq: u32,
    /// None before the first `on_time`.
    probe_at: Option<MonoTime>,
    gossip_at: MonoTime,
    /// When it is next looked for who is to be forgotten.
    forget_at: MonoTime,
    /// It has said goodbye, and says nothing more of its own accord.
    is_leaving: bool,
}

impl<D: Description> Swim<D> {
    /// A member that knows nobody but itself.
    #[must_use]
    pub fn new(config: Config<D>, rng: Rng) -> Self {
        let Config { id, incarnation, said, timings, members_max } = config;
        let own = Outline { id, version: Version { incarnation, turn: 0 }, state: State::Alive };
        Self {
            timings,
            members_max,
            rng,
            table: Table::new(own, said),
            queue: Queue::default(),
            probe: None,
            relayed: Vec::new(),
            suspicions: Suspicions::default(),
            verdicts: BTreeMap::new(),
            contacts: Contacts::default(),
            health: Health::default(),
            shifts: Shifts::default(),
            seq: 0,
            probe_at: None,
            gossip_at: MonoTime::default(),
            forget_at: MonoTime::default(),
            is_leaving: false,
        }
    }

    /// Members that were known before this start, without asking anybody: from a snapshot on disk.
    pub fn on_remembered(&mut self, now: MonoTime, members: impl IntoIterator<Item = Record<D>>) {
        for record in members {
            let Record { id, version, said, .. } = record;
            if let Some(said) = said
                && self.table.find(id).is_none()
                && self.table.others() < self.members_max
            {
                let outline = Outline { id, version, state: State::Alive };
                self.table.insert(now, outline, said, &mut self.rng);
            }
        }
    }

    /// This member says something new of itself.
    pub fn on_described(&mut self, now: MonoTime, said: D) {
        if *self.table.own_said() == said {
            return;
        }
        let turn = self.table.own().version.turn + 1;
        self.table.describe_own(now, turn, said);
        self.queue.push(&mut self.table, table::OWN);
        self.gossip_at = self.gossip_at.max(now);
    }

    /// There is somebody to talk to, of whom nothing may be known but that.
    pub fn on_contact(&mut self, now: MonoTime, peer: ServerId, out: &mut impl Emit<Output<D>>) {
        if peer != self.table.own().id && !self.is_leaving {
            self.contact(now, peer, out);
        }
    }

    /// A packet from `from`, who is who it says.
    pub fn on_packet(
        &mut self,
        now: MonoTime,
        from: ServerId,
        packet: Packet<D>,
        out: &mut impl Emit<Output<D>>,
    ) {
        if from == self.table.own().id {
            return;
        }
        if self.probe_at.is_none() {
            self.begin(now);
        }
        self.note_time(now);
        self.note_heard(now);
        let Packet { matter, news } = packet;
        let channel = match matter {
            Matter::Snapshot | Matter::Want(_) => merge::Channel::Compared,
            Matter::Tell { subject } => return self.pass_on(from, subject, news, out),
            Matter::Ping { .. }
            | Matter::Ack { .. }
            | Matter::PingReq { .. }
            | Matter::Knock { .. }
            | Matter::Reached { .. }
            | Matter::Nack { .. }
            | Matter::News
            | Matter::Join { .. }
            | Matter::Compare { .. }
            | Matter::Outlines { .. } => merge::Channel::Gossip,
        };
        for record in news.into_iter().take(2 * self.members_max) {
            self.merge(now, from, (record, channel), out);
        }
        match matter {
            Matter::Ping { seq, view } => self.answer_ping(now, from, (seq, view), out),
            Matter::Ack { seq, view } => self.take_ack(now, from, (seq, view), out),
            Matter::PingReq { seq, subject } => self.ask_for(now, from, (seq, subject), out),
            Matter::Knock { seq } => {
                let packet = Packet { matter: Matter::Reached { seq }, news: Vec::new() };
                out.emit(Output::Stream(from, packet));
            }
            Matter::Reached { seq } => self.take_reached(seq),
            Matter::Nack { seq } => self.take_nack(from, seq),
            Matter::News | Matter::Tell { .. } => (),
            Matter::Join { view } => self.answer_join(from, view, out),
            Matter::Snapshot => self.contacts.note_snapshot(from),
            Matter::Compare { buckets } => self.answer_compare(from, &buckets, out),
            Matter::Outlines { buckets, outlines } => {
                self.answer_outlines(now, from, (&buckets, &outlines), out);
            }
            Matter::Want(ids) => self.answer_want(from, &ids, out),
        }
        // News that have come after a silence are due now, not since then.
        self.gossip_at = self.gossip_at.max(now);
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        let Some(probe_at) = self.probe_at else {
            self.begin(now);
            return;
        };
        self.note_time(now);
        self.go_on_probing(now, out);
        if self.probe_at.unwrap_or(probe_at) <= now {
            self.probe_at = Some(now.plus_ms(self.timings.probe_ms));
            self.begin_period(now, out);
        }
        self.give_up_relaying(now, out);
        self.judge(now, out);
        self.retry_contacts(now, out);
        if !self.queue.is_empty() && self.gossip_at <= now {
            self.gossip(out);
            self.gossip_at = now.plus_ms(self.timings.gossip_ms);
        }
        self.gossip_at = self.gossip_at.max(now);
        if let Some(shift) = self.shifts.take(now, self.suspicions.is_empty()) {
            out.emit(Output::Shift(shift));
        }
    }

    /// Somebody else speaks from where `id` was: that has failed, and needs no time to answer.
    pub fn on_replaced(&mut self, now: MonoTime, id: ServerId, out: &mut impl Emit<Output<D>>) {
        let Some(at) = self.table.find(id).filter(|at| *at != table::OWN) else { return };
        if self.table.outline(at).state.is_active() {
            let own = self.table.own().id;
            self.fail(now, at, alloc::vec![own], out);
            self.gossip_at = self.gossip_at.max(now);
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let Some(probe_at) = self.probe_at else { return Some(MonoTime::default()) };
        let may_rest = self.table.others() == 0 && self.contacts.is_empty();
        let gossip = (!self.queue.is_empty() && !may_rest).then_some(self.gossip_at);
        let probe = self.probe.as_ref().map(Probe::next_at);
        let relayed = self.relayed.iter().map(|relayed| relayed.until).min();
        [
            (!may_rest).then_some(probe_at),
            gossip,
            probe,
            relayed,
            self.suspicions.next_at(),
            self.contacts.next_at(),
            self.shifts.next_at(self.suspicions.is_empty()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether there is something that others may not have been told.
    #[must_use]
    pub const fn has_news(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Everyone but this member, as far as it is known: also who failed or left.
    pub fn others(&self) -> impl Iterator<Item = (Outline, &D)> {
        self.table.iter().skip(1)
    }

    /// What this member has said of itself last.
    #[must_use]
    pub fn own(&self) -> Outline {
        self.table.own()
    }

    /// What this member tells of itself to somebody who has not met it.
    #[must_use]
    pub fn introduction(&self) -> Record<D> {
        Record { state: State::Alive, accusers: Vec::new(), ..self.whole_record(table::OWN) }
    }

    /// What `id` says of itself, if it is known.
    #[must_use]
    pub fn said(&self, id: ServerId) -> Option<&D> {
        self.table.find(id).map(|at| self.table.said(at))
    }

    /// What holds of `id`, if it is known.
    #[must_use]
    pub fn state(&self, id: ServerId) -> Option<State> {
        self.table.find(id).map(|at| self.table.outline(at).state)
    }

    /// Active members, this one included unless the others count it out.
    #[must_use]
    pub const fn active(&self) -> usize {
        self.table.active()
    }

    /// Why `id` failed, if it did and that was seen.
    #[must_use]
    pub fn verdict(&self, id: ServerId) -> Option<&Verdict> {
        self.table.find(id).and_then(|at| self.verdicts.get(&at))
    }

    /// It belongs elsewhere: nothing is known of it any more.
    pub fn forget(&mut self, id: ServerId) {
        if let Some(at) = self.table.find(id)
            && at != table::OWN
        {
            self.drop_member(at);
        }
    }

    /// Checks what holds between any two calls.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.suspicions.check_invariants();
        assert!(self.table.others() <= self.members_max, "members are bounded");
        assert!(self.relayed.len() <= probe::RELAYED_MAX, "what is asked for others is bounded");
        let suspects: BTreeSet<u32> = self.suspicions.places().collect();
        for (at, outline) in self.table.places() {
            let is_suspect = outline.state == State::Suspect;
            assert!(is_suspect == suspects.contains(&at), "who is suspect has time to answer");
        }
        for at in self.verdicts.keys() {
            let state = self.table.outline(*at).state;
            assert!(state == State::Failed, "only who failed has a verdict");
        }
    }

    fn begin(&mut self, now: MonoTime) {
        // Members that started together do not probe together.
        let first_ms = self.rng.between(0, self.timings.probe_ms);
        self.probe_at = Some(now.plus_ms(first_ms));
        self.gossip_at = now;
        self.health.begin(now);
        self.queue.push(&mut self.table, table::OWN);
    }

    fn drop_member(&mut self, at: u32) {
        self.suspicions.remove(at);
        self.verdicts.remove(&at);
        if self.probe.as_ref().is_some_and(|probe| probe.subject == at) {
            self.probe = None;
        }
        self.table.remove(at);
    }
}
