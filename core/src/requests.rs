//! The origin's side of requests: from a caller to whoever leads, and the answer back.
//!
//! Each request gets a sequence number that stays with it when it is asked again of another leader;
//! the state machine applies each (origin, incarnation, sequence) once. So a request may be repeated
//! as often as leaders change, and a caller whose time ran out hears `Unknown`, never a false failure.
//!
//! What a leader refuses before its log is only known not to have been done by that asking. What each
//! refusal is worth when the request was asked before, maybe of another leader, who may have done it:
//!
//! | refusal | said | then the caller |
//! |---|---|---|
//! | `NotLeader` | before the log | waits, and another is asked |
//! | `Overloaded` | before the log, of what is asked the first time | hears it if it was asked once; else waits, and it is asked again |
//! | `Invalid` of what was asked | before the log | hears it: it follows from the request alone, so that nobody took it |
//! | `Invalid` of an order | before the log | hears it: an order says what shall be so, and it is not so |
//! | `NotFound`, `Conflict`, `Invalid` of an entry | by the state machine | hears it: the same for every repetition |
//!
//! Invariants
//! - every request is answered exactly once or was abandoned by its caller;
//! - nobody hears that nothing was done while an asking without an answer may still have done it;
//! - at most `REQUESTS_PENDING_MAX` wait at once;
//! - `due_at` is not later than the first deadline of those that wait.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::api::{Rejection, Request, Response};
use crate::emit::Emit;
use crate::limits::{
    REQUEST_PATIENCE_MS, REQUEST_REFUSED_MS, REQUEST_REPEAT_MS, REQUESTS_PENDING_MAX,
};
use crate::time::MonoTime;
use crate::types::{NodeId, RequestId, ServerId};

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Caller {
    /// Someone outside, through the shell.
    Outside(RequestId),
    /// A client node that is connected here, and its own number for the report; zero: registration.
    Node { node: NodeId, report: u64 },
    /// This server.
    Itself,
}

/// What the rest of the core must do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Ask the leader, who may be this server itself.
    Ask {
        leader: ServerId,
        seq: u64,
        /// It was asked before, maybe of another.
        is_repeat: bool,
        request: Request,
    },
    Answer {
        caller: Caller,
        answer: Result<Response, Rejection>,
    },
}

/// Requests that wait for an answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Requests {
    next_seq: u64,
    leader: Option<ServerId>,
    pending: BTreeMap<u64, Pending>,
    /// When each of them is next looked after: the many that wait are not walked for the few that are due.
    due: BTreeSet<(MonoTime, u64)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Pending {
    caller: Caller,
    request: Request,
    asked: Asked,
    repeat_at: MonoTime,
    gives_up_at: MonoTime,
}

/// How often a leader may have heard of it. If ever, running out of time means `Unknown`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Asked {
    Never,
    /// An answer is the answer to that asking.
    Once,
    /// What one answers tells nothing of what the others have done.
    Repeatedly,
}

