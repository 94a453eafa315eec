//! ∀ term: |{ server that leads in term }| ≤ 1 — Raft §5.2.
//!
//! Invariants
//! - a term's leader, once seen, is remembered to the end of the run.
use std::collections::BTreeMap;

use drover_core::types::{ServerId, Term};

use super::Verdict;

/// Who led in each term.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, ServerId>,
}

impl ElectionSafety {
    /// `server` leads in `term`.
    pub fn on_leader(&mut self, term: Term, server: ServerId) -> Verdict {
        let known = *self.leaders.entry(term).or_insert(server);
        if known == server {
            return Ok(());
        }
        Err(format!("s{} and s{} both lead in term {}", known.0, server.0, term.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_two_servers_lead_in_one_term() {
        let mut checker = ElectionSafety::default();
        assert_eq!(checker.on_leader(Term(2), ServerId(1)), Ok(()));
        assert_eq!(checker.on_leader(Term(3), ServerId(2)), Ok(()));
        assert_eq!(checker.on_leader(Term(2), ServerId(1)), Ok(()));
        assert!(checker.on_leader(Term(2), ServerId(2)).is_err());
    }
}
