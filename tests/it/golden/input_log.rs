//! The bytes of a recorded input log: each start, each event, and each record beside them.
//!
//! Each sample is written by the recorder's format and read again. What is named inside an event (a message, a
//! request, what became of a task) has a sample of each of its kinds too, so that `Message` is held as it is on the wire.
mod membership;
mod requests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use drover_core::agent::snapshot::{Loaded, pack};
use drover_core::agent::sum::Sum;
use drover_core::agent::{Agent, Effects, Event, Input, Recovered, TaskAsk};
use drover_core::api::{Consistency, Heir, Order, Rejection, Request, Response};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::digest::Digest;
use drover_core::gossip;
use drover_core::raft::{
    Ballot, Body, Campaign, Chunk, Configuration, Frame, Frames, LogMark, Message as Raft, Payload,
    Position, Proof, SnapshotMark,
};
use drover_core::state::State;
use drover_core::time::{MonoTime, WallTime};
use drover_core::types::*;
use drover_core::wal::{Fault, Lane, OpId, PerLane, Segment, SegmentId, Tail};
use drover_core::wire::{Message, PeerId, Seen};
use drover_shell::recorder::{InputLog as _, Log, Reader, Record, Recorder, Start};
use drover_tests::rig::agent::{dev_config, job_spec, node_spec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{compare_with, hex, kept};

const SERVER: PeerId = PeerId::Server(ServerId(2));
const CLIENT: PeerId = PeerId::Client(NodeId(8));

/// Every variant by name; a new one does not compile before it has a sample.
const fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Booted(_) => "booted",
        Event::Received { .. } => "received",
        Event::LinkChanged { .. } => "link_changed",
        Event::DiskDone { .. } => "disk_done",
        Event::DiskFailed { .. } => "disk_failed",
        Event::Requested { .. } => "requested",
        Event::Abandoned { .. } => "abandoned",
        Event::TaskChanged { .. } => "task_changed",
        Event::TaskAsked { .. } => "task_asked",
        Event::Fingerprinted(_) => "fingerprinted",
        Event::SnapshotSaved(_) => "snapshot_saved",
        Event::ChunkRead { .. } => "chunk_read",
        Event::ChunkMissing { .. } => "chunk_missing",
        Event::SnapshotLoaded { .. } => "snapshot_loaded",
        Event::SnapshotRefused { .. } => "snapshot_refused",
        Event::Woken => "woken",
        Event::LeaveAsked => "leave_asked",
        Event::ChecksChanged { .. } => "checks_changed",
    }
}
const EVENTS: usize = 18;

/// What the variant inside is called, if events of this kind differ in it.
fn inner_name(event: &Event) -> &'static str {
    match event {
        Event::Received { message, .. } => message_name(message),
        Event::Requested { request, .. } => request_name(request),
        Event::TaskChanged { change, .. } => match change {
            TaskChange::Started { .. } => ".started",
            TaskChange::StartFailed { .. } => ".start_failed",
            TaskChange::Exited { .. } => ".exited",
            TaskChange::Lost => ".lost",
        },
        Event::TaskAsked { ask, .. } => match ask {
            TaskAsk::Restart => ".restart",
            TaskAsk::Signal(_) => ".signal",
        },
        _ => "",
    }
}
const INNER: usize = 48 + 28 + 4 + 2;

