//! From an assignment to an end, one rule each.
use drover_core::client::{Refusal, ServerMessage};
use drover_core::types::{AllocSpec, Boot, JobKind, TaskChange};

use super::node::{Node, S1};
use super::specs::{alloc, spec, task};

fn service() -> AllocSpec {
    spec(JobKind::Service, vec![task("main")])
}

fn batch(names: &[&str]) -> AllocSpec {
    spec(JobKind::Batch, names.iter().map(|name| task(name)).collect())
}

#[test]
fn a_task_starts_only_when_its_assignment_is_durable() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    node.pass(60_000);
    assert_eq!(node.did(), [""; 0], "the disk is slow");
    node.flush();
    assert_eq!(node.said()[..3], ["start a5/main#0", "write progress a5", "s1 < acknowledge 5"]);
}

#[test]
fn nothing_stops_because_it_is_absent_from_a_full_set() {
    let mut node = Node::running(&service());
    node.assign((9, None), &service(), &[9], &[]);
    node.settle();
    node.assign((10, None), &service(), &[], &[]);
    node.settle();
    node.assign((11, None), &service(), &[5], &[9]);
    node.sync();
    assert_eq!(node.did(), ["stop a9/main#0 SIGINT"], "only the tombstone stops");
}

#[test]
fn an_assignment_already_heard_changes_nothing() {
    let mut node = Node::running(&service());
    node.assign((5, None), &service(), &[5], &[5]);
    node.assign((3, None), &service(), &[3], &[5]);
    node.assign((3, Some(2)), &service(), &[3], &[5]);
    node.sync();
    assert_eq!(node.did(), [""; 0]);
    assert_eq!(node.client.seq().0, 5);
}

#[test]
fn after_a_gap_the_full_set_is_asked_for() {
    let mut node = Node::running(&service());
    node.assign((9, Some(7)), &service(), &[9], &[5]);
    assert_eq!(node.said(), ["s1 < ask full set"]);
    node.assign((9, Some(4)), &service(), &[9], &[]);
    node.sync();
    assert_eq!(node.did(), ["start a9/main#0"], "an overlap is no gap");
}

#[test]
fn what_is_malformed_is_not_taken_in() {
    let mut node = Node::registered();
    let mut nonsense = drover_core::types::Assignment::default();
    nonsense.runs.push(super::specs::run(alloc(5)));
    node.hear(S1, ServerMessage::Assign(nonsense));
    assert_eq!(node.said(), [""; 0]);
}

#[test]
fn a_stop_is_a_signal_then_a_wait_then_kills() {
    let mut node = Node::running(&service());
    node.assign((6, Some(5)), &service(), &[], &[5]);
    assert_eq!(node.did(), [""; 0], "the tombstone is not durable yet");
    node.sync();
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT"]);
    node.pass(4_999);
    assert_eq!(node.did(), [""; 0]);
    node.pass(1);
    assert_eq!(node.did(), ["kill a5/main#0"]);
    node.pass(5_000);
    assert_eq!(node.did(), ["kill a5/main#0"], "it has not died");
    node.pass(9_999);
    assert_eq!(node.did(), [""; 0], "patience doubles");
    node.pass(1);
    assert_eq!(node.did(), ["kill a5/main#0"]);
    node.task("a5/main#0", &TaskChange::Exited { exit_code: 137, signal: 9 });
    let (status, events) = node.history(5, "main");
    assert_eq!(status, "Complete: All tasks have completed");
    assert_eq!(
        events,
        [
            "Task received by client",
            "Building Task Directory",
            "Task started by client",
            "Sent interrupt. Waiting 5s before force killing",
            "Exit Code: 137, Signal: 9",
            "Task successfully killed",
        ]
    );
}

#[test]
fn the_job_chooses_the_signal_and_the_node_bounds_the_wait() {
    let mut spec = service();
    spec.group.tasks[0].kill_signal = "SIGTERM".into();
    spec.group.tasks[0].kill_timeout_ms = 3_600_000;
    let mut node = Node::running(&spec);
    node.assign((6, Some(5)), &spec, &[], &[5]);
    node.sync();
    assert_eq!(node.did(), ["stop a5/main#0 SIGTERM"]);
}

#[test]
fn shutdown_delays_of_group_and_task_come_before_the_signal() {
    let mut spec = service();
    spec.group.shutdown_delay_ms = 2_000;
    spec.group.tasks[0].shutdown_delay_ms = 3_000;
    let mut node = Node::running(&spec);
    node.assign((6, Some(5)), &spec, &[], &[5]);
    node.sync();
    node.pass(4_999);
    assert_eq!(node.did(), [""; 0]);
    node.pass(1);
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT"]);
}

