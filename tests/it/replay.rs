//! Recorded logs of one agent, stepped again and asked questions.
mod why;

use std::sync::Arc;

use drover_core::agent::recording::{Record, Start};
use drover_core::agent::sum::Sum;
use drover_core::agent::{Agent, Effects, Event, Guard, Input};
use drover_core::client::NodeMessage;
use drover_core::digest::Digest;
use drover_core::time::WallTime;
use drover_core::types::{Index, JobKind, NodeId, NodeSlot, Plan, ServerId};
use drover_core::wire::{Message, PeerId};
use drover_sim::replay::bisect::{Outcome, bisect};
use drover_sim::replay::checks::{Check, Known, Rule};
use drover_sim::replay::ladder::{Detail, rung};
use drover_sim::replay::rehearse::{Difference, Kind, Rehearsed, rehearse};
use drover_sim::replay::verify::{Trouble, Verified, verify};
use drover_sim::replay::{Fault, Joint, Recorded, Source, Tape, Turn, Until};
use drover_tests::rig::agent::{DevAgent, dev_config, job_spec, node_spec, step_deciding};

/// Sums that are written together; small, and no divisor of anything here.
const SUMS: usize = 7;
const INPUTS_PER_DIGEST: usize = 10;

/// A batch and a service on two nodes, with ends of both kinds; the second node is only heard, and after
/// a while it is heard no more. `decide` may plan as another version would have.
fn day_of(decide: fn(&Plan) -> Option<Plan>) -> DevAgent {
    let mut dev = DevAgent::new();
    dev.decide = decide;
    dev.pass_ms(12_000);
    let peer = PeerId::Client(NodeId(8 << 120));
    dev.step(Event::LinkChanged { peer, up: true });
    let mut spec = node_spec(NodeId(8 << 120));
    spec.name = "other".into();
    let says = |said| Event::Received { from: peer, message: Message::FromNode(said) };
    dev.step(says(NodeMessage::Register { spec: Arc::new(spec) }));
    let live = |dev: &mut DevAgent, seconds: u64| {
        for _ in 0..seconds {
            let (seq, registered_at) = (Index(0), Index(0));
            dev.step(says(NodeMessage::Heartbeat { seq, registered_at, is_behind: false }));
            dev.pass_ms(1_000);
        }
    };
    live(&mut dev, 2);
    dev.run_job(job_spec("web", JobKind::Service, 2)).expect("registered");
    dev.run_job(job_spec("sum", JobKind::Batch, 2)).expect("registered");
    live(&mut dev, 15);
    let keys: Vec<_> = dev.running.keys().copied().collect();
    for (nth, key) in keys.into_iter().enumerate() {
        dev.exit(key, i32::from(nth % 2 == 0));
    }
    live(&mut dev, 20);
    dev.pass_ms(60_000);
    dev
}

fn day() -> DevAgent {
    day_of(|_| None)
}

/// `inputs` as the recorder writes them, with a new segment after each number in `cuts`.
fn record(inputs: &[Input], cuts: &[usize], decide: fn(&Plan) -> Option<Plan>) -> Recorded {
    let config = dev_config(ServerId(1), NodeId(7));
    let mut agent = Agent::new(config.clone(), 1);
    let mut recorded = Recorded::default();
    let mut start = Start::Boot { config: Box::new(config), seed: 1 };
    let (mut records, mut sums) = (Vec::new(), Vec::new());
    for (at, input) in inputs.iter().enumerate() {
        let effects = step_deciding(&mut agent, input.clone(), decide);
        records.push(Record::Input(Box::new(input.clone())));
        sums.push(effects.sum());
        records.extend(effects.planned.map(Record::Planned));
        let number = at + 1;
        let is_digest = number % INPUTS_PER_DIGEST == 0 || number == inputs.len();
        let is_cut = cuts.contains(&number);
        if sums.len() == SUMS || is_digest || is_cut {
            records.push(Record::Sums(std::mem::take(&mut sums)));
        }
        if is_digest {
            records.push(Record::Digest { inputs: number as u64, digest: agent.digest() });
        }
        if is_cut {
            let next = Start::Frozen(agent.freeze());
            let begun = std::mem::replace(&mut start, next);
            recorded.segments.push((begun, std::mem::take(&mut records)));
        }
    }
    recorded.segments.push((start, records));
    recorded
}

