//! What tasks ask for beside quantities: more memory than is kept for them, and
//! cores and devices for themselves.
use drover_core::fsm::Command;
use drover_core::types::*;

use super::generate::a_make;
use super::rig::{Cluster, constraint, node, service, with_count};

/// A service of `count` allocs of 500 MHz and 2,000 MiB that may use `most`.
fn growing(name: &str, count: u32, most: MemoryMax) -> JobSpec {
    let mut spec = with_count(&service(count), count);
    spec.id = name.to_owned();
    let resources = &mut spec.groups[0].tasks[0].resources;
    (resources.memory_mib, resources.memory_max) = (2_000, most);
    spec
}

fn oversubscribe(cluster: &mut Cluster, memory_oversubscription: bool) {
    let config = SchedulerConfig { memory_oversubscription, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
}

fn may_exceed(cluster: &Cluster, job: JobId) -> Vec<bool> {
    cluster.live(job).iter().map(|alloc| alloc.may_exceed_memory).collect()
}

#[test]
fn memory_is_counted_as_it_is_kept_and_may_be_exceeded_where_the_cluster_says_so() {
    let mut cluster = Cluster::with_nodes(1);
    let before = cluster.with_running(&growing("before", 1, MemoryMax::Mib(8_000)));
    assert_eq!(may_exceed(&cluster, before), [false], "nobody has allowed it");
    oversubscribe(&mut cluster, true);
    let after = cluster.with_running(&growing("after", 3, MemoryMax::Mib(8_000)));
    assert_eq!(may_exceed(&cluster, after), [true; 3], "8,000 MiB hold four of 2,000");
    assert_eq!(cluster.live(after)[0].capacity.memory_mib, 2_000);
    assert_eq!(may_exceed(&cluster, before), [false], "decided when it was placed");
    let more = cluster.register(&growing("more", 1, MemoryMax::Unlimited));
    assert_eq!(cluster.told(&cluster.plan_of(more)), "queued 1");
}

#[test]
fn a_pool_says_for_itself_whether_memory_may_be_exceeded() {
    let mut cluster = Cluster::with_nodes(1);
    oversubscribe(&mut cluster, true);
    let scheduler = PoolScheduler { algorithm: None, memory_oversubscription: Some(false) };
    let spec = PoolSpec { name: PoolName::of("gpu"), scheduler, ..PoolSpec::default() };
    cluster.run(Command::UpsertNodePool { spec });
    cluster.add_node(NodeSpec { pool: PoolName::of("gpu"), ..node(2) });
    let mut spec = growing("pooled", 1, MemoryMax::Unlimited);
    let all = cluster.with_running(&spec);
    spec.id = "gpu".to_owned();
    spec.node_pool = PoolName::of("gpu");
    let own = cluster.with_running(&spec);
    assert_eq!((may_exceed(&cluster, all), may_exceed(&cluster, own)), (vec![true], vec![false]));
}

#[test]
fn who_asks_for_nothing_more_may_exceed_nothing_and_a_new_limit_takes_a_restart() {
    let mut cluster = Cluster::with_nodes(1);
    oversubscribe(&mut cluster, true);
    let job = cluster.with_running(&growing("web", 1, MemoryMax::Asked));
    assert_eq!(may_exceed(&cluster, job), [false]);
    cluster.register(&growing("web", 1, MemoryMax::Mib(4_000)));
    assert_eq!(cluster.told(&cluster.plan_of(job)), "place 0; stop 0 updated");
}

/// Of four cores of 1,000 MHz, of which tasks may have these.
fn cored(id: u128, cores: &[u16]) -> NodeSpec {
    let cores = cores.iter().copied().collect();
    let pieces = NodePieces { core_mhz: 1_000, cores, ..NodePieces::default() };
    NodeSpec { pieces: Some(pieces.into()), ..node(id) }
}

/// A service whose tasks each have so many cores.
fn coring(name: &str, count: u32, cores: &[u32]) -> JobSpec {
    let mut spec = with_count(&service(count), count);
    spec.id = name.to_owned();
    let task = spec.groups[0].tasks[0].clone();
    let tasks = cores.iter().enumerate().map(|(at, &cores)| {
        let resources = TaskResources { cpu_mhz: 0, cores, ..task.resources.clone() };
        Task { name: format!("t{at}"), resources, ..task.clone() }
    });
    spec.groups[0].tasks = tasks.collect();
    spec
}

/// Who has which cores, by node.
fn cores_of(cluster: &Cluster, job: JobId) -> Vec<String> {
    let of = |alloc: &Allocation| {
        let tasks = alloc.pieces.as_ref().expect("it has cores").tasks.iter();
        let tasks: Vec<String> = tasks.map(|has| format!("{}={}", has.task, has.cores)).collect();
        format!("n{} {}", alloc.node.0, tasks.join(" "))
    };
    let mut list: Vec<String> = cluster.live(job).into_iter().map(of).collect();
    list.sort();
    list
}

#[test]
fn each_task_has_the_lowest_cores_that_nobody_has_and_they_count_as_its_cpu() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(cored(1, &[0, 1, 2, 3]));
    let two = cluster.with_running(&coring("two", 1, &[1, 2]));
    assert_eq!(cores_of(&cluster, two), ["n1 t0=0 t1=1-2"]);
    assert_eq!(cluster.live(two)[0].capacity.cpu_mhz, 3_000);
    // 500 MHz without cores of their own: what is left of the last core.
    let plain = cluster.with_running(&with_count(&service(1), 1));
    assert_eq!(cluster.live(plain).len(), 1);
    let one = cluster.with_running(&coring("one", 1, &[1]));
    assert_eq!(cluster.live(one).len(), 0, "a core is free, and 500 MHz of it are taken");
    let failure = &cluster.blocked(one).expect("it waits").failures["web"];
    assert_eq!(failure.exhausted, [("cpu".to_owned(), 1)].into());
    cluster.deregister(&with_count(&service(1), 1));
    cluster.settle();
    cluster.clients_act();
    cluster.settle();
    assert_eq!(cores_of(&cluster, one), ["n1 t0=3"], "it is woken by the room");
    cluster.deregister(&coring("two", 1, &[1, 2]));
    cluster.settle();
    cluster.clients_act();
    let again = cluster.with_running(&coring("again", 2, &[1]));
    assert_eq!(cores_of(&cluster, again), ["n1 t0=0", "n1 t0=1"], "the lowest first, again");
}