const fn message_name(message: &Message) -> &'static str {
    match message {
        Message::Raft(raft) => match raft.body {
            Body::RequestVote { .. } => ".raft.request_vote",
            Body::Vote { .. } => ".raft.vote",
            Body::Append { .. } => ".raft.append",
            Body::AppendAck { .. } => ".raft.append_ack",
            Body::AppendReject { .. } => ".raft.append_reject",
            Body::Stale => ".raft.stale",
            Body::SnapshotChunk { .. } => ".raft.snapshot_chunk",
            Body::SnapshotAck { .. } => ".raft.snapshot_ack",
            Body::ReadIndex { .. } => ".raft.read_index",
            Body::ReadIndexReply { .. } => ".raft.read_index_reply",
            Body::TimeoutNow => ".raft.timeout_now",
            Body::Commit { .. } => ".raft.commit",
        },
        Message::Gossip(gossip) => match gossip {
            gossip::Message::Push(_) => ".gossip.push",
            gossip::Message::Pull(_) => ".gossip.pull",
            gossip::Message::Forget { .. } => ".gossip.forget",
            gossip::Message::Datagram(packet) | gossip::Message::Stream(packet) => {
                membership::matter_name(&packet.matter)
            }
        },
        Message::Wan(_) => ".wan",
        Message::Ask { .. } => ".ask",
        Message::Answer { answer: Ok(_), .. } => ".answer",
        Message::Answer { answer: Err(_), .. } => ".refusal",
        Message::Sighting { .. } => ".sighting",
        Message::Cut { .. } => ".cut",
        Message::LookFor { .. } => ".look_for",
        Message::LookedFor { .. } => ".looked_for",
        Message::FromNode(said) => match said {
            NodeMessage::Register { .. } => ".node.register",
            NodeMessage::Heartbeat { .. } => ".node.heartbeat",
            NodeMessage::Acknowledge { .. } => ".node.acknowledge",
            NodeMessage::AskFullSet => ".node.ask_full_set",
            NodeMessage::Report { .. } => ".node.report",
        },
        Message::ToNode(said) => match said {
            ServerMessage::Registered { .. } => ".server.registered",
            ServerMessage::HeartbeatAck { .. } => ".server.heartbeat_ack",
            ServerMessage::Unregistered => ".server.unregistered",
            ServerMessage::Unavailable => ".server.unavailable",
            ServerMessage::Assign(_) => ".server.assign",
            ServerMessage::ReportAck { .. } => ".server.report_ack",
            ServerMessage::Probe => ".server.probe",
        },
    }
}

const fn request_name(request: &Request) -> &'static str {
    match request {
        Request::RegisterJob { .. } => ".register_job",
        Request::DeregisterJob { .. } => ".deregister_job",
        Request::EvaluateJob { .. } => ".evaluate_job",
        Request::StopAlloc { .. } => ".stop_alloc",
        Request::RegisterNode { .. } => ".register_node",
        Request::SetNodeEligible { .. } => ".set_node_eligible",
        Request::UpdateAllocs { .. } => ".update_allocs",
        Request::CollectGarbage => ".collect_garbage",
        Request::ForceOut { .. } => ".force_out",
        Request::ReadPoint { .. } => ".read_point",
        Request::Order(_) => ".order",
        Request::RestorePart { .. } => ".restore_part",
        Request::Restore { .. } => ".restore",
        Request::PromoteDeployment { .. } => ".promote_deployment",
        Request::PauseDeployment { .. } => ".pause_deployment",
        Request::FailDeployment { .. } => ".fail_deployment",
        Request::SetAllocHealth { .. } => ".set_alloc_health",
        Request::RevertJob { .. } => ".revert_job",
        Request::SetJobStable { .. } => ".set_job_stable",
        Request::SetNodeDrain { .. } => ".set_node_drain",
        Request::ForcePeriodic { .. } => ".force_periodic",
        Request::DispatchJob { .. } => ".dispatch_job",
        Request::ScaleJob { .. } => ".scale_job",
        Request::SetSchedulerConfig { .. } => ".set_scheduler_config",
        Request::UpsertNodePool { .. } => ".upsert_node_pool",
        Request::DeleteNodePool { .. } => ".delete_node_pool",
        Request::Rebalance { .. } => ".rebalance",
        Request::SetAutopilotConfig { .. } => ".set_autopilot_config",
    }
}

fn place() -> Position {
    Position { term: Term(3), index: Index(9) }
}

fn mark() -> SnapshotMark {
    let configuration = Configuration::new(&[ServerId(1), ServerId(2)], &[ServerId(3)]);
    SnapshotMark { index: Index(9), term: Term(3), digest: Digest(5), bytes: 7, configuration }
}

fn update() -> AllocUpdate {
    let event =
        TaskEvent { at: wall(), kind: TaskEventKind::Started, message: "Task started".into() };
    let task = TaskState {
        phase: TaskPhase::Running,
        failed: false,
        restarts: 0,
        last_restart: None,
        started_at: Some(wall()),
        finished_at: None,
        events: vec![event],
    };
    AllocUpdate {
        id: AllocId(9),
        status: ClientStatus::Running,
        description: "Tasks are running".into(),
        tasks: BTreeMap::from([("work".into(), task)]),
        health: Some(AllocHealth { version: 1, healthy: true, at: wall() }),
    }
}

