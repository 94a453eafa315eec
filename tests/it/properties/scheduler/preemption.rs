//! Room made for an important job by stopping what is less important by ten or more.
use drover_core::fsm::Command;
use drover_core::types::*;

use super::rig::{Cluster, node, service, with_count};

/// A service called `name` of `count` allocs of `cpu_mhz` and 1,000 MiB.
fn of(name: &str, priority: u8, count: u32, cpu_mhz: u32) -> JobSpec {
    let mut spec = with_count(&service(count), count);
    spec.id = name.to_owned();
    spec.priority = priority;
    let resources = &mut spec.groups[0].tasks[0].resources;
    (resources.cpu_mhz, resources.memory_mib) = (cpu_mhz, 1_000);
    spec
}

/// Nodes of 4,000 MHz and 8,000 MiB, where services may preempt.
fn nodes(count: u128) -> Cluster {
    let mut cluster = Cluster::with_nodes(count);
    let preemption = Preemption { service: true, ..Preemption::default() };
    let config = SchedulerConfig { preemption, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
    cluster
}

/// One node that runs these.
fn full(specs: &[JobSpec]) -> Cluster {
    let mut cluster = nodes(1);
    for spec in specs {
        cluster.with_running(spec);
    }
    cluster
}

/// What registering the job makes the scheduler do.
fn told(cluster: &mut Cluster, spec: &JobSpec) -> String {
    let job = cluster.register(spec);
    cluster.told(&cluster.plan_of(job))
}

#[test]
fn an_alloc_of_a_less_important_job_makes_way_and_the_room_goes_to_who_asked() {
    let mut cluster = full(&[of("low", 50, 4, 1_000)]);
    let high = cluster.register(&of("high", 70, 1, 1_000));
    assert_eq!(cluster.told(&cluster.plan_of(high)), "preempt low[0]; queued 1");
    cluster.settle();
    let low = cluster.state.job_named("default", "low").expect("a job").id;
    let stopped = cluster.state.preempted_for(high).next().expect("one makes way").clone();
    assert_eq!(stopped.desired_description, "preempted by job \"high\"");
    assert_eq!(cluster.live(low).len(), 3);
    assert_eq!(cluster.live(high).len(), 0, "the room is not free yet");
    let failures = &cluster.blocked(high).expect("it waits").failures["web"];
    assert_eq!((failures.awaited, failures.coalesced), (1, 0));
    assert!(cluster.blocked(low).is_some(), "who made way waits for room as well");

    cluster.clients_act();
    cluster.settle();
    assert_eq!(cluster.live(high).len(), 1);
    assert!(cluster.blocked(high).is_none());
    assert_eq!(cluster.live(low).len(), 3);
    assert_eq!(cluster.blocked(low).expect("it waits on").queued["web"], 1);

    cluster.add_node(node(2));
    cluster.settle();
    assert_eq!(cluster.live(low).len(), 4, "it runs again as soon as there is room");
}

/// Otherwise who was stopped would be placed there, and be stopped again, for ever.
#[test]
fn what_was_free_beside_them_is_kept_for_who_asked_until_they_have_ended() {
    let mut cluster = full(&[of("low", 50, 2, 1_000)]);
    let high = cluster.register(&of("high", 70, 1, 3_000));
    let low = cluster.state.job_named("default", "low").expect("a job").id;
    cluster.settle();
    assert_eq!(cluster.state.preempted_for(high).count(), 1);
    assert_eq!(cluster.live(low).len(), 1, "there would be room for it");
    assert_eq!(told(&mut cluster, &of("more", 71, 1, 1_000)), "place 0", "for it there is");
    cluster.deregister(&of("more", 71, 1, 1_000));
    cluster.clients_act();
    cluster.settle();
    assert_eq!((cluster.live(high).len(), cluster.live(low).len()), (1, 1));
    assert!(cluster.blocked(low).is_some());
}

#[test]
fn nothing_is_kept_for_a_job_that_was_stopped_meanwhile() {
    let mut cluster = full(&[of("low", 50, 2, 1_000)]);
    let spec = of("high", 70, 1, 3_000);
    cluster.register(&spec);
    cluster.settle();
    let low = cluster.state.job_named("default", "low").expect("a job").id;
    assert!(cluster.blocked(low).is_some());
    cluster.deregister(&spec);
    cluster.settle();
    assert_eq!(cluster.live(low).len(), 2, "before the one that made way has ended");
}

#[test]
fn only_a_gap_of_ten_is_enough() {
    for (own, expected) in [(59, "queued 1"), (60, "preempt low[0]; queued 1")] {
        let mut cluster = full(&[of("low", 50, 4, 1_000)]);
        assert_eq!(told(&mut cluster, &of("high", own, 1, 1_000)), expected, "{own} against 50");
    }
    let mut cluster = full(&[of("low", 1, 4, 1_000)]);
    assert_eq!(told(&mut cluster, &of("high", 9, 1, 1_000)), "queued 1", "nothing is below zero");
}

#[test]
fn the_least_important_go_first_and_of_those_the_closest() {
    let low = of("low", 20, 1, 1_000);
    let mut cluster = full(&[of("mid", 40, 1, 1_000), of("big", 20, 1, 2_000), low]);
    let high = |mhz| of("high", 70, 1, mhz);
    assert_eq!(told(&mut cluster, &high(1_000)), "preempt low[0]; queued 1");
    assert_eq!(told(&mut cluster, &high(1_900)), "preempt big[0]; queued 1");
    assert_eq!(told(&mut cluster, &high(3_000)), "preempt big[0] low[0]; queued 1");
    assert_eq!(told(&mut cluster, &high(4_000)), "preempt mid[0] big[0] low[0]; queued 1");
    assert_eq!(told(&mut cluster, &high(4_001)), "queued 1", "nothing is stopped in vain");
}

#[test]
fn who_turns_out_to_be_stopped_for_nothing_is_spared() {
    // Of the least important the small one is closest to what is lacking, and not enough.
    let mut cluster = full(&[of("small", 20, 1, 600), of("large", 30, 1, 3_400)]);
    assert_eq!(told(&mut cluster, &of("high", 70, 1, 1_000)), "preempt large[0]; queued 1");
}

#[test]
fn the_node_is_the_one_where_the_least_importance_is_lost() {
    let mut cluster = nodes(0);
    for (id, name, priority) in [(1, "mid", 40), (2, "low", 30), (3, "other", 45)] {
        cluster.add_node(node(id));
        cluster.with_running(&of(name, priority, 1, 4_000));
    }
    assert_eq!(told(&mut cluster, &of("high", 70, 1, 1_000)), "preempt low[0]; queued 1");
    let three = told(&mut cluster, &of("high", 70, 12, 1_000));
    assert_eq!(three, "preempt mid[0] low[0] other[0]; queued 12", "four on each");
    let some = told(&mut cluster, &of("high", 70, 6, 1_000));
    assert_eq!(some, "preempt mid[0] low[0]; queued 6", "no more than it takes");
}

#[test]
fn a_port_that_another_holds_is_taken_from_it() {
    let port = PortAsk { label: "http".to_owned(), fixed: Some(8_080), to: 0 };
    let with_port = |mut spec: JobSpec| {
        spec.groups[0].network.ports = vec![port.clone()];
        spec
    };
    let mut cluster = full(&[of("other", 20, 1, 500), with_port(of("low", 40, 1, 500))]);
    let high = with_port(of("high", 70, 1, 500));
    assert_eq!(told(&mut cluster, &high), "preempt low[0]; queued 1");
    assert_eq!(told(&mut cluster, &with_port(of("high", 45, 1, 500))), "queued 1");
}

#[test]
fn a_second_look_while_they_end_stops_nobody_else() {
    let mut cluster = full(&[of("low", 50, 4, 1_000)]);
    let high = cluster.register(&of("high", 70, 2, 1_000));
    let (first, second) = cluster.plan_and_settle(high);
    assert_eq!(first, "preempt low[0] low[1]; queued 2");
    assert_eq!(second, "queued 2");
}

#[test]
fn however_little_one_plan_may_change_all_is_stopped_that_must_be() {
    let mut cluster = full(&[of("low", 50, 8, 500)]);
    cluster.budget = 1;
    let high = cluster.register(&of("high", 70, 2, 2_000));
    assert_eq!(
        cluster.told(&cluster.plan_of(high)).split(';').next(),
        Some("preempt low[0] low[1] low[2] low[3]")
    );
    for _ in 0..3 {
        cluster.settle();
        cluster.clients_act();
    }
    assert_eq!(cluster.live(high).len(), 2);
}

#[test]
fn what_was_to_make_room_is_lost_with_its_node_and_others_make_way() {
    let mut cluster = full(&[of("low", 50, 4, 1_000)]);
    cluster.add_node(node(2));
    cluster.with_running(&of("other", 55, 4, 1_000));
    let high = cluster.register(&of("high", 70, 1, 1_000));
    cluster.settle();
    let first = cluster.state.preempted_for(high).next().expect("one makes way").node;
    assert_eq!(first, NodeId(1));
    cluster.mark(1, NodeStatus::Down);
    cluster.settle();
    let now: Vec<NodeId> = cluster.state.preempted_for(high).map(|alloc| alloc.node).collect();
    assert_eq!(now, [NodeId(2)]);
}

#[test]
fn a_job_that_is_stopped_before_its_plan_is_applied_stops_nobody() {
    let mut cluster = full(&[of("low", 50, 4, 1_000)]);
    let spec = of("high", 70, 1, 1_000);
    let high = cluster.register(&spec);
    let plan = cluster.plan_of(high);
    cluster.deregister(&spec);
    cluster.run(Command::ApplyPlan(plan));
    assert_eq!(cluster.state.preempted_for(high).count(), 0);
}

#[test]
fn which_types_of_jobs_may_is_the_operators_to_say() {
    let mut cluster = Cluster::with_nodes(1);
    cluster.with_running(&of("low", 50, 4, 1_000));
    assert_eq!(told(&mut cluster, &of("high", 70, 1, 1_000)), "queued 1", "no service by default");
    let mut everywhere = of("agent", 70, 1, 1_000);
    everywhere.kind = JobKind::System;
    assert_eq!(told(&mut cluster, &everywhere), "preempt on n1; queued 1", "but a system job");
    let preemption = Preemption { system: false, ..Preemption::default() };
    let config = SchedulerConfig { preemption, ..SchedulerConfig::default() };
    cluster.run(Command::SetSchedulerConfig { config, check_index: None });
    let job = cluster.register(&everywhere);
    assert_eq!(cluster.told(&cluster.plan_of(job)), "queued 1");
}

#[test]
fn a_job_on_every_node_has_others_make_way_on_each_that_is_full() {
    let mut cluster = Cluster::with_nodes(2);
    cluster.with_running(&of("low", 50, 8, 1_000));
    cluster.add_node(node(3));
    let mut everywhere = of("agent", 70, 1, 2_000);
    everywhere.kind = JobKind::System;
    let job = cluster.register(&everywhere);
    let (first, second) = cluster.plan_and_settle(job);
    assert_eq!(first, "place n3; preempt on n1 n1 n2 n2; queued 2");
    assert_eq!(second, "queued 2", "nobody else makes way");
    cluster.clients_act();
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 3);
    assert!(cluster.blocked(job).is_none());
}
