//! How a saved state comes back: what it replaces, what stays, and what is refused.
use drover_core::api::Rejection;
use drover_core::digest::Digest;
use drover_core::fsm::{Command, Entry, Outcome, apply};
use drover_core::limits::{RESTORE_KEPT_MS, RESTORE_PART_BYTES, RESTORE_PARTS_MAX};
use drover_core::state::{Change, State, TableKind};
use drover_core::time::WallTime;
use drover_core::types::*;

use super::rig::*;

const APPLIED: Outcome =
    Outcome::Applied { eval: None, job: None, refused_placements: 0, more: false };

fn part(bytes: &[u8], nth: u32, part: &[u8]) -> Command {
    Command::RestorePart { of: Digest::of(bytes), nth, bytes: part.into() }
}

/// A saved state's commands: three parts, and the word that puts them in force.
fn commands(bytes: &[u8]) -> Vec<Command> {
    let parts = bytes.chunks(bytes.len().div_ceil(3)).zip(0..);
    let mut commands: Vec<Command> = parts.map(|(some, nth)| part(bytes, nth, some)).collect();
    commands.push(Command::Restore { of: Digest::of(bytes), parts: 3 });
    commands
}

impl World {
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Outcome {
        commands(bytes).into_iter().map(|command| self.run(command)).last().expect("four")
    }

    /// Every row that users see, and what nodes must know.
    fn tables(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let state = &self.state;
        let tombstones = |node: &Node| state.tombstones_of_node(node.spec.id).collect::<Vec<_>>();
        (
            state.nodes().map(|node| (node.clone(), tombstones(node))).collect::<Vec<_>>(),
            state.jobs().cloned().collect::<Vec<_>>(),
            state.evals().cloned().collect::<Vec<_>>(),
            state.allocs().cloned().collect::<Vec<_>>(),
        )
    }

    fn job_names(&self) -> Vec<String> {
        self.state.jobs().map(|job| job.newest().spec.id.clone()).collect()
    }

    fn pending_of(&self, job: JobId) -> usize {
        self.state.pending_evals().filter(|eval| eval.job == job).count()
    }

    fn deregister(&mut self, job: &str) {
        let (namespace, job) = ("default".to_owned(), job.to_owned());
        self.run(Command::DeregisterJob { namespace, job, purge: true });
    }
}

#[test]
fn a_saved_state_comes_back_and_what_came_since_is_gone() {
    let mut world = World::with_nodes(2);
    let (old, allocs) = world.place(service("old", 1), &[0]);
    world.report(1, allocs[0], ClientStatus::Running);
    world.run(Command::SetNodeEligible { node: NodeId(2), eligible: false });
    world.run(Command::RaiseFeatureLevel { level: 1 });
    let saved = world.state.encode();
    world.deregister("old");
    world.place(service("new", 1), &[0]);
    world.run(Command::SetNodeEligible { node: NodeId(2), eligible: true });
    world.run(Command::RaiseFeatureLevel { level: 2 });
    let before = world.state.index();
    assert_eq!(world.restore(&saved), APPLIED);
    assert_eq!(world.job_names(), ["old"]);
    assert!(world.state.job_named("default", "old").is_some_and(|job| !job.stopped));
    assert_eq!(world.alloc(allocs[0]).client_status, ClientStatus::Running);
    assert!(!world.state.node(NodeId(2)).expect("it is known").eligible);
    assert_eq!(world.pending_of(old), 1, "what runs by now is compared with what should");
    assert_eq!(world.state.feature_level(), 2, "a level only rises");
    assert!(before < world.state.index(), "the log goes on");
    for kind in [TableKind::Nodes, TableKind::Jobs, TableKind::Evals, TableKind::Allocs] {
        assert_eq!(world.state.table_index(kind), world.state.index());
    }
    assert_eq!(world.job(old).modify_index, world.state.index(), "whoever watches it hears");
    assert!(world.changes.contains(&Change::Restored));
    let again = world.run(Command::Restore { of: Digest::of(&saved), parts: 3 });
    assert!(matches!(again, Outcome::Refused(Rejection::Conflict { .. })), "its parts are gone");
    assert_eq!(world.restore(&saved), APPLIED, "sent again it can be done again");
}

