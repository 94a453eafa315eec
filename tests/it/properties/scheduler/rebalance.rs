//! What holds of every rebalance, whatever the cluster looks like.
//!
//! The law: what all allocs have together is a number that follows from who is where, and each move raises
//! it. So a cluster that is rebalanced again and again, and in which nothing else happens, never is as it
//! was before, and comes to where nothing is proposed any more.
use std::collections::BTreeSet;

use drover_core::fsm::{Command, Outcome};
use drover_core::rng::Rng;
use drover_core::types::*;
use drover_shell::forecast::rebalance::{Ask, Rebalance};
use drover_sim::checkers::{migrate, rebalances_end};

use super::SEEDS;
use super::generate::{a_job, a_node, lean};
use super::rig::{Cluster, node, service};
use crate::rebalance_scripts::planned;

/// Rounds after which a cluster is at rest: each moves something for good.
const ROUNDS_MAX: usize = 40;

fn ask(budget: usize, gain_permille_min: u32) -> Ask {
    Ask { budget, gain_permille_min, job: None, pool: None }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("a small number")
}

/// Services that run on a few nodes, and nodes that come later.
fn grown(seed: u64) -> (Cluster, Rng) {
    let mut rng = Rng::from_seed(seed);
    let mut cluster = Cluster::with_nodes(0);
    let early = rng.between(1, 3);
    // Some want company, and others flee it.
    let is_mixed = rng.chance(300);
    if is_mixed {
        let mut spec = PoolSpec { name: PoolName::of("gpu"), ..PoolSpec::default() };
        spec.scheduler.algorithm = Some(Algorithm::Spread);
        cluster.run(Command::UpsertNodePool { spec });
    }
    (1..=early).for_each(|id| cluster.add_node(some_node(&mut rng, id, is_mixed)));
    if rng.chance(400) && !is_mixed {
        let algorithm = Algorithm::Spread;
        let config = SchedulerConfig { algorithm, ..SchedulerConfig::default() };
        cluster.run(Command::SetSchedulerConfig { config, check_index: None });
    }
    for nth in 0..rng.between(1, 8) {
        let mut spec = a_job(&mut rng, nth);
        if rng.chance(600) {
            spec = lean(&mut rng, spec);
        }
        if rng.chance(850) {
            spec.kind = JobKind::Service;
        }
        if is_mixed {
            spec.node_pool = PoolName::of(if rng.chance(500) { "gpu" } else { PoolName::ALL });
        }
        if cluster.state.job_named("default", &spec.id).is_none() {
            cluster.register(&spec);
        }
    }
    settle(&mut cluster);
    let late = early + rng.between(1, 5);
    (early + 1..=late).for_each(|id| cluster.add_node(some_node(&mut rng, id, is_mixed)));
    settle(&mut cluster);
    (cluster, rng)
}

/// As good as another, or not.
fn some_node(rng: &mut Rng, id: u64, is_mixed: bool) -> NodeSpec {
    let mut spec = if rng.chance(500) { node(u128::from(id)) } else { a_node(rng, u128::from(id)) };
    if is_mixed {
        spec.pool = PoolName::of("gpu");
    }
    spec
}

/// Seconds pass until nobody has anything to do. No more moves at once than may.
fn settle(cluster: &mut Cluster) {
    cluster.settle();
    for _ in 0..400 {
        let before = cluster.state.index();
        cluster.clients_act();
        cluster.settle();
        migrate::check(&cluster.state).expect("a few at a time");
        let is_quiet = cluster.state.index() == before;
        cluster.wait_ms(1_000);
        if is_quiet && rebalances_end::check(&cluster.state).is_ok() && all_judged(cluster) {
            return;
        }
    }
}

fn all_judged(cluster: &Cluster) -> bool {
    let mut live = cluster
        .state
        .allocs()
        .filter(|alloc| alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal());
    live.all(|alloc| {
        let job = cluster.state.job(alloc.job).expect("a known job");
        job.newest().spec.kind != JobKind::Service || alloc.health.is_some()
    })
}

fn order(cluster: &mut Cluster, plan: &Rebalance, gain_permille_min: u32) {
    let moves = plan.moves.iter().map(|one| one.alloc).collect();
    let outcome = cluster.run(Command::Rebalance { moves, gain_permille_min });
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
}

/// Who is where.
fn arrangement(cluster: &Cluster) -> BTreeSet<(JobId, u16, u32, NodeId)> {
    let live = cluster
        .state
        .allocs()
        .filter(|alloc| alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal());
    live.map(|alloc| (alloc.job, alloc.group, alloc.ordinal, alloc.node)).collect()
}

