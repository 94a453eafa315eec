//! A recorded log under the needle: each call takes one record to its end.
//!
//! A step that panics, as the recorded one may have, ends the tape with the input that did it.
//!
//! Invariants
//! - inputs are numbered from one, over all segments of the source;
//! - what was recorded of an input's step comes with it: records are read ahead for that.
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use drover_core::agent::recording::{Record, Start};
use drover_core::agent::sum::Sum;
use drover_core::agent::{Agent, Effects, Guard, Input};
use drover_core::digest::Digest;
use drover_core::time::WallTime;
use drover_core::types::Plan;

use super::source::{Records, Source};

/// Inputs that are read ahead for their sums at most: the recorder writes them more often.
const AHEAD_MAX: usize = 1_024;

/// See the module.
pub struct Tape<'s> {
    source: &'s dyn Source,
    guard: Guard,
    path: Path,
    segment: usize,
    records: Records,
    ahead: VecDeque<Ahead>,
    /// Inputs of the segment that were read, and those of them whose sums were.
    inputs_read: u64,
    summed: u64,
    agent: Agent,
    inputs: u64,
    inputs_of_segment: u64,
    wall: Option<WallTime>,
    effects: Effects,
    /// Why nothing more can be read of the segment.
    unreadable: Option<String>,
    is_over: bool,
}

/// Which plans go into the replayed log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    /// Those that this version makes.
    Own,
    /// Those that were recorded.
    Recorded,
}

/// What stands on the tape.
enum Ahead {
    Input { input: Box<Input>, planned: Option<Box<Plan>>, sum: Option<Sum> },
    Digest(Digest),
}

/// What a call came to.
#[derive(Debug)]
pub enum Turn {
    Stepped(Stepped),
    Digest {
        recorded: Digest,
        replayed: Digest,
    },
    /// The next segment begins, and the agent is the one that it begins with.
    Begun(Joint),
    /// All segments have been stepped.
    Over,
}

/// An input that was stepped.
#[derive(Debug)]
pub struct Stepped {
    pub number: u64,
    pub input: Box<Input>,
    /// What was planned in its step when it was recorded.
    pub planned: Option<Box<Plan>>,
    /// What came of it then, if that was recorded.
    pub sum: Option<Sum>,
}

/// How a segment joins the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Joint {
    /// The agent was started.
    Start,
    /// It begins with the agent that the one before ended with.
    Same,
    /// It does not, though it says that it follows on.
    Differs { recorded: Digest, replayed: Digest },
    /// So many inputs between them were not recorded.
    Hole { inputs_missing: u64 },
    /// Its agent cannot be thawed here: the one that was stepped goes on.
    CarriedOn,
    /// There is none before it here.
    Unknown,
}

/// Why a tape ends early.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    Unreadable {
        segment: String,
        inputs: u64,
        why: String,
    },
    /// Frozen by another version.
    Foreign {
        segment: String,
        why: String,
    },
    Panicked {
        input: u64,
        words: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { segment, inputs, why } => write!(
                f,
                "{segment} cannot be read any further than input {inputs}: {why}. What comes before can \
                 be replayed with --until input:{inputs}"
            ),
            Self::Foreign { segment, why } => write!(
                f,
                "{segment} starts with an agent of another version of Drover ({why}): replay it with the \
                 version that recorded it"
            ),
            Self::Panicked { input, words } => {
                write!(f, "the agent panics at input {input}: {words}")
            }
        }
    }
}

impl<'s> Tape<'s> {
    /// From the start of a segment. Scheduling runs inside `guard`, as it did when it was recorded.
    ///
    /// # Errors
    /// When that segment cannot be read, or starts with an agent of another version.
    pub fn begin(source: &'s dyn Source, guard: Guard, segment: usize) -> Result<Self, Fault> {
        let (_, agent, records) = open(source, guard, segment)?;
        Ok(Self {
            source,
            guard,
            path: Path::Own,
            segment,
            records,
            ahead: VecDeque::new(),
            inputs_read: 0,
            summed: 0,
            agent,
            inputs: source.inputs_before(segment),
            inputs_of_segment: 0,
            wall: None,
            effects: Effects::default(),
            unreadable: None,
            is_over: false,
        })
    }

