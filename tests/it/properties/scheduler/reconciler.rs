//! What users of Nomad rely on, case by case: a cluster, what happens to it, and the plan in words.
//! After each, the next look at the job must find nothing new to do.
use std::collections::BTreeMap;

use drover_core::fsm::Command;
use drover_core::types::*;

use super::rig::*;

/// The number of the case, what it says, how it comes about, the plan, and the plan after that.
type Case = (&'static str, &'static str, fn(&mut Cluster) -> JobId, &'static str, &'static str);

/// `count` running, then registered again as `again`.
fn registered_again(cluster: &mut Cluster, count: u32, again: fn(&JobSpec) -> JobSpec) -> JobId {
    let spec = service(count);
    cluster.with_running(&spec);
    cluster.register(&again(&spec))
}

/// Ten running, three of them on a node that goes down; then `count` are wanted.
fn three_lost(cluster: &mut Cluster, count: u32) -> JobId {
    let mut spec = service(10);
    spec.groups[0].tasks[0].resources.cpu_mhz = 1_000;
    let job = cluster.with_running(&spec);
    cluster.mark(1, NodeStatus::Down);
    if count != 10 {
        cluster.register(&with_count(&spec, count));
    }
    job
}

fn failed(cluster: &mut Cluster, spec: &JobSpec, waited_ms: u64) -> JobId {
    let job = cluster.with_running(spec);
    cluster.end(job, 1, ClientStatus::Failed);
    cluster.wait_ms(waited_ms);
    job
}

fn with_policy(spec: &JobSpec, change: fn(&mut ReschedulePolicy)) -> JobSpec {
    let mut spec = spec.clone();
    change(&mut spec.groups[0].reschedule);
    spec
}

const BASICS: &[Case] = &[
    ("R1", "nothing runs", |c| c.register(&service(10)), "place 0-9", "nothing"),
    (
        "R2",
        "five run and ten are wanted",
        |c| registered_again(c, 5, |spec| with_count(spec, 10)),
        "place 5-9; in place 5",
        "nothing",
    ),
    (
        "R4",
        "twenty run and none is wanted",
        |c| registered_again(c, 20, |spec| with_count(spec, 0)),
        "stop 0-19 not needed",
        "nothing",
    ),
    (
        "R5",
        "ten run and seven are wanted: the highest go",
        |c| registered_again(c, 10, |spec| with_count(spec, 7)),
        "stop 7-9 not needed; in place 7",
        "nothing",
    ),
    (
        "R6",
        "ten of an older program, no bound on replacing",
        |c| registered_again(c, 10, changed),
        "place 0-9; stop 0-9 updated",
        "nothing",
    ),
    (
        "R8a",
        "three lost, ten wanted",
        |c| three_lost(c, 10),
        "place 0,5-6; stop 0,5-6 lost",
        "nothing",
    ),
    (
        "R8b",
        "three lost, fifteen wanted",
        |c| three_lost(c, 15),
        "place 0,5-6,10-14; stop 0,5-6 lost; in place 7",
        "nothing",
    ),
    (
        "R8c",
        "three lost, five wanted: the lost count as the ones too many",
        |c| three_lost(c, 5),
        "stop 8-9 not needed; stop 0,5-6 lost; in place 5",
        "nothing",
    ),
    (
        "R12",
        "the job is stopped",
        |c| {
            let job = c.with_running(&service(10));
            c.deregister(&service(10));
            job
        },
        "stop 0-9 not needed",
        "nothing",
    ),
    (
        "R22",
        "only the restart policy differs",
        |c| {
            registered_again(c, 3, |spec| {
                let mut spec = spec.clone();
                spec.groups[0].restart.attempts += 1;
                spec
            })
        },
        "in place 3",
        "nothing",
    ),
    (
        "R23",
        "the node of one alloc does not meet a new constraint",
        |c| {
            let mut special = node(9);
            special.attributes.insert("gpu".to_owned(), "yes".to_owned());
            special.capacity.cpu_mhz = 400_000;
            special.capacity.memory_mib = 800_000;
            let job = registered_again(c, 1, |spec| {
                let mut spec = spec.clone();
                spec.constraints.push(constraint("${attr.gpu}", "is_set", ""));
                spec
            });
            c.add_node(special);
            job
        },
        "place 0; stop 0 updated",
        "nothing",
    ),
    (
        "A1",
        "a user stops one",
        |c| {
            let job = c.with_running(&service(3));
            let alloc = c.live(job)[1].id;
            c.run(Command::StopAlloc { alloc });
            job
        },
        "place 1",
        "nothing",
    ),
    (
        "A2",
        "a group is renamed: the old one's go",
        |c| {
            registered_again(c, 2, |spec| {
                let mut spec = spec.clone();
                spec.groups[0].name = "other".to_owned();
                spec
            })
        },
        "place 0-1; stop 0-1 not needed",
        "nothing",
    ),
];

