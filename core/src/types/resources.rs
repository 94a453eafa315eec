//! What nodes have and tasks ask for, in whole units.
//!
//! Invariants
//! - a dynamic port lies in `DYNAMIC_PORT_MIN..=DYNAMIC_PORT_MAX`.
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::pieces::DeviceAsk;

/// First and last of the ports that the scheduler hands out itself (Nomad's defaults).
pub const DYNAMIC_PORT_MIN: u16 = 20_000;
/// See `DYNAMIC_PORT_MIN`.
pub const DYNAMIC_PORT_MAX: u16 = 32_000;

/// The three quantities that are added up per node.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Capacity {
    pub cpu_mhz: u32,
    pub memory_mib: u32,
    pub disk_mib: u32,
}

impl Capacity {
    /// Each quantity added; `None` when one would overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            cpu_mhz: self.cpu_mhz.checked_add(other.cpu_mhz)?,
            memory_mib: self.memory_mib.checked_add(other.memory_mib)?,
            disk_mib: self.disk_mib.checked_add(other.disk_mib)?,
        })
    }

    /// Each quantity subtracted; `None` when one would go below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self {
            cpu_mhz: self.cpu_mhz.checked_sub(other.cpu_mhz)?,
            memory_mib: self.memory_mib.checked_sub(other.memory_mib)?,
            disk_mib: self.disk_mib.checked_sub(other.disk_mib)?,
        })
    }

    /// Each quantity subtracted, down to zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            cpu_mhz: self.cpu_mhz.saturating_sub(other.cpu_mhz),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            disk_mib: self.disk_mib.saturating_sub(other.disk_mib),
        }
    }

    /// The smaller of each quantity.
    #[must_use]
    pub fn min_of_each(self, other: Self) -> Self {
        Self {
            cpu_mhz: self.cpu_mhz.min(other.cpu_mhz),
            memory_mib: self.memory_mib.min(other.memory_mib),
            disk_mib: self.disk_mib.min(other.disk_mib),
        }
    }

    /// Whether `ask` fits into this, quantity by quantity.
    #[must_use]
    pub const fn holds(self, ask: Self) -> bool {
        ask.cpu_mhz <= self.cpu_mhz
            && ask.memory_mib <= self.memory_mib
            && ask.disk_mib <= self.disk_mib
    }
}

/// What a job that waits for room needs.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Need {
    /// No alloc of it takes less of any quantity.
    pub least: Capacity,
    /// Jobs with the same number are suited by the same nodes.
    pub alike: u64,
}

/// What one task asks for. Disk is asked for by the group.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct TaskResources {
    /// Zero where it asks for cores: they bring theirs.
    pub cpu_mhz: u32,
    /// Cores that nobody else may have.
    pub cores: u32,
    /// What is kept for the task.
    pub memory_mib: u32,
    pub memory_max: MemoryMax,
    /// Devices that nobody else may have.
    pub devices: Vec<DeviceAsk>,
}

/// How much memory a task may use where the scheduler's configuration lets tasks use more than is kept
/// for them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum MemoryMax {
    /// What it asks for.
    #[default]
    Asked,
    Mib(u32),
    Unlimited,
}

/// What of a node's memory a task is to have and may have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemoryLimit {
    pub kept_mib: u32,
    /// `None`: all there is.
    pub most_mib: Option<u32>,
}

impl Default for TaskResources {
    /// Nomad's: 100 MHz and 300 MiB.
    fn default() -> Self {
        Self {
            cpu_mhz: 100,
            cores: 0,
            memory_mib: 300,
            memory_max: MemoryMax::Asked,
            devices: Vec::new(),
        }
    }
}

impl TaskResources {
    /// Whether the task has something for itself.
    #[must_use]
    pub const fn wants_pieces(&self) -> bool {
        0 < self.cores || !self.devices.is_empty()
    }

    /// What the task may use where it may use more than it asks for; `None`: it wants no more.
    #[must_use]
    pub fn memory_limit(&self) -> Option<MemoryLimit> {
        let most_mib = match self.memory_max {
            MemoryMax::Asked => return None,
            MemoryMax::Mib(most) => Some(most),
            MemoryMax::Unlimited => None,
        };
        Some(MemoryLimit { kept_mib: self.memory_mib, most_mib })
    }
}

/// A group's `network` block. Only the host's own network exists so far.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct NetworkAsk {
    /// `"host"` or empty.
    pub mode: String,
    pub ports: Vec<PortAsk>,
}

/// One `port` block.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct PortAsk {
    pub label: String,
    /// `None`: the scheduler picks one of the dynamic range.
    pub fixed: Option<u16>,
    /// The port inside the task's own network; zero means the same as outside.
    pub to: u16,
}

/// A port that an alloc holds on its node.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct PortGrant {
    pub label: String,
    pub value: u16,
    pub to: u16,
}