#[test]
fn what_a_node_runs_and_the_saved_state_does_not_know_is_stopped() {
    let mut world = World::with_nodes(1);
    let (_, old) = world.place(service("old", 1), &[0]);
    world.report(1, old[0], ClientStatus::Running);
    let saved = world.state.encode();
    world.add_node(2);
    let (_, new) = world.place(service("new", 2), &[0, 1]);
    world.report(1, new[0], ClientStatus::Running);
    let told = world.state.index();
    assert_eq!(world.restore(&saved), APPLIED);
    for after in [Some(told), None] {
        let assignment = world.state.assignment(NodeId(1), after);
        assert_eq!(assignment.tombstones, [new[0]], "{after:?}");
        assert_eq!(assignment.runs.len(), 1, "{after:?}");
        assert_eq!(assignment.runs[0].id, old[0], "{after:?}");
    }
    // It was not there when the state was saved, and must hear of its alloc all the same.
    let late = world.state.assignment(NodeId(2), Some(told));
    assert_eq!((late.tombstones, late.runs), (vec![new[1]], vec![]));
    world.run(Command::AcknowledgeAssignment { node: NodeId(2), seq: late.seq });
    assert_eq!(world.state.tombstones_of_node(NodeId(2)).count(), 0);
}

#[test]
fn an_alloc_that_ended_since_does_not_run_again_and_its_job_is_evaluated() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 2), &[0, 0]);
    for &alloc in &allocs {
        world.report(1, alloc, ClientStatus::Running);
    }
    let saved = world.state.encode();
    // The client has been told to stop one of them, and the other has failed.
    world.run(Command::StopAlloc { alloc: allocs[0] });
    world.report(1, allocs[1], ClientStatus::Failed);
    world.restore(&saved);
    let row = world.alloc(allocs[0]);
    assert_eq!((row.desired, row.client_status), (DesiredStatus::Stop, ClientStatus::Running));
    let row = world.alloc(allocs[1]);
    assert_eq!((row.desired, row.client_status), (DesiredStatus::Run, ClientStatus::Failed));
    assert_eq!(world.pending_of(job), 1);
    let assignment = world.state.assignment(NodeId(1), None);
    assert_eq!((assignment.tombstones, assignment.runs), (vec![allocs[0]], vec![]));
}

#[test]
fn an_alloc_that_was_collected_since_is_lost_and_its_node_hears_of_it_again() {
    let mut world = World::with_nodes(1);
    let (job, allocs) = world.place(service("web", 2), &[0, 0]);
    world.report(1, allocs[0], ClientStatus::Running);
    world.report(1, allocs[1], ClientStatus::Lost);
    let saved = world.state.encode();
    world.deregister("web");
    let eval = world.state.pending_evals().next_back().expect("of the deregistration").id;
    let stops = vec![Stop { alloc: allocs[0], reason: StopReason::NotNeeded }];
    world.plan(Plan { stops, ..world.empty_plan(job, eval) });
    world.report(1, allocs[0], ClientStatus::Complete);
    let forever = WallTime { unix_ms: u64::MAX };
    world.run(Command::CollectGarbage {
        eval_before: forever,
        job_before: forever,
        node_before: WallTime::default(),
    });
    assert_eq!(world.state.allocs().count(), 0);
    world.restore(&saved);
    for &alloc in &allocs {
        let row = world.alloc(alloc);
        assert_eq!((row.desired, row.client_status), (DesiredStatus::Stop, ClientStatus::Lost));
    }
    assert_eq!(world.state.assignment(NodeId(1), None).tombstones, allocs);
    assert_eq!(world.pending_of(job), 1);
}

#[test]
fn a_plan_made_before_the_restore_is_refused() {
    let mut world = World::with_nodes(1);
    let (job, eval) = world.register(service("web", 1));
    let saved = world.state.encode();
    let plan = Plan { placements: vec![placement(0, 0)], ..world.empty_plan(job, eval) };
    world.restore(&saved);
    assert_eq!(world.eval(eval).status, EvalStatus::Pending);
    let refused = world.plan(plan.clone());
    assert!(matches!(refused, Outcome::Refused(Rejection::Conflict { .. })), "{refused:?}");
    assert_eq!(world.state.allocs().count(), 0);
    world.plan(Plan { based_on: world.state.index(), ..plan });
    assert_eq!(world.state.allocs().count(), 1, "one that has seen the restore is applied");
}

#[test]
fn a_refused_state_changes_no_row() {
    let mut world = World::with_nodes(1);
    world.place(service("web", 1), &[0]);
    let own = world.state.encode();
    let mut stranger = State::new();
    let entry = |cluster| Entry {
        stamp: WallTime { unix_ms: START_MS },
        session: None,
        command: Command::Bootstrap { cluster: ClusterId(cluster) },
    };
    apply(&mut stranger, Index(1), &entry(8), &mut Vec::new());
    let mut younger = State::new();
    apply(&mut younger, Index(1_000_000), &entry(7), &mut Vec::new());
    // The same entries up to a moment, and then others: what two restores of one file may lead to.
    let mut other = World::with_nodes(1);
    other.place(service("other", 1), &[0]);
    let mut damaged = own.clone();
    damaged[own.len() / 2] ^= 1;
    let before = world.tables();
    for (bytes, word) in [
        (stranger.encode(), "-data-dir"),
        (younger.encode(), "-data-dir"),
        (other.state.encode(), "another history"),
        (damaged, "does not read"),
        (b"no state at all".to_vec(), "does not read"),
    ] {
        let Outcome::Refused(Rejection::Invalid { why, .. }) = world.restore(&bytes) else {
            panic!("it was taken: {word}");
        };
        assert!(why.contains(word), "{why}");
        assert_eq!(world.tables(), before, "{why}");
    }
    // Its bytes are not those that it is named by.
    for command in commands(&own) {
        let command = match command {
            Command::RestorePart { nth, bytes, .. } => {
                Command::RestorePart { of: Digest(1), nth, bytes }
            }
            _ => Command::Restore { of: Digest(1), parts: 3 },
        };
        let outcome = world.run(command.clone());
        let is_last = matches!(command, Command::Restore { .. });
        assert_eq!(matches!(outcome, Outcome::Refused(_)), is_last, "{outcome:?}");
    }
    assert_eq!(world.tables(), before);
}

