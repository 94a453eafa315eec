//! Who is connected, and which of two connections stays.
//!
//! Invariants
//! - at most one link per peer; the better of two is better on both ends (`Rank`);
//! - a link's `Connected` is told after the `Disconnected` of the one it replaced;
//! - a server comes back in the same start or in a later one, never in an earlier one;
//! - addresses, handshakes and remembered grumbles are bounded.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drover_core::limits::MESSAGE_BYTES_MAX;
use drover_core::rng::Rng;
use drover_core::types::{ClusterId, Incarnation, ServerId};
use quinn::{Connection, Endpoint};
use tokio::sync::{mpsc, oneshot};

use super::close::Close;
use super::dial::{self, Told, Wanted};
use super::introduction::{Claims, Introducer};
use super::queue::{Admission, Queue};
use super::quic::{self, Env, Failure};
use super::tls::Certificates;
use super::{Config, Counts, Hello, Lane, PeerId, PeerView, TransportEvent, judge, session};

/// A connection in use.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) peer: PeerId,
    pub(super) hello: Hello,
    /// Why the client may become a node that was not known.
    pub(super) introduction: Option<Claims>,
    pub(super) rank: Rank,
    pub(super) ordered: Queue,
    pub(super) bulk: Queue,
}

/// Decides between two connections of the same two agents. Both ends see the same values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rank {
    /// Which start of the peer this is.
    pub(super) incarnation: Incarnation,
    /// Who dialled.
    pub(super) dialler: PeerId,
    /// Which of its dials this is.
    pub(super) ordinal: u64,
}

impl Rank {
    /// Whether this one replaces `old`. Between two live agents incarnations are equal; then what
    /// the lower id dialled stays; of its own dials the latest, as it gave up the earlier ones.
    pub(super) fn replaces(&self, old: &Self) -> bool {
        if self.incarnation != old.incarnation {
            return old.incarnation < self.incarnation;
        }
        if self.dialler != old.dialler {
            return self.dialler < old.dialler;
        }
        old.ordinal < self.ordinal
    }
}

struct Entry {
    link: Arc<Link>,
    /// Resolves when the link's `Disconnected` was told.
    ended: Option<oneshot::Receiver<()>>,
    /// Dropped when the peer has no link any more; those who wait are diallers.
    waiting: Vec<oneshot::Sender<()>>,
}

struct Target {
    /// Who answered last.
    peer: Option<PeerId>,
    /// Dropping it ends the task that dials.
    _wanted: oneshot::Sender<()>,
}

#[derive(Default)]
struct Table {
    links: BTreeMap<PeerId, Entry>,
    targets: BTreeMap<String, Target>,
    /// The latest start of every server that was connected since our own, and what names it.
    starts: BTreeMap<ServerId, (Incarnation, u64)>,
}

/// A link's place in the table.
pub(super) struct Seat {
    /// Resolves when the replaced link has ended.
    pub(super) before: Option<oneshot::Receiver<()>>,
    /// Dropped when this link has ended.
    pub(super) _ended: oneshot::Sender<()>,
}

/// Complaints are written once in a while, not once per packet: about who dials us per address, about
/// whom we dial also per reason, as the operator chose the address and waits for news of it.
#[derive(Default)]
struct Grumbles {
    last: BTreeMap<String, (Instant, u64)>,
}

