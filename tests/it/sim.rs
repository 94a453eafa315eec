//! The simulator's own promises, and a small fixed set of seeds that every build must pass.
use std::fs;
use std::ops::Range;
use std::path::Path;

use drover_sim::plan::draw::Size;
use drover_sim::plan::{Act, Line, Plan, Who};
use drover_sim::{Options, Replays, Times, hunt, plan_of, run, run_plan, shrink};

/// Chosen because together they see every kind of event.
const SEEDS: Range<u64> = 68..76;

fn options() -> Options {
    Options { minutes: 2, replays: Replays::Yes, ..Options::default() }
}

#[test]
fn the_fixed_seeds_pass_twice_alike_and_see_everything() {
    let hunt = hunt(SEEDS, Times::Twice, &options(), |_| true);
    let failures: Vec<String> = hunt.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(hunt.counters.missing(), Vec::<&str>::new(), "never happened");
}

#[test]
fn two_seeds_are_two_runs() {
    let short = Options { minutes: 1, ..options() };
    assert_ne!(run(1, &short).digest, run(2, &short).digest);
}

#[test]
fn a_plan_that_was_printed_and_read_runs_as_before() {
    let short = Options { minutes: 1, ..options() };
    let plan = plan_of(3, &short);
    let read = Plan::parse(&plan.to_string()).expect("a printed plan is read");
    assert_eq!(run_plan(&read, &short).digest, run_plan(&plan, &short).digest);
}

#[test]
fn a_plan_that_does_not_fail_is_not_shrunk() {
    let short = Options { minutes: 1, ..options() };
    assert_eq!(shrink(&plan_of(1, &short), &short, 10), None);
}

/// As on a machine whose disk or hypervisor takes its time: an hour of this is in the bench `membership`.
#[test]
fn servers_that_stand_still_for_200_ms_depose_no_leader() {
    let options = Options { minutes: 5, replays: Replays::No, ..Options::default() };
    let mut plan = Plan::calm(1, Size { servers: 3, clients: 1, fault_ms: 300_000 });
    let stall = |nth: u64| Line {
        at_ms: 10_000 + nth * 1_700,
        act: Act::Pause { who: Who::Server(1 + nth % 3), for_ms: 200 },
    };
    plan.lines = (0..150).map(stall).collect();
    let report = run_plan(&plan, &options);
    assert!(report.failure.is_none(), "{:?}", report.failure);
    assert_eq!((report.counters.pauses, report.counters.leader_changes), (150, 0));
}

#[test]
fn plans_that_once_failed_pass() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut plans = 0;
    for file in fs::read_dir(&dir).expect("the plans are there") {
        let path = file.expect("a directory can be read").path();
        let text = fs::read_to_string(&path).expect("a plan is text");
        let plan = Plan::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let failure = run_plan(&plan, &options()).failure;
        assert!(failure.is_none(), "{}: {}", path.display(), failure.expect("it is there"));
        plans += 1;
    }
    assert!(0 < plans, "a directory without plans proves nothing");
}
