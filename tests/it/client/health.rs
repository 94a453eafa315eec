//! When a client calls an alloc healthy, and when not.
use drover_core::rng::Rng;
use drover_core::types::{
    AllocHealth, AllocSpec, Boot, Check, HealthCheck, JobKind, Service, UpdatePolicy,
};

use super::node::Node;
use super::specs::{alloc, service, spec, task};

/// A watched service: healthy after 10 s, too late after 60 s.
fn watched(tasks: &[&str]) -> AllocSpec {
    let mut spec = spec(JobKind::Service, tasks.iter().map(|name| task(name)).collect());
    spec.group.update = UpdatePolicy {
        parallel_max: 1,
        min_healthy_ms: 10_000,
        healthy_deadline_ms: 60_000,
        ..UpdatePolicy::default()
    };
    spec
}

/// What the servers were told last.
fn told(node: &mut Node) -> Option<AllocHealth> {
    node.settle();
    node.updates[&alloc(5)].health
}

fn is_healthy(node: &mut Node) -> Option<bool> {
    told(node).map(|health| health.healthy)
}

#[test]
fn an_alloc_is_healthy_when_its_tasks_have_run_for_min_healthy_time() {
    let mut node = Node::running(&watched(&["main"]));
    node.pass(9_000);
    assert_eq!(is_healthy(&mut node), None);
    node.pass(1_000);
    let health = told(&mut node).expect("a verdict");
    assert!(health.healthy && health.version == 0);
    node.exited("a5/main#0", 1);
    assert_eq!(is_healthy(&mut node), Some(true), "one verdict for one version");
}

#[test]
fn a_restart_begins_the_time_anew() {
    let mut node = Node::running(&watched(&["main"]));
    node.pass(8_000);
    node.exited("a5/main#0", 1);
    node.pass(2_000);
    node.sync();
    node.started("a5/main#1");
    node.pass(8_000);
    assert_eq!(is_healthy(&mut node), None, "ten seconds have not passed since it runs");
    node.pass(2_000);
    assert_eq!(is_healthy(&mut node), Some(true));
}

#[test]
fn all_tasks_must_run() {
    let mut node = Node::registered();
    node.assign((5, None), &watched(&["main", "side"]), &[5], &[]);
    node.sync();
    node.started("a5/main#0");
    node.pass(30_000);
    assert_eq!(is_healthy(&mut node), None);
    node.started("a5/side#0");
    node.pass(10_000);
    assert_eq!(is_healthy(&mut node), Some(true));
}

#[test]
fn whoever_is_not_healthy_in_time_is_unhealthy() {
    let mut node = Node::registered();
    node.assign((5, None), &watched(&["main"]), &[5], &[]);
    node.settle();
    node.pass(59_000);
    assert_eq!(is_healthy(&mut node), None);
    node.pass(1_000);
    assert_eq!(is_healthy(&mut node), Some(false));
    node.started("a5/main#0");
    node.pass(60_000);
    assert_eq!(is_healthy(&mut node), Some(false), "that is the servers' to decide again");
}

#[test]
fn a_task_that_failed_for_good_makes_it_unhealthy_at_once() {
    let mut spec = watched(&["main"]);
    spec.group.restart.attempts = 0;
    let mut node = Node::running(&spec);
    node.exited("a5/main#0", 1);
    assert_eq!(is_healthy(&mut node), Some(false));
}

#[test]
fn a_version_that_comes_in_place_must_prove_itself_anew() {
    let mut node = Node::running(&watched(&["main"]));
    node.pass(10_000);
    let mut newer = watched(&["main"]);
    newer.version = 1;
    node.assign((6, Some(5)), &newer, &[5], &[]);
    assert_eq!(told(&mut node), None);
    node.pass(10_000);
    assert_eq!(told(&mut node).map(|health| (health.version, health.healthy)), Some((1, true)));
}

#[test]
fn nobody_is_judged_who_is_not_watched() {
    let mut manual = watched(&["main"]);
    manual.group.update.health_check = HealthCheck::Manual;
    let mut unbounded = watched(&["main"]);
    unbounded.group.update.parallel_max = 0;
    let mut batch = watched(&["main"]);
    batch.kind = JobKind::Batch;
    for spec in [manual, unbounded, batch] {
        let mut node = Node::running(&spec);
        node.pass(120_000);
        assert_eq!(is_healthy(&mut node), None);
    }
}

