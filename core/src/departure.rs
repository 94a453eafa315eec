//! A server that goes with grace: told to others first, out of Raft's configuration, then gone.
//!
//! ```text
//!   Staying ── told to go ──▶ Asking ── out of the configuration, or it cannot be ──▶ Parting ──▶ Gone
//! ```
//!
//! While it asks, it counts as before: it votes, answers, and leads until another does. Whatever stands
//! in the way (nobody leads, it is the last who votes), it goes when its time is up, and says what was
//! not done: those who stay see it as one who left, and put it out of the configuration when they can.
//!
//! Invariants
//! - it goes once, and no later than `LEAVE_MS_MAX` and `LEAVE_GOODBYE_MS` after it was told to;
//! - it says goodbye only after it was answered, or has given up.
//!
//! It does not know Raft, nor gossip: it says what is to be asked and told.
use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::{Rejection, Response};
use crate::emit::Emit;
use crate::limits::{LEAVE_GOODBYE_MS, LEAVE_MS_MAX, REQUEST_REPEAT_MS};
use crate::time::MonoTime;

/// What the rest must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Say to everybody that this server is about to go.
    Announce,
    /// Ask whoever leads to take this server out of the configuration.
    Ask,
    /// Say to everybody that it has gone.
    SayGoodbye,
    /// The agent may stop. `unfinished`: what was not done, and why.
    Gone { unfinished: Option<String> },
}

/// How far a server is on its way out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Departure {
    stage: Stage,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Stage {
    #[default]
    Staying,
    Asking {
        /// None while an answer is awaited.
        again_at: Option<MonoTime>,
        gives_up_at: MonoTime,
    },
    Parting {
        until: MonoTime,
        unfinished: Option<String>,
    },
    Gone,
}

impl Departure {
    /// This server is told to go.
    pub fn on_leave(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if self.stage == Stage::Staying {
            let patience_ms = if planted!(LeaverWaits) { u64::MAX } else { LEAVE_MS_MAX };
            self.stage = Stage::Asking { again_at: None, gives_up_at: now.plus_ms(patience_ms) };
            out.emit(Output::Announce);
            if planted!(LeavesUnasked) {
                return self.part(now, None, out);
            }
            out.emit(Output::Ask);
        }
    }

    /// What became of `Ask`.
    pub fn on_answer(
        &mut self,
        now: MonoTime,
        answer: Result<Response, Rejection>,
        out: &mut impl Emit<Output>,
    ) {
        let Stage::Asking { again_at, .. } = &mut self.stage else { return };
        match answer {
            Ok(_) => self.part(now, None, out),
            Err(Rejection::Invalid { why, .. }) => self.part(now, Some(why), out),
            Err(
                Rejection::NotLeader { .. }
                | Rejection::NotFound { .. }
                | Rejection::Conflict { .. }
                | Rejection::Overloaded { .. }
                | Rejection::Unknown,
            ) => *again_at = Some(now.plus_ms(REQUEST_REPEAT_MS)),
        }
    }

    /// Everybody who is there has been told goodbye.
    pub fn on_told(&mut self, out: &mut impl Emit<Output>) {
        if let Stage::Parting { unfinished, .. } = &mut self.stage {
            let unfinished = unfinished.take();
            self.stage = Stage::Gone;
            out.emit(Output::Gone { unfinished });
        }
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        match &mut self.stage {
            Stage::Asking { gives_up_at, .. } if *gives_up_at <= now => {
                let seconds = LEAVE_MS_MAX / 1_000;
                let why = format!("no leader has taken it out within {seconds} s");
                self.part(now, Some(why), out);
            }
            Stage::Asking { again_at, .. } if again_at.is_some_and(|at| at <= now) => {
                *again_at = None;
                out.emit(Output::Ask);
            }
            Stage::Parting { until, .. } if *until <= now => self.on_told(out),
            Stage::Staying | Stage::Asking { .. } | Stage::Parting { .. } | Stage::Gone => (),
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        match &self.stage {
            Stage::Asking { again_at, gives_up_at } => {
                Some(again_at.map_or(*gives_up_at, |at| at.min(*gives_up_at)))
            }
            Stage::Parting { until, .. } => Some(*until),
            Stage::Staying | Stage::Gone => None,
        }
    }

    /// Whether goodbye is being said.
    #[must_use]
    pub const fn is_parting(&self) -> bool {
        matches!(self.stage, Stage::Parting { .. })
    }

    fn part(&mut self, now: MonoTime, unfinished: Option<String>, out: &mut impl Emit<Output>) {
        self.stage = Stage::Parting { until: now.plus_ms(LEAVE_GOODBYE_MS), unfinished };
        out.emit(Output::SayGoodbye);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::types::Index;

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().plus_ms(ms)
    }

    /// A server that was told to go at zero.
    fn leaving() -> Departure {
        let (mut departure, mut said) = (Departure::default(), Vec::new());
        departure.on_leave(at(0), &mut said);
        assert_eq!(said, [Output::Announce, Output::Ask]);
        departure.on_leave(at(1), &mut said);
        assert_eq!(said.len(), 2, "who is told twice goes once");
        departure
    }

    fn heard(
        departure: &mut Departure,
        ms: u64,
        answer: Result<Response, Rejection>,
    ) -> Vec<Output> {
        let mut said = Vec::new();
        departure.on_answer(at(ms), answer, &mut said);
        said
    }

    fn passed(departure: &mut Departure, ms: u64) -> Vec<Output> {
        let mut said = Vec::new();
        departure.on_time(at(ms), &mut said);
        said
    }

    #[test]
    fn who_is_out_says_goodbye_and_goes_when_all_have_heard_it() {
        let mut departure = leaving();
        let out = Ok(Response::Applied { index: Index(7), eval: None, job: None });
        assert_eq!(heard(&mut departure, 30, out), [Output::SayGoodbye]);
        assert!(departure.is_parting());
        let mut said = Vec::new();
        departure.on_told(&mut said);
        assert_eq!(said, [Output::Gone { unfinished: None }]);
        assert_eq!((departure.next_deadline(), passed(&mut departure, 60_000)), (None, vec![]));
    }

    #[test]
    fn goodbye_is_not_said_for_longer_than_it_takes() {
        let mut departure = leaving();
        let only = Rejection::Invalid { field: "peer".into(), why: "the only voter".into() };
        assert_eq!(heard(&mut departure, 30, Err(only)), [Output::SayGoodbye]);
        assert_eq!(departure.next_deadline(), Some(at(30 + LEAVE_GOODBYE_MS)));
        let unfinished = Some("the only voter".into());
        assert_eq!(passed(&mut departure, 30 + LEAVE_GOODBYE_MS), [Output::Gone { unfinished }]);
    }

    #[test]
    fn who_is_not_answered_asks_again_and_gives_up_in_time() {
        let mut departure = leaving();
        assert_eq!(heard(&mut departure, 40, Err(Rejection::NotLeader { leader: None })), []);
        assert_eq!(passed(&mut departure, 40 + REQUEST_REPEAT_MS), [Output::Ask]);
        assert_eq!(departure.next_deadline(), Some(at(LEAVE_MS_MAX)));
        assert_eq!(passed(&mut departure, LEAVE_MS_MAX), [Output::SayGoodbye]);
        let said = passed(&mut departure, LEAVE_MS_MAX + LEAVE_GOODBYE_MS);
        let [Output::Gone { unfinished: Some(why) }] = said.as_slice() else { panic!("{said:?}") };
        assert!(why.contains("no leader"), "{why}");
    }
}
