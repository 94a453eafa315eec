//! Commits through the real shell: three servers of the release binary on one machine, HTTP in front,
//! QUIC between them, their logs on a real disk.
//!
//!   cargo bench -p drover-tests --bench durable                     everything, about two minutes
//!   cargo bench -p drover-tests --bench durable -- light recorder   only these
//!   cargo bench -p drover-tests --bench durable -- --quick          a few seconds: does it work
//!
//! | variable | |
//! |---|---|
//! | `DROVER_BENCH_BINARY` | measure this program instead of building one |
//! | `DROVER_BENCH_DIR` | data directories go below it; else below cargo's target directory |
//!
//! A client is a kept connection to the leader that asks for one thing at a time, so a figure for 64
//! clients is one for 64 requests under way. What they ask for:
//!
//! - `light`: `PUT /v1/system/gc`, while there is nothing to collect. It is the cheapest write of the
//!   API: a small entry that touches no row, makes no evaluation and needs no node, and takes every
//!   step of a commit all the same. A node's eligibility would write a row, and needs a client agent
//!   on the same cores.
//! - `job`: `PUT /v1/jobs` with a job of a new name. Nothing can run it, as there is no node. It is two
//!   entries, the job and the plan that blocks its evaluation, and the scheduler's work; the second
//!   entry is not waited for.
//! - `no write`: `GET /v1/regions`, which neither the core nor the disk hears of: what HTTP and these
//!   clients cost by themselves.
//!
//! What the figures mean:
//! - a write is counted when its answer is 200; any other answer is counted beside it;
//! - `writes a flush` are acknowledged writes by flushes of the leader's log, which are its blocks: the
//!   leader counts those itself (`/v1/metrics`);
//! - CPU is what the system says that the threads of all three servers ran, by acknowledged writes.
//!   The clients run on the same cores, and their own share stands beside it;
//! - a `wake` is a thread that waited and goes on: each costs a switch, and on the way of a write some
//!   of the time that the write takes;
//! - three servers share one disk here, and flush at the same time: the disk is measured alone and
//!   with three writers, before and after everything else.
//!
//! Invariants
//! - a figure comes from outside of the process that it is about, but for the count of its blocks;
//! - every process that is started here is ended here, also when a measurement fails;
//! - nothing is asserted about time: who reads the figures judges them.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[path = "product/agents.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod agents;
#[path = "durable/clients.rs"]
mod clients;
#[path = "durable/disk.rs"]
mod disk;
#[path = "product/http.rs"]
mod http;
#[path = "durable/load.rs"]
mod load;
#[path = "product/machine.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod machine;
#[path = "product/program.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod program;
#[path = "product/servers.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod servers;
#[path = "durable/table.rs"]
mod table;
#[path = "durable/usage.rs"]
mod usage;

use clients::Ask;
use disk::Disk;
use load::{Load, Outcome};
use program::Program;
use servers::Servers;

/// What may go wrong is said in words and ends the run.
type Measured<T> = Result<T, String>;

/// How long things take.
struct Pace {
    /// Before anything is counted: connections, the log's first segments, whatever is new.
    warm: Duration,
    light: Duration,
    job: Duration,
    no_write: Duration,
    recorder: Duration,
    /// Of measurements with the recorder and without it.
    pairs: usize,
    /// By one writer, before and after.
    flushes: usize,
}

const DEFAULT: Pace = Pace {
    warm: Duration::from_secs(2),
    light: Duration::from_secs(8),
    job: Duration::from_secs(4),
    no_write: Duration::from_secs(2),
    recorder: Duration::from_secs(3),
    pairs: 4,
    flushes: 1_000,
};
const QUICK: Pace = Pace {
    warm: Duration::from_millis(300),
    light: Duration::from_millis(700),
    job: Duration::from_millis(500),
    no_write: Duration::from_millis(300),
    recorder: Duration::from_millis(500),
    pairs: 1,
    flushes: 100,
};