#[test]
fn a_cluster_that_is_rebalanced_again_and_again_never_is_as_it_was_and_comes_to_rest() {
    let (mut moves, mut rounds, mut at_once) = (0, 0, 0);
    for seed in 0..SEEDS * 4 {
        let (mut cluster, mut rng) = grown(seed);
        let least = narrow(rng.between(1, 60));
        let budget = usize::try_from(rng.between(1, 30)).expect("small");
        let mut seen = BTreeSet::from([arrangement(&cluster)]);
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "seed {seed}: it goes on and on");
            let plan = planned(&cluster, &ask(budget, least));
            assert!(plan.moves.len() <= budget, "seed {seed}: the budget is kept");
            let movers: BTreeSet<AllocId> = plan.moves.iter().map(|one| one.alloc).collect();
            assert_eq!(movers.len(), plan.moves.len(), "seed {seed}: each moves once");
            assert!(plan.moves.iter().all(|one| least.cast_signed() <= one.gain_permille()));
            if plan.moves.is_empty() {
                assert_eq!(plan.more, 0, "seed {seed}: nobody is left out without a reason");
                at_once += u32::from(round == 1);
                break;
            }
            moves += plan.moves.len();
            rounds += 1;
            order(&mut cluster, &plan, least);
            settle(&mut cluster);
            rebalances_end::check(&cluster.state).expect("every move ends");
            let now = arrangement(&cluster);
            let is_new = seen.insert(now);
            assert!(is_new, "seed {seed}, round {round}: it is as it was before: {plan:?}");
        }
    }
    assert!(100 < moves && 40 < rounds && 10 < at_once, "{moves} {rounds} {at_once}");
}

#[test]
fn what_is_planned_first_is_what_happens() {
    let mut moved = 0;
    for seed in 0..SEEDS * 2 {
        let (mut cluster, mut rng) = grown(seed + 1_000);
        let least = narrow(rng.between(1, 60));
        for round in 0.. {
            let Some(one) = planned(&cluster, &ask(1, least)).moves.first().cloned() else { break };
            assert!(round < ROUNDS_MAX, "seed {seed}: it goes on and on");
            let again = planned(&cluster, &ask(1, least));
            assert_eq!(again.moves, std::slice::from_ref(&one), "seed {seed}: asked twice");
            let whole = planned(&cluster, &ask(50, least));
            assert_eq!(whole.moves[0], one, "seed {seed}: a budget changes no order");
            order(&mut cluster, &again, least);
            cluster.settle();
            let old = cluster.state.alloc(one.alloc).expect("an alloc that moves");
            let next = old.next.unwrap_or_else(|| panic!("seed {seed}: {one:?} stays"));
            let next = cluster.state.alloc(next).expect("its successor");
            assert_eq!((old.node, next.node), (one.from, one.to), "seed {seed}");
            assert_eq!(next.placed.score_permille, one.there.score_permille, "seed {seed}");
            settle(&mut cluster);
            moved += 1;
        }
    }
    assert!(60 < moved, "{moved}");
}

#[test]
fn nodes_of_another_pool_and_the_order_in_which_nodes_came_change_nothing() {
    let told = |order: &[u128], with_others: bool| {
        let mut cluster = Cluster::with_nodes(0);
        // No two are alike, so that nothing is a tie.
        let distinct = |id: u128| {
            let mut spec = node(id);
            spec.capacity.cpu_mhz += 70 * u32::try_from(id).expect("small");
            spec.capacity.memory_mib += 130 * u32::try_from(id * id % 7).expect("small");
            spec
        };
        cluster.add_node(distinct(1));
        for (name, count, size) in [("a", 5, 300), ("b", 3, 500), ("c", 2, 200)] {
            let mut spec = service(count);
            spec.id = name.to_owned();
            spec.groups[0].tasks[0].resources.cpu_mhz = size;
            cluster.register(&spec);
        }
        settle(&mut cluster);
        for &id in order {
            cluster.add_node(distinct(id));
            if with_others {
                let pool = PoolName::of("gpu");
                cluster.add_node(NodeSpec { pool, ..node(id + 100) });
            }
        }
        let plan = planned(&cluster, &ask(20, 1));
        let moves = plan.moves.iter().map(|one| {
            let alloc = cluster.state.alloc(one.alloc).expect("an alloc");
            (alloc.job, alloc.ordinal, one.from, one.to, one.gain_permille())
        });
        moves.collect::<Vec<_>>()
    };
    let plain = told(&[2, 3, 4, 5], false);
    assert!(5 < plain.len(), "{plain:?}");
    for (order, with_others) in [([5, 4, 3, 2], false), ([3, 5, 2, 4], false), ([2, 3, 4, 5], true)]
    {
        assert_eq!(told(&order, with_others), plain, "{order:?}, others: {with_others}");
    }
}
