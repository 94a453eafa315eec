//! Which forwarded writes have been applied already, and how they were answered.
//!
//! A server that hands a write to the leader and hears nothing sends it again with the same origin,
//! incarnation and number. What each number came to is remembered, for the newest incarnation of each
//! origin and as far back as a window reaches.
//!
//! Invariants
//! - a number of an origin's incarnation is remembered at most once, and never after it was forgotten;
//! - at most `SESSION_WINDOW` answers per origin and `SESSIONS_MAX` origins are kept.
//!
//! What an answer means is not known here: it is bytes that `fsm` wrote and reads.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::State;
use super::txn::Txn;
use crate::limits::SERVERS_MAX;
use crate::types::{Incarnation, Index, ServerId, Session};

/// Answers kept per origin: more than an origin has unanswered at once and will ask for again.
pub const SESSION_WINDOW: usize = 1_024;
/// Origins kept. Servers are few, but each replaced one leaves its session behind.
pub const SESSIONS_MAX: usize = 64;

const _: () = assert!(2 * SERVERS_MAX <= SESSIONS_MAX, "replaced servers do not evict living ones");

/// An origin's row.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SessionHead {
    incarnation: Incarnation,
    /// Every number up to here is forgotten; `None`: nothing is yet.
    floor: Option<u64>,
    /// Answers that are kept.
    kept: u32,
    last_used: Index,
}

/// How one write was answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Remembered {
    pub(crate) index: Index,
    pub(crate) answer: Vec<u8>,
}

/// Whether a write is to be applied.
pub(crate) enum Standing<'a> {
    New,
    Applied(&'a Remembered),
    Forgotten,
}

impl State {
    /// What is known of the write that `session` names.
    pub(crate) fn standing(&self, session: Session) -> Standing<'_> {
        let Session { origin, incarnation, seq } = session;
        let Some(head) = self.sessions.row(origin) else {
            return Standing::New;
        };
        if incarnation < head.incarnation {
            return Standing::Forgotten;
        }
        if head.incarnation < incarnation {
            return Standing::New;
        }
        if let Some(remembered) = self.remembered.row((origin, seq))
            && !planted!(RepeatedAppliedTwice)
        {
            return Standing::Applied(remembered);
        }
        match head.floor {
            Some(floor) if seq <= floor => Standing::Forgotten,
            Some(_) | None => Standing::New,
        }
    }

    /// Whether the write that `session` names was applied, or was so long ago that nobody knows.
    pub(crate) fn has_answered(&self, session: Session) -> bool {
        !matches!(self.standing(session), Standing::New)
    }

    /// The numbers of an origin's remembered writes, smallest first.
    fn remembered_of(&self, origin: ServerId) -> impl Iterator<Item = u64> {
        self.remembered.range((origin, 0)..=(origin, u64::MAX)).map(|((_, seq), _)| seq)
    }

    pub(super) fn check_sessions(&self) {
        assert!(self.sessions.len() <= SESSIONS_MAX, "sessions are bounded");
        let mut kept_sum = 0;
        for (origin, head) in self.sessions.iter() {
            let kept = self.remembered_of(origin).count();
            assert!(kept == head.kept as usize, "a session counts its answers");
            assert!(kept <= SESSION_WINDOW, "a session's answers are bounded");
            let oldest = self.remembered_of(origin).next();
            assert!(head.floor < oldest || head.floor.is_none(), "what is forgotten stays so");
            kept_sum += kept;
        }
        assert!(kept_sum == self.remembered.len(), "an answer belongs to a session");
    }
}

impl Txn<'_> {
    /// Keep how a new write was answered.
    pub(crate) fn remember(&mut self, session: Session, answer: Vec<u8>) {
        let Session { origin, incarnation, seq } = session;
        let index = self.state().index();
        let fresh = SessionHead { incarnation, floor: None, kept: 0, last_used: index };
        let mut head = match self.state().sessions.row(origin) {
            Some(&head) if head.incarnation == incarnation => head,
            Some(_) => {
                self.forget_answers(origin);
                fresh
            }
            None => {
                self.make_room_for_session();
                fresh
            }
        };
        let again = self.put_remembered(origin, seq, Remembered { index, answer });
        assert!(again.is_none(), "a number is remembered at most once");
        head.kept += 1;
        head.last_used = index;
        if SESSION_WINDOW < head.kept as usize {
            let oldest = self.state().remembered_of(origin).next();
            let oldest = oldest.expect("invariant: a session counts its answers");
            self.remove_remembered(origin, oldest);
            head.kept -= 1;
            head.floor = Some(oldest);
        }
        self.put_session(origin, head);
    }

    /// Drop the session that was used longest ago if there are as many as may be.
    fn make_room_for_session(&mut self) {
        if self.state().sessions.len() < SESSIONS_MAX {
            return;
        }
        let sessions = self.state().sessions.iter();
        let oldest = sessions.min_by_key(|(origin, head)| (head.last_used, *origin));
        let (origin, _) = oldest.expect("invariant: there are as many sessions as may be");
        self.forget_answers(origin);
        self.remove_session(origin);
    }

    fn forget_answers(&mut self, origin: ServerId) {
        let kept: Vec<u64> = self.state().remembered_of(origin).collect();
        for seq in kept {
            self.remove_remembered(origin, seq);
        }
    }
}
