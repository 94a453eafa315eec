//! ∀ server s that said it left and that nothing was left undone: from then until s starts again, s is no
//! part of a configuration that is committed.
//!
//! Invariants
//! - what was committed is learnt in the order of the log.
use std::collections::BTreeSet;

use drover_core::raft::{Configuration, Frame, Payload};
use drover_core::types::ServerId;

use super::Verdict;

/// Who has left, and who counts.
#[derive(Debug, Default)]
pub struct LeftIsOut {
    /// The newest that was committed.
    committed: Configuration,
    left: BTreeSet<ServerId>,
}

impl LeftIsOut {
    /// A frame was committed that had not been seen before.
    ///
    /// # Errors
    /// Somebody who left counts again.
    pub fn on_committed(&mut self, frame: &Frame) -> Verdict {
        if let Payload::Configuration(configuration) = &frame.payload {
            self.committed.clone_from(configuration);
            return self.left.iter().try_for_each(|&server| self.check(server));
        }
        Ok(())
    }

    /// `server` has said that it is out, and stops.
    ///
    /// # Errors
    /// It is not.
    pub fn on_left(&mut self, server: ServerId) -> Verdict {
        self.left.insert(server);
        self.check(server)
    }

    /// `server` starts, and may be taken in.
    pub fn on_start(&mut self, server: ServerId) {
        self.left.remove(&server);
    }

    fn check(&self, server: ServerId) -> Verdict {
        // Whoever is on the way out is: the entry that ends it may be committed and not yet heard of.
        let Configuration { voters, learners, outgoing: _ } = &self.committed;
        if voters.contains(&server) || learners.contains(&server) {
            let server = server.0;
            return Err(format!("{server} has left and is in {:?}", self.committed));
        }
        Ok(())
    }
}