fn bodies() -> Vec<Body> {
    let mut frames = Frames::default();
    let payload = Payload::Commands { count: 2, bytes: [1, 2, 3].into() };
    frames.push(Arc::new(Frame { first: Index(10), term: Term(3), payload }));
    frames.push(Arc::new(Frame { first: Index(12), term: Term(3), payload: Payload::Noop }));
    let payload = Payload::Configuration(Box::new(mark().configuration));
    frames.push(Arc::new(Frame { first: Index(13), term: Term(3), payload }));
    let ack = LogMark { leader_term: Term(3), index: Index(9) };
    let bytes = [4, 5].into();
    vec![
        Body::RequestVote { campaign: Campaign::PreVote, last: place() },
        Body::Vote { campaign: Campaign::Election, asked: Term(3), ballot: Ballot::Granted },
        Body::Append { prev: place(), commit: Index(8), round: 4, frames },
        Body::AppendAck { mark: ack, matched: Index(13), round: 4 },
        Body::AppendReject { prev: Index(9), hint: place(), round: 4 },
        Body::Stale,
        Body::SnapshotChunk { mark: Box::new(mark()), offset: 1, bytes, round: 4 },
        Body::SnapshotAck { index: Index(9), digest: Digest(5), next_offset: 3, round: 4 },
        Body::ReadIndex { id: 6, proof: Proof::Round },
        Body::ReadIndexReply { id: 6, index: Some(Index(8)) },
        Body::TimeoutNow,
        Body::Commit { upto: Index(8) },
    ]
}

fn from_servers() -> Vec<Message> {
    let applied = Response::Applied { index: Index(8), eval: Some(EvalId(4)), job: None };
    let (incarnation, seq, node) = (Incarnation(2), 3, NodeId(8));
    let request = Request::StopAlloc { alloc: AllocId(9) };
    let mut all: Vec<Message> =
        bodies().into_iter().map(|body| Message::Raft(Raft { term: Term(3), body })).collect();
    all.extend(membership::samples());
    all.extend([
        Message::Ask { incarnation, seq, is_repeat: true, request },
        Message::Answer { incarnation, seq, answer: Ok(applied) },
        Message::Answer { incarnation, seq, answer: Err(Rejection::Conflict { index: Index(8) }) },
        Message::Sighting { wall: wall(), seen: vec![Seen { node, age_ms: 20, is_behind: false }] },
        Message::Cut { index: Index(9), digest: Digest(5) },
        Message::LookFor { round: 9, nodes: vec![NodeId(8)] },
        Message::LookedFor { round: 9, silent: vec![NodeId(8)] },
        Message::Wan(gossip::Message::Forget { id: ServerId(4), incarnation }),
    ]);
    all.extend(
        [
            ServerMessage::Registered { ttl_ms: 10_000, index: Index(11) },
            ServerMessage::HeartbeatAck {
                ttl_ms: 10_000,
                servers: ["10.0.0.1:4647".into()].into(),
            },
            ServerMessage::Unregistered,
            ServerMessage::Unavailable,
            ServerMessage::Assign(assignment()),
            ServerMessage::ReportAck { report: 3 },
            ServerMessage::Probe,
        ]
        .map(Message::ToNode),
    );
    all
}

fn assignment() -> Assignment {
    let job = job_spec("web", JobKind::Service, 2);
    let spec = AllocSpec {
        job_id: job.id.clone(),
        job_name: job.name.clone(),
        namespace: job.namespace.clone(),
        region: job.region.clone(),
        kind: job.kind,
        version: 1,
        job_meta: BTreeMap::from([("team".into(), "x".into())]),
        group: job.groups[0].clone(),
        payload: [7, 8].into(),
    };
    let ports = vec![PortGrant { label: "http".into(), value: 20_000, to: 80 }];
    let (id, uuid, is_deployed) = (AllocId(9), Uuid(77), true);
    let cores = [0, 1].into_iter().collect();
    let name = DeviceName { vendor: "maker".into(), kind: "gpu".into(), name: "a".into() };
    let devices = vec![DeviceGrant { name, ids: vec!["a0".into()] }];
    let pieces = Pieces::boxed(vec![TaskPieces { task: "work".into(), cores, devices }]);
    let run = AssignedAlloc {
        id,
        uuid,
        ordinal: 1,
        spec: 0,
        ports,
        is_deployed,
        is_canary: false,
        may_exceed_memory: true,
        pieces,
    };
    Assignment {
        seq: Index(12),
        after: Some(Index(10)),
        specs: vec![Arc::new(spec)],
        runs: vec![run],
        tombstones: vec![AllocId(8)],
    }
}

