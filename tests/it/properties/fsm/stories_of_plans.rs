//! What each command means, one story each: plans, evaluations, allocs, assignments.
use std::collections::BTreeMap;

use drover_core::api::Rejection;
use drover_core::fsm::{Command, Outcome};
use drover_core::limits::{RESCHEDULE_EVENTS_MAX, TASK_EVENTS_MAX};
use drover_core::state::Change;
use drover_core::types::*;

use super::rig::*;

fn refused_of(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Applied { refused_placements, .. } => *refused_placements,
        other => panic!("not applied: {other:?}"),
    }
}

fn stop(alloc: AllocId, reason: StopReason) -> Vec<Stop> {
    vec![Stop { alloc, reason }]
}

fn evaluate(world: &mut World, job: &str) -> EvalId {
    let (namespace, job) = ("default".to_owned(), job.to_owned());
    ids(&world.run(Command::EvaluateJob { namespace, job })).1
}

#[test]
fn a_placement_becomes_an_alloc_that_its_node_hears_of() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 2), &[0, 0]);
    let alloc = world.alloc(allocs[1]);
    assert_eq!((alloc.job, alloc.node, alloc.ordinal), (job, NodeId(1), 1));
    assert_eq!((alloc.desired, alloc.client_status), (DesiredStatus::Run, ClientStatus::Pending));
    assert!(world.changes.contains(&Change::Assigned(NodeId(1))));
    let assignment = world.state.assignment(NodeId(1), None);
    assert_eq!((assignment.runs.len(), assignment.specs.len()), (2, 1));
    assert_eq!(assignment.runs[0].uuid, world.state.uuid(allocs[0].0));
    assert_eq!(world.state.fleet().used(NodeSlot(0)).cpu_mhz, 800);
}

#[test]
fn a_placement_that_has_no_room_is_refused_and_the_job_looked_at_again() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 3));
    let placements = (0..3).map(|ordinal| placement(0, ordinal)).collect();
    let outcome = world.plan(Plan { placements, ..world.empty_plan(job, eval) });
    assert_eq!(refused_of(&outcome), 1, "three times 400 MHz are more than 1,000");
    assert_eq!(world.state.allocs_of_job(job).count(), 2);
    let again = world.state.pending_evals().next_back().unwrap();
    assert_eq!((again.trigger, again.previous), (Trigger::PlanRefused, Some(eval)));
}

#[test]
fn a_death_a_drain_or_a_stop_that_reached_the_log_first_wins() {
    let ways: [fn(&mut World); 3] = [
        |world| drop(world.mark(1, NodeStatus::Down)),
        |world| drop(world.run(Command::SetNodeEligible { node: NodeId(1), eligible: false })),
        |world| {
            let (namespace, job) = ("default".to_owned(), "web".to_owned());
            world.run(Command::DeregisterJob { namespace, job, purge: false });
        },
    ];
    for way in ways {
        let mut world = World::with_nodes(1);
        let (job, eval) = world.register(service("web", 1));
        let plan = Plan { placements: vec![placement(0, 0)], ..world.empty_plan(job, eval) };
        way(&mut world);
        assert_eq!(refused_of(&world.plan(plan)), 1);
        assert_eq!(world.state.allocs().count(), 0);
    }
}

#[test]
fn a_slot_that_changed_hands_is_not_the_node_that_was_meant() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 1));
    let plan = Plan { placements: vec![placement(0, 0)], ..world.empty_plan(job, eval) };
    world.mark(1, NodeStatus::Down);
    let before = drover_core::time::WallTime { unix_ms: u64::MAX };
    world.run(Command::CollectGarbage {
        eval_before: before,
        job_before: before,
        node_before: before,
    });
    world.add_node(2);
    assert_eq!(world.state.slot_of(NodeId(2)), Some(NodeSlot(0)));
    assert_eq!(refused_of(&world.plan(plan)), 1);
}

#[test]
fn a_plan_of_an_evaluation_that_is_over_changes_nothing() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 1));
    world.plan(world.empty_plan(job, eval));
    let late = Plan { placements: vec![placement(0, 0)], ..world.empty_plan(job, eval) };
    assert!(matches!(world.plan(late), Outcome::Refused(Rejection::Conflict { .. })));
    assert_eq!(world.state.allocs().count(), 0);
}

