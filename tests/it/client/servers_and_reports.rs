//! Registration, heartbeats, the choice of a server, and reports that arrive in the end.
use drover_core::client::{ClientRecord, Link, Recovered, ServerMessage};
use drover_core::limits::RECOVERY_LEAP;
use drover_core::types::{AllocSpec, Boot, ClientStatus, JobKind};

use super::node::{Node, REGISTERED, S1, S2};
use super::specs::{self, alloc, spec, task};

fn service() -> AllocSpec {
    spec(JobKind::Service, vec![task("main")])
}

fn ack() -> ServerMessage {
    ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() }
}

#[test]
fn registration_comes_first_the_heartbeat_at_once_and_then_once_a_ttl() {
    let mut node = Node::new();
    node.link(S1, Link::Up);
    node.pass(60_000);
    assert_eq!(node.said(), [""; 0], "the machine was not looked at yet");
    node.fingerprint();
    assert_eq!(node.said(), ["s1 < register"]);
    node.hear(S1, REGISTERED);
    assert_eq!(node.said(), ["s1 < heartbeat 0"]);
    node.hear(S1, ack());
    node.pass(9_499);
    assert_eq!(node.said(), [""; 0]);
    node.pass(501);
    assert_eq!(node.said(), ["s1 < heartbeat 0"]);
    node.fingerprint();
    assert_eq!(node.said(), [""; 0], "the machine is as it was");
}

#[test]
fn a_server_that_does_not_answer_is_left_for_another() {
    let mut node = Node::registered();
    node.link(S2, Link::Up);
    node.pass(10_000);
    assert_eq!(node.said(), ["s1 < heartbeat 0"]);
    node.pass(2_000);
    assert_eq!(node.said(), ["s2 < heartbeat 0"], "two seconds are enough for an answer");
    node.hear(S1, ack());
    node.pass(2_000);
    assert_eq!(node.said(), ["s1 < heartbeat 0"], "only the current server's answer counts");
}

#[test]
fn a_probe_is_answered_at_once_to_whoever_sent_it() {
    let mut node = Node::new();
    node.link(S1, Link::Up);
    node.link(S2, Link::Up);
    node.hear(S2, ServerMessage::Probe);
    assert_eq!(node.said(), [""; 0], "it has nothing to say before it is registered");
    let mut node = Node::registered();
    node.link(S2, Link::Up);
    node.hear(S2, ServerMessage::Probe);
    assert_eq!(node.said(), ["s2 < heartbeat 0"]);
    node.hear(S2, ack());
    node.pass(10_000);
    assert_eq!(node.said(), ["s1 < heartbeat 0"], "it stays with its server");
}

#[test]
fn when_the_server_goes_away_the_next_is_told_at_once_and_tasks_go_on() {
    let mut node = Node::running(&service());
    node.link(S2, Link::Up);
    node.link(S1, Link::Down);
    assert_eq!(node.said(), ["s2 < heartbeat 5"]);
    node.link(S2, Link::Down);
    node.pass(3_600_000);
    assert_eq!(node.said(), [""; 0]);
    assert_eq!(node.client.next_deadline(), None);
    node.link(S1, Link::Up);
    assert_eq!(node.said(), ["s1 < heartbeat 5"]);
}

#[test]
fn a_node_that_was_forgotten_registers_again() {
    let mut node = Node::registered();
    node.hear(S1, ServerMessage::Unregistered);
    assert_eq!(node.said(), ["s1 < register"]);
    node.hear(S1, ServerMessage::Unavailable);
    assert_eq!(node.said(), [""; 0]);
    node.pass(2_000);
    assert_eq!(node.said(), ["s1 < register"], "there is a leader again, perhaps");
}