fn recorded(inputs: &[Input], cuts: &[usize]) -> Recorded {
    record(inputs, cuts, |_| None)
}

fn verified(log: &Recorded) -> Vec<Verified> {
    let mut all = Vec::new();
    verify(log, Guard::default(), |one| all.push(one.clone()));
    all
}

fn rehearsed(log: &Recorded) -> (Rehearsed, Vec<Difference>) {
    let mut found = Vec::new();
    let rehearsed = rehearse(log, Guard::default(), |one| found.push(one.clone()));
    (rehearsed, found)
}

#[test]
fn every_segment_leads_to_what_was_recorded_and_to_the_next_one() {
    let dev = day();
    let log = recorded(&dev.inputs, &[40, 41, 90]);
    let all = verified(&log);
    assert!(all.iter().all(Verified::is_sound), "{all:?}");
    let joints: Vec<Joint> = all.iter().map(|one| one.joint).collect();
    assert_eq!(joints, [Joint::Unknown, Joint::Same, Joint::Same, Joint::Same]);
    let inputs: u64 = all.iter().map(|one| one.inputs).sum();
    assert_eq!(inputs, dev.inputs.len() as u64);
    assert_eq!(all[0].digests, 4);
}

#[test]
fn what_is_not_as_it_was_is_named_with_its_place_and_hides_nothing_behind_it() {
    let dev = day();
    let mut log = recorded(&dev.inputs, &[40, 90]);
    let at = log.segments[0]
        .1
        .iter()
        .position(|record| matches!(record, Record::Digest { inputs: 30, .. }));
    let at = at.expect("a digest at input 30");
    log.segments[0].1[at] = Record::Digest { inputs: 30, digest: Digest(7) };
    let all = verified(&log);
    let trouble = all[0].trouble.as_ref().expect("it diverges");
    assert!(matches!(trouble, Trouble::Diverged { input: 30, agreed: 20, .. }), "{trouble:?}");
    assert_eq!(all[1].trouble, None, "the next segment is looked at all the same");
    // A start that is another agent's, and one before which something is missing.
    let mut log = recorded(&dev.inputs, &[40, 90]);
    let Start::Frozen(later) = log.segments[2].0.clone() else { panic!("it follows on") };
    log.segments[1].0 = Start::Frozen(later);
    log.segments[1].1.clear();
    let joint = verified(&log)[1].joint;
    assert!(matches!(joint, Joint::Differs { .. }), "{joint:?}");
    let mut log = recorded(&dev.inputs, &[40]);
    let Start::Frozen(frozen) = log.segments[1].0.clone() else { panic!("it follows on") };
    log.segments[1].0 = Start::FrozenAfterHole { inputs_missing: 5, frozen };
    assert_eq!(verified(&log)[1].joint, Joint::Hole { inputs_missing: 5 });
}

#[test]
fn a_moment_is_the_same_from_wherever_it_is_reached() {
    let dev = day();
    let (whole, cut) = (recorded(&dev.inputs, &[]), recorded(&dev.inputs, &[30, 60, 100]));
    let walls: Vec<WallTime> = dev.inputs.iter().map(|input| input.wall).collect();
    let between = WallTime { unix_ms: walls[50].unix_ms };
    for until in [
        Until::Input(1),
        Until::Input(30),
        Until::Input(31),
        Until::Time(between),
        Until::Time(walls[119]),
        Until::Index(Index(12)),
        Until::End,
    ] {
        let reach = |log: &Recorded| {
            let tape = until.reach(log, Guard::default()).expect("the log leads there");
            (tape.inputs(), tape.agent().digest())
        };
        let (inputs, digest) = reach(&whole);
        assert_eq!(reach(&cut), (inputs, digest), "{until:?}");
        match until {
            Until::Input(number) => assert_eq!(inputs, number),
            Until::Time(at) => {
                let last = usize::try_from(inputs).expect("few inputs");
                assert!(walls[last - 1] <= at, "{until:?}");
                assert!(walls.get(last).is_none_or(|&next| at < next), "{until:?}");
            }
            Until::Index(_) | Until::End => (),
        }
    }
}

