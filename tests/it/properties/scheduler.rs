//! What holds of every plan, whatever the cluster looks like. Clusters and what happens to them come out
//! of seeds; each plan is held against `checker`, each entry against the state's own invariants.
mod checker;
mod deployments;
mod everywhere;
mod exact;
mod examples;
mod generate;
mod leaning;
mod looking;
mod pieces;
mod pools;
mod preemption;
mod rebalance;
mod reconciler;
pub(crate) mod rig;
mod rollout;
mod volumes;

use drover_core::planner::{InFlight, View};
use drover_core::rng::Rng;
use drover_core::scheduler::schedule;
use drover_core::types::*;

use self::generate::{a_job, a_node, something_happens};
use self::rig::{BUDGET, Cluster, node, service, with_count};

const SEEDS: u64 = 40;
/// Where every entry of a long history is checked.
const LONG_SEEDS: u64 = 12;

/// A cluster of a few nodes of many kinds, with nothing on them.
fn empty(seed: u64) -> (Cluster, Rng) {
    let mut rng = Rng::from_seed(seed);
    let mut cluster = Cluster::with_nodes(0);
    for id in 1..=rng.between(1, 8) {
        let spec = a_node(&mut rng, u128::from(id));
        cluster.add_node(spec);
    }
    (cluster, rng)
}

#[test]
fn no_node_is_oversubscribed_and_no_constraint_broken_whatever_happens() {
    for seed in 0..SEEDS {
        let (mut cluster, mut rng) = empty(seed);
        cluster.budget = usize::try_from(rng.between(1, 20)).unwrap();
        for _ in 0..40 {
            something_happens(&mut cluster, &mut rng);
            cluster.settle();
        }
    }
}

#[test]
fn a_second_look_at_what_was_done_finds_nothing_new_to_do() {
    for seed in 0..SEEDS {
        let (mut cluster, mut rng) = empty(seed);
        for _ in 0..15 {
            something_happens(&mut cluster, &mut rng);
            cluster.settle();
            let jobs: Vec<JobId> =
                cluster.state.jobs().filter(|j| !j.purged).map(|j| j.id).collect();
            for job in jobs {
                if cluster.is_everywhere(job) {
                    // Who asks gives what failed another chance.
                    cluster.evaluate(job);
                    cluster.settle();
                }
                cluster.evaluate(job);
                let plan = cluster.plan_of(job);
                let idle = plan.stops.is_empty() && plan.placements.is_empty();
                assert!(idle && plan.in_place.is_empty(), "seed {seed}: {}", cluster.told(&plan));
                assert!(plan.verdict != Verdict::More, "seed {seed}: nothing is left over");
                cluster.settle();
            }
        }
    }
}

#[test]
fn with_room_for_all_and_time_to_pass_every_group_comes_to_its_count() {
    for seed in 0..LONG_SEEDS {
        let (mut cluster, mut rng) = empty(seed);
        for _ in 0..25 {
            something_happens(&mut cluster, &mut rng);
            cluster.settle();
        }
        // All faults end: nodes return, and there is a large one that meets every constraint.
        let ids: Vec<NodeId> = cluster.state.nodes().map(|node| node.spec.id).collect();
        for NodeId(id) in ids {
            cluster.mark(id, NodeStatus::Ready);
        }
        generate::add_large_nodes(&mut cluster);
        for _ in 0..30 {
            cluster.settle();
            cluster.clients_act();
            cluster.wait_ms(30_000);
        }
        for job in cluster.state.jobs().filter(|job| !job.stopped) {
            if cluster.is_everywhere(job.id) {
                everywhere::check_all(&cluster, job, seed);
                continue;
            }
            let newest = job.newest();
            let wanted: u32 = newest.spec.groups.iter().map(|group| group.count).sum();
            let live = cluster.live(job.id);
            let done = cluster.state.allocs_of_job(job.id).filter(|alloc| {
                newest.spec.kind == JobKind::Batch
                    && alloc.version == newest.version
                    && alloc.desired == DesiredStatus::Run
                    && alloc.client_status == ClientStatus::Complete
            });
            let there = live.len() + done.count();
            assert_eq!(there, wanted as usize, "seed {seed}: {}", newest.spec.id);
            let current = live.iter().all(|alloc| alloc.version == newest.version);
            assert!(current, "seed {seed}: {} has an old version", newest.spec.id);
        }
        // One on every node may wait for a node that is too small for it.
        let mut blocked = cluster.state.blocked_evals();
        assert!(blocked.all(|eval| cluster.is_everywhere(eval.job)), "seed {seed}");
    }
}

