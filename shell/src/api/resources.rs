//! What is asked for and what is held, in the three shapes that Nomad's clients read.
//!
//! Invariants
//! - the sum of the tasks' shapes is the alloc's capacity.
use std::collections::BTreeMap;

use drover_core::types::{
    Allocation, Capacity, Group, MemoryMax, NetworkAsk, PortGrant, Task, TaskPieces,
};
use serde::Serialize;

use super::Absent;
use super::devices::Granted;
use super::job::memory_max_mb;

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
    pub memory_max_mb: i64,
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
    pub devices: Option<Vec<Granted>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AllocatedCpu {
    pub cpu_shares: u32,
    pub reserved_cores: Option<Vec<u16>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AllocatedMemory {
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u32,
    /// Zero: no more than `memory_mb`; -1: no limit.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: i64,
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
        let holder = Holder { alloc, group };
        let by_task: BTreeMap<&String, &Task> =
            group.tasks.iter().map(|task| (&task.name, task)).collect();
        let disk = Capacity { disk_mib: alloc.capacity.disk_mib, ..Capacity::default() };
        let total = Flat {
            cores: group.core_count(),
            memory_max_mb: holder.total_memory_max_mb(),
            ..Flat::of(alloc.capacity, networks.clone())
        };
        let own = by_task.iter().map(|(&name, task)| (name.clone(), holder.task(task)));
        let flat = by_task.iter().map(|(&name, task)| (name.clone(), holder.flat_task(task)));
        Self {
            allocated: Allocated {
                tasks: own.collect(),
                task_lifecycles: by_task.keys().map(|&name| (name.clone(), ())).collect(),
                shared: Shared {
                    networks: networks.clone(),
                    disk_mb: alloc.capacity.disk_mib,
                    ports: host_ports(&alloc.ports, ip),
                },
            },
            total,
            shared: Flat::of(disk, networks),
            tasks: flat.collect(),
        }
    }
}

/// Whose tasks hold something.
#[derive(Clone, Copy)]
struct Holder<'a> {
    alloc: &'a Allocation,
    group: &'a Group,
}

impl<'a> Holder<'a> {
    /// What the task may use of memory at most.
    fn most_of(self, task: &Task) -> MemoryMax {
        if self.alloc.may_exceed_memory { task.resources.memory_max } else { MemoryMax::Asked }
    }

    /// Of all tasks together: those that name no more count with what they ask for.
    fn total_memory_max_mb(self) -> i64 {
        let most = self.group.tasks.iter().map(|task| match self.most_of(task) {
            MemoryMax::Asked => Some(i64::from(task.resources.memory_mib)),
            MemoryMax::Mib(most) => Some(i64::from(most)),
            MemoryMax::Unlimited => None,
        });
        most.sum::<Option<i64>>().unwrap_or(-1)
    }

    /// Its own, or what its cores count for: what of the alloc's is nobody else's, by cores.
    fn cpu_mhz(self, task: &Task) -> u32 {
        let others: u32 = self.group.tasks.iter().map(|task| task.resources.cpu_mhz).sum();
        let of_cores = self.alloc.capacity.cpu_mhz.saturating_sub(others);
        let core_mhz = of_cores.checked_div(self.group.core_count()).unwrap_or(0);
        task.resources.cpu_mhz + core_mhz * task.resources.cores
    }

    fn pieces_of(self, task: &Task) -> Option<&'a TaskPieces> {
        self.alloc.pieces.as_ref()?.of_task(&task.name)
    }

    fn task(self, task: &Task) -> AllocatedTask {
        let cores = self.pieces_of(task).map(|has| has.cores.iter().collect::<Vec<_>>());
        let grants = self.pieces_of(task).map(|has| has.devices.iter());
        let granted = grants.map(|grants| grants.map(Granted::of).collect::<Vec<_>>());
        AllocatedTask {
            cpu: AllocatedCpu {
                cpu_shares: self.cpu_mhz(task),
                reserved_cores: cores.filter(|cores| !cores.is_empty()),
            },
            memory: AllocatedMemory {
                memory_mb: task.resources.memory_mib,
                memory_max_mb: memory_max_mb(self.most_of(task)),
            },
            networks: (),
            devices: granted.filter(|granted| !granted.is_empty()),
        }
    }

    fn flat_task(self, task: &Task) -> Flat {
        let (cpu_mhz, memory_mib) = (self.cpu_mhz(task), task.resources.memory_mib);
        Flat {
            cores: task.resources.cores,
            memory_max_mb: memory_max_mb(self.most_of(task)),
            ..Flat::of(Capacity { cpu_mhz, memory_mib, disk_mib: 0 }, None)
        }
    }
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
