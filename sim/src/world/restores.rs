//! Operators who save the state and go back to it: a server's tables as bytes, and the requests that
//! bring them back, one after the other through whichever servers are up.
//!
//! Invariants
//! - the next part is sent when the one before it is answered, as the shell does it;
//! - what an operator has saved is forgotten with the next save.
use std::sync::Arc;

use drover_core::api::Request;
use drover_core::digest::Digest;
use drover_core::fsm::Command;
use drover_core::fsm::record::decode_batch;
use drover_core::raft::{Frame, Payload};
use drover_core::state::{State, TableKind};
use drover_core::types::Index;

use super::World;
use crate::checkers::Violation;
use crate::marks::Mark;
use crate::network::HostId;

/// Parts of one upload.
const PARTS: u32 = 3;

impl World {
    /// Some server's tables are saved, if it has any.
    pub(super) fn save(&mut self) {
        let Some(host) = self.some_server() else { return };
        let agent = self.hosts[host.0].agent.as_ref();
        let state = agent.and_then(|agent| agent.state()).filter(|state| Index(0) < state.index());
        if let Some(state) = state {
            self.saved = Some(state.encode().into());
            self.saved_shown = Arc::new(self.checkers.linearizable.saved(state));
        }
    }

    /// Begin to go back to what was saved.
    pub(super) fn restore(&mut self) -> Result<(), Violation> {
        match self.saved.as_deref().map(Digest::of) {
            Some(of) => self.send_part(of, 0),
            None => Ok(()),
        }
    }

    /// A request of a restore was answered with yes.
    pub(super) fn go_on_restoring(&mut self, request: &Request) -> Result<(), Violation> {
        match *request {
            Request::RestorePart { of, nth, .. } => {
                self.marks.reach(Mark::RestoreBegun);
                self.send_part(of, nth + 1)
            }
            _ => Ok(()),
        }
    }

    /// Unless something else was saved meanwhile: then the operator has lost interest.
    fn send_part(&mut self, of: Digest, nth: u32) -> Result<(), Violation> {
        let saved = self.saved.clone().filter(|saved| Digest::of(saved) == of);
        let (Some(saved), Some(host)) = (saved, self.some_server()) else { return Ok(()) };
        let mut parts = saved.chunks(saved.len().div_ceil(PARTS as usize));
        let part = usize::try_from(nth).ok().and_then(|nth| parts.nth(nth));
        let request = match part {
            Some(part) => Request::RestorePart { of, nth, bytes: part.into() },
            None => Request::Restore { of, parts: nth },
        };
        self.ask_of(host, request)
    }

    /// A server has applied `frame`, which nobody had before: what it restored binds nobody any more.
    pub(super) fn look_for_restore(&mut self, host: HostId, frame: &Arc<Frame>) {
        let Payload::Commands { count, bytes } = &frame.payload else { return };
        for (entry, at) in decode_batch(bytes, *count).flatten().zip(frame.first.0..) {
            if matches!(entry.command, Command::Restore { .. }) {
                let agent = self.hosts[host.0].agent.as_ref();
                let state = agent.and_then(|agent| agent.state());
                if state.is_some_and(|state| changed_all(state, Index(at))) {
                    self.checkers.no_lost_write.on_restore(Index(at));
                    self.counters.states_restored += 1;
                    self.marks.reach(Mark::StateRestored);
                }
            }
        }
    }
}

/// Whether every table was last written by the entry at `index`, or later.
fn changed_all(state: &State, index: Index) -> bool {
    let tables = [TableKind::Nodes, TableKind::Jobs, TableKind::Evals, TableKind::Allocs];
    tables.into_iter().all(|kind| index <= state.table_index(kind))
}
