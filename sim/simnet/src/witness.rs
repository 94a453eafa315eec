//! turmoil's hosts and sockets: another executor, clock and network, written by others.
//!
//! Its clock goes on in ticks. Packets are lost and doubled here, one by one, since its
//! own loss breaks whole links; what it cannot do at all is not done.
//!
//! Invariants
//! - a partition is one of turmoil's, not ours.
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use drover_core::rng::Rng;
use drover_sim::clock::Moment;
use drover_sim::network::{Harm, HostId, harm_done};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, TokioRuntime, UdpPoller};
use turmoil::net::UdpSocket;

use crate::lock;
use crate::network::{PORT, Weather, address_of, host_at};
use crate::runtime::AlwaysWritable;
use crate::site::{self, Now, Site};
use crate::stage::{Alarm, Stage};
use crate::substrate::{Substrate, life_of};

/// Packets arrive at its end; half the ticks cost half as much.
const TICK: Duration = Duration::from_millis(2);
/// By default turmoil loses what is beyond 64 datagrams.
const DATAGRAMS_WAITING_MAX: usize = 4_096;

/// How packets fare; shared by all sockets.
struct Ether {
    weather: Weather,
    /// By (from, to).
    lost_permille: BTreeMap<(HostId, HostId), u64>,
    rng: Rng,
    sent: u64,
}

type Names = Arc<BTreeMap<String, SocketAddr>>;

/// turmoil.
pub struct Turmoil {
    sim: turmoil::Sim<'static>,
    stage: Arc<Stage>,
    names: Names,
    ether: Arc<Mutex<Ether>>,
    /// Hosts that turmoil knows of: it wants to hear of each once.
    known: Vec<bool>,
    /// By (from, to).
    harms: BTreeMap<(HostId, HostId), Vec<Harm>>,
    alarm: Arc<Alarm>,
}

fn ip_of(host: HostId) -> IpAddr {
    address_of(host.0).ip()
}

impl Turmoil {
    /// The hosts of `stage`, none of which runs.
    #[must_use]
    pub fn new(stage: Arc<Stage>) -> Self {
        let mut rng = Rng::from_seed(stage.plan.seed).fork("turmoil");
        let weather = Weather::of(&stage.plan.knobs);
        let mut builder = turmoil::Builder::new();
        builder
            .tick_duration(TICK)
            .simulation_duration(Duration::from_hours(24 * 365))
            .min_message_latency(Duration::from_micros(weather.delay_us_min))
            .max_message_latency(Duration::from_micros(weather.delay_us_max))
            .udp_capacity(DATAGRAMS_WAITING_MAX)
            .rng_seed(rng.next_u64());
        if rng.chance(500) {
            builder.enable_random_order();
        }
        let lost_permille = BTreeMap::new();
        let ether = Ether { weather, lost_permille, rng: rng.fork("ether"), sent: 0 };
        Self {
            sim: builder.build(),
            names: site::names_of(&stage, address_of),
            ether: Arc::new(Mutex::new(ether)),
            known: stage.hosts().map(|_| false).collect(),
            harms: BTreeMap::new(),
            alarm: stage.alarm(),
            stage,
        }
    }

    fn now(&self) -> Moment {
        moment_at(self.sim.elapsed())
    }

    /// Tells turmoil what is wrong with a link, if it knows both ends. It knows links in both directions
    /// only, but for cuts: the slower direction counts.
    fn tell_link(&self, (from, to): (HostId, HostId)) {
        if !self.known[from.0] || !self.known[to.0] {
            return;
        }
        let harms = |link| self.harms.get(&link).map_or(&[][..], |harms| harms);
        let (slow_us, lost_permille) = harm_done(harms((from, to)));
        lock(&self.ether).lost_permille.insert((from, to), lost_permille);
        let (from_ip, to_ip) = (ip_of(from), ip_of(to));
        if harms((from, to)).contains(&Harm::Cut) {
            self.sim.partition_oneway(from_ip, to_ip);
        } else {
            self.sim.repair_oneway(from_ip, to_ip);
        }
        let slow_us = slow_us.max(harm_done(harms((to, from))).0);
        let Weather { delay_us_min, delay_us_max, .. } = lock(&self.ether).weather;
        self.sim.set_link_latency(from_ip, to_ip, Duration::from_micros(delay_us_min + slow_us));
        let most = Duration::from_micros(delay_us_max + slow_us);
        self.sim.set_link_max_message_latency(from_ip, to_ip, most);
    }

    fn change(&mut self, link: (HostId, HostId), change: impl FnOnce(&mut Vec<Harm>)) {
        change(self.harms.entry(link).or_default());
        self.tell_link(link);
    }

    /// Links that are harmed, or were.
    fn harmed(&self) -> Vec<(HostId, HostId)> {
        self.harms.keys().copied().collect()
    }
}

