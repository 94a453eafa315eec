//! The second state of the servers, folded only when a snapshot of it is wanted.
//!
//! In production each server has one, which folds beside the core, on its own thread. Here the cluster has
//! one: whoever cuts first at an index folds the committed frames up to there; all who cut there must have
//! the same digest, and get the same bytes.
//!
//! Invariants
//! - at a cut the folded state's digest is the core's.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use drover_core::agent::snapshot;
use drover_core::digest::Digest;
use drover_core::fsm;
use drover_core::raft::{Configuration, Frame, Payload, Position, SnapshotMark};
use drover_core::state::State;
use drover_core::types::Index;

/// The state at the last cut, and what was committed since.
#[derive(Debug)]
pub struct Shadow {
    state: Box<State>,
    frames: VecDeque<Arc<Frame>>,
    cuts: BTreeMap<Index, Cut>,
}

/// What every server that cuts at an index must have, and the snapshot that it writes.
#[derive(Debug)]
struct Cut {
    position: Position,
    configuration: Configuration,
    digest: Digest,
    mark: SnapshotMark,
    bytes: Arc<[u8]>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { state: Box::new(State::new()), frames: VecDeque::new(), cuts: BTreeMap::new() }
    }
}

impl Shadow {
    /// `frame` was committed, as nobody had seen before.
    pub fn on_committed(&mut self, frame: Arc<Frame>) {
        self.frames.push_back(frame);
    }

    /// A server cuts here: the snapshot's bytes and name.
    ///
    /// # Errors
    /// The folded state is not the core's.
    pub fn cut(
        &mut self,
        position: Position,
        configuration: &Configuration,
        digest: Digest,
    ) -> Result<(SnapshotMark, Arc<[u8]>), String> {
        if !self.cuts.contains_key(&position.index) {
            let cut = self.fold(position, configuration)?;
            self.cuts.insert(position.index, cut);
        }
        let cut = &self.cuts[&position.index];
        if (cut.position, &cut.configuration, cut.digest) != (position, configuration, digest) {
            return Err(format!(
                "folded again from its log the state at {:?} with {:?} is {}, the core's at {position:?} \
                 with {configuration:?} is {digest}",
                cut.position, cut.configuration, cut.digest
            ));
        }
        Ok((cut.mark.clone(), Arc::clone(&cut.bytes)))
    }

    fn fold(&mut self, position: Position, configuration: &Configuration) -> Result<Cut, String> {
        while self.frames.front().is_some_and(|frame| frame.last() <= position.index) {
            if let Some(frame) = self.frames.pop_front() {
                apply_frame(&mut self.state, &frame);
            }
        }
        let state = &self.state;
        if state.index() != position.index {
            return Err(format!(
                "a cut at {position:?}, where the log goes to {:?}",
                state.index()
            ));
        }
        let bytes: Arc<[u8]> = snapshot::pack(position, configuration, &state.encode()).into();
        let (mark, _) = snapshot::unpack(&bytes)?;
        let configuration = configuration.clone();
        Ok(Cut { position, configuration, digest: state.digest(), mark, bytes })
    }
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
