//! What waits in an agent, and how much of it may: each queue beside its bound, for whoever watches.
//!
//! Invariants
//! - looking changes nothing, and costs nothing that grows with a queue.
use super::Agent;
use crate::limits::{ORDERS_MAX, PROPOSAL_FRAMES_IN_FLIGHT, REQUESTS_PENDING_MAX};

/// Something that waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queue {
    pub name: &'static str,
    pub length: usize,
    pub length_max: usize,
}

impl Agent {
    /// Every queue of the agent as it is now. It is looked at after each simulated step, so nothing is
    /// gathered first.
    pub fn each_queue(&self, mut look: impl FnMut(Queue)) {
        if let Some(server) = &self.server {
            let (length, length_max) = (server.requests.waiting(), REQUESTS_PENDING_MAX);
            look(Queue { name: "requests without an answer", length, length_max });
        }
        if let Some(leader) = self.server.as_ref().and_then(|server| server.leader.as_ref()) {
            let (length, length_max) = leader.proposals.asked_bytes();
            look(Queue { name: "bytes of requests that wait for a frame", length, length_max });
            let length = leader.proposals.frames_in_flight();
            let length_max = PROPOSAL_FRAMES_IN_FLIGHT;
            look(Queue { name: "frames of proposals under way", length, length_max });
            let (length, length_max) = (leader.in_flight.len(), leader.plans_in_flight_max());
            look(Queue { name: "plans in flight", length, length_max });
            let (length, length_max) = (leader.orders.len(), ORDERS_MAX);
            look(Queue { name: "orders that are not done", length, length_max });
        }
        if let Some(client) = &self.client {
            let (length, length_max) = client.ended_allocs();
            look(Queue { name: "ended allocs whose files are kept", length, length_max });
        }
    }
}
