//! Messages between agents: QUIC on one UDP port, mutual TLS always.
//!
//! | file | part |
//! |---|---|
//! | `tls` | certificates: made, written, read, and what they say about their owner |
//! | `frame` | how messages lie on a stream, and the greeting that opens it |
//! | `queue` | what waits to be sent to one peer, bounded in bytes |
//! | `quic` | the endpoint: keys, timings and windows |
//! | `close` | why a connection ended, as a code and in words |
//! | `peers` | who is connected, and which of two connections stays |
//! | `dial` | addresses that are dialled until they answer, and again when they are lost |
//! | `session` | one connection from its handshake to its end |
//!
//! The loop upstairs thinks in `PeerId`s and never waits here: every method returns at once. What
//! happens comes back as `TransportEvent`s. Messages may be lost (a full queue, a lost connection,
//! a replaced one); they are never damaged, nor given twice by one connection. On one lane of one
//! connection they arrive in order, except datagrams.
//!
//! Invariants
//! - a peer is who its certificate says: role and region of its greeting stand in the certificate;
//! - at most one connection per peer is in use, and both ends choose the same one;
//! - `Connected`, `Received` and `Disconnected` of one peer are told in the order they happened;
//! - what waits to be sent to a peer is bounded in bytes, and so is every message received.
//!
//! It does not retry messages, choose servers, or know what a message means.
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use drover_core::limits;
use drover_core::time::WallTime;
use drover_core::types::{ClusterId, Incarnation};
pub use drover_core::wire::{Lane, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::node_key::NodeKey;
use introduction::{Claims, Gate};

mod close;
mod dial;
pub mod frame;
pub mod introduction;
mod judge;
mod peers;
mod queue;
mod quic;
mod resolve;
mod session;
pub mod tls;

pub use quic::{Env, Failure, Resolving};
pub use tls::Certificates;

use peers::Peers;

/// What a certificate allows its owner to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Role {
    /// May vote, lead, and speak Raft and gossip.
    Server,
    /// May run tasks.
    Client,
}

impl Role {
    /// The role that `peer` plays.
    #[must_use]
    pub const fn of(peer: PeerId) -> Self {
        match peer {
            PeerId::Server(_) | PeerId::Foreign(_) => Self::Server,
            PeerId::Client(_) => Self::Client,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// The first frame of either side: who speaks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// `HELLO_VERSION`. First, so that every later form can be told by its first byte.
    pub version: u8,
    /// The speaker. Its role must stand in its certificate.
    pub agent: PeerId,
    /// Zero before the cluster is bootstrapped, or known.
    pub cluster: ClusterId,
    /// Which start of the speaker this is; a higher one ends the connections of the lower.
    pub incarnation: Incarnation,
    /// What names this start and those before it, the newest first.
    pub starts: Vec<u64>,
    /// The agent's name, for people.
    pub name: String,
    /// Must stand in the certificate.
    pub region: String,
    /// Where others can dial the speaker, `host:port`.
    pub address: String,
    /// Where its HTTP API is, `host:port`.
    pub http_address: String,
}

/// The form of `Hello` that this build speaks.
pub const HELLO_VERSION: u8 = 2;

/// What happened on the network.
#[derive(Clone, Debug)]
pub enum TransportEvent {
    /// The peer can be spoken to. Opens a new connection: nothing sent before it arrives on it.
    Connected {
        /// Who.
        peer: PeerId,
        /// What it said of itself.
        hello: Box<Hello>,
        /// Why a client node may become one that was not known.
        introduction: Option<Claims>,
        /// Where its packets come from.
        addr: SocketAddr,
    },
    /// The connection is over. What was sent and not answered may or may not have arrived.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// Why, in words.
        why: String,
    },
    /// A message.
    Received {
        /// From whom, as authenticated.
        peer: PeerId,
        /// On which lane it came.
        lane: Lane,
        /// The message, as it was given to `send`.
        bytes: Bytes,
    },
    /// Nobody we could speak to answered at `addr`. It is dialled again unless it is ourselves.
    DialFailed {
        /// As given to `dial`.
        addr: String,
        /// Why, in words.
        why: String,
    },
    /// Somebody who may not speak to us dialled. Told only as long as there is room for it.
    Refused {
        /// Who dialled.
        addr: SocketAddr,
        /// Why, in words.
        why: String,
    },
}

/// How long silence may last, and how often an idle connection is kept alive.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Between servers: far below the shortest election, so that loss is noticed before it is due.
    pub server_keep_alive_ms: u64,
    /// Between servers: below the shortest election.
    pub server_idle_ms: u64,
    /// From a client to a server.
    pub client_keep_alive_ms: u64,
    /// From a client to a server.
    pub client_idle_ms: u64,
    /// From the first packet to the peer's greeting.
    pub handshake_ms: u64,
    /// First pause before an address is dialled again; doubles up to `redial_ms_max`.
    pub redial_ms_min: u64,
    /// Longest pause before an address is dialled again.
    pub redial_ms_max: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            server_keep_alive_ms: 150,
            server_idle_ms: 450,
            client_keep_alive_ms: 3_000,
            client_idle_ms: 10_000,
            handshake_ms: 3_000,
            redial_ms_min: 100,
            redial_ms_max: 5_000,
        }
    }
}

