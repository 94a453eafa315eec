//! The restart policy, as users of Nomad know it.
use drover_core::types::{
    AllocSpec, JobKind, Remedy, RestartMode, RestartPolicy, TaskChange, TaskEventKind,
};

use super::node::Node;
use super::specs::{alloc, spec, task};

fn spec_with(kind: JobKind, policy: RestartPolicy) -> AllocSpec {
    let mut spec = spec(kind, vec![task("main")]);
    spec.group.restart = policy;
    spec
}

/// The delays of the restarts that follow when the task exits with `exit_code` 100 ms after each
/// start, and the last word of its history.
fn delays(spec: &AllocSpec, exit_code: i32, ends: u32) -> (Vec<u64>, String) {
    let mut node = Node::running(spec);
    let mut delays = vec![];
    for attempt in 0..ends {
        node.pass(100);
        node.exited(&format!("a5/main#{attempt}"), exit_code);
        let (_, events) = node.history(5, "main");
        let last = node.updates[&alloc(5)].tasks["main"].events.last().expect("a history").clone();
        let TaskEventKind::Restarting { delay_ms } = last.kind else {
            return (delays, events.last().expect("a history").clone());
        };
        delays.push(delay_ms);
        node.pass(delay_ms);
        node.sync();
        assert_eq!(node.did().last(), Some(&format!("start a5/main#{}", attempt + 1)));
        node.started(&format!("a5/main#{}", attempt + 1));
        node.settle();
    }
    (delays, "restarting".into())
}

fn policy(attempts: u32, mode: RestartMode) -> RestartPolicy {
    RestartPolicy { attempts, interval_ms: 1_800_000, delay_ms: 15_000, mode }
}

#[test]
fn a_service_is_restarted_after_any_exit_a_batch_task_only_after_a_failure() {
    let service = spec_with(JobKind::Service, RestartPolicy::default_of(JobKind::Service));
    let batch = spec_with(JobKind::Batch, RestartPolicy::default_of(JobKind::Batch));
    let service_over = "Exceeded allowed attempts 2 in interval 30m0s and mode is \"fail\"";
    let batch_over = "Exceeded allowed attempts 3 in interval 24h0m0s and mode is \"fail\"";
    for (spec, exit_code, restarts, last) in [
        (&service, 0, 2, service_over),
        (&service, 1, 2, service_over),
        (&batch, 1, 3, batch_over),
        (&batch, 0, 0, "Exit Code: 0"),
    ] {
        let (delays, end) = delays(spec, exit_code, 10);
        assert_eq!((delays.len(), end.as_str()), (restarts, last));
        for delay_ms in delays {
            assert!((15_000..=18_750).contains(&delay_ms), "{delay_ms} ms: up to a quarter more");
        }
    }
}

#[test]
fn without_attempts_the_first_failure_is_the_last() {
    let spec = spec_with(JobKind::Batch, policy(0, RestartMode::Fail));
    assert_eq!(delays(&spec, 1, 10), (vec![], "Policy allows no restarts".into()));
}

#[test]
fn mode_delay_waits_for_the_interval_to_end_and_counts_anew() {
    let spec = spec_with(JobKind::Service, policy(1, RestartMode::Delay));
    let (delays, _) = delays(&spec, 1, 4);
    assert!(delays[0] < 20_000 && delays[2] < 20_000, "{delays:?}");
    assert!(1_750_000 < delays[1] && delays[1] < 1_800_000, "{delays:?}: the rest of 30 min");
}

#[test]
fn ends_in_different_intervals_are_not_added_up() {
    let spec = spec_with(JobKind::Service, policy(1, RestartMode::Fail));
    let mut node = Node::running(&spec);
    for attempt in 0..5 {
        node.exited(&format!("a5/main#{attempt}"), 1);
        node.settle();
        node.pass(1_900_000);
        node.sync();
        node.started(&format!("a5/main#{}", attempt + 1));
        node.settle();
    }
    let task = &node.updates[&alloc(5)].tasks["main"];
    assert_eq!((task.restarts, task.failed), (5, false));
    assert!(task.last_restart.is_some());
}

#[test]
fn attempts_are_counted_across_restarts_of_the_agent() {
    let spec = spec_with(JobKind::Service, policy(2, RestartMode::Fail));
    let mut node = Node::running(&spec);
    for attempt in 0..2 {
        node.exited(&format!("a5/main#{attempt}"), 1);
        node.sync();
        // It dies in the middle of the backoff, and the next attempt still comes.
        node.pass(5_000);
        node.sync();
        node.restart(drover_core::types::Boot::Same);
        node.pass(20_000);
        node.sync();
        assert_eq!(node.did(), [format!("start a5/main#{}", attempt + 1)]);
        node.started(&format!("a5/main#{}", attempt + 1));
        node.settle();
    }
    node.exited("a5/main#2", 1);
    let (status, events) = node.history(5, "main");
    assert_eq!(status, "Failed: Failed tasks");
    assert!(events.last().expect("a history").starts_with("Exceeded allowed attempts 2"));
}

#[test]
fn a_start_that_may_succeed_later_is_tried_again_and_a_hopeless_one_is_not() {
    let spec = spec_with(JobKind::Batch, policy(1, RestartMode::Fail));
    let mut node = Node::registered();
    node.assign((5, None), &spec, &[5], &[]);
    node.sync();
    node.start_failed("a5/main#0", Remedy::Retry);
    node.sync();
    node.pass(20_000);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#0", "start a5/main#1"]);
    node.start_failed("a5/main#1", Remedy::None);
    let (status, events) = node.history(5, "main");
    assert_eq!(status, "Failed: Failed tasks");
    assert_eq!(events[events.len() - 2..], ["no such file", "Error was unrecoverable"]);
}

#[test]
fn a_restarting_alloc_is_pending_and_the_history_is_bounded() {
    let mut spec = spec_with(JobKind::Service, policy(1_000, RestartMode::Fail));
    spec.group.restart.delay_ms = 2_500;
    let mut node = Node::running(&spec);
    for attempt in 0..20 {
        node.task(&format!("a5/main#{attempt}"), &TaskChange::Exited { exit_code: 2, signal: 0 });
        assert_eq!(node.history(5, "main").0, "Pending: No tasks have started");
        node.pass(3_200);
        node.sync();
        node.started(&format!("a5/main#{}", attempt + 1));
        node.settle();
    }
    let task = &node.updates[&alloc(5)].tasks["main"];
    assert_eq!((task.events.len(), task.restarts), (10, 20));
}
