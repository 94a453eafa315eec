//! What is asked for and what is held, in the three shapes that Nomad's clients read.
//!
//! Invariants
//! - the sum of the tasks' shapes is the alloc's capacity.
use std::collections::BTreeMap;

use drover_core::types::{Allocation, Capacity, Group, NetworkAsk, PortGrant, TaskResources};
use serde::Serialize;

use super::Absent;

/// The oldest shape: one flat object.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Flat {
    #[serde(rename = "CPU")]
    pub cpu: u32,
    #[serde(rename = "Cores")]
    pub cores: u32,
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u32,
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: u32,
    #[serde(rename = "DiskMB")]
    pub disk_mb: u32,
    #[serde(rename = "IOPS")]
    pub iops: u32,
    #[serde(rename = "Networks")]
    pub networks: Option<Vec<Network>>,
    #[serde(rename = "Devices")]
    pub devices: Absent,
}

impl Flat {
    /// The flat shape of `capacity`.
    #[must_use]
    pub fn of(capacity: Capacity, networks: Option<Vec<Network>>) -> Self {
        Self {
            cpu: capacity.cpu_mhz,
            memory_mb: capacity.memory_mib,
            disk_mb: capacity.disk_mib,
            networks,
            ..Self::default()
        }
    }
}

/// A network with the ports that are taken from it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    pub mode: String,
    pub device: String,
    #[serde(rename = "CIDR")]
    pub cidr: String,
    #[serde(rename = "IP")]
    pub ip: String,
    #[serde(rename = "DNS")]
    pub dns: Absent,
    #[serde(rename = "MBits")]
    pub mbits: u32,
    pub reserved_ports: Option<Vec<Port>>,
    pub dynamic_ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    pub label: String,
    pub value: u16,
    pub to: u16,
    pub host_network: String,
}

/// A port with the address it can be reached at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPort {
    pub label: String,
    pub value: u16,
    pub to: u16,
    #[serde(rename = "HostIP")]
    pub host_ip: String,
}

/// The newest shape: by task, and what the tasks share.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Allocated {
    pub tasks: BTreeMap<String, AllocatedTask>,
    pub task_lifecycles: BTreeMap<String, Absent>,
    pub shared: Shared,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AllocatedTask {
    pub cpu: AllocatedCpu,
    pub memory: AllocatedMemory,
    pub networks: Absent,
    pub devices: Absent,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AllocatedCpu {
    pub cpu_shares: u32,
    pub reserved_cores: Absent,
}

#[derive(Clone, Debug, Serialize)]
pub struct AllocatedMemory {
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u32,
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Shared {
    pub networks: Option<Vec<Network>>,
    #[serde(rename = "DiskMB")]
    pub disk_mb: u32,
    pub ports: Option<Vec<HostPort>>,
}

/// What an alloc holds, in all shapes.
#[derive(Clone, Debug)]
pub struct Holding {
    pub allocated: Allocated,
    pub total: Flat,
    pub shared: Flat,
    pub tasks: BTreeMap<String, Flat>,
}

impl Holding {
    /// What `alloc` of `group` holds on a node with the address `ip`.
    #[must_use]
    pub fn of(alloc: &Allocation, group: &Group, ip: &str) -> Self {
        let networks = networks(&alloc.ports, &group.network, ip);
        let tasks = group.tasks.iter().map(|task| (task.name.clone(), &task.resources));
        let by_task: BTreeMap<String, &TaskResources> = tasks.collect();
        let disk = Capacity { disk_mib: alloc.capacity.disk_mib, ..Capacity::default() };
        let mut total = Flat::of(alloc.capacity, networks.clone());
        total.memory_max_mb = total.memory_mb;
        let lifecycles = by_task.keys().map(|name| (name.clone(), ()));
        Self {
            allocated: Allocated {
                tasks: by_task.iter().map(|(name, ask)| (name.clone(), task(ask))).collect(),
                task_lifecycles: lifecycles.collect(),
                shared: Shared {
                    networks: networks.clone(),
                    disk_mb: alloc.capacity.disk_mib,
                    ports: host_ports(&alloc.ports, ip),
                },
            },
            total,
            shared: Flat::of(disk, networks),
            tasks: by_task.into_iter().map(|(name, ask)| (name, flat_task(ask))).collect(),
        }
    }
}

fn task(ask: &TaskResources) -> AllocatedTask {
    AllocatedTask {
        cpu: AllocatedCpu { cpu_shares: ask.cpu_mhz, reserved_cores: () },
        memory: AllocatedMemory { memory_mb: ask.memory_mib, memory_max_mb: 0 },
        networks: (),
        devices: (),
    }
}

fn flat_task(ask: &TaskResources) -> Flat {
    let (cpu_mhz, memory_mib) = (ask.cpu_mhz, ask.memory_mib);
    Flat::of(Capacity { cpu_mhz, memory_mib, disk_mib: 0 }, None)
}

fn networks(ports: &[PortGrant], ask: &NetworkAsk, ip: &str) -> Option<Vec<Network>> {
    if ports.is_empty() {
        return None;
    }
    let is_fixed = |label: &str| ask.ports.iter().any(|p| p.label == label && p.fixed.is_some());
    let (fixed, dynamic): (Vec<_>, Vec<_>) = ports.iter().partition(|port| is_fixed(&port.label));
    let list = |ports: Vec<&PortGrant>| {
        let shown = ports.iter().map(|port| Port {
            label: port.label.clone(),
            value: port.value,
            to: port.to,
            host_network: "default".to_owned(),
        });
        (!ports.is_empty()).then(|| shown.collect())
    };
    Some(vec![Network {
        mode: ask.mode.clone(),
        ip: ip.to_owned(),
        reserved_ports: list(fixed),
        dynamic_ports: list(dynamic),
        ..Network::default()
    }])
}

fn host_ports(ports: &[PortGrant], ip: &str) -> Option<Vec<HostPort>> {
    let shown = ports.iter().map(|port| HostPort {
        label: port.label.clone(),
        value: port.value,
        to: port.to,
        host_ip: ip.to_owned(),
    });
    (!ports.is_empty()).then(|| shown.collect())
}
