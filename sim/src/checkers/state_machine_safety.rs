//! ∀ servers a, b, index i applied by both: entry(a, i) = entry(b, i) ∧ state(a, i) = state(b, i) —
//! Raft §5.4.3, and the state machine's own promise.
//!
//! Invariants
//! - the first server to say so sets what the others must say.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::fsm::Entry;
use drover_core::fsm::record::decode_batch;
use drover_core::raft::{Frame, Payload};
use drover_core::types::Index;

use super::Verdict;

/// The committed log, and the state after some of its entries.
#[derive(Debug, Default)]
pub struct StateMachineSafety {
    committed: BTreeMap<Index, Arc<Frame>>,
    states: BTreeMap<Index, Digest>,
}

/// Whether a frame had been seen committed before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    First,
    Again,
}

impl StateMachineSafety {
    /// A server applied `frame`.
    ///
    /// # Errors
    /// Another server applied another one at that place.
    pub fn on_committed(&mut self, frame: &Arc<Frame>) -> Result<Seen, String> {
        let Some(known) = self.committed.get(&frame.first) else {
            let before = self.committed.range(..frame.first).next_back();
            if let Some((_, before)) = before.filter(|(_, before)| frame.first <= before.last()) {
                let (first, index) = (before.first.0, frame.first.0);
                return Err(format!("frames at {first} and {index} overlap, both committed"));
            }
            self.committed.insert(frame.first, Arc::clone(frame));
            return Ok(Seen::First);
        };
        if Arc::ptr_eq(known, frame) || known == frame {
            return Ok(Seen::Again);
        }
        Err(format!(
            "at index {} a frame of term {} and one of term {} are both committed",
            frame.first.0, known.term.0, frame.term.0
        ))
    }

    /// A server has this state at `index`.
    pub fn on_state(&mut self, index: Index, digest: Digest) -> Verdict {
        let known = *self.states.entry(index).or_insert(digest);
        if known == digest {
            return Ok(());
        }
        Err(format!("at index {} one server has state {known}, another {digest}", index.0))
    }

    /// The committed entry at `index`, if it holds a command.
    #[must_use]
    pub fn entry_at(&self, index: Index) -> Option<Entry> {
        let (first, frame) = self.committed.range(..=index).next_back()?;
        let Payload::Commands { count, bytes } = &frame.payload else { return None };
        let ordinal = usize::try_from(index.0 - first.0).ok()?;
        decode_batch(bytes, *count).nth(ordinal)?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_core::types::Term;

    fn frame(first: u64, term: u64) -> Arc<Frame> {
        Arc::new(Frame { first: Index(first), term: Term(term), payload: Payload::Noop })
    }

    #[test]
    fn it_fires_when_two_frames_are_committed_at_one_place() {
        let mut checker = StateMachineSafety::default();
        assert_eq!(checker.on_committed(&frame(3, 1)), Ok(Seen::First));
        assert_eq!(checker.on_committed(&frame(3, 1)), Ok(Seen::Again));
        assert!(checker.on_committed(&frame(3, 2)).is_err());
    }

    #[test]
    fn it_fires_when_the_same_log_gives_two_states() {
        let mut checker = StateMachineSafety::default();
        assert_eq!(checker.on_state(Index(3), Digest(1)), Ok(()));
        assert_eq!(checker.on_state(Index(4), Digest(2)), Ok(()));
        assert!(checker.on_state(Index(3), Digest(2)).is_err());
    }
}