#[test]
fn where_cores_are_lacking_it_is_said_and_the_nearest_node_is_named() {
    let mut cluster = Cluster::with_nodes(1);
    cluster.add_node(cored(2, &[1]));
    cluster.add_node(cored(3, &[2, 3]));
    let job = cluster.with_running(&coring("wide", 1, &[3]));
    let failure = &cluster.blocked(job).expect("it waits").failures["web"];
    assert_eq!(failure.exhausted, [("cores".to_owned(), 3)].into());
    let nearest = failure.nearest.expect("a node comes closest");
    assert_eq!((nearest.node, nearest.asked.cpu_mhz), (NodeId(3), 3_000));
    assert_eq!((nearest.cores_free, nearest.cores_asked), (2, 3));
    cluster.add_node(cored(4, &[0, 1, 2, 3]));
    cluster.settle();
    assert_eq!(cores_of(&cluster, job), ["n4 t0=0-2"]);
}

#[test]
fn who_has_the_cores_that_are_lacking_makes_way() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(cored(1, &[0, 1]));
    let preemption = Preemption { service: true, ..Preemption::default() };
    let config = SchedulerConfig { preemption, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
    let mut plain = with_count(&service(1), 1);
    plain.id = "plain".to_owned();
    cluster.with_running(&plain);
    cluster.with_running(&coring("low", 2, &[1]));
    let mut high = coring("high", 1, &[1]);
    high.priority = 70;
    let job = cluster.register(&high);
    assert_eq!(cluster.told(&cluster.plan_of(job)), "preempt low[0]; queued 1");
    cluster.settle();
    cluster.clients_act();
    cluster.settle();
    assert_eq!(cores_of(&cluster, job), ["n1 t0=0"]);
}

#[test]
fn a_change_that_leaves_the_tasks_alone_leaves_them_their_cores() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(cored(1, &[2, 3]));
    let mut spec = coring("web", 2, &[1]);
    let job = cluster.with_running(&spec);
    let before = cores_of(&cluster, job);
    spec.groups[0].restart.attempts += 1;
    cluster.register(&spec);
    assert_eq!(cluster.told(&cluster.plan_of(job)), "in place 2");
    cluster.settle();
    assert_eq!(cores_of(&cluster, job), before);
}

fn carded(id: u128, makes: &[(&str, &str, u32)]) -> NodeSpec {
    let devices = makes.iter().map(|&(name, memory, count)| a_make(name, memory, count)).collect();
    let pieces = NodePieces { devices, ..NodePieces::default() };
    NodeSpec { pieces: Some(pieces.into()), ..node(id) }
}

fn card(name: &str, count: u32) -> DeviceAsk {
    DeviceAsk { name: name.to_owned(), count, constraints: vec![], affinities: vec![] }
}

