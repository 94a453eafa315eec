//! The first input after which a property does not hold.
//!
//! The property is judged now and then while the log is stepped; once it fails, the inputs since the
//! last time it held are stepped again, and it is judged after each. One that fails and holds again in
//! between is found only if it is judged after every input.
//!
//! Invariants
//! - the input that is named is the first of its stretch after which the property fails: it held before.
use std::collections::VecDeque;

use drover_core::agent::{Agent, Guard};

use super::checks::{Check, Rule, judged};
use super::ladder::{self, Detail, Rung};
use super::source::Source;
use super::tape::{Fault, Tape, Turn};
use crate::checkers::Verdict;

/// Inputs between two looks, unless asked otherwise: a look goes through all tables.
pub const INPUTS_PER_LOOK: u64 = 256;
/// Rungs of the ladder that are shown before the input, and behind it.
const RUNGS_BEFORE: usize = 12;
const RUNGS_AFTER: usize = 4;
/// Inputs behind it that are looked through for something to show.
const INPUTS_AFTER: usize = 64;

/// What came of a search.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It held, so many times.
    Holds { inputs: u64, looks: u64 },
    /// After this input it does not.
    Fails(Box<Failing>),
    /// It does not hold before the first input.
    FailsFromStart { message: String },
}

/// An input after which a property does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failing {
    pub input: u64,
    pub segment: String,
    pub wall_ms: u64,
    pub message: String,
    /// What happened around it.
    pub rungs: Vec<Rung>,
}

/// A place to go back to.
struct Held {
    segment: usize,
    inputs: u64,
    frozen: Vec<u8>,
}

impl Held {
    fn of(tape: &Tape<'_>) -> Self {
        let (segment, inputs) = tape.place();
        Self { segment, inputs, frozen: tape.agent().freeze() }
    }

    fn tape<'s>(&self, source: &'s dyn Source, guard: Guard) -> Result<Tape<'s>, Fault> {
        let agent = Agent::thaw(&self.frozen)
            .map_err(|why| Fault::Foreign { segment: source.name(self.segment), why })?;
        Tape::resume(source, guard, self.segment, self.inputs, agent)
    }
}

/// Where `check` begins to fail; it is looked at every `inputs_per_look` inputs.
///
/// # Errors
/// When the log cannot be stepped to where it would be known.
pub fn bisect(
    source: &dyn Source,
    guard: Guard,
    check: Check<'_>,
    inputs_per_look: u64,
) -> Result<Outcome, Fault> {
    match check.rule {
        Rule::Always(look) => {
            let coarse = Search { source, guard, inputs_per_look };
            coarse.first_failing(&mut |agent| judged(|| look(agent)))
        }
        Rule::Along(mut look) => {
            let fine = Search { source, guard, inputs_per_look: 1 };
            fine.first_failing(&mut |agent| judged(|| look(agent)))
        }
        Rule::AtEnd(look) => {
            let fine = Search { source, guard, inputs_per_look: 1 };
            fine.failing_to_the_end(&|agent| judged(|| look(agent)))
        }
    }
}

struct Search<'s> {
    source: &'s dyn Source,
    guard: Guard,
    inputs_per_look: u64,
}

