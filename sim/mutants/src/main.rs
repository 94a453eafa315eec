//! Planted bugs, each hunted until something notices: `cargo run --profile sim --manifest-path
//! sim/mutants/Cargo.toml [-- --seeds N] [-- --random] [-- NAME ...]`. A bug that survives is a hole in the tests.
//! `-- show NAME [FILE]` prints the ladder of the run that notices it, and writes the page of it.
//!
//! Each is looked for in two ways: by the scripts of protocol rules, which must print what they always
//! print; and by the simulator's checkers, seed after seed. A process of its own runs each bug, so that
//! one that makes the simulator run for ever is found too.
//!
//! Invariants
//! - one bug is planted at a time, and the table says what noticed it first, with the seed.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

use drover_core::mutants::{ALL, Mutant, plant};
use drover_sim::plan::Plan;
use drover_sim::run::{Failure, run_plan};
use drover_sim::{Options, Times, hunt, plan_of, report, shrink, watch_plan};
use drover_tests::play;
use drover_tests::raft_scripts::Bench;

/// Simulated clusters within which a bug must be noticed, if no script does.
const SEEDS: u64 = 60;
/// Simulated clusters that a bug is looked for in, if a script has noticed it.
const SEEDS_BESIDE_SCRIPT: u64 = 4;
/// A hunt that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [word, name, seeds, by] = args.as_slice()
        && word == "hunt"
    {
        let by = if by == "random" { By::RandomSeeds } else { By::Everything };
        hunt_one(name, seeds.parse().unwrap_or(SEEDS), by);
        return ExitCode::SUCCESS;
    }
    if let [word, name, page @ ..] = args.as_slice()
        && word == "show"
    {
        return show(name, page.first());
    }
    let at = args.iter().position(|arg| arg == "--seeds");
    let seeds = at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(SEEDS);
    let is_wanted = |mutant: &&Mutant| {
        let name = format!("{mutant:?}");
        let mut named = args.iter().filter(|arg| arg.starts_with(char::is_uppercase)).peekable();
        named.peek().is_none() || named.any(|arg| *arg == name)
    };
    let wanted: Vec<Mutant> = ALL.iter().filter(is_wanted).copied().collect();
    let is_random = args.iter().any(|arg| arg == "--random");
    let by = if is_random { By::RandomSeeds } else { By::Everything };
    let Hunted { survivors, mut seeds_to_kill } = hunt_all(&wanted, seeds, by);
    println!("\n{} bugs planted, {} survived {survivors:?}", wanted.len(), survivors.len());
    seeds_to_kill.sort_unstable();
    if let Some(median) = seeds_to_kill.get(seeds_to_kill.len() / 2) {
        let count = seeds_to_kill.len();
        println!("{count} were noticed by a random seed, the median by the {median}th");
    }
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What looks for a bug.
#[derive(Clone, Copy, Eq, PartialEq)]
enum By {
    /// Scripts, plans of bugs that were found once, and then random seeds.
    Everything,
    /// What somebody would find who knows nothing yet.
    RandomSeeds,
}

/// What became of the bugs.
#[derive(Default)]
struct Hunted {
    survivors: Vec<Mutant>,
    /// How many random seeds each took that was noticed by one.
    seeds_to_kill: Vec<u64>,
}

/// As many at a time as there are cores.
fn hunt_all(wanted: &[Mutant], seeds: u64, by: By) -> Hunted {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("{:<28}{:<44}simulator", "planted", "scripts");
    let mut hunted = Hunted::default();
    let mut running: Vec<(Mutant, Instant, Child)> = Vec::new();
    let mut waiting = wanted.iter().copied();
    loop {
        while running.len() < cores
            && let Some(mutant) = waiting.next()
        {
            match begin(mutant, seeds, by) {
                Ok(child) => running.push((mutant, Instant::now(), child)),
                Err(fault) => panic!("no process for {mutant:?}: {fault}"),
            }
        }
        if running.is_empty() {
            return hunted;
        }
        thread::sleep(Duration::from_millis(20));
        running.retain_mut(|(mutant, since, child)| match child.try_wait() {
            Ok(None) if since.elapsed() < PATIENCE => true,
            Ok(None) => {
                let _it_may_have_just_ended = child.kill();
                println!("{:<28}{:<44}hangs", format!("{mutant:?}"), "");
                false
            }
            Ok(Some(status)) if status.success() => {
                let mut said = String::new();
                if let Some(out) = &mut child.stdout {
                    let _what_there_is = std::io::Read::read_to_string(out, &mut said);
                }
                print!("{said}");
                if is_survivor(&said) {
                    hunted.survivors.push(*mutant);
                }
                hunted.seeds_to_kill.extend(seeds_of(&said));
                false
            }
            Ok(Some(_)) | Err(_) => {
                println!("{:<28}{:<44}ends the process", format!("{mutant:?}"), "");
                false
            }
        });
    }
}

