//! Clients put on a cluster, and what came of it.
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Measured;
use crate::clients::{self, Ask, Phase, Tally};
use crate::http::Http;
use crate::servers::Servers;
use crate::usage::Usage;

/// For all clients to be connected.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many clients ask for what, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) ask: Ask,
    pub(crate) clients: usize,
    /// Before anything is counted.
    pub(crate) warm: Duration,
    pub(crate) counted: Duration,
}

/// What was seen while answers were counted.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) load: Load,
    pub(crate) took: Duration,
    pub(crate) tally: Tally,
    /// The leader, then the others.
    pub(crate) servers: Vec<Usage>,
    pub(crate) clients: Usage,
    /// Blocks that the leader wrote to its log, each followed by a flush, and their bytes.
    pub(crate) log_blocks: f64,
    pub(crate) log_bytes: f64,
    /// Another server led at the end: the figures are of two leaders.
    pub(crate) is_led_by_another: bool,
}

impl Load {
    pub(crate) fn put_on(self, servers: &mut Servers) -> Measured<Outcome> {
        let leader = servers.leader()?;
        let mut pids = servers.pids();
        pids.swap(0, leader);
        let (phase, address) = (Arc::new(Phase::default()), servers.http(leader));
        let (connected, all_connected) = mpsc::channel();
        let clients = {
            let phase = Arc::clone(&phase);
            thread::Builder::new()
                .name("clients".to_owned())
                .spawn(move || clients::run((self.ask, self.clients), address, phase, &connected))
                .map_err(|why| format!("no thread for the clients: {why}"))?
        };
        let observed = match all_connected.recv_timeout(PATIENCE) {
            Ok(()) => self.observe(&pids, address, &phase),
            Err(_) => Err("the clients are not connected".to_owned()),
        };
        phase.end();
        let tally = clients.join().map_err(|_| "the clients panicked".to_owned())?;
        // If the clients failed they know best why.
        let tally = tally?;
        let (took, before, after) = observed?;
        let used = after.servers.iter().zip(&before.servers);
        Ok(Outcome {
            load: self,
            took,
            tally,
            servers: used.map(|(after, before)| after.since(before)).collect(),
            clients: after.clients.since(&before.clients),
            log_blocks: after.log_blocks - before.log_blocks,
            log_bytes: after.log_bytes - before.log_bytes,
            is_led_by_another: servers.leader()? != leader,
        })
    }

    /// Lets the clients ask; answers how long they were counted, and what was seen at both ends.
    fn observe(
        self,
        pids: &[u32],
        leader: SocketAddr,
        phase: &Phase,
    ) -> Measured<(Duration, Seen, Seen)> {
        let mut http = Http::connect(leader)?;
        let mut look = || Seen::now(pids, &mut http);
        thread::sleep(self.warm);
        let before = look()?;
        let begun = Instant::now();
        phase.begin_counting();
        thread::sleep(self.counted);
        let took = begun.elapsed();
        phase.end_counting();
        Ok((took, before, look()?))
    }
}

/// What there was to see at one moment.
struct Seen {
    /// The leader, then the others.
    servers: Vec<Usage>,
    clients: Usage,
    log_blocks: f64,
    log_bytes: f64,
}

impl Seen {
    fn now(pids: &[u32], leader: &mut Http) -> Measured<Self> {
        let metrics = leader.read("/v1/metrics")?.body;
        let gauges = metrics["Gauges"].as_array().ok_or("no gauges in /v1/metrics")?;
        let gauge = |name: &str| {
            let found = gauges.iter().find(|gauge| gauge["Name"] == name);
            found.and_then(|gauge| gauge["Value"].as_f64()).ok_or(format!("no gauge {name}"))
        };
        Ok(Self {
            servers: pids.iter().map(|&pid| Usage::of(pid)).collect::<Measured<_>>()?,
            clients: Usage::of(std::process::id())?,
            log_blocks: gauge("nomad.wal.blocks_written")?,
            log_bytes: gauge("nomad.wal.bytes_written")?,
        })
    }
}

impl Outcome {
    pub(crate) fn answered(&self) -> f64 {
        // At least one, as it is divided by.
        self.tally.answered_ns.len().max(1) as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.tally.answered_ns.len() as f64 / self.took.as_secs_f64()
    }

    /// Of one flush of the leader's log, on average.
    pub(crate) fn flushed_bytes(&self) -> f64 {
        self.log_bytes / self.log_blocks.max(1.0)
    }

    /// Of the three servers together, in microseconds for each answer.
    pub(crate) fn servers_us(&self) -> f64 {
        let ns: u64 = self.servers.iter().map(Usage::cpu_ns).sum();
        ns as f64 / 1e3 / self.answered()
    }

    pub(crate) fn clients_us(&self) -> f64 {
        self.clients.cpu_ns() as f64 / 1e3 / self.answered()
    }
}
