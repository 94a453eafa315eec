//! One run of one plan, and a hunt through many.
//!
//! Invariants
//! - the same plan gives the same report, ladder included;
//! - nothing is printed here.
use std::fmt;
use std::ops::Range;

use drover_core::digest::Digest;

use crate::checkers::Violation;
use crate::clock::Moment;
use crate::compare::Stepped;
use crate::counters::Counters;
use crate::ladder::{Filter, Ladder};
use crate::marks::Marks;
use crate::plan::Plan;
use crate::plan::draw::Size;
use crate::world::World;

/// Rungs of a run that are kept.
const RUNGS_MAX: usize = 2_000_000;
/// For each host, so many more inputs from one check to the next.
const CHECK_STEPS_PER_HOST: u64 = 20;

mod panics;

/// How runs are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub servers: u64,
    pub clients: u64,
    /// How long everything may break.
    pub minutes: u64,
    /// Agents check themselves whole every so many inputs, and in large worlds more rarely, since they
    /// walk all they know; zero: never.
    pub check_every: u64,
    /// Lines of the ladder that a failure shows.
    pub ladder_lines: usize,
    /// Whether every agent's inputs are stepped again at the end.
    pub replays: Replays,
}

/// Whether a run ends with replays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replays {
    No,
    Yes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: 3,
            clients: 5,
            minutes: 3,
            check_every: 16_000,
            ladder_lines: 60,
            replays: Replays::No,
        }
    }
}

impl Options {
    fn checked_every(&self, plan: &Plan) -> u64 {
        match self.check_every {
            0 => 0,
            every => every + CHECK_STEPS_PER_HOST * (plan.servers + plan.clients),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Of everything that happened, in order: equal in every run of the plan.
    pub digest: Digest,
    pub counters: Counters,
    pub marks: Marks,
    pub failure: Option<Failure>,
    /// Inputs that agents took.
    pub steps: u64,
    /// How long the world lasted.
    pub lasted: Moment,
}

/// A property that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub checker: &'static str,
    pub at: Moment,
    pub message: String,
    /// What happened last, oldest first.
    pub ladder: Vec<String>,
}

/// Runs the plan of `seed`.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    run_plan(&plan_of(seed, options), options)
}

/// The plan of `seed`.
#[must_use]
pub fn plan_of(seed: u64, options: &Options) -> Plan {
    let &Options { servers, clients, minutes, .. } = options;
    Plan::draw(seed, Size { servers, clients, fault_ms: minutes * 60_000 })
}

/// Runs `plan`. A run that fails is run again for its ladder.
#[must_use]
pub fn run_plan(plan: &Plan, options: &Options) -> Report {
    let report = run_once(plan, options);
    if report.failure.is_none() || options.ladder_lines == 0 {
        return report;
    }
    let (mut report, ladder) = watch_plan(plan, options);
    if let Some(failure) = &mut report.failure {
        let filter = Filter::of_checker(failure.checker);
        failure.ladder = ladder.lines(&filter, Some(options.ladder_lines));
        failure.ladder.push(String::new());
        failure.ladder.extend(ladder.summary());
    }
    report
}

/// Runs `plan` and keeps everything that happens, as far as there is room.
#[must_use]
pub fn watch_plan(plan: &Plan, options: &Options) -> (Report, Ladder) {
    let (mut report, ladder) = run_watched(plan, options, Some(Ladder::new(RUNGS_MAX)));
    let mut ladder = ladder.expect("invariant: a run that is watched has a ladder");
    let broken = report.failure.as_ref().map(|failure| (failure.checker, &*failure.message));
    ladder.on_end(report.lasted, broken);
    if let Some(failure) = &mut report.failure {
        failure.message = ladder.names.say(&failure.message);
    }
    (report, ladder)
}

fn run_once(plan: &Plan, options: &Options) -> Report {
    run_watched(plan, options, None).0
}

