//! Moments that come by themselves, of deployments, drains and calendars: the leader enters that one has
//! come, and the entry's stamp decides.
//!
//! Invariants
//! - a moment that has come is entered again until an entry has seen to it, by whoever leads then;
//! - of two entries about one moment the second finds nothing due.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Agent, lead::Leader};
use crate::fsm::Command;
use crate::limits::REQUEST_REPEAT_MS;
use crate::proposals::Origin;
use crate::state::State;
use crate::time::{MonoTime, WallTime};
use crate::types::{DeploymentId, JobId, NodeId};

/// Deployments that one entry looks at: each may write a new version of its job, and an evaluation.
const REVIEWED_MAX: usize = 256;
/// Drains that one entry looks at.
const DRAINS_REVIEWED_MAX: usize = 16;
/// Jobs that one entry launches: each writes itself, a child and an evaluation.
const LAUNCHED_MAX: usize = 256;

/// What a leader looks out for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Moments {
    deployments: Lookout<DeploymentId>,
    drains: Lookout<NodeId>,
    launches: Lookout<JobId>,
}

/// The moments of one kind.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Lookout<T> {
    /// The first that comes.
    first: Option<(WallTime, T)>,
    /// Not before this it is entered again.
    again_at: MonoTime,
}

impl Moments {
    pub(super) const fn new(now: MonoTime) -> Self {
        Self {
            deployments: Lookout::new(now),
            drains: Lookout::new(now),
            launches: Lookout::new(now),
        }
    }

    /// `at` says when a moment of the replicated clock comes.
    pub(super) fn next_deadline(&self, at: impl Fn(WallTime) -> MonoTime) -> Option<MonoTime> {
        let (deployments, drains) = (self.deployments.next(&at), self.drains.next(&at));
        [deployments, drains, self.launches.next(&at)].into_iter().flatten().min()
    }
}

impl<T: Copy + Eq> Lookout<T> {
    const fn new(now: MonoTime) -> Self {
        Self { first: None, again_at: now }
    }

    fn next(&self, at: impl Fn(WallTime) -> MonoTime) -> Option<MonoTime> {
        self.first.map(|(due, _)| at(due).max(self.again_at))
    }

    /// Of `coming`, soonest first, at most `most` that have come by `clock`, to be entered now.
    fn come(
        &mut self,
        coming: impl Iterator<Item = (WallTime, T)>,
        (now, clock): (MonoTime, WallTime),
        most: usize,
    ) -> Vec<T> {
        let mut coming = coming.peekable();
        let first = coming.peek().copied();
        // What was entered has been applied: the next one need not wait.
        if self.first != first {
            *self = Self { first, again_at: now };
        }
        if now < self.again_at {
            return Vec::new();
        }
        let come: Vec<T> =
            coming.take_while(|&(due, _)| due <= clock).take(most).map(|(_, id)| id).collect();
        if !come.is_empty() {
            self.again_at = now.plus_ms(REQUEST_REPEAT_MS);
        }
        come
    }
}

impl Agent {
    /// Enter what has come.
    pub(super) fn look_out(&mut self) {
        self.enter_come(|leader, state, now| {
            let (coming, moment) = (state.deployment_deadlines(), (now, leader.clock));
            let lookout = &mut leader.moments.deployments;
            let deployments = lookout.come(coming, moment, REVIEWED_MAX);
            let is_any = !deployments.is_empty() && !planted!(DeadlineIgnored);
            is_any.then_some(Command::ReviewDeployments { deployments })
        });
        self.enter_come(|leader, state, now| {
            let (coming, moment) = (state.drains_due(), (now, leader.clock));
            let nodes = leader.moments.drains.come(coming, moment, DRAINS_REVIEWED_MAX);
            (!nodes.is_empty()).then_some(Command::ReviewDrains { nodes })
        });
        self.enter_come(|leader, state, now| {
            let (coming, moment) = (state.launches(), (now, leader.clock));
            let jobs = leader.moments.launches.come(coming, moment, LAUNCHED_MAX);
            let is_any = !jobs.is_empty() && !planted!(LaunchForgotten);
            is_any.then_some(Command::LaunchPeriodic { jobs })
        });
    }

    fn enter_come(&mut self, come: impl FnOnce(&mut Leader, &State, MonoTime) -> Option<Command>) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        if let Some(command) = come(leader, &server.state, now) {
            self.propose(command, None, Origin::Housekeeping);
        }
    }
}
