//! The product as its user meets it: the release binary as real processes, over HTTP and the command
//! line, measured beside the same moments of Nomad 1.1.2 on a machine of two cores.
//!
//!   cargo bench -p drover-tests --bench product                  everything
//!   cargo bench -p drover-tests --bench product -- start tasks   only these
//!
//! | variable | |
//! |---|---|
//! | `DROVER_BENCH_BINARY` | measure this program instead of building one |
//! | `DROVER_BENCH_RUNS` | repetitions, five unless it says otherwise |
//! | `DROVER_BENCH_CLEAN_BUILD` | also build from nothing, and say how long it takes |
//!
//! Every figure is a median, with the smallest and the largest behind it. Whoever shares the machine
//! is in them too: the load average stands above the table.
//!
//! Invariants
//! - a figure comes from outside of the process that it is about;
//! - every process that is started here is ended here, also when a measurement fails.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]
use std::process::ExitCode;
use std::time::Duration;

#[path = "product/agents.rs"]
mod agents;
#[path = "product/http.rs"]
mod http;
#[path = "product/machine.rs"]
mod machine;
#[path = "product/measure.rs"]
mod measure;
#[path = "product/program.rs"]
mod program;
#[path = "product/servers.rs"]
#[expect(dead_code, reason = "the durable bench uses the rest")]
mod servers;

use measure::Series;
use program::Program;

/// What may go wrong is said in words and ends one measurement, not the others.
type Measured<T> = Result<T, String>;

/// A line of the table.
struct Row {
    what: &'static str,
    figure: Measured<String>,
    nomad: &'static str,
    goal: &'static str,
}

/// A measurement: its name on the command line, and the lines it gives.
struct Part {
    name: &'static str,
    measure: fn(&Program, usize) -> Vec<Row>,
}

const PARTS: &[Part] = &[
    Part { name: "start", measure: start },
    Part { name: "idle", measure: idle },
    Part { name: "job", measure: job },
    Part { name: "tasks", measure: tasks },
    Part { name: "lead", measure: lead },
    Part { name: "cli", measure: cli },
    Part { name: "build", measure: build },
    Part { name: "sim", measure: sim },
];

