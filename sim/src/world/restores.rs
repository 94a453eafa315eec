//! Operators who save the state and go back to it: a server's tables as bytes, and the requests that
//! bring them back, one after the other through whichever servers are up.
//!
//! Invariants
//! - the next part is sent when the one before it is answered, as the shell does it;
//! - what an operator has saved is forgotten with the next save.
use std::sync::Arc;

use drover_core::api::Request;
use drover_core::digest::Digest;
use drover_core::types::Index;

use super::World;
use crate::checkers::Violation;
use crate::checkers::linearizable::Saved;
use crate::marks::Mark;
use crate::requests::restoring;

/// What an operator has saved.
#[derive(Debug)]
pub(super) struct Copy {
    bytes: Arc<[u8]>,
    pub(super) shown: Arc<Saved>,
}

impl World {
    /// Some server's tables are saved, if it has any.
    pub(super) fn save(&mut self) {
        let Some(host) = self.some_server() else { return };
        let agent = self.hosts[host.0].agent.as_ref();
        let state = agent.and_then(|agent| agent.state()).filter(|state| Index(0) < state.index());
        if let Some(state) = state {
            let shown = Arc::new(self.checkers.linearizable.saved(state));
            self.saved = Some(Copy { bytes: state.encode().into(), shown });
        }
    }

    /// Begin to go back to what was saved.
    pub(super) fn restore(&mut self) -> Result<(), Violation> {
        match self.saved.as_ref().map(|saved| Digest::of(&saved.bytes)) {
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
        let saved = self.saved.as_ref().map(|saved| Arc::clone(&saved.bytes));
        let saved = saved.filter(|saved| Digest::of(saved) == of);
        let (Some(saved), Some(host)) = (saved, self.some_server()) else { return Ok(()) };
        let request = usize::try_from(nth).ok().and_then(|nth| restoring(&saved).nth(nth));
        request.map_or(Ok(()), |request| self.ask_of(host, request, None))
    }

    /// What was restored by what was just committed binds nobody any more.
    pub(super) fn look_for_restores(&mut self) {
        for at in self.shadow.take_restored() {
            self.checkers.no_lost_write.on_restore(at);
            self.counters.states_restored += 1;
            self.marks.reach(Mark::StateRestored);
        }
    }
}