#[test]
fn parts_come_in_order_and_those_of_two_uploads_are_not_mixed() {
    let mut world = World::with_nodes(1);
    let one = world.state.encode();
    world.register(service("web", 1));
    let other = world.state.encode();
    let refused = |outcome: Outcome| matches!(outcome, Outcome::Refused(_));
    assert!(refused(world.run(part(&one, 1, b"1"))), "the first is missing");
    assert!(!refused(world.run(part(&one, 0, b"0"))));
    assert!(refused(world.run(part(&one, 2, b"2"))), "the second is missing");
    assert!(refused(world.run(part(&other, 1, b"1"))), "it is of another");
    assert!(!refused(world.run(part(&one, 1, b"1"))), "and the first one goes on");
    assert!(refused(world.run(Command::Restore { of: Digest::of(&one), parts: 3 })));
    assert!(refused(world.run(Command::Restore { of: Digest::of(&other), parts: 2 })));
    assert!(!refused(world.run(part(&other, 0, b"0"))), "whoever begins anew has the place");
    assert!(refused(world.run(part(&one, 2, b"2"))));
    assert!(refused(world.run(part(&one, 0, &[]))), "nothing is no part");
    assert!(refused(world.run(part(&one, 0, &vec![0; RESTORE_PART_BYTES + 1]))));
    assert!(refused(world.run(part(&one, RESTORE_PARTS_MAX, b"0"))));
    assert_eq!(world.job_names(), ["web"]);
}

#[test]
fn half_an_upload_is_part_of_the_state_and_goes_when_nobody_goes_on() {
    let mut world = World::with_nodes(1);
    let saved = world.state.encode();
    world.register(service("web", 1));
    let (digest, commands) = (world.state.digest(), commands(&saved));
    for command in &commands[..2] {
        world.run(command.clone());
    }
    assert_ne!(world.state.digest(), digest);
    let mut copy = State::decode(&world.state.encode()).expect("a snapshot of ours");
    copy.check_invariants();
    assert_eq!(copy.digest(), world.state.digest());
    for command in &commands[2..] {
        let entry = Entry { stamp: world.stamp, session: None, command: command.clone() };
        let index = copy.index().next();
        apply(&mut copy, index, &entry, &mut Vec::new());
    }
    assert_eq!(copy.jobs().count(), 0, "who began from the snapshot restores it too");

    let collect = || Command::CollectGarbage {
        eval_before: WallTime::default(),
        job_before: WallTime::default(),
        node_before: WallTime::default(),
    };
    world.wait_ms(RESTORE_KEPT_MS);
    world.run(collect());
    assert_eq!(world.run(commands[2].clone()), APPLIED, "it goes on in time");
    world.wait_ms(RESTORE_KEPT_MS + 1);
    world.run(collect());
    let late = world.run(commands[3].clone());
    assert!(matches!(late, Outcome::Refused(Rejection::Conflict { .. })), "{late:?}");
    assert_eq!(world.job_names(), ["web"]);
}

#[test]
fn what_was_answered_before_a_restore_is_not_done_again_after_it() {
    let mut world = World::with_nodes(1);
    let saved = world.state.encode();
    let session = |seq| Some(Session { origin: ServerId(1), incarnation: Incarnation(1), seq });
    let send = |world: &mut World, seq, command| {
        world.enter(Entry { stamp: world.stamp, session: session(seq), command })
    };
    let raise = || Command::RaiseFeatureLevel { level: 1 };
    send(&mut world, 1, raise());
    for (command, seq) in commands(&saved).into_iter().zip(2..) {
        assert_eq!(send(&mut world, seq, command.clone()), APPLIED);
        let again = send(&mut world, seq, command);
        assert!(matches!(again, Outcome::Repeated { .. }), "{again:?}");
    }
    assert!(matches!(send(&mut world, 1, raise()), Outcome::Repeated { .. }));
}