const FAILURES: &[Case] = &[
    (
        "R18",
        "a batch alloc failed, and its delay is over",
        |c| failed(c, &job(JobKind::Batch, 4), 5_000),
        "place 1; stop 1 rescheduled",
        "nothing",
    ),
    (
        "R19",
        "a batch alloc failed, and its delay is not over",
        |c| failed(c, &job(JobKind::Batch, 4), 0),
        "later 1",
        "nothing",
    ),
    (
        "R20",
        "a batch alloc failed, and there is no second attempt",
        |c| {
            let spec = with_policy(&job(JobKind::Batch, 4), |policy| policy.attempts = 0);
            failed(c, &spec, 5_000)
        },
        "nothing",
        "nothing",
    ),
    (
        "R26",
        "a service alloc completed",
        |c| {
            let job = c.with_running(&service(5));
            c.end(job, 3, ClientStatus::Complete);
            job
        },
        "place 3",
        "nothing",
    ),
    (
        "R28",
        "a failed alloc is due within a second",
        |c| failed(c, &service(5), 4_100),
        "place 1; stop 1 rescheduled",
        "nothing",
    ),
    (
        "R29",
        "a failed alloc is due in two seconds",
        |c| failed(c, &service(5), 3_000),
        "later 1",
        "nothing",
    ),
    (
        "R30",
        "attempts are used up, and one more is missing",
        |c| {
            let spec = with_policy(&service(4), |policy| policy.attempts = 0);
            failed(c, &spec, 5_000);
            c.register(&with_count(&spec, 5))
        },
        "place 4; in place 3",
        "nothing",
    ),
    (
        "R33",
        "a failed alloc, no attempts left, of an older program: the new one gets its chance",
        |c| {
            let spec = with_policy(&service(4), |policy| policy.attempts = 0);
            failed(c, &spec, 5_000);
            c.register(&changed(&spec))
        },
        "place 0-3; stop 0-3 updated",
        "nothing",
    ),
];

const BATCH: &[Case] = &[
    (
        "R15",
        "completed batch allocs are not run again",
        |c| {
            let job = c.with_running(&job(JobKind::Batch, 3));
            for ordinal in 0..3 {
                c.end(job, ordinal, ClientStatus::Complete);
            }
            c.evaluate(job);
            job
        },
        "nothing",
        "nothing",
    ),
    (
        "R16",
        "a batch job registered anew runs anew",
        |c| {
            let spec = job(JobKind::Batch, 10);
            let id = c.with_running(&spec);
            for ordinal in 0..10 {
                c.end(id, ordinal, ClientStatus::Complete);
            }
            c.register(&changed(&spec))
        },
        "place 0-9",
        "nothing",
    ),
    (
        "R24",
        "a lost batch alloc is replaced, whatever has completed",
        |c| {
            let mut spec = job(JobKind::Batch, 3);
            spec.constraints.push(constraint("", "distinct_hosts", ""));
            let id = c.with_running(&spec);
            c.end(id, 2, ClientStatus::Complete);
            let node = c.live(id)[1].node;
            c.mark(node.0, NodeStatus::Down);
            id
        },
        "place 1; stop 1 lost",
        "nothing",
    ),
];

const PLACING: &[Case] = &[
    (
        "G2",
        "no node is there",
        |c| {
            (1..=4).for_each(|id| c.mark(id, NodeStatus::Down));
            c.register(&service(10))
        },
        "queued 10",
        "queued 10",
    ),
    (
        "G4",
        "four nodes of 4,000 MHz hold one of 3,600 each",
        |c| {
            let mut spec = service(6);
            spec.groups[0].tasks[0].resources.cpu_mhz = 3_600;
            c.register(&spec)
        },
        "place 0-3; queued 2",
        "queued 2",
    ),
    (
        "G6",
        "one more than there are hosts",
        |c| {
            let mut spec = service(5);
            spec.constraints.push(constraint("", "distinct_hosts", ""));
            c.register(&spec)
        },
        "place 0-3; queued 1",
        "queued 1",
    ),
    (
        "G12",
        "the datacenter is another one",
        |c| {
            c.add_node(NodeSpec { datacenter: "dc2".to_owned(), ..node(9) });
            registered_again(c, 2, |spec| JobSpec {
                datacenters: vec!["dc2".to_owned()],
                ..spec.clone()
            })
        },
        "place 0-1; stop 0-1 updated",
        "nothing",
    ),
    (
        "G13",
        "the pool is another one",
        |c| {
            c.add_node(NodeSpec { pool: PoolName::of("gpu"), ..node(9) });
            registered_again(c, 2, |spec| JobSpec {
                node_pool: PoolName::of("gpu"),
                ..spec.clone()
            })
        },
        "place 0-1; stop 0-1 updated",
        "nothing",
    ),
    (
        "G14",
        "any pool will do now, and what runs starts anew all the same",
        |c| {
            registered_again(c, 2, |spec| JobSpec {
                node_pool: PoolName::of("all"),
                ..spec.clone()
            })
        },
        "place 0-1; stop 0-1 updated",
        "nothing",
    ),
    (
        "G15",
        "no node is in the pool",
        |c| c.register(&JobSpec { node_pool: PoolName::of("gpu"), ..service(2) }),
        "queued 2",
        "queued 2",
    ),
];