    /// As `begin`, but goes on with `agent` after so many inputs of the segment.
    ///
    /// # Errors
    /// When the segment cannot be read that far.
    pub fn resume(
        source: &'s dyn Source,
        guard: Guard,
        segment: usize,
        inputs: u64,
        agent: Agent,
    ) -> Result<Self, Fault> {
        let mut tape = Self::begin(source, guard, segment)?;
        while tape.inputs_of_segment < inputs {
            if tape.front()?.is_none() {
                break;
            }
            if let Some(Ahead::Input { input, .. }) = tape.ahead.pop_front() {
                tape.inputs_of_segment += 1;
                tape.inputs += 1;
                tape.wall = Some(input.wall);
            }
        }
        tape.agent = agent;
        tape.agent.set_guard(guard);
        Ok(tape)
    }

    /// From now on recorded plans go into the log, whatever this version plans.
    pub const fn follow_recorded_plans(&mut self) {
        self.path = Path::Recorded;
    }

    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// What came of the last input.
    #[must_use]
    pub const fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Inputs so far, over all segments of the source.
    #[must_use]
    pub const fn inputs(&self) -> u64 {
        self.inputs
    }

    /// The segment, and how many of its inputs were stepped.
    #[must_use]
    pub const fn place(&self) -> (usize, u64) {
        (self.segment, self.inputs_of_segment)
    }

    /// What people call the segment.
    #[must_use]
    pub fn segment_name(&self) -> String {
        self.source.name(self.segment)
    }

    /// The wall clock at the last input.
    #[must_use]
    pub const fn wall(&self) -> Option<WallTime> {
        self.wall
    }

    /// The wall clock of the input that comes next, if it is in this segment.
    ///
    /// # Errors
    /// As `turn`.
    pub fn wall_ahead(&mut self) -> Result<Option<WallTime>, Fault> {
        self.front()?;
        loop {
            let wall = self.ahead.iter().find_map(|ahead| match ahead {
                Ahead::Input { input, .. } => Some(input.wall),
                Ahead::Digest(_) => None,
            });
            if wall.is_some() || !self.read() {
                return Ok(wall);
            }
        }
    }

    /// Take the next record to its end.
    ///
    /// # Errors
    /// When the log cannot be read any further, or the agent panics.
    pub fn turn(&mut self) -> Result<Turn, Fault> {
        if self.is_over {
            return Ok(Turn::Over);
        }
        if self.front()?.is_none() {
            return self.next_segment();
        }
        match self.ahead.pop_front() {
            Some(Ahead::Input { input, planned, sum }) => self.step(input, planned, sum),
            Some(Ahead::Digest(recorded)) => {
                Ok(Turn::Digest { recorded, replayed: self.agent.digest() })
            }
            None => Ok(Turn::Over),
        }
    }

    fn step(
        &mut self,
        input: Box<Input>,
        planned: Option<Box<Plan>>,
        sum: Option<Sum>,
    ) -> Result<Turn, Fault> {
        self.inputs += 1;
        self.inputs_of_segment += 1;
        self.wall = Some(input.wall);
        self.effects.list.clear();
        if self.path == Path::Recorded {
            self.agent.follow(planned.clone());
        }
        let (agent, effects) = (&mut self.agent, &mut self.effects);
        let told = (*input).clone();
        let number = self.inputs;
        catch_unwind(AssertUnwindSafe(|| agent.step(told, effects)))
            .map_err(|payload| Fault::Panicked { input: number, words: words_of(&*payload) })?;
        Ok(Turn::Stepped(Stepped { number, input, planned, sum }))
    }

    fn next_segment(&mut self) -> Result<Turn, Fault> {
        let next = self.segment + 1;
        if self.source.count() <= next {
            self.is_over = true;
            return Ok(Turn::Over);
        }
        let (start, agent, records) = match open(self.source, self.guard, next) {
            Err(Fault::Foreign { .. }) if self.path == Path::Recorded => {
                return self.carry_on(next);
            }
            opened => opened?,
        };
        let joint = match start {
            Begins::Boot => Joint::Start,
            Begins::Hole { inputs_missing } => Joint::Hole { inputs_missing },
            Begins::Frozen(frozen) if frozen == self.agent.freeze() => Joint::Same,
            Begins::Frozen(_) => {
                Joint::Differs { recorded: agent.digest(), replayed: self.agent.digest() }
            }
        };
        self.agent = agent;
        self.enter(next, records);
        Ok(Turn::Begun(joint))
    }

