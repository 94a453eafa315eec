//! What users of Nomad rely on where nodes are preferred: the reference's examples, number by number.
//! Those of one term alone stand beside it, in `scheduler::tally` and `scheduler::score`.
use std::collections::BTreeMap;

use drover_core::types::*;

use super::rig::{Cluster, constraint, node, service};

/// Ten nodes, every second of them in `dc2`, in racks of two.
fn two_datacenters() -> Cluster {
    let mut cluster = Cluster::with_nodes(0);
    for id in 1..=10_u128 {
        let mut spec = node(id);
        spec.datacenter = if id % 2 == 0 { "dc2" } else { "dc1" }.to_owned();
        spec.meta.insert("rack".to_owned(), ((id - 1) / 2).to_string());
        spec.capacity = Capacity { cpu_mhz: 14_000, memory_mib: 8_192, disk_mib: 100_000 };
        cluster.add_node(spec);
    }
    cluster
}

fn spread(attribute: &str, targets: &[(&str, u8)]) -> Spread {
    let target = |&(value, percent): &(&str, u8)| SpreadTarget { value: value.to_owned(), percent };
    let targets = targets.iter().map(target).collect();
    Spread { attribute: attribute.to_owned(), weight: 100, targets }
}

fn anywhere(count: u32) -> JobSpec {
    JobSpec { datacenters: vec!["*".to_owned()], ..service(count) }
}

/// How many allocs of the plan went to each value.
fn counted(cluster: &Cluster, plan: &Plan, of: fn(&Node) -> String) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for placement in &plan.placements {
        let node = cluster.state.node_at(placement.slot).expect("a known node");
        *counts.entry(of(node)).or_default() += 1;
    }
    counts
}

fn by_datacenter(cluster: &Cluster, plan: &Plan) -> BTreeMap<String, u32> {
    counted(cluster, plan, |node| node.spec.datacenter.clone())
}

fn counts(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
    of.iter().map(|&(value, count)| (value.to_owned(), count)).collect()
}

#[test]
fn an_even_spread_over_two_datacenters_puts_half_into_each() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(10);
    spec.spreads = vec![spread("${node.datacenter}", &[])];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc1", 5), ("dc2", 5)]));
}

#[test]
fn a_spread_with_targets_gives_each_its_share_and_the_rest_to_the_others() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(10);
    spec.groups[0].spreads = vec![spread("${node.datacenter}", &[("dc1", 80)])];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc1", 8), ("dc2", 2)]));
    // The last but one has 7 of 8 before it: (8 - 8) / 8 is no term, and the first had (8 - 1) / 8.
    let first = plan.placements[0].note.parts.expect("a spread counts");
    assert_eq!(first.spread, 875);
    assert_eq!(plan.placements[0].note.score_permille, (first.fit + first.spread) / 2);
}

#[test]
fn what_runs_already_counts_for_a_spread_and_what_is_stopped_does_not() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(4);
    spec.groups[0].constraints = vec![constraint("${node.unique.name}", "!=", "n99")];
    spec.spreads = vec![spread("${node.datacenter}", &[])];
    let job = cluster.with_running(&spec);
    let mut more = spec.clone();
    more.groups[0].count = 8;
    cluster.register(&more);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc1", 2), ("dc2", 2)]));
}

#[test]
fn an_affinity_is_followed_while_there_is_room_and_its_opposite_is_not() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(5);
    let affinity = |weight| Affinity {
        left: "${node.datacenter}".to_owned(),
        operator: Operator::Equal,
        right: "dc2".to_owned(),
        weight,
    };
    spec.groups[0].affinities = vec![affinity(100)];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc2", 5)]));
    assert_eq!(plan.placements[0].note.parts.expect("it counts").affinity, 1_000);
    spec.id = "other".to_owned();
    spec.groups[0].affinities = vec![affinity(-50)];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc1", 5)]));
    assert!(plan.placements.iter().all(|one| one.note.parts.is_none_or(|p| p.affinity == 0)));
}

