//! Jobs that are spread over racks, or would rather have some nodes: on an empty fleet, and on one that
//! is in use.
use drover_core::types::*;

use crate::churn::Churn;
use crate::shapes::{a_job, mock_node};
use crate::world::{Spent, World};
use crate::{FLEETS, Row, per_second, scan};

const RUNS: u32 = 9;
const NOMAD: &str = "3 to 4/s of all nodes; 128 to 290/s of 100 nodes";
const GOAL: &str = "300,000/s";

/// What the job is called, and what it would rather have.
type Kind = (&'static str, fn(JobSpec) -> JobSpec);

const KINDS: [Kind; 4] = [
    ("spread over 50 racks", |spec| with_spreads(spec, vec![racks(vec![])])),
    ("spread over 50 racks, 30 % on two", |spec| {
        let target = |value: &str, percent| SpreadTarget { value: value.to_owned(), percent };
        with_spreads(spec, vec![racks(vec![target("r7", 20), target("r8", 10)])])
    }),
    ("affinity", with_affinity),
    ("affinity and spread over 50 racks", |spec| {
        with_affinity(with_spreads(spec, vec![racks(vec![])]))
    }),
];

fn racks(targets: Vec<SpreadTarget>) -> Spread {
    Spread { attribute: "${meta.rack}".to_owned(), weight: 100, targets }
}

fn with_spreads(mut spec: JobSpec, spreads: Vec<Spread>) -> JobSpec {
    spec.groups[0].spreads = spreads;
    spec
}

/// For two rows of four, against one of them.
fn with_affinity(mut spec: JobSpec) -> JobSpec {
    let affinity = |right: &str, weight| Affinity {
        left: "${meta.row}".to_owned(),
        operator: Operator::Less,
        right: right.to_owned(),
        weight,
    };
    spec.groups[0].affinities = vec![affinity("2", 80), affinity("1", -20)];
    spec
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, lean) in KINDS {
        for nodes in FLEETS {
            rows.push(on_empty(name, lean, nodes, 1_200));
        }
        rows.push(on_empty(name, lean, 10_000, 30));
        rows.extend(on_full(name, lean));
    }
    rows
}

fn row(what: String, (count, spent): (u32, Spent), checked: usize, is_shown: bool) -> Row {
    let (nomad, goal) = if is_shown { (NOMAD, GOAL) } else { ("", "") };
    let figure = per_second(count as usize, spent.scheduling);
    Row { what, figure, checked, nomad, goal }
}

/// The fastest of some runs; the first is checked, placement by placement.
fn on_empty(name: &str, lean: fn(JobSpec) -> JobSpec, nodes: usize, count: u32) -> Row {
    let mut world = World::new((0..nodes).map(mock_node));
    let mut best: Option<Spent> = None;
    let mut checked = 0;
    for run in 0..RUNS {
        let spec = lean(a_job(&format!("leaning-{run}"), count, (6_000, 6_000, 300)));
        let eval = world.register(spec);
        world.keeps_before = run == 0;
        let (plan, spent) = world.place(eval, 2_048);
        assert_eq!(plan.placements.len(), count as usize, "there is room for all");
        if run == 0 {
            checked = scan::check(&world.before, &plan, if count < 100 { 1 } else { 7 });
        }
        world.end_all();
        let is_faster = best.is_none_or(|known| spent.scheduling < known.scheduling);
        best = if is_faster { Some(spent) } else { best };
    }
    let spent = best.expect("there was a run");
    let what = format!("{nodes} nodes, {name}, batch of {count}: decided");
    row(what, (count, spent), checked, nodes == 10_000 && 1_000 <= count)
}

/// Among allocs of many shapes, jobs of 30 and of 300 that come and go.
fn on_full(name: &str, lean: fn(JobSpec) -> JobSpec) -> Vec<Row> {
    const NODES: usize = 10_000;
    let mut churn = Churn::new(NODES);
    churn.fill(NODES, 600);
    let mut rows = Vec::new();
    for count in [30, 300] {
        let (mut spent, mut placed, mut checked) = (Spent::default(), 0, 0);
        for run in 0..40 {
            let spec = lean(a_job(&format!("{count}-{run}"), count, (500, 2_000, 300)));
            let eval = churn.world.register(spec);
            churn.world.keeps_before = run == 7;
            let (plan, more) = churn.world.place(eval, 2_048);
            if run == 7 {
                checked = scan::check(&churn.world.before, &plan, 3);
            }
            placed += u32::try_from(plan.placements.len()).expect("a small number");
            spent.add(more);
            let made = churn.world.state.allocs_of_job(plan.job);
            let made: Vec<_> = made.map(|alloc| (alloc.node, alloc.id)).collect();
            made.into_iter().for_each(|(node, alloc)| churn.world.end(node, alloc));
        }
        let what = format!("{NODES} nodes in use, {name}, batches of {count}: decided");
        rows.push(row(what, (placed, spent), checked, count == 300));
    }
    rows
}
