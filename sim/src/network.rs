//! The network between hosts: links that stand and break, and messages on them.
//!
//! A link joins two hosts. While it stands, messages in one direction arrive in order; when it breaks,
//! what was on its way is lost, and both ends hear of it, each in its own time. In rough weather single
//! messages are lost, doubled or overtaken as well: the agents ask for no more than "maybe". Between two
//! hosts, in one direction, it may be worse: cut, slow, or losing most.
//!
//! Invariants
//! - an end is told "up" and "down" in turn, and a new link stands only after both ends know that the
//!   old one is gone;
//! - nothing arrives at an end that was not told "up".
use std::collections::hash_map::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use drover_core::rng::{self, Rng};
use drover_core::wire::Message;

use crate::clock::Moment;
use crate::counters::Counters;
use crate::plan::Way;
use crate::queue::Queue;
use crate::world::Happening;

/// A host's position in the world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostId(pub usize);

/// Where somebody can be dialled: a name that follows a host, or an address that hosts have in turn.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place(pub usize);

/// Addresses that no host has at first.
pub const ADDRESSES: usize = 8;

/// What the network does by itself.
#[derive(Debug)]
pub enum NetEvent {
    /// `from` tries to reach whoever is there.
    Dial { from: HostId, to: Place },
    /// `end` hears that the link to `peer` has come or gone.
    Told { end: HostId, peer: HostId, generation: u64, up: bool },
    /// The first message in line may have arrived.
    Arrive { from: HostId, to: HostId, generation: u64 },
    /// A message outside the line has arrived.
    Stray { from: HostId, to: HostId, generation: u64, message: Box<Message> },
    /// A link over which nothing came for a while breaks.
    Idle { from: HostId, to: HostId, generation: u64 },
}

/// How messages fare.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_us_min: u64,
    pub delay_us_max: u64,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub reorder_permille: u64,
    /// What a link carries in a millisecond, in each direction; zero: everything.
    pub bytes_per_ms: u64,
}

/// What is wrong between two hosts, in one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Harm {
    /// Nothing arrives.
    Cut,
    /// Everything arrives so much later.
    SlowMs(u64),
    /// So many of a thousand messages are lost.
    LosePermille(u64),
}

/// All links of `host` to the other `hosts`, in some direction.
#[must_use]
pub fn links_of(hosts: usize, host: HostId, way: Way) -> Vec<(HostId, HostId)> {
    let others = (0..hosts).map(HostId).filter(|&other| other != host);
    let links = others.flat_map(|other| match way {
        Way::Both => vec![(host, other), (other, host)],
        Way::Deaf => vec![(other, host)],
        Way::Mute => vec![(host, other)],
    });
    links.collect()
}

/// All links between `side` and the others of `hosts`.
#[must_use]
pub fn links_between(hosts: usize, side: &[HostId]) -> Vec<(HostId, HostId)> {
    let all = (0..hosts).map(HostId);
    let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b)));
    pairs.filter(|(a, b)| side.contains(a) != side.contains(b)).collect()
}

/// How much later, in microseconds, and how often not at all messages arrive besides what the weather does.
#[must_use]
pub fn harm_done(harms: &[Harm]) -> (u64, u64) {
    harms.iter().fold((0, 0), |(us, permille), harm| match *harm {
        Harm::Cut => (us, permille),
        Harm::SlowMs(ms) => (us + 1_000 * ms, permille),
        Harm::LosePermille(more) => (us, 1_000.min(permille + more)),
    })
}

#[derive(Debug, Default)]
struct Link {
    generation: u64,
    is_up: bool,
    /// By end: whether it believes in the link.
    told: [bool; 2],
    /// By sending end: messages in order, with the moment at which each arrives.
    lanes: [VecDeque<(Moment, Box<Message>)>; 2],
    /// By sending end: nothing of the line arrives earlier.
    floor: [Moment; 2],
}

/// The hash of a pair of hosts: the same in every run.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = rng::mix(self.0 ^ word);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

