//! Who is there, and how soon it is known: groups of 128 to 2,000 members on a simulated network, fleets of
//! clients, and real servers (`lead`; the release binary, as in `product`): whose leader is killed, which
//! share their machine with busy loops, and which do nothing.
//!
//!   cargo bench -p drover-tests --bench membership                  everything, a small grid
//!   cargo bench -p drover-tests --bench membership -- crash loss    only these
//!   cargo bench -p drover-tests --bench membership -- grid full     the grid of 240 cells
//!
//! Scenarios as in the papers (SWIM, Lifeguard, Rapid); seeds are fixed, so all but CPU time is the
//! same in every run. Bytes are those of packets, without headers of UDP and QUIC. The anchors are
//! foca 2.0.0, a model of memberlist, and what the papers say of Lifeguard and Rapid.
//! The same scenes with foca in the same run: the bench of this name in `tests/peers`.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]
use std::process::ExitCode;

#[path = "product/agents.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod agents;
#[path = "membership/clients.rs"]
mod clients;
#[path = "product/http.rs"]
mod http;
#[path = "product/measure.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod measure;
#[path = "membership/ours.rs"]
mod ours;
#[path = "product/program.rs"]
#[expect(dead_code, reason = "the product bench uses the rest")]
mod program;
#[path = "membership/real.rs"]
mod real;
#[path = "membership/scenes.rs"]
mod scenes;
#[path = "product/servers.rs"]
#[expect(dead_code, reason = "the durable bench uses the rest")]
mod servers;
#[path = "membership/world.rs"]
mod world;

use clients::Clients;
use measure::Series;
use ours::Ours;
use program::Program;
use scenes::{Cell, Fault, seconds};
use world::Pause;

/// What may go wrong is said in words and ends one measurement, not the others.
type Measured<T> = Result<T, String>;

/// The product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A line of the table.
struct Row {
    what: &'static str,
    figure: String,
    anchor: &'static str,
    goal: &'static str,
}

