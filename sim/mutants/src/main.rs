//! Planted bugs, each hunted until a checker fires: `cargo run --profile sim --manifest-path
//! sim/mutants/Cargo.toml`. A bug that survives its seeds is a hole in the simulator.
//!
//! Which bug is planted is decided when the core is compiled, so the program builds and runs itself
//! once per bug.
//!
//! Invariants
//! - without a planted bug nothing is hunted here.
use std::panic;
use std::process::{Command, ExitCode};

use drover_sim::{Options, Times, hunt};

/// Every planted bug.
const MUTANTS: [&str; 5] = [
    "mutant_vote_before_persist",
    "mutant_commit_old_term",
    "mutant_usage_not_released",
    "mutant_tombstone_ignored",
    "mutant_leader_counts_early",
];

/// The seeds within which each must be found.
const SEEDS: u64 = 50;

fn planted() -> Option<&'static str> {
    let is_planted = [
        cfg!(feature = "mutant_vote_before_persist"),
        cfg!(feature = "mutant_commit_old_term"),
        cfg!(feature = "mutant_usage_not_released"),
        cfg!(feature = "mutant_tombstone_ignored"),
        cfg!(feature = "mutant_leader_counts_early"),
    ];
    let planted = MUTANTS.iter().zip(is_planted).find(|(_, planted)| *planted);
    planted.map(|(mutant, _)| *mutant)
}

fn main() -> ExitCode {
    let survivors = match planted() {
        Some(mutant) => usize::from(!is_found(mutant)),
        None => MUTANTS.iter().filter(|mutant| !build_and_hunt(mutant)).count(),
    };
    if survivors == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{survivors} of the planted bugs survived");
    ExitCode::FAILURE
}

/// This program again, with the bug compiled in.
fn build_and_hunt(mutant: &str) -> bool {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let run = Command::new(cargo)
        .args(["run", "--quiet", "--profile", "sim", "--features", mutant, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .status();
    run.is_ok_and(|status| status.success())
}

fn is_found(mutant: &str) -> bool {
    // An assertion of the core is a checker too: its panic is caught and told as a failure.
    panic::set_hook(Box::new(|_| ()));
    let options = Options { minutes: 2, check_every: 50, ladder_lines: 0, ..Options::default() };
    let found = hunt(0..SEEDS, Times::Once, &options, |report| report.failure.is_none());
    for report in &found.failures {
        if let Some(failure) = &report.failure {
            let (seed, checker, at) = (report.seed, failure.checker, failure.at);
            let first = failure.message.lines().next().unwrap_or_default();
            println!("{mutant}  seed {seed}  {checker} at {at}: {first}");
        }
    }
    if found.failures.is_empty() {
        println!("{mutant}  survived {SEEDS} seeds");
    }
    !found.failures.is_empty()
}