impl Requests {
    /// A caller wants something.
    pub fn on_requested(
        &mut self,
        now: MonoTime,
        caller: Caller,
        request: Request,
        out: &mut impl Emit<Output>,
    ) {
        if self.pending.len() >= REQUESTS_PENDING_MAX {
            let answer = Err(Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS });
            return out.emit(Output::Answer { caller, answer });
        }
        self.next_seq += 1;
        let pending = Pending {
            caller,
            request,
            asked: Asked::Never,
            repeat_at: now,
            gives_up_at: now.plus_ms(REQUEST_PATIENCE_MS),
        };
        self.due.insert((pending.due_at(), self.next_seq));
        self.pending.insert(self.next_seq, pending);
        self.ask(now, self.next_seq, out);
    }

    /// Another server leads now, or none does. Whatever waits is asked of the new one.
    pub fn on_leader(
        &mut self,
        now: MonoTime,
        leader: Option<ServerId>,
        out: &mut impl Emit<Output>,
    ) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        let waiting: Vec<u64> = self.pending.keys().copied().collect();
        for seq in waiting {
            self.ask(now, seq, out);
        }
    }

    /// A leader answered.
    pub fn on_answer(
        &mut self,
        now: MonoTime,
        seq: u64,
        answer: Result<Response, Rejection>,
        out: &mut impl Emit<Output>,
    ) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        // Whoever does not lead, or is overloaded, has done nothing; whoever was asked before may have.
        let wait_ms = match answer {
            Err(Rejection::NotLeader { .. }) => Some(REQUEST_REFUSED_MS),
            Err(Rejection::Overloaded { retry_ms })
                if pending.asked == Asked::Repeatedly && !planted!(OverloadBelieved) =>
            {
                Some(retry_ms.max(REQUEST_REFUSED_MS))
            }
            Err(
                Rejection::Overloaded { .. }
                | Rejection::Invalid { .. }
                | Rejection::NotFound { .. }
                | Rejection::Conflict { .. }
                | Rejection::Unknown,
            )
            | Ok(_) => None,
        };
        if let Some(wait_ms) = wait_ms {
            return self.repeat_at(seq, now.plus_ms(wait_ms));
        }
        if let Some(Pending { caller, .. }) = self.take(seq) {
            out.emit(Output::Answer { caller, answer });
        }
    }

    /// The caller went away: nobody waits for the answer.
    pub fn on_abandoned(&mut self, id: RequestId) {
        let is_his = |pending: &Pending| pending.caller == Caller::Outside(id);
        let his = self.pending.iter().filter(|(_, pending)| is_his(pending));
        for seq in his.map(|(&seq, _)| seq).collect::<Vec<u64>>() {
            self.take(seq);
        }
    }

    /// Time passed: some are asked again, some have waited too long.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        while let Some(&(at, seq)) = self.due.first()
            && at <= now
        {
            if now < self.pending[&seq].gives_up_at {
                self.ask(now, seq, out);
            } else if let Some(Pending { caller, asked, .. }) = self.take(seq) {
                let answer = Err(match asked {
                    Asked::Never => Rejection::NotLeader { leader: None },
                    Asked::Once | Asked::Repeatedly => Rejection::Unknown,
                });
                out.emit(Output::Answer { caller, answer });
            }
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Panics if the machine contradicts itself.
    pub fn check_invariants(&self) {
        let due = self.pending.iter().map(|(&seq, pending)| (pending.due_at(), seq));
        assert!(self.due == due.collect(), "whoever waits is looked after in time");
    }

    fn repeat_at(&mut self, seq: u64, at: MonoTime) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        self.due.remove(&(pending.due_at(), seq));
        pending.repeat_at = at;
        self.due.insert((pending.due_at(), seq));
    }

    fn take(&mut self, seq: u64) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.due.remove(&(pending.due_at(), seq));
        Some(pending)
    }

    /// Requests that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn ask(&mut self, now: MonoTime, seq: u64, out: &mut impl Emit<Output>) {
        self.repeat_at(seq, now.plus_ms(REQUEST_REPEAT_MS));
        let Some(leader) = self.leader else { return };
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        pending.asked = match pending.asked {
            Asked::Never => Asked::Once,
            Asked::Once | Asked::Repeatedly => Asked::Repeatedly,
        };
        let is_repeat = pending.asked == Asked::Repeatedly;
        out.emit(Output::Ask { leader, seq, is_repeat, request: pending.request.clone() });
    }
}

