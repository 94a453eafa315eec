//! Nodes: the row of a list, and the whole.
//!
//! Invariants
//! - what tasks may use is `NodeResources` less `ReservedResources`.
use std::collections::BTreeMap;

use drover_core::types::{
    Capacity, CoreSet, Drain, DrainDeadline, DrainStatus, DriverInfo, HostVolume, LastDrain, Named,
    Node as Row, NodeEvent, NodePieces, NodeStatus, NodeSubsystem,
};
use serde::Serialize;

use super::devices;
use super::job::Ns;
use super::resources::{AllocatedMemory, Flat, Network};
use super::time::rfc3339;
use super::{Absent, some};

/// What a list says of a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stub {
    pub address: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    pub datacenter: String,
    pub name: String,
    pub node_class: String,
    pub node_pool: String,
    pub version: String,
    pub drain: bool,
    pub scheduling_eligibility: &'static str,
    pub status: &'static str,
    pub status_description: String,
    pub drivers: BTreeMap<String, Driver>,
    pub host_volumes: Option<BTreeMap<String, Volume>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_resources: Option<NodeResources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_resources: Option<Reserved>,
    pub last_drain: Option<Drained>,
    pub create_index: u64,
    pub modify_index: u64,
}

/// Everything about a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "SecretID")]
    pub secret_id: &'static str,
    pub datacenter: String,
    pub name: String,
    #[serde(rename = "HTTPAddr")]
    pub http_addr: String,
    #[serde(rename = "TLSEnabled")]
    pub tls_enabled: bool,
    pub attributes: BTreeMap<String, String>,
    pub node_resources: NodeResources,
    pub reserved_resources: Reserved,
    pub resources: Flat,
    pub reserved: Flat,
    pub links: Absent,
    pub meta: Option<BTreeMap<String, String>>,
    pub node_class: String,
    pub node_pool: String,
    pub computed_class: String,
    pub drain_strategy: Option<Strategy>,
    pub drain: bool,
    pub scheduling_eligibility: &'static str,
    pub status: &'static str,
    pub status_description: String,
    /// Seconds, unlike all other moments.
    pub status_updated_at: u64,
    pub events: Vec<Event>,
    pub drivers: BTreeMap<String, Driver>,
    #[serde(rename = "CSIControllerPlugins")]
    pub csi_controller_plugins: Absent,
    #[serde(rename = "CSINodePlugins")]
    pub csi_node_plugins: Absent,
    pub host_volumes: Option<BTreeMap<String, Volume>>,
    /// Zero: any number.
    pub node_max_allocs: u32,
    pub last_drain: Option<Drained>,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Driver {
    pub attributes: Option<BTreeMap<String, String>>,
    pub detected: bool,
    pub healthy: bool,
    pub health_description: String,
    pub update_time: String,
}

/// A directory that tasks may have.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    pub name: String,
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub message: String,
    pub subsystem: &'static str,
    pub details: Absent,
    pub timestamp: String,
    pub create_index: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeResources {
    pub cpu: Cpu,
    pub memory: AllocatedMemory,
    pub disk: Disk,
    pub networks: Vec<Network>,
    pub node_networks: Option<Vec<NodeNetwork>>,
    pub devices: Option<Vec<devices::Group>>,
    /// Ours and Nomad's since 1.3.
    pub min_dynamic_port: u16,
    pub max_dynamic_port: u16,
}