#[test]
fn an_evaluation_stays_pending_while_more_plans_follow() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 2));
    let first = Plan {
        placements: vec![placement(0, 0)],
        verdict: Verdict::More,
        ..world.empty_plan(job, eval)
    };
    world.plan(first);
    assert_eq!(world.eval(eval).status, EvalStatus::Pending);
    world.plan(Plan { placements: vec![placement(0, 1)], ..world.empty_plan(job, eval) });
    assert_eq!(world.eval(eval).status, EvalStatus::Complete);
    assert_eq!(world.state.allocs_of_job(job).count(), 2);
}

#[test]
fn a_stopped_alloc_holds_its_room_until_its_client_says_that_it_ended() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let eval = evaluate(&mut world, "web");
    let stops = stop(allocs[0], StopReason::Updated);
    world.plan(Plan { stops, ..world.empty_plan(job, eval) });
    let alloc = world.alloc(allocs[0]);
    assert_eq!(alloc.desired_description, "alloc is being updated due to job update");
    assert_eq!(world.state.assignment(NodeId(1), None).tombstones, allocs);
    assert_eq!(world.state.fleet().used(NodeSlot(0)).cpu_mhz, 400);
    world.report(1, allocs[0], ClientStatus::Complete);
    assert_eq!(world.state.fleet().used(NodeSlot(0)).cpu_mhz, 0);
    assert!(world.changes.contains(&Change::Room(NodeId(1))));
    assert!(world.state.assignment(NodeId(1), None).tombstones.is_empty());
}

/// A job on every node places the next alloc when it hears that the last one has ended: if it heard that
/// before it wished for it, nobody would look again.
#[test]
fn a_stop_that_comes_after_the_end_has_its_job_looked_at_again() {
    for (kind, again) in [(JobKind::System, true), (JobKind::Service, false)] {
        let mut world = World::with_nodes(1);
        let (job, allocs) = world.place(JobSpec { kind, ..service("web", 1) }, &[0]);
        let eval = evaluate(&mut world, "web");
        let stops = stop(allocs[0], StopReason::Updated);
        let plan = Plan { stops, ..world.empty_plan(job, eval) };
        world.report(1, allocs[0], ClientStatus::Failed);
        world.plan(plan);
        let looks_again = world.state.pending_evals().any(|next| next.previous == Some(eval));
        assert_eq!(looks_again, again, "{kind:?}");
    }
}

#[test]
fn an_alloc_whose_successor_was_refused_runs_on() {
    for (slot, desired) in [(0, DesiredStatus::Stop), (7, DesiredStatus::Run)] {
        let mut world = World::with_nodes(1);
        let (job, allocs) = world.place(service("web", 1), &[0]);
        let eval = evaluate(&mut world, "web");
        let successor = Placement { previous: Some(allocs[0]), ..placement(slot, 0) };
        world.plan(Plan {
            stops: stop(allocs[0], StopReason::Updated),
            placements: vec![successor],
            ..world.empty_plan(job, eval)
        });
        assert_eq!(world.alloc(allocs[0]).desired, desired, "slot {slot}");
        let again = world.state.pending_evals().next_back().map(|eval| eval.id);
        assert_eq!(world.eval(eval).next, again);
    }
}

#[test]
fn an_alloc_is_lost_only_while_its_node_is_down() {
    for (status, client_status) in
        [(NodeStatus::Down, ClientStatus::Lost), (NodeStatus::Ready, ClientStatus::Pending)]
    {
        let mut world = World::with_nodes(1);
        let (job, allocs) = world.place(service("web", 1), &[0]);
        let eval = evaluate(&mut world, "web");
        world.mark(1, status);
        let stops = stop(allocs[0], StopReason::NodeLost);
        world.plan(Plan { stops, ..world.empty_plan(job, eval) });
        assert_eq!(world.alloc(allocs[0]).client_status, client_status);
        assert_eq!(world.alloc(allocs[0]).desired, DesiredStatus::Stop);
        let told = world.state.assignment(NodeId(1), None).tombstones;
        assert_eq!(told, allocs, "it may be running, whatever the servers believe");
    }
}

