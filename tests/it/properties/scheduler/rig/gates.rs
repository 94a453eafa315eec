//! Who waits for other jobs, as a leader looks at it.
use std::collections::BTreeSet;

use drover_core::broker::Broker;
use drover_core::planner::InFlight;
use drover_core::state::{Gatekeeper, State};
use drover_core::types::JobId;

use super::Cluster;

impl Cluster {
    /// As a leader does when jobs have changed that others wait for.
    pub(super) fn let_in(&mut self, waiting: BTreeSet<JobId>) {
        let mut gates = Gatekeeper::of(&self.state);
        for job in waiting.into_iter().filter_map(|id| self.state.job(id)) {
            if self.broker.is_gated(job.id) && gates.may_let_in(job) {
                self.broker.on_let_in(job.id, &mut self.asked);
            }
        }
    }

    /// Another server leads, which knows what a snapshot says and nothing else.
    pub(crate) fn lead_anew(&mut self) {
        self.state = State::decode(&self.state.encode()).expect("what was written reads");
        self.in_flight = InFlight::default();
        let open = self.state.pending_evals().chain(self.state.blocked_evals());
        self.broker = Broker::restore(open, self.stamp, &mut self.asked);
        let waiting = self.state.waiters();
        self.let_in(waiting);
    }
}
