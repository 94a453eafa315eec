//! A member that goes, and one that is not expected back.
//!
//! Invariants
//! - whoever goes says nothing more of its own accord but that.
use super::{Description, Output, Record, State, Swim, table};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

impl<D: Description> Swim<D> {
    /// This member goes, and says so. It still answers.
    pub fn on_leave(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        self.table.set_state(now, table::OWN, State::Left);
        self.is_leaving = true;
        self.probe = None;
        self.queue.push(&mut self.table, table::OWN);
        self.gossip(out);
        self.gossip_at = now.plus_ms(self.timings.gossip_ms);
    }

    /// An operator says that `id`, which failed, is not expected back. Should it live, it objects.
    pub fn on_forced_out(&mut self, now: MonoTime, id: ServerId, out: &mut impl Emit<Output<D>>) {
        let Some(at) = self.table.find(id) else { return };
        if self.table.outline(at).state == State::Failed {
            let left = Record { state: State::Left, ..self.record(at) };
            self.note_left(now, at, left, out);
            self.gossip_at = self.gossip_at.max(now);
        }
    }
}
