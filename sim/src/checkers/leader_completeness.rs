//! ∀ entry e committed in term t, leader l of term u > t: e ∈ log(l) — Raft §5.4.
//!
//! With log matching it is enough to look for the last entry committed before the leader's term.
//!
//! Invariants
//! - an entry counts as committed in the term of the server that first said so.
use drover_core::raft::Position;
use drover_core::types::Term;

use super::Verdict;

/// Committed positions, in the order of the log, with the term in which each was seen committed.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    committed: Vec<(Position, Term)>,
}

impl LeaderCompleteness {
    /// The entry at `at` was first seen committed by a server in `term`.
    pub fn on_committed(&mut self, at: Position, term: Term) {
        self.committed.push((at, term));
    }

    /// A server won the lead of `term`; `holds` tells what is in its log.
    pub fn on_leader(&self, term: Term, holds: impl Fn(Position) -> bool) -> Verdict {
        let earlier = self.committed.iter().rev().find(|(_, committed_in)| *committed_in < term);
        match earlier {
            Some(&(at, committed_in)) if !holds(at) => Err(format!(
                "the leader of term {} lacks entry {}/{}, committed in term {}",
                term.0, at.term.0, at.index.0, committed_in.0
            )),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_core::types::Index;

    #[test]
    fn it_fires_when_a_leader_lacks_what_was_committed_before_its_term() {
        let mut checker = LeaderCompleteness::default();
        let at = |index, term| Position { term: Term(term), index: Index(index) };
        checker.on_committed(at(4, 1), Term(1));
        checker.on_committed(at(5, 1), Term(3));
        let has_four = |position| position == at(4, 1);
        assert_eq!(checker.on_leader(Term(2), has_four), Ok(()));
        assert_eq!(checker.on_leader(Term(3), has_four), Ok(()), "it may commit it yet");
        assert!(checker.on_leader(Term(4), has_four).is_err());
    }
}
