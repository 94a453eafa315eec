//! What this version would have decided otherwise, had it run when a log was recorded.
//!
//! Each step is compared with what was recorded of it: the plan that was made, whole, and the sum of all
//! that was said and done. The rehearsal stays on the path of what happened: where plans differ, the
//! recorded one goes into the log, and the next eval meets the state that it met then. All else that
//! differs (messages, writes, tasks) is told where it begins; the inputs that followed are answers to what
//! was said then, so what comes later may only be a consequence, until a segment brings the agent back.
//!
//! Invariants
//! - a plan is compared only with the plan of the same eval in the same step;
//! - what cannot be compared is counted and said.
use std::collections::BTreeMap;

use drover_core::agent::{Agent, Effects, Event, Guard};
use drover_core::raft::Body;
use drover_core::state::State;
use drover_core::types::{Placement, Plan, Verdict};
use drover_core::wire::Message;

use super::ladder::{self, Detail, Rung};
use super::source::Source;
use super::tape::{Fault, Joint, Stepped, Tape, Turn};
use super::words;

/// One thing that is decided otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    pub input: u64,
    pub wall_ms: u64,
    pub kind: Kind,
    /// What it is about, and how it differs.
    pub what: Vec<String>,
}

/// What is decided otherwise.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Where allocs go, or which are stopped.
    Plan,
    /// What a plan says beside that: scores, counts, reasons.
    Note,
    /// Which eval is scheduled, or whether one is.
    Schedule,
    Vote,
    Message,
    /// Tasks, writes to the log, answers to callers.
    Effect,
    /// The agent after so many inputs.
    Digest,
    Panic,
}

impl Kind {
    /// As people read it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Note => "plan's note",
            Self::Schedule => "schedule",
            Self::Vote => "vote",
            Self::Message => "message",
            Self::Effect => "effect",
            Self::Digest => "digest",
            Self::Panic => "panic",
        }
    }
}

/// What a rehearsal came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rehearsed {
    pub inputs: u64,
    /// Steps whose sum was recorded, and so compared.
    pub steps_compared: u64,
    pub plans_compared: u64,
    pub digests_compared: u64,
    pub differences: BTreeMap<Kind, u64>,
    /// Segments, or parts of them, that could not be rehearsed, and why.
    pub skipped: Vec<String>,
}

/// Steps the log with this version, and tells each difference as it is found.
pub fn rehearse(source: &dyn Source, guard: Guard, mut tell: impl FnMut(&Difference)) -> Rehearsed {
    let mut rehearsed = Rehearsed::default();
    let mut segment = 0;
    while segment < source.count() {
        let tape = Tape::begin(source, guard, segment);
        let end = tape.and_then(|mut tape| {
            tape.follow_recorded_plans();
            let ended = rehearsed.step(&mut tape, &mut tell);
            segment = tape.place().0;
            ended
        });
        if let Err(fault) = end {
            if let Fault::Panicked { input, words } = &fault {
                let what = vec![format!("the agent panics: {words}")];
                let (input, kind) = (*input, Kind::Panic);
                rehearsed.note(Difference { input, wall_ms: 0, kind, what }, &mut tell);
            }
            rehearsed.skipped.push(fault.to_string());
        }
        segment += 1;
    }
    rehearsed
}

impl Rehearsed {
    /// Nothing is decided otherwise.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    fn note(&mut self, difference: Difference, tell: &mut impl FnMut(&Difference)) {
        *self.differences.entry(difference.kind).or_default() += 1;
        tell(&difference);
    }

    fn step(
        &mut self,
        tape: &mut Tape<'_>,
        tell: &mut impl FnMut(&Difference),
    ) -> Result<(), Fault> {
        loop {
            let found = match tape.turn()? {
                Turn::Stepped(stepped) => {
                    self.inputs += 1;
                    self.compare(&stepped, tape.effects(), tape.agent())
                }
                Turn::Digest { recorded, replayed } => {
                    self.digests_compared += 1;
                    let what = format!("the agent was {recorded} then, and is {replayed} now");
                    let differs = recorded != replayed;
                    let wall_ms = tape.wall().map_or(0, |wall| wall.unix_ms);
                    let (input, kind) = (tape.inputs(), Kind::Digest);
                    let found = Difference { input, wall_ms, kind, what: vec![what] };
                    differs.then_some(found).into_iter().collect()
                }
                Turn::Begun(Joint::CarriedOn) => {
                    self.skipped.push(format!(
                        "{} starts with an agent of another version: the rehearsal went on with its own",
                        tape.segment_name()
                    ));
                    Vec::new()
                }
                Turn::Begun(_) => Vec::new(),
                Turn::Over => return Ok(()),
            };
            for difference in found {
                self.note(difference, tell);
            }
        }
    }

    fn compare(&mut self, stepped: &Stepped, effects: &Effects, agent: &Agent) -> Vec<Difference> {
        let mut found = Vec::new();
        // Plans are recorded wherever sums are.
        let Some(recorded) = stepped.sum else { return found };
        self.steps_compared += 1;
        let mut differ = |kind: Kind, what: Vec<String>| {
            let wall_ms = stepped.input.wall.unix_ms;
            found.push(Difference { input: stepped.number, wall_ms, kind, what });
        };
        let none = State::new();
        let state = agent.state().unwrap_or(&none);
        match (&stepped.planned, &effects.planned) {
            (None, None) => (),
            (Some(then), Some(now)) if then.eval == now.eval => {
                self.plans_compared += 1;
                let (kind, lines) = differences(state, then, now);
                if !lines.is_empty() {
                    let eval = words::eval(state, then.eval);
                    let about = format!("eval {eval} of {}", words::job(state, then.job));
                    differ(kind, [vec![about], lines].concat());
                }
            }
            (then, now) => {
                let said = |plan: &Option<Box<Plan>>| {
                    plan.as_ref().map_or("nothing".to_owned(), |plan| words::of_plan(state, plan))
                };
                let what = vec![format!("then: {}", said(then)), format!("now: {}", said(now))];
                differ(Kind::Schedule, what);
            }
        }
        let sum = effects.sum();
        if sum != recorded {
            let rung = ladder::rung(stepped, &effects.list, agent, Detail::Everything);
            if sum.messages != recorded.messages {
                differ(kind_of_message(stepped, effects), now(&rung, "network"));
            }
            if sum.others != recorded.others {
                differ(Kind::Effect, now(&rung, ""));
            }
        }
        found
    }
}