/// A service whose task asks for these.
fn carding(name: &str, count: u32, devices: &[DeviceAsk]) -> JobSpec {
    let mut spec = with_count(&service(count), count);
    spec.id = name.to_owned();
    spec.groups[0].tasks[0].resources.devices = devices.to_vec();
    spec
}

/// Who has which devices, by node.
fn cards_of(cluster: &Cluster, job: JobId) -> Vec<String> {
    let of = |alloc: &Allocation| {
        let pieces = alloc.pieces.as_ref().expect("it has devices");
        let ids: Vec<&str> = pieces.devices().map(|(_, id)| id.as_str()).collect();
        format!("n{} {}", alloc.node.0, ids.join(" "))
    };
    let mut list: Vec<String> = cluster.live(job).into_iter().map(of).collect();
    list.sort();
    list
}

fn exhausted(cluster: &Cluster, job: JobId) -> Vec<(String, u32)> {
    let failure = &cluster.blocked(job).expect("it waits").failures["web"];
    failure.exhausted.clone().into_iter().chain(failure.filtered.clone()).collect()
}

#[test]
fn a_device_has_one_holder_and_who_finds_none_left_waits_for_one() {
    let mut cluster = Cluster::with_nodes(1);
    cluster.add_node(carded(2, &[("a", "8 GiB", 3)]));
    let two = cluster.with_running(&carding("two", 1, &[card("gpu", 2)]));
    let one = cluster.with_running(&carding("one", 2, &[card("maker/gpu", 1)]));
    assert_eq!(cards_of(&cluster, two), ["n2 a0 a1"]);
    assert_eq!(cards_of(&cluster, one), ["n2 a2"]);
    let says = [("devices".to_owned(), 1), ("missing devices".to_owned(), 1)];
    assert_eq!(exhausted(&cluster, one), says, "n1 never had any");
    let nearest = cluster.blocked(one).expect("it waits").failures["web"].nearest.expect("n2");
    assert_eq!((nearest.node, nearest.devices_free, nearest.devices_asked), (NodeId(2), 0, 1));
    cluster.deregister(&carding("two", 1, &[card("gpu", 2)]));
    cluster.settle();
    assert_eq!(cards_of(&cluster, one), ["n2 a2"], "what is stopped has its devices until it ends");
    cluster.clients_act();
    cluster.settle();
    assert_eq!(cards_of(&cluster, one), ["n2 a0", "n2 a2"]);
}

#[test]
fn devices_are_chosen_by_what_is_demanded_of_them_and_then_by_what_is_liked() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(carded(1, &[("a", "8 GiB", 1), ("b", "16384 MiB", 1)]));
    cluster.add_node(carded(2, &[("a", "8 GiB", 2)]));
    let Constraint { left, operator, right } = constraint("${device.attr.memory}", ">=", "9 GiB");
    let demand = Constraint { left: left.clone(), operator, right: right.clone() };
    let mut asked = card("gpu", 1);
    asked.affinities =
        vec![Affinity { left: left.clone(), operator, right: right.clone(), weight: 50 }];
    let liked = cluster.with_running(&carding("liked", 1, &[asked.clone()]));
    assert_eq!(cards_of(&cluster, liked), ["n1 b0"]);
    assert_eq!(cluster.live(liked)[0].placed.parts.expect("more than the fit").devices, 1_000);
    let again = cluster.with_running(&carding("again", 1, &[asked]));
    assert_eq!(cluster.live(again).len(), 1, "what is liked is not demanded");
    let mut asked = card("gpu", 1);
    asked.constraints = vec![demand];
    let demanded = cluster.with_running(&carding("demanded", 1, &[asked]));
    assert_eq!(
        exhausted(&cluster, demanded),
        [("devices".to_owned(), 1), ("missing devices".to_owned(), 1)]
    );
    cluster.add_node(carded(3, &[("b", "16384 MiB", 1)]));
    cluster.settle();
    assert_eq!(cards_of(&cluster, demanded), ["n3 b0"]);
}

