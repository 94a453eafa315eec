//! Members that go: this server, with grace, and others of whom an operator says it.
//!
//! Invariants
//! - nobody who is there is forced out or forgotten.
use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use super::{Gossip, Message, Output, Said, swim};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{Incarnation, ServerId};

/// What becomes of a server that was forced out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Memory {
    /// It is shown as one who left, until it is forgotten like any other.
    Kept,
    /// It is forgotten at once.
    Gone,
}

impl Gossip {
    /// This server has been told to go, and says so while it still answers.
    pub fn on_leaving(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.own.is_leaving = true;
        self.swim.on_described(now, Box::new(self.own.clone()));
        // Whoever leads must know it before it is asked to let this server go.
        self.speak_to_all(out);
    }

    /// This server goes now, and says so.
    pub fn on_leave(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.with_swim(out, |swim, said| swim.on_leave(now, said));
    }

    /// An operator says that a server which failed is not expected back: from now on it is one who left,
    /// or, with `memory` gone, one of whom nobody has heard. Should it live after all, it says so.
    ///
    /// # Errors
    /// Why it stays what it is, and what to do.
    pub fn on_forced_out(
        &mut self,
        now: MonoTime,
        (id, memory): (ServerId, Memory),
        out: &mut impl Emit<Output>,
    ) -> Result<(), &'static str> {
        if id == self.own.id {
            return Err(
                "it is this server itself: stop its agent with leave_on_terminate, or stop \
                        it and ask another server",
            );
        }
        let Some(state) = self.swim.state(id) else { return Err("no server knows of it any more") };
        if state.is_active() {
            return Err(
                "it is alive: stop its agent first, and ask again when it is listed as failed",
            );
        }
        match memory {
            Memory::Kept => self.with_swim(out, |swim, said| swim.on_forced_out(now, id, said)),
            Memory::Gone => {
                let known = self.swim.others().find(|(outline, _)| outline.id == id);
                let Some((outline, _)) = known else { return Ok(()) };
                let incarnation = outline.version.incarnation;
                for &peer in &self.links {
                    out.emit(Output::Send(peer, Message::Forget { id, incarnation }));
                }
                self.forget(id, incarnation);
            }
        }
        Ok(())
    }

    /// Unless it is there, or has started again since.
    pub(super) fn forget(&mut self, id: ServerId, incarnation: Incarnation) {
        let is_meant = |(outline, _): &(swim::Outline, &Said)| {
            outline.id == id
                && !outline.state.is_active()
                && outline.version.incarnation <= incarnation
        };
        if self.swim.others().any(|other| is_meant(&other)) {
            self.swim.forget(id);
        }
    }

    /// Whether everybody who should be told that this server went has been, as far as it can know.
    #[must_use]
    pub fn has_said_goodbye(&self) -> bool {
        !self.swim.has_news() || self.swim.active() == 0
    }
}
