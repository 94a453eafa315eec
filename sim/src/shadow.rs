//! The second state of the servers, folded frame by frame as they are committed.
//!
//! In production each server has one, which folds beside the core, on its own thread. Here the cluster has
//! one, which is always where whoever is ahead has committed: checkers see there what each entry is about
//! to change, and what it has changed. All who cut at an index must have the same digest as it had there,
//! and get the same bytes.
//!
//! Invariants
//! - at a cut the folded state's digest is the core's.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::agent::snapshot;
use drover_core::digest::Digest;
use drover_core::fsm;
use drover_core::raft::{Configuration, Frame, Payload, Position, SnapshotMark};
use drover_core::state::{Change, State};
use drover_core::types::Index;

use crate::checkers::deployment_is_earned::DeploymentIsEarned;
use crate::checkers::gates_are_kept::GatesAreKept;
use crate::checkers::plans_hold::PlansHold;
use crate::checkers::stopped_for_a_reason::StoppedForAReason;
use crate::checkers::{Violation, named, queues_are_bounded};

/// The state after all that is committed.
#[derive(Debug)]
pub struct Folded {
    state: Box<State>,
    changes: Vec<Change>,
    /// Where a saved state was put in force, until somebody asks.
    restored: Vec<Index>,
    plans: PlansHold,
    deployments: DeploymentIsEarned,
    gates: GatesAreKept,
}

/// The state after all that is committed, and what it was at the cuts.
#[derive(Debug, Default)]
pub struct Shadow {
    folded: Folded,
    /// Where the log is cut, the state there, until somebody does it.
    due: BTreeMap<Index, Due>,
    cuts: BTreeMap<Index, Cut>,
}

/// The state where the log is cut.
#[derive(Debug)]
struct Due {
    digest: Digest,
    bytes: Vec<u8>,
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

impl Default for Folded {
    fn default() -> Self {
        Self {
            state: Box::new(State::new()),
            changes: Vec::new(),
            restored: Vec::new(),
            plans: PlansHold::default(),
            deployments: DeploymentIsEarned::default(),
            gates: GatesAreKept::default(),
        }
    }
}

impl Folded {
    /// All that is committed.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// `frame` was committed, as nobody had seen before. Answers whether the log is cut there.
    ///
    /// # Errors
    /// An entry does what it has no reason to do, or writes a row that is too long.
    pub fn on_committed(
        &mut self,
        frame: &Frame,
        stops: &mut StoppedForAReason,
    ) -> Result<bool, Violation> {
        self.plans.on_frame(frame);
        match &frame.payload {
            Payload::Noop | Payload::Configuration(_) => self.state.pass(frame.first),
            Payload::Commands { count, bytes } => {
                let entries = fsm::record::decode_batch(bytes, *count).flatten();
                for (entry, index) in entries.zip(frame.first.0..) {
                    self.apply(Index(index), &entry, stops)?;
                }
            }
        }
        Ok(self.state.note_log_bytes(frame.cost_bytes()))
    }

    fn apply(
        &mut self,
        index: Index,
        entry: &fsm::Entry,
        stops: &mut StoppedForAReason,
    ) -> Result<(), Violation> {
        stops.on_entry(&self.state, entry);
        self.changes.clear();
        let outcome = fsm::apply(&mut self.state, index, entry, &mut self.changes);
        named("plans_hold", self.plans.on_applied(&self.state, (index, entry), &outcome))?;
        for &change in &self.changes {
            if change == Change::Restored {
                self.restored.push(index);
            }
            let reason = stops.on_applied(&self.state, index, change);
            named("stopped_for_a_reason", reason)?;
            let earned = self.deployments.on_applied(&self.state, change);
            named("deployment_is_earned", earned)?;
            named("queues_are_bounded", queues_are_bounded::check_row(&self.state, change))?;
        }
        let kept = self.gates.on_applied(&self.state, index, &self.changes);
        named("gates_are_kept", kept)
    }

    /// Entries that put a saved state in force since this was last asked.
    pub fn take_restored(&mut self) -> Vec<Index> {
        std::mem::take(&mut self.restored)
    }
}

impl Shadow {
    /// All that is committed.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.folded.state()
    }

    /// `frame` was committed, as nobody had seen before.
    ///
    /// # Errors
    /// An entry stops what it has no reason to stop, or writes a row that is too long.
    pub fn on_committed(
        &mut self,
        frame: &Frame,
        stops: &mut StoppedForAReason,
    ) -> Result<(), Violation> {
        if self.folded.on_committed(frame, stops)? {
            let state = self.folded.state();
            let due = Due { digest: state.digest(), bytes: state.encode() };
            self.due.insert(state.index(), due);
        }
        Ok(())
    }

    /// Entries that put a saved state in force since this was last asked.
    pub fn take_restored(&mut self) -> Vec<Index> {
        self.folded.take_restored()
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
            let cut = self.first_cut(position, configuration)?;
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

    fn first_cut(
        &mut self,
        position: Position,
        configuration: &Configuration,
    ) -> Result<Cut, String> {
        let due = self.due.remove(&position.index);
        let Due { digest, bytes } =
            due.ok_or_else(|| format!("a cut at {position:?}, where the log is not cut"))?;
        let bytes: Arc<[u8]> = snapshot::pack(position, configuration, &bytes).into();
        let (mark, _) = snapshot::unpack(&bytes)?;
        let configuration = configuration.clone();
        Ok(Cut { position, configuration, digest, mark, bytes })
    }
}
