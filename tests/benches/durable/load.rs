//! Clients put on a cluster, and what came of it.
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Measured;
use crate::clients::{self, Ask, Phase, Tally};
use crate::trio::Trio;
use crate::usage::{LOG_WRITER, Usage};

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
    /// Another server led at the end: the figures are of two leaders.
    pub(crate) is_led_by_another: bool,
}

impl Load {
    pub(crate) fn put_on(self, trio: &mut Trio) -> Measured<Outcome> {
        let leader = trio.leader()?;
        let mut pids = trio.pids();
        pids.swap(0, leader);
        let (phase, address) = (Arc::new(Phase::default()), trio.http(leader));
        let (connected, all_connected) = mpsc::channel();
        let clients = {
            let phase = Arc::clone(&phase);
            thread::Builder::new()
                .name("clients".to_owned())
                .spawn(move || clients::run((self.ask, self.clients), address, phase, &connected))
                .map_err(|why| format!("no thread for the clients: {why}"))?
        };
        let observed = match all_connected.recv_timeout(PATIENCE) {
            Ok(()) => self.observe(&pids, &phase),
            Err(_) => Err("the clients are not connected".to_owned()),
        };
        phase.end();
        let tally = clients.join().map_err(|_| "the clients panicked".to_owned())?;
        // If the clients failed they know best why.
        let tally = tally?;
        let (took, servers, clients) = observed?;
        let is_led_by_another = trio.leader()? != leader;
        Ok(Outcome { load: self, took, tally, servers, clients, is_led_by_another })
    }

    fn observe(self, pids: &[u32], phase: &Phase) -> Measured<(Duration, Vec<Usage>, Usage)> {
        let own = std::process::id();
        let look = || -> Measured<(Vec<Usage>, Usage)> {
            let servers = pids.iter().map(|&pid| Usage::of(pid)).collect::<Measured<_>>()?;
            Ok((servers, Usage::of(own)?))
        };
        thread::sleep(self.warm);
        let (servers, clients) = look()?;
        let begun = Instant::now();
        phase.begin_counting();
        thread::sleep(self.counted);
        let took = begun.elapsed();
        phase.end_counting();
        let (servers_after, clients_after) = look()?;
        let used = servers_after.iter().zip(&servers).map(|(after, before)| after.since(before));
        Ok((took, used.collect(), clients_after.since(&clients)))
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

    /// Flushes of the leader's log.
    pub(crate) fn flushes(&self) -> f64 {
        self.servers[0].named(LOG_WRITER).writes as f64
    }

    /// Of one flush of the leader's log, on average.
    pub(crate) fn flushed_bytes(&self) -> f64 {
        self.servers[0].named(LOG_WRITER).written_bytes as f64 / self.flushes().max(1.0)
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