/// Who a host is to those that dial it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Station {
    Server,
    Client,
    /// A server of another region: it serves none of our clients.
    Foreigner,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    /// Of each host.
    stations: Vec<Station>,
    rng: Rng,
    pub weather: Weather,
    alive: Vec<bool>,
    /// By both ends, the lower first. It is only looked up, never walked.
    links: HashMap<(HostId, HostId), Link, BuildHasherDefault<Mixed>>,
    /// By (from, to).
    harms: BTreeMap<(HostId, HostId), Vec<Harm>>,
    /// Who has each address.
    addresses: [Option<HostId>; ADDRESSES],
    wanted: BTreeSet<(HostId, Place)>,
    dialling: BTreeSet<(HostId, Place)>,
}

impl Network {
    /// Hosts that do not know each other.
    #[must_use]
    pub fn new(stations: Vec<Station>, weather: Weather, rng: Rng) -> Self {
        Self {
            alive: vec![false; stations.len()],
            stations,
            rng,
            weather,
            links: HashMap::default(),
            harms: BTreeMap::new(),
            addresses: [None; ADDRESSES],
            wanted: BTreeSet::new(),
            dialling: BTreeSet::new(),
        }
    }

    /// `host` starts.
    pub fn on_start(&mut self, host: HostId) {
        self.alive[host.0] = true;
    }

    /// `host` is gone: its links break, and others notice in a while.
    pub fn on_gone(&mut self, queue: &mut Queue<Happening>, host: HostId) {
        self.alive[host.0] = false;
        self.wanted.retain(|(from, _)| *from != host);
        for peer in (0..self.stations.len()).map(HostId).filter(|&peer| peer != host) {
            let end = usize::from(peer < host);
            if let Some(link) = self.links.get_mut(&(host.min(peer), host.max(peer))) {
                link.told[end] = false;
                self.break_link(queue, host, peer);
            }
        }
    }

    /// `host`, which is down, will be at an address that nobody has now. Answers which, unless none is left.
    pub fn relocate(&mut self, host: HostId) -> Option<usize> {
        assert!(!self.alive[host.0], "whoever runs stays where it is");
        let free = |at: &usize| self.addresses[*at].is_none();
        let free: Vec<usize> = (0..ADDRESSES).filter(free).collect();
        let last = u64::try_from(free.len().checked_sub(1)?).expect("invariant: few addresses");
        let nth = usize::try_from(self.rng.between(0, last)).expect("invariant: few addresses");
        self.leave_address(host);
        self.addresses[free[nth]] = Some(host);
        Some(free[nth])
    }

    /// `host`, which is down, is only where its name says from now on.
    pub fn leave_address(&mut self, host: HostId) {
        for had in self.addresses.iter_mut().filter(|had| **had == Some(host)) {
            *had = None;
        }
    }

    /// Whether they greet each other: an agent that is met at another's address may be none of its kind.
    fn may_meet(&self, a: HostId, b: HostId) -> bool {
        let both = [self.stations[a.0], self.stations[b.0]];
        a != b && !(both.contains(&Station::Client) && both.contains(&Station::Foreigner))
    }

    fn occupant(&self, place: Place) -> Option<HostId> {
        match place.0.checked_sub(self.stations.len()) {
            None => Some(HostId(place.0)),
            Some(address) => self.addresses[address],
        }
    }

    /// The place of an address.
    #[must_use]
    pub const fn place_of_address(&self, address: usize) -> Place {
        Place(self.stations.len() + address)
    }

    /// `from` wants a link to whoever is there, now and whenever it breaks.
    pub fn dial(&mut self, queue: &mut Queue<Happening>, from: HostId, to: Place) {
        self.wanted.insert((from, to));
        let delay_us = self.rng.between(1_000, 20_000);
        self.plan_dial(queue, from, to, delay_us);
    }

    /// `from` does not dial `to` any more once their link is gone.
    pub fn forget(&mut self, from: HostId, to: Place) {
        self.wanted.remove(&(from, to));
    }

