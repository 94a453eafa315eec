//! ∀ logs a, b, index i: term(a, i) = term(b, i) ⇒ a[..=i] = b[..=i] — Raft §5.3.
//!
//! Frames are compared one by one with what they stand on; by induction the prefixes are equal.
//!
//! Invariants
//! - every frame that ever stood in a log is remembered to the end of the run.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::raft::{Frame, Position};
use drover_core::types::{Index, Term};

use super::Verdict;

/// Every frame by its first index and term, with the position it was appended to.
#[derive(Debug, Default)]
pub struct LogMatching {
    frames: BTreeMap<(Index, Term), (Position, Arc<Frame>)>,
}

impl LogMatching {
    /// A log holds `frame` right after `prev`.
    pub fn on_frame(&mut self, prev: Position, frame: &Arc<Frame>) -> Verdict {
        let key = (frame.first, frame.term);
        let Some((known_prev, known)) = self.frames.get(&key) else {
            self.frames.insert(key, (prev, Arc::clone(frame)));
            return Ok(());
        };
        if !Arc::ptr_eq(known, frame) && known != frame {
            let (index, term) = (frame.first.0, frame.term.0);
            return Err(format!("two different frames at index {index} of term {term}"));
        }
        if *known_prev != prev {
            return Err(format!(
                "the frame at index {} of term {} follows {known_prev:?} in one log and {prev:?} in another",
                frame.first.0, frame.term.0
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_core::raft::{Configuration, Payload};
    use drover_core::types::ServerId;

    fn at(index: u64, term: u64) -> Position {
        Position { term: Term(term), index: Index(index) }
    }

    fn frame(first: u64, term: u64, payload: Payload) -> Arc<Frame> {
        Arc::new(Frame { first: Index(first), term: Term(term), payload })
    }

    #[test]
    fn it_fires_when_one_place_holds_two_frames() {
        let mut checker = LogMatching::default();
        let other = Payload::Configuration(Box::new(Configuration::new(&[ServerId(1)], &[])));
        assert_eq!(checker.on_frame(at(1, 1), &frame(2, 2, Payload::Noop)), Ok(()));
        assert_eq!(checker.on_frame(at(1, 1), &frame(2, 3, Payload::Noop)), Ok(()));
        assert_eq!(checker.on_frame(at(1, 1), &frame(2, 2, Payload::Noop)), Ok(()));
        assert!(checker.on_frame(at(1, 1), &frame(2, 2, other)).is_err());
    }

    #[test]
    fn it_fires_when_one_frame_stands_on_two_prefixes() {
        let mut checker = LogMatching::default();
        assert_eq!(checker.on_frame(at(1, 1), &frame(2, 3, Payload::Noop)), Ok(()));
        assert!(checker.on_frame(at(1, 2), &frame(2, 3, Payload::Noop)).is_err());
    }
}
