//! A transport on a real socket, with a runtime of its own.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use drover_core::time::WallTime;
use drover_core::types::{ClusterId, Incarnation, ServerId};
use drover_shell::node_key::NodeKey;
use drover_shell::transport::tls::{self, Pem, Request};
use drover_shell::transport::{
    Certificates, Config, Env, HELLO_VERSION, Hello, Lane, PeerId, Role, Transport, TransportEvent,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const ANYWHERE: &str = "127.0.0.1:0";

pub(super) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    WallTime { unix_ms: u64::try_from(since.as_millis()).expect("before the year 500 million") }
}

pub(super) fn authority() -> Pem {
    tls::make_authority(wall(), 10).expect("an authority is made")
}

pub(super) fn certificates(authority: &Pem, role: Role) -> Certificates {
    let roles = [role];
    let request = Request { roles: &roles, region: "global", names: &[], days: 5, now: wall() };
    let pem = tls::make_certificate(authority, &request).expect("a certificate is made");
    Certificates::from_pem(&authority.certificate, &pem).expect("what was made is read")
}

pub(super) fn server(id: u64) -> PeerId {
    PeerId::Server(ServerId(id))
}

/// The client whose key is made of this byte alone.
pub(super) fn client(seed: u8) -> PeerId {
    PeerId::Client(NodeKey::from_seed(&[seed; 32]).node())
}

/// Its own.
pub(super) fn client_config(seed: u8) -> Config {
    let node_key = Some(Arc::new(NodeKey::from_seed(&[seed; 32])));
    Config { node_key, ..config(client(seed)) }
}

/// Timings are generous: the machine that runs the tests may be busy, and no test waits for them.
pub(super) fn config(agent: PeerId) -> Config {
    let hello = Hello {
        version: HELLO_VERSION,
        agent,
        cluster: ClusterId(0),
        incarnation: Incarnation(1),
        starts: vec![1],
        name: format!("{agent}"),
        region: "global".to_owned(),
        address: String::new(),
        http_address: String::new(),
    };
    let mut config = Config::new(ANYWHERE.parse().expect("an address"), hello, 7, Arc::new(wall));
    config.timings.server_keep_alive_ms = 1_000;
    config.timings.server_idle_ms = 10_000;
    config.timings.handshake_ms = 10_000;
    config.timings.redial_ms_min = 20;
    config.timings.redial_ms_max = 200;
    config
}

/// A transport with a runtime of its own, which dies with it: dropping it is a crash.
pub(super) struct Agent {
    pub(super) transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
    pub(super) runtime: Runtime,
}

impl Agent {
    pub(super) fn start(config: Config, certificates: &Certificates) -> Self {
        Self::start_by(|sender| {
            Transport::start(config, certificates, sender).expect("the transport starts")
        })
    }

    pub(super) fn start_by(start: impl FnOnce(mpsc::Sender<TransportEvent>) -> Transport) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let (sender, events) = mpsc::channel(64);
        let transport = {
            let _inside = runtime.enter();
            start(sender)
        };
        Self { transport, events, runtime }
    }

    /// As `start`, without the check that keeps an honest operator from claiming too much.
    pub(super) fn start_lying(config: Config, certificates: &Certificates) -> Self {
        Self::start_by(|sender| {
            let env = Env::tokio(config.bind).expect("the port is free");
            Transport::start_on(env, config, certificates, sender).expect("the transport starts")
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    pub(super) fn dial(&self, other: &Self) {
        self.transport.dial(&other.addr().to_string());
    }

    pub(super) fn next(&mut self) -> TransportEvent {
        let (runtime, events) = (&self.runtime, &mut self.events);
        let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await });
        next.expect("an event comes in time").expect("the transport lives")
    }

    /// The first event for which `wanted` has an answer; others before it are passed over.
    pub(super) fn until<T>(&mut self, mut wanted: impl FnMut(TransportEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next()) {
                return found;
            }
        }
    }

    pub(super) fn connected(&mut self) -> PeerId {
        self.until(|event| match event {
            TransportEvent::Connected { peer, .. } => Some(peer),
            _ => None,
        })
    }

    pub(super) fn refused(&mut self) -> String {
        self.until(|event| match event {
            TransportEvent::Refused { why, .. } => Some(why),
            TransportEvent::Connected { peer, .. } => panic!("{peer} was accepted"),
            _ => None,
        })
    }

    /// Others that were refused before may have dialled again.
    pub(super) fn refused_of(&mut self, dialler: &Self) -> String {
        let dialler = dialler.addr();
        self.until(|event| match event {
            TransportEvent::Refused { addr, why } if addr == dialler => Some(why),
            TransportEvent::Connected { peer, .. } => panic!("{peer} was accepted"),
            _ => None,
        })
    }

    pub(super) fn dial_failed(&mut self) -> String {
        self.until(|event| match event {
            TransportEvent::DialFailed { why, .. } => Some(why),
            TransportEvent::Connected { peer, .. } => panic!("{peer} was accepted"),
            _ => None,
        })
    }

    pub(super) fn disconnected(&mut self) -> String {
        self.until(|event| match event {
            TransportEvent::Disconnected { why, .. } => Some(why),
            _ => None,
        })
    }

    pub(super) fn received(&mut self) -> (PeerId, Lane, Bytes) {
        self.until(|event| match event {
            TransportEvent::Received { peer, lane, bytes } => Some((peer, lane, bytes)),
            _ => None,
        })
    }

    /// Passes over events until the link in use is one that `dialler` dialled. A link is in use
    /// before its `Connected` is told, so no change is missed between two looks.
    pub(super) fn until_linked_by(&mut self, dialler: PeerId) {
        while self.transport.peers().iter().all(|view| view.dialled_by != dialler) {
            self.next();
        }
    }

    pub(super) fn crash(self) {
        self.runtime.shutdown_timeout(PATIENCE);
    }
}