impl Search<'_> {
    fn first_failing(&self, look: &mut dyn FnMut(&Agent) -> Verdict) -> Result<Outcome, Fault> {
        let mut tape = Tape::begin(self.source, self.guard, 0)?;
        if let Err(message) = look(tape.agent()) {
            return Ok(Outcome::FailsFromStart { message });
        }
        let (mut held, mut looks, mut since) = (Held::of(&tape), 1, 0);
        loop {
            let is_due = match tape.turn() {
                Ok(Turn::Stepped(_)) => {
                    since += 1;
                    self.inputs_per_look <= since
                }
                Ok(Turn::Digest { .. }) => false,
                Ok(Turn::Begun(_) | Turn::Over) => true,
                Err(Fault::Panicked { input, words }) => {
                    return self.panicked(&held, input, words).map(fails);
                }
                Err(fault) => return Err(fault),
            };
            let is_over = self.source.inputs_before(self.source.count()) <= tape.inputs();
            if !is_due && !is_over {
                continue;
            }
            looks += 1;
            match look(tape.agent()) {
                Ok(()) if is_over => return Ok(Outcome::Holds { inputs: tape.inputs(), looks }),
                Ok(()) => (held, since) = (Held::of(&tape), 0),
                Err(message) => {
                    let last = tape.inputs();
                    return self.narrow(&held, last, message, look).map(fails);
                }
            }
        }
    }

    /// The first input behind `held` after which it fails: `last` at the latest.
    fn narrow(
        &self,
        held: &Held,
        last: u64,
        message: String,
        look: &mut dyn FnMut(&Agent) -> Verdict,
    ) -> Result<Failing, Fault> {
        if self.inputs_per_look == 1 {
            return self.around(held, last, message);
        }
        let mut tape = held.tape(self.source, self.guard)?;
        while tape.inputs() < last {
            if let Turn::Stepped(stepped) = tape.turn()?
                && let Err(message) = look(tape.agent())
            {
                return self.around(held, stepped.number, message);
            }
        }
        self.around(held, last, message)
    }

    /// It may fail now and then, but must hold at the end.
    fn failing_to_the_end(&self, look: &dyn Fn(&Agent) -> Verdict) -> Result<Outcome, Fault> {
        let mut tape = Tape::begin(self.source, self.guard, 0)?;
        let mut looks = 0;
        // Where it held last, and the first input since.
        let mut held = Held::of(&tape);
        let mut first: Option<u64> = None;
        let mut verdict = Ok(());
        loop {
            match tape.turn()? {
                Turn::Stepped(stepped) => {
                    looks += 1;
                    verdict = look(tape.agent());
                    if verdict.is_err() {
                        first = first.or(Some(stepped.number));
                    } else if first.take().is_some() || looks % INPUTS_PER_LOOK == 0 {
                        held = Held::of(&tape);
                    }
                }
                Turn::Over => break,
                Turn::Digest { .. } | Turn::Begun(_) => (),
            }
        }
        match (verdict, first) {
            (Err(message), Some(input)) => self.around(&held, input, message).map(fails),
            (Ok(()) | Err(_), _) => Ok(Outcome::Holds { inputs: tape.inputs(), looks }),
        }
    }

    fn panicked(&self, held: &Held, input: u64, words: String) -> Result<Failing, Fault> {
        self.around(held, input, format!("the agent panics: {words}"))
    }

    /// The ladder around an input, which lies behind `held`.
    fn around(&self, held: &Held, input: u64, message: String) -> Result<Failing, Fault> {
        let mut tape = held.tape(self.source, self.guard)?;
        let mut rungs: VecDeque<Rung> = VecDeque::new();
        let (mut wall_ms, mut behind, mut seen) = (0, 0, 0);
        let mut segment = self.source.name(held.segment);
        while behind < RUNGS_AFTER && seen < INPUTS_AFTER {
            // What cannot be stepped cannot be shown.
            let Ok(turn) = tape.turn() else { break };
            let stepped = match turn {
                Turn::Stepped(stepped) => stepped,
                Turn::Over => break,
                Turn::Digest { .. } | Turn::Begun(_) => continue,
            };
            let detail = if stepped.number == input { Detail::Everything } else { Detail::Told };
            if stepped.number == input {
                wall_ms = stepped.input.wall.unix_ms;
                segment = self.source.name(tape.place().0);
            }
            seen += usize::from(input < stepped.number);
            let rung = ladder::rung(&stepped, &tape.effects().list, tape.agent(), detail);
            behind += usize::from(rung.is_some() && input < stepped.number);
            rungs.extend(rung);
            let before = rungs.iter().filter(|rung| rung.number < input).count();
            if RUNGS_BEFORE < before {
                rungs.pop_front();
            }
        }
        Ok(Failing { input, segment, wall_ms, message, rungs: rungs.into() })
    }
}

fn fails(failing: Failing) -> Outcome {
    Outcome::Fails(Box::new(failing))
}