fn lasting(name: &str, fails_from: u64) -> Check<'_> {
    // The agent's own clock tells how far it is.
    Check {
        name,
        rule: Rule::Always(Box::new(move |agent| {
            let written = agent.view().log_written.blocks;
            if written < fails_from { Ok(()) } else { Err(format!("{written} blocks")) }
        })),
    }
}

/// The first input after which so many blocks are written.
fn first_with(inputs: &[Input], blocks: u64) -> u64 {
    let mut agent = Agent::new(dev_config(ServerId(1), NodeId(7)), 1);
    let at = inputs.iter().position(|input| {
        agent.step(input.clone(), &mut Effects::default());
        blocks <= agent.view().log_written.blocks
    });
    at.expect("so many are written") as u64 + 1
}

#[test]
fn bisect_names_the_very_input_wherever_the_looks_fall() {
    let dev = day();
    let log = recorded(&dev.inputs, &[33, 70]);
    for blocks in [1, 5, 12, 20] {
        let expected = first_with(&dev.inputs, blocks);
        for every in [1, 4, 64, 1_000] {
            let outcome = bisect(&log, Guard::default(), lasting("blocks", blocks), every);
            let Ok(Outcome::Fails(failing)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(failing.input, expected, "{blocks} blocks, looked at every {every}");
            assert!(failing.rungs.iter().any(|rung| rung.number == expected), "it is shown");
        }
    }
    let never = bisect(&log, Guard::default(), lasting("blocks", u64::MAX), 16);
    assert!(matches!(never, Ok(Outcome::Holds { .. })), "{never:?}");
    let always = bisect(&log, Guard::default(), lasting("blocks", 0), 16);
    assert!(matches!(always, Ok(Outcome::FailsFromStart { .. })), "{always:?}");
}

#[test]
fn bisect_names_the_input_that_ends_an_agent() {
    let mut inputs = day().inputs;
    // Time never goes back between inputs: the core refuses to live with that.
    inputs[77].now.ns = 1;
    let log = recorded_blindly(&inputs);
    let known = Known::named("invariants").expect("there is one");
    let outcome = bisect(&log, Guard::default(), known.check(), 50);
    let Ok(Outcome::Fails(failing)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failing.input, 78);
    assert!(failing.message.contains("time moves forward"), "{}", failing.message);
    let trouble = verified(&log)[0].trouble.clone();
    let panicked = matches!(trouble, Some(Trouble::Fault(Fault::Panicked { input: 78, .. })));
    assert!(panicked, "{trouble:?}");
}

/// Inputs alone.
fn recorded_blindly(inputs: &[Input]) -> Recorded {
    let config = Box::new(dev_config(ServerId(1), NodeId(7)));
    let records = inputs.iter().map(|input| Record::Input(Box::new(input.clone()))).collect();
    Recorded { segments: vec![(Start::Boot { config, seed: 1 }, records)] }
}

#[test]
fn every_known_property_holds_on_a_sound_log() {
    let dev = day();
    let log = recorded(&dev.inputs, &[33]);
    for known in drover_sim::replay::checks::ALL {
        let outcome = bisect(&log, Guard::default(), known.check(), 8);
        assert!(matches!(outcome, Ok(Outcome::Holds { .. })), "{}: {outcome:?}", known.name);
    }
}

#[test]
fn the_same_version_decides_the_same() {
    let dev = day();
    for cuts in [&[][..], &[33, 34], &[100]] {
        let (all, found) = rehearsed(&recorded(&dev.inputs, cuts));
        assert!(all.is_same() && all.skipped.is_empty(), "{all:?} {found:?}");
        assert_eq!(all.steps_compared, dev.inputs.len() as u64, "each step has its sum");
        assert!(3 <= all.plans_compared, "{all:?}");
    }
}

/// A version that sends the first alloc of each plan to the other node, if it replaces none: what is
/// replaced because a node is lost would never find its place.
fn elsewhere(plan: &Plan) -> Option<Plan> {
    let mut plan = plan.clone();
    let first = plan.placements.first_mut().filter(|first| first.previous.is_none())?;
    first.slot = NodeSlot(1 - first.slot.0);
    Some(plan)
}

#[test]
fn a_rehearsal_names_each_plan_that_would_be_another_and_stays_on_the_path_of_what_happened() {
    let dev = day_of(elsewhere);
    for cuts in [&[][..], &[60, 120]] {
        let log = record(&dev.inputs, cuts, elsewhere);
        let (mut altered, mut kept) = (0, 0);
        for record in log.segments.iter().flat_map(|(_, records)| records) {
            let Record::Planned(plan) = record else { continue };
            match plan.placements.first() {
                Some(first) if first.previous.is_none() => altered += 1,
                Some(_) | None => kept += 1,
            }
        }
        assert!(2 <= altered && 1 <= kept, "{altered} and {kept} plans are too few");
        assert!(verified(&log)[0].trouble.is_some(), "a replay by itself goes its own way");
        let (all, found) = rehearsed(&log);
        assert!(found.iter().all(|one| one.kind == Kind::Plan), "{found:#?}");
        assert_eq!(found.len(), altered, "{found:#?}");
        assert_eq!(all.plans_compared, altered as u64 + kept, "{all:?}");
        assert!(0 < all.digests_compared, "{all:?}");
        for one in &found {
            let what = one.what.join("; ");
            let (then, now) = what.split_once(" → ").expect("then and now");
            assert_ne!(then.contains("other ("), now.contains("other ("), "{what}");
        }
        let what = found[0].what.join("; ");
        assert!(what.contains("of web; web.group[0]: "), "{what}");
    }
}

#[test]
fn a_rehearsal_says_where_something_else_than_a_plan_differs() {
    let dev = day();
    let log = recorded(&dev.inputs, &[]);
    for (number, spoil, kind) in [
        (9, Sum { messages: 1, others: 0 }, Kind::Message),
        (60, Sum { messages: 0, others: 1 }, Kind::Effect),
    ] {
        let mut log = log.clone();
        let mut left = number;
        for record in &mut log.segments[0].1 {
            let Record::Sums(sums) = record else { continue };
            if left <= sums.len() {
                sums[left - 1].messages ^= spoil.messages;
                sums[left - 1].others ^= spoil.others;
                break;
            }
            left -= sums.len();
        }
        let (_, found) = rehearsed(&log);
        let places: Vec<_> = found.iter().map(|one| (one.input, one.kind)).collect();
        assert_eq!(places, [(number as u64, kind)], "{found:?}");
    }
}

#[test]
fn a_segment_of_another_version_is_rehearsed_from_the_one_before() {
    let dev = day();
    let mut log = recorded(&dev.inputs, &[50]);
    log.segments[1].0 = Start::Frozen(vec![1, 2, 3]);
    let (all, found) = rehearsed(&log);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(all.inputs, dev.inputs.len() as u64);
    assert_eq!(all.skipped.len(), 1, "{all:?}");
    let fault = verified(&log)[1].trouble.clone();
    assert!(matches!(fault, Some(Trouble::Fault(Fault::Foreign { .. }))), "{fault:?}");
    // Alone, it cannot be rehearsed at all, and that is said.
    log.segments.remove(0);
    let (all, _) = rehearsed(&log);
    assert_eq!((all.inputs, all.skipped.len()), (0, 1), "{all:?}");
}

#[test]
fn the_ladder_tells_each_entry_by_its_content() {
    let dev = day();
    let log = recorded(&dev.inputs, &[]);
    let mut tape = Tape::begin(&log, Guard::default(), 0).expect("it begins");
    let (mut told, mut all) = (Vec::new(), 0);
    loop {
        match tape.turn().expect("it goes on") {
            Turn::Stepped(stepped) => {
                let effects = &tape.effects().list;
                told.extend(rung(&stepped, effects, tape.agent(), Detail::Told));
                all += usize::from(
                    rung(&stepped, effects, tape.agent(), Detail::Everything).is_some(),
                );
            }
            Turn::Over => break,
            Turn::Digest { .. } | Turn::Begun(_) => (),
        }
    }
    assert_eq!(all as u64, log.inputs(0));
    assert!(told.len() < all, "what says nothing is left out");
    let said: Vec<String> =
        told.iter().flat_map(|rung| rung.effects.iter().map(|(_, what)| what.clone())).collect();
    for words in ["registers job web: 2 × group", "plan for web", "reports", "registers node other"]
    {
        assert!(said.iter().any(|line| line.contains(words)), "{words:?} is not told: {said:#?}");
    }
}
