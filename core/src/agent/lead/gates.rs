//! Evaluations that wait for other jobs, when one of those has changed.
//!
//! Invariants
//! - an evaluation is woken only if all that one of its groups waits for is as it should be now.
use alloc::collections::BTreeSet;

use super::Leader;
use crate::broker;
use crate::emit::Emit;
use crate::state::{Gatekeeper, State};
use crate::types::JobId;

impl Leader {
    /// Of these, who need not wait any more goes on.
    pub(in crate::agent) fn let_in(
        &mut self,
        state: &State,
        waiting: BTreeSet<JobId>,
        out: &mut impl Emit<broker::Output>,
    ) {
        let mut gates = Gatekeeper::of(state);
        for job in waiting.into_iter().filter_map(|id| state.job(id)) {
            if self.broker.is_gated(job.id) && gates.may_let_in(job) {
                self.broker.on_let_in(job.id, out);
            }
        }
    }
}
