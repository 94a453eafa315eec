//! Moments that come by themselves: the leader enters that they have come, and the entry's stamp decides.
//!
//! Invariants
//! - what is entered and lost is entered again.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Agent;
use crate::fsm::Command;
use crate::limits::REQUEST_REPEAT_MS;
use crate::proposals::Origin;
use crate::time::{MonoTime, WallTime};
use crate::types::{DeploymentId, NodeId};

/// Deployments that one entry looks at: each may write a new version of its job, and an evaluation.
const REVIEWED_MAX: usize = 256;
/// Drains that one entry looks at.
const DRAINS_REVIEWED_MAX: usize = 16;

/// When something must be looked at.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Reviews {
    deployments: Review,
    drains: Review,
}

/// Of one kind.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Review {
    /// The first moment at which one must be looked at.
    due: Option<WallTime>,
    /// Not before this it is asked for again.
    at: MonoTime,
}

impl Reviews {
    pub(super) const fn new(now: MonoTime) -> Self {
        let review = Review { due: None, at: now };
        Self { deployments: review, drains: review }
    }

    /// `at` says when a moment of the replicated clock comes.
    pub(super) fn next_deadline(&self, at: impl Fn(WallTime) -> MonoTime) -> Option<MonoTime> {
        let reviews = [self.deployments, self.drains].into_iter();
        reviews.filter_map(|review| Some(at(review.due?).max(review.at))).min()
    }
}

impl Agent {
    /// Deployments whose moment has come are looked at by an entry: it says what time it is.
    pub(super) fn review_deployments(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        let mut deadlines = server.state.deployment_deadlines().peekable();
        let review = &mut leader.reviews.deployments;
        review.due = deadlines.peek().map(|&(due, _)| due);
        if now < review.at || planted!(DeadlineIgnored) {
            return;
        }
        let due = deadlines.take_while(|&(due, _)| due <= leader.clock).take(REVIEWED_MAX);
        let deployments: Vec<DeploymentId> = due.map(|(_, id)| id).collect();
        if !deployments.is_empty() {
            review.at = now.plus_ms(REQUEST_REPEAT_MS);
            let command = Command::ReviewDeployments { deployments };
            self.propose(command, None, Origin::Housekeeping);
        }
    }

    /// The same for drains whose deadline has come.
    pub(super) fn review_drains(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        let mut due = server.state.drains_due().peekable();
        let review = &mut leader.reviews.drains;
        review.due = due.peek().map(|&(due, _)| due);
        if now < review.at || planted!(DrainDeadlineForgotten) {
            return;
        }
        let due = due.take_while(|&(due, _)| due <= leader.clock).take(DRAINS_REVIEWED_MAX);
        let nodes: Vec<NodeId> = due.map(|(_, id)| id).collect();
        if !nodes.is_empty() {
            review.at = now.plus_ms(REQUEST_REPEAT_MS);
            self.propose(Command::ReviewDrains { nodes }, None, Origin::Housekeeping);
        }
    }
}
