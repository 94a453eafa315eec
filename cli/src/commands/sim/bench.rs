//! `drover sim bench`: simulated time, inputs and seeds for each second of one core.
use std::time::Duration;

use clap::Args;
use drover_sim::plan::Plan;
use drover_sim::plan::draw::Size;
use drover_sim::run::Report;
use drover_sim::{Options, plan_of, run_plan};
use rustix::time::{ClockId, clock_gettime};

use super::{COMMIT, SizeArgs, options_of};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Jobs of a lightly loaded cluster.
const LIGHT_JOBS: u64 = 6;

#[derive(Args, Debug)]
pub(crate) struct SimBenchArgs {
    #[arg(long, value_name = "N", default_value_t = 8, help = "Seeds of the standard hunt")]
    pub(crate) seeds: u64,
    #[arg(long, help = "Only the standard hunt")]
    pub(crate) quick: bool,
}

/// What was measured, and what is wanted.
struct Row {
    what: &'static str,
    runs: u64,
    inputs: u64,
    simulated: Duration,
    spent: Duration,
    goal: f64,
}

pub(super) fn run(args: &SimBenchArgs, terminal: Terminal) -> Ended {
    terminal.line(&format!("one core, commit {COMMIT}\n"));
    terminal.line(&format!(
        "{:<46}{:>6}{:>12}{:>14}{:>12}{:>10}{:>8}",
        "world", "seeds", "CPU s/seed", "x real time", "inputs/s", "goal", "MiB"
    ));
    let hunt = SizeArgs { servers: 5, clients: 20, minutes: 30 };
    let hunt = options_of(&hunt);
    let plans = (0..args.seeds.max(1)).map(|seed| plan_of(seed, &hunt)).collect();
    show(&measure("5 servers, 20 clients, standard hunt", plans, 10_000.0)?, terminal);
    if !args.quick {
        let light = [
            ("3 servers, 1,000 clients, light load", 3, 1_000, 10, 500.0),
            ("5 servers, 10,000 clients, light load", 5, 10_000, 5, 50.0),
        ];
        for (what, servers, clients, minutes, goal) in light {
            let plan = light_plan(Size { servers, clients, fault_ms: 60_000 * minutes })?;
            show(&measure(what, vec![plan], goal)?, terminal);
        }
    }
    Ok(Exit::Done)
}

/// Nothing breaks, and there are a few jobs.
fn light_plan(size: Size) -> Result<Plan, Failure> {
    let plan = Plan::calm(1, size).to_string();
    let jobs = (1..=LIGHT_JOBS).map(|job| {
        let count = 1 + size.clients / 20;
        let ask = format!("job{job} service anywhere count={count} tasks=1 cpu=100 memory=64");
        format!("{}.000s register {ask} ports=0 fixed=0 mark=1\n", 20 + job)
    });
    let text = plan + &jobs.collect::<String>();
    Plan::parse(&text).map_err(|why| Failure::new(format!("a bug in this program: {why}")))
}

fn measure(what: &'static str, plans: Vec<Plan>, goal: f64) -> Result<Row, Failure> {
    let runs = plans.len() as u64;
    let before = cpu_time();
    let reports: Vec<Report> =
        plans.iter().map(|plan| run_plan(plan, &Options::default())).collect();
    let spent = cpu_time().saturating_sub(before);
    if let Some(failed) = reports.iter().find(|report| report.failure.is_some()) {
        return Err(Failure::new(format!("what is measured must be right: {failed}")));
    }
    let simulated_ms = reports.iter().map(|report| report.lasted.ms()).sum();
    let inputs = reports.iter().map(|report| report.steps).sum();
    Ok(Row { what, runs, inputs, simulated: Duration::from_millis(simulated_ms), spent, goal })
}

fn show(row: &Row, terminal: Terminal) {
    let seconds = row.spent.as_secs_f64().max(1e-9);
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    terminal.line(&format!(
        "{:<46}{:>6}{:>12.3}{:>14.0}{:>12.0}{:>10.0}{:>8}",
        row.what,
        row.runs,
        seconds / number(row.runs),
        row.simulated.as_secs_f64() / seconds,
        number(row.inputs) / seconds,
        row.goal,
        peak_mib().map_or_else(|| "-".to_owned(), |mib| mib.to_string()),
    ));
}

/// What this process has spent on its cores.
fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(spent.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), nanoseconds)
}

/// The most memory that this process has held so far; it only grows from row to row.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}