#[test]
fn a_tombstone_before_the_start_is_no_start() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    node.assign((6, Some(5)), &service(), &[], &[5]);
    node.sync();
    assert_eq!(node.did(), [""; 0]);
    assert_eq!(node.history(5, "main").0, "Complete: All tasks have completed");
}

#[test]
fn a_tombstone_during_the_start_stops_what_is_starting() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    node.sync();
    node.assign((6, Some(5)), &service(), &[], &[5]);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#0", "stop a5/main#0 SIGINT"]);
    node.started("a5/main#0");
    assert_eq!(node.did(), [""; 0], "the signal is on its way");
    node.exited("a5/main#0", 0);
    assert_eq!(node.history(5, "main").0, "Complete: All tasks have completed");
}

#[test]
fn a_task_that_fails_for_good_takes_its_siblings_along() {
    let mut spec = batch(&["main", "helper"]);
    spec.group.restart.attempts = 0;
    let mut node = Node::running(&spec);
    node.exited("a5/main#0", 1);
    assert_eq!(node.did(), [""; 0], "the failure is not durable yet");
    node.sync();
    assert_eq!(node.did(), ["stop a5/helper#0 SIGINT"]);
    let (status, events) = node.history(5, "helper");
    assert_eq!(status, "Running: Tasks are running", "its resources are in use");
    assert!(events.contains(&"Task's sibling \"main\" failed".to_string()));
    node.exited("a5/helper#0", 0);
    assert_eq!(node.history(5, "helper").0, "Failed: Failed tasks");
    assert!(!node.updates[&alloc(5)].tasks["helper"].failed, "it was killed, it did not fail");
}

#[test]
fn the_end_of_the_leader_ends_the_others_and_on_a_stop_it_goes_first() {
    let mut spec = batch(&["helper", "main"]);
    spec.group.tasks[1].leader = true;
    let mut node = Node::running(&spec);
    node.exited("a5/main#0", 0);
    node.sync();
    assert_eq!(node.did(), ["stop a5/helper#0 SIGINT"]);
    node.exited("a5/helper#0", 130);
    let (status, events) = node.history(5, "helper");
    assert_eq!(status, "Complete: All tasks have completed");
    assert!(events.contains(&"Leader Task in Group dead".to_string()));

    let mut node = Node::running(&spec);
    node.assign((6, Some(5)), &spec, &[], &[5]);
    node.sync();
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT"]);
    node.exited("a5/main#0", 130);
    node.sync();
    assert_eq!(node.did(), ["stop a5/helper#0 SIGINT"]);
}

#[test]
fn an_operator_restarts_and_signals_tasks() {
    let mut spec = service();
    spec.group.restart.attempts = 0;
    let mut node = Node::running(&spec);
    let ask = |node: &mut Node, name: Option<&str>| {
        let mut answer = Ok(());
        node.step(|client, at, out| answer = client.on_restart_asked(at, (alloc(5), name), out));
        answer
    };
    assert_eq!(ask(&mut node, Some("other")), Err(Refusal::UnknownTask));
    assert_eq!(ask(&mut node, None), Ok(()));
    node.sync();
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT"]);
    node.exited("a5/main#0", 130);
    node.pass(0);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#1"], "though the policy allows no restarts");
    node.started("a5/main#1");
    node.step(|client, at, out| {
        let target = (alloc(5), "main");
        assert_eq!(client.on_signal_asked(at, target, "SIGHUP".into(), out), Ok(()));
    });
    assert_eq!(node.did(), ["signal a5/main#1 SIGHUP"]);
    let (_, events) = node.history(5, "main");
    let expected = ["User requested restart", "Task restarting in 0s", "Task being sent a signal"];
    for line in expected {
        assert!(events.contains(&line.to_string()), "{line} is in {events:?}");
    }
    node.exited("a5/main#1", 1);
    node.sync();
    assert_eq!(ask(&mut node, None), Err(Refusal::NotRunning), "what failed stays so");
}

#[test]
fn after_the_agent_restarts_tasks_are_looked_for_and_not_started() {
    let mut node = Node::running(&service());
    node.crash(Boot::Same);
    assert_eq!(node.did(), ["look for a5/main#0"]);
    node.fingerprint();
    node.started("a5/main#0");
    node.sync();
    node.pass(60_000);
    assert_eq!(node.did(), [""; 0], "it goes on, though no server was heard");
    let (_, events) = {
        node.restart(Boot::Same);
        node.started("a5/main#0");
        node.history(5, "main")
    };
    let starts = events.iter().filter(|line| *line == "Task started by client").count();
    assert_eq!(starts, 1, "it was started once");
}

#[test]
fn an_exit_while_the_agent_was_away_is_judged_by_the_restart_policy() {
    let mut node = Node::running(&service());
    node.restart(Boot::Same);
    node.exited("a5/main#0", 1);
    node.sync();
    node.pass(1_250);
    node.sync();
    assert_eq!(node.did(), ["look for a5/main#0", "start a5/main#1"]);
}