#[test]
fn a_lost_alloc_becomes_what_really_happened_and_never_runs_again() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    world.mark(1, NodeStatus::Down);
    let eval = world.state.pending_evals().next_back().unwrap().id;
    let stops = stop(allocs[0], StopReason::NodeLost);
    world.plan(Plan { stops, ..world.empty_plan(job, eval) });
    world.report(1, allocs[0], ClientStatus::Running);
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Lost);
    world.report(1, allocs[0], ClientStatus::Complete);
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Complete);
}

#[test]
fn an_alloc_is_replaced_once_and_remembers_its_chain() {
    let mut world = World::with_nodes(9);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let mut previous = allocs[0];
    for nth in 1..8 {
        world.report(u128::from(nth), previous, ClientStatus::Failed);
        let eval = evaluate(&mut world, "web");
        let again = Placement {
            previous: Some(previous),
            rescheduled_after_ms: Some(30_000),
            ..placement(nth, 0)
        };
        let placements = vec![again.clone(), again];
        let outcome = world.plan(Plan { placements, ..world.empty_plan(job, eval) });
        assert_eq!(refused_of(&outcome), 1, "it has been replaced");
        let next = world.alloc(previous).next.expect("the alloc that replaces it");
        assert_eq!(world.alloc(next).previous, Some(previous));
        let expected = RESCHEDULE_EVENTS_MAX.min(usize::try_from(nth).unwrap());
        let chain = &world.alloc(next).reschedules;
        assert_eq!(chain.len(), expected);
        assert_eq!(chain.last().unwrap().from, previous);
        previous = next;
    }
}

#[test]
fn an_update_in_place_finds_the_group_by_its_name() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let mut spec = service("web", 1);
    spec.groups.insert(0, group("first", JobKind::Service, 1));
    let (_, eval) = world.register(spec);
    world.plan(Plan { in_place: allocs.clone(), ..world.empty_plan(job, eval) });
    let alloc = world.alloc(allocs[0]);
    assert_eq!((alloc.version, alloc.group), (1, 1));
    assert_eq!(alloc.assign_index, world.state.index(), "its node hears of the version");
}

#[test]
fn what_finds_no_room_waits_in_the_jobs_only_blocked_evaluation() {
    let mut world = World::with_nodes(1);
    let (job, first) = world.register(service("web", 3));
    let queued = || Verdict::Done {
        failures: BTreeMap::from([("web".to_owned(), PlacementFailure::default())]),
        queued: BTreeMap::from([("web".to_owned(), 1)]),
        later: vec![],
    };
    world.plan(Plan { verdict: queued(), ..world.empty_plan(job, first) });
    let older = world.eval(first).blocked.expect("a blocked evaluation");
    assert_eq!(world.eval(older).status, EvalStatus::Blocked);
    let second = evaluate(&mut world, "web");
    world.plan(Plan { verdict: queued(), ..world.empty_plan(job, second) });
    assert_eq!(world.eval(older).status, EvalStatus::Cancelled);
    let newer = world.state.blocked_eval_of_job(job).unwrap().id;
    let reason = "room".to_owned();
    world.run(Command::UnblockEvals { evals: vec![newer, older, first], reason });
    assert_eq!(world.eval(newer).status, EvalStatus::Pending);
    assert_eq!(world.eval(older).status, EvalStatus::Cancelled);
    assert!(world.state.blocked_eval_of_job(job).is_none());
}

#[test]
fn a_job_whose_allocs_are_all_placed_has_nothing_blocked() {
    let mut world = World::with_nodes(1);
    let (job, first) = world.register(service("web", 1));
    let verdict = Verdict::Done {
        failures: BTreeMap::new(),
        queued: BTreeMap::from([("web".to_owned(), 1)]),
        later: vec![],
    };
    world.plan(Plan { verdict, ..world.empty_plan(job, first) });
    let second = evaluate(&mut world, "web");
    world.plan(Plan { placements: vec![placement(0, 0)], ..world.empty_plan(job, second) });
    assert!(world.state.blocked_eval_of_job(job).is_none());
}

#[test]
fn one_plan_settles_every_change_that_it_has_seen() {
    let mut world = World::with_nodes(2);
    let (job, _) = world.place(service("web", 2), &[0, 1]);
    world.mark(1, NodeStatus::Down);
    world.mark(2, NodeStatus::Down);
    let asked = evaluate(&mut world, "web");
    let first = world.state.pending_evals().next().unwrap().id;
    let plan = world.empty_plan(job, first);
    world.mark(1, NodeStatus::Ready);
    world.mark(1, NodeStatus::Down);
    world.plan(plan);
    let left: Vec<(EvalId, Trigger)> =
        world.state.pending_evals().map(|eval| (eval.id, eval.trigger)).collect();
    assert_eq!(left[0], (asked, Trigger::Manual), "a user waits for this one");
    assert_eq!(left[1].1, Trigger::NodeUpdate, "the plan has not seen this one");
    assert_eq!(left.len(), 2);
}

