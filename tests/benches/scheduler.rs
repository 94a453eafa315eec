//! The scheduler in process, on one core: what Nomad's own harness measures, with all nodes looked at.
//!
//!   cargo bench -p drover-tests --bench scheduler                  everything
//!   cargo bench -p drover-tests --bench scheduler -- batch churn   only these
//!
//! Times are CPU time of this thread, since the machine is shared. Nodes, shapes and the order of what
//! happens are fixed. In the same run answers are compared with a scan of all nodes that shares only
//! the score with the scheduler (`scan`): one that differs ends the run.
//!
//! Source of the figures of Nomad 1.1.2: the same rows on this machine, nodes and groups alike.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]
use std::process::ExitCode;
use std::time::Duration;

#[path = "scheduler/churn.rs"]
mod churn;
#[path = "scheduler/dispatch.rs"]
mod dispatch;
#[path = "scheduler/leaning.rs"]
mod leaning;
#[path = "scheduler/memory.rs"]
mod memory;
#[path = "scheduler/quality.rs"]
mod quality;
#[path = "scheduler/scan.rs"]
mod scan;
#[path = "scheduler/shapes.rs"]
mod shapes;
#[path = "scheduler/through.rs"]
mod through;
#[path = "scheduler/world.rs"]
mod world;

use drover_core::fsm::Command;
use drover_core::limits::PLACEMENTS_PER_STEP_MAX;
use drover_core::types::{EvalId, JobKind, NodeStatus, Verdict};
use shapes::{a_job, mock_node};
use world::{Spent, World};

/// A line of the table.
#[derive(Clone)]
struct Row {
    what: String,
    figure: String,
    checked: usize,
    nomad: &'static str,
    goal: &'static str,
}

struct Part {
    name: &'static str,
    measure: fn() -> Vec<Row>,
}

const PARTS: &[Part] = &[
    // First, while the process has had nothing else in its memory.
    Part { name: "memory", measure: memory::rows },
    Part { name: "batch", measure: batch },
    Part { name: "leaning", measure: leaning::rows },
    Part { name: "index", measure: churn::index_rows },
    Part { name: "churn", measure: churn::rows },
    Part { name: "one-node", measure: one_node },
    Part { name: "system", measure: system },
    Part { name: "dispatch", measure: dispatch::rows },
    Part { name: "through", measure: through::rows },
    Part { name: "million", measure: through::million },
    Part { name: "quality", measure: quality::rows },
];

/// The product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLEETS: [usize; 3] = [1_000, 5_000, 10_000];