    /// Breaks the link, if there is one.
    pub fn break_link(&mut self, queue: &mut Queue<Happening>, a: HostId, b: HostId) {
        let link = self.link_mut(a, b);
        if !link.is_up {
            return;
        }
        link.is_up = false;
        link.generation += 1;
        link.lanes.iter_mut().for_each(VecDeque::clear);
        let generation = link.generation;
        for (end, peer) in [(a, b), (b, a)] {
            let at = queue.now().plus_us(self.rng.between(1_000, 400_000));
            let told = NetEvent::Told { end, peer, generation, up: false };
            queue.push(at, Happening::Net(told));
            let whole = (end, Place(0))..=(end, Place(usize::MAX));
            let wanted = self.wanted.range(whole).map(|&(_, place)| place);
            let there: Vec<Place> =
                wanted.filter(|&place| self.occupant(place) == Some(peer)).collect();
            for place in there {
                let delay_us = self.rng.between(100_000, 700_000);
                self.plan_dial(queue, end, place, delay_us);
            }
        }
    }

    /// From now on `harm` is done to messages from `from` to `to`, until `mend` is called as often.
    pub fn harm(&mut self, queue: &mut Queue<Happening>, (from, to): (HostId, HostId), harm: Harm) {
        self.harms.entry((from, to)).or_default().push(harm);
        if harm == Harm::Cut {
            let generation = self.link_mut(from, to).generation;
            let at = queue.now().plus_us(self.rng.between(300_000, 600_000));
            queue.push(at, Happening::Net(NetEvent::Idle { from, to, generation }));
        }
    }

    /// All harm ends.
    pub fn mend_all(&mut self, queue: &mut Queue<Happening>) {
        for ((from, to), _) in std::mem::take(&mut self.harms) {
            self.go_on(queue, from, to);
        }
    }

    /// One `harm` ends, unless all have ended already.
    pub fn mend(&mut self, queue: &mut Queue<Happening>, pair: (HostId, HostId), harm: Harm) {
        let Some(harms) = self.harms.get_mut(&pair) else { return };
        if let Some(at) = harms.iter().position(|&known| known == harm) {
            harms.swap_remove(at);
        }
        if harms.is_empty() {
            self.harms.remove(&pair);
        }
        self.go_on(queue, pair.0, pair.1);
    }

    /// What waited may arrive.
    fn go_on(&mut self, queue: &mut Queue<Happening>, from: HostId, to: HostId) {
        let generation = self.link_mut(from, to).generation;
        queue.push(queue.now(), Happening::Net(NetEvent::Arrive { from, to, generation }));
    }

    fn harms(&self, from: HostId, to: HostId) -> &[Harm] {
        let harms = if self.harms.is_empty() { None } else { self.harms.get(&(from, to)) };
        harms.map_or(&[][..], |harms| harms)
    }

    /// `from` hands over a message. It may get lost.
    pub fn send(
        &mut self,
        queue: &mut Queue<Happening>,
        counters: &mut Counters,
        (from, to): (HostId, HostId),
        message: Message,
    ) {
        let end = usize::from(to < from);
        let weather = self.weather;
        let (slow_us, lost_permille) = harm_done(self.harms(from, to));
        let carried_us = 1_000 * message.size_hint() as u64;
        let carried_us = carried_us.checked_div(weather.bytes_per_ms).unwrap_or(0);
        let delay_us = self.draw_delay_us() + slow_us;
        let is_lost = self.rng.chance(1_000.min(weather.loss_permille + lost_permille));
        let is_doubled = self.rng.chance(weather.duplicate_permille);
        let is_overtaken = self.rng.chance(weather.reorder_permille);
        let late_us = self.rng.between(1_000, 300_000);
        let link = self.link_mut(from, to);
        if !link.is_up || !link.told[end] || is_lost {
            counters.messages_lost += 1;
            return;
        }
        let (generation, message) = (link.generation, Box::new(message));
        if is_doubled || is_overtaken {
            let at = queue.now().plus_us(late_us).max(link.floor[end]);
            counters.messages_doubled += u64::from(is_doubled);
            counters.messages_overtaken += u64::from(!is_doubled);
            let stray = |message| Happening::Net(NetEvent::Stray { from, to, generation, message });
            if !is_doubled {
                return queue.push(at, stray(message));
            }
            queue.push(at, stray(message.clone()));
        }
        // What was sent before is carried before.
        let at = queue.now().plus_us(delay_us).max(link.floor[end]).plus_us(carried_us);
        link.floor[end] = at;
        link.lanes[end].push_back((at, message));
        queue.push(at, Happening::Net(NetEvent::Arrive { from, to, generation }));
    }

