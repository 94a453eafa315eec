//! Node pools, as jobs meet them: who waits, who is woken, and by which algorithm nodes compare.
use std::collections::BTreeSet;

use drover_core::fsm::Command;
use drover_core::types::*;

use super::rig::{Cluster, node, service};

fn of_pool(name: &str, count: u32) -> JobSpec {
    JobSpec { id: name.to_owned(), node_pool: PoolName::of(name), ..service(count) }
}

fn with_algorithm(algorithm: Option<Algorithm>) -> Command {
    let scheduler = PoolScheduler { algorithm, memory_oversubscription: None };
    let spec = PoolSpec { name: PoolName::of("gpu"), scheduler, ..PoolSpec::default() };
    Command::UpsertNodePool { spec }
}

#[test]
fn a_job_waits_for_a_node_of_its_pool_and_for_no_other() {
    let mut cluster = Cluster::with_nodes(2);
    let job = cluster.register(&of_pool("gpu", 2));
    cluster.settle();
    let failed = cluster.blocked(job).expect("it waits").clone();
    let why = &cluster.state.evals_of_job(job).next().expect("one").failures["web"];
    assert_eq!((why.nodes_evaluated, why.nodes_in_pool), (0, 0));
    assert!(why.filtered.is_empty(), "nodes of another pool were not looked at");
    let evals = cluster.state.evals_of_job(job).count();
    cluster.add_node(node(3));
    cluster.settle();
    assert_eq!(cluster.blocked(job).map(|eval| eval.id), Some(failed.id), "nothing came for it");
    assert_eq!(cluster.state.evals_of_job(job).count(), evals);
    cluster.add_node(NodeSpec { pool: PoolName::of("gpu"), ..node(4) });
    cluster.settle();
    assert!(cluster.blocked(job).is_none());
    let nodes: BTreeSet<NodeId> = cluster.live(job).iter().map(|alloc| alloc.node).collect();
    assert_eq!(nodes, BTreeSet::from([NodeId(4)]));
    // A node that comes over from another pool is as good as a new one.
    let more = cluster.register(&of_pool("gpu", 12));
    cluster.settle();
    assert!(cluster.blocked(more).is_some());
    cluster.add_node(NodeSpec { pool: PoolName::of("gpu"), ..node(3) });
    cluster.settle();
    assert!(cluster.blocked(more).is_none());
}

#[test]
fn a_pool_s_algorithm_is_that_of_its_jobs_alone() {
    let nodes_of = |cluster: &Cluster, job: JobId| {
        let plan = cluster.plan_of(job);
        plan.placements.iter().map(|placement| placement.slot).collect::<BTreeSet<_>>().len()
    };
    for (own, global, of_pool_jobs, of_others) in [
        (None, Algorithm::BinPack, 1, 1),
        (Some(Algorithm::Spread), Algorithm::BinPack, 2, 1),
        (Some(Algorithm::BinPack), Algorithm::Spread, 1, 2),
        (None, Algorithm::Spread, 2, 2),
    ] {
        let mut cluster = Cluster::with_nodes(2);
        for id in 3..=4 {
            cluster.add_node(NodeSpec { pool: PoolName::of("gpu"), ..node(id) });
        }
        let config = SchedulerConfig { algorithm: global, ..SchedulerConfig::default() };
        cluster.run(Command::SetSchedulerConfig { config, check_index: None });
        cluster.run(with_algorithm(own));
        // Of different groups, so that they do not avoid each other.
        let pair = |name: &str| {
            let mut spec = of_pool(name, 1);
            let mut other = spec.groups[0].clone();
            "api".clone_into(&mut other.name);
            spec.groups.push(other);
            spec
        };
        let (inside, outside) =
            (cluster.register(&pair("gpu")), cluster.register(&pair("default")));
        assert_eq!(nodes_of(&cluster, inside), of_pool_jobs, "{own:?} {global:?}");
        assert_eq!(nodes_of(&cluster, outside), of_others, "{own:?} {global:?}");
    }
}
