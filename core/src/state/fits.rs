//! The one truth about fit: whether a node has room for an ask.
//!
//! The scheduler, the planner and the state machine all ask `Fleet::fits` (or `fits_over`, which adds
//! what the leader has proposed and not yet applied), so none can disagree with another.
//!
//! Invariants
//! - quantities are exact whole units: what was held and released leaves nothing behind;
//! - a node that holds more than it has (it registered again, smaller) fits nothing;
//! - a port that is reserved or held is granted to nobody else, nor is a piece that is held (`pieces`).
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::pieces::Rarely;
use crate::types::{Capacity, Claim};

/// Sums of capacities: wide enough that a node's allocs cannot overflow them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Amounts {
    pub cpu_mhz: u64,
    pub memory_mib: u64,
    pub disk_mib: u64,
}

impl From<Capacity> for Amounts {
    fn from(capacity: Capacity) -> Self {
        Self {
            cpu_mhz: u64::from(capacity.cpu_mhz),
            memory_mib: u64::from(capacity.memory_mib),
            disk_mib: u64::from(capacity.disk_mib),
        }
    }
}

impl Amounts {
    /// Count `more` in.
    pub fn add(&mut self, more: Self) {
        self.cpu_mhz += more.cpu_mhz;
        self.memory_mib += more.memory_mib;
        self.disk_mib += more.disk_mib;
    }

    /// Count `less` out again.
    pub fn remove(&mut self, less: Self) {
        assert!(less.cpu_mhz <= self.cpu_mhz, "only cpu that was held is released");
        assert!(less.memory_mib <= self.memory_mib, "only memory that was held is released");
        assert!(less.disk_mib <= self.disk_mib, "only disk that was held is released");
        self.cpu_mhz -= less.cpu_mhz;
        self.memory_mib -= less.memory_mib;
        self.disk_mib -= less.disk_mib;
    }

    /// Whether no quantity is more than that of `total`.
    #[must_use]
    pub const fn is_within(self, total: Self) -> bool {
        self.cpu_mhz <= total.cpu_mhz
            && self.memory_mib <= total.memory_mib
            && self.disk_mib <= total.disk_mib
    }

    /// What is left of `self` when `used` is taken; nothing where more is used than there is.
    #[must_use]
    pub fn left_after(self, used: Self) -> Self {
        Self {
            cpu_mhz: self.cpu_mhz.saturating_sub(used.cpu_mhz),
            memory_mib: self.memory_mib.saturating_sub(used.memory_mib),
            disk_mib: self.disk_mib.saturating_sub(used.disk_mib),
        }
    }

    /// As the 32-bit quantities of the tables; what does not fit is cut to the largest.
    #[must_use]
    pub fn to_capacity(self) -> Capacity {
        let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        Capacity {
            cpu_mhz: narrow(self.cpu_mhz),
            memory_mib: narrow(self.memory_mib),
            disk_mib: narrow(self.disk_mib),
        }
    }
}

/// What some allocs hold on one node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    pub amounts: Amounts,
    /// How many hold each port. More than one only after a lost node came back with its tasks.
    pub(super) ports: BTreeMap<u16, u32>,
    pub(super) pieces: Rarely,
    /// How many allocs.
    pub(super) alloc_count: u32,
}

impl Usage {
    /// Nobody holds anything.
    pub const NOTHING: Self = Self {
        amounts: Amounts { cpu_mhz: 0, memory_mib: 0, disk_mib: 0 },
        ports: BTreeMap::new(),
        pieces: Rarely::NOTHING,
        alloc_count: 0,
    };

    /// Count an alloc in.
    pub fn hold(&mut self, claim: Claim<'_>) {
        self.amounts.add(claim.capacity.into());
        self.alloc_count += 1;
        for port in claim.ports {
            *self.ports.entry(port.value).or_default() += 1;
        }
        self.pieces.hold(claim.pieces);
    }

    /// Count an alloc out again.
    pub fn release(&mut self, claim: Claim<'_>) {
        self.amounts.remove(claim.capacity.into());
        assert!(0 < self.alloc_count, "only who was counted in is counted out");
        self.alloc_count -= 1;
        for port in claim.ports {
            let holders =
                self.ports.get_mut(&port.value).expect("invariant: a released port was held");
            *holders -= 1;
            if *holders == 0 {
                self.ports.remove(&port.value);
            }
        }
        self.pieces.release(claim.pieces);
    }