/// A server that lags would have it register in a circle, two entries of the log a turn.
#[test]
fn a_server_that_forgets_whom_it_has_just_registered_is_left_and_nobody_is_asked_at_once() {
    let mut node = Node::new();
    node.fingerprint();
    node.link(S1, Link::Up);
    node.link(S2, Link::Up);
    node.said();
    node.hear(S1, REGISTERED);
    assert_eq!(node.said(), ["s1 < heartbeat 0"]);
    node.hear(S1, ServerMessage::Unregistered);
    assert_eq!(node.said(), [""; 0]);
    node.pass(2_000);
    assert_eq!(node.said(), ["s2 < register"]);
    node.hear(S2, REGISTERED);
    node.hear(S2, ack());
    node.said();
    node.hear(S2, ServerMessage::Unregistered);
    assert_eq!(node.said(), ["s2 < register"], "it knew the node, and does not any more");
}

#[test]
fn a_machine_that_changes_during_its_registration_is_registered_once_more() {
    let mut node = Node::new();
    node.fingerprint();
    node.link(S1, Link::Up);
    assert_eq!(node.said(), ["s1 < register"]);
    let mut changed = specs::node_spec();
    changed.name = "n2".into();
    node.step(|client, at, out| client.on_fingerprint(at, changed.into(), out));
    assert_eq!(node.said(), [""; 0], "the answer may be to the old or the new");
    node.hear(S1, REGISTERED);
    assert_eq!(node.said(), ["s1 < register"]);
    node.hear(S1, REGISTERED);
    assert_eq!(node.said(), ["s1 < heartbeat 0"]);
}

#[test]
fn changes_of_200_ms_are_one_report_and_each_alloc_is_in_it_once() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    node.assign((6, Some(5)), &service(), &[6], &[]);
    node.sync();
    node.said();
    node.pass(199);
    assert_eq!(node.said(), [""; 0]);
    node.pass(1);
    assert_eq!(node.said(), ["s1 < report a5 Pending a6 Pending"]);
}

#[test]
fn a_task_that_runs_is_reported_at_once_and_what_follows_when_that_is_acknowledged() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5, 6, 7], &[]);
    node.sync();
    node.said();
    node.started("a5/main#0");
    node.sync();
    let first = node.reports();
    let said = node.said();
    let report = "s1 < report a5 Running a6 Pending a7 Pending";
    assert_eq!(said.last().map(String::as_str), Some(report));
    node.started("a6/main#0");
    node.started("a7/main#0");
    node.sync();
    node.said();
    node.hear(S1, ServerMessage::ReportAck { report: first[0] });
    assert_eq!(node.said(), ["s1 < report a6 Running a7 Running"]);
}

#[test]
fn an_end_is_reported_at_once_but_not_before_it_is_durable() {
    let mut spec = spec(JobKind::Batch, vec![task("main")]);
    spec.group.restart.attempts = 0;
    let mut node = Node::running(&spec);
    node.exited("a5/main#0", 1);
    assert_eq!(node.said(), ["write progress a5"]);
    node.pass(60_000);
    node.said();
    node.flush();
    assert_eq!(node.said(), ["s1 < report a5 Failed"]);
}

#[test]
fn a_report_is_sent_again_until_it_is_acknowledged_with_what_is_true_by_then() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    node.sync();
    node.pass(200);
    assert!(node.said().contains(&"s1 < report a5 Pending".into()));
    node.started("a5/main#0");
    node.sync();
    node.said();
    node.pass(1_000);
    assert_eq!(node.said(), [""; 0], "a second report waits for the first");
    node.link(S2, Link::Up);
    node.link(S1, Link::Down);
    assert_eq!(node.said(), ["s2 < heartbeat 5 behind", "s2 < report a5 Running"]);
    node.hear(S2, ack());
    node.pass(4_000);
    node.said();
    node.hear(S2, ack());
    node.pass(1_000);
    let again = node.reports();
    assert!(node.said().contains(&"s2 < report a5 Running".into()));
    node.hear(S2, ServerMessage::ReportAck { report: again[0] });
    node.pass(4_000);
    assert!(!node.said().iter().any(|line| line.contains("report")));
}

