//! Stories of one whole agent: how the machines work together.
use std::collections::BTreeMap;

use drover_core::agent::{Agent, Config, Effect, Effects, Event};
use drover_core::api::{Request, Response};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::raft;
use drover_core::types::{
    AllocId, ClientStatus, EvalStatus, Incarnation, Index, JobKind, NodeId, RestartMode,
    SchedulerConfig, ServerId,
};
use drover_core::wal::{self, Lane, Operation, Recovery, SegmentId, SegmentImage};
use drover_core::wire::{Message, PeerId};
use drover_tests::rig::agent::{DevAgent, dev_config, job_spec};

fn settled() -> DevAgent {
    let mut dev = DevAgent::new();
    dev.pass_ms(3_000);
    dev
}

#[test]
fn a_lone_server_leads_at_once_and_its_node_is_ready() {
    let dev = settled();
    let view = dev.agent.view().server.expect("a server");
    assert!(view.is_open, "{view:?}");
    let nodes: Vec<_> = dev.agent.state().expect("a server").nodes().collect();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].status, drover_core::types::NodeStatus::Ready);
}

#[test]
fn a_node_is_ready_a_moment_after_its_agent_started() {
    let mut dev = DevAgent::new();
    dev.pass_ms(20);
    let node = dev.agent.state().expect("a server").nodes().next().expect("registered");
    assert_eq!(node.status, drover_core::types::NodeStatus::Ready);
}

#[test]
fn a_client_beside_a_server_speaks_to_no_other_server() {
    let mut dev = DevAgent::new();
    for other in 2..=5 {
        let peer = PeerId::Server(ServerId(other));
        dev.step(Event::LinkChanged { peer, up: true });
        dev.pass_ms(15_000);
    }
    let of_node = |(_, message): &&(PeerId, Message)| matches!(message, Message::FromNode(_));
    assert_eq!(dev.sent.iter().find(of_node), None, "others would take it for a server's word");
    let node = dev.agent.state().expect("a server").nodes().next().expect("registered");
    assert_eq!(node.status, drover_core::types::NodeStatus::Ready);
}

#[test]
fn an_agent_that_is_alone_and_idle_sleeps() {
    let mut dev = settled();
    let before = dev.inputs.len();
    dev.pass_ms(60_000);
    let inputs = dev.inputs.len() - before;
    assert!(inputs <= 30, "{inputs} inputs in a minute");
    assert!(dev.agent.view().server.expect("a server").is_open, "it leads all the while");
}

#[test]
fn a_service_runs_until_it_is_stopped() {
    let mut dev = settled();
    let answer = dev.run_job(job_spec("web", JobKind::Service, 3));
    assert!(matches!(answer, Ok(Response::Applied { eval: Some(_), .. })), "{answer:?}");
    dev.pass_ms(500);
    assert_eq!(dev.running.len(), 3);
    let state = dev.agent.state().expect("a server");
    assert!(state.allocs().all(|alloc| alloc.client_status == ClientStatus::Running));
    assert!(state.evals().all(|eval| eval.status == EvalStatus::Complete));
    dev.ask(Request::DeregisterJob {
        namespace: "default".into(),
        job: "web".into(),
        purge: false,
    });
    dev.pass_ms(1_000);
    assert!(dev.running.is_empty(), "{:?}", dev.running);
    let state = dev.agent.state().expect("a server");
    assert!(state.allocs().all(|alloc| alloc.client_status == ClientStatus::Complete));
}

/// However long nothing happened before it: deadlines count from there.
#[test]
fn an_entry_bears_the_time_at_which_it_was_made() {
    let mut dev = settled();
    dev.pass_ms(1_900);
    let asked_at = dev.wall();
    dev.run_job(job_spec("web", JobKind::Service, 1)).expect("registered");
    let state = dev.agent.state().expect("a server");
    let eval = state.evals().next().expect("an evaluation");
    assert!(asked_at <= eval.create_time, "{asked_at:?} {:?}", eval.create_time);
}

#[test]
fn a_batch_job_ends_and_what_failed_is_tried_again() {
    let mut dev = settled();
    dev.run_job(job_spec("sum", JobKind::Batch, 2)).expect("registered");
    dev.pass_ms(500);
    let keys: Vec<_> = dev.running.keys().copied().collect();
    assert_eq!(keys.len(), 2);
    dev.exit(keys[0], 0);
    dev.exit(keys[1], 1);
    dev.pass_ms(30_000);
    assert_eq!(dev.running.len(), 1, "the restart policy starts it again");
    let again = *dev.running.keys().next().expect("one");
    dev.exit(again, 0);
    dev.pass_ms(1_000);
    let state = dev.agent.state().expect("a server");
    assert!(state.allocs().all(|alloc| alloc.client_status == ClientStatus::Complete));
}