    /// The next message that has arrived in order.
    pub fn pop_arrived(
        &mut self,
        now: Moment,
        (from, to): (HostId, HostId),
        generation: u64,
    ) -> Option<Box<Message>> {
        if self.is_cut(from, to) {
            return None;
        }
        let link = self.link_mut(from, to);
        let lane = &mut link.lanes[usize::from(to < from)];
        let has_arrived = link.generation == generation && lane.front()?.0 <= now;
        if has_arrived { lane.pop_front().map(|(_, message)| message) } else { None }
    }

    /// Whether a message of the present link is there that nobody has taken.
    pub fn has_arrived(&mut self, now: Moment, (from, to): (HostId, HostId)) -> bool {
        let lane = &self.link_mut(from, to).lanes[usize::from(to < from)];
        lane.front().is_some_and(|(at, _)| *at <= now)
    }

    /// Whether a message outside the line arrives at all.
    pub fn lets_in(&mut self, from: HostId, to: HostId, generation: u64) -> bool {
        let is_cut = self.is_cut(from, to);
        let link = self.link_mut(from, to);
        !is_cut && link.is_up && link.generation == generation
    }

    /// An attempt to connect.
    pub fn on_dial(&mut self, queue: &mut Queue<Happening>, from: HostId, place: Place) {
        self.dialling.remove(&(from, place));
        if !self.alive[from.0] || !self.wanted.contains(&(from, place)) {
            return;
        }
        let Some(to) = self.occupant(place).filter(|&to| self.may_meet(from, to)) else {
            let delay_us = self.rng.between(200_000, 1_000_000);
            return self.plan_dial(queue, from, place, delay_us);
        };
        if self.link_mut(from, to).is_up {
            return;
        }
        let is_cut = self.is_cut(from, to) || self.is_cut(to, from);
        let is_believed = self.link_mut(from, to).told != [false, false];
        if is_cut || is_believed || !self.alive[to.0] {
            let delay_us = self.rng.between(200_000, 1_000_000);
            return self.plan_dial(queue, from, place, delay_us);
        }
        let delays_us = [self.draw_delay_us(), self.draw_delay_us()];
        let link = self.link_mut(from, to);
        link.is_up = true;
        link.generation += 1;
        let generation = link.generation;
        for (end, peer) in [(from, to), (to, from)] {
            let own = usize::from(peer < end);
            let at = queue.now().plus_us(delays_us[own]);
            // What the other end says does not arrive before this end knows of the link.
            self.link_mut(from, to).floor[1 - own] = Moment { ns: at.ns + 1 };
            let told = NetEvent::Told { end, peer, generation, up: true };
            queue.push(at, Happening::Net(told));
        }
    }

    /// Whether `end` must now be told that its link to `peer` came or went.
    pub fn on_told(&mut self, end: HostId, peer: HostId, generation: u64, up: bool) -> bool {
        let own = usize::from(peer < end);
        let is_alive = self.alive[end.0];
        let link = self.link_mut(end, peer);
        let is_news = is_alive && link.told[own] != up && link.generation == generation;
        if is_news {
            link.told[own] = up;
        }
        is_news
    }

    /// Nothing may have come for too long.
    pub fn on_idle(
        &mut self,
        queue: &mut Queue<Happening>,
        (from, to): (HostId, HostId),
        generation: u64,
    ) {
        if self.is_cut(from, to) && self.link_mut(from, to).generation == generation {
            self.break_link(queue, from, to);
        }
    }

    fn plan_dial(&mut self, queue: &mut Queue<Happening>, from: HostId, to: Place, us: u64) {
        if self.dialling.insert((from, to)) {
            queue.push(queue.now().plus_us(us), Happening::Net(NetEvent::Dial { from, to }));
        }
    }

    fn draw_delay_us(&mut self) -> u64 {
        let Weather { delay_us_min, delay_us_max, .. } = self.weather;
        // Now and then a packet is sent again before it arrives.
        let again_us = if self.rng.chance(3) { self.rng.between(20_000, 200_000) } else { 0 };
        self.rng.between(delay_us_min, delay_us_max) + again_us
    }

    fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.harms(from, to).contains(&Harm::Cut)
    }

    fn link_mut(&mut self, a: HostId, b: HostId) -> &mut Link {
        self.links.entry((a.min(b), a.max(b))).or_default()
    }
}
