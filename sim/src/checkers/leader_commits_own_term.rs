//! ∀ leader l of term t: when l's commit index grows to i, term(l, i) = t — Raft §5.4.2, figure 2.
//!
//! An entry of an older term is committed only by one of the leader's own behind it: a majority that
//! holds it can still be overruled. What breaks this breaks safety only when three leaders follow each
//! other unluckily; here it shows at the first step.
//!
//! Invariants
//! - only growth under one leader counts: as a follower it takes its leader's word.
use drover_core::raft::Position;
use drover_core::types::{Index, Term};

use super::Verdict;

/// The leader of `term` says that everything upto `commit` is committed; `holds` tells what is in its log.
///
/// # Errors
/// The last of it is of another term.
pub fn check(term: Term, commit: Index, holds: impl Fn(Position) -> bool) -> Verdict {
    if holds(Position { term, index: commit }) {
        return Ok(());
    }
    let (term, commit) = (term.0, commit.0);
    Err(format!(
        "the leader of term {term} committed upto entry {commit}, which is of an older term"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_an_older_entry_is_committed_by_counting() {
        let own = Position { term: Term(4), index: Index(7) };
        assert_eq!(check(Term(4), Index(7), |position| position == own), Ok(()));
        assert!(check(Term(4), Index(6), |position| position == own).is_err());
    }
}
