//! The second state of a server, folded only when a snapshot of it is wanted.
//!
//! In production it folds beside the core, on its own thread; here it keeps the frames since the last
//! snapshot and folds them at the cut, which tests the same promise at a fraction of the price.
//!
//! Invariants
//! - at a cut the folded state's digest is the core's.
use std::collections::VecDeque;
use std::sync::Arc;

use drover_core::agent::snapshot;
use drover_core::digest::Digest;
use drover_core::fsm;
use drover_core::raft::{Configuration, Frame, Payload, Position, SnapshotMark};
use drover_core::state::State;
use drover_core::types::Index;

/// A snapshot and what was committed since.
#[derive(Debug, Default)]
pub struct Shadow {
    base: Option<Arc<[u8]>>,
    /// The state at the last cut, so that not every cut begins by reading a snapshot.
    folded: Option<Box<State>>,
    frames: VecDeque<Arc<Frame>>,
}

impl Shadow {
    /// Begins at a snapshot, or at nothing.
    #[must_use]
    pub const fn new(base: Option<Arc<[u8]>>) -> Self {
        Self { base, folded: None, frames: VecDeque::new() }
    }

    /// The core applied `frame`.
    pub fn on_committed(&mut self, frame: Arc<Frame>) {
        self.frames.push_back(frame);
    }

    /// All servers cut here: the snapshot's bytes and name.
    ///
    /// # Errors
    /// The folded state is not the core's.
    pub fn cut(
        &mut self,
        position: Position,
        configuration: &Configuration,
        digest: Digest,
    ) -> Result<(SnapshotMark, Arc<[u8]>), String> {
        let mut state = match (self.folded.take(), &self.base) {
            (Some(state), _) => state,
            (None, Some(bytes)) => Box::new(decode(bytes)?),
            (None, None) => Box::new(State::new()),
        };
        while self.frames.front().is_some_and(|frame| frame.last() <= position.index) {
            if let Some(frame) = self.frames.pop_front() {
                apply_frame(&mut state, &frame);
            }
        }
        if state.digest() != digest || state.index() != position.index {
            return Err(format!(
                "folded again from its log the state at {:?} is {}, the core's is {digest}",
                state.index(),
                state.digest()
            ));
        }
        let bytes: Arc<[u8]> = snapshot::pack(position, configuration, &state.encode()).into();
        let (mark, _) = snapshot::unpack(&bytes)?;
        self.folded = Some(state);
        Ok((mark, bytes))
    }
}

fn decode(bytes: &[u8]) -> Result<State, String> {
    let (_, state) = snapshot::unpack(bytes)?;
    State::decode(state).map_err(|fault| format!("{fault:?}"))
}

fn apply_frame(state: &mut State, frame: &Frame) {
    match &frame.payload {
        Payload::Noop | Payload::Configuration(_) => state.pass(frame.first),
        Payload::Commands { count, bytes } => {
            let mut index = frame.first;
            for entry in fsm::record::decode_batch(bytes, *count).flatten() {
                let _as_the_core_said = fsm::apply(state, index, &entry, &mut Vec::new());
                index = Index(index.0 + 1);
            }
        }
    }
    let _cut_is_told_by_the_core = state.note_log_bytes(frame.cost_bytes());
}
