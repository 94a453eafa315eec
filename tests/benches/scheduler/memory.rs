//! What nodes and allocs cost in memory: what the process has more of once a state holds them.
use drover_core::types::*;

use crate::Row;
use crate::shapes::{a_job, mock_node};
use crate::world::World;

const NODES: usize = 10_000;
const JOBS: usize = 100;
const EACH: u32 = 10_000;

/// Bytes that are in memory now.
fn resident() -> u64 {
    let told = std::fs::read_to_string("/proc/self/statm").expect("a kernel that says so");
    let pages = told.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * rustix::param::page_size() as u64
}

pub(crate) fn rows() -> Vec<Row> {
    let before = resident();
    let mut world = World::new((0..NODES).map(mock_node));
    world.keeps_before = false;
    let with_nodes = resident();
    let mut placed = 0;
    for nth in 0..JOBS {
        let spec =
            JobSpec { kind: JobKind::Service, ..a_job(&format!("job-{nth}"), EACH, (100, 64, 10)) };
        let eval = world.register(spec);
        loop {
            let (plan, _) = world.place(eval, 1_024);
            placed += plan.placements.len();
            if plan.verdict != Verdict::More {
                break;
            }
        }
    }
    let with_allocs = resident();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let row =
        |what: String, figure: String, nomad, goal| Row { what, figure, checked: 0, nomad, goal };
    vec![
        row(
            format!("memory of {NODES} nodes"),
            format!("{:.1} MiB", mib(with_nodes - before)),
            "150 MB",
            "10 MB",
        ),
        row(
            format!("memory of {placed} allocs on them"),
            format!("{} B each", (with_allocs - with_nodes) / placed.max(1) as u64),
            "25 KB each",
            "500 B each",
        ),
    ]
}
