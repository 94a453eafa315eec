//! Packets between hosts: delayed, lost, doubled, overtaken, damaged, carried slowly; and between two
//! hosts, in one direction, cut off, slow, or mostly lost.
//!
//! Invariants
//! - what is not overtaken arrives in the order in which it was sent;
//! - nothing arrives through a cut, also what was on its way when it came.
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Waker;

use drover_core::rng::Rng;
use drover_sim::clock::Moment;
use drover_sim::network::{Harm, HostId, harm_done};
use drover_sim::plan::Knobs;

/// The port of every agent.
pub const PORT: u16 = 4_647;
/// Larger packets are lost.
const PACKET_BYTES_MAX: usize = 1_472;
/// What a socket holds; the rest is lost.
const PACKETS_WAITING_MAX: usize = 4_096;
/// How much later than the others a packet that is overtaken arrives, at most.
const OVERTAKEN_US_MAX: u64 = 20_000;

/// What waits for longer until a link carries it is lost.
const BEHIND_MS_MAX: u64 = 500;

/// How packets fare.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_us_min: u64,
    pub delay_us_max: u64,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub reorder_permille: u64,
    pub corrupt_permille: u64,
    /// What a link carries in a millisecond; zero: everything.
    pub bytes_per_ms: u64,
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
            bytes_per_ms: knobs.link_bytes_per_ms,
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
    harms: Vec<Harm>,
    /// The sum of the harms, but for cuts.
    slow_us: u64,
    lost_permille: u64,
    is_cut: bool,
    /// Until here it carries what was sent before.
    busy_until: Moment,
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

/// Whose address it is.
pub(crate) fn host_at(ip: IpAddr) -> Option<HostId> {
    let IpAddr::V4(ip) = ip else { return None };
    usize::try_from(ip.to_bits().checked_sub(0x0a00_0001)?).ok().map(HostId)
}

impl Link {
    fn add_up(&mut self) {
        self.is_cut = self.harms.contains(&Harm::Cut);
        (self.slow_us, self.lost_permille) = harm_done(&self.harms);
    }

    /// A packet is carried behind those before it. Answers whether there is room for it.
    fn carry(&mut self, now: Moment, bytes: usize, bytes_per_ms: u64) -> bool {
        let Some(us) = (1_000 * bytes as u64).checked_div(bytes_per_ms) else {
            self.busy_until = now;
            return true;
        };
        if BEHIND_MS_MAX < self.busy_until.ms_since(now) {
            return false;
        }
        self.busy_until = self.busy_until.max(now).plus_us(us);
        true
    }
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

    pub(crate) fn harm(&mut self, (from, to): (usize, usize), harm: Harm) {
        let link = self.link(from, to);
        link.harms.push(harm);
        link.add_up();
    }

    pub(crate) fn mend(&mut self, (from, to): (usize, usize), harm: Harm) {
        let link = self.link(from, to);
        if let Some(at) = link.harms.iter().position(|&known| known == harm) {
            link.harms.swap_remove(at);
        }
        link.add_up();
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
        let to = host_at(to.ip()).map(|HostId(to)| to);
        let Some(to) = to.filter(|&to| to < self.sockets.len()) else {
            return [None, None];
        };
        let link = self.link(from, to);
        let lost_permille = 1_000.min(weather.loss_permille + link.lost_permille);
        let is_carried = !link.is_cut
            && bytes.len() <= PACKET_BYTES_MAX
            && link.carry(now, bytes.len(), weather.bytes_per_ms);
        if !is_carried || self.rng.chance(lost_permille) {
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
        let delay_ns = self.rng.between(min, max.max(min));
        let link = self.link(from, to);
        let sent_at = now.max(link.busy_until);
        let at = Moment { ns: sent_at.ns + delay_ns }.plus_us(link.slow_us);
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
        let is_cut = self.link(from, to).is_cut;
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