struct Part {
    name: &'static str,
    measure: fn(Extent) -> Vec<Row>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Extent {
    Small,
    Full,
}

const PARTS: &[Part] = &[
    Part { name: "crash", measure: crash },
    Part { name: "group", measure: group },
    Part { name: "steady", measure: steady },
    Part { name: "loss", measure: loss },
    Part { name: "partial", measure: partial },
    Part { name: "partition", measure: partition },
    Part { name: "bootstrap", measure: bootstrap },
    Part { name: "grid", measure: grid },
    Part { name: "clients", measure: clients },
    Part { name: "lead", measure: lead },
];
/// How often a leader is killed.
const KILLS: usize = 15;

fn main() -> ExitCode {
    // Cargo itself adds `--bench`.
    let mut asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let extent = if asked.iter().any(|word| word == "full") { Extent::Full } else { Extent::Small };
    asked.retain(|word| word != "full");
    let unknown = asked.iter().find(|name| PARTS.iter().all(|part| part.name != name.as_str()));
    if let Some(name) = unknown {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        println!("there is no {name:?}; there are: {}, and full", names.join(", "));
        return ExitCode::FAILURE;
    }
    println!("| | Drover | best anchor | goal |");
    println!("|---|---|---|---|");
    for part in PARTS {
        if asked.is_empty() || asked.iter().any(|name| name == part.name) {
            for Row { what, figure, anchor, goal } in (part.measure)(extent) {
                println!("| {what} | {figure} | {anchor} | {goal} |");
            }
        }
    }
    ExitCode::SUCCESS
}

fn crash(extent: Extent) -> Vec<Row> {
    let rounds = if extent == Extent::Full { 300 } else { 100 };
    let mut churned = scenes::churn::<Ours>(128, rounds, 1);
    let rest = format!("; {} wrong, {} not seen by all", churned.wrong, churned.unseen);
    let mut large = scenes::churn::<Ours>(1_000, 10, 1);
    vec![
        Row {
            what: "crash of one of 128: first detection p50 / p99 / max, s",
            figure: churned.first.shown(&[500, 990, 1_000]) + &rest,
            anchor: "10.1 / 13.8",
            goal: "6 / 8",
        },
        Row {
            what: "known to all after first detection, p99 / max, s",
            figure: churned.full.shown(&[990, 1_000]),
            anchor: "0.4 / 0.6 (model), 120 / 203 (foca)",
            goal: "0.6 / 1.5",
        },
        Row {
            what: "join known to all, p99 / max, s",
            figure: churned.known.shown(&[990, 1_000]),
            anchor: "0.96 / 17",
            goal: "1.0 / 2.5",
        },
        Row {
            what: "joiner knows all 1,000, max, s",
            figure: large.complete.shown(&[1_000]),
            anchor: "0.02 (model), 1290 (foca)",
            goal: "0.05",
        },
        Row {
            what: "crash of one of 1,000: first, then known to all; join known to all: max of ten, s",
            figure: format!(
                "{}, {}; {}",
                large.first.shown(&[1_000]),
                large.full.shown(&[1_000]),
                large.known.shown(&[1_000])
            ),
            anchor: "16.4, 0.5; 1.06 (model)",
            goal: "",
        },
    ]
}

fn clients(extent: Extent) -> Vec<Row> {
    let crashed = |count, dying, every_ms| {
        let (mut times, wrong) = clients::crashes(count, dying, every_ms, 1);
        let mean = times.0.iter().sum::<u64>() / dying;
        format!("{} / {}; {wrong} wrong", seconds(mean), times.shown(&[990, 1_000]))
    };
    let count = 10_000;
    let mut changed = Clients::with(count, 1);
    changed.kill(7);
    changed.kill_leader();
    changed.pass_ms(60_000);
    let mut deaf = Clients::with(count, 1);
    deaf.deafen(60_000);
    deaf.pass_ms(30_000);
    let mut many = Clients::with(count, 1);
    (0..count / 20).for_each(|nth| many.kill(1 + nth * 20));
    many.pass_ms(60_000);
    let last = many.fleet().found.values().max().copied().unwrap_or_default();
    let blind = changed.fleet().found.values().max().copied().map_or("never".to_owned(), seconds);
    let mut rows = vec![
        Row {
            what: "crash of one of 10,000 clients: mean / p99 / max of 400, s",
            figure: crashed(count, 400, 1_000),
            anchor: "165 / 375 (Nomad), 37 / 44 (k8s)",
            goal: "9 / 15",
        },
        Row {
            what: "healthy clients called down by a leader change, 10,000; one that died with it, s",
            figure: format!("{}; {blind}", changed.fleet().wronged.len()),
            anchor: "840; 300 (Nomad)",
            goal: "0; 15",
        },
        Row {
            what: "healthy clients called down by a leader that is deaf for 60 s, of 10,000",
            figure: deaf.fleet().wronged.len().to_string(),
            anchor: "17 to 100 % (Nomad), 100 % (k8s)",
            goal: "0",
        },
        Row {
            what: "5 % of 10,000 clients die at once: all called down, s / log entries",
            figure: format!(
                "{} / {}; {} of 500, {} wrong",
                seconds(last),
                many.fleet().verdicts,
                many.fleet().found.len(),
                many.fleet().wronged.len()
            ),
            anchor: "409 / 500 (Nomad)",
            goal: "16 / 1 to 3",
        },
    ];
    if extent == Extent::Full {
        rows.push(Row {
            what: "crash of one of 100,000 clients: mean / p99 / max of 50, s",
            figure: crashed(100_000, 50, 1_000),
            anchor: "1,562 / 3,666 (Nomad), 37 / 44 (k8s)",
            goal: "9 / 15",
        });
    }
    rows
}

/// Of real time, so whoever shares the machine is in it.
fn lead(extent: Extent) -> Vec<Row> {
    let minutes = if extent == Extent::Full { 10 } else { 1 };
    let series = Program::find().and_then(|program| {
        Series::of(KILLS, || {
            let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
            servers::Servers::start(&program, folder, 3, "")?.write_after_kill()
        })
    });
    let or_why =
        |figure: Measured<String>| figure.unwrap_or_else(|why| format!("not measured: {why}"));
    vec![
        Row {
            what: "leader of three real servers killed: to the next accepted write, median of 15",
            figure: or_why(series.map(Series::seconds)),
            anchor: "3.18 s (Nomad 1.1.2)",
            goal: "0.8 s",
        },
        Row {
            what: "elections of three real servers beside two busy loops",
            figure: or_why(real::elections_beside_busy_loops(minutes)),
            anchor: "",
            goal: "0 in 10 minutes",
        },
        Row {
            what: "elections in a simulated hour in which each server stands still for 200 ms every ten seconds",
            figure: or_why(real::elections_in_stalls(60)),
            anchor: "",
            goal: "0",
        },
        Row {
            what: "five real servers at rest: bytes sent over QUIC per server and second, all of Raft in it",
            figure: or_why(real::quic_bytes_at_rest(5, 30)),
            anchor: "",
            goal: "",
        },
    ]
}

fn group(_: Extent) -> Vec<Row> {
    let mut group = scenes::crash::<Ours>(1_000, 10, 1);
    let all = group.all_ms.map_or("not all".to_owned(), seconds);
    vec![Row {
        what: "crash of 10 of 1,000: first p50, all known to all, s; steps at a member",
        figure: format!(
            "{}, {all}; {}; {} wrong",
            group.first.shown(&[500]),
            group.shifts_max,
            group.wrong
        ),
        anchor: "13.0, 14.6; 1 (Rapid), 4 to 10 (others)",
        goal: "9; 1, or 2",
    }]
}

fn steady(_: Extent) -> Vec<Row> {
    let few = scenes::steady::<Ours>(128, 120, 0, 1);
    let many = scenes::steady::<Ours>(1_000, 120, 0, 1);
    vec![
        Row {
            what: "idle traffic per member at 128 and 1,000, B/s (datagrams + streams)",
            figure: format!(
                "{} + {}, {} + {}",
                few.bytes, few.stream_bytes, many.bytes, many.stream_bytes
            ),
            anchor: "85 (foca)",
            goal: "70",
        },
        Row {
            what: "CPU per member and second at 1,000, network included, us",
            figure: format!(
                "{}.{}; {} suspected",
                many.cpu_ns / 1_000,
                many.cpu_ns % 1_000 / 100,
                many.suspected
            ),
            anchor: "4.4",
            goal: "4",
        },
    ]
}

fn loss(_: Extent) -> Vec<Row> {
    let lossy = scenes::steady::<Ours>(128, 600, 250, 1);
    vec![Row {
        what: "25 % loss everywhere, 128, 600 s: false verdicts; bytes per second and member",
        figure: format!(
            "{}; {} + {}, {}.{:02} datagrams/s; {} suspected",
            lossy.failed,
            lossy.bytes,
            lossy.stream_bytes,
            lossy.datagrams_centi / 100,
            lossy.datagrams_centi % 100,
            lossy.suspected
        ),
        anchor: "15; 8,500",
        goal: "0; 1,000",
    }]
}

fn partial(_: Extent) -> Vec<Row> {
    let row = |what, faulty: &scenes::Faulty, anchor, goal| Row {
        what,
        figure: format!(
            "{}; {}.{:02} + {}.{:02}; {}; {} B/s",
            faulty.healthy_evicted,
            faulty.removed_percent / 100,
            faulty.removed_percent % 100,
            faulty.returned_percent / 100,
            faulty.returned_percent % 100,
            faulty.out_since_s.map_or("never".to_owned(), |at| at.to_string()),
            faulty.bytes
        ),
        anchor,
        goal,
    };
    vec![
        row(
            "flip-flop, 10 of 1,000, 300 s: healthy evicted; removals + returns of each; out since, s",
            &scenes::faulty::<Ours>(1_000, 10, Fault::FlipFlop, 300, 1),
            "0; 1 + 0 (Rapid)",
            "0; 1 + 0; 60",
        ),
        row(
            "80 % lost of what 10 of 1,000 send, 400 s: the same",
            &scenes::faulty::<Ours>(1_000, 10, Fault::Egress(800), 400, 1),
            "0; 1 + 0 (Rapid)",
            "0; -; 60",
        ),
        row(
            "80 % lost of what 10 of 1,000 are sent, 400 s: the same",
            &scenes::faulty::<Ours>(1_000, 10, Fault::Ingress(800), 400, 1),
            "0 (model), 16 members (foca)",
            "0; -; -",
        ),
    ]
}

fn partition(extent: Extent) -> Vec<Row> {
    let seeds = if extent == Extent::Full { 5 } else { 2 };
    let figure = |minority: usize, secs: u64| {
        let runs = (1..=seeds).map(|seed| scenes::partition::<Ours>(128, minority, secs, seed));
        let shown = runs.map(|run| {
            let split = if run.was_split { "" } else { " (not split)" };
            run.merged_ms.map_or("never".to_owned(), seconds) + split
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    vec![
        Row {
            what: "partition 64/64 for 600 s: merged after healing, s",
            figure: figure(64, 600),
            anchor: "41 to 70",
            goal: "8",
        },
        Row {
            what: "partition 12/116 for 120 s: the same",
            figure: figure(12, 120),
            anchor: "41 to 159",
            goal: "",
        },
        Row {
            what: "partition 64/64 for 30 s: the same",
            figure: figure(64, 30),
            anchor: "4.3 to 96",
            goal: "",
        },
    ]
}

fn bootstrap(extent: Extent) -> Vec<Row> {
    let figure = |count: usize| {
        let run = scenes::bootstrap::<Ours>(count, 1);
        let all = run.all_ms.map_or("never".to_owned(), seconds);
        format!("{all} s, {} sizes, {} kB each", run.sizes, run.bytes / 1_000)
    };
    let mut rows = vec![Row {
        what: "bootstrap of 1,000",
        figure: figure(1_000),
        anchor: "29 s, 4 sizes (Rapid)",
        goal: "5 s, 10 sizes",
    }];
    if extent == Extent::Full {
        rows.push(Row {
            what: "bootstrap of 2,000",
            figure: figure(2_000),
            anchor: "53 s, 4 sizes (Rapid)",
            goal: "8 s",
        });
    }
    rows
}

/// How often a member of the model without any of Lifeguard's parts is wrong, and how much it says, per cell.
const SWIM_WRONG: usize = 123;
const SWIM_DATAGRAMS: u64 = 98_000;

fn grid(extent: Extent) -> Vec<Row> {
    let full = extent == Extent::Full;
    let sick: &[usize] = if full { &[1, 8, 16, 24, 32] } else { &[8, 32] };
    let pauses: &[u64] = &[128, 512, 2_048, 8_192, 16_384, 32_768];
    let runs: &[u64] =
        if full { &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384] } else { &[1, 64, 1_024, 16_384] };
    let figure = |pause: Pause| {
        let (mut sum, mut cells) = (Cell::default(), 0);
        for &sick in sick {
            for &pause_ms in pauses {
                for &run_ms in runs {
                    let cell = scenes::cell::<Ours>(sick, pause_ms, run_ms, pause, 1);
                    if std::env::var_os("CELLS").is_some() {
                        println!(
                            "{sick} sick, {pause_ms} + {run_ms} ms: {} wrong, {} at healthy, {} datagrams, {} right",
                            cell.wrong, cell.wrong_at_healthy, cell.datagrams, cell.right
                        );
                    }
                    cells += 1;
                    sum.wrong += cell.wrong;
                    sum.wrong_at_healthy += cell.wrong_at_healthy;
                    sum.datagrams += cell.datagrams;
                    sum.right += cell.right;
                }
            }
        }
        let wrong_ppm = sum.wrong * 1_000_000 / (SWIM_WRONG * cells);
        let said_percent = sum.datagrams * 100 / (SWIM_DATAGRAMS * cells as u64);
        format!(
            "{} = {}.{:03} % / {}; {said_percent} % of the datagrams; {cells} cells, {} right",
            sum.wrong,
            wrong_ppm / 10_000,
            wrong_ppm % 10_000 / 10,
            sum.wrong_at_healthy,
            sum.right
        )
    };
    vec![
        Row {
            what: "Lifeguard's grid, packets wait both ways: wrong / at healthy, relative to SWIM",
            figure: figure(Pause::Stall),
            anchor: "1.53 % / 1.89 % (paper, io-stall); 14,017 / 3,781 of 240 cells (model, delayed)",
            goal: "0.3 % / 0 at 100 %; 1,500 / 0",
        },
        Row {
            what: "the same with members stopped",
            figure: figure(Pause::Stop),
            anchor: "0 (foca), 120 (model)",
            goal: "0",
        },
    ]
}
