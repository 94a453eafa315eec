//! Host volumes: a group goes where the directories are that it asks for, and may be written to if it
//! writes.
use drover_core::types::*;

use super::generate::a_volume;
use super::rig::{Cluster, node, service, with_count};

fn lender(id: u128, volumes: &[(&str, Access)]) -> NodeSpec {
    let volumes = volumes.iter().map(|&(name, access)| (name.to_owned(), a_volume(access)));
    NodeSpec { host_volumes: volumes.collect(), ..node(id) }
}

/// A service of one alloc that asks for these.
fn asking(name: &str, volumes: &[(&str, Access)]) -> JobSpec {
    let mut spec = with_count(&service(1), 1);
    spec.id = name.to_owned();
    let ask = |&(source, access): &(&str, Access)| {
        (format!("my-{source}"), VolumeAsk { source: source.to_owned(), access })
    };
    spec.groups[0].volumes = volumes.iter().map(ask).collect();
    spec
}

fn where_is(cluster: &Cluster, job: JobId) -> Vec<u128> {
    cluster.live(job).iter().map(|alloc| alloc.node.0).collect()
}

fn filtered(cluster: &Cluster, job: JobId) -> Vec<(String, u32)> {
    let failure = &cluster.blocked(job).expect("it waits").failures["web"];
    failure.filtered.clone().into_iter().collect()
}

const WRITES: Access = Access::ReadWrite;
const READS: Access = Access::ReadOnly;

#[test]
fn a_group_goes_only_where_every_volume_is_that_it_asks_for() {
    let mut cluster = Cluster::with_nodes(1);
    cluster.add_node(lender(2, &[("data", WRITES)]));
    cluster.add_node(lender(3, &[("data", READS), ("logs", WRITES)]));
    let writer = cluster.with_running(&asking("writer", &[("data", WRITES)]));
    assert_eq!(where_is(&cluster, writer), [2], "the other one is only to be read");
    let both = cluster.with_running(&asking("both", &[("data", READS), ("logs", READS)]));
    assert_eq!(where_is(&cluster, both), [3]);
    let nobody = cluster.with_running(&asking("nobody", &[("data", WRITES), ("logs", READS)]));
    let why = "missing compatible host volumes".to_owned();
    assert_eq!(filtered(&cluster, nobody), [(why, 3)]);
}

#[test]
fn who_waits_for_a_volume_is_placed_when_a_node_comes_or_changes_that_has_it() {
    let mut cluster = Cluster::with_nodes(1);
    cluster.add_node(lender(2, &[("data", READS)]));
    let first = cluster.with_running(&asking("first", &[("data", WRITES)]));
    let second = cluster.with_running(&asking("second", &[("logs", READS)]));
    assert_eq!((where_is(&cluster, first), where_is(&cluster, second)), (vec![], vec![]));
    cluster.add_node(lender(2, &[("data", WRITES)]));
    cluster.settle();
    assert_eq!(where_is(&cluster, first), [2], "the node lends it to who writes by now");
    cluster.add_node(lender(3, &[("logs", READS)]));
    cluster.settle();
    assert_eq!(where_is(&cluster, second), [3]);
    cluster.add_node(node(2));
    cluster.settle();
    assert_eq!(where_is(&cluster, first), [2], "what runs is left alone");
}

#[test]
fn another_volume_or_another_mount_takes_a_restart() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(lender(1, &[("data", WRITES), ("logs", WRITES)]));
    let before = asking("web", &[("data", READS)]);
    let job = cluster.with_running(&before);
    let is_replaced = |cluster: &mut Cluster, spec: &JobSpec| {
        cluster.register(spec);
        let plan = cluster.plan_of(job);
        cluster.settle();
        cluster.clients_act();
        cluster.settle();
        plan.in_place.is_empty() && plan.placements.len() == 1
    };
    let mut spec = before.clone();
    spec.groups[0].count = 2;
    assert!(!is_replaced(&mut cluster, &with_count(&spec, 1)), "nothing is another");
    assert!(is_replaced(&mut cluster, &asking("web", &[("data", WRITES)])));
    let mut mounted = asking("web", &[("data", WRITES)]);
    let mount = VolumeMount {
        volume: "my-data".to_owned(),
        destination: "/data".to_owned(),
        ..VolumeMount::default()
    };
    mounted.groups[0].tasks[0].volume_mounts = vec![mount];
    assert!(is_replaced(&mut cluster, &mounted));
    mounted.groups[0].tasks[0].volume_mounts[0].access = READS;
    assert!(is_replaced(&mut cluster, &mounted));
}

#[test]
fn a_job_on_every_node_runs_where_its_volume_is() {
    let mut cluster = Cluster::with_nodes(2);
    cluster.add_node(lender(3, &[("data", READS)]));
    let mut spec = asking("agent", &[("data", READS)]);
    spec.kind = JobKind::System;
    let job = cluster.with_running(&spec);
    assert_eq!(where_is(&cluster, job), [3]);
    cluster.add_node(lender(1, &[("data", WRITES)]));
    cluster.settle();
    let mut nodes = where_is(&cluster, job);
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 3]);
}
