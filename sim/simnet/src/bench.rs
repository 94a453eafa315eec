//! How fast the real shell is played: rows as `drover sim bench` prints them, for what it cannot measure.
use std::fs;

use drover_sim::plan::Plan;
use drover_sim::plan::draw::Size;
use drover_simnet::scenario::{Report, play};
use drover_simnet::substrate::Ground;

use crate::{cpu_ns, say, show};

/// What is played for each row: servers alone, and with a client that runs jobs.
const SIZE: Size = Size { servers: 3, clients: 0, fault_ms: 60_000 };
const ROWS: [(&str, Ground, u64, u64); 4] = [
    ("real shell on simnet, 3 nodes, faults and power losses", Ground::Simnet, 0, 1_000),
    ("the same and a client that runs jobs", Ground::Simnet, 1, 1_000),
    ("real shell on turmoil, 3 nodes", Ground::Turmoil, 0, 200),
    ("the same and a client that runs jobs", Ground::Turmoil, 1, 200),
];

/// One run as it was measured.
struct Run {
    simulated_ns: u64,
    spent_ns: u64,
    inputs: u64,
}

/// Plays `seeds` seeds for each row. Answers whether everything held.
pub(crate) fn run(seeds: u64) -> bool {
    say(&format!(
        "one core; medians over seeds\n\n{:<56}{:>6}{:>12}{:>14}{:>12}{:>10}{:>8}",
        "shell", "seeds", "CPU s/seed", "x real time", "inputs/s", "goal", "MiB"
    ));
    ROWS.iter().all(|&(what, ground, clients, goal)| {
        let plans = (0..seeds.max(1)).map(|seed| plan_of(seed, Size { clients, ..SIZE }));
        let runs =
            plans.map(|plan| measure(&plan, ground)).collect::<Result<Vec<Run>, Box<Report>>>();
        match runs {
            Ok(runs) => say(&row(what, &runs, goal)),
            Err(failed) => return show(&failed, 0),
        }
        true
    })
}

/// The plan that is drawn for `seed`, in which every server loses power as well.
fn plan_of(seed: u64, size: Size) -> Plan {
    let losses = (1..=size.servers)
        .map(|server| format!("{}.000s power s{server} for 2.000s\n", 10 + server * 12));
    let text = Plan::draw(seed, size).to_string() + &losses.collect::<String>();
    Plan::parse(&text).expect("invariant: it is a plan")
}

fn measure(plan: &Plan, ground: Ground) -> Result<Run, Box<Report>> {
    let before_ns = cpu_ns();
    let report = play(plan, ground, 0);
    let spent_ns = (cpu_ns() - before_ns).max(1);
    if report.failure.is_some() {
        return Err(Box::new(report));
    }
    Ok(Run { simulated_ns: report.lasted.ns, spent_ns, inputs: report.steps })
}

fn row(what: &str, runs: &[Run], goal: u64) -> String {
    let spent_ms = median(runs, |run| run.spent_ns / 1_000_000);
    format!(
        "{what:<56}{:>6}{:>8}.{:03}{:>14}{:>12}{goal:>10}{:>8}",
        runs.len(),
        spent_ms / 1_000,
        spent_ms % 1_000,
        median(runs, |run| run.simulated_ns / run.spent_ns),
        median(runs, |run| run.inputs * 1_000_000 / (run.spent_ns / 1_000).max(1)),
        peak_mib().map_or_else(|| "-".to_owned(), |mib| mib.to_string()),
    )
}

fn median(runs: &[Run], of: impl Fn(&Run) -> u64) -> u64 {
    let mut all: Vec<u64> = runs.iter().map(of).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The most memory that this process has held so far; it only grows from row to row.
fn peak_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}