/// Neither a script nor the simulator noticed.
fn is_survivor(line: &str) -> bool {
    line.contains("  survived ") && !line.contains(".txt")
}

/// How many random seeds it took, if one did it.
fn seeds_of(line: &str) -> Option<u64> {
    let (_, after) = line.split_once(" seed ")?;
    let seed: u64 = after.split_whitespace().next()?.parse().ok()?;
    Some(seed + 1)
}

fn begin(mutant: Mutant, seeds: u64, by: By) -> std::io::Result<Child> {
    let (name, seeds) = (format!("{mutant:?}"), seeds.to_string());
    let by = if by == By::RandomSeeds { "random" } else { "everything" };
    let program = env::current_exe()?;
    Command::new(program).args(["hunt", &name, &seeds, by]).stdout(Stdio::piped()).spawn()
}

/// One line: what noticed.
fn hunt_one(name: &str, seeds: u64, by: By) {
    let mutant = ALL.iter().copied().find(|mutant| format!("{mutant:?}") == name);
    plant(mutant);
    // An assertion of the core is a checker too: its panic is caught and told as a failure.
    panic::set_hook(Box::new(|_| ()));
    if by == By::RandomSeeds {
        return println!("{name:<28}{:<44}{}", "", by_seeds(seeds));
    }
    let differing = files("tests/scenarios/raft").into_iter().find(|path| differs(path));
    let script = differing.as_deref().and_then(Path::file_name).unwrap_or_default();
    let script = script.to_string_lossy();
    let seeds = if script.is_empty() { seeds } else { seeds.min(SEEDS_BESIDE_SCRIPT) };
    println!("{name:<28}{script:<44}{}", noticed(seeds));
}

/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: u64 = 600;

/// The first run in which the bug is noticed, cut down to what it takes: its plan and its ladder.
fn show(name: &str, page: Option<&String>) -> ExitCode {
    let mutant = ALL.iter().copied().find(|mutant| format!("{mutant:?}") == name);
    plant(mutant);
    panic::set_hook(Box::new(|_| ()));
    let seeds = (0..SEEDS).map(|seed| {
        let options = sized(seed);
        (format!("seed {seed} with {} servers", options.servers), plan_of(seed, &options), options)
    });
    for (by, plan, options) in plans().chain(seeds) {
        let quick = Options { ladder_lines: 0, ..options };
        if run_plan(&plan, &quick).failure.is_some() {
            let plan = shrink(&plan, &options, SHRINK_RUNS_MAX).unwrap_or(plan);
            let (report, ladder) = watch_plan(&plan, &options);
            println!("{name}, first noticed by {by}\n{plan}");
            println!("{}", run_plan(&plan, &options));
            if let Some(path) = page {
                fs::write(path, report::page(&plan, &report, &ladder)).expect("it can be written");
            }
            return ExitCode::SUCCESS;
        }
    }
    println!("{name} is not noticed");
    ExitCode::FAILURE
}

/// The plans of bugs that were found once.
fn plans() -> impl Iterator<Item = (String, Plan, Options)> {
    files("tests/regressions").into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("the plan can be read");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, Plan::parse(&text).expect("it is a plan"), Options::default())
    })
}

/// The cluster of a seed: of three and of five servers by turns.
fn sized(seed: u64) -> Options {
    let servers = if seed.is_multiple_of(2) { 3 } else { 5 };
    Options { servers, minutes: 2, check_every: 20, ..Options::default() }
}

/// What the simulator notices: in the plans of bugs that were found once, then in clusters of three and of
/// five servers by turns.
fn noticed(seeds: u64) -> String {
    for (name, plan, options) in plans() {
        let options = Options { ladder_lines: 0, ..options };
        if let Some(failure) = run_plan(&plan, &options).failure {
            return format!("{name}  {}", told(&failure));
        }
    }
    by_seeds(seeds)
}

fn by_seeds(seeds: u64) -> String {
    for seed in 0..seeds {
        let options = Options { ladder_lines: 0, ..sized(seed) };
        let found = hunt(seed..seed + 1, Times::Once, &options, |_| true);
        let failure = found.failures.iter().find_map(|report| report.failure.as_ref());
        if let Some(failure) = failure {
            return format!("seed {seed} ({} servers)  {}", options.servers, told(failure));
        }
    }
    format!("survived {seeds} seeds")
}

fn told(failure: &Failure) -> String {
    let first = failure.message.lines().next().unwrap_or_default();
    let first: String = first.chars().take(90).collect();
    format!("{}: {first}", failure.checker)
}

/// Everything in a folder of the repository, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether the script prints something else than it should, or stops.
fn differs(path: &Path) -> bool {
    let script = fs::read_to_string(path).expect("the script can be read");
    let printed = panic::catch_unwind(|| {
        let mut bench = Bench::default();
        play(&script, move |command| bench.run(command))
    });
    printed.map_or(true, |printed| printed != script)
}