    /// Count all of `other` in.
    pub fn join(&mut self, other: &Self) {
        self.amounts.add(other.amounts);
        for (&port, holders) in &other.ports {
            *self.ports.entry(port).or_default() += holders;
        }
        self.pieces.join(&other.pieces);
        self.alloc_count += other.alloc_count;
    }

    /// How many allocs hold `port`.
    #[must_use]
    pub fn holders(&self, port: u16) -> u32 {
        self.ports.get(&port).copied().unwrap_or(0)
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.amounts == Amounts::default()
            && self.ports.is_empty()
            && self.pieces.is_empty()
            && self.alloc_count == 0
    }
}

/// What is to be counted beside a node's own usage when fit is asked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Overlay {
    /// Placed in plans that are not applied yet.
    pub held: Usage,
    /// Would be released by stops whose tasks have not ended yet.
    pub freed: Usage,
}

impl Overlay {
    /// Nothing to count.
    pub const NOTHING: Self = Self { held: Usage::NOTHING, freed: Usage::NOTHING };

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.freed.is_empty()
    }
}

/// What a node lacked, the first thing found.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Shortage {
    /// Unknown, not ready, or not eligible.
    NotPlaceable,
    Cpu,
    Memory,
    Disk,
    /// It has as many allocs as it may.
    Allocs,
    /// Reserved or held by another.
    Port {
        label: String,
        value: u16,
    },
    /// None of the dynamic range is free.
    DynamicPorts,
    /// Too few that nobody has.
    Cores,
    /// Too few of those that would do.
    Devices,
    /// Others make way there for a job that is as important.
    Kept,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlaceable => f.write_str("node is not ready and eligible"),
            Self::Cpu => f.write_str("cpu"),
            Self::Memory => f.write_str("memory"),
            Self::Allocs => f.write_str("max allocations exceeded"),
            Self::Disk => f.write_str("disk"),
            Self::Port { label, value } => {
                write!(f, "network: reserved port collision {label}={value}")
            }
            Self::DynamicPorts => f.write_str("network: dynamic port selection failed"),
            Self::Cores => f.write_str("cores"),
            Self::Devices => f.write_str("devices"),
            Self::Kept => f.write_str("kept for an important job"),
        }
    }
}

/// `Amounts` of every node, one column per quantity, indexed by slot.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Columns {
    cpu_mhz: Vec<u64>,
    memory_mib: Vec<u64>,
    disk_mib: Vec<u64>,
}

impl Columns {
    pub(super) fn at(&self, at: usize) -> Amounts {
        Amounts {
            cpu_mhz: self.cpu_mhz[at],
            memory_mib: self.memory_mib[at],
            disk_mib: self.disk_mib[at],
        }
    }

    pub(super) fn set(&mut self, at: usize, amounts: Amounts) {
        self.cpu_mhz[at] = amounts.cpu_mhz;
        self.memory_mib[at] = amounts.memory_mib;
        self.disk_mib[at] = amounts.disk_mib;
    }

    pub(super) fn resize(&mut self, len: usize) {
        self.cpu_mhz.resize(len, 0);
        self.memory_mib.resize(len, 0);
        self.disk_mib.resize(len, 0);
    }
}

/// The first quantity of `ask` that `total` lacks once `used` is taken and `freed` given back.
pub(crate) fn shortage(
    total: Amounts,
    used: Amounts,
    freed: Amounts,
    ask: Capacity,
) -> Option<Shortage> {
    let ask = Amounts::from(ask);
    // Written as `used + ask <= total + freed`: nothing is subtracted, so nothing can go below zero.
    if total.cpu_mhz + freed.cpu_mhz < used.cpu_mhz + ask.cpu_mhz {
        Some(Shortage::Cpu)
    } else if total.memory_mib + freed.memory_mib < used.memory_mib + ask.memory_mib
        && !planted!(MemoryNotCounted)
    {
        Some(Shortage::Memory)
    } else if total.disk_mib + freed.disk_mib < used.disk_mib + ask.disk_mib {
        Some(Shortage::Disk)
    } else {
        None
    }
}