/// How long an agent is left alone before it is watched at rest, and how long it is watched.
const SETTLING: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    // Cargo itself adds `--bench`.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let unknown = asked.iter().find(|name| PARTS.iter().all(|part| part.name != name.as_str()));
    if let Some(name) = unknown {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        println!("there is no {name:?}; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let program = match Program::find() {
        Ok(program) => program,
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let runs = std::env::var("DROVER_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(5).max(1);
    println!("{}\n", machine::describe(&program));
    println!("| median of {runs} (min..max) | Drover | Nomad 1.1.2 | goal |\n|---|---|---|---|");
    let mut failed = false;
    for part in PARTS {
        if !asked.is_empty() && asked.iter().all(|name| name != part.name) {
            continue;
        }
        for Row { what, figure, nomad, goal } in (part.measure)(&program, runs) {
            let figure = figure.unwrap_or_else(|why| {
                failed = true;
                format!("failed: {}", why.replace('\n', " "))
            });
            println!("| {what} | {figure} | {nomad} | {goal} |");
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn start(program: &Program, runs: usize) -> Vec<Row> {
    let (mut leader, mut ready) = (Series::default(), Series::default());
    let mut begin = || -> Measured<()> {
        let agent = agents::Dev::start(program)?;
        leader.push(agent.started_in.as_secs_f64());
        ready.push(agent.ready_in.as_secs_f64());
        Ok(())
    };
    let begun: Measured<()> = (0..runs).try_for_each(|_| begin());
    vec![
        Row {
            what: "`agent -dev` to its first leader",
            figure: begun.clone().map(|()| leader.ms()),
            nomad: "1,805 ms",
            goal: "100 ms",
        },
        Row {
            what: "`agent -dev` to its node being ready",
            figure: begun.map(|()| ready.ms()),
            nomad: "",
            goal: "",
        },
    ]
}

fn idle(program: &Program, runs: usize) -> Vec<Row> {
    let (mut pss, mut rss) = (Series::default(), Series::default());
    let (mut cpu, mut wakes) = (Series::default(), Series::default());
    let mut watch = || -> Measured<()> {
        let agent = agents::Dev::start(program)?;
        std::thread::sleep(SETTLING);
        let before = machine::used(agent.pid())?;
        std::thread::sleep(REST);
        let after = machine::used(agent.pid())?;
        let memory = machine::memory(agent.pid())?;
        pss.push(memory.pss_kib as f64 / 1024.0);
        rss.push(memory.rss_kib as f64 / 1024.0);
        let ran = after.cpu_ns.saturating_sub(before.cpu_ns);
        cpu.push(ran as f64 / REST.as_nanos() as f64 * 100.0);
        wakes.push(after.wakes.saturating_sub(before.wakes) as f64 / REST.as_secs_f64());
        Ok(())
    };
    let watched: Measured<()> = (0..runs).try_for_each(|_| watch());
    let figure = |series: &Series, unit| watched.clone().map(|()| series.show(unit));
    vec![
        Row {
            what: "idle dev agent: memory (PSS)",
            figure: figure(&pss, "MiB"),
            nomad: "53.8 MiB",
            goal: "20 MiB",
        },
        Row { what: "idle: memory (RSS)", figure: figure(&rss, "MiB"), nomad: "", goal: "" },
        Row { what: "idle: CPU", figure: figure(&cpu, "%"), nomad: "0.5 %", goal: "0.1 %" },
        Row { what: "idle: wakes a second", figure: figure(&wakes, ""), nomad: "", goal: "" },
    ]
}

fn job(program: &Program, runs: usize) -> Vec<Row> {
    let measured = agents::Dev::start(program).and_then(|mut agent| {
        // The first task of an agent also starts the process that forks the shims.
        agent.until(&agents::job("first", 1, agents::TRUE), "complete")?;
        let mut run = |kind: &str, command: &[&str], status: &str| {
            let mut number = 0;
            Series::of(runs, || {
                number += 1;
                let job = agents::job(&format!("{kind}-{number}"), 1, command);
                agent.until(&job, status)
            })
        };
        let running = run("running", agents::SLEEP, "running")?;
        let complete = run("complete", agents::TRUE, "complete")?;
        Ok((running.ms(), complete.ms()))
    });
    vec![
        Row {
            what: "job: submitted to running",
            figure: measured.clone().map(|(running, _)| running),
            nomad: "102-350 ms",
            goal: "10 ms",
        },
        Row {
            what: "job of /bin/true: submitted to complete",
            figure: measured.map(|(_, complete)| complete),
            nomad: "353 ms",
            goal: "15 ms",
        },
    ]
}

fn tasks(program: &Program, runs: usize) -> Vec<Row> {
    const COUNT: u32 = 1_000;
    let ended = Series::of(runs, || {
        let mut agent = agents::Dev::start(program)?;
        agent.until_all(&agents::job("many", COUNT, agents::TRUE), COUNT, "Complete")
    });
    // Tasks that stay, in an agent of their own: to look at a thousand shims takes time.
    let held = agents::Dev::start(program).and_then(|mut agent| {
        agent.until_all(&agents::job("stay", COUNT, agents::SLEEP), COUNT, "Running")?;
        let shims = machine::shims_of(agent.pid());
        let pss_kib = shims.iter().filter_map(|&pid| machine::memory(pid).ok());
        let pss_kib: u64 = pss_kib.map(|memory| memory.pss_kib).sum();
        agent.stop_job("stay", COUNT)?;
        Ok(format!("{:.3} GB of {} processes", pss_kib as f64 * 1024.0 / 1e9, shims.len()))
    });
    vec![
        Row {
            what: "1,000 tasks of one job on one node: all complete",
            figure: ended.map(|series| series.seconds()),
            nomad: "40-49 s",
            goal: "6 s",
        },
        Row {
            what: "1,000 tasks running: memory of their shims (PSS, once)",
            figure: held,
            nomad: "16-21 GB",
            goal: "0.2 GB",
        },
    ]
}

fn lead(program: &Program, runs: usize) -> Vec<Row> {
    let series = Series::of(runs, || {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        servers::Servers::start(program, folder, 3, "")?.write_after_kill()
    });
    vec![Row {
        what: "leader of three killed: to the next accepted write",
        figure: series.map(|series| series.seconds()),
        nomad: "3.18 s",
        goal: "1.5 s",
    }]
}

fn cli(program: &Program, runs: usize) -> Vec<Row> {
    let version = Series::of(runs, || program.time(&["version"], None));
    let detached = agents::Dev::start(program).and_then(|agent| {
        let file = agent.write_file("job.nomad.hcl", agents::JOB_FILE)?;
        let address = format!("http://{}", agent.http);
        Series::of(runs, || program.time(&["job", "run", "-detach", &file], Some(&address)))
    });
    vec![
        Row {
            what: "`version`",
            figure: version.map(|series| series.ms()),
            nomad: "30 ms",
            goal: "5 ms",
        },
        Row {
            what: "`job run -detach`",
            figure: detached.map(|series| series.ms()),
            nomad: "33 ms",
            goal: "10 ms",
        },
    ]
}

fn build(program: &Program, _: usize) -> Vec<Row> {
    let size = program.size_bytes().map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    let mut rows = vec![Row { what: "size of the program", figure: size, nomad: "", goal: "" }];
    if std::env::var_os("DROVER_BENCH_CLEAN_BUILD").is_some() {
        let figure =
            Program::build_from_nothing().map(|took| format!("{:.0} s", took.as_secs_f64()));
        rows.push(Row { what: "release build from nothing (once)", figure, nomad: "", goal: "" });
    }
    rows
}

fn sim(program: &Program, runs: usize) -> Vec<Row> {
    const SEEDS: u32 = 2;
    let seeds = format!("0..{SEEDS}");
    let series =
        Series::of(runs, || program.time(&["sim", "hunt", "-jobs", "1", "-seeds", &seeds], None));
    let figure =
        series.map(|series| series.map(|s| f64::from(SEEDS) / (s / 60.0)).show("a minute"));
    vec![Row {
        what: "seeds of the simulator, one core (standard hunt)",
        figure,
        nomad: "none",
        goal: "",
    }]
}
