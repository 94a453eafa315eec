//! Members on a small network: one clock, one queue of events, chance from a seed.
//!
//! A way takes 0.2 to 1 ms; a stream takes three ways and repeats what is lost after 1, 3 and 7 s. A
//! member that is stopped runs nothing; one that is cut off by a stall runs, and what it sends and is
//! sent waits, 1,024 packets at most. What has waited is worked through at 50 us each.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use drover_core::rng::Rng;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SEC: u64 = 1_000 * MS;
const INBOX_MAX: usize = 1_024;
const WORK_NS: u64 = 50_000;

/// What a member runs. Members are known by their positions, moments are nanoseconds.
pub(crate) trait Protocol: Sized + 'static {
    type Letter: 'static;

    /// In a group of at most `room`.
    fn begin(id: u32, incarnation: u64, room: usize, rng: Rng) -> Self;
    /// These are known from before.
    fn remember(&mut self, now: u64, known: &[u32], out: &mut Vec<Said<Self::Letter>>);
    /// Whoever is there is to be joined.
    fn join(&mut self, now: u64, seed: u32, out: &mut Vec<Said<Self::Letter>>);
    fn hear(
        &mut self,
        now: u64,
        from: u32,
        letter: Self::Letter,
        out: &mut Vec<Said<Self::Letter>>,
    );
    fn wake(&mut self, now: u64, out: &mut Vec<Said<Self::Letter>>);
    fn next_deadline(&self) -> Option<u64>;
    /// How many it takes for alive, itself among them.
    fn view(&self) -> usize;
    /// Of the letter alone, without the headers of UDP and QUIC.
    fn bytes_of(letter: &Self::Letter) -> u64;
}

/// What comes of a member's step.
pub(crate) enum Said<L> {
    Letter(u32, Channel, L),
    Seen(Seen, u32),
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

pub(crate) struct Member<P: Protocol> {
    pub(crate) runs: Option<P>,
    incarnation: u64,
    pause: Option<Pause>,
    inbox: VecDeque<(u32, P::Letter)>,
    outbox: Vec<(u32, Channel, P::Letter)>,
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

enum Event<L> {
    Arrive { to: u32, from: u32, incarnation: u64, letter: Box<L> },
    Wake { id: u32, incarnation: u64 },
    Do(usize),
}

type Action<P> = Box<dyn FnOnce(&mut World<P>)>;

pub(crate) struct World<P: Protocol> {
    pub(crate) now: u64,
    pub(crate) members: Vec<Member<P>>,
    pub(crate) loss: u64,
    pub(crate) notes: Vec<Note>,
    pub(crate) traffic: Traffic,
    pub(crate) rng: Rng,
    order: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event<P::Letter>>>,
    free: Vec<usize>,
    actions: Vec<Option<Action<P>>>,
    cpu_from: Duration,
}

pub(crate) fn cpu_now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

impl<P: Protocol> Member<P> {
    fn empty() -> Self {
        Self {
            runs: None,
            incarnation: 0,
            pause: None,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            in_loss: 0,
            out_loss: 0,
            side: 0,
            wake_at: None,
        }
    }
}

impl<P: Protocol> World<P> {
    pub(crate) fn new(room: usize, seed: u64) -> Self {
        Self {
            now: 0,
            members: (0..room).map(|_| Member::empty()).collect(),
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
                let known: Vec<u32> = (0..number(count)).filter(|other| *other != id).collect();
                world.step(id, |member, now, out| member.remember(now, &known, out));
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
        self.members[id as usize].runs.as_ref().map_or(0, P::view)
    }

    pub(crate) fn boot(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.incarnation += 1;
        let incarnation = member.incarnation;
        let rng = self.rng.fork_number(u64::from(id)).fork_number(incarnation);
        let room = self.members.len();
        let member = &mut self.members[id as usize];
        member.runs = Some(P::begin(id, incarnation, room, rng));
        (member.pause, member.wake_at) = (None, None);
    }

    pub(crate) fn join(&mut self, id: u32, seeds: &[u32]) {
        self.boot(id);
        self.step(id, |member, now, out| member.wake(now, out));
        for &seed in seeds {
            self.step(id, |member, now, out| member.join(now, seed, out));
        }
    }

    pub(crate) fn crash(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.runs = None;
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
        for (to, channel, letter) in outbox {
            self.transmit(id, to, channel, letter);
        }
        // What was due comes before what has arrived: the worse for whoever judges.
        self.step(id, |member, now, out| member.wake(now, out));
        for (nth, (from, letter)) in (1..).zip(inbox) {
            let event = Event::Arrive { to: id, from, incarnation, letter: Box::new(letter) };
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

    fn arrive(&mut self, to: u32, from: u32, incarnation: u64, letter: P::Letter) {
        let member = &mut self.members[to as usize];
        if member.incarnation != incarnation || member.runs.is_none() {
            return;
        }
        if member.pause.is_some() {
            if member.inbox.len() < INBOX_MAX {
                member.inbox.push_back((from, letter));
            }
            return;
        }
        self.step(to, |member, now, out| member.hear(now, from, letter, out));
    }

    fn wake_up(&mut self, id: u32, incarnation: u64) {
        let member = &mut self.members[id as usize];
        if member.incarnation != incarnation || member.wake_at.is_none_or(|at| self.now < at) {
            return;
        }
        member.wake_at = None;
        if member.pause != Some(Pause::Stop) {
            self.step(id, |member, now, out| member.wake(now, out));
        }
    }

    pub(crate) fn step(
        &mut self,
        id: u32,
        event: impl FnOnce(&mut P, u64, &mut Vec<Said<P::Letter>>),
    ) {
        let Some(member) = &mut self.members[id as usize].runs else { return };
        let mut out = Vec::new();
        event(member, self.now + 1, &mut out);
        for said in out {
            match said {
                Said::Letter(to, channel, letter) => self.send(id, to, channel, letter),
                Said::Seen(seen, of) => self.notes.push(Note { at: self.now, by: id, seen, of }),
            }
        }
        self.wake(id);
    }

    fn wake(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        let Some(due) = member.runs.as_ref().and_then(P::next_deadline) else { return };
        let at = due.max(self.now + 1);
        if member.wake_at.is_none_or(|wake| at < wake) {
            member.wake_at = Some(at);
            let incarnation = member.incarnation;
            self.push(at, Event::Wake { id, incarnation });
        }
    }

    fn send(&mut self, from: u32, to: u32, channel: Channel, letter: P::Letter) {
        if self.members[from as usize].pause.is_some() {
            self.members[from as usize].outbox.push((to, channel, letter));
        } else {
            self.transmit(from, to, channel, letter);
        }
    }

    fn transmit(&mut self, from: u32, to: u32, channel: Channel, letter: P::Letter) {
        let bytes = P::bytes_of(&letter);
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
        let event = Event::Arrive { to, from, incarnation, letter: Box::new(letter) };
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

    fn push(&mut self, at: u64, event: Event<P::Letter>) {
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