const _: () = assert!(450 < limits::ELECTION_MS_MIN, "a dead link is noticed before an election");

/// Bounds of what is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Waiting on one peer's ordered lane; a message that would exceed it is dropped.
    pub ordered_bytes_max: usize,
    /// Waiting on one peer's bulk lane; a message that would exceed it is dropped.
    pub bulk_bytes_max: usize,
    /// One message received; the peer that sends a larger one is cut off.
    pub message_bytes_max: usize,
    /// Connections that have not greeted yet; more are turned away.
    pub handshakes_max: usize,
    /// Addresses that are dialled; more are refused with `DialFailed`.
    pub dialled_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            ordered_bytes_max: 2 * limits::MESSAGE_BYTES_MAX,
            bulk_bytes_max: limits::MESSAGE_BYTES_MAX,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            handshakes_max: 1_024,
            dialled_max: 256,
        }
    }
}

/// Wall time, for the validity of certificates only.
pub type Wall = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// What a transport must be told before it starts.
#[derive(Clone)]
pub struct Config {
    /// The UDP address to listen and to dial on.
    pub bind: SocketAddr,
    /// What we say of ourselves.
    pub hello: Hello,
    /// Of the pauses between dials.
    pub seed: u64,
    /// Wall time, for the validity of certificates only.
    pub wall: Wall,
    /// What a client node's id is the hash of; servers have none.
    pub node_key: Option<Arc<NodeKey>>,
    /// The token that a client was given; only servers of its region see it.
    pub introduction: Option<String>,
    /// On servers; without it a certificate is enough.
    pub gate: Option<Gate>,
    /// Kept across restarts, so that peers learn at once that their connections are gone.
    pub reset_key: Option<[u8; 32]>,
    /// Makes quinn's own chance repeatable; `None` in production.
    pub quinn_seed: Option<[u8; 32]>,
    /// See there.
    pub timings: Timings,
    /// See there.
    pub bounds: Bounds,
}

