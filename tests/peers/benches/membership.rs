//! Drover's gossip beside foca's, in the same scenes on the same simulated network, in one run:
//!
//!   cargo bench --manifest-path tests/peers/Cargo.toml --bench membership
//!
//! What the scenes are is said in `tests/benches/membership`, whose parts these are.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

#[path = "../../benches/membership/ours.rs"]
mod ours;
#[path = "../../benches/membership/scenes.rs"]
#[expect(dead_code, reason = "the bench of ours alone uses the rest")]
mod scenes;
#[path = "membership/theirs.rs"]
mod theirs;
#[path = "../../benches/membership/world.rs"]
mod world;

use ours::Ours;
use scenes::{Fault, seconds};
use theirs::Theirs;
use world::{Pause, Protocol};

/// Of the cells of Lifeguard's grid.
const PAUSES_MS: [u64; 3] = [512, 4_096, 32_768];
const RUNS_MS: [u64; 2] = [64, 1_024];

fn main() {
    let (ours, theirs) = (figures::<Ours>(), figures::<Theirs>());
    println!("| | Drover | foca 2.0.0 |");
    println!("|---|---|---|");
    for ((what, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
        println!("| {what} | {ours} | {theirs} |");
    }
}

fn figures<P: Protocol>() -> Vec<(&'static str, String)> {
    let mut churned = scenes::churn::<P>(128, 60, 1);
    let idle = scenes::steady::<P>(1_000, 60, 0, 1);
    let lossy = scenes::steady::<P>(128, 300, 250, 1);
    let flip = scenes::faulty::<P>(1_000, 10, Fault::FlipFlop, 300, 1);
    let mute = scenes::faulty::<P>(1_000, 10, Fault::Egress(800), 400, 1);
    let split = scenes::partition::<P>(128, 64, 600, 1);
    let booted = scenes::bootstrap::<P>(1_000, 1);
    let or_never = |ms: Option<u64>| ms.map_or("never".to_owned(), seconds);
    let faulty =
        |faulty: &scenes::Faulty| format!("{}; {} B/s", faulty.healthy_evicted, faulty.bytes);
    vec![
        (
            "crash of one of 128: first detection p50 / p99, s; wrong",
            format!("{}; {}", churned.first.shown(&[500, 990]), churned.wrong),
        ),
        ("known to all after that, p99 / max, s", churned.full.shown(&[990, 1_000])),
        (
            "join known to all, p99 / max, s; never to all, of 60 crashes and 60 joins",
            format!("{}; {}", churned.known.shown(&[990, 1_000]), churned.unseen),
        ),
        (
            "idle at 1,000: B/s per member; CPU per member and second, network included, us",
            format!("{}; {}", idle.bytes + idle.stream_bytes, idle.cpu_ns / 1_000),
        ),
        (
            "25 % loss, 128, 300 s: false verdicts; B/s per member",
            format!("{}; {}", lossy.failed, lossy.bytes + lossy.stream_bytes),
        ),
        ("flip-flop, 10 of 1,000, 300 s: healthy evicted", faulty(&flip)),
        ("80 % lost of what 10 of 1,000 send, 400 s: healthy evicted", faulty(&mute)),
        ("partition 64/64 for 600 s: merged after healing, s", or_never(split.merged_ms)),
        ("bootstrap of 1,000, s", or_never(booted.all_ms)),
        ("36 cells of Lifeguard's grid, half of them stopped: wrong / at healthy", grid::<P>()),
    ]
}

fn grid<P: Protocol>() -> String {
    let (mut wrong, mut at_healthy) = (0, 0);
    for sick in [1, 16, 32] {
        for pause_ms in PAUSES_MS {
            for run_ms in RUNS_MS {
                for pause in [Pause::Stall, Pause::Stop] {
                    let cell = scenes::cell::<P>(sick, pause_ms, run_ms, pause, 1);
                    wrong += cell.wrong;
                    at_healthy += cell.wrong_at_healthy;
                }
            }
        }
    }
    format!("{wrong} / {at_healthy}")
}
