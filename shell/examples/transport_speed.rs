//! Measures the transport between two agents of one process over the loopback: the round trip of a
//! small message on each lane, and messages and bytes per second on the ordered lane.
//!
//! `cargo run --profile sim -p drover-shell --example transport_speed`
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use drover_core::time::WallTime;
use drover_core::types::{ClusterId, Incarnation, ServerId};
use drover_shell::transport::{
    Certificates, Config, HELLO_VERSION, Hello, Lane, PeerId, Transport, TransportEvent,
};
use tokio::sync::mpsc;

const ROUNDS: usize = 5_000;
/// Sent and not yet received: below the bound of the queue, so that nothing is dropped.
const WINDOW_BYTES: usize = 4 << 20;

struct Agent {
    transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime { unix_ms: u64::try_from(since.as_millis()).unwrap_or(0) }
}

fn server(id: u64) -> PeerId {
    PeerId::Server(ServerId(id))
}

impl Agent {
    fn start(id: u64, certificates: &Certificates) -> Result<Self, Box<dyn Error>> {
        let hello = Hello {
            version: HELLO_VERSION,
            agent: server(id),
            cluster: ClusterId(0),
            incarnation: Incarnation(1),
            starts: vec![1],
            name: format!("s{id}"),
            region: "global".to_owned(),
            address: String::new(),
            http_address: String::new(),
        };
        let config = Config::new("127.0.0.1:0".parse()?, hello, id, Arc::new(wall));
        let (sender, events) = mpsc::channel(4_096);
        Ok(Self { transport: Transport::start(config, certificates, sender)?, events })
    }

    async fn connected(&mut self) {
        while let Some(event) = self.events.recv().await {
            if matches!(event, TransportEvent::Connected { .. }) {
                return;
            }
        }
    }

    async fn received(&mut self) -> Bytes {
        loop {
            if let Some(TransportEvent::Received { bytes, .. }) = self.events.recv().await {
                return bytes;
            }
        }
    }
}

async fn round_trips(one: &mut Agent, two: &mut Agent, lane: Lane) -> [Duration; 2] {
    let mut taken = Vec::with_capacity(ROUNDS);
    let message = Bytes::from(vec![1; 128]);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        one.transport.send(server(2), lane, message.clone());
        let bytes = two.received().await;
        two.transport.send(server(1), lane, bytes);
        one.received().await;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    [taken[ROUNDS / 2], taken[ROUNDS * 99 / 100]]
}

async fn stream(one: &Agent, two: &mut Agent, size: usize, messages: usize) -> Duration {
    let message = Bytes::from(vec![1; size]);
    let window = (WINDOW_BYTES / (size + 64)).min(4_000);
    let (mut sent, mut received) = (0, 0);
    let began = Instant::now();
    while received < messages {
        while sent < messages && sent < received + window {
            one.transport.send(server(2), Lane::Ordered, message.clone());
            sent += 1;
        }
        two.received().await;
        received += 1;
    }
    began.elapsed()
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut out = std::io::stdout();
        let certificates = Certificates::ephemeral("global", wall())?;
        let mut one = Agent::start(1, &certificates)?;
        let mut two = Agent::start(2, &certificates)?;
        let began = Instant::now();
        one.transport.dial(&two.transport.local_addr().to_string());
        one.connected().await;
        two.connected().await;
        writeln!(out, "connect                {:>9.0?}", began.elapsed())?;
        for lane in [Lane::Ordered, Lane::Datagram, Lane::Bulk] {
            let [half, most] = round_trips(&mut one, &mut two, lane).await;
            writeln!(out, "round trip {lane:<11?} p50 {half:>9.0?}   p99 {most:>9.0?}")?;
        }
        for (size, messages) in [(128, 200_000), (4_096, 50_000), (262_144, 1_000)] {
            let taken = stream(&one, &mut two, size, messages).await.as_micros().max(1);
            let per_second = messages as u128 * 1_000_000 / taken;
            let mib = (per_second * size as u128) >> 20;
            writeln!(out, "{size:>7} bytes ordered {per_second:>9} messages/s {mib:>6} MiB/s")?;
        }
        writeln!(out, "{:?}", one.transport.counts())?;
        Ok(())
    })
}
