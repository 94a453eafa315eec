//! What a group's deployment lets its newest version do.
//!
//! | stage | of the newest version |
//! |---|---|
//! | free | everything at once: nobody watches |
//! | fresh | as rolling, or as canary if something old would have to go: the plan makes the deployment |
//! | rolling | `max_parallel` replaced at a time, the next when the last are healthy |
//! | canary | so many canaries beside the old ones, nothing else |
//! | paused | nothing more |
//! | failed | nothing more, and its canaries go |
//!
//! Invariants
//! - an alloc that is lost is replaced at every stage, by one of its own version where the newest may
//!   not take over yet.
use crate::state::State;
use crate::types::{DeploymentStatus, Group, Job};

/// See the module's table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Free,
    Fresh { canaries: u32 },
    Rolling,
    Canary { canaries: u32 },
    Paused,
    Failed,
}

impl Stage {
    /// At which stage `group` of the job's newest version is.
    pub(super) fn of(state: &State, job: &Job, group: &Group) -> Self {
        let newest = job.newest();
        if !newest.spec.is_watched(group) {
            return Self::Free;
        }
        let Some(deployment) = state.deployment_of_version(job.id, newest.version) else {
            return Self::Fresh { canaries: group.update.canary };
        };
        match deployment.status {
            DeploymentStatus::Paused => Self::Paused,
            DeploymentStatus::Failed => Self::Failed,
            DeploymentStatus::Running => match deployment.groups.get(&group.name) {
                Some(watched) if watched.awaits_promotion() => {
                    Self::Canary { canaries: watched.desired_canaries }
                }
                Some(_) | None => Self::Rolling,
            },
            DeploymentStatus::Successful | DeploymentStatus::Cancelled => Self::Rolling,
        }
    }

    /// Whether the newest version may take the place of what is old or missing.
    pub(super) const fn is_open(self) -> bool {
        match self {
            Self::Free | Self::Rolling => true,
            Self::Fresh { .. } | Self::Canary { .. } | Self::Paused | Self::Failed => false,
        }
    }

    /// A fresh version needs canaries only where something old has to go for it.
    pub(super) const fn begun(self, has_old: bool) -> Self {
        match self {
            Self::Fresh { canaries } if 0 < canaries && has_old => Self::Canary { canaries },
            Self::Fresh { .. } => Self::Rolling,
            other @ (Self::Free
            | Self::Rolling
            | Self::Canary { .. }
            | Self::Paused
            | Self::Failed) => other,
        }
    }
}
