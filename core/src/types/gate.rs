//! What a job or a group waits for before anything of it is placed: the blocks `after` of a job file.
//!
//! Invariants
//! - a gate names a job, a group, or both; without a job it is a group of the same job.
use ::alloc::string::String;

use serde::{Deserialize, Serialize};

use super::job::{Group, JobKind, JobSpec};

/// One thing that must have come before.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Gate {
    /// A job of the same namespace; `None`: the job itself.
    pub job: Option<String>,
    /// `None`: all groups.
    pub group: Option<String>,
    /// `None`: what is usual for the type of the job that is waited for.
    pub until: Option<Until>,
}

/// When a gate opens.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Until {
    /// All that is wanted runs, and is healthy where health is looked at.
    Healthy,
    /// All that is wanted has succeeded.
    Complete,
}

impl Until {
    /// What is waited for where nothing is said.
    #[must_use]
    pub const fn usual(kind: JobKind) -> Self {
        if kind.ends() { Self::Complete } else { Self::Healthy }
    }
}

impl JobSpec {
    /// What the group waits for: the job's gates, then its own.
    pub fn gates_of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Gate> {
        self.after.iter().chain(&group.after)
    }

    /// Whether anything of the job waits for something.
    #[must_use]
    pub fn has_gates(&self) -> bool {
        !self.after.is_empty() || self.groups.iter().any(|group| !group.after.is_empty())
    }

    /// The name of the job that the gate looks at.
    #[must_use]
    pub fn target_of<'a>(&'a self, gate: &'a Gate) -> &'a str {
        gate.job.as_ref().unwrap_or(&self.id)
    }
}