    /// Into a segment that follows on, but whose start is of another version.
    fn carry_on(&mut self, next: usize) -> Result<Turn, Fault> {
        let segment = self.source.name(next);
        let opened = self.source.open(next).map_err(|why| Fault::Unreadable {
            segment: segment.clone(),
            inputs: self.inputs,
            why,
        })?;
        let why = "and inputs before it are missing".to_owned();
        match opened.start {
            Start::Boot { .. } | Start::FrozenAfterHole { .. } => {
                Err(Fault::Foreign { segment, why })
            }
            Start::Frozen(_) => {
                self.enter(next, opened.records);
                Ok(Turn::Begun(Joint::CarriedOn))
            }
        }
    }

    fn enter(&mut self, segment: usize, records: Records) {
        self.segment = segment;
        self.inputs = self.source.inputs_before(segment);
        self.inputs_of_segment = 0;
        (self.inputs_read, self.summed) = (0, 0);
        self.records = records;
    }

    /// The next record, with all that belongs to it.
    fn front(&mut self) -> Result<Option<&Ahead>, Fault> {
        while !self.front_is_whole() && self.read() {}
        match (&self.unreadable, self.ahead.front()) {
            // What was read before it is stepped first.
            (Some(why), None) => {
                let (segment, why) = (self.source.name(self.segment), why.clone());
                Err(Fault::Unreadable { segment, inputs: self.inputs, why })
            }
            (_, front) => Ok(front),
        }
    }

    /// One more record of the segment. `false`: there is none.
    fn read(&mut self) -> bool {
        if self.unreadable.is_some() {
            return false;
        }
        match self.records.next() {
            None => return false,
            Some(Ok(record)) => self.take(record),
            Some(Err(why)) => self.unreadable = Some(why),
        }
        self.unreadable.is_none()
    }

    fn front_is_whole(&self) -> bool {
        match self.ahead.front() {
            None => false,
            Some(Ahead::Digest(_)) => true,
            Some(Ahead::Input { sum, .. }) => sum.is_some() || AHEAD_MAX <= self.ahead.len(),
        }
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Input(input) => {
                self.inputs_read += 1;
                self.ahead.push_back(Ahead::Input { input, planned: None, sum: None });
            }
            Record::Digest { digest, .. } => self.ahead.push_back(Ahead::Digest(digest)),
            Record::Planned(plan) => {
                if let Some(Ahead::Input { planned, .. }) = self.ahead.back_mut() {
                    *planned = Some(plan);
                }
            }
            Record::Sums(sums) => self.spread(sums),
        }
    }

    /// Sums are of the inputs read since the last sums, oldest first; some may have been stepped.
    fn spread(&mut self, sums: Vec<Sum>) {
        let waiting = self.ahead.iter().filter(|ahead| matches!(ahead, Ahead::Input { .. }));
        let stepped = self.inputs_read - waiting.count() as u64;
        let too_late = stepped.saturating_sub(self.summed);
        let skip = usize::try_from(self.summed.saturating_sub(stepped)).unwrap_or(usize::MAX);
        self.summed += sums.len() as u64;
        let late = usize::try_from(too_late).unwrap_or(usize::MAX);
        let inputs = self.ahead.iter_mut().filter_map(|ahead| match ahead {
            Ahead::Input { sum, .. } => Some(sum),
            Ahead::Digest(_) => None,
        });
        for (place, sum) in inputs.skip(skip).zip(sums.into_iter().skip(late)) {
            *place = Some(sum);
        }
    }
}

/// How a segment says that it begins.
enum Begins {
    Boot,
    Frozen(Vec<u8>),
    Hole { inputs_missing: u64 },
}

fn open(
    source: &dyn Source,
    guard: Guard,
    segment: usize,
) -> Result<(Begins, Agent, Records), Fault> {
    let name = source.name(segment);
    let opened = source.open(segment).map_err(|why| Fault::Unreadable {
        segment: name.clone(),
        inputs: source.inputs_before(segment),
        why,
    })?;
    let begins = match &opened.start {
        Start::Boot { .. } => Begins::Boot,
        Start::Frozen(frozen) => Begins::Frozen(frozen.clone()),
        Start::FrozenAfterHole { inputs_missing, .. } => {
            Begins::Hole { inputs_missing: *inputs_missing }
        }
    };
    let agent = opened.start.into_agent();
    let mut agent = agent.map_err(|why| Fault::Foreign { segment: name, why })?;
    agent.set_guard(guard);
    Ok((begins, agent, opened.records))
}

/// What a panic said.
pub(super) fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a word").to_owned()
}