#[test]
fn nothing_is_looked_at_later_for_a_failed_alloc_that_nobody_wants_replaced_any_more() {
    let mut dev = settled();
    let mut spec = job_spec("web", JobKind::Service, 1);
    let group = &mut spec.groups[0];
    (group.restart.attempts, group.restart.mode) = (0, RestartMode::Fail);
    let later = |dev: &DevAgent| {
        let state = dev.agent.state().expect("a server");
        state.pending_evals().filter(|eval| eval.wait_until.is_some()).count()
    };
    let (namespace, job) = ("default", "web");
    for _ in 0..2 {
        dev.run_job(spec.clone()).expect("registered");
        dev.pass_ms(500);
        let running = *dev.running.keys().next().expect("one");
        dev.exit(running, 1);
        dev.pass_ms(2_000);
        assert_eq!(later(&dev), 1, "it is to be replaced in half a minute");
        let (namespace, job) = (namespace.into(), job.into());
        dev.ask(Request::DeregisterJob { namespace, job, purge: false });
        dev.pass_ms(1_000);
        assert_eq!(later(&dev), 0);
    }
}

#[test]
fn evaluations_wait_while_an_operator_wants_that() {
    let mut dev = settled();
    let set = |pause_eval_broker| Request::SetSchedulerConfig {
        config: SchedulerConfig { pause_eval_broker, ..SchedulerConfig::default() },
        check_index: None,
    };
    dev.ask(set(true));
    dev.run_job(job_spec("web", JobKind::Service, 2)).expect("registered");
    dev.pass_ms(5_000);
    assert!(dev.running.is_empty(), "nothing is placed");
    let inputs = dev.inputs.len();
    dev.pass_ms(10_000);
    assert!(dev.inputs.len() - inputs <= 10, "and nobody is kept awake by what waits");
    dev.ask(set(false));
    dev.pass_ms(1_000);
    assert_eq!(dev.running.len(), 2);
}

#[test]
fn a_job_too_big_waits_blocked_and_says_why() {
    let mut dev = settled();
    let mut spec = job_spec("big", JobKind::Service, 1);
    spec.groups[0].tasks[0].resources.memory_mib = 1_000_000;
    dev.run_job(spec).expect("registered");
    dev.pass_ms(500);
    let state = dev.agent.state().expect("a server");
    let blocked: Vec<_> = state.blocked_evals().collect();
    assert_eq!(blocked.len(), 1);
    let first = state.evals().next().expect("an evaluation");
    let failure = &first.failures["group"];
    assert_eq!(failure.exhausted.get("memory"), Some(&1), "{failure:?}");
}

/// Its state may be on its way to it. If it said that it does not know the node, that would register again,
/// and again.
#[test]
fn a_server_that_has_seen_less_than_a_node_does_not_call_it_unknown() {
    let mut config = dev_config(ServerId(1), NodeId(7));
    config.client = None;
    config.server.as_mut().expect("a server").gossip.own.expect = 3;
    let mut dev = DevAgent::of(config);
    let peer = PeerId::Client(NodeId(8 << 120));
    dev.step(Event::LinkChanged { peer, up: true });
    let (ack, unknown) = (
        ServerMessage::HeartbeatAck { ttl_ms: 10_000, servers: [].into() },
        ServerMessage::Unregistered,
    );
    for (seq, registered_at, answer) in [(5, 0, &ack), (0, 5, &ack), (0, 0, &unknown)] {
        dev.sent.clear();
        let (seq, registered_at) = (Index(seq), Index(registered_at));
        let beat =
            Message::FromNode(NodeMessage::Heartbeat { seq, registered_at, is_behind: false });
        dev.step(Event::Received { from: peer, message: beat });
        let is_work =
            |said: &&(PeerId, Message)| matches!(said.1, Message::ToNode(ServerMessage::Assign(_)));
        let answers: Vec<_> = dev.sent.iter().filter(|said| !is_work(said)).collect();
        assert_eq!(
            answers,
            [&(peer, Message::ToNode(answer.clone()))],
            "{seq:?} {registered_at:?}"
        );
    }
}

/// Its numbers begin anew with every start, and a leader may answer late.
#[test]
fn an_answer_to_what_was_asked_before_a_restart_is_not_taken_for_a_new_one() {
    let mut config = dev_config(ServerId(1), NodeId(7));
    config.client = None;
    config.server.as_mut().expect("a server").gossip.own.expect = 3;
    let mut dev = DevAgent::of(config);
    let id = dev.ask(Request::StopAlloc { alloc: AllocId(9) });
    let leader = PeerId::Server(ServerId(2));
    dev.step(Event::LinkChanged { peer: leader, up: true });
    for (incarnation, is_answered) in [(0, false), (1, true)] {
        let answer = Ok(Response::Applied { index: Index(5), eval: None, job: None });
        let incarnation = Incarnation(incarnation);
        let message = Message::Answer { incarnation, seq: 1, answer };
        dev.step(Event::Received { from: leader, message });
        assert_eq!(dev.answers.contains_key(&id), is_answered, "{incarnation:?}");
    }
}