#[test]
fn a_node_looks_for_the_servers_that_it_is_told_of() {
    let mut node = Node::registered();
    let told = |addresses: &[&str]| ServerMessage::HeartbeatAck {
        ttl_ms: 10_000,
        servers: addresses.iter().map(ToString::to_string).collect(),
    };
    node.hear(S1, told(&["a:1", "b:1", "c:1"]));
    assert_eq!(node.said(), ["dial a:1", "dial b:1", "dial c:1"]);
    node.hear(S1, told(&["a:1", "c:1", "d:1"]));
    assert_eq!(node.said(), ["dial d:1", "forget b:1"]);
    node.hear(S1, told(&[]));
    assert_eq!(node.said(), [""; 0], "a server that knows of nobody says nothing");
}

/// It may be cut off from the others, and answers heartbeats by itself.
#[test]
fn a_server_that_cannot_have_a_report_written_down_is_left_for_another() {
    let mut node = Node::registered();
    node.link(S2, Link::Up);
    node.assign((5, None), &service(), &[5], &[]);
    node.sync();
    node.pass(200);
    assert!(node.said().contains(&"s1 < report a5 Pending".into()));
    node.pass(5_000);
    let sent = node.reports();
    assert_eq!(node.said(), ["s2 < heartbeat 5 behind", "s2 < report a5 Pending"]);
    node.hear(S2, ack());
    node.hear(S2, ServerMessage::ReportAck { report: sent[0] });
    assert_eq!(node.said(), ["s2 < heartbeat 5"]);
    node.hear(S2, ack());
    node.pass(5_000);
    assert_eq!(node.said(), [""; 0], "the other one is good enough");
}

#[test]
fn after_the_agent_restarts_everything_is_reported_once_more() {
    let mut node = Node::running(&service());
    node.restart(Boot::Same);
    node.started("a5/main#0");
    node.sync();
    node.pass(200);
    assert!(node.said().contains(&"s1 < report a5 Running".into()));
}

#[test]
fn only_what_is_durable_is_acknowledged() {
    let mut node = Node::registered();
    node.assign((5, None), &service(), &[5], &[]);
    assert_eq!(node.said(), ["write assigned 5"]);
    node.assign((6, Some(5)), &service(), &[], &[]);
    node.pass(10_000);
    assert_eq!(node.said(), ["write assigned 6", "s1 < heartbeat 0"]);
    node.flush();
    assert!(node.said().contains(&"s1 < acknowledge 6".into()));
    node.assign((6, None), &service(), &[], &[]);
    assert_eq!(node.said(), ["s1 < acknowledge 6"], "it was asked again, it says so again");
}

#[test]
fn a_long_log_is_written_anew_and_says_the_same() {
    let mut spec = service();
    spec.group.restart.attempts = 1_000_000;
    let mut node = Node::running(&spec);
    let mut said = vec![];
    for attempt in 0..400 {
        node.exited(&format!("a5/main#{attempt}"), 2);
        node.sync();
        node.pass(1_250);
        node.sync();
        node.started(&format!("a5/main#{}", attempt + 1));
        said.append(&mut node.said());
        node.settle();
    }
    let at = said.iter().position(|line| line.starts_with("compacted")).expect("a compaction");
    let first: usize = said[at]["compacted ".len()..].parse().expect("a number");
    assert!(said[..at].contains(&"write row a5".into()));
    // The log of this start of the agent, with all before `first` taken away.
    let rest: Vec<ClientRecord> = node.durable[first - 1..].to_vec();
    let whole = Recovered::from_records(node.durable.clone(), Boot::Same);
    assert_eq!(Recovered::from_records(rest, Boot::Same).allocs, whole.allocs);
    assert_eq!(whole.allocs[&alloc(5)].row.tasks[0].attempt, 400);
}

/// Where servers go on that were made anew from what they knew at 7.
const LEAPT: u64 = 7 + RECOVERY_LEAP;

