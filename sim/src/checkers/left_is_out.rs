//! ∀ server s that said it left and that nothing was left undone, i the newest entry that anybody knew to be
//! committed then: from i until s starts again, s is no part of a configuration that is committed.
//!
//! Invariants
//! - what was committed is learnt in the order of the log.
//! - nobody is judged by what was committed before it left. A leader knows what is committed, and lets a
//!   server go, before its own disk has written it and it says so.
use std::collections::BTreeMap;

use drover_core::raft::{Configuration, Frame, Payload};
use drover_core::types::{Index, ServerId};

use super::Verdict;

/// Who has left, and who counts.
#[derive(Debug, Default)]
pub struct LeftIsOut {
    /// The newest that somebody said is committed.
    committed: Configuration,
    /// What somebody said is committed.
    said: Index,
    /// What somebody knew to be committed.
    known: Index,
    /// With what was known when it left.
    left: BTreeMap<ServerId, Index>,
}

impl LeftIsOut {
    /// A server knows that everything upto `commit` is committed.
    pub fn on_known(&mut self, commit: Index) {
        self.known = self.known.max(commit);
    }

    /// A frame was committed that had not been seen before.
    ///
    /// # Errors
    /// Somebody who left counts again.
    pub fn on_committed(&mut self, frame: &Frame) -> Verdict {
        self.said = frame.position().index;
        if let Payload::Configuration(configuration) = &frame.payload {
            self.committed.clone_from(configuration);
        }
        self.left.iter().try_for_each(|(&server, &since)| self.check(server, since))
    }

    /// `server` has said that it is out, and stops.
    ///
    /// # Errors
    /// It is not.
    pub fn on_left(&mut self, server: ServerId) -> Verdict {
        self.left.insert(server, self.known);
        self.check(server, self.known)
    }

    /// `server` starts, and may be taken in.
    pub fn on_start(&mut self, server: ServerId) {
        self.left.remove(&server);
    }

    fn check(&self, server: ServerId, since: Index) -> Verdict {
        if self.said < since {
            return Ok(());
        }
        if self.committed.is_member(server) {
            let server = server.0;
            return Err(format!("{server} has left and is in {:?}", self.committed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use drover_core::types::Term;

    use super::*;

    fn counting(index: u64, voters: &[u64]) -> Frame {
        let voters: Vec<ServerId> = voters.iter().copied().map(ServerId).collect();
        let configuration = Box::new(Configuration::new(&voters, &[]));
        let payload = Payload::Configuration(configuration);
        Frame { term: Term(1), first: Index(index), payload }
    }

    #[test]
    fn it_fires_when_a_server_leaves_that_counts() {
        let mut checker = LeftIsOut::default();
        checker.on_known(Index(4));
        assert_eq!(checker.on_committed(&counting(4, &[1, 2, 3])), Ok(()));
        assert!(checker.on_left(ServerId(3)).is_err());
    }

    #[test]
    fn it_fires_when_a_server_that_left_counts_before_it_starts() {
        let mut checker = LeftIsOut::default();
        checker.on_known(Index(4));
        assert_eq!(checker.on_committed(&counting(4, &[1, 2])), Ok(()));
        assert_eq!(checker.on_left(ServerId(3)), Ok(()));
        assert!(checker.on_committed(&counting(5, &[1, 2, 3])).is_err());
        checker.on_start(ServerId(3));
        assert_eq!(checker.on_committed(&counting(6, &[1, 2, 3])), Ok(()));
    }

    #[test]
    fn a_leader_that_knows_more_than_it_has_said_may_let_a_server_go() {
        let mut checker = LeftIsOut::default();
        assert_eq!(checker.on_committed(&counting(4, &[1, 2, 3])), Ok(()));
        checker.on_known(Index(5));
        assert_eq!(checker.on_left(ServerId(3)), Ok(()));
        assert!(checker.on_committed(&counting(5, &[1, 2, 3])).is_err());
    }
}
