//! A job as its users know it by name: not there, running a specification, or stopped.
//!
//! What is stopped may be collected at any time, by whoever cleans up: then it is not there any more.
use drover_core::state::State;
use drover_core::types::JobSpec;

use super::history::{Kind, Object};
use crate::workload::{NAMESPACE, mark_of};

/// One job of the namespace.
#[derive(Clone, Debug)]
pub struct Job;

/// What a read shows.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Shown {
    #[default]
    Absent,
    Running {
        mark: u64,
    },
    Stopped {
        mark: u64,
    },
}

/// What was done, and what it came to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Act {
    Registered {
        mark: u64,
    },
    Stopped,
    Purged,
    /// Someone was told that there is such a job.
    Found,
    /// Someone was told that there is none.
    Missed,
    Read(Shown),
    /// The cluster went back to what was saved.
    Restored(Shown),
}

impl Object for Job {
    type State = Shown;
    type Act = Act;

    fn after(state: &Shown, act: &Act) -> Option<Shown> {
        match (*act, *state) {
            (Act::Registered { mark }, _) => Some(Shown::Running { mark }),
            (Act::Restored(shown), _) => Some(shown),
            (Act::Stopped, Shown::Running { mark } | Shown::Stopped { mark }) => {
                Some(Shown::Stopped { mark })
            }
            (Act::Purged, Shown::Running { .. } | Shown::Stopped { .. }) => Some(Shown::Absent),
            (Act::Found, Shown::Running { .. } | Shown::Stopped { .. }) => Some(*state),
            (Act::Stopped | Act::Purged | Act::Found, Shown::Absent) => None,
            (Act::Missed | Act::Read(Shown::Absent), Shown::Absent | Shown::Stopped { .. }) => {
                Some(Shown::Absent)
            }
            (Act::Missed, Shown::Running { .. }) => None,
            (Act::Read(shown), _) => (shown == *state).then_some(shown),
        }
    }

    fn kind(act: &Act) -> Kind {
        match act {
            Act::Found | Act::Missed | Act::Read(_) => Kind::Reads,
            Act::Registered { .. } | Act::Restored(_) => Kind::Overwrites,
            Act::Stopped | Act::Purged => Kind::Changes,
        }
    }
}

impl Shown {
    /// What `state` shows of the job.
    #[must_use]
    pub fn of(state: &State, job: &str) -> Self {
        let Some(job) = state.job_named(NAMESPACE, job) else { return Self::Absent };
        let mark = mark_of(&job.newest().spec);
        if job.stopped { Self::Stopped { mark } } else { Self::Running { mark } }
    }
}

impl Act {
    /// The registration of `spec`.
    #[must_use]
    pub fn registered(spec: &JobSpec) -> Self {
        Self::Registered { mark: mark_of(spec) }
    }
}