const CLIENTS: [usize; 3] = [1, 64, 1_024];
/// One, whose every write wakes every thread, and enough to fill the log's frames.
const RECORDER_CLIENTS: [usize; 2] = [1, 64];
const NO_RECORDER: &str = "recorder {\n  enabled = false\n}\n";

/// What can be asked for by name.
const PARTS: [&str; 4] = ["light", "job", "no-write", "recorder"];

fn main() -> ExitCode {
    let (mut pace, mut asked) = (&DEFAULT, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => pace = &QUICK,
            // Cargo itself adds it.
            "--bench" => (),
            part if PARTS.contains(&part) => asked.push(argument),
            other => {
                println!("there is no {other:?}; there are: --quick, {}", PARTS.join(", "));
                return ExitCode::FAILURE;
            }
        }
    }
    if asked.is_empty() {
        asked = PARTS.map(str::to_owned).into();
    }
    match Program::find().and_then(|program| run(&program, pace, &asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("failed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &Program, pace: &Pace, asked: &[String]) -> Measured<()> {
    let folder = disk::folder()?;
    println!("{}", machine::describe(program));
    println!("data directories in {} ({})\n", folder.display(), disk::file_system(&folder)?);
    let mut disk = Disk::default();
    disk.measure(&folder, pace.flushes)?;
    let ladders = ladders(program, &folder, pace, asked)?;
    let pairs = match asked.iter().any(|part| part == "recorder") {
        true => recorder_pairs(program, &folder, pace)?,
        false => Vec::new(),
    };
    disk.measure(&folder, pace.flushes)?;

    let light = ladders.iter().flatten().filter(|outcome| outcome.load.ask == Ask::Light);
    let light: Vec<&Outcome> = light.collect();
    table::print_limits(&disk, &light);
    table::print_loads(&ladders);
    table::print_threads(&light);
    table::print_recorder(&pairs);
    Ok(())
}

/// What was asked for, each with ever more clients. Jobs come last: the light writes would have them
/// to look through.
fn ladders(
    program: &Program,
    folder: &Path,
    pace: &Pace,
    asked: &[String],
) -> Measured<Vec<Vec<Outcome>>> {
    let mut servers = Servers::start(program, disk::scratch(folder)?, 3, "")?;
    let mut ladder = |(part, ask, counted)| -> Measured<Vec<Outcome>> {
        if asked.iter().all(|name| name != part) {
            return Ok(Vec::new());
        }
        let load = |&clients| Load { ask, clients, warm: pace.warm, counted };
        CLIENTS.iter().map(|clients| load(clients).put_on(&mut servers)).collect()
    };
    let parts = [
        ("light", Ask::Light, pace.light),
        ("no-write", Ask::NoWrite, pace.no_write),
        ("job", Ask::Job, pace.job),
    ];
    parts.into_iter().map(&mut ladder).collect()
}

/// Two clusters side by side, one with the recorder and one without it, under load in turn. What else
/// happens on the machine happens to both, and who goes first changes.
fn recorder_pairs(program: &Program, folder: &Path, pace: &Pace) -> Measured<Vec<[Outcome; 2]>> {
    let mut on = Servers::start(program, disk::scratch(folder)?, 3, "")?;
    let mut off = Servers::start(program, disk::scratch(folder)?, 3, NO_RECORDER)?;
    let mut pairs = Vec::new();
    for clients in RECORDER_CLIENTS {
        for pair in 0..pace.pairs {
            let warm = if pair == 0 { pace.warm } else { pace.warm / 4 };
            let load = Load { ask: Ask::Light, clients, warm, counted: pace.recorder };
            pairs.push(if pair % 2 == 0 {
                let first = load.put_on(&mut on)?;
                [first, load.put_on(&mut off)?]
            } else {
                let first = load.put_on(&mut off)?;
                [load.put_on(&mut on)?, first]
            });
        }
    }
    Ok(pairs)
}
