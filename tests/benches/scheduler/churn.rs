//! A full fleet in which one alloc ends and another is placed, again and again: jobs of one alloc each,
//! of many shapes and with constraints and ports. Once with the fleet and its index alone, and once with
//! everything that an evaluation is.
use std::cmp::Reverse;
use std::time::Duration;

use drover_core::rng::Rng;
use drover_core::scheduler::score::{Against, BestFit, score};
use drover_core::state::bits::Bits;
use drover_core::state::fits::Amounts;
use drover_core::state::fleet::{Fleet, Quest};
use drover_core::types::*;

use crate::world::{Spent, World, cpu_now};
use crate::{FLEETS, Row, per_second, scan, shapes};

const SHAPES: usize = 256;
const STEPS: usize = 20_000;
/// Of cpu or memory, whichever is scarcer: what is in use where 98 % of it is asked for.
const FULL_PERMILLE: u64 = 956;

/// See the module.
pub(crate) struct Churn {
    pub(crate) world: World,
    specs: Vec<JobSpec>,
    rng: Rng,
    live: Vec<(NodeId, AllocId)>,
    jobs: usize,
}

/// Whether so much of cpu or memory is in use, in thousandths.
fn is_full(fleet: &Fleet, permille: u64) -> bool {
    let (mut total, mut used) = (Amounts::default(), Amounts::default());
    for slot in fleet.slots() {
        total.add(fleet.usable(slot));
        used.add(fleet.used(slot));
    }
    total.cpu_mhz * permille <= used.cpu_mhz * 1_000
        || total.memory_mib * permille <= used.memory_mib * 1_000
}

fn missed(steps: usize, placed: usize) -> String {
    format!("{:.1} % find no room", (steps - placed) as f64 / steps as f64 * 100.0)
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.between(0, bound as u64 - 1)).expect("a small number")
}

impl Churn {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = World::new((0..nodes).map(shapes::mixed_node));
        world.keeps_before = false;
        Self { world, specs: shapes::many(SHAPES), rng: Rng::from_seed(5), live: vec![], jobs: 0 }
    }

    fn register(&mut self, count: u32) -> EvalId {
        let mut spec = self.specs[below(&mut self.rng, SHAPES)].clone();
        self.jobs += 1;
        spec.id = format!("job-{}", self.jobs);
        spec.groups[0].count = count;
        self.world.register(spec)
    }

    pub(crate) fn fill(&mut self, nodes: usize, permille: u64) {
        let count = u32::try_from(nodes / 20).expect("a small number");
        while !is_full(self.world.state.fleet(), permille) {
            let eval = self.register(count);
            self.world.place(eval, 2_048);
        }
        let running = self.world.state.allocs();
        self.live = running.map(|alloc| (alloc.node, alloc.id)).collect();
    }

    /// One alloc ends and one comes, `steps` times.
    fn churn(&mut self, steps: usize, check_every: usize) -> Churned {
        let mut churned = Churned::default();
        for step in 0..steps {
            let gone = below(&mut self.rng, self.live.len());
            let (node, alloc) = self.live.swap_remove(gone);
            let started = cpu_now();
            self.world.end(node, alloc);
            churned.releasing += cpu_now() - started;
            let eval = self.register(1);
            self.world.keeps_before = step % check_every == 0;
            let (plan, spent) = self.world.place(eval, 512);
            if self.world.keeps_before {
                churned.checked += scan::check(&self.world.before, &plan, 1);
            }
            churned.spent.add(spent);
            churned.placed += plan.placements.len();
            let job = plan.job;
            let made = self.world.state.allocs_of_job(job).map(|alloc| (alloc.node, alloc.id));
            self.live.extend(made);
        }
        churned
    }
}

#[derive(Default)]
struct Churned {
    spent: Spent,
    releasing: Duration,
    placed: usize,
    checked: usize,
}

pub(crate) fn index_rows() -> Vec<Row> {
    FLEETS.map(index_row).to_vec()
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for nodes in FLEETS {
        let mut churn = Churn::new(nodes);
        churn.fill(nodes, FULL_PERMILLE);
        let churned = churn.churn(STEPS, STEPS / 40);
        let whole = churned.spent.whole() + churned.releasing;
        let shown = nodes == 10_000;
        rows.push(Row {
            what: format!(
                "{nodes} nodes, {SHAPES} shapes, full ({}): a job of one decided",
                missed(STEPS, churned.placed)
            ),
            figure: per_second(STEPS, churned.spent.scheduling),
            checked: churned.checked,
            nomad: if shown { "1,500 to 2,200/s, 14 candidates seen" } else { "" },
            goal: "",
        });
        rows.push(Row {
            what: format!("{nodes} nodes, the same: decided, checked, applied, another released"),
            figure: format!("{}: {}", per_second(STEPS, whole), churned.spent.parts(STEPS)),
            checked: churned.checked,
            nomad: "",
            goal: "",
        });
    }
    rows
}

