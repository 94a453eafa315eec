//! What each command means, one story each: operators, nodes, jobs, sessions, garbage.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::api::Rejection;
use drover_core::fsm::{Command, Entry, Outcome};
use drover_core::limits::{CUT_BYTES, JOB_VERSIONS_MAX, NODE_EVENTS_MAX};
use drover_core::state::{Change, SESSION_WINDOW, SESSIONS_MAX, State, TableKind, UuidPrefix};
use drover_core::time::WallTime;
use drover_core::types::*;

use super::rig::*;

const APPLIED: Outcome =
    Outcome::Applied { eval: None, job: None, refused_placements: 0, more: false };

fn deregister(purge: bool) -> Command {
    Command::DeregisterJob { namespace: "default".to_owned(), job: "web".to_owned(), purge }
}

fn collect_before(moment: WallTime) -> Command {
    Command::CollectGarbage { eval_before: moment, job_before: moment, node_before: moment }
}

const FOREVER: WallTime = WallTime { unix_ms: u64::MAX };

#[test]
fn a_cluster_is_given_its_identity_once() {
    let mut world = World::new();
    assert_eq!(world.state.cluster(), ClusterId(7));
    assert_eq!(world.run(Command::Bootstrap { cluster: ClusterId(7) }), APPLIED);
    let other = world.run(Command::Bootstrap { cluster: ClusterId(8) });
    assert!(matches!(other, Outcome::Refused(Rejection::Conflict { .. })));
    assert_eq!(world.state.cluster(), ClusterId(7));
}

#[test]
fn the_clock_is_the_largest_stamp_and_never_goes_back() {
    let mut world = World::new();
    let start = world.state.clock();
    world.stamp = start.plus_ms(3_600_000);
    world.run(Command::RaiseFeatureLevel { level: 1 });
    assert_eq!(world.state.clock(), start.plus_ms(3_600_000));
    world.stamp = WallTime { unix_ms: 5 };
    world.run(Command::RaiseFeatureLevel { level: 2 });
    assert_eq!(world.state.clock(), start.plus_ms(3_600_000));
}

#[test]
fn the_log_is_cut_after_the_frame_that_fills_the_measure() {
    let mut state = State::new();
    assert!(!state.note_log_bytes(CUT_BYTES - 1));
    assert!(state.note_log_bytes(1));
    assert_eq!(state.log_bytes_since_cut(), 0);
    assert!(!state.note_log_bytes(1));
}

#[test]
fn a_node_is_init_until_it_is_heard_from() {
    let mut world = World::new();
    world.run(Command::RegisterNode { spec: node_spec(1).into() });
    assert_eq!(world.state.node(NodeId(1)).unwrap().status, NodeStatus::Init);
    assert!(!world.changes.contains(&Change::Room(NodeId(1))));
    world.mark(1, NodeStatus::Ready);
    assert!(world.changes.contains(&Change::Room(NodeId(1))));
    world.run(Command::RegisterNode { spec: node_spec(1).into() });
    assert_eq!(world.state.node(NodeId(1)).unwrap().status, NodeStatus::Init);
}

#[test]
fn a_nodes_history_is_bounded() {
    let mut world = World::new();
    for _ in 0..20 {
        world.add_node(1);
    }
    let events = &world.state.node(NodeId(1)).unwrap().events;
    assert_eq!(events.len(), NODE_EVENTS_MAX);
}

#[test]
fn a_silent_node_has_each_job_with_allocs_on_it_evaluated_once() {
    let mut world = World::with_nodes(2);
    world.place(service("web", 3), &[0, 0, 1]);
    let (_, ended) = world.place(service("ended", 1), &[1]);
    world.report(2, ended[0], ClientStatus::Complete);
    let before = world.state.pending_evals().count();
    let nodes = vec![NodeId(1), NodeId(2), NodeId(99)];
    let reason = "heartbeat missed".to_owned();
    world.run(Command::SetNodeStatus { nodes, status: NodeStatus::Down, reason });
    assert_eq!(world.state.pending_evals().count(), before + 1);
    let eval = world.state.pending_evals().next_back().unwrap();
    assert_eq!((eval.trigger, eval.node), (Trigger::NodeUpdate, Some(NodeId(1))));
    assert_eq!(world.mark(1, NodeStatus::Down), APPLIED, "it is down already");
}

#[test]
fn eligibility_is_an_operators_word() {
    let mut world = World::with_nodes(1);
    let set = |eligible| Command::SetNodeEligible { node: NodeId(1), eligible };
    world.run(set(false));
    assert!(!world.state.fleet().is_placeable(NodeSlot(0)));
    world.run(set(true));
    assert!(world.changes.contains(&Change::Room(NodeId(1))));
    let stranger = world.run(Command::SetNodeEligible { node: NodeId(2), eligible: true });
    assert!(matches!(stranger, Outcome::Refused(Rejection::NotFound { .. })));
}