#[test]
fn failed_allocs_that_must_wait_share_one_delayed_evaluation() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 2), &[0, 0]);
    let eval = evaluate(&mut world, "web");
    let soon = world.state.clock().plus_ms(30_000);
    let later = vec![(allocs[0], soon.plus_ms(5)), (allocs[1], soon)];
    let verdict = Verdict::Done { failures: BTreeMap::new(), queued: BTreeMap::new(), later };
    world.plan(Plan { verdict, ..world.empty_plan(job, eval) });
    let delayed = world.state.pending_evals().next_back().unwrap();
    assert_eq!((delayed.trigger, delayed.wait_until), (Trigger::FailedFollowUp, Some(soon)));
    assert!(allocs.iter().all(|&id| world.alloc(id).follow_up == Some(delayed.id)));
}

#[test]
fn an_evaluation_that_cannot_be_scheduled_fails_alone() {
    let mut world = World::new();
    let (_, eval) = world.register(service("web", 1));
    let fail = Command::FailEval { eval, why: "scheduling panicked".to_owned() };
    world.run(fail.clone());
    assert_eq!(world.eval(eval).status, EvalStatus::Failed);
    assert_eq!(world.eval(eval).status_description, "scheduling panicked");
    assert!(matches!(world.run(fail), Outcome::Refused(Rejection::Conflict { .. })));
}

#[test]
fn an_alloc_that_ends_unasked_has_its_job_evaluated_once_per_report() {
    let cases = [
        (JobKind::Service, ClientStatus::Failed, true),
        (JobKind::Service, ClientStatus::Complete, true),
        (JobKind::Batch, ClientStatus::Failed, true),
        (JobKind::Batch, ClientStatus::Complete, false),
        (JobKind::Service, ClientStatus::Running, false),
    ];
    for (kind, status, evaluated) in cases {
        let mut world = World::with_nodes(1);
        let (_, allocs) = world.place(job_spec("web", kind, 2), &[0, 0]);
        let update = |id| AllocUpdate {
            id,
            status,
            description: String::new(),
            tasks: BTreeMap::new(),
            health: None,
        };
        let updates: Vec<AllocUpdate> = allocs.into_iter().map(update).collect();
        world.run(Command::UpdateAllocs { node: NodeId(1), updates: updates.clone() });
        let triggers: Vec<Trigger> = world.state.pending_evals().map(|eval| eval.trigger).collect();
        let expected = if evaluated { vec![Trigger::AllocFailure] } else { vec![] };
        assert_eq!(triggers, expected, "{kind:?} {status:?}");
        world.run(Command::UpdateAllocs { node: NodeId(1), updates });
        assert!(world.changes.is_empty(), "the same report says nothing new");
    }
}

#[test]
fn a_report_of_another_node_or_of_a_way_back_changes_nothing() {
    let mut world = World::with_nodes(2);
    let (_, allocs) = world.place(service("web", 1), &[0]);
    world.report(2, allocs[0], ClientStatus::Failed);
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Pending);
    world.report(1, allocs[0], ClientStatus::Complete);
    world.report(1, allocs[0], ClientStatus::Running);
    world.report(1, allocs[0], ClientStatus::Failed);
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Complete);
}