#[test]
fn a_verdict_survives_the_agent_and_a_watch_begins_anew() {
    let mut node = Node::running(&watched(&["main"]));
    node.pass(5_000);
    node.restart(Boot::Same);
    node.started("a5/main#0");
    node.pass(8_000);
    assert_eq!(is_healthy(&mut node), None, "nobody watched while the agent was away");
    node.pass(2_000);
    assert_eq!(is_healthy(&mut node), Some(true));
    node.restart(Boot::Same);
    assert_eq!(is_healthy(&mut node), Some(true));
}

#[test]
fn nobody_is_healthy_who_has_not_run_for_the_whole_time_whatever_happens() {
    let mut healthy = 0;
    for seed in 0..200 {
        let mut rng = Rng::from_seed(seed);
        let mut spec = watched(&["main", "side"]);
        spec.group.restart.attempts = 100;
        let mut node = Node::registered();
        node.assign((5, None), &spec, &[5], &[]);
        node.sync();
        node.started("a5/main#0");
        node.started("a5/side#0");
        // Since when each task runs, in this test's own book.
        let mut since = [Some(node.at.now), Some(node.at.now)];
        let mut attempts = [0, 0];
        for _ in 0..30 {
            let at = usize::try_from(rng.between(0, 1)).expect("one of two");
            let name = ["main", "side"][at];
            match rng.between(0, 4) {
                0 if since[at].is_some() => {
                    node.exited(&format!("a5/{name}#{}", attempts[at]), 1);
                    since[at] = None;
                    node.pass(5_000);
                    node.sync();
                    attempts[at] += 1;
                }
                1 | 2 if since[at].is_none() => {
                    node.started(&format!("a5/{name}#{}", attempts[at]));
                    since[at] = Some(node.at.now);
                }
                _ => node.pass(rng.between(1, 6_000)),
            }
            let Some(health) = told(&mut node) else { continue };
            if health.healthy {
                let steady = since[0].zip(since[1]).map(|(a, b)| a.max(b));
                let steady = steady.expect("both tasks run");
                assert!(10_000 <= node.at.now.ms_since(steady), "seed {seed}: too early");
                healthy += 1;
            }
            break;
        }
    }
    assert!(20 < healthy, "{healthy} healthy allocs prove nothing");
}

/// As `watched`, with a check.
fn checked() -> AllocSpec {
    let mut spec = watched(&["main"]);
    let checks = vec![Check::default()];
    spec.group.services = vec![Service { checks, ..service("web") }];
    spec
}

#[test]
fn an_alloc_with_checks_is_healthy_when_they_have_passed_for_min_healthy_time() {
    let mut node = Node::running(&checked());
    node.pass(20_000);
    assert_eq!(is_healthy(&mut node), None, "nobody has asked it yet");
    node.checks(5, true);
    node.pass(8_000);
    node.checks(5, false);
    node.checks(5, true);
    node.pass(9_000);
    assert_eq!(is_healthy(&mut node), None, "they have not passed all the time");
    node.pass(1_000);
    assert_eq!(is_healthy(&mut node), Some(true));
}

#[test]
fn checks_that_never_pass_make_an_alloc_unhealthy_in_the_end() {
    let mut node = Node::running(&checked());
    node.pass(61_000);
    assert_eq!(is_healthy(&mut node), Some(false));
}

#[test]
fn task_states_do_not_wait_for_checks() {
    let mut spec = checked();
    spec.group.update.health_check = HealthCheck::TaskStates;
    let mut node = Node::running(&spec);
    node.pass(11_000);
    assert_eq!(is_healthy(&mut node), Some(true));
}

#[test]
fn what_checks_said_of_an_older_attempt_does_not_count() {
    let mut node = Node::running(&checked());
    node.said();
    let round = node.rounds[&alloc(5)];
    node.exited("a5/main#0", 1);
    node.settle();
    node.pass(1_000);
    node.settle();
    node.started("a5/main#1");
    node.step(|client, at, out| client.on_checks(at, alloc(5), (round, true), out));
    node.pass(20_000);
    assert_eq!(is_healthy(&mut node), None);
    node.checks(5, true);
    node.pass(10_000);
    assert_eq!(is_healthy(&mut node), Some(true));
}