fn run_watched(plan: &Plan, options: &Options, ladder: Option<Ladder>) -> (Report, Option<Ladder>) {
    let mut world = World::new(plan.clone(), options.checked_every(plan), ladder);
    if options.replays == Replays::Yes {
        world.keep_inputs();
    }
    let outcome = panics::caught(|| to_the_end(&mut world));
    let violation = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => {
            let who = world.stepping.map_or("the simulator", |host| &world.hosts[host.0].name);
            let message = format!("{who}: {panic}");
            Some(Violation { checker: "panic", message })
        }
    };
    let lasted = world.queue.now();
    let failure = violation.map(|Violation { checker, message }| Failure {
        checker,
        at: lasted,
        message,
        ladder: Vec::new(),
    });
    world.counters.drains_complete = world.checkers.drains_end.seen();
    world.counters.services_advertised = world.checkers.advertised_is_running.said();
    world.counters.histories_undecided = world.checkers.linearizable.undecided();
    let World { chain: digest, counters, marks, steps, ladder, .. } = world;
    (Report { seed: plan.seed, digest, counters, marks, failure, steps, lasted }, ladder)
}

fn to_the_end(world: &mut World) -> Result<(), Violation> {
    world.run_until(world.plan.faults_until())?;
    world.heal()?;
    world.settle()?;
    world.check_replays()
}

/// Every input that an agent took in a run of `plan`, to the run's end, however it ends.
#[must_use]
pub fn history_of(plan: &Plan, options: &Options) -> Vec<Stepped> {
    let mut world = World::new(plan.clone(), options.checked_every(plan), None);
    world.keep_history();
    let _however_it_ends = panics::caught(|| to_the_end(&mut world));
    world.take_history()
}

/// How often each seed of a hunt is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Times {
    Once,
    /// The second run must be the same as the first.
    Twice,
}

/// What a hunt found.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    pub runs: u64,
    pub counters: Counters,
    pub marks: Marks,
    pub steps: u64,
    pub failures: Vec<Report>,
}

/// Runs every seed; `watch` hears of each run, and says whether to go on.
pub fn hunt(
    seeds: Range<u64>,
    times: Times,
    options: &Options,
    mut watch: impl FnMut(&Report) -> bool,
) -> Hunt {
    let mut hunt = Hunt::default();
    for seed in seeds {
        let report = run_times(seed, times, options);
        let goes_on = watch(&report);
        hunt.take(report);
        if !goes_on {
            break;
        }
    }
    hunt
}

/// Runs `seed` as often as `times` says.
#[must_use]
pub fn run_times(seed: u64, times: Times, options: &Options) -> Report {
    let mut report = run(seed, options);
    if times == Times::Twice && report.failure.is_none() {
        let again = run(seed, options);
        report.failure = difference(&report, &again);
    }
    report
}

impl Hunt {
    /// One more run, in whatever order.
    pub fn take(&mut self, report: Report) {
        self.runs += 1;
        self.counters += &report.counters;
        self.marks = self.marks.and(report.marks);
        self.steps += report.steps;
        if report.failure.is_some() {
            self.failures.push(report);
        }
    }
}

/// Two runs of one seed must be one run.
fn difference(first: &Report, second: &Report) -> Option<Failure> {
    let is_same = first.digest == second.digest && first.counters == second.counters;
    (!is_same).then(|| Failure {
        checker: "determinism",
        at: second.lasted,
        message: format!("one run of the seed gives {}, another {}", first.digest, second.digest),
        ladder: Vec::new(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, digest, steps, lasted, .. } = self;
        match &self.failure {
            None => write!(f, "seed {seed}  passed  {lasted}  {steps} inputs  digest {digest}"),
            Some(failure) => write!(f, "seed {seed}  FAILED\n{failure}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.ladder {
            writeln!(f, "{line}")?;
        }
        write!(f, "{} at {}: {}", self.checker, self.at, self.message)
    }
}
