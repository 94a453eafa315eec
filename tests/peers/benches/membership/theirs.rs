//! foca 2.0.0 as a member's protocol, configured for a local network of the group's size, as its documentation
//! has it. It speaks in datagrams only; who was called down comes back under another identity.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::num::NonZeroU32;
use std::time::Duration;

use drover_core::rng::Rng;
use foca::{
    Config, Foca, Identity, Member, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer,
};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::world::{Channel, Protocol, SEC, Said, Seen};

/// As long as a socket's address, and which start it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Id {
    ip: [u8; 4],
    port: u16,
    start: u32,
}

impl Id {
    fn of(member: u32, start: u32) -> Self {
        Self { ip: member.to_be_bytes(), port: 7946, start }
    }

    fn member(&self) -> u32 {
        u32::from_be_bytes(self.ip)
    }
}

impl Identity for Id {
    type Addr = ([u8; 4], u16);

    fn renew(&self) -> Option<Self> {
        Some(Self { start: self.start + 1, ..*self })
    }

    fn addr(&self) -> Self::Addr {
        (self.ip, self.port)
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        other.start < self.start
    }
}

/// What is due, by moment and order.
#[derive(Default)]
struct Timers {
    due: BinaryHeap<Reverse<(u64, u64)>>,
    timers: BTreeMap<u64, Timer<Id>>,
    last: u64,
}

impl Timers {
    fn add(&mut self, at: u64, timer: Timer<Id>) {
        self.last += 1;
        self.due.push(Reverse((at, self.last)));
        self.timers.insert(self.last, timer);
    }

    fn next(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    fn pop(&mut self, now: u64) -> Option<Timer<Id>> {
        self.next().filter(|&at| at <= now)?;
        let Reverse((_, nth)) = self.due.pop()?;
        self.timers.remove(&nth)
    }
}

/// A member.
pub(crate) struct Theirs {
    foca: Foca<Id, PostcardCodec, SmallRng, NoCustomBroadcast>,
    alive: BTreeSet<u32>,
    timers: Timers,
    /// Whom it asks to be let in, and when again, until somebody has.
    seeds: Vec<u32>,
    ask_at: Option<u64>,
}

/// Takes what foca wants.
struct Hands<'a> {
    now: u64,
    alive: &'a mut BTreeSet<u32>,
    timers: &'a mut Timers,
    out: &'a mut Vec<Said<Vec<u8>>>,
}

impl Runtime<Id> for Hands<'_> {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        match notification {
            Notification::MemberUp(id) if self.alive.insert(id.member()) => {
                self.out.push(Said::Seen(Seen::Alive, id.member()));
            }
            Notification::MemberDown(id) if self.alive.remove(&id.member()) => {
                self.out.push(Said::Seen(Seen::Failed, id.member()));
            }
            _ => (),
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.out.push(Said::Letter(to.member(), Channel::Datagram, data.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Id>, after: Duration) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.timers.add(self.now.saturating_add(after), timer);
    }
}

impl Theirs {
    fn step<T>(
        &mut self,
        now: u64,
        out: &mut Vec<Said<Vec<u8>>>,
        does: impl FnOnce(
            &mut Foca<Id, PostcardCodec, SmallRng, NoCustomBroadcast>,
            Hands<'_>,
        ) -> Result<T, foca::Error>,
    ) {
        let Self { foca, alive, timers, .. } = self;
        // What it refuses is no concern of a measurement: stale words, mostly.
        drop(does(foca, Hands { now, alive, timers, out }));
    }

    fn ask(&mut self, now: u64, out: &mut Vec<Said<Vec<u8>>>) {
        for seed in self.seeds.clone() {
            self.step(now, out, |foca, hands| foca.announce(Id::of(seed, 1 << 16), hands));
        }
        self.ask_at = Some(now + SEC);
    }
}

impl Protocol for Theirs {
    type Letter = Vec<u8>;

    fn begin(id: u32, incarnation: u64, room: usize, mut rng: Rng) -> Self {
        let size = u32::try_from(room).ok().and_then(NonZeroU32::new).expect("a group has members");
        let start = u32::try_from(incarnation).expect("few starts") << 16;
        let chance = SmallRng::seed_from_u64(rng.next_u64());
        Self {
            foca: Foca::new(Id::of(id, start), Config::new_lan(size), chance, PostcardCodec),
            alive: BTreeSet::from([id]),
            timers: Timers::default(),
            seeds: Vec::new(),
            ask_at: None,
        }
    }

    fn remember(&mut self, now: u64, known: &[u32], out: &mut Vec<Said<Vec<u8>>>) {
        let members: Vec<_> = known.iter().map(|&id| Member::alive(Id::of(id, 1 << 16))).collect();
        self.step(now, out, |foca, hands| foca.apply_many(members.into_iter(), false, hands));
    }

    fn join(&mut self, now: u64, seed: u32, out: &mut Vec<Said<Vec<u8>>>) {
        self.seeds.push(seed);
        self.ask(now, out);
    }

    fn hear(&mut self, now: u64, _from: u32, letter: Vec<u8>, out: &mut Vec<Said<Vec<u8>>>) {
        self.step(now, out, |foca, hands| foca.handle_data(&letter, hands));
    }

    fn wake(&mut self, now: u64, out: &mut Vec<Said<Vec<u8>>>) {
        while let Some(timer) = self.timers.pop(now) {
            self.step(now, out, |foca, hands| foca.handle_timer(timer, hands));
        }
        if self.ask_at.take_if(|at| *at <= now).is_some() && self.alive.len() == 1 {
            self.ask(now, out);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.timers.next().into_iter().chain(self.ask_at).min()
    }

    fn view(&self) -> usize {
        self.alive.len()
    }

    fn bytes_of(letter: &Vec<u8>) -> u64 {
        letter.len() as u64
    }
}
