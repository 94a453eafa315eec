//! A client machine as the servers know it.
//!
//! Status transitions (asserted by the state machine):
//!
//! | from \ to | init | ready | down |
//! |---|---|---|---|
//! | init | | heartbeat, all reported | silence |
//! | ready | registration | | silence |
//! | down | registration; heartbeat, not all reported | heartbeat, all reported | |
//!
//! Invariants
//! - a node is placed on only while it is ready and eligible; while it drains it is not eligible.
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::drain::{Drain, LastDrain};
use super::ids::{Index, NodeId};
use super::named::Named;
use super::pieces::NodePieces;
use super::pool::PoolName;
use super::resources::Capacity;
use super::volume::HostVolume;
use crate::time::WallTime;

/// What a client finds out about its machine and tells the servers when it registers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodeSpec {
    pub id: NodeId,
    pub name: String,
    pub datacenter: String,
    /// `client.node_class`; may be empty.
    pub class: String,
    /// Keys without the `attr.` prefix: `kernel.name`, `unique.hostname`, `driver.raw_exec`.
    pub attributes: Named<String>,
    pub meta: Named<String>,
    pub capacity: Capacity,
    /// Kept back for the machine itself.
    pub reserved: Capacity,
    pub reserved_ports: Vec<u16>,
    pub drivers: Named<DriverInfo>,
    /// `address:port` of its HTTP API, reachable by users of the CLI.
    pub http_address: String,
    /// `client.node_pool`; never `all`.
    pub pool: PoolName,
    /// Cores and devices that tasks may have for themselves, if the machine has any to give.
    pub pieces: Option<Arc<NodePieces>>,
    /// `client.node_max_allocs`; zero: as many as there is room for.
    pub allocs_max: u32,
    /// Where others may reach it; for people and what runs on it, nothing is placed by them.
    pub networks: Vec<NodeNetwork>,
    /// The blocks `client.host_volume`, by name.
    pub host_volumes: Named<HostVolume>,
}

/// An interface of a machine that leads elsewhere.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodeNetwork {
    /// Such as `eth0`.
    pub device: String,
    /// Pairs of digits with colons between; empty where it has none.
    pub mac: String,
    pub speed_mbits: u32,
    /// Without the length of their prefix.
    pub addresses: Vec<String>,
    /// It is the one that the machine is known by: what asks for no network by name uses it.
    pub is_default: bool,
}

/// Whether tasks of a driver can run here.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DriverInfo {
    pub detected: bool,
    pub healthy: bool,
    /// For people: `Healthy`, or why not.
    pub description: String,
}

/// A row of the table of nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Node {
    pub spec: NodeSpec,
    pub status: NodeStatus,
    pub eligible: bool,
    pub status_changed_at: WallTime,
    /// The last few things that happened to it, oldest first.
    pub events: Vec<NodeEvent>,
    pub create_index: Index,
    pub modify_index: Index,
    /// While it is being emptied.
    pub drain: Option<Drain>,
    pub last_drain: Option<LastDrain>,
}

/// Whether the servers hear from the node.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum NodeStatus {
    /// It is there, and what runs on it is not known for certain: nothing is placed on it.
    #[default]
    Init,
    Ready,
    Down,
}

impl NodeStatus {
    /// Every change of status that there is: the module's table as data.
    pub const TRANSITIONS: [(Self, Self); 6] = [
        (Self::Init, Self::Ready),
        (Self::Init, Self::Down),
        (Self::Ready, Self::Init),
        (Self::Ready, Self::Down),
        (Self::Down, Self::Init),
        (Self::Down, Self::Ready),
    ];

    /// Whether a row with this status may get `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        Self::TRANSITIONS.contains(&(self, next))
    }

    /// Whether hearing the node, or not hearing it, may give it `next`: a node that is ready has nothing to
    /// report before it registers anew.
    #[must_use]
    pub fn may_be_found(self, next: Self) -> bool {
        self.may_become(next) && (self, next) != (Self::Ready, Self::Init)
    }
}

/// One line of a node's history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodeEvent {
    pub at: WallTime,
    pub message: String,
    pub subsystem: NodeSubsystem,
}

/// What a line of a node's history is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum NodeSubsystem {
    Cluster,
    Drain,
}

impl NodeSpec {
    /// What tasks may use.
    #[must_use]
    pub fn usable(&self) -> Capacity {
        Capacity {
            cpu_mhz: self.capacity.cpu_mhz.saturating_sub(self.reserved.cpu_mhz),
            memory_mib: self.capacity.memory_mib.saturating_sub(self.reserved.memory_mib),
            disk_mib: self.capacity.disk_mib.saturating_sub(self.reserved.disk_mib),
        }
    }
}