/// An interface that leads out of the machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeNetwork {
    pub mode: &'static str,
    pub device: String,
    pub mac_address: String,
    /// In Mbit/s.
    pub speed: u32,
    pub addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeAddress {
    pub family: &'static str,
    /// `default` for those of the interface that the node is known by.
    pub alias: &'static str,
    pub address: String,
    pub reserved_ports: String,
    pub gateway: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cpu {
    pub cpu_shares: u32,
    pub total_cpu_cores: u32,
    pub reservable_cpu_cores: Option<Vec<u16>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    #[serde(rename = "DiskMB")]
    pub disk_mb: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reserved {
    pub cpu: ReservedCpu,
    pub memory: AllocatedMemory,
    pub disk: Disk,
    pub networks: ReservedNetworks,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReservedCpu {
    pub cpu_shares: u32,
    pub reserved_cpu_cores: Option<Vec<u16>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReservedNetworks {
    pub reserved_host_ports: String,
}

/// What a row of the list should hold beside the essential.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    pub resources: bool,
    pub attributes: bool,
}

impl Stub {
    #[must_use]
    pub fn of(node: &Row, detail: Detail) -> Self {
        let spec = &node.spec;
        Self {
            address: address(node),
            id: spec.id.uuid().to_string(),
            attributes: all_of(&spec.attributes).filter(|_| detail.attributes),
            datacenter: spec.datacenter.clone(),
            name: spec.name.clone(),
            node_class: spec.class.clone(),
            node_pool: spec.pool.to_string(),
            version: attribute(node, "nomad.version"),
            drain: node.drain.is_some(),
            scheduling_eligibility: eligibility(node.eligible),
            status: status(node.status),
            status_description: String::new(),
            drivers: drivers(node),
            host_volumes: volumes(node),
            node_resources: detail.resources.then(|| resources(node)),
            reserved_resources: detail.resources.then(|| reserved(node)),
            last_drain: node.last_drain.as_ref().map(Drained::of),
            create_index: node.create_index.0,
            modify_index: node.modify_index.0,
        }
    }
}

impl Node {
    #[must_use]
    pub fn of(node: &Row) -> Self {
        let spec = &node.spec;
        Self {
            id: spec.id.uuid().to_string(),
            secret_id: "",
            datacenter: spec.datacenter.clone(),
            name: spec.name.clone(),
            http_addr: spec.http_address.clone(),
            tls_enabled: false,
            attributes: spec.attributes.to_tree(),
            node_resources: resources(node),
            reserved_resources: reserved(node),
            resources: Flat::of(spec.capacity, Some(networks(node))),
            reserved: Flat::of(spec.reserved, None),
            links: (),
            meta: all_of(&spec.meta),
            node_class: spec.class.clone(),
            node_pool: spec.pool.to_string(),
            computed_class: String::new(),
            drain_strategy: node.drain.as_ref().map(Strategy::of),
            drain: node.drain.is_some(),
            scheduling_eligibility: eligibility(node.eligible),
            status: status(node.status),
            status_description: String::new(),
            status_updated_at: node.status_changed_at.unix_ms / 1_000,
            events: node.events.iter().map(Event::of).collect(),
            drivers: drivers(node),
            csi_controller_plugins: (),
            csi_node_plugins: (),
            host_volumes: volumes(node),
            node_max_allocs: spec.allocs_max,
            last_drain: node.last_drain.as_ref().map(Drained::of),
            create_index: node.create_index.0,
            modify_index: node.modify_index.0,
        }
    }
}

fn volumes(node: &Row) -> Option<BTreeMap<String, Volume>> {
    let volume = |(name, volume): (&String, &HostVolume)| {
        let (path, read_only) = (volume.path.clone(), volume.access.is_read_only());
        (name.clone(), Volume { name: name.clone(), path, read_only })
    };
    let all = &node.spec.host_volumes;
    (!all.is_empty()).then(|| all.iter().map(volume).collect())
}

/// How the node is being emptied.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Strategy {
    pub deadline: Ns,
    pub ignore_system_jobs: bool,
    /// `NEVER` when nothing is forced.
    pub force_deadline: String,
    pub started_at: String,
}

/// What became of the last drain.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Drained {
    pub started_at: String,
    pub updated_at: String,
    pub status: &'static str,
    #[serde(rename = "AccessorID")]
    pub accessor_id: &'static str,
    pub meta: Option<BTreeMap<String, String>>,
}

/// The moment that Nomad writes for none.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Strategy {
    fn of(drain: &Drain) -> Self {
        let ns = match drain.spec.deadline {
            DrainDeadline::Force => -1_000_000_000,
            DrainDeadline::After { ms } => {
                i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
            }
            DrainDeadline::Never => 0,
        };
        // Whoever is emptied by force has no deadline to wait for.
        let waits = drain.spec.deadline != DrainDeadline::Force;
        let force_at = drain.force_at.filter(|_| waits);
        Self {
            deadline: Ns(ns),
            ignore_system_jobs: drain.spec.ignore_system,
            force_deadline: force_at.map_or_else(|| NEVER.to_owned(), rfc3339),
            started_at: rfc3339(drain.started_at),
        }
    }
}

impl Drained {
    fn of(last: &LastDrain) -> Self {
        Self {
            started_at: rfc3339(last.started_at),
            updated_at: rfc3339(last.updated_at),
            status: match last.status {
                DrainStatus::Draining => "draining",
                DrainStatus::Complete => "complete",
                DrainStatus::Canceled => "canceled",
            },
            accessor_id: "",
            meta: some(&last.meta),
        }
    }
}

impl Event {
    fn of(event: &NodeEvent) -> Self {
        Self {
            message: event.message.clone(),
            subsystem: match event.subsystem {
                NodeSubsystem::Cluster => "Cluster",
                NodeSubsystem::Drain => "Drain",
            },
            details: (),
            timestamp: rfc3339(event.at),
            create_index: 0,
        }
    }
}

