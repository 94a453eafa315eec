//! Members on a small network: one clock, one queue of events, chance from a seed.
//!
//! A way takes 0.2 to 1 ms; a stream takes three ways and repeats what is lost after 1, 3 and 7 s. A
//! member that is stopped runs nothing; one that is cut off by a stall runs, and what it sends and is
//! sent waits, 1,024 packets at most. What has waited is worked through at 50 us each.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use drover_core::gossip::swim::{
    Config, Description, Matter, Output, Packet, Record, State, Swim, Timings, Version,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Incarnation, ServerId};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SEC: u64 = 1_000 * MS;
const INBOX_MAX: usize = 1_024;
const WORK_NS: u64 = 50_000;

/// What foca's identity holds in the same bench: an address, a port and a start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said;

impl Description for Said {
    fn size_bytes(&self) -> usize {
        8
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Channel {
    Datagram,
    Stream,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pause {
    /// Packets wait, the member runs: a stalled network card, a machine on the move.
    Stall,
    /// Nothing runs: SIGSTOP.
    Stop,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    Alive,
    Suspected,
    Failed,
    Left,
    Shift,
}

/// Who has seen what, of whom, when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) at: u64,
    pub(crate) by: u32,
    pub(crate) seen: Seen,
    pub(crate) of: u32,
}

type Letter = (u32, Channel, Packet<Said>);

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) swim: Option<Swim<Said>>,
    incarnation: u64,
    pause: Option<Pause>,
    inbox: VecDeque<Letter>,
    outbox: Vec<Letter>,
    /// In per mille.
    pub(crate) in_loss: u64,
    pub(crate) out_loss: u64,
    pub(crate) side: u8,
    wake_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) datagrams: u64,
    pub(crate) datagram_bytes: u64,
    pub(crate) stream_bytes: u64,
}

enum Event {
    Arrive { to: u32, from: u32, incarnation: u64, letter: Box<Packet<Said>> },
    Wake { id: u32, incarnation: u64 },
    Do(usize),
}

type Action = Box<dyn FnOnce(&mut World)>;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) loss: u64,
    pub(crate) notes: Vec<Note>,
    pub(crate) traffic: Traffic,
    pub(crate) rng: Rng,
    order: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    actions: Vec<Option<Action>>,
    cpu_from: Duration,
}

pub(crate) fn id_of(id: u32) -> ServerId {
    ServerId(u64::from(id) + 1)
}

fn member_of(id: ServerId) -> u32 {
    u32::try_from(id.0 - 1).expect("a small number")
}

pub(crate) fn cpu_now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

/// Of the packet alone, without the headers of UDP and QUIC. Ids count eight bytes.
fn bytes_of(packet: &Packet<Said>) -> u64 {
    let matter = match &packet.matter {
        Matter::Ping { .. } | Matter::Ack { .. } | Matter::PingReq { .. } => 12,
        Matter::Reached { .. } | Matter::Nack { .. } | Matter::Knock { .. } => 4,
        Matter::News | Matter::Snapshot => 0,
        Matter::Tell { .. } | Matter::Join { .. } => 8,
        Matter::Compare { buckets } => 8 * buckets.len(),
        Matter::Outlines { buckets, outlines } => 8 * buckets.len() + 11 * outlines.len(),
        Matter::Want(ids) => 8 * ids.len(),
    };
    let of = |record: &Record<Said>| {
        13 + 8 * record.accusers.len() + if record.said.is_some() { 8 } else { 0 }
    };
    3 + matter as u64 + packet.news.iter().map(of).sum::<usize>() as u64
}

impl World {
    pub(crate) fn new(room: usize, seed: u64) -> Self {
        Self {
            now: 0,
            members: (0..room).map(|_| Member::default()).collect(),
            loss: 0,
            notes: Vec::new(),
            traffic: Traffic::default(),
            rng: Rng::from_seed(seed),
            order: 0,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            actions: Vec::new(),
            cpu_from: cpu_now(),
        }
    }