const GRUMBLE_EVERY: Duration = Duration::from_secs(10);
const GRUMBLES_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Tally {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    dropped_full: AtomicU64,
    dropped_unconnected: AtomicU64,
    dropped_oversized: AtomicU64,
    refused: AtomicU64,
    duplicates: AtomicU64,
    /// Of links that have ended.
    udp_sent_bytes: AtomicU64,
    udp_received_bytes: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that the tasks of one transport share.
pub(super) struct Peers {
    pub(super) env: Env,
    pub(super) config: Config,
    pub(super) endpoint: Endpoint,
    pub(super) local_addr: SocketAddr,
    pub(super) events: mpsc::Sender<TransportEvent>,
    pub(super) tally: Tally,
    pub(super) handshakes: AtomicUsize,
    cluster: Mutex<ClusterId>,
    wanted: mpsc::Sender<Wanted>,
    dialling: Mutex<quinn::ClientConfig>,
    introducer: Mutex<Arc<Introducer>>,
    table: Mutex<Table>,
    grumbles: Mutex<Grumbles>,
    jitter: Mutex<Rng>,
    ordinal: AtomicU64,
}

impl Peers {
    pub(super) fn start(
        env: Env,
        config: Config,
        certificates: &Certificates,
        events: mpsc::Sender<TransportEvent>,
    ) -> Result<Arc<Self>, Failure> {
        let halves = quic::halves(&env.provider, &config, certificates)?;
        let endpoint = quic::endpoint(&env, &config, halves.answering)?;
        let local_addr =
            endpoint.local_addr().map_err(|why| Failure::Bind { addr: config.bind, why })?;
        let (wanted, orders) = mpsc::channel(config.bounds.dialled_max);
        let peers = Arc::new(Self {
            wanted,
            cluster: Mutex::new(config.hello.cluster),
            jitter: Mutex::new(Rng::from_seed(config.seed).fork("redial")),
            dialling: Mutex::new(halves.dialling),
            introducer: Mutex::new(Arc::new(halves.introducer)),
            env,
            config,
            endpoint,
            local_addr,
            events,
            tally: Tally::default(),
            handshakes: AtomicUsize::new(0),
            table: Mutex::default(),
            grumbles: Mutex::default(),
            ordinal: AtomicU64::new(1),
        });
        let accepting = Arc::clone(&peers);
        peers.env.runtime.spawn(Box::pin(session::accept_all(accepting)));
        let dialling = Arc::clone(&peers);
        peers.env.runtime.spawn(Box::pin(dial::dial_all(dialling, orders)));
        Ok(peers)
    }

    /// What we say of ourselves now.
    pub(super) fn own_hello(&self) -> Hello {
        Hello { cluster: *lock(&self.cluster), ..self.config.hello.clone() }
    }

    pub(super) fn own_id(&self) -> PeerId {
        self.config.hello.agent
    }

    pub(super) fn introducer(&self) -> Arc<Introducer> {
        Arc::clone(&lock(&self.introducer))
    }

    pub(super) fn next_ordinal(&self) -> u64 {
        self.ordinal.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn dialling(&self) -> quinn::ClientConfig {
        lock(&self.dialling).clone()
    }

    /// A pause between half of `ms` and `ms`: diallers that were cut off together come back apart.
    pub(super) fn jittered_ms(&self, ms: u64) -> u64 {
        lock(&self.jitter).between(ms / 2, ms)
    }

    pub(super) fn send(&self, to: PeerId, lane: Lane, bytes: Bytes) {
        if MESSAGE_BYTES_MAX < bytes.len() {
            count(&self.tally.dropped_oversized);
            let length = bytes.len();
            tracing::error!(%to, length, "a message of ours exceeds what any peer accepts: dropped");
            return;
        }
        let link = lock(&self.table).links.get(&to).map(|entry| Arc::clone(&entry.link));
        let Some(link) = link else {
            count(&self.tally.dropped_unconnected);
            return;
        };
        let admission = match lane {
            Lane::Ordered => link.ordered.push(bytes),
            Lane::Bulk => link.bulk.push(bytes),
            Lane::Datagram => match link.connection.send_datagram(bytes.clone()) {
                Ok(()) => Admission::Queued,
                // Too large for one packet on this path, or the connection is ending.
                Err(_) => link.ordered.push(bytes),
            },
        };
        count(match admission {
            Admission::Queued => &self.tally.sent,
            Admission::Full => &self.tally.dropped_full,
        });
    }

    /// Gives the link the peer's place, unless a better one has it.
    pub(super) fn admit(&self, link: &Arc<Link>) -> Option<Seat> {
        let mut table = lock(&self.table);
        let (mut before, mut waiting) = (None, Vec::new());
        if let Some(old) = table.links.get_mut(&link.peer) {
            let is_over = old.link.connection.close_reason().is_some();
            if !is_over && !link.rank.replaces(&old.link.rank) {
                count(&self.tally.duplicates);
                return None;
            }
            old.link.connection.close(Close::Duplicate.code(), &self.own_id_bytes());
            before = old.ended.take();
            waiting = std::mem::take(&mut old.waiting);
        }
        if let PeerId::Server(id) = link.peer {
            let name = link.hello.starts.first().copied().unwrap_or_default();
            let start = (link.rank.incarnation, name);
            let latest = table.starts.entry(id).or_insert(start);
            *latest = start.max(*latest);
        }
        let (end, ended) = oneshot::channel();
        let entry = Entry { link: Arc::clone(link), ended: Some(ended), waiting };
        table.links.insert(link.peer, entry);
        Some(Seat { before, _ended: end })
    }

    /// Which start of the server was connected last, if any was.
    pub(super) fn latest_start(&self, server: ServerId) -> Option<(Incarnation, u64)> {
        lock(&self.table).starts.get(&server).copied()
    }

    /// The link is over; if it was not replaced, nobody is connected to the peer any more.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        let mut table = lock(&self.table);
        let is_current =
            table.links.get(&link.peer).is_some_and(|entry| Arc::ptr_eq(&entry.link, link));
        if is_current {
            table.links.remove(&link.peer);
        }
        let carried = link.connection.stats();
        self.tally.udp_sent_bytes.fetch_add(carried.udp_tx.bytes, Ordering::Relaxed);
        self.tally.udp_received_bytes.fetch_add(carried.udp_rx.bytes, Ordering::Relaxed);
    }

    /// Returns once there is no link to `peer`.
    pub(super) async fn link_gone(&self, peer: PeerId) {
        loop {
            let gone = match lock(&self.table).links.get_mut(&peer) {
                None => return,
                Some(entry) => {
                    entry.waiting.retain(|sender| !sender.is_closed());
                    let (sender, gone) = oneshot::channel();
                    entry.waiting.push(sender);
                    gone
                }
            };
            // An error is the news: the sender was dropped with the entry.
            gone.await.ok();
        }
    }

    /// Who an agent is to us that says it is this one, of this region.
    pub(super) fn peer_of(&self, agent: PeerId, region: &str) -> PeerId {
        match agent {
            PeerId::Server(id) if region != self.config.hello.region => PeerId::Foreign(id),
            PeerId::Server(_) | PeerId::Client(_) | PeerId::Foreign(_) => agent,
        }
    }

    /// What a duplicate's closer says: who it is, as the dialler may not know yet.
    pub(super) fn own_id_bytes(&self) -> Vec<u8> {
        let own = (self.own_id(), &self.config.hello.region);
        postcard::to_allocvec(&own).expect("invariant: an id and a name are plain data")
    }

    /// Has `addr` dialled, unless it is already or there are too many.
    pub(super) fn dial(&self, addr: &str) {
        self.want(addr, None);
    }

    /// The same, and waits for what comes of it.
    pub(super) async fn reach(&self, addr: &str) -> Result<PeerId, String> {
        let (tell, told) = oneshot::channel();
        self.want(addr, Some(tell));
        let known = |table: &Table| table.targets.get(addr).and_then(|target| target.peer);
        match told.await {
            Ok(answer) => answer,
            // It is dialled already.
            Err(_) => known(&lock(&self.table))
                .ok_or_else(|| "it is dialled already, and has not answered yet".to_owned()),
        }
    }

    fn want(&self, addr: &str, tell: Option<Told>) {
        let mut table = lock(&self.table);
        if table.targets.contains_key(addr) {
            return;
        }
        let (wanted, forgotten) = oneshot::channel();
        let order = Wanted { addr: addr.to_owned(), forgotten, tell };
        let has_room = table.targets.len() < self.config.bounds.dialled_max;
        if has_room && self.wanted.try_send(order).is_ok() {
            table.targets.insert(addr.to_owned(), Target { peer: None, _wanted: wanted });
            return;
        }
        drop(table);
        let why = "too many addresses are dialled already".to_owned();
        tracing::warn!(addr, "{why}");
        self.events.try_send(TransportEvent::DialFailed { addr: addr.to_owned(), why }).ok();
    }

    /// Remembers who answers at `addr`.
    pub(super) fn name_target(&self, addr: &str, peer: PeerId) {
        if let Some(target) = lock(&self.table).targets.get_mut(addr) {
            target.peer = Some(peer);
        }
    }

    pub(super) fn forget(&self, addr: &str) {
        lock(&self.table).targets.remove(addr);
    }

    pub(super) fn hang_up(&self, peer: PeerId) {
        let mut table = lock(&self.table);
        table.targets.retain(|_, target| target.peer != Some(peer));
        if let Some(entry) = table.links.get(&peer) {
            entry.link.connection.close(Close::HungUp.code(), b"");
        }
    }

    /// Who was met before we had a cluster may turn out to be of another.
    pub(super) fn join_cluster(&self, cluster: ClusterId) {
        *lock(&self.cluster) = cluster;
        let own = self.own_hello();
        for entry in lock(&self.table).links.values() {
            if let Err(why) = judge::check_cluster(&entry.link.hello, &own) {
                entry.link.connection.close(Close::Refused.code(), why.as_bytes());
            }
        }
    }

    pub(super) fn replace_certificates(&self, certificates: &Certificates) -> Result<(), Failure> {
        certificates.check_owner(super::Role::of(self.own_id()), &self.config.hello.region)?;
        let halves = quic::halves(&self.env.provider, &self.config, certificates)?;
        self.endpoint.set_server_config(Some(halves.answering));
        *lock(&self.dialling) = halves.dialling;
        *lock(&self.introducer) = Arc::new(halves.introducer);
        Ok(())
    }

    pub(super) fn views(&self) -> Vec<PeerView> {
        let table = lock(&self.table);
        let view = |(peer, entry): (&PeerId, &Entry)| PeerView {
            peer: *peer,
            addr: entry.link.connection.remote_address(),
            hello: entry.link.hello.clone(),
            dialled_by: entry.link.rank.dialler,
            rtt_us: u64::try_from(entry.link.connection.rtt().as_micros()).unwrap_or(u64::MAX),
            queued_bytes: entry.link.ordered.queued_bytes() + entry.link.bulk.queued_bytes(),
        };
        // A link that is over is in the table until that has been told.
        let lives = |(_, entry): &(&PeerId, &Entry)| entry.link.connection.close_reason().is_none();
        table.links.iter().filter(lives).map(view).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let table = lock(&self.table);
        let carried: Vec<_> =
            table.links.values().map(|entry| entry.link.connection.stats()).collect();
        Counts {
            udp_sent_bytes: read(&self.tally.udp_sent_bytes)
                + carried.iter().map(|link| link.udp_tx.bytes).sum::<u64>(),
            udp_received_bytes: read(&self.tally.udp_received_bytes)
                + carried.iter().map(|link| link.udp_rx.bytes).sum::<u64>(),
            sent: read(&self.tally.sent),
            received: read(&self.tally.received),
            dropped_full: read(&self.tally.dropped_full),
            dropped_unconnected: read(&self.tally.dropped_unconnected),
            dropped_oversized: read(&self.tally.dropped_oversized),
            refused: read(&self.tally.refused),
            duplicates: read(&self.tally.duplicates),
        }
    }

    /// Somebody may not speak to us.
    pub(super) fn refuse(&self, addr: SocketAddr, why: String) {
        count(&self.tally.refused);
        if let Some(silenced) = self.may_grumble(addr.ip().to_string()) {
            tracing::warn!("peer {addr} {why}{}", unwritten(silenced));
        }
        self.events.try_send(TransportEvent::Refused { addr, why }).ok();
    }

    /// How many complaints were withheld since the last one, if it is time for another.
    fn may_grumble(&self, about: String) -> Option<u64> {
        let now = self.env.runtime.now();
        let mut grumbles = lock(&self.grumbles);
        if GRUMBLES_MAX <= grumbles.last.len() {
            grumbles.last.clear();
        }
        let (last, silenced) = grumbles.last.get(&about).copied().unzip();
        if last.is_some_and(|last| now < last + GRUMBLE_EVERY) {
            grumbles.last.entry(about).and_modify(|(_, silenced)| *silenced += 1);
            return None;
        }
        grumbles.last.insert(about, (now, 0));
        Some(silenced.unwrap_or(0))
    }

    /// As `refuse`, of an address that was dialled.
    pub(super) fn grumble_about_dial(&self, addr: &str, why: &str) {
        if let Some(silenced) = self.may_grumble(format!("{addr} {why}")) {
            tracing::warn!("dialled {addr}: {why}{}", unwritten(silenced));
        }
    }

    pub(super) async fn stop(&self) {
        lock(&self.table).targets.clear();
        self.endpoint.close(Close::Stopping.code(), b"");
        self.endpoint.wait_idle().await;
    }
}

/// How often the same happened and was not written.
fn unwritten(silenced: u64) -> String {
    if silenced == 0 { String::new() } else { format!(" ({silenced} times more before this)") }
}

#[cfg(test)]
mod tests {
    use drover_core::types::{NodeId, ServerId};

    use super::*;

    #[test]
    fn of_two_connections_exactly_one_replaces_the_other() {
        let mut ranks = Vec::new();
        for incarnation in [1, 2].map(Incarnation) {
            let (server, client) = (PeerId::Server(ServerId(9)), PeerId::Client(NodeId(3)));
            for dialler in [PeerId::Server(ServerId(1)), server, client] {
                for ordinal in [1, 2] {
                    ranks.push(Rank { incarnation, dialler, ordinal });
                }
            }
        }
        for one in &ranks {
            for other in &ranks {
                let both = (one.replaces(other), other.replaces(one));
                assert_eq!(both.0 != both.1, one != other, "{one:?} {other:?}");
            }
        }
    }
}
