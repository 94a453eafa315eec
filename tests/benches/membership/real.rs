//! Real servers over time: who asks for votes without need, and what a quiet cluster says.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use drover_sim::plan::draw::Size;
use drover_sim::plan::{Act, Line, Plan, Who};
use drover_sim::{Options, Replays, run_plan};

use crate::Measured;
use crate::program::Program;
use crate::servers::Servers;

/// Between two servers that stand still: each of three does every ten seconds.
const STALL_EVERY_MS: u64 = 3_333;

fn begin(count: usize) -> Measured<Servers> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    Servers::start(&Program::find()?, folder, count, "")
}

/// Of three servers, while two threads of this process do nothing but count.
pub(crate) fn elections_beside_busy_loops(minutes: u64) -> Measured<String> {
    let servers = begin(3)?;
    let before = servers.gauge(0, "raft.term")?;
    let is_over = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..2).map(|_| thread::spawn(spin(Arc::clone(&is_over)))).collect();
    thread::sleep(Duration::from_secs(60 * minutes));
    is_over.store(true, Ordering::Relaxed);
    for busy in loops {
        busy.join().map_err(|_| "a busy loop has failed")?;
    }
    let after = servers.gauge(0, "raft.term")?;
    Ok(format!("{} in {minutes} min", after - before))
}

fn spin(is_over: Arc<AtomicBool>) -> impl FnOnce() -> u64 {
    move || {
        let mut turns = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        turns
    }
}

/// In the simulator: after the first, nobody need be elected.
pub(crate) fn elections_in_stalls(minutes: u64) -> Measured<String> {
    let fault_ms = minutes * 60_000;
    let mut plan = Plan::calm(1, Size { servers: 3, clients: 5, fault_ms });
    plan.lines = (1..=fault_ms / STALL_EVERY_MS)
        .map(|nth| {
            let who = Who::Server(1 + nth % 3);
            Line { at_ms: 10_000 + nth * STALL_EVERY_MS, act: Act::Pause { who, for_ms: 200 } }
        })
        .filter(|line| line.at_ms < fault_ms)
        .collect();
    let stalls = plan.lines.len();
    let report = run_plan(&plan, &Options { minutes, replays: Replays::No, ..Options::default() });
    match report.failure {
        Some(failure) => Err(failure.to_string()),
        None => Ok(format!("{} in {stalls} stalls", report.counters.leader_changes)),
    }
}

/// Nobody asks for anything.
pub(crate) fn quic_bytes_at_rest(count: usize, secs: u64) -> Measured<String> {
    let servers = begin(count)?;
    // Whoever has just met still exchanges all it knows.
    thread::sleep(Duration::from_secs(20));
    let sent = || -> Measured<u64> {
        (0..count).map(|server| servers.gauge(server, "transport.udp_bytes_sent")).sum()
    };
    let (before, from) = (sent()?, Instant::now());
    thread::sleep(Duration::from_secs(secs));
    let bytes = sent()? - before;
    let took_ms = u64::try_from(from.elapsed().as_millis()).map_err(|why| why.to_string())?;
    let per_second =
        bytes * 1_000 / took_ms / u64::try_from(count).map_err(|why| why.to_string())?;
    Ok(format!("{per_second} B/s"))
}
