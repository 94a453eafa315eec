//! `drover sim hunt`: many seeds on all cores, what they broke, and what they have tried.
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use drover_sim::run::{Hunt, Report};
use drover_sim::{Options, Times, run_times};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{COMMIT, SizeArgs, options_of};
use crate::commands::{Ended, Exit};
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct SimHuntArgs {
    #[arg(
        long,
        value_name = "N|A..B",
        value_parser = seeds,
        help = "Only these seeds: the first N, or from A to before B"
    )]
    pub(crate) seeds: Option<Range<u64>>,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    #[arg(long = "for", value_name = "M", help = "Stop after this many real minutes")]
    pub(crate) real_minutes: Option<u32>,
    #[arg(long, value_name = "K", help = "So many at once (default: one for each core)")]
    pub(crate) jobs: Option<usize>,
    #[arg(long, help = "Run each seed twice, and compare the digests")]
    pub(crate) twice: bool,
    #[arg(long, help = "Do not stop at the first broken promise")]
    pub(crate) keep_going: bool,
    #[arg(long, help = "Fail also when a situation of `sim marks` was never reached")]
    pub(crate) all_marks: bool,
    #[arg(long, help = "Print the result as JSON")]
    pub(crate) json: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    let range = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if range.is_empty() { Err("there is no seed in it".to_owned()) } else { Ok(range) }
}

pub(super) fn run(args: &SimHuntArgs, terminal: Terminal) -> Ended {
    let began = Instant::now();
    if !args.json {
        let first = args.seeds.as_ref().map_or(0, |seeds| seeds.start);
        terminal.line(&format!("hunting from seed {first}, commit {COMMIT}"));
    }
    let mut hunt = hunt_on_all_cores(args, began, terminal);
    hunt.failures.sort_by_key(|report| report.seed);
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        terminal.line(&told_as_json(&hunt, args, seconds).to_string());
    } else {
        tell(&hunt, args, seconds, terminal);
    }
    let has_missed = args.all_marks && !hunt.marks.missing().is_empty();
    Ok(if hunt.failures.is_empty() && !has_missed { Exit::Done } else { Exit::Failed })
}

/// Seeds are dealt out in order, and each that was dealt out is run to its end: so of all that fail the
/// lowest is always found, however many run at once.
fn hunt_on_all_cores(args: &SimHuntArgs, began: Instant, terminal: Terminal) -> Hunt {
    let options = options_of(&args.size);
    let seeds = args.seeds.clone().unwrap_or(0..u64::MAX);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let times = if args.twice { Times::Twice } else { Times::Once };
    let patience = args.real_minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
    let (next, is_over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let bar = progress(&seeds, args.json);
    let (sender, reports) = mpsc::channel::<Report>();
    let mut hunt = Hunt::default();
    thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or(cores).max(1) {
            let (sender, next, is_over) = (sender.clone(), &next, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed < seeds.end {
                        let _nobody_leaves_early = sender.send(run_times(seed, times, &options));
                    } else {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for report in reports {
            if report.failure.is_some() && !args.json {
                let told = format!("{report}\n{}\n", reproduced_by(&report, args));
                bar.suspend(|| terminal.line(&told));
            }
            let has_failed = report.failure.is_some() && !args.keep_going;
            if has_failed || patience.is_some_and(|patience| patience <= began.elapsed()) {
                is_over.store(true, Ordering::Relaxed);
            }
            hunt.take(report);
            bar.inc(1);
            let (steps, failed) = (hunt.steps / 1_000_000, hunt.failures.len());
            bar.set_message(format!("{steps} million inputs, {failed} failed"));
        }
    });
    bar.finish_and_clear();
    hunt
}

fn progress(seeds: &Range<u64>, is_json: bool) -> ProgressBar {
    if is_json {
        return ProgressBar::hidden();
    }
    let (bar, template) = if seeds.end == u64::MAX {
        (ProgressBar::no_length(), "{spinner} {pos} seeds, {per_sec}, {msg}  [{elapsed}]")
    } else {
        let length = seeds.end - seeds.start;
        (ProgressBar::new(length), "{bar:30} {pos}/{len} seeds, {per_sec}, {msg}  [{eta} left]")
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The one command that shows the run again.
fn reproduced_by(report: &Report, args: &SimHuntArgs) -> String {
    let Options { servers, clients, minutes, .. } = options_of(&args.size);
    let size = format!("-servers {servers} -clients {clients} -minutes {minutes}");
    format!("again: drover sim run {} {size}", report.seed)
}

fn tell(hunt: &Hunt, args: &SimHuntArgs, seconds: f64, terminal: Terminal) {
    terminal.line(&hunt.counters.to_string());
    let missing = hunt.marks.missing();
    terminal.line(&format!("{} situations were never reached", missing.len()));
    for mark in missing {
        terminal.line(&format!("  {mark}"));
    }
    terminal.line(&format!(
        "\n{} seeds in {seconds:.1} s: {:.0} a minute",
        hunt.runs,
        60.0 * per_second(hunt, seconds)
    ));
    for report in &hunt.failures {
        let checker = report.failure.as_ref().map_or("", |failure| failure.checker);
        terminal.line(&format!("{checker}: {}", reproduced_by(report, args)));
    }
    let failed = hunt.failures.len();
    terminal.line(&format!("{failed} of {} broke a promise, commit {COMMIT}", hunt.runs));
}

fn told_as_json(hunt: &Hunt, args: &SimHuntArgs, seconds: f64) -> serde_json::Value {
    let counters: serde_json::Map<String, serde_json::Value> =
        hunt.counters.list().into_iter().map(|(name, count)| (name.into(), count.into())).collect();
    let never: Vec<String> = hunt.marks.missing().iter().map(|mark| format!("{mark:?}")).collect();
    let failures = hunt.failures.iter().filter_map(|report| {
        let failure = report.failure.as_ref()?;
        Some(json!({
            "seed": report.seed,
            "checker": failure.checker,
            "at_ms": failure.at.ms(),
            "message": failure.message,
            "again": reproduced_by(report, args),
        }))
    });
    json!({
        "commit": COMMIT,
        "runs": hunt.runs,
        "inputs": hunt.steps,
        "seconds": seconds,
        "seeds_per_second": per_second(hunt, seconds),
        "counters": counters,
        "marks_never_reached": never,
        "failures": failures.collect::<Vec<_>>(),
    })
}

fn per_second(hunt: &Hunt, seconds: f64) -> f64 {
    f64::from(u32::try_from(hunt.runs).unwrap_or(u32::MAX)) / seconds
}