/// Where the node's ports can be reached.
#[must_use]
pub fn address(node: &Row) -> String {
    let found = attribute(node, "unique.network.ip-address");
    if !found.is_empty() {
        return found;
    }
    let host = node.spec.http_address.rsplit_once(':').map_or("", |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn attribute(node: &Row, name: &str) -> String {
    node.spec.attributes.get(name).cloned().unwrap_or_default()
}

/// `None` where there is nothing, as Nomad has it.
fn all_of(pairs: &Named<String>) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.to_tree())
}

fn drivers(node: &Row) -> BTreeMap<String, Driver> {
    // What a driver says of itself stands among the node's attributes.
    let told = |name: &str| {
        let own = format!("driver.{name}");
        let is_own = |key: &str| key == own || key.starts_with(&format!("{own}."));
        let pairs = node.spec.attributes.iter().filter(|(key, _)| is_own(key));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let shown = |name: &str, info: &DriverInfo| Driver {
        attributes: some(&told(name)),
        detected: info.detected,
        healthy: info.healthy,
        health_description: info.description.clone(),
        update_time: rfc3339(node.status_changed_at),
    };
    node.spec.drivers.iter().map(|(name, info)| (name.clone(), shown(name, info))).collect()
}

/// The addresses of the interface that the node is known by; else the address that it told.
fn networks(node: &Row) -> Vec<Network> {
    let default = node.spec.networks.iter().find(|network| network.is_default);
    let own = [address(node)];
    let ips = default.map_or(&own[..], |network| &network.addresses);
    let network = |ip: &String| {
        let bits = if ip.contains(':') { 128 } else { 32 };
        Network {
            mode: "host".to_owned(),
            device: default.map_or_else(String::new, |network| network.device.clone()),
            cidr: format!("{ip}/{bits}"),
            ip: ip.clone(),
            mbits: default.map_or(0, |network| network.speed_mbits),
            ..Network::default()
        }
    };
    ips.iter().filter(|ip| !ip.is_empty()).map(network).collect()
}

fn node_networks(node: &Row) -> Option<Vec<NodeNetwork>> {
    let shown = node.spec.networks.iter().map(|network| NodeNetwork {
        mode: "host",
        device: network.device.clone(),
        mac_address: network.mac.clone(),
        speed: network.speed_mbits,
        addresses: network
            .addresses
            .iter()
            .map(|ip| NodeAddress {
                family: if ip.contains(':') { "ipv6" } else { "ipv4" },
                alias: if network.is_default { "default" } else { "" },
                address: ip.clone(),
                reserved_ports: String::new(),
                gateway: "",
            })
            .collect(),
    });
    let shown: Vec<NodeNetwork> = shown.collect();
    (!shown.is_empty()).then_some(shown)
}

fn resources(node: &Row) -> NodeResources {
    let Capacity { cpu_mhz, memory_mib, disk_mib } = node.spec.capacity;
    NodeResources {
        cpu: Cpu {
            cpu_shares: cpu_mhz,
            total_cpu_cores: attribute(node, "cpu.numcores").parse().unwrap_or(0),
            reservable_cpu_cores: listed(node, |pieces| &pieces.cores),
        },
        memory: AllocatedMemory { memory_mb: memory_mib, memory_max_mb: 0 },
        disk: Disk { disk_mb: disk_mib },
        networks: networks(node),
        node_networks: node_networks(node),
        devices: devices(node),
        min_dynamic_port: drover_core::types::DYNAMIC_PORT_MIN,
        max_dynamic_port: drover_core::types::DYNAMIC_PORT_MAX,
    }
}

fn devices(node: &Row) -> Option<Vec<devices::Group>> {
    let groups = &node.spec.pieces.as_ref()?.devices;
    (!groups.is_empty()).then(|| groups.iter().map(devices::Group::of).collect())
}

fn listed(node: &Row, which: fn(&NodePieces) -> &CoreSet) -> Option<Vec<u16>> {
    let cores = which(node.spec.pieces.as_ref()?);
    (!cores.is_empty()).then(|| cores.iter().collect())
}

fn reserved(node: &Row) -> Reserved {
    let Capacity { cpu_mhz, memory_mib, disk_mib } = node.spec.reserved;
    let ports: Vec<String> = node.spec.reserved_ports.iter().map(u16::to_string).collect();
    Reserved {
        cpu: ReservedCpu {
            cpu_shares: cpu_mhz,
            reserved_cpu_cores: listed(node, |pieces| &pieces.reserved_cores),
        },
        memory: AllocatedMemory { memory_mb: memory_mib, memory_max_mb: 0 },
        disk: Disk { disk_mb: disk_mib },
        networks: ReservedNetworks { reserved_host_ports: ports.join(",") },
    }
}

const fn eligibility(eligible: bool) -> &'static str {
    if eligible { "eligible" } else { "ineligible" }
}

/// The word for a status.
#[must_use]
pub const fn status(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Init => "initializing",
        NodeStatus::Ready => "ready",
        NodeStatus::Down => "down",
    }
}