#[test]
fn the_best_fit_is_the_best_of_all_nodes() {
    for seed in 0..SEEDS {
        let (mut cluster, mut rng) = empty(seed);
        // The one that is compared with floats.
        let config = SchedulerConfig { algorithm: Algorithm::BinPack, ..Default::default() };
        cluster.run(drover_core::fsm::Command::SetSchedulerConfig { config, check_index: None });
        for nth in 0..6 {
            let mut spec = a_job(&mut rng, nth);
            spec.groups.truncate(1);
            let job = cluster.register(&spec);
            if cluster.is_everywhere(job) {
                continue;
            }
            checker::check_best(&cluster.state, &cluster.plan_of(job));
            cluster.settle();
        }
    }
}

#[test]
fn the_same_question_has_the_same_answer_and_node_ids_do_not_matter() {
    for seed in 0..SEEDS {
        let build = |rename: fn(u128) -> u128| {
            let mut rng = Rng::from_seed(seed);
            let mut cluster = Cluster::with_nodes(0);
            for id in 1..=6 {
                let spec = a_node(&mut rng, id);
                cluster.add_node(NodeSpec { id: NodeId(rename(id)), ..spec });
            }
            let plans: Vec<Plan> = (0..6)
                .map(|nth| {
                    let job = cluster.register(&a_job(&mut rng, nth));
                    let plan = cluster.plan_of(job);
                    assert_eq!(plan, cluster.plan_of(job), "a plan is a function of its arguments");
                    cluster.settle();
                    without_names(plan)
                })
                .collect();
            plans
        };
        assert_eq!(build(|id| id), build(|id| 1_000 - id), "seed {seed}");
    }
}

/// Failures name a node.
fn without_names(mut plan: Plan) -> Plan {
    if let Verdict::Done { failures, .. } = &mut plan.verdict {
        for near in failures.values_mut().filter_map(|failure| failure.nearest.as_mut()) {
            near.node = NodeId(near.node.0.min(1_000 - near.node.0));
        }
    }
    plan
}

#[test]
fn more_capacity_never_places_fewer() {
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(seed);
        let mut spec = a_job(&mut rng, 0);
        spec.groups.truncate(1);
        let nodes: Vec<NodeSpec> = (1..=6).map(|id| a_node(&mut rng, id)).collect();
        let mut placed_before = 0;
        for count in 1..=nodes.len() {
            let mut cluster = Cluster::with_nodes(0);
            for spec in &nodes[..count] {
                cluster.add_node(spec.clone());
            }
            let job = cluster.register(&spec);
            let placed = cluster.plan_of(job).placements.len();
            assert!(placed_before <= placed, "seed {seed}: a node more, an alloc less");
            placed_before = placed;
        }
    }
}

#[test]
fn what_is_in_flight_is_not_given_away_twice() {
    let mut cluster = Cluster::with_nodes(1);
    let mut first = service(5);
    first.id = "first".to_owned();
    let (one, other) = (cluster.register(&first), cluster.register(&service(5)));
    let plan = cluster.plan_of(one);
    assert_eq!(plan.placements.len(), 5);
    let mut in_flight = InFlight::default();
    in_flight.on_proposed(&cluster.state, &plan);
    let eval = cluster.state.evals_of_job(other).last().unwrap();
    let view = View { state: &cluster.state, in_flight: &in_flight };
    let beside = schedule(&view, eval, 1, BUDGET);
    assert_eq!(cluster.told(&beside), "place 0-2; queued 2", "eight fit in all");
    in_flight.on_applied(plan.eval);
    assert!(in_flight.is_empty() && in_flight == InFlight::default());
}

#[test]
fn the_planner_leaves_out_what_does_not_fit_any_more_and_lets_the_old_ones_run() {
    let mut cluster = Cluster::with_nodes(2);
    let spec = service(2);
    let job = cluster.with_running(&spec);
    cluster.register(&with_count(&rig::changed(&spec), 3));
    let plan = cluster.plan_of(job);
    let gone = plan.placements.iter().filter(|p| p.slot == NodeSlot(0)).count();
    assert!(0 < gone && gone < 3);
    cluster.run(drover_core::fsm::Command::SetNodeEligible { node: NodeId(1), eligible: false });
    let checked = drover_core::planner::check(&cluster.view(), plan.clone());
    assert_eq!(checked.placements.len(), 3 - gone);
    assert_eq!(checked.verdict, Verdict::More, "the evaluation is not done");
    let replaced: Vec<_> = checked.placements.iter().filter_map(|p| p.previous).collect();
    let stopped: Vec<_> = checked.stops.iter().map(|stop| stop.alloc).collect();
    assert_eq!(stopped, replaced, "only what has a successor is stopped");
}

#[test]
fn a_big_job_on_many_nodes_is_placed_exactly() {
    let mut cluster = Cluster::with_nodes(0);
    for id in 1..=60 {
        cluster.add_node(NodeSpec { attributes: node(id).attributes, ..node(id) });
    }
    let mut spec = service(480);
    spec.groups[0].tasks[0].resources.cpu_mhz = 500;
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(plan.placements.len(), 480, "eight on each of sixty: every node is full");
    checker::check_best(&cluster.state, &plan);
}