/// What this version does about an input; only for `whom`, if that is said.
fn now(rung: &Option<Rung>, whom: &str) -> Vec<String> {
    let Some(rung) = rung else { return Vec::new() };
    let mut lines = vec![format!("about: {}", rung.event)];
    let effects = rung.effects.iter().filter(|(to, _)| (to == "network") == (whom == "network"));
    lines.extend(effects.map(|(_, what)| format!("now: {what}")));
    if lines.len() == 1 {
        lines.push("now: nothing of the kind".to_owned());
    }
    lines
}

fn kind_of_message(stepped: &Stepped, effects: &Effects) -> Kind {
    use drover_core::agent::Effect;
    let votes = |message: &Message| match message {
        Message::Raft(said) => matches!(said.body, Body::RequestVote { .. } | Body::Vote { .. }),
        _ => false,
    };
    let is_asked =
        matches!(&stepped.input.event, Event::Received { message, .. } if votes(message));
    let says = effects
        .list
        .iter()
        .any(|effect| matches!(effect, Effect::Send { message, .. } if votes(message)));
    if is_asked || says { Kind::Vote } else { Kind::Message }
}

/// How two plans of one eval differ.
fn differences(state: &State, then: &Plan, now: &Plan) -> (Kind, Vec<String>) {
    let mut lines = Vec::new();
    let (placed_then, placed_now) = (by_place(then), by_place(now));
    let keys: std::collections::BTreeSet<_> = placed_then.keys().chain(placed_now.keys()).collect();
    for key in keys {
        let (then_at, now_at) = (placed_then.get(key), placed_now.get(key));
        let slots = |placed: Option<&&Placement>| placed.map(|placed| placed.slot);
        let ports = |placed: Option<&&Placement>| placed.map(|placed| placed.ports.clone());
        if slots(then_at) == slots(now_at) && ports(then_at) == ports(now_at) {
            continue;
        }
        let said = |plan: &Plan, placed: Option<&&Placement>| {
            placed.map_or("not placed".to_owned(), |placed| {
                let whole = words::of_placement(state, plan, placed);
                whole.split_once(" on ").map_or(whole.clone(), |(_, place)| place.to_owned())
            })
        };
        let name = words::alloc_name(state, then.job, then.version, key.0, key.1);
        lines.push(format!("{name}: {} → {}", said(then, then_at), said(now, now_at)));
    }
    let preempted = |plan: &Plan| -> Vec<String> {
        plan.preempted.iter().map(|one| words::alloc(state, one.alloc)).collect()
    };
    if then.preempted != now.preempted {
        let (then, now) = (preempted(then).join(", "), preempted(now).join(", "));
        lines.push(format!("preempts: {then} → {now}"));
    }
    if then.stops != now.stops || then.in_place != now.in_place {
        let said = |plan: &Plan| {
            let stops = plan.stops.iter().map(|stop| words::alloc(state, stop.alloc));
            let in_place =
                plan.in_place.iter().map(|&id| format!("{} stays", words::alloc(state, id)));
            stops.chain(in_place).collect::<Vec<_>>().join(", ")
        };
        lines.push(format!("stops: {} → {}", said(then), said(now)));
    }
    if !lines.is_empty() {
        return (Kind::Plan, lines);
    }
    if done(then) != done(now) {
        lines.push(format!("then: {}", words::of_plan(state, then)));
        lines.push(format!("now: {}", words::of_plan(state, now)));
    } else if then != now {
        lines.push("the same allocs go to the same nodes, for other scores or counts".to_owned());
        return (Kind::Note, lines);
    }
    (Kind::Plan, lines)
}

/// Whether more follows, how many found no room, what is done later.
fn done(plan: &Plan) -> Option<(&BTreeMap<String, u32>, usize)> {
    match &plan.verdict {
        Verdict::More => None,
        Verdict::Done { queued, later, .. } => Some((queued, later.len())),
    }
}

fn by_place(plan: &Plan) -> BTreeMap<(u16, u32), &Placement> {
    plan.placements.iter().map(|placed| ((placed.group, placed.ordinal), placed)).collect()
}