#[test]
fn registering_the_same_specification_again_only_evaluates() {
    let mut world = World::new();
    let (job, _) = world.register(service("web", 1));
    let modified = world.job(job).modify_index;
    let (again, eval) = world.register(service("web", 1));
    assert_eq!((again, world.job(job).versions.len()), (job, 1));
    assert_eq!(world.job(job).modify_index, modified);
    assert_eq!(world.eval(eval).trigger, Trigger::JobRegister);
    world.register(service("web", 2));
    assert_eq!(world.job(job).newest().version, 1);
}

#[test]
fn a_stopped_job_starts_anew_as_a_new_version() {
    let mut world = World::new();
    let (job, _) = world.register(service("web", 1));
    let (_, eval) = ids(&world.run(deregister(false)));
    assert!(world.job(job).stopped);
    assert_eq!(world.eval(eval).trigger, Trigger::JobDeregister);
    world.register(service("web", 1));
    assert!(!world.job(job).stopped);
    assert_eq!(world.job(job).newest().version, 1);
}

#[test]
fn a_purged_jobs_name_is_free_at_once() {
    let mut world = World::new();
    let (old, _) = world.register(service("web", 1));
    world.run(deregister(true));
    assert!(world.state.job_named("default", "web").is_none());
    let again = world.run(deregister(true));
    assert!(matches!(again, Outcome::Refused(Rejection::NotFound { .. })));
    let (new, _) = world.register(service("web", 1));
    assert_ne!(old, new);
    assert_eq!(world.state.job_named("default", "web").unwrap().id, new);
}

#[test]
fn a_check_index_must_be_that_of_the_last_change_of_the_specification() {
    let mut world = World::new();
    let spec = Arc::new(service("web", 1));
    let register = |world: &mut World, spec: &Arc<JobSpec>, index| {
        let (spec, check_index) = (Arc::clone(spec), Some(Index(index)));
        world.run(Command::RegisterJob { spec, check_index })
    };
    let refused = register(&mut world, &spec, 9);
    assert_eq!(refused, Outcome::Refused(Rejection::Conflict { index: Index(0) }));
    let (job, _) = ids(&register(&mut world, &spec, 0));
    let found = world.job(job).spec_index;
    let refused = register(&mut world, &spec, 0);
    assert_eq!(refused, Outcome::Refused(Rejection::Conflict { index: found }));
    ids(&register(&mut world, &Arc::new(service("web", 2)), found.0));
}

#[test]
fn old_versions_go_unless_an_alloc_points_at_them() {
    let mut world = World::with_nodes(1);
    let (job, _) = world.place(service("web", 1), &[0]);
    for count in 2..20 {
        world.register(service("web", count));
    }
    let kept = &world.job(job).versions;
    assert_eq!(kept.len(), JOB_VERSIONS_MAX + 1);
    assert_eq!((kept[0].version, kept[1].version), (0, 13));
}

#[test]
fn a_specification_that_the_tables_cannot_hold_is_refused() {
    let mut world = World::new();
    let cases: [fn(&mut JobSpec); 5] = [
        |spec| spec.id.clear(),
        |spec| spec.priority = 101,
        |spec| spec.groups.clear(),
        |spec| spec.groups[0].count = 50_001,
        |spec| {
            let twin = spec.groups[0].clone();
            spec.groups.push(twin);
        },
    ];
    for spoil in cases {
        let mut spec = service("web", 1);
        spoil(&mut spec);
        let outcome = world.run(Command::RegisterJob { spec: Arc::new(spec), check_index: None });
        assert!(matches!(outcome, Outcome::Refused(Rejection::Invalid { .. })), "{outcome:?}");
    }
    assert_eq!(world.state.jobs().count(), 0);
}

#[test]
fn a_write_that_arrives_twice_is_applied_once_and_answered_the_same() {
    let mut world = World::new();
    let mut send = |incarnation, seq| {
        let incarnation = Incarnation(incarnation);
        let session = Some(Session { origin: ServerId(1), incarnation, seq });
        let command = Command::RegisterJob { spec: Arc::new(service("web", 1)), check_index: None };
        let outcome = world.enter(Entry { stamp: world.stamp, session, command });
        (outcome, world.state.evals().count(), world.state.index())
    };
    let (first, _, index) = send(1, 1);
    let (again, evals, _) = send(1, 1);
    assert_eq!((again, evals), (Outcome::Repeated { index, first: Box::new(first) }, 1));
    assert_eq!(send(2, 1).1, 2, "another start of the server counts anew");
    let (stale, evals, _) = send(1, 2);
    assert_eq!((stale, evals), (Outcome::Refused(Rejection::Unknown), 2));
    for seq in 2..=SESSION_WINDOW as u64 + 1 {
        send(2, seq);
    }
    let (forgotten, ..) = send(2, 1);
    assert_eq!(forgotten, Outcome::Refused(Rejection::Unknown), "it is not applied again");
}

