//! `drover sim`: clusters in a simulated world.
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use drover_sim::plan::Plan;
use drover_sim::{Options, Times, plan_of};

use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::terminal::Terminal;

mod watch;

use watch::WatchArgs;

/// What was built, if the build knew.
const COMMIT: &str = match option_env!("DROVER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: u64 = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    #[command(about = "Run one simulated cluster")]
    Run(SimShowArgs),
    #[command(about = "Run many, and stop at the first that breaks a promise")]
    Hunt(SimHuntArgs),
    #[command(about = "Find a smaller plan that breaks the same promise, and print it")]
    Shrink(SimRunArgs),
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
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) servers: u32,
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) clients: u32,
    #[arg(long, value_name = "M", default_value_t = 30, help = "Simulated minutes")]
    pub(crate) minutes: u32,
}

#[derive(Args, Debug)]
pub(crate) struct SimHuntArgs {
    #[arg(long, value_name = "A..B", value_parser = seeds, help = "Only these seeds, B excluded")]
    pub(crate) seeds: Option<Range<u64>>,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    #[arg(long, value_name = "M", help = "Stop after this many real minutes")]
    pub(crate) minutes_max: Option<u32>,
    #[arg(long, help = "Run each seed twice, and compare the digests")]
    pub(crate) twice: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write it as A..B, for example 0..1000")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("there is no seed in it".to_owned()) } else { Ok(range) }
}

pub(crate) fn run(command: &SimCommand, terminal: Terminal) -> Ended {
    match command {
        SimCommand::Run(args) => run_one(args, terminal),
        SimCommand::Hunt(args) => run_many(args, terminal),
        SimCommand::Shrink(args) => shrink_one(args, terminal),
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

fn run_many(args: &SimHuntArgs, terminal: Terminal) -> Ended {
    let options = options_of(&args.size);
    let seeds = args.seeds.clone().unwrap_or(0..u64::MAX);
    let (first, began) = (seeds.start, Instant::now());
    let patience = args.minutes_max.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
    let times = if args.twice { Times::Twice } else { Times::Once };
    terminal.line(&format!("hunting from seed {first}, commit {COMMIT}"));
    let hunt = drover_sim::hunt(seeds, times, &options, |report| {
        if report.failure.is_some() {
            terminal.line(&report.to_string());
        }
        report.failure.is_none() && patience.is_none_or(|patience| began.elapsed() < patience)
    });
    let seconds = began.elapsed().as_secs_f64();
    let per_minute = f64::from(u32::try_from(hunt.runs).unwrap_or(u32::MAX)) * 60.0 / seconds;
    terminal.line(&hunt.counters.to_string());
    terminal.line(&format!("{} seeds in {seconds:.1} s: {per_minute:.0} a minute", hunt.runs));
    terminal.line(&format!("hunted from seed {first}, commit {COMMIT}"));
    Ok(if hunt.failures.is_empty() { Exit::Done } else { Exit::Failed })
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

impl SimRunArgs {
    /// What is to be run: the plan of a seed, or one that was written down.
    fn plan(&self, options: &Options) -> Result<Plan, Failure> {
        if let Ok(seed) = self.seed.parse() {
            return Ok(plan_of(seed, options));
        }
        let path = &self.seed;
        let text = std::fs::read_to_string(path).map_err(|fault| {
            Failure::new(format!("{path:?} is neither a seed nor a plan file: {fault}"))
        })?;
        Plan::parse(&text).map_err(|why| Failure::new(format!("{path} is not a plan file: {why}")))
    }
}

fn options_of(size: &SizeArgs) -> Options {
    Options {
        servers: u64::from(size.servers),
        clients: u64::from(size.clients),
        minutes: u64::from(size.minutes),
        ..Options::default()
    }
}