impl Config {
    /// A configuration with the usual timings and bounds.
    #[must_use]
    pub fn new(bind: SocketAddr, hello: Hello, seed: u64, wall: Wall) -> Self {
        let (timings, bounds) = (Timings::default(), Bounds::default());
        Self {
            bind,
            hello,
            seed,
            wall,
            node_key: None,
            introduction: None,
            gate: None,
            reset_key: None,
            quinn_seed: None,
            timings,
            bounds,
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages given to a connection.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Dropped because the peer's queue was full.
    pub dropped_full: u64,
    /// Dropped because the peer was not connected.
    pub dropped_unconnected: u64,
    /// Dropped because they exceed `MESSAGE_BYTES_MAX`, which no peer would accept.
    pub dropped_oversized: u64,
    /// Connections refused after their handshake began.
    pub refused: u64,
    /// Connections closed because another between the same two agents stays.
    pub duplicates: u64,
    /// In UDP packets to peers that were greeted, with all that QUIC and TLS need.
    pub udp_sent_bytes: u64,
    /// The same from them.
    pub udp_received_bytes: u64,
}

/// One connected peer, for the operator's eyes.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Who.
    pub peer: PeerId,
    /// Where its packets come from.
    pub addr: SocketAddr,
    /// What it said of itself.
    pub hello: Hello,
    /// Which of the two dialled.
    pub dialled_by: PeerId,
    /// Smoothed round trip time.
    pub rtt_us: u64,
    /// Waiting to be sent on the ordered and bulk lanes.
    pub queued_bytes: usize,
}

/// The handle of a running transport. Cheap to clone; ends with `stop`.
#[derive(Clone)]
pub struct Transport {
    peers: Arc<Peers>,
}

impl Transport {
    /// Binds the port and starts to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the port is taken, or the certificates cannot be used.
    pub fn start(
        config: Config,
        certificates: &Certificates,
        events: mpsc::Sender<TransportEvent>,
    ) -> Result<Self, Failure> {
        certificates.check_owner(Role::of(config.hello.agent), &config.hello.region)?;
        let env = Env::tokio(config.bind)?;
        Self::start_on(env, config, certificates, events)
    }

    /// As `start`, on a runtime and a socket of the caller's choice (the simulator's). What the
    /// greeting claims is left to the peers to judge.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub fn start_on(
        env: Env,
        config: Config,
        certificates: &Certificates,
        events: mpsc::Sender<TransportEvent>,
    ) -> Result<Self, Failure> {
        let peers = Peers::start(env, config, certificates, events)?;
        Ok(Self { peers })
    }

    /// Sends if the peer is connected and its queue has room; otherwise drops and counts.
    pub fn send(&self, to: PeerId, lane: Lane, bytes: Bytes) {
        self.peers.send(to, lane, bytes);
    }

    /// Keeps a connection to whoever answers at `addr` (`host:port`) until `hang_up` or `forget`.
    /// Dialling a known address again changes nothing.
    pub fn dial(&self, addr: &str) {
        self.peers.dial(addr);
    }

    /// As `dial`, but says who has answered. If nobody does at once, it is not tried again.
    ///
    /// # Errors
    /// Why nobody answered, in words.
    pub async fn reach(&self, addr: &str) -> Result<PeerId, String> {
        self.peers.reach(addr).await
    }

    /// Ends the connection to `peer` and stops dialling the addresses that led to it.
    pub fn hang_up(&self, peer: PeerId) {
        self.peers.hang_up(peer);
    }

    /// Stops dialling `addr`. A connection that exists stays.
    pub fn forget(&self, addr: &str) {
        self.peers.forget(addr);
    }

    /// Names the cluster in all greetings from now on, and refuses agents of another.
    pub fn join_cluster(&self, cluster: ClusterId) {
        self.peers.join_cluster(cluster);
    }

    /// Uses other certificates for all connections from now on.
    ///
    /// # Errors
    /// If they cannot be used; then the old ones stay.
    pub fn replace_certificates(&self, certificates: &Certificates) -> Result<(), Failure> {
        self.peers.replace_certificates(certificates)
    }

    /// A token by which a machine may become a client node of this region.
    ///
    /// # Errors
    /// If this agent's certificate can sign none.
    pub fn introduce(&self, claims: &Claims) -> Result<String, Failure> {
        self.peers.introducer().introduce(claims)
    }

    /// The port that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.peers.local_addr
    }

    /// Who is connected, in the order of their ids.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        self.peers.views()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.peers.counts()
    }

    /// Closes every connection and returns once the peers were told.
    pub async fn stop(&self) {
        self.peers.stop().await;
    }
}