#[test]
fn the_session_that_was_used_longest_ago_makes_room_for_a_new_one() {
    let mut world = World::new();
    let mut send = |origin| {
        let incarnation = Incarnation(1);
        let session = Some(Session { origin: ServerId(origin), incarnation, seq: 1 });
        let command = Command::RaiseFeatureLevel { level: 0 };
        world.enter(Entry { stamp: world.stamp, session, command })
    };
    for origin in 0..=SESSIONS_MAX as u64 {
        assert_eq!(send(origin), APPLIED, "origin {origin} is new");
    }
    assert!(matches!(send(1), Outcome::Repeated { .. }));
    assert_eq!(send(0), APPLIED, "it was dropped");
}

#[test]
fn what_wrote_too_much_is_refused_whole() {
    let mut world = World::new();
    let nodes = vec![NodeId(1); 5_000];
    let reason = String::new();
    let outcome = world.run(Command::SetNodeStatus { nodes, status: NodeStatus::Ready, reason });
    assert!(matches!(outcome, Outcome::Refused(Rejection::Invalid { .. })));
}

#[test]
fn garbage_is_what_ended_long_enough_ago() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 0));
    world.plan(world.empty_plan(job, eval));
    let ended = world.state.clock();
    world.run(collect_before(ended));
    assert!(world.state.eval(eval).is_some(), "it ended at that moment, not before");
    world.wait_ms(1);
    world.run(collect_before(ended.plus_ms(1)));
    assert!(world.state.eval(eval).is_none());
    assert!(world.state.job(job).is_some(), "a job that is not stopped stays");
}

#[test]
fn a_stopped_job_goes_with_all_that_names_it() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let (_, eval) = ids(&world.run(deregister(false)));
    let stops = vec![Stop { alloc: allocs[0], reason: StopReason::NotNeeded }];
    world.plan(Plan { stops, ..world.empty_plan(job, eval) });
    world.run(collect_before(FOREVER));
    assert!(world.state.job(job).is_some(), "its alloc may be running");
    world.report(1, allocs[0], ClientStatus::Complete);
    world.run(collect_before(FOREVER));
    assert!(world.state.job(job).is_none());
    assert_eq!(world.state.allocs().count() + world.state.evals().count(), 0);
}

#[test]
fn a_completed_batch_alloc_stays_while_its_job_wants_it_done() {
    let mut world = World::with_nodes(1);
    let (_, allocs) = world.place(job_spec("sum", JobKind::Batch, 1), &[0]);
    world.report(1, allocs[0], ClientStatus::Complete);
    world.run(collect_before(FOREVER));
    assert!(world.state.alloc(allocs[0]).is_some(), "without it, it would run again");
}

#[test]
fn a_node_goes_when_it_is_down_and_holds_nothing() {
    let mut world = World::with_nodes(2);
    world.place(service("web", 1), &[0]);
    world.mark(1, NodeStatus::Down);
    world.mark(2, NodeStatus::Down);
    world.run(collect_before(FOREVER));
    assert!(world.state.node(NodeId(1)).is_some(), "its alloc is not known to have ended");
    assert!(world.state.node(NodeId(2)).is_none());
    assert_eq!(world.state.table_index(TableKind::Nodes), world.state.index());
}

#[test]
fn a_collected_alloc_leaves_a_tombstone_until_its_node_has_heard() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let told_before = world.state.index();
    let (_, eval) = ids(&world.mark_down_and_stop(1, job, &allocs));
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Lost);
    assert_eq!(world.eval(eval).status, EvalStatus::Complete);
    world.run(collect_before(WallTime { unix_ms: u64::MAX }));
    assert!(world.state.alloc(allocs[0]).is_none());
    let told = world.state.assignment(NodeId(1), Some(told_before));
    assert_eq!((told.tombstones, told.runs), (allocs.clone(), vec![]));
    assert_eq!(world.state.assignment(NodeId(1), None).tombstones, allocs);

    let heard = |seq| Command::AcknowledgeAssignment { node: NodeId(1), seq };
    world.run(heard(told_before));
    assert_eq!(world.state.tombstones_of_node(NodeId(1)).count(), 1, "that was too early");
    world.run(heard(told.seq));
    assert_eq!(world.state.tombstones_of_node(NodeId(1)).count(), 0);
}

