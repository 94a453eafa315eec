//! What operators want of tasks that run here.
//!
//! Invariants
//! - what cannot be done is refused, and changes nothing.
use alloc::string::String;

use super::{Client, Moment, Output, Refusal};
use crate::emit::Emit;
use crate::types::AllocId;

impl Client {
    /// An operator wants a task (`None`: every task) restarted; this does not count against the
    /// restart policy.
    pub fn on_restart_asked(
        &mut self,
        at: Moment,
        target: (AllocId, Option<&str>),
        out: &mut impl Emit<Output>,
    ) -> Result<(), Refusal> {
        let (id, name) = target;
        let alloc = self.allocs.get_mut(&id).ok_or(Refusal::UnknownAlloc)?;
        let only = name.map(|name| alloc.task(name).ok_or(Refusal::UnknownTask)).transpose()?;
        if !alloc.on_restart_asked(at, only) {
            return Err(Refusal::NotRunning);
        }
        self.look_at(at, id, out);
        self.finish(at, out);
        Ok(())
    }

    /// An operator wants a task to get a signal.
    pub fn on_signal_asked(
        &mut self,
        at: Moment,
        target: (AllocId, &str),
        signal: String,
        out: &mut impl Emit<Output>,
    ) -> Result<(), Refusal> {
        let (id, name) = target;
        let alloc = self.allocs.get_mut(&id).ok_or(Refusal::UnknownAlloc)?;
        let task = alloc.task(name).ok_or(Refusal::UnknownTask)?;
        let key = alloc.on_signal_asked(at, task).ok_or(Refusal::NotRunning)?;
        out.emit(Output::SignalTask { key, signal });
        self.look_at(at, id, out);
        self.finish(at, out);
        Ok(())
    }
}