/// Allocs of one shape in one of the rows of racks: the fleet without jobs.
struct Bare {
    fleet: Fleet,
    usable: Vec<Amounts>,
    shapes: Vec<(Capacity, usize)>,
    allowed: [Bits; 4],
    rng: Rng,
    live: Vec<(NodeSlot, Capacity)>,
}

impl Bare {
    fn new(nodes: usize) -> Self {
        let mut fleet = Fleet::default();
        let mut allowed = [(); 4].map(|()| Bits::default());
        let mut usable = vec![];
        for nth in 0..nodes {
            let node = shapes::ready(shapes::mixed_node(nth));
            let slot = fleet.put_node(&node);
            usable.push(node.spec.usable().into());
            let row: usize = node.spec.meta["row"].parse().expect("a number");
            (row..4).for_each(|rows| allowed[rows].set(slot, true));
        }
        let shapes = shapes::many(SHAPES).into_iter().map(|spec| {
            let group = &spec.groups[0];
            let rows = group.constraints.first().map_or(4, |c| c.right.parse().expect("a number"));
            (group.capacity().expect("a sum that fits"), rows - 1)
        });
        let (shapes, rng) = (shapes.collect(), Rng::from_seed(5));
        Self { fleet, usable, shapes, allowed, rng, live: vec![] }
    }

    fn best(&self, (ask, rows): (Capacity, usize)) -> Option<NodeSlot> {
        let (allowed, excluded) = (&self.allowed[rows], &Bits::default());
        let found =
            self.fleet.best(Quest { ask, ports: &[], wanted: 1, allowed, excluded }, &BestFit);
        found.nodes.first().map(|&(_, slot)| slot)
    }

    /// What `best` should be.
    fn scan(&self, (ask, rows): (Capacity, usize)) -> Option<NodeSlot> {
        let slots = (0..).map(NodeSlot).zip(&self.usable);
        let fitting = slots.filter_map(|(slot, &usable)| {
            let mut used = self.fleet.used(slot);
            used.add(ask.into());
            let fits = self.allowed[rows].has(slot) && used.is_within(usable);
            fits.then(|| (score(usable, used, Against::default()), Reverse(slot)))
        });
        fitting.max().map(|(_, Reverse(slot))| slot)
    }

    fn place(&mut self, shape: (Capacity, usize)) -> bool {
        let Some(slot) = self.best(shape) else { return false };
        self.fleet.hold_at(slot, Claim::of(shape.0, &[]));
        self.live.push((slot, shape.0));
        true
    }

    fn a_shape(&mut self) -> (Capacity, usize) {
        self.shapes[below(&mut self.rng, SHAPES)]
    }

    fn fill(&mut self) {
        while !is_full(&self.fleet, FULL_PERMILLE) {
            for _ in 0..100 {
                let shape = self.a_shape();
                self.place(shape);
            }
        }
    }

    fn churn(&mut self, steps: usize) -> (usize, Duration) {
        let (mut placed, started) = (0, cpu_now());
        for _ in 0..steps {
            let gone = below(&mut self.rng, self.live.len());
            let (slot, capacity) = self.live.swap_remove(gone);
            self.fleet.release_at(slot, Claim::of(capacity, &[]));
            let shape = self.a_shape();
            placed += usize::from(self.place(shape));
        }
        (placed, cpu_now() - started)
    }
}

fn index_row(nodes: usize) -> Row {
    const CHUNKS: usize = 200;
    let mut bare = Bare::new(nodes);
    bare.fill();
    let (mut placed, mut took) = (0, Duration::ZERO);
    for _ in 0..CHUNKS {
        let (more, spent) = bare.churn(2_000);
        (placed, took) = (placed + more, took + spent);
        let shape = bare.a_shape();
        assert_eq!(bare.best(shape), bare.scan(shape), "the best of all nodes");
    }
    let shown = nodes == 10_000;
    Row {
        what: format!(
            "{nodes} nodes, {SHAPES} shapes, full ({}): the index, releases included",
            missed(CHUNKS * 2_000, placed)
        ),
        figure: per_second(CHUNKS * 2_000, took),
        checked: CHUNKS,
        nomad: if shown { "1,500 to 2,200/s, 14 candidates seen" } else { "" },
        goal: if shown { "1,000,000/s" } else { "" },
    }
}