/// Machines that are gone for good do not stay in the list for ever.
#[test]
fn a_node_that_was_forgotten_with_its_tombstones_is_told_anew_when_it_says_what_it_runs() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    world.mark_down_and_stop(1, job, &allocs);
    world.mark(1, NodeStatus::Down);
    world.run(collect_before(WallTime { unix_ms: u64::MAX }));
    world.run(collect_before(FOREVER));
    assert!(world.state.node(NodeId(1)).is_none());
    assert_eq!(world.state.tombstones_of_node(NodeId(1)).count(), 0);

    world.run(Command::RegisterNode { spec: node_spec(1).into() });
    assert_eq!(world.state.assignment(NodeId(1), None).tombstones, [], "nobody knows of it");
    let heard_before = world.state.index();
    world.report(1, allocs[0], ClientStatus::Running);
    let told = world.state.assignment(NodeId(1), Some(heard_before));
    assert_eq!(told.tombstones, allocs);
    let never_given = AllocId(u64::MAX >> 1);
    world.report(1, never_given, ClientStatus::Running);
    assert_eq!(world.state.tombstones_of_node(NodeId(1)).count(), 1, "no entry has made that one");
    world.report(1, allocs[0], ClientStatus::Complete);
    world.run(Command::AcknowledgeAssignment { node: NodeId(1), seq: told.seq });
    assert_eq!(world.state.tombstones_of_node(NodeId(1)).count(), 0);
}

impl World {
    /// Node and job are over: the node went silent and a plan gave its allocs up.
    fn mark_down_and_stop(&mut self, node: u128, job: JobId, allocs: &[AllocId]) -> Outcome {
        self.mark(node, NodeStatus::Down);
        let eval = self.state.pending_evals().next_back().expect("one of the node").id;
        let lost = |&alloc: &AllocId| Stop { alloc, reason: StopReason::NodeLost };
        let stops = allocs.iter().map(lost).collect();
        self.plan(Plan { stops, ..self.empty_plan(job, eval) });
        self.mark(node, NodeStatus::Ready);
        Outcome::Applied { eval: Some(eval), job: Some(job), refused_placements: 0, more: false }
    }
}

#[test]
fn a_prefix_finds_what_begins_with_it() {
    let mut world = World::with_nodes(2);
    let (_, allocs) = world.place(service("web", 3), &[0, 0, 1]);
    let whole = world.state.uuid(allocs[1].0).to_string();
    for length in [2, 8, 13, 20, 36] {
        let prefix = UuidPrefix::parse(&whole[..length]).expect("hex digits");
        let found: Vec<String> = world
            .state
            .allocs_with_prefix(prefix)
            .map(|alloc| world.state.uuid(alloc.id.0).to_string())
            .collect();
        assert!(found.contains(&whole), "{length} digits");
        assert!(found.iter().all(|uuid| uuid.starts_with(&whole[..length])), "{length} digits");
    }
    let all = UuidPrefix::parse("").expect("no digits at all");
    assert_eq!(world.state.allocs_with_prefix(all).count(), 3);
    assert_eq!(world.state.nodes_with_prefix(all).count(), 2);
    assert!(UuidPrefix::parse("xyz").is_none());
    assert_eq!(world.state.alloc_by_uuid(Uuid::parse(&whole).unwrap()).unwrap().id, allocs[1]);
}

#[test]
fn a_child_has_its_parents_groups_and_no_copy_of_them() {
    let mut world = World::new();
    let mut spec = job_spec("feed", JobKind::Batch, 1);
    spec.launch = Launch::Parameterized(Parameterized::default());
    world.run(Command::RegisterJob { spec: Arc::new(spec), check_index: None });
    let (namespace, job) = ("default".to_owned(), "feed".to_owned());
    let (payload, meta) = ([7_u8].as_slice().into(), BTreeMap::new());
    let (id_prefix, token) = (String::new(), String::new());
    world.run(Command::DispatchJob { namespace, job, payload, meta, id_prefix, token });
    let is_shared = |state: &State| {
        let groups = |job: &Job| job.newest().spec.groups.clone();
        let parent = state.job_named("default", "feed").map(groups).expect("the parent");
        let child = state.children_of("default", "feed").next().map(groups).expect("the child");
        child.is_shared_with(&parent)
    };
    assert!(is_shared(&world.state));
    let read = State::decode(&world.state.encode()).expect("what was encoded reads");
    assert!(is_shared(&read), "through bytes, too");
    assert_eq!(read.digest(), world.state.digest());
}
