//! ∀ term: |{ server that leads in term }| ≤ 1 — Raft §5.2.
//!
//! Invariants
//! - a term's leader, once seen, is remembered to the end of the run.
use std::collections::BTreeMap;

use drover_core::types::Term;

use super::Verdict;
use crate::network::HostId;

/// Who led in each term.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, HostId>,
}

impl ElectionSafety {
    /// `host` leads in `term`.
    pub fn on_leader(&mut self, term: Term, host: HostId) -> Verdict {
        let known = *self.leaders.entry(term).or_insert(host);
        if known == host {
            return Ok(());
        }
        Err(format!("s{} and s{} both lead in term {}", known.0 + 1, host.0 + 1, term.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_two_servers_lead_in_one_term() {
        let mut checker = ElectionSafety::default();
        assert_eq!(checker.on_leader(Term(2), HostId(0)), Ok(()));
        assert_eq!(checker.on_leader(Term(3), HostId(1)), Ok(()));
        assert_eq!(checker.on_leader(Term(2), HostId(0)), Ok(()));
        assert!(checker.on_leader(Term(2), HostId(1)).is_err());
    }
}