fn main() -> ExitCode {
    // As an agent does.
    rustix::thread::disable_transparent_huge_pages(true).ok();
    // Cargo itself adds `--bench`.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let unknown = asked.iter().find(|name| PARTS.iter().all(|part| part.name != name.as_str()));
    if let Some(name) = unknown {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        println!("there is no {name:?}; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    println!("| in process, one core | Drover | answers checked | Nomad 1.1.2 | goal |");
    println!("|---|---|---|---|---|");
    for part in PARTS {
        if !asked.is_empty() && asked.iter().all(|name| name != part.name) {
            continue;
        }
        for Row { what, figure, checked, nomad, goal } in (part.measure)() {
            println!("| {what} | {figure} | {checked} | {nomad} | {goal} |");
        }
    }
    ExitCode::SUCCESS
}

/// `12,345/s`, and what one took.
pub(crate) fn per_second(count: usize, took: Duration) -> String {
    let rate = count as f64 / took.as_secs_f64().max(1e-9);
    let each = took.as_nanos() as f64 / count.max(1) as f64;
    format!("{}/s ({each:.0} ns)", grouped(rate))
}

fn grouped(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if 0 < nth && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One job of 1,200 allocs on an empty fleet.
fn batch() -> Vec<Row> {
    const COUNT: u32 = 1_200;
    const RUNS: u32 = 9;
    let mut rows = Vec::new();
    for nodes in FLEETS {
        let mut world = World::new((0..nodes).map(mock_node));
        let mut best: Option<Spent> = None;
        let mut checked = 0;
        for run in 0..RUNS {
            // Fresh room each time: what ran before has ended.
            let eval = world.register(a_job(&format!("batch-{run}"), COUNT, (6_000, 6_000, 300)));
            world.keeps_before = run == 0;
            // One plan, so that the figure is of placing and not of starting over.
            let (plan, spent) = world.place(eval, 2_048);
            assert_eq!(plan.placements.len(), COUNT as usize, "there is room for all");
            if run == 0 {
                checked = scan::check(&world.before, &plan, 1);
            }
            world.end_all();
            let faster = best.is_none_or(|known| spent.scheduling < known.scheduling);
            best = if faster { Some(spent) } else { best };
        }
        let spent = best.expect("there was a run");
        let count = COUNT as usize;
        rows.push(Row {
            what: format!("{nodes} nodes, batch of {COUNT}: decided"),
            figure: per_second(count, spent.scheduling),
            checked,
            nomad: if nodes == 10_000 { "5,000 to 8,000/s, 2 candidates seen" } else { "" },
            goal: if nodes == 10_000 { "3,000,000/s" } else { "" },
        });
        rows.push(Row {
            what: format!("{nodes} nodes, batch of {COUNT}: decided, checked and applied"),
            figure: format!("{}: {}", per_second(count, spent.whole()), spent.parts(count)),
            checked,
            nomad: "",
            goal: "",
        });
    }
    rows
}

/// 10,000 allocs where there is only one node to go to, in the plans that a leader would make.
fn one_node() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    let mut giant = mock_node(0);
    giant.capacity.cpu_mhz = 2_000_000_000;
    giant.capacity.memory_mib = 2_000_000_000;
    giant.capacity.disk_mib = 2_000_000_000;
    let mut world = World::new([giant].into_iter());
    let mut eval = world.register(a_job("many", COUNT, (100, 64, 10)));
    let (mut placed, mut spent, mut slowest) = (0, Spent::default(), Duration::ZERO);
    let mut checked = 0;
    let mut first = None;
    while placed < COUNT as usize {
        world.keeps_before = placed.is_multiple_of(5);
        let (plan, more) = world.place(eval, PLACEMENTS_PER_STEP_MAX);
        if world.keeps_before {
            checked += scan::check(&world.before, &plan, 97);
        }
        placed += plan.placements.len();
        assert!(!plan.placements.is_empty(), "there is room for all");
        first = first.or(Some((plan.placements.len(), more.whole())));
        slowest = slowest.max(more.scheduling);
        spent.add(more);
        eval = plan.eval;
    }
    let (count, took) = first.expect("something was placed");
    let whole = spent.whole();
    vec![
        Row {
            what: format!("{COUNT} allocs on one node: decided, checked and applied"),
            figure: format!("{:.3} s, {}", whole.as_secs_f64(), per_second(placed, whole)),
            checked,
            nomad: "not in 300 s",
            goal: "0.1 s",
        },
        Row {
            what: "the same, of its first plan".to_owned(),
            figure: per_second(count, took),
            checked: 0,
            nomad: "3,900/s",
            goal: "flat",
        },
        Row {
            what: "the same, its longest scheduling".to_owned(),
            figure: format!("{:.2} ms", slowest.as_secs_f64() * 1e3),
            checked: 0,
            nomad: "",
            goal: "10 ms",
        },
    ]
}

/// One system job where nothing runs, and its update, in the plans that a leader would make; then a look
/// that finds nothing to do, and one node more.
fn system() -> Vec<Row> {
    let mut rows = Vec::new();
    for nodes in FLEETS {
        let mut world = World::new((0..nodes).map(mock_node));
        world.keeps_before = false;
        let mut spec = a_job("agent", 1, (100, 128, 10));
        spec.kind = JobKind::System;
        spec.groups[0].update.parallel_max = 0;
        let quanta = |world: &mut World, eval: EvalId| {
            let (mut spent, mut placed, mut plans) = (Spent::default(), 0, 0);
            loop {
                let (plan, cost) = world.place(eval, PLACEMENTS_PER_STEP_MAX);
                spent.add(cost);
                placed += plan.placements.len() + plan.in_place.len();
                plans += 1;
                if plan.verdict != Verdict::More {
                    return (spent, placed, plans);
                }
            }
        };
        let mut row = |what: &str, (spent, changed, plans): (Spent, usize, usize)| {
            let whole = spent.whole().as_secs_f64() * 1e3;
            rows.push(Row {
                what: format!("{nodes} nodes, system job: {what}"),
                figure: format!("{whole:.2} ms in {plans} plans: {}", spent.parts(changed)),
                checked: changed,
                nomad: "",
                goal: "",
            });
        };
        let eval = world.register(spec.clone());
        let placed = quanta(&mut world, eval);
        assert_eq!(placed.1, nodes, "one on each");
        row("placed everywhere", placed);
        spec.groups[0].restart.attempts += 1;
        let eval = world.register(spec.clone());
        let updated = quanta(&mut world, eval);
        assert_eq!(updated.1, nodes, "each takes the new version");
        row("updated in place", updated);
        let mut more = mock_node(nodes);
        more.name = "one-more".to_owned();
        let id = more.id;
        world.run(Command::RegisterNode { spec: more.into() });
        let (nodes_up, reason) = (vec![id], String::new());
        let status = NodeStatus::Ready;
        world.run(Command::SetNodeStatus { nodes: nodes_up, status, reason });
        let eval = world.state.pending_evals().next().expect("the node woke it").id;
        let one = quanta(&mut world, eval);
        assert_eq!(one.1, 1, "only there is something to do");
        row("one node more", one);
    }
    rows
}