#[test]
fn a_lost_task_starts_again_only_after_the_servers_were_heard() {
    for boot in [Boot::Same, Boot::Rebooted] {
        let mut node = Node::running(&service());
        node.restart(boot);
        if boot == Boot::Same {
            assert_eq!(node.did(), ["look for a5/main#0"]);
            node.task("a5/main#0", &TaskChange::Lost);
        }
        node.pass(60_000);
        node.sync();
        assert_eq!(node.did(), [""; 0], "it may have been replaced meanwhile");
        node.assign((4, None), &service(), &[], &[]);
        node.sync();
        assert_eq!(node.did(), [""; 0], "an old word says nothing about now");
        node.hear(S1, ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() });
        assert_eq!(node.said(), ["s1 < ask full set"], "or it might wait for ever");
        node.assign((5, Some(5)), &service(), &[], &[]);
        node.sync();
        assert_eq!(node.did(), ["start a5/main#1"]);
        let (_, events) = node.history(5, "main");
        assert!(events.contains(&"Task was lost while the agent was not running".to_string()));
    }
}

#[test]
fn a_lost_task_that_was_replaced_does_not_start() {
    let mut node = Node::running(&service());
    node.restart(Boot::Rebooted);
    node.assign((6, Some(5)), &service(), &[], &[5]);
    node.sync();
    assert_eq!(node.did(), [""; 0]);
    assert_eq!(node.history(5, "main").0, "Complete: All tasks have completed");
}

#[test]
fn a_start_that_never_reached_the_driver_is_no_failure() {
    let mut spec = service();
    spec.group.restart.attempts = 0;
    let mut node = Node::registered();
    node.assign((5, None), &spec, &[5], &[]);
    node.flush();
    node.restart(Boot::Same);
    assert_eq!(node.did(), ["look for a5/main#0"], "it may have begun all the same");
    node.task("a5/main#0", &TaskChange::Lost);
    node.assign((5, None), &spec, &[], &[]);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#1"]);
}

#[test]
fn a_stop_goes_on_after_the_agent_restarts() {
    let mut node = Node::running(&service());
    node.assign((6, Some(5)), &service(), &[], &[5]);
    node.sync();
    node.restart(Boot::Same);
    assert_eq!(node.did(), ["look for a5/main#0"]);
    node.started("a5/main#0");
    node.sync();
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT"]);
}

#[test]
fn a_word_about_an_attempt_that_is_over_changes_nothing() {
    let mut node = Node::running(&service());
    node.exited("a5/main#0", 1);
    node.sync();
    node.pass(1_250);
    node.sync();
    node.started("a5/main#1");
    node.settle();
    node.exited("a5/main#0", 1);
    node.task("a5/main#0", &TaskChange::Lost);
    assert_eq!(node.said(), [""; 0]);
}

#[test]
fn a_newer_version_of_the_same_tasks_takes_their_place_without_a_restart() {
    let mut node = Node::running(&service());
    let mut newer = service();
    newer.version = 1;
    newer.group.tasks[0].kill_signal = "SIGQUIT".into();
    node.assign((6, Some(5)), &newer, &[5], &[]);
    node.sync();
    assert_eq!(node.did(), [""; 0]);
    node.crash(Boot::Same);
    node.fingerprint();
    node.started("a5/main#0");
    node.assign((7, Some(6)), &newer, &[], &[5]);
    node.sync();
    assert_eq!(node.did(), ["look for a5/main#0", "stop a5/main#0 SIGQUIT"]);
}

#[test]
fn the_oldest_ended_allocs_lose_their_files_and_never_come_back() {
    let mut node = Node::registered();
    let spec = batch(&["main"]);
    for made in 5..8 {
        node.assign((made, Some(made - 1)), &spec, &[made], &[]);
        if made == 5 {
            node.assign((made, None), &spec, &[made], &[]);
        }
        node.sync();
        node.started(&format!("a{made}/main#0"));
        node.exited(&format!("a{made}/main#0"), 0);
        node.sync();
        if made == 7 {
            node.said();
            node.hear(S1, ServerMessage::ReportAck { report: 99 });
            assert_eq!(node.did(), [""; 0], "an answer to something else");
            node.pass(5_000);
            let report = *node.reports().last().expect("the report is sent again");
            node.hear(S1, ServerMessage::ReportAck { report });
            assert_eq!(node.did(), ["destroy a5"], "this node keeps two");
        } else {
            node.settle();
        }
    }
    node.assign((8, None), &spec, &[5, 6, 7], &[]);
    node.sync();
    assert_eq!(node.did(), [""; 0], "their entries were heard long ago");
    node.restart(Boot::Same);
    node.sync();
    assert_eq!(node.did(), [""; 0]);
}