impl Pending {
    fn due_at(&self) -> MonoTime {
        self.repeat_at.min(self.gives_up_at)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::types::Index;

    const CALLER: Caller = Caller::Outside(RequestId(7));
    const OVERLOADED: Result<Response, Rejection> = Err(Rejection::Overloaded { retry_ms: 300 });

    /// The machine, and what it said since it was last looked at.
    struct Rig {
        requests: Requests,
        said: Vec<Output>,
    }

    impl Rig {
        /// A request that `leader` was asked for.
        fn asked_of(leader: u64) -> Self {
            let mut rig = Self { requests: Requests::default(), said: Vec::new() };
            rig.requests.on_leader(at(0), Some(ServerId(leader)), &mut rig.said);
            let request = Request::CollectGarbage;
            rig.requests.on_requested(at(0), CALLER, request, &mut rig.said);
            assert_eq!(rig.asked(), [ServerId(leader)]);
            rig
        }

        /// Who was asked since, by the request's first number.
        fn asked(&mut self) -> Vec<ServerId> {
            let ask = |output: Output| match output {
                Output::Ask { leader, seq: 1, .. } => leader,
                other @ (Output::Ask { .. } | Output::Answer { .. }) => panic!("{other:?}"),
            };
            core::mem::take(&mut self.said).into_iter().map(ask).collect()
        }

        fn answers(&mut self) -> Vec<Result<Response, Rejection>> {
            let answer = |output: Output| match output {
                Output::Answer { caller: CALLER, answer } => answer,
                other @ (Output::Ask { .. } | Output::Answer { .. }) => panic!("{other:?}"),
            };
            core::mem::take(&mut self.said).into_iter().map(answer).collect()
        }

        fn on_leader(&mut self, ms: u64, leader: u64) {
            self.requests.on_leader(at(ms), Some(ServerId(leader)), &mut self.said);
        }

        fn on_answer(&mut self, ms: u64, answer: Result<Response, Rejection>) {
            self.requests.on_answer(at(ms), 1, answer, &mut self.said);
            self.requests.check_invariants();
        }

        fn on_time(&mut self, ms: u64) {
            self.requests.on_time(at(ms), &mut self.said);
            self.requests.check_invariants();
        }
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().plus_ms(ms)
    }

    #[test]
    fn who_was_asked_once_and_is_overloaded_has_done_nothing() {
        let mut rig = Rig::asked_of(1);
        rig.on_answer(10, OVERLOADED);
        assert_eq!(rig.answers(), [OVERLOADED]);
        assert_eq!(rig.requests.waiting(), 0);
    }

    #[test]
    fn an_overloaded_leader_does_not_speak_for_the_one_before() {
        let mut rig = Rig::asked_of(1);
        rig.on_leader(10, 2);
        assert_eq!(rig.asked(), [ServerId(2)]);
        rig.on_answer(20, OVERLOADED);
        assert_eq!(rig.answers(), vec![], "the first may have done it");
        rig.on_time(320);
        assert_eq!(rig.asked(), [ServerId(2)], "it is asked again when it said it should be");
        let done = Ok(Response::Applied { index: Index(5), eval: None, job: None });
        rig.on_answer(330, done.clone());
        assert_eq!(rig.answers(), [done]);
    }

    #[test]
    fn who_was_asked_twice_and_is_overloaded_at_last_is_unknown() {
        let mut rig = Rig::asked_of(1);
        rig.on_time(REQUEST_REPEAT_MS);
        assert_eq!(rig.asked(), [ServerId(1)], "the first answer may have been lost");
        let mut now = REQUEST_REPEAT_MS;
        while now + 300 < REQUEST_PATIENCE_MS {
            rig.on_answer(now, OVERLOADED);
            now += 300;
            rig.on_time(now);
            assert_eq!(rig.asked(), [ServerId(1)]);
        }
        rig.on_time(REQUEST_PATIENCE_MS);
        assert_eq!(rig.answers(), [Err(Rejection::Unknown)]);
        assert_eq!(rig.requests.next_deadline(), None);
    }

    #[test]
    fn what_the_state_machine_refused_is_heard_however_often_it_was_asked() {
        let refused = Err(Rejection::Conflict { index: Index(9) });
        let mut rig = Rig::asked_of(1);
        rig.on_leader(10, 2);
        assert_eq!(rig.asked(), [ServerId(2)]);
        rig.on_answer(20, refused.clone());
        assert_eq!(rig.answers(), [refused]);
    }
}