#[test]
fn affinities_that_are_met_in_part_are_the_share_of_their_weights() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(1);
    let affinity = |right: &str, weight| Affinity {
        left: "${node.datacenter}".to_owned(),
        operator: Operator::Equal,
        right: right.to_owned(),
        weight,
    };
    spec.affinities = vec![affinity("dc1", 60)];
    spec.groups[0].affinities = vec![affinity("dc2", 20)];
    spec.groups[0].tasks[0].affinities = vec![affinity("dc1", -20)];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    assert_eq!(by_datacenter(&cluster, &plan), counts(&[("dc1", 1)]));
    assert_eq!(plan.placements[0].note.parts.expect("it counts").affinity, 400, "(60 - 20) / 100");
}

#[test]
fn no_more_than_the_limit_share_a_value_and_the_rest_is_told_why() {
    let mut cluster = two_datacenters();
    let mut spec = anywhere(12);
    spec.groups[0].constraints = vec![constraint("${meta.rack}", "distinct_property", "2")];
    let job = cluster.register(&spec);
    let plan = cluster.plan_of(job);
    let racks = counted(&cluster, &plan, |node| node.spec.meta["rack"].clone());
    assert_eq!(racks, counts(&[("0", 2), ("1", 2), ("2", 2), ("3", 2), ("4", 2)]));
    let Verdict::Done { failures, .. } = &plan.verdict else { panic!("it is done") };
    let failure = &failures["web"];
    assert_eq!(failure.coalesced, 1);
    let why = "distinct_property: ${meta.rack}=0 used by 2 allocs";
    assert_eq!(failure.filtered.get(why), Some(&2), "{:?}", failure.filtered);
}

#[test]
fn the_emptiest_node_is_the_best_where_the_algorithm_is_spread() {
    let mut cluster = two_datacenters();
    let config = SchedulerConfig { algorithm: Algorithm::Spread, ..SchedulerConfig::default() };
    cluster.run(drover_core::fsm::Command::SetSchedulerConfig { config, check_index: None });
    for nth in 0..10 {
        let mut spec = anywhere(1);
        spec.id = format!("job{nth}");
        let job = cluster.register(&spec);
        let plan = cluster.plan_of(job);
        // Each goes to the next that has nothing on it.
        assert_eq!(plan.placements[0].slot, NodeSlot(nth), "{}", cluster.told(&plan));
        cluster.settle();
    }
}

#[test]
fn a_job_that_is_refused_changes_nothing_and_is_taken_once_it_may_be() {
    let mut cluster = two_datacenters();
    let set = |reject_job_registration| drover_core::fsm::Command::SetSchedulerConfig {
        config: SchedulerConfig { reject_job_registration, ..SchedulerConfig::default() },
        check_index: None,
    };
    cluster.run(set(true));
    let register = || {
        let spec = std::sync::Arc::new(anywhere(1));
        drover_core::fsm::Command::RegisterJob { spec, check_index: None }
    };
    let outcome = cluster.run(register());
    assert!(matches!(outcome, drover_core::fsm::Outcome::Refused(_)), "{outcome:?}");
    assert_eq!(cluster.state.jobs().count(), 0);
    cluster.run(set(false));
    cluster.run(register());
    assert_eq!(cluster.state.jobs().count(), 1);
}

#[test]
fn a_configuration_that_was_set_by_another_meanwhile_is_not_set() {
    let mut cluster = two_datacenters();
    let mut set = |check_index| {
        let config = SchedulerConfig { algorithm: Algorithm::Spread, ..SchedulerConfig::default() };
        cluster.run(drover_core::fsm::Command::SetSchedulerConfig { config, check_index })
    };
    let refused = drover_core::fsm::Outcome::Refused(drover_core::api::Rejection::Conflict {
        index: Index(0),
    });
    assert_eq!(set(Some(Index(3))), refused, "it was never set");
    assert!(matches!(set(Some(Index(0))), drover_core::fsm::Outcome::Applied { .. }));
    assert!(matches!(set(Some(Index(0))), drover_core::fsm::Outcome::Refused(_)));
}
