//! Plays plans with the real shell:
//! `cargo run --profile sim --manifest-path sim/simnet/Cargo.toml -- [OPTION ...] SEED | A..B | PLAN-FILE | bench`.
//!
//! Prints a line a run, the ladder of a failure, and what all of it took. Exits with 1 when a property
//! did not hold, or when two runs of one plan were not the same.
use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::{env, fs, io};

use drover_sim::plan::Plan;
use drover_sim::plan::draw::Size;
use drover_simnet::scenario::{Report, play};
use drover_simnet::substrate::Ground;

mod bench;

/// Seeds of a row, where nobody says how many.
const BENCH_SEEDS: u64 = 9;

const USAGE: &str = "drover-simnet [--turmoil] [--twice] [--calm] [--print] [--servers N] [--clients N] \
                     [--seconds N] [--ladder N] SEED | A..B | PLAN-FILE\n\
                     drover-simnet [--seeds N] bench";

struct Options {
    ground: Ground,
    twice: bool,
    calm: bool,
    print: bool,
    size: Size,
    ladder_lines: usize,
    seeds: u64,
    what: String,
}

fn main() -> ExitCode {
    let options = match read(env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            say(&format!("{why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    if options.what == "bench" {
        return if bench::run(options.seeds) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let plans = match plans_of(&options) {
        Ok(plans) => plans,
        Err(why) => {
            say(&why);
            return ExitCode::from(2);
        }
    };
    let began_ns = cpu_ns();
    let (mut failed, mut simulated_ns, mut steps, mut packets) = (0, 0, 0, 0);
    for plan in &plans {
        if options.print {
            say(&plan.to_string());
        }
        let before_ns = cpu_ns();
        let report = play(plan, options.ground, options.ladder_lines);
        let took_ms = (cpu_ns() - before_ns) / 1_000_000;
        simulated_ns += report.lasted.ns;
        (steps, packets) = (steps + report.steps, packets + report.packets);
        let mut is_good = show(&report, took_ms);
        if options.twice {
            let again = play(plan, options.ground, 0);
            simulated_ns += again.lasted.ns;
            if again.digest != report.digest {
                is_good = false;
                say(&format!("  NOT THE SAME: {} the second time", again.digest));
            }
        }
        failed += u64::from(!is_good);
    }
    let took_ns = (cpu_ns() - began_ns).max(1);
    say(&format!(
        "{} plans, {failed} failed; {} simulated s in {} CPU ms: {} times real time; {steps} steps, \
         {packets} packets",
        plans.len(),
        simulated_ns / 1_000_000_000,
        took_ns / 1_000_000,
        simulated_ns / took_ns,
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        ground: Ground::Simnet,
        twice: false,
        calm: false,
        print: false,
        size: Size { servers: 3, clients: 1, fault_ms: 60_000 },
        ladder_lines: 0,
        seeds: BENCH_SEEDS,
        what: String::new(),
    };
    while let Some(arg) = args.next() {
        let mut number = || {
            let number = args.next().and_then(|number| number.parse::<u64>().ok());
            number.ok_or_else(|| format!("{arg} wants a number"))
        };
        match arg.as_str() {
            "--turmoil" => options.ground = Ground::Turmoil,
            "--twice" => options.twice = true,
            "--calm" => options.calm = true,
            "--print" => options.print = true,
            "--seeds" => options.seeds = number()?,
            "--servers" => options.size.servers = number()?,
            "--clients" => options.size.clients = number()?,
            "--seconds" => options.size.fault_ms = 1_000 * number()?,
            "--ladder" => options.ladder_lines = usize::try_from(number()?).unwrap_or(usize::MAX),
            _ => options.what = arg,
        }
    }
    if options.what.is_empty() { Err("what shall be played?".into()) } else { Ok(options) }
}

fn plans_of(options: &Options) -> Result<Vec<Plan>, String> {
    let what = &options.what;
    let seeds = match (what.parse::<u64>(), what.split_once("..")) {
        (Ok(seed), _) => Some(seed..seed + 1),
        (Err(_), Some((from, upto))) => range(from, upto),
        (Err(_), None) => None,
    };
    let Some(seeds) = seeds else {
        let text = fs::read_to_string(what).map_err(|why| format!("{what}: {why}"))?;
        return Ok(vec![Plan::parse(&text).map_err(|why| format!("{what}: {why}"))?]);
    };
    let draw = if options.calm { Plan::calm } else { Plan::draw };
    Ok(seeds.map(|seed| draw(seed, options.size)).collect())
}

fn range(from: &str, upto: &str) -> Option<Range<u64>> {
    Some(from.parse().ok()?..upto.parse().ok()?)
}

/// Answers whether everything held.
fn show(report: &Report, took_ms: u64) -> bool {
    let counts = report.counters.list().into_iter().filter(|(_, count)| *count != 0);
    let counts: Vec<String> = counts.map(|(name, count)| format!("{name}={count}")).collect();
    let left_out = report.left_out.iter().map(|(name, count)| format!(" left-out-{name}={count}"));
    let left_out: Vec<String> = left_out.collect();
    say(&format!(
        "seed {}  {}  {} in {took_ms} ms  steps={} packets={} polls={}{} {}",
        report.seed,
        report.digest,
        report.lasted,
        report.steps,
        report.packets,
        report.polls,
        left_out.concat(),
        counts.join(" ")
    ));
    let Some(failure) = &report.failure else { return true };
    for line in &failure.ladder {
        say(line);
    }
    say(&format!("FAILED {} at {}: {}", failure.checker, failure.at, failure.message));
    false
}

fn say(text: &str) {
    let _the_reader_may_be_gone = writeln!(io::stdout(), "{text}");
}

fn cpu_ns() -> u64 {
    let read = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(read.tv_nsec).unwrap_or(0)
}