fn from_clients() -> [NodeMessage; 5] {
    [
        NodeMessage::Register { spec: Arc::new(node_spec(NodeId(8))) },
        NodeMessage::Heartbeat { seq: Index(12), registered_at: Index(11), is_behind: true },
        NodeMessage::Acknowledge { seq: Index(12) },
        NodeMessage::AskFullSet,
        NodeMessage::Report { report: 3, updates: vec![update()] },
    ]
}

fn recovered() -> Recovered {
    let seqs = PerLane { raft: WriteSeq(1), client: WriteSeq(2) };
    let segment = |id| Segment { id: SegmentId(id), bytes: 131_072, last_seq: seqs };
    Recovered {
        incarnation: Incarnation(2),
        rebooted: true,
        records: vec![(WriteSeq(1), Lane::Raft, vec![1]), (WriteSeq(2), Lane::Client, vec![2])],
        tail: Tail {
            live: vec![segment(1)],
            ready: vec![segment(2)],
            offset: 512,
            next_seq: WriteSeq(3),
            crc: 9,
            marks: seqs,
        },
        snapshot: Some((mark(), [1, 2, 3].into())),
    }
}

fn events() -> Vec<Event> {
    let key = TaskKey { alloc: AllocId(9), task: 1, attempt: 2 };
    let asked = |ask| Event::TaskAsked { alloc: AllocId(9), task: Some("work".into()), ask };
    let chunk = Chunk { snapshot: Index(9), offset: 1, bytes: [4, 5].into() };
    let whole = pack(place(), &mark().configuration, &State::new().encode());
    let snapshot = Loaded::read(whole.into()).expect("it was just written");
    let mut all = vec![Event::Booted(recovered().into())];
    all.extend(from_servers().into_iter().map(|message| Event::Received { from: SERVER, message }));
    let said = from_clients().map(Message::FromNode);
    all.extend(said.map(|message| Event::Received { from: CLIENT, message }));
    all.extend([
        Event::LinkChanged { peer: CLIENT, up: true },
        Event::DiskDone { op: OpId(11) },
        Event::DiskFailed { op: OpId(11), fault: Fault::Io },
    ]);
    let id = RequestId(6);
    all.extend(requests::requests().into_iter().map(|request| Event::Requested { id, request }));
    all.push(Event::Abandoned { id });
    let start_failed = TaskChange::StartFailed { why: "no such file".into(), remedy: Remedy::None };
    let exited = TaskChange::Exited { exit_code: -1, signal: 9 };
    let changes = [TaskChange::Started { pid: 44 }, start_failed, exited, TaskChange::Lost];
    all.extend(changes.map(|change| Event::TaskChanged { key, change }));
    all.extend([
        asked(TaskAsk::Restart),
        asked(TaskAsk::Signal("SIGHUP".into())),
        Event::Fingerprinted(node_spec(NodeId(8)).into()),
        Event::SnapshotSaved(mark()),
        Event::ChunkRead { to: ServerId(2), chunk },
        Event::ChunkMissing { to: ServerId(2), snapshot: Index(9) },
        Event::SnapshotLoaded { mark: mark(), snapshot },
        Event::SnapshotRefused { mark: mark() },
        Event::Woken,
        Event::LeaveAsked,
        Event::ChecksChanged { alloc: AllocId(9), round: 3, pass: true },
    ]);
    all
}

const fn wall() -> WallTime {
    WallTime { unix_ms: 1_700_000_000_000 }
}

fn plan() -> Plan {
    Plan {
        eval: EvalId(4),
        job: JobId(3),
        version: 1,
        based_on: Index(10),
        stops: vec![Stop { alloc: AllocId(9), reason: StopReason::Updated }],
        placements: Vec::new(),
        in_place: vec![AllocId(8)],
        watched: vec![WatchedGroup { group: 0, canaries: 1 }],
        preempted: vec![Preempted { alloc: AllocId(7), group: 0 }],
        verdict: Verdict::More,
        next_step: Some(WallTime { unix_ms: 9 }),
        opened: vec![],
    }
}