#[test]
fn a_replay_of_the_inputs_gives_the_same_agent() {
    let mut dev = settled();
    dev.run_job(job_spec("web", JobKind::Service, 2)).expect("registered");
    dev.pass_ms(12_000);
    let mut replayed = Agent::new(dev_config(ServerId(1), NodeId(7)), 1);
    let half = dev.inputs.len() / 2;
    for (at, input) in dev.inputs.iter().enumerate() {
        if at == half {
            replayed = Agent::thaw(&replayed.freeze()).expect("a frozen agent thaws");
        }
        replayed.step(input.clone(), &mut Effects::default());
    }
    assert_eq!(replayed.digest(), dev.agent.digest());
}

/// A place on the disk: of one write.
type Place = (SegmentId, usize, usize);

/// What the disk of `dev` holds, by a replay of its inputs, and where the writes went.
fn disk_of(dev: &DevAgent, config: Config) -> (BTreeMap<SegmentId, Vec<u8>>, Vec<Place>) {
    let (mut segments, mut places) = (BTreeMap::new(), Vec::new());
    let mut chain_crc = 0;
    let mut agent = Agent::new(config, 1);
    for input in &dev.inputs {
        let mut effects = Effects::default();
        agent.step(input.clone(), &mut effects);
        for effect in effects.list {
            let Effect::Disk { operation, .. } = effect else { continue };
            match operation {
                Operation::Prepare { segment, bytes, recycled } => {
                    let fresh = vec![0; usize::try_from(bytes).expect("a small segment")];
                    let old = recycled.and_then(|old| segments.remove(&old));
                    segments.insert(segment, old.unwrap_or(fresh));
                }
                Operation::Remove { segment } => drop(segments.remove(&segment)),
                Operation::Write { segment, offset, mut block } => {
                    chain_crc = wal::seal(&mut block, chain_crc, crc_fast::crc32_iscsi);
                    let at = usize::try_from(offset).expect("a small segment");
                    segments.get_mut(&segment).expect("it was prepared")[at..at + block.len()]
                        .copy_from_slice(&block);
                    places.push((segment, at, block.len()));
                }
            }
        }
    }
    (segments, places)
}

fn recover(segments: &BTreeMap<SegmentId, Vec<u8>>) -> Result<Recovery, wal::Corruption> {
    let images = segments.iter();
    let images = images.map(|(&segment, bytes)| SegmentImage {
        segment,
        bytes: bytes.clone(),
        blank_bytes: 0,
    });
    wal::recover(images, crc_fast::crc32_iscsi)
}

#[test]
fn damage_to_the_last_records_of_an_idle_agent_is_seen() {
    let mut dev = settled();
    dev.run_job(job_spec("web", JobKind::Service, 1)).expect("registered");
    dev.pass_ms(3_000);
    let (segments, places) = disk_of(&dev, dev_config(ServerId(1), NodeId(7)));
    let whole = recover(&segments).expect("nothing is damaged");
    let last = |records: &Recovery| records.records.last().map(|(seq, ..)| *seq);
    let mut seen = 0;
    for (segment, at, bytes) in places {
        let mut segments = segments.clone();
        segments.get_mut(&segment).expect("it was written to")[at + bytes / 2] ^= 1;
        match recover(&segments) {
            Err(_) => seen += 1,
            Ok(cut) => assert_eq!(last(&cut), last(&whole), "records were lost in silence"),
        }
    }
    assert!(0 < seen, "there were records to damage");
}

#[test]
fn term_and_vote_outlive_the_records_that_held_them() {
    let mut config = dev_config(ServerId(1), NodeId(7));
    let server = config.server.as_mut().expect("a server");
    server.cut_bytes = 4 << 10;
    server.raft.retained_bytes_max = 0;
    let mut dev = DevAgent::of(config.clone());
    dev.pass_ms(3_000);
    for nth in 0..40 {
        dev.run_job(job_spec(&format!("job-{nth}"), JobKind::Batch, 1)).expect("registered");
    }
    dev.pass_ms(1_000);
    let (segments, _) = disk_of(&dev, config);
    let recovery = recover(&segments).expect("nothing is damaged");
    let records = recovery.records.into_iter().filter(|(_, lane, _)| *lane == Lane::Raft);
    let (mut terms, mut frames) = (Vec::new(), 0);
    for (_, _, bytes) in records {
        match postcard::from_bytes(&bytes).expect("a record decodes") {
            raft::Record::HardState(hard_state) => terms.push(hard_state.term),
            raft::Record::Frame { frame, .. } => frames += frame.last().0 - frame.first.0 + 1,
            raft::Record::SnapshotInstalled(_) => (),
        }
    }
    let raft = dev.agent.raft().expect("a server");
    assert!(frames < raft.last_index().0 / 2, "the log was compacted: {frames} entries are left");
    assert_eq!(terms.last(), Some(&raft.term()), "what was promised is still known");
}
