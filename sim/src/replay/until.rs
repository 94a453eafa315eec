//! How far a recorded log is stepped: to an input, an index of the replicated log, or a moment.
//!
//! Invariants
//! - stepping begins as near to the end as is possible: at the start of the segment that holds it.
use drover_core::agent::Guard;
use drover_core::time::WallTime;
use drover_core::types::Index;

use super::source::Source;
use super::tape::{Fault, Tape, Turn};

/// The last input that is stepped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Until {
    /// The last one that is recorded.
    #[default]
    End,
    /// This one, counted from one over all segments.
    Input(u64),
    /// The one with which the entry at this index is applied.
    Index(Index),
    /// The last one before the wall clock is past this moment.
    Time(WallTime),
}

/// Between which moments a log was recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moments {
    pub first: WallTime,
    pub last: WallTime,
}

impl Moments {
    /// Those of the first and the last input.
    #[must_use]
    pub fn of(source: &dyn Source) -> Option<Self> {
        let mut spans = (0..source.count()).filter_map(|segment| source.span(segment));
        let (first, mut last) = spans.next()?;
        for (_, later) in spans {
            last = later;
        }
        Some(Self { first, last })
    }
}

impl Until {
    /// Whether this lies behind the last input, as far as that can be known without stepping.
    #[must_use]
    pub fn is_behind(self, source: &dyn Source) -> bool {
        match self {
            Self::End | Self::Index(_) => false,
            Self::Input(number) => source.inputs_before(source.count()) < number,
            Self::Time(at) => Moments::of(source).is_some_and(|moments| moments.last < at),
        }
    }

    /// Where stepping begins.
    #[must_use]
    pub fn segment(self, source: &dyn Source) -> usize {
        let last = source.count().saturating_sub(1);
        match self {
            Self::Index(_) => 0,
            Self::End => last,
            Self::Input(number) => (0..=last)
                .rev()
                .find(|&segment| source.inputs_before(segment) < number)
                .unwrap_or(0),
            Self::Time(at) => (0..=last)
                .rev()
                .find(|&segment| source.span(segment).is_some_and(|(first, _)| first <= at))
                .unwrap_or(0),
        }
    }

    /// The agent as it was then.
    ///
    /// # Errors
    /// When the log does not lead there.
    pub fn reach(self, source: &dyn Source, guard: Guard) -> Result<Tape<'_>, Fault> {
        let mut tape = Tape::begin(source, guard, self.segment(source))?;
        while !self.is_reached(&mut tape, source)? {
            if matches!(tape.turn()?, Turn::Over) {
                break;
            }
        }
        Ok(tape)
    }

    /// Whether the next turn of `tape` would go too far.
    ///
    /// # Errors
    /// When the log cannot be read any further.
    pub fn is_reached(self, tape: &mut Tape<'_>, source: &dyn Source) -> Result<bool, Fault> {
        Ok(match self {
            Self::End => false,
            Self::Input(number) => number <= tape.inputs(),
            Self::Index(index) => {
                let state = tape.agent().state();
                state.is_some_and(|state| index <= state.index())
            }
            Self::Time(at) => match tape.wall_ahead()? {
                Some(next) => at < next,
                None => {
                    let (segment, _) = tape.place();
                    let begins = source.span(segment + 1).map(|(first, _)| first);
                    begins.is_some_and(|begins| at < begins)
                }
            },
        })
    }
}
