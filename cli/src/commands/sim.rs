//! `drover sim`: clusters in a simulated world.
use clap::{Args, Subcommand};
use drover_sim::compare::{Compared, Stepped, compare};
use drover_sim::plan::Plan;
use drover_sim::{Options, Replays, plan_of};

use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

mod bench;
mod hunt;
mod marks;
mod watch;

use hunt::SimHuntArgs;
use watch::WatchArgs;

/// What was built, if the build knew.
const COMMIT: &str = match option_env!("DROVER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: u64 = 3_000;

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    #[command(about = "Run one simulated cluster")]
    Run(SimShowArgs),
    #[command(about = "Run many, and stop at the first that breaks a promise")]
    Hunt(SimHuntArgs),
    #[command(about = "Find a smaller plan that breaks the same promise, and print it")]
    Shrink(SimRunArgs),
    #[command(about = "Run one, and step again what each of its agents was told")]
    Replay(SimRunArgs),
    #[command(about = "Run two, and show the first input by which they differ")]
    Compare(SimCompareArgs),
    #[command(about = "List the situations that runs should have been in")]
    Marks(marks::SimMarksArgs),
    #[command(about = "Measure how fast the simulator is")]
    Bench(bench::SimBenchArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SimRunArgs {
    #[arg(value_name = "SEED|PLAN", help = "All chance comes from this number; or a plan file")]
    pub(crate) seed: String,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SimShowArgs {
    #[command(flatten)]
    pub(crate) run: SimRunArgs,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SizeArgs {
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) servers: u32,
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) clients: u32,
    #[arg(long, value_name = "M", default_value_t = 30, help = "Simulated minutes")]
    pub(crate) minutes: u32,
}

#[derive(Args, Debug)]
pub(crate) struct SimCompareArgs {
    #[arg(value_name = "SEED|PLAN", help = "The one run")]
    pub(crate) first: String,
    #[arg(value_name = "SEED|PLAN", help = "The other (default: the same again)")]
    pub(crate) second: Option<String>,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

pub(crate) fn run(command: &SimCommand, terminal: Terminal) -> Ended {
    match command {
        SimCommand::Run(args) => run_one(args, terminal),
        SimCommand::Hunt(args) => hunt::run(args, terminal),
        SimCommand::Shrink(args) => shrink_one(args, terminal),
        SimCommand::Replay(args) => replay_one(args, terminal),
        SimCommand::Compare(args) => compare_two(args, terminal),
        SimCommand::Marks(args) => marks::run(args, terminal),
        SimCommand::Bench(args) => bench::run(args, terminal),
    }
}

fn run_one(SimShowArgs { run: args, watch }: &SimShowArgs, terminal: Terminal) -> Ended {
    let options = options_of(&args.size);
    let plan = args.plan(&options)?;
    terminal.line(&format!("seed {}, commit {COMMIT}", plan.seed));
    let report = if watch.wants_ladder() {
        let (report, ladder) = drover_sim::watch_plan(&plan, &options);
        watch.show((&report, &ladder), &plan, terminal)?;
        report
    } else {
        drover_sim::run_plan(&plan, &options)
    };
    terminal.line(&format!("{report}\n{}", report.counters));
    terminal.line(&format!("seed {}, commit {COMMIT}", plan.seed));
    Ok(if report.failure.is_some() { Exit::Failed } else { Exit::Done })
}

/// A plan file on standard output: to be kept, and run with `sim run`.
fn shrink_one(args: &SimRunArgs, terminal: Terminal) -> Ended {
    let options = options_of(&args.size);
    let plan = args.plan(&options)?;
    match drover_sim::shrink(&plan, &options, SHRINK_RUNS_MAX) {
        Some(smaller) => {
            terminal.line(&smaller.to_string());
            Ok(Exit::Done)
        }
        None => Err(Failure::new("this run breaks no promise: there is nothing to shrink")),
    }
}

/// Every agent of the run is made again from what it was told.
fn replay_one(args: &SimRunArgs, terminal: Terminal) -> Ended {
    let options = Options { replays: Replays::Yes, ..options_of(&args.size) };
    let report = drover_sim::run_plan(&args.plan(&options)?, &options);
    terminal.line(&report.to_string());
    if report.failure.is_some() {
        return Ok(Exit::Failed);
    }
    terminal.line("every agent is what it becomes again from its inputs");
    Ok(Exit::Done)
}

/// Exit code 1: they differ.
fn compare_two(args: &SimCompareArgs, terminal: Terminal) -> Ended {
    let options = options_of(&args.size);
    let first = plan_named(&args.first, &options)?;
    let second = plan_named(args.second.as_ref().unwrap_or(&args.first), &options)?;
    match compare(&first, &second, &options) {
        Compared::Alike { inputs } => {
            terminal.line(&format!("one run: all {inputs} inputs are alike"));
            Ok(Exit::Done)
        }
        Compared::Differ { inputs, first, second } => {
            terminal.line(&format!("alike for {inputs} inputs, then"));
            for (name, stepped) in [("first", first), ("second", second)] {
                let told = stepped.map_or_else(|| "it is over".into(), |stepped| told_of(&stepped));
                terminal.line(&format!("{name:>8}: {told}"));
            }
            Ok(Exit::Failed)
        }
    }
}

fn told_of(Stepped { at, host, event, agent }: &Stepped) -> String {
    let event: String = event.chars().take(300).collect();
    format!("{at} {host} takes {event}\n          and is {agent}")
}

impl SimRunArgs {
    fn plan(&self, options: &Options) -> Result<Plan, Failure> {
        plan_named(&self.seed, options)
    }
}

/// What is to be run: the plan of a seed, or one that was written down.
fn plan_named(name: &str, options: &Options) -> Result<Plan, Failure> {
    if let Ok(seed) = name.parse() {
        return Ok(plan_of(seed, options));
    }
    let text = std::fs::read_to_string(name).map_err(|fault| {
        Failure::new(format!("{name:?} is neither a seed nor a plan file: {fault}"))
    })?;
    Plan::parse(&text).map_err(|why| Failure::new(format!("{name} is not a plan file: {why}")))
}

fn options_of(size: &SizeArgs) -> Options {
    Options {
        servers: u64::from(size.servers),
        clients: u64::from(size.clients),
        minutes: u64::from(size.minutes),
        ..Options::default()
    }
}