fn starts() -> [(&'static str, Start); 3] {
    let config = Box::new(dev_config(ServerId(1), NodeId(7)));
    let frozen = vec![1, 2, 3];
    [
        ("boot", Start::Boot { config, seed: 42 }),
        ("frozen", Start::Frozen(frozen.clone())),
        ("frozen_after_hole", Start::FrozenAfterHole { inputs_missing: 5, frozen }),
    ]
}

/// Beside inputs.
fn records() -> [(&'static str, Record); 3] {
    [
        ("digest", Record::Digest { inputs: 1_024, digest: Digest(5) }),
        ("planned", Record::Planned(Box::new(plan()))),
        ("sums", Record::Sums(vec![Sum { messages: 1, others: 2 }, Sum::default()])),
    ]
}

/// A line for the golden file. What is read back must be written as the same.
fn line<T: Serialize + DeserializeOwned>(kind: &str, name: &str, sample: &T) -> String {
    let bytes = postcard::to_allocvec(sample).expect("it is plain data");
    let again: T = postcard::from_bytes(&bytes).expect("what was written is read");
    let written = postcard::to_allocvec(&again).expect("it is plain data");
    assert_eq!(written, bytes, "{kind} {name} is read as it was written");
    format!("{kind} {name} {}\n", hex(&bytes))
}

fn input(nth: u64, event: Event) -> Input {
    Input { now: MonoTime { ns: 1_000_000_000 + nth }, wall: wall(), event }
}

#[test]
fn bytes_of_every_event_and_of_what_is_recorded_beside_it_are_what_they_were() {
    let mut found = String::new();
    for (name, start) in starts() {
        found.push_str(&line("start", name, &start));
    }
    let (mut names, mut inner) = (Vec::new(), Vec::new());
    for event in events() {
        let (name, within) = (event_name(&event), inner_name(&event));
        names.push(name);
        inner.extend(Some((name, within)).filter(|_| !within.is_empty()));
        let record = Record::Input(Box::new(input(0, event)));
        found.push_str(&line("event", &format!("{name}{within}"), &record));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), EVENTS, "every event has a sample");
    inner.sort_unstable();
    let samples = inner.len();
    inner.dedup();
    assert_eq!((inner.len(), samples), (INNER, INNER), "and each of its kinds has one");
    for (name, record) in records() {
        found.push_str(&line("record", name, &record));
    }
    found.push_str(&file());
    compare_with("input_log.txt", &found);
}

/// A segment as the recorder writes it: its first bytes, and each record behind its length.
fn file() -> String {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let mut recorder = Recorder::start(dir.path(), 1 << 20).expect("it can be written to");
    let (_, boot) = starts().into_iter().next().expect("there are three");
    recorder.begin(&boot);
    let agent = boot.into_agent().expect("a fresh agent");
    let told = [Event::Woken, Event::DiskDone { op: OpId(11) }];
    for (nth, event) in (0..).zip(told) {
        recorder.on_input(&input(nth, event));
        recorder
            .on_step(&agent, &Effects { planned: Some(Box::new(plan())), ..Effects::default() });
    }
    drop(recorder);
    let log = Log::find(dir.path()).expect("there is a log");
    let path = &log.segments.first().expect("it has a segment").path;
    let (mut reader, _) = Reader::open(path).expect("it can be read");
    let mut records = 0;
    while reader.read_next::<Record>().expect("it is whole").is_some() {
        records += 1;
    }
    assert_eq!(records, 5, "two inputs, two plans and their sums");
    let bytes = fs::read(path).expect("it can be read");
    let mut text = String::new();
    writeln!(text, "file {}", hex(&bytes)).expect("a string takes everything");
    text
}

#[test]
fn a_log_of_a_release_is_read_by_this_one() {
    let kept = kept("input_log.txt");
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).expect("digits"), 16);
        digits.map(|two| byte(two).expect("two digits")).collect()
    };
    let mut expected = events().into_iter();
    for line in kept.lines() {
        let mut words = line.split(' ');
        let kind = words.next().expect("a kind");
        let bytes = bytes(words.next_back().expect("bytes"));
        if kind == "event" {
            let record: Record = postcard::from_bytes(&bytes).expect("what was released is read");
            let Record::Input(read) = record else { panic!("{line}") };
            let sample = expected.next().expect("each line has its sample");
            assert_eq!(*read, input(0, sample), "{line}");
        }
    }
    assert!(expected.next().is_none(), "each sample has its line");
    let boot = kept.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a start");
    let start: Start = postcard::from_bytes(&bytes(boot)).expect("what was released is read");
    let agent = start.into_agent().expect("a fresh agent");
    let same = Agent::new(dev_config(ServerId(1), NodeId(7)), 42);
    assert_eq!(agent.digest(), same.digest(), "it starts as it did");
}
