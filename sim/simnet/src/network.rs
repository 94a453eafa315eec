//! Packets between hosts: delayed, lost, doubled, overtaken, damaged, or cut off in one direction.
//!
//! Invariants
//! - what is not overtaken arrives in the order in which it was sent;
//! - nothing arrives through a cut, also what was on its way when it came.
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Waker;

use drover_core::rng::Rng;
use drover_sim::clock::Moment;
use drover_sim::plan::Knobs;

/// The port of every agent.
pub const PORT: u16 = 4_647;
/// Larger packets are lost.
const PACKET_BYTES_MAX: usize = 1_472;
/// What a socket holds; the rest is lost.
const PACKETS_WAITING_MAX: usize = 4_096;
/// How much later than the others a packet that is overtaken arrives, at most.
const OVERTAKEN_US_MAX: u64 = 20_000;

/// How packets fare.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_us_min: u64,
    pub delay_us_max: u64,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub reorder_permille: u64,
    pub corrupt_permille: u64,
}

impl Weather {
    /// As a plan says.
    #[must_use]
    pub const fn of(knobs: &Knobs) -> Self {
        Self {
            delay_us_min: knobs.delay_us_min,
            delay_us_max: knobs.delay_us_max,
            loss_permille: knobs.loss_permille,
            duplicate_permille: knobs.duplicate_permille,
            reorder_permille: knobs.reorder_permille,
            corrupt_permille: knobs.corrupt_permille,
        }
    }
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Link {
    cuts: u32,
    /// Nothing that is not overtaken arrives earlier.
    floor: Moment,
}

#[derive(Debug, Default)]
struct Socket {
    is_open: bool,
    waiting: VecDeque<(usize, Vec<u8>)>,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    links: Vec<Link>,
    sockets: Vec<Socket>,
    rng: Rng,
}

/// Where a host is reached.
#[must_use]
pub fn address_of(host: usize) -> SocketAddr {
    let number = u32::try_from(host + 1).expect("invariant: few hosts");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)), PORT)
}

fn host_at(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    usize::try_from(ip.to_bits().checked_sub(0x0a00_0001)?).ok()
}

impl Network {
    pub(crate) fn new(hosts: usize, weather: Weather, rng: Rng) -> Self {
        Self {
            weather,
            sent: 0,
            arrived: 0,
            links: (0..hosts * hosts).map(|_| Link::default()).collect(),
            sockets: (0..hosts).map(|_| Socket::default()).collect(),
            rng,
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.link(from, to).cuts += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.cuts = link.cuts.saturating_sub(1);
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        let hosts = self.sockets.len();
        &mut self.links[from * hosts + to]
    }

    pub(crate) fn open(&mut self, host: usize) {
        self.sockets[host].is_open = true;
    }

    pub(crate) fn close(&mut self, host: usize) {
        self.sockets[host] = Socket::default();
    }

    /// A packet is sent: when it arrives, if it does, and once more if it was doubled.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        from: usize,
        to: SocketAddr,
        bytes: &[u8],
    ) -> [Option<(Moment, Packet)>; 2] {
        self.sent += 1;
        let weather = self.weather;
        let Some(to) = host_at(to).filter(|&to| to < self.sockets.len()) else {
            return [None, None];
        };
        let is_cut = 0 < self.link(from, to).cuts;
        if is_cut || PACKET_BYTES_MAX < bytes.len() || self.rng.chance(weather.loss_permille) {
            return [None, None];
        }
        let mut bytes = bytes.to_vec();
        if self.rng.chance(weather.corrupt_permille) {
            let bit = self.rng.between(0, bytes.len() as u64 * 8 - 1);
            bytes[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
        }
        let is_doubled = self.rng.chance(weather.duplicate_permille);
        let again = is_doubled.then(|| bytes.clone());
        let first = (self.arrival(now, from, to), Packet { from, to, bytes });
        let again = again.map(|bytes| (self.arrival(now, from, to), Packet { from, to, bytes }));
        [Some(first), again]
    }

    fn arrival(&mut self, now: Moment, from: usize, to: usize) -> Moment {
        let weather = self.weather;
        let (min, max) = (weather.delay_us_min * 1_000, weather.delay_us_max * 1_000);
        let at = Moment { ns: now.ns + self.rng.between(min, max.max(min)) };
        if self.rng.chance(weather.reorder_permille) {
            return at.plus_us(self.rng.between(1, OVERTAKEN_US_MAX));
        }
        let link = self.link(from, to);
        link.floor = link.floor.max(at);
        link.floor
    }

    /// The packet is there. Answers who waits for it.
    pub(crate) fn arrive(&mut self, packet: Packet) -> Option<Waker> {
        let Packet { from, to, bytes } = packet;
        let is_cut = 0 < self.link(from, to).cuts;
        let socket = &mut self.sockets[to];
        if is_cut || !socket.is_open || PACKETS_WAITING_MAX <= socket.waiting.len() {
            return None;
        }
        self.arrived += 1;
        socket.waiting.push_back((from, bytes));
        socket.waker.take()
    }

    /// The next packet that waits at `host`, and where it came from.
    pub(crate) fn receive(&mut self, host: usize) -> Option<(SocketAddr, Vec<u8>)> {
        let (from, bytes) = self.sockets[host].waiting.pop_front()?;
        Some((address_of(from), bytes))
    }

    /// Wake `waker` when the next packet comes to `host`.
    pub(crate) fn wait(&mut self, host: usize, waker: &Waker) {
        self.sockets[host].waker = Some(waker.clone());
    }
}
