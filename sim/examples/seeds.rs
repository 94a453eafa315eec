//! Runs a range of seeds: `seeds FROM TO [MINUTES] [SERVERS] [CLIENTS]`.
#![expect(clippy::print_stdout, reason = "it is a program")]

use drover_sim::{Options, Replays, Times, hunt, plan_of, shrink};

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let base = Options::default();
    let options = Options {
        minutes: number(2, base.minutes),
        servers: number(3, base.servers),
        clients: number(4, base.clients),
        check_every: number(5, base.check_every),
        ladder_lines: usize::try_from(number(6, 60)).unwrap_or(60),
        replays: if is_set("REPLAYS") { Replays::Yes } else { Replays::No },
    };
    let times = if is_set("TWICE") { Times::Twice } else { Times::Once };
    let hunt = hunt(number(0, 0)..number(1, 1), times, &options, |report| {
        println!("{report}");
        report.failure.is_none() || is_set("GO_ON")
    });
    if is_set("SHRINK") {
        for report in &hunt.failures {
            let plan = shrink(&plan_of(report.seed, &options), &options, 400);
            println!("{}", plan.map(|plan| plan.to_string()).unwrap_or_default());
        }
    }
    println!("{}", hunt.counters);
    println!("never: {:?}", hunt.counters.missing());
    println!("{} runs, {} inputs, {} failures", hunt.runs, hunt.steps, hunt.failures.len());
}