fn check(cases: &[Case]) {
    for (id, what, arrange, expected, after) in cases {
        let mut cluster = Cluster::with_nodes(if id.starts_with('G') { 4 } else { 5 });
        let job = arrange(&mut cluster);
        let (first, second) = cluster.plan_and_settle(job);
        assert_eq!(first, *expected, "{id}: {what}");
        assert_eq!(second, *after, "{id}: {what}: the second look");
    }
}

#[test]
fn a_group_is_brought_to_its_count_and_version() {
    check(BASICS);
}

#[test]
fn what_failed_is_placed_again_as_its_policy_says() {
    check(FAILURES);
}

#[test]
fn a_batch_job_runs_until_it_has_succeeded() {
    check(BATCH);
}

#[test]
fn what_finds_no_room_is_queued() {
    check(PLACING);
}

#[test]
fn doubled_names_count_as_two_and_the_second_goes_first() {
    // R4: two allocs of one name, as a log of another origin might hold them.
    let mut cluster = Cluster::with_nodes(5);
    let spec = service(3);
    let job = cluster.register(&spec);
    let mut plan = cluster.plan_of(job);
    plan.placements[2].ordinal = 0;
    cluster.run(Command::ApplyPlan(plan));
    cluster.clients_act();
    cluster.register(&with_count(&spec, 2));
    assert_eq!(cluster.plan_of(job).stops.len(), 1);
    cluster.settle();
    let names: Vec<u32> = cluster.live(job).iter().map(|alloc| alloc.ordinal).collect();
    assert_eq!(names, [0, 1]);
}

#[test]
fn a_failed_alloc_is_rescheduled_as_often_as_its_policy_allows_and_elsewhere() {
    // R36: two attempts make three allocs, each with one more event; the fourth is never made.
    let mut cluster = Cluster::with_nodes(5);
    let job = cluster.with_running(&service(1));
    for attempt in 1..=2 {
        let failed = cluster.end(job, 0, ClientStatus::Failed);
        cluster.settle();
        assert!(cluster.live(job).is_empty(), "the delay is not over");
        cluster.wait_ms(5_000);
        cluster.settle();
        cluster.clients_act();
        let live = cluster.live(job)[0];
        assert_eq!((live.previous, live.reschedules.len()), (Some(failed), attempt));
        let from = cluster.state.alloc(failed).unwrap();
        assert_eq!((from.next, from.desired), (Some(live.id), DesiredStatus::Stop));
        let nodes = live.reschedules.iter().map(|event| event.from_node);
        assert!(nodes.into_iter().all(|node| node != live.node), "not where it failed before");
    }
    cluster.end(job, 0, ClientStatus::Failed);
    cluster.wait_ms(60_000);
    cluster.settle();
    assert!(cluster.live(job).is_empty());
    assert_eq!(cluster.state.allocs_of_job(job).count(), 3);
}

#[test]
fn a_failed_alloc_that_finds_no_room_is_placed_when_there_is_some_and_keeps_its_history() {
    // R38
    let mut cluster = Cluster::with_nodes(1);
    let job = cluster.with_running(&service(1));
    let failed = cluster.end(job, 0, ClientStatus::Failed);
    cluster.settle();
    cluster.mark(1, NodeStatus::Down);
    cluster.wait_ms(5_000);
    cluster.settle();
    assert_eq!(cluster.blocked(job).expect("it waits for room").queued["web"], 1);
    cluster.add_node(node(2));
    cluster.settle();
    let live = cluster.live(job)[0];
    assert_eq!((live.previous, live.reschedules.len()), (Some(failed), 1));
}

#[test]
fn no_evaluation_is_made_for_a_failed_alloc_that_one_waits_for_already() {
    let mut cluster = Cluster::with_nodes(2);
    let job = cluster.with_running(&service(2));
    cluster.end(job, 0, ClientStatus::Failed);
    cluster.settle();
    for _ in 0..3 {
        cluster.evaluate(job);
        cluster.settle();
    }
    let waiting = cluster.state.pending_evals().filter(|eval| eval.wait_until.is_some());
    assert_eq!(waiting.count(), 1);
}

#[test]
fn a_node_that_changes_its_rack_lets_the_job_onto_the_others_of_the_old_one() {
    let in_rack = |id, rack: &str| {
        let meta = BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
        NodeSpec { meta: meta.into(), ..node(id) }
    };
    let mut cluster = Cluster::with_nodes(0);
    cluster.add_node(in_rack(1, "a"));
    cluster.add_node(in_rack(2, "a"));
    let mut spec = service(2);
    spec.groups[0].constraints = vec![constraint("${meta.rack}", "distinct_property", "1")];
    let job = cluster.with_running(&spec);
    let NodeId(first) = cluster.live(job)[0].node;
    assert!(cluster.blocked(job).is_some(), "one of a rack, and there is one rack");
    // It has room for nobody else.
    let capacity = Capacity { cpu_mhz: 500, ..node(first).capacity };
    let moved = NodeSpec { capacity, ..in_rack(first, "b") };
    cluster.run(Command::RegisterNode { spec: moved.into() });
    cluster.mark(first, NodeStatus::Ready);
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 2);
    assert!(cluster.blocked(job).is_none());
}