fn moment_at(elapsed: Duration) -> Moment {
    Moment { ns: u64::try_from(elapsed.as_nanos()).expect("invariant: a run is short") }
}

impl Substrate for Turmoil {
    fn start(&mut self, host: HostId) {
        if std::mem::replace(&mut self.known[host.0], true) {
            return self.sim.bounce(ip_of(host));
        }
        let (stage, names) = (Arc::clone(&self.stage), Arc::clone(&self.names));
        let ether = Arc::clone(&self.ether);
        self.sim.host(ip_of(host), move || {
            let (stage, names) = (Arc::clone(&stage), Arc::clone(&names));
            let ether = Arc::clone(&ether);
            async move {
                let socket = Socket::bind(host, ether).await?;
                let env = site::env_of(Arc::new(TokioRuntime), Arc::new(socket), names);
                let now: Now = Arc::new(|| {
                    moment_at(turmoil::sim_elapsed().expect("invariant: called by a host"))
                });
                let site = Site { env, local: Arc::clone(&now), now };
                life_of(&stage, host, site).await;
                // A host whose software ends would end the simulation.
                std::future::pending::<()>().await;
                Ok(())
            }
        });
        // It was harmed before turmoil knew of it.
        self.harmed().into_iter().for_each(|link| self.tell_link(link));
    }

    fn crash(&mut self, host: HostId) {
        self.sim.crash(ip_of(host));
    }

    fn pause(&mut self, _: HostId, _: u64) -> bool {
        false
    }

    fn slow_cpu(&mut self, _: HostId, _: u64) -> bool {
        false
    }

    fn harm(&mut self, link: (HostId, HostId), harm: Harm) {
        self.change(link, |harms| harms.push(harm));
    }

    fn mend(&mut self, link: (HostId, HostId), harm: Harm) {
        self.change(link, |harms| {
            if let Some(at) = harms.iter().position(|&known| known == harm) {
                harms.swap_remove(at);
            }
        });
    }

    fn set_weather(&mut self, weather: Weather) {
        lock(&self.ether).weather = weather;
        self.sim.set_max_message_latency(Duration::from_micros(weather.delay_us_max));
        self.harmed().into_iter().for_each(|link| self.tell_link(link));
    }

    fn run_until(&mut self, end: Moment) -> Moment {
        while self.now() < end.min(self.alarm.at()) {
            self.sim.step().expect("invariant: no host's software fails");
        }
        self.now().min(end)
    }

    fn counts(&self) -> (u64, u64) {
        (0, lock(&self.ether).sent)
    }
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// A socket of turmoil as quinn wants to see it.
struct Socket {
    io: Arc<UdpSocket>,
    host: HostId,
    local: SocketAddr,
    ether: Arc<Mutex<Ether>>,
    /// Holds turmoil's own lock on the socket while it waits: nothing can be received until it is done.
    readable: Mutex<Option<Readable>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turmoil's socket at {}", self.local)
    }
}

impl Socket {
    async fn bind(host: HostId, ether: Arc<Mutex<Ether>>) -> io::Result<Self> {
        let io = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
        Ok(Self { io, host, local: address_of(host.0), ether, readable: Mutex::default() })
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        let mut ether = lock(&self.ether);
        ether.sent += 1;
        let Weather { loss_permille, duplicate_permille, .. } = ether.weather;
        let link = host_at(to.ip()).map(|to| (self.host, to));
        let lossy = link.and_then(|link| ether.lost_permille.get(&link).copied());
        let is_lost = ether.rng.chance(1_000.min(loss_permille + lossy.unwrap_or(0)));
        let copies = if ether.rng.chance(duplicate_permille) { 2 } else { 1 };
        drop(ether);
        if is_lost {
            return Ok(());
        }
        for _ in 0..copies {
            match self.io.try_send_to(packet, to) {
                // Nobody is there: UDP says nothing of it.
                Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => (),
                sent => drop(sent?),
            }
        }
        Ok(())
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            match self.io.try_recv_from(buffer) {
                Ok((len, addr)) => {
                    let dst_ip = Some(self.local.ip());
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip };
                    received += 1;
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(received)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let bytes_max = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let mut packets = transmit.contents.chunks(bytes_max);
        packets.try_for_each(|packet| self.send(packet, transmit.destination))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut slot = lock(&self.readable);
        loop {
            if slot.is_none() {
                let received = self.receive(buffers, meta)?;
                if received != 0 {
                    return Poll::Ready(Ok(received));
                }
            }
            let readable = slot.get_or_insert_with(|| {
                let io = Arc::clone(&self.io);
                Box::pin(async move { io.readable().await })
            });
            ready!(readable.as_mut().poll(cx))?;
            *slot = None;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}
