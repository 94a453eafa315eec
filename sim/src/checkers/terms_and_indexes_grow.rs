//! ∀ server, times t ≤ u of one start: term, commit index and applied index at t ≤ those at u; the term
//! on disk also across starts — Raft figure 2.
//!
//! Invariants
//! - across starts only the durable term must grow: the rest is learned again.
use std::collections::BTreeMap;

use drover_core::types::{Incarnation, Index, ServerId, Term};

use super::Verdict;

/// What must not go back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    pub incarnation: Incarnation,
    pub term: Term,
    /// The term on its disk.
    pub durable_term: Term,
    pub commit: Index,
    pub applied: Index,
}

/// The last known standing of each server.
#[derive(Debug, Default)]
pub struct TermsAndIndexesGrow {
    standings: BTreeMap<ServerId, Standing>,
}

impl TermsAndIndexesGrow {
    /// This is where `server` stands now.
    pub fn on_standing(&mut self, server: ServerId, now: Standing) -> Verdict {
        let before = self.standings.insert(server, now).unwrap_or_default();
        let same_start = before.incarnation == now.incarnation;
        let goes_back = now.term < before.durable_term
            || now.durable_term < before.durable_term
            || now.incarnation < before.incarnation
            || (same_start
                && (now.term < before.term
                    || now.commit < before.commit
                    || now.applied < before.applied));
        if goes_back {
            return Err(format!("s{} went back from {before:?} to {now:?}", server.0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_something_goes_back() {
        let standing = Standing {
            incarnation: Incarnation(1),
            term: Term(4),
            durable_term: Term(3),
            commit: Index(9),
            applied: Index(9),
        };
        let restarted = Standing {
            incarnation: Incarnation(2),
            commit: Index(1),
            applied: Index(0),
            ..standing
        };
        let server = ServerId(1);
        let after = |second: Standing| {
            let mut checker = TermsAndIndexesGrow::default();
            checker.on_standing(server, standing).and_then(|()| checker.on_standing(server, second))
        };
        assert_eq!(after(restarted), Ok(()));
        assert_eq!(after(Standing { term: Term(3), ..restarted }), Ok(()), "it was not on disk");
        assert!(after(Standing { term: Term(2), ..restarted }).is_err());
        assert!(after(Standing { term: Term(3), ..standing }).is_err());
        assert!(after(Standing { commit: Index(8), ..standing }).is_err());
        assert!(after(Standing { applied: Index(8), ..standing }).is_err());
    }
}