#[test]
fn a_dead_task_stays_dead_and_a_stranger_is_not_kept() {
    let mut world = World::with_nodes(1);
    let (_, allocs) = world.place(service("web", 1), &[0]);
    let report = |world: &mut World, name: &str, phase| {
        let event =
            TaskEvent { at: world.stamp, kind: TaskEventKind::Started, message: String::new() };
        let state = TaskState {
            phase,
            failed: false,
            restarts: 0,
            last_restart: None,
            started_at: None,
            finished_at: None,
            events: vec![event; 3 * TASK_EVENTS_MAX],
        };
        let update = AllocUpdate {
            id: allocs[0],
            status: ClientStatus::Running,
            description: String::new(),
            tasks: BTreeMap::from([(name.to_owned(), state)]),
            health: None,
        };
        world.run(Command::UpdateAllocs { node: NodeId(1), updates: vec![update] });
    };
    report(&mut world, "server", TaskPhase::Dead);
    report(&mut world, "server", TaskPhase::Running);
    report(&mut world, "stranger", TaskPhase::Running);
    let tasks = &world.alloc(allocs[0]).tasks;
    assert_eq!(tasks.keys().collect::<Vec<_>>(), ["server"]);
    assert_eq!(tasks["server"].phase, TaskPhase::Dead);
    assert_eq!(tasks["server"].events.len(), TASK_EVENTS_MAX);
}

#[test]
fn an_alloc_that_a_user_stops_is_told_to_and_its_job_evaluated() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 1), &[0]);
    let heard = world.state.index();
    let (of, eval) = ids(&world.run(Command::StopAlloc { alloc: allocs[0] }));
    assert_eq!((of, world.eval(eval).trigger), (job, Trigger::AllocStop));
    let told = world.state.assignment(NodeId(1), Some(heard));
    assert_eq!((told.after, told.tombstones), (Some(heard), allocs));
    let stranger = world.run(Command::StopAlloc { alloc: AllocId(1) });
    assert!(matches!(stranger, Outcome::Refused(Rejection::NotFound { .. })));
}

#[test]
fn a_difference_holds_only_what_changed_for_the_node() {
    let mut world = World::with_nodes(2);
    let (_, allocs) = world.place(service("web", 2), &[0, 1]);
    let heard = world.state.index();
    world.report(1, allocs[0], ClientStatus::Running);
    let quiet = world.state.assignment(NodeId(1), Some(heard));
    assert!(quiet.runs.is_empty() && quiet.tombstones.is_empty());
    assert_eq!(quiet.seq, world.state.index());
    assert_eq!(world.state.assignment(NodeId(1), None).runs.len(), 1);
    assert!(world.state.assignment(NodeId(3), None).runs.is_empty());
}

#[test]
fn who_has_forgotten_how_an_alloc_ended_changes_nothing() {
    let mut world = World::with_nodes(1);
    let (_, allocs) = world.place(service("web", 2), &[0, 0]);
    let report = |world: &mut World, id, status, description: &str| {
        let (description, tasks) = (description.to_owned(), BTreeMap::new());
        let update = AllocUpdate { id, status, description, tasks, health: None };
        world.run(Command::UpdateAllocs { node: NodeId(1), updates: vec![update] });
    };
    report(&mut world, allocs[0], ClientStatus::Complete, "all is well");
    report(&mut world, allocs[0], ClientStatus::Complete, "not known here");
    assert!(world.changes.is_empty(), "it has ended, and how is known");
    assert_eq!(world.alloc(allocs[0]).client_description, "all is well");
    report(&mut world, allocs[1], ClientStatus::Lost, "its node is down");
    report(&mut world, allocs[1], ClientStatus::Complete, "not known here");
    assert_eq!(world.alloc(allocs[1]).client_status, ClientStatus::Complete, "it was in doubt");
}

#[test]
fn a_report_that_another_has_overtaken_changes_nothing() {
    let mut world = World::with_nodes(1);
    let (_, allocs) = world.place(service("web", 1), &[0]);
    let steps = [
        (ClientStatus::Running, TaskPhase::Running, 0),
        (ClientStatus::Pending, TaskPhase::Pending, 1),
        (ClientStatus::Running, TaskPhase::Running, 1),
    ];
    let report = |world: &mut World, (status, phase, restarts)| {
        let state = TaskState {
            phase,
            failed: false,
            restarts,
            last_restart: None,
            started_at: None,
            finished_at: None,
            events: vec![],
        };
        let tasks = BTreeMap::from([("server".to_owned(), state)]);
        let update =
            AllocUpdate { id: allocs[0], status, description: String::new(), tasks, health: None };
        world.run(Command::UpdateAllocs { node: NodeId(1), updates: vec![update] });
    };
    steps.into_iter().for_each(|step| report(&mut world, step));
    for overtaken in &steps[..2] {
        report(&mut world, *overtaken);
        assert!(world.changes.is_empty(), "{overtaken:?} is old");
        assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Running);
    }
}
