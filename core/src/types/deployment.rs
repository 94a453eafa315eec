//! A deployment: the watch over a new version of a service while it takes over.
//!
//! Status transitions:
//!
//! | from \ to | running | paused | successful | failed | cancelled |
//! |---|---|---|---|---|---|
//! | running | | an operator | every group is healthy | a deadline, ill health, an operator | a newer version, the job stopped |
//! | paused | an operator | | | an operator | same |
//!
//! Invariants
//! - successful, failed and cancelled are final;
//! - a version has at most one deployment, and only the newest version's can be active.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::ids::{AllocId, DeploymentId, Index, JobId};
use crate::time::WallTime;

/// A row of the table of deployments.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub job: JobId,
    pub version: u64,
    pub status: DeploymentStatus,
    /// For people, in the words that they know from Nomad.
    pub status_description: String,
    /// By name, those of the version's groups that are watched.
    pub groups: BTreeMap<String, DeploymentGroup>,
    pub create_index: Index,
    pub modify_index: Index,
    pub create_time: WallTime,
    pub modify_time: WallTime,
}

/// How far one group has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeploymentGroup {
    pub desired_total: u32,
    /// Zero: the group has none, or the version could take over without.
    pub desired_canaries: u32,
    /// Every canary that was placed, also those that have ended since.
    pub placed_canaries: Vec<AllocId>,
    pub promoted: bool,
    /// Allocs that have joined the deployment, all in all.
    pub placed: u32,
    /// Allocs that are healthy now.
    pub healthy: u32,
    /// The most that were healthy at once since it began, or was promoted: less is no progress.
    pub healthy_most: u32,
    /// Allocs that were found unhealthy, all in all.
    pub unhealthy: u32,
    pub auto_revert: bool,
    pub auto_promote: bool,
    /// Zero: the first unhealthy alloc fails the deployment.
    pub progress_deadline_ms: u64,
    /// By then the next alloc must be healthy.
    pub require_progress_by: WallTime,
    /// Its gates are closed: nothing of it is placed yet, and no deadline runs.
    pub waits: bool,
}

/// See the module's table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum DeploymentStatus {
    Running,
    Paused,
    Successful,
    Failed,
    Cancelled,
}

impl DeploymentStatus {
    /// Every change of status that there is: the module's table as data.
    pub const TRANSITIONS: [(Self, Self); 7] = [
        (Self::Running, Self::Paused),
        (Self::Running, Self::Successful),
        (Self::Running, Self::Failed),
        (Self::Running, Self::Cancelled),
        (Self::Paused, Self::Running),
        (Self::Paused, Self::Failed),
        (Self::Paused, Self::Cancelled),
    ];

    /// Whether a row with this status may get `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        Self::TRANSITIONS.contains(&(self, next))
    }

    /// Whether something can still come of it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl DeploymentGroup {
    /// Whether only canaries of the version may run yet.
    #[must_use]
    pub const fn awaits_promotion(&self) -> bool {
        0 < self.desired_canaries && !self.promoted
    }

    /// When it must have made progress; `None` when it waits for nobody's health.
    #[must_use]
    pub const fn deadline(&self) -> Option<WallTime> {
        let wanted =
            if self.awaits_promotion() { self.desired_canaries } else { self.desired_total };
        if self.progress_deadline_ms == 0 || self.waits || wanted <= self.healthy {
            return None;
        }
        Some(self.require_progress_by)
    }
}

impl Deployment {
    /// When the leader must look at it, if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<WallTime> {
        let groups = self.groups.values().filter_map(DeploymentGroup::deadline);
        groups.min().filter(|_| self.status == DeploymentStatus::Running)
    }

    /// Whether all that is not where it should be waits for another job or group.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        let is_done = |group: &DeploymentGroup| {
            !group.awaits_promotion() && group.desired_total <= group.healthy
        };
        let mut groups = self.groups.values();
        groups.any(|group| group.waits) && self.groups.values().all(|g| g.waits || is_done(g))
    }

    /// Whether the version may not take over before an operator, or its own health, says so.
    #[must_use]
    pub fn awaits_promotion(&self) -> bool {
        self.groups.values().any(DeploymentGroup::awaits_promotion)
    }
}