    /// A group whose members have long known each other, each started within one second; then ten
    /// seconds pass that do not count.
    pub(crate) fn warm(count: usize, room: usize, seed: u64) -> Self {
        let mut world = Self::new(room, seed);
        for id in 0..number(count) {
            let at = world.rng.between(0, SEC - 1);
            world.at(at, move |world| {
                world.boot(id);
                let known = (0..number(count)).filter(|other| *other != id).map(known);
                let now = MonoTime { ns: world.now + 1 };
                if let Some(swim) = &mut world.members[id as usize].swim {
                    swim.on_remembered(now, known);
                }
                world.wake(id);
            });
        }
        world.run_until(11 * SEC);
        world.start_counting();
        world
    }

    pub(crate) fn start_counting(&mut self) {
        self.notes.clear();
        self.traffic = Traffic::default();
        self.cpu_from = cpu_now();
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_now() - self.cpu_from
    }

    pub(crate) fn draw(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.between(0, count as u64 - 1)).expect("small")
    }

    /// `count` different ones below `of`.
    pub(crate) fn draw_some(&mut self, count: usize, of: usize) -> Vec<u32> {
        let mut drawn = Vec::new();
        while drawn.len() < count {
            let one = number(self.draw(of));
            if !drawn.contains(&one) {
                drawn.push(one);
            }
        }
        drawn
    }

    pub(crate) fn at(&mut self, at: u64, action: impl FnOnce(&mut Self) + 'static) {
        self.actions.push(Some(Box::new(action)));
        let nth = self.actions.len() - 1;
        self.push(at.max(self.now), Event::Do(nth));
    }

    pub(crate) fn view(&self, id: u32) -> usize {
        self.members[id as usize].swim.as_ref().map_or(0, Swim::active)
    }

    pub(crate) fn boot(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.incarnation += 1;
        let incarnation = Incarnation(member.incarnation);
        let config = Config {
            id: id_of(id),
            incarnation,
            said: Said,
            timings: Timings::default(),
            members_max: 10_000,
        };
        let rng = self.rng.fork_number(u64::from(id)).fork_number(incarnation.0);
        member.swim = Some(Swim::new(config, rng));
        (member.pause, member.wake_at) = (None, None);
    }

    pub(crate) fn join(&mut self, id: u32, seeds: &[u32]) {
        self.boot(id);
        self.step(id, |swim, now, out| swim.on_time(now, out));
        for &seed in seeds {
            self.step(id, |swim, now, out| swim.on_contact(now, id_of(seed), out));
        }
    }

    pub(crate) fn crash(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.swim = None;
        member.pause = None;
        member.inbox.clear();
        member.outbox.clear();
    }

    pub(crate) fn pause(&mut self, id: u32, pause: Pause) {
        self.members[id as usize].pause = Some(pause);
    }

    pub(crate) fn resume(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.pause = None;
        let (inbox, outbox) =
            (std::mem::take(&mut member.inbox), std::mem::take(&mut member.outbox));
        let incarnation = member.incarnation;
        for (to, channel, packet) in outbox {
            self.transmit(id, to, channel, packet);
        }
        // What was due comes before what has arrived: the worse for whoever judges.
        self.step(id, |swim, now, out| swim.on_time(now, out));
        for (nth, (from, _, packet)) in (1..).zip(inbox) {
            let event = Event::Arrive { to: id, from, incarnation, letter: Box::new(packet) };
            self.push(self.now + nth * WORK_NS, event);
        }
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(&Reverse((at, _, nth))) = self.heap.peek() {
            if until < at {
                break;
            }
            self.heap.pop();
            self.now = at;
            let event = self.events[nth].take().expect("an event happens once");
            self.free.push(nth);
            match event {
                Event::Arrive { to, from, incarnation, letter } => {
                    self.arrive(to, from, incarnation, *letter);
                }
                Event::Wake { id, incarnation } => self.wake_up(id, incarnation),
                Event::Do(nth) => {
                    if let Some(action) = self.actions[nth].take() {
                        action(self);
                    }
                }
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, to: u32, from: u32, incarnation: u64, packet: Packet<Said>) {
        let member = &mut self.members[to as usize];
        if member.incarnation != incarnation || member.swim.is_none() {
            return;
        }
        if member.pause.is_some() {
            if member.inbox.len() < INBOX_MAX {
                member.inbox.push_back((from, Channel::Datagram, packet));
            }
            return;
        }
        self.step(to, |swim, now, out| swim.on_packet(now, id_of(from), packet, out));
    }

    fn wake_up(&mut self, id: u32, incarnation: u64) {
        let member = &mut self.members[id as usize];
        if member.incarnation != incarnation || member.wake_at.is_none_or(|at| self.now < at) {
            return;
        }
        member.wake_at = None;
        if member.pause != Some(Pause::Stop) {
            self.step(id, |swim, now, out| swim.on_time(now, out));
        }
    }

    pub(crate) fn step(
        &mut self,
        id: u32,
        event: impl FnOnce(&mut Swim<Said>, MonoTime, &mut Vec<Output<Said>>),
    ) {
        let now = MonoTime { ns: self.now + 1 };
        let Some(swim) = &mut self.members[id as usize].swim else { return };
        let mut out = Vec::new();
        event(swim, now, &mut out);
        for output in out {
            match output {
                Output::Datagram(to, packet) => self.send(id, to, Channel::Datagram, packet),
                Output::Stream(to, packet) => self.send(id, to, Channel::Stream, packet),
                Output::Alive(of) => self.note(id, Seen::Alive, of),
                Output::Suspected(of) => self.note(id, Seen::Suspected, of),
                Output::Failed(of) => self.note(id, Seen::Failed, of),
                Output::Left(of) => self.note(id, Seen::Left, of),
                Output::Shift(_) => self.note(id, Seen::Shift, id_of(id)),
                Output::Cleared(_) => (),
            }
        }
        self.wake(id);
    }

    fn note(&mut self, by: u32, seen: Seen, of: ServerId) {
        self.notes.push(Note { at: self.now, by, seen, of: member_of(of) });
    }

    fn wake(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        let Some(due) = member.swim.as_ref().and_then(Swim::next_deadline) else { return };
        let at = due.ns.max(self.now + 1);
        if member.wake_at.is_none_or(|wake| at < wake) {
            member.wake_at = Some(at);
            let incarnation = member.incarnation;
            self.push(at, Event::Wake { id, incarnation });
        }
    }

    fn send(&mut self, from: u32, to: ServerId, channel: Channel, packet: Packet<Said>) {
        let to = member_of(to);
        if self.members[from as usize].pause.is_some() {
            self.members[from as usize].outbox.push((to, channel, packet));
        } else {
            self.transmit(from, to, channel, packet);
        }
    }

    fn transmit(&mut self, from: u32, to: u32, channel: Channel, packet: Packet<Said>) {
        let bytes = bytes_of(&packet);
        let mut way = self.rng.between(200_000, MS);
        let passes = self.passing_millionths(from, to);
        match channel {
            Channel::Datagram => {
                self.traffic.datagrams += 1;
                self.traffic.datagram_bytes += bytes;
                if passes <= self.rng.between(0, 999_999_999) {
                    return;
                }
            }
            Channel::Stream => {
                self.traffic.stream_bytes += bytes;
                way *= 3;
                let rng = &mut self.rng;
                let waits = [0, 1, 3, 7].into_iter();
                let Some(wait) = waits.into_iter().find(|_| rng.between(0, 999_999_999) < passes)
                else {
                    return;
                };
                way += wait * SEC;
            }
        }
        let incarnation = self.members[to as usize].incarnation;
        let event = Event::Arrive { to, from, incarnation, letter: Box::new(packet) };
        self.push(self.now + way, event);
    }

    /// Of a thousand million.
    fn passing_millionths(&self, from: u32, to: u32) -> u64 {
        let (from, to) = (&self.members[from as usize], &self.members[to as usize]);
        if from.side != to.side {
            return 0;
        }
        (1_000 - from.out_loss) * (1_000 - to.in_loss) * (1_000 - self.loss)
    }

    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        let nth = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[nth] = Some(event);
        self.heap.push(Reverse((at, self.order, nth)));
    }
}

pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a small number")
}

pub(crate) fn known(id: u32) -> Record<Said> {
    Record {
        id: id_of(id),
        version: Version { incarnation: Incarnation(1), turn: 0 },
        state: State::Alive,
        accusers: Vec::new(),
        said: Some(Said),
    }
}
