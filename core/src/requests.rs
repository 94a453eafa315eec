//! The origin's side of requests: from a caller to whoever leads, and the answer back.
//!
//! Each request gets a sequence number that stays with it when it is asked again of another leader;
//! the state machine applies each (origin, incarnation, sequence) once. So a request may be repeated
//! as often as leaders change, and a caller whose time ran out hears `Unknown`, never a false failure.
//!
//! Invariants
//! - every request is answered exactly once or was abandoned by its caller;
//! - at most `REQUESTS_PENDING_MAX` wait at once;
//! - `due_at` is not later than the first deadline of those that wait.
use alloc::collections::BTreeMap;
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
}

/// What the rest of the core must do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Ask the leader, who may be this server itself.
    Ask {
        leader: ServerId,
        seq: u64,
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
    /// Nothing is due before; a request that was answered meanwhile may have been the reason. So the
    /// many that wait are walked when time has passed, and not at every step.
    due_at: Option<MonoTime>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Pending {
    caller: Caller,
    request: Request,
    /// Whether a leader may have heard of it: then running out of time means `Unknown`.
    asked: bool,
    repeat_at: MonoTime,
    gives_up_at: MonoTime,
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
            asked: false,
            repeat_at: now,
            gives_up_at: now.plus_ms(REQUEST_PATIENCE_MS),
        };
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
        // Whoever does not lead has done nothing: the request waits for one who does.
        if matches!(answer, Err(Rejection::NotLeader { .. })) {
            pending.repeat_at = now.plus_ms(REQUEST_REFUSED_MS);
            let at = pending.repeat_at;
            return self.note_due(at);
        }
        if let Some(Pending { caller, .. }) = self.pending.remove(&seq) {
            out.emit(Output::Answer { caller, answer });
        }
        if self.pending.is_empty() {
            self.due_at = None;
        }
    }

    /// The caller went away: nobody waits for the answer.
    pub fn on_abandoned(&mut self, id: RequestId) {
        self.pending.retain(|_, pending| pending.caller != Caller::Outside(id));
    }

    /// Time passed: some are asked again, some have waited too long.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if self.due_at.is_none_or(|at| now < at) {
            return;
        }
        let late = |pending: &Pending| pending.gives_up_at <= now;
        let overdue: Vec<u64> =
            self.pending.iter().filter(|(_, p)| late(p)).map(|(&seq, _)| seq).collect();
        for seq in overdue {
            let Some(pending) = self.pending.remove(&seq) else { continue };
            let answer = Err(if pending.asked {
                Rejection::Unknown
            } else {
                Rejection::NotLeader { leader: None }
            });
            out.emit(Output::Answer { caller: pending.caller, answer });
        }
        let due: Vec<u64> =
            self.pending.iter().filter(|(_, p)| p.repeat_at <= now).map(|(&seq, _)| seq).collect();
        for seq in due {
            self.ask(now, seq, out);
        }
        self.due_at = self.first_deadline();
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<MonoTime> {
        self.due_at
    }

    /// Panics if the machine contradicts itself.
    pub fn check_invariants(&self) {
        let first = self.first_deadline();
        let is_known = first.is_none_or(|first| self.due_at.is_some_and(|at| at <= first));
        assert!(is_known, "whoever waits is looked after in time");
    }

    fn first_deadline(&self) -> Option<MonoTime> {
        self.pending.values().map(|p| p.repeat_at.min(p.gives_up_at)).min()
    }

    fn note_due(&mut self, at: MonoTime) {
        self.due_at = Some(self.due_at.map_or(at, |known| known.min(at)));
    }

    /// Requests that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn ask(&mut self, now: MonoTime, seq: u64, out: &mut impl Emit<Output>) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        pending.repeat_at = now.plus_ms(REQUEST_REPEAT_MS);
        let at = pending.repeat_at.min(pending.gives_up_at);
        if let Some(leader) = self.leader {
            pending.asked = true;
            out.emit(Output::Ask { leader, seq, request: pending.request.clone() });
        }
        self.note_due(at);
    }
}