#[test]
fn servers_made_anew_from_an_old_state_are_told_everything_and_name_all_that_runs() {
    let mut node = Node::running(&service());
    // What these servers have forgotten: a6 runs and was never heard of, a7 ended.
    node.assign((6, Some(5)), &service(), &[6], &[]);
    node.sync();
    node.started("a6/main#0");
    node.settle();
    node.assign((7, Some(6)), &service(), &[7], &[]);
    node.sync();
    node.started("a7/main#0");
    node.settle();
    node.assign((8, Some(7)), &service(), &[], &[7]);
    node.sync();
    node.exited("a7/main#0", 0);
    node.settle();
    node.assign((LEAPT, Some(8)), &service(), &[], &[]);
    assert_eq!(node.said(), ["s1 < ask full set"], "a difference cannot say what is not to run");
    node.updates.clear();
    node.assign((LEAPT, None), &service(), &[5, 7], &[]);
    node.sync();
    assert_eq!(node.did(), ["stop a6/main#0 SIGINT"], "a5 goes on, untouched");
    node.exited("a6/main#0", 0);
    node.settle();
    let told: Vec<_> = node.updates.values().map(|update| (update.id, update.status)).collect();
    let (running, complete) = (ClientStatus::Running, ClientStatus::Complete);
    assert_eq!(told, [(alloc(5), running), (alloc(6), complete), (alloc(7), complete)]);
}

#[test]
fn what_ended_and_was_forgotten_runs_again_if_an_old_state_wants_it() {
    let mut node = Node::running(&service());
    node.assign((6, Some(5)), &service(), &[], &[5]);
    node.sync();
    node.exited("a5/main#0", 0);
    node.settle();
    for made in 7..12 {
        node.assign((made, Some(made - 1)), &service(), &[made], &[made]);
        node.settle();
    }
    node.assign((12, None), &service(), &[5], &[]);
    node.sync();
    assert_eq!(node.did(), [""; 0], "it was heard of before");
    node.assign((LEAPT, None), &service(), &[5], &[]);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#0"]);
    node.crash(Boot::Same);
    assert_eq!(node.did(), ["look for a5/main#0"], "its log says the same");
    node.assign((LEAPT + 1, None), &service(), &[5], &[]);
    assert_eq!(node.did(), [""; 0], "it leapt once");
}

/// Ended while no server was there: what would be placed on the node meanwhile might not fit.
#[test]
fn a_node_that_was_out_of_touch_says_that_it_is_behind_until_its_report_is_known() {
    let mut node = Node::running(&service());
    node.link(S1, Link::Down);
    node.exited("a5/main#0", 1);
    node.pass(60_000);
    node.sync();
    node.said();
    node.link(S2, Link::Up);
    let report = node.reports()[0];
    assert_eq!(node.said(), ["s2 < heartbeat 5 behind", "s2 < report a5 Pending"]);
    node.hear(S2, ack());
    assert_eq!(node.said(), [""; 0]);
    node.hear(S2, ServerMessage::ReportAck { report });
    assert_eq!(node.said(), ["s2 < heartbeat 5"], "at once");
}

#[test]
fn what_changes_while_in_touch_leaves_nobody_behind() {
    let mut node = Node::running(&service());
    node.exited("a5/main#0", 1);
    node.pass(10_000);
    assert!(node.said().contains(&"s1 < heartbeat 5".to_owned()), "its report is not acknowledged");
}

/// What its log says of a task is old: its driver knows better.
#[test]
fn a_node_that_starts_again_is_behind_until_its_driver_was_asked_and_that_was_reported() {
    let mut node = Node::running(&service());
    node.restart(Boot::Same);
    node.pass(1_000);
    let said = node.said();
    assert!(said.contains(&"s1 < heartbeat 5 behind".to_owned()), "{said:?}");
    assert!(!said.iter().any(|said| said.contains("report")), "{said:?}");
    node.exited("a5/main#0", 0);
    node.sync();
    node.pass(200);
    let report = *node.reports().last().expect("it is known now");
    node.said();
    node.hear(S1, ServerMessage::ReportAck { report });
    assert_eq!(node.said(), ["s1 < heartbeat 5"]);
}