fn pack_by(cluster: &mut Cluster, algorithm: Algorithm) {
    let config = SchedulerConfig { algorithm, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
}

fn nodes_of(cluster: &Cluster, job: JobId) -> Vec<u128> {
    cluster.live(job).iter().map(|alloc| alloc.node.0).collect()
}

#[test]
fn who_asks_for_no_devices_leaves_them_to_others_while_there_is_room_elsewhere() {
    for (algorithm, wanted) in [(Algorithm::Pack, [2, 1]), (Algorithm::BinPack, [1, 1])] {
        let mut cluster = Cluster::with_nodes(0);
        pack_by(&mut cluster, algorithm);
        cluster.add_node(carded(1, &[("a", "8 GiB", 2)]));
        cluster.add_node(node(2));
        let carded = cluster.with_running(&carding("carded", 1, &[card("gpu", 1)]));
        assert_eq!(nodes_of(&cluster, carded), [1]);
        // The first is as full as it gets by Nomad's score.
        let plain = cluster.with_running(&with_count(&service(1), 1));
        assert_eq!(nodes_of(&cluster, plain), [wanted[0]], "{algorithm:?}");
        let mut pinned = with_count(&service(1), 1);
        pinned.id = "pinned".to_owned();
        pinned.constraints.push(constraint("${node.unique.name}", "=", "n1"));
        let pinned = cluster.with_running(&pinned);
        assert_eq!(nodes_of(&cluster, pinned), [wanted[1]], "kept, and not forbidden");
        let parts = cluster.live(pinned)[0].placed.parts;
        let kept = if algorithm == Algorithm::Pack { -1_000 } else { 0 };
        assert_eq!(parts.map_or(0, |parts| parts.devices), kept, "{algorithm:?}");
    }
}

#[test]
fn devices_are_packed_and_what_is_whole_stays_whole() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(carded(1, &[("a", "8 GiB", 4)]));
    cluster.add_node(carded(2, &[("b", "8 GiB", 2), ("c", "8 GiB", 2)]));
    let first = cluster.with_running(&carding("first", 1, &[card("maker/gpu/c", 1)]));
    assert_eq!(cards_of(&cluster, first), ["n2 c0"]);
    // A whole make is left for who asks for two of one.
    let second = cluster.with_running(&carding("second", 1, &[card("gpu", 1)]));
    assert_eq!(cards_of(&cluster, second), ["n2 c1"]);
    let third = cluster.with_running(&carding("third", 1, &[card("gpu", 2)]));
    assert_eq!(cards_of(&cluster, third), ["n2 b0 b1"], "nothing is left there after it");
    let fourth = cluster.with_running(&carding("fourth", 1, &[card("gpu", 4)]));
    assert_eq!(cards_of(&cluster, fourth), ["n1 a0 a1 a2 a3"]);
}

#[test]
fn a_sick_device_is_given_to_nobody_and_who_has_it_runs_on() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(carded(1, &[("a", "8 GiB", 2)]));
    let job = cluster.with_running(&carding("web", 1, &[card("gpu", 1)]));
    let mut make = a_make("a", "8 GiB", 2);
    make.instances[0].healthy = false;
    let pieces = NodePieces { devices: vec![make], ..NodePieces::default() };
    cluster.add_node(NodeSpec { pieces: Some(pieces.into()), ..node(1) });
    cluster.settle();
    cluster.clients_act();
    let mut more = carding("web", 1, &[card("gpu", 1)]);
    more.groups[0].count = 3;
    cluster.register(&more);
    cluster.settle();
    assert_eq!(cards_of(&cluster, job), ["n1 a0", "n1 a1"]);
    assert_eq!(cluster.blocked(job).expect("it waits").queued["web"], 1);
}

#[test]
fn who_has_the_device_that_is_lacking_makes_way() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(carded(1, &[("a", "8 GiB", 1)]));
    let preemption = Preemption { service: true, ..Preemption::default() };
    let config = SchedulerConfig { preemption, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
    cluster.with_running(&with_count(&service(1), 1));
    cluster.with_running(&carding("low", 1, &[card("gpu", 1)]));
    let mut high = carding("high", 1, &[card("gpu", 1)]);
    high.priority = 70;
    let job = cluster.register(&high);
    assert_eq!(cluster.told(&cluster.plan_of(job)), "preempt low[0]; queued 1");
    cluster.settle();
    cluster.clients_act();
    cluster.settle();
    assert_eq!(cards_of(&cluster, job), ["n1 a0"]);
}

#[test]
fn a_node_has_no_more_allocs_than_it_may_whatever_room_is_left() {
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(NodeSpec { allocs_max: 2, ..node(1) });
    let job = cluster.with_running(&with_count(&service(3), 3));
    assert_eq!(cluster.live(job).len(), 2);
    let says = [("max allocations exceeded".to_owned(), 1)];
    assert_eq!(exhausted(&cluster, job), says);
    cluster.end(job, 0, ClientStatus::Complete);
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 2, "its place is taken again");
    cluster.add_node(NodeSpec { allocs_max: 3, ..node(1) });
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 3);
    cluster.add_node(NodeSpec { allocs_max: 1, ..node(1) });
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 3, "what runs is left alone");
}
