//! ∀ server s, term t: |{ candidate that s votes for in t }| ≤ 1, and the vote is on disk before it is
//! said — Raft §5.2, figure 2 ("updated on stable storage before responding").
//!
//! Invariants
//! - votes are compared across crashes: what was said before counts after.
use std::collections::BTreeMap;

use drover_core::raft::HardState;
use drover_core::types::{ServerId, Term};

use super::Verdict;

/// Every vote that was said.
#[derive(Debug, Default)]
pub struct VoteIsKept {
    votes: BTreeMap<(ServerId, Term), ServerId>,
}

impl VoteIsKept {
    /// `voter` tells `candidate` that it has its vote in `term`; its disk holds `durable`.
    pub fn on_granted(
        &mut self,
        voter: ServerId,
        term: Term,
        candidate: ServerId,
        durable: HardState,
    ) -> Verdict {
        let known = *self.votes.entry((voter, term)).or_insert(candidate);
        if known != candidate {
            return Err(format!(
                "s{} votes for {} and for {} in term {}",
                voter.0, known.0, candidate.0, term.0
            ));
        }
        let is_promise_safe = durable.term == term && durable.voted_for == Some(candidate);
        // A later term on disk means that the answer is late; its promise cannot be broken any more.
        if is_promise_safe || term < durable.term {
            return Ok(());
        }
        Err(format!(
            "s{} says its vote for {} in term {} while its disk holds {durable:?}",
            voter.0, candidate.0, term.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable(term: u64, vote: Option<u64>) -> HardState {
        HardState { term: Term(term), voted_for: vote.map(ServerId) }
    }

    #[test]
    fn it_fires_when_a_vote_is_said_before_it_is_durable() {
        let mut checker = VoteIsKept::default();
        let voter = ServerId(1);
        assert_eq!(checker.on_granted(voter, Term(2), ServerId(1), durable(2, Some(1))), Ok(()));
        assert!(checker.on_granted(voter, Term(3), ServerId(1), durable(2, Some(1))).is_err());
        assert!(checker.on_granted(voter, Term(4), ServerId(1), durable(4, None)).is_err());
    }

    #[test]
    fn it_fires_when_two_candidates_get_one_vote() {
        let mut checker = VoteIsKept::default();
        let voter = ServerId(1);
        assert_eq!(checker.on_granted(voter, Term(2), ServerId(1), durable(2, Some(1))), Ok(()));
        assert!(checker.on_granted(voter, Term(2), ServerId(3), durable(2, Some(3))).is_err());
    }
}
