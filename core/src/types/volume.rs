//! Volumes: directories of a machine that its operator lends to tasks, and what jobs ask of them.
//!
//! Invariants
//! - a group's volumes have different names, and each mount of its tasks is of one of them;
//! - of one task, no two mounts are at one place.
use ::alloc::string::String;

use serde::{Deserialize, Serialize};

/// Whether something may be written to.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum Access {
    #[default]
    ReadWrite,
    ReadOnly,
}

impl Access {
    /// Whether who asks for `asked` may have something of this kind.
    #[must_use]
    pub const fn allows(self, asked: Self) -> bool {
        matches!((self, asked), (Self::ReadWrite, _) | (_, Self::ReadOnly))
    }

    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly)
    }

    /// As configurations and job files have it.
    #[must_use]
    pub const fn of(read_only: Option<bool>) -> Self {
        match read_only {
            Some(true) => Self::ReadOnly,
            Some(false) | None => Self::ReadWrite,
        }
    }
}

/// A directory of a machine that tasks may have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostVolume {
    /// Absolute.
    pub path: String,
    pub access: Access,
}

/// A volume that a group asks for.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct VolumeAsk {
    /// What nodes call it.
    pub source: String,
    pub access: Access,
}

/// Where a task finds a volume of its group.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct VolumeMount {
    /// What its group calls the volume.
    pub volume: String,
    /// Absolute, in the task's own root.
    pub destination: String,
    pub access: Access,
    pub propagation: Propagation,
}

/// Which mounts beneath a mounted volume are seen, when they are made later.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// The host's, by the task.
    HostToTask,
}

impl Propagation {
    /// As job files have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::HostToTask => "host-to-task",
        }
    }
}
