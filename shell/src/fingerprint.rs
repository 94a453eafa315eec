//! What this machine is and has, under the names that Nomad's users write into constraints.
//!
//! Everything is read from /proc, /sys and /etc by hand, in a few milliseconds. What cannot be found
//! out is left out: an attribute that is there is true. A machine is looked at again and again, as
//! some of it changes while the agent runs; two looks at a machine that has not changed are equal, as
//! each difference is an entry in the servers' log.
//!
//! Invariants
//! - capacity is what the attributes say, in whole units, rounded down;
//! - what moves all the time (clocks, free space) is as it was when it was first seen.
//!
//! It does not probe clouds or containers, and of devices only what the kernel tells.
mod cgroup;
mod cni;
mod cpu;
mod devices;
mod drivers;
mod memory;
mod netlink;
mod network;
mod os;
mod root;
mod storage;

pub use network::NetworkConfig;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use drover_core::types::{Capacity, CoreSet, DeviceGroup, DriverInfo, NodeNetwork, NodePieces};

use self::cgroup::Cgroups;
use self::cpu::Processors;
use self::memory::Memory;
use self::network::Interfaces;
use self::root::Root;
use self::storage::Volume;
use crate::config::RawExec;

/// What the agent's configuration says about its machine.
#[derive(Clone, Debug)]
pub struct FingerprintConfig {
    /// Beneath which the machine's files lie: `/`.
    pub root: PathBuf,
    /// Its volume is where tasks write.
    pub data_dir: PathBuf,
    /// Where tasks have their files.
    pub alloc_dir: PathBuf,
    pub raw_exec: RawExec,
    /// `client.cpu_total_compute`, where the machine does not tell.
    pub cpu_total_mhz: Option<u32>,
    /// `client.reserved.cpu`.
    pub reserved_mhz: u32,
    /// `client.reservable_cores`; `None`: all there are.
    pub reservable_cores: Option<CoreSet>,
    /// `client.reserved.cores`.
    pub reserved_cores: CoreSet,
    /// `client.device`.
    pub devices: Vec<DeviceGroup>,
    /// `client.memory_total_mb`.
    pub memory_total_mib: Option<u32>,
    pub network: NetworkConfig,
    /// `client.cni_path`.
    pub cni_dirs: Vec<PathBuf>,
    /// Where users reach the agent, and by its IP address the tasks.
    pub address: SocketAddr,
    /// The agent's version.
    pub version: String,
}

impl Default for FingerprintConfig {
    fn default() -> Self {
        Self {
            root: "/".into(),
            data_dir: "/".into(),
            alloc_dir: "/".into(),
            raw_exec: RawExec::Off,
            cpu_total_mhz: None,
            reserved_mhz: 0,
            reservable_cores: None,
            reserved_cores: CoreSet::default(),
            devices: Vec::new(),
            memory_total_mib: None,
            network: NetworkConfig::default(),
            cni_dirs: Vec::new(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            version: String::new(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fingerprint {
    pub attributes: BTreeMap<String, String>,
    pub capacity: Capacity,
    /// Of the processors, kept back for the machine itself.
    pub reserved_mhz: u32,
    pub pieces: NodePieces,
    pub drivers: BTreeMap<String, DriverInfo>,
    pub networks: Vec<NodeNetwork>,
}

const MIB: u64 = 1 << 20;

/// Looks at one machine; remembers what need not, or must not, be looked at twice.
#[derive(Debug)]
pub struct Fingerprinter {
    config: FingerprintConfig,
    root: Root,
    processors: Processors,
    memory: Memory,
    volume: Option<Volume>,
    interfaces: Interfaces,
    plugins: cni::Plugins,
}

impl Fingerprinter {
    #[must_use]
    pub fn new(config: FingerprintConfig) -> Self {
        let root = Root::new(&config.root);
        Self {
            processors: Processors::look(&root),
            memory: Memory::look(&root, &Cgroups::look(&root)),
            volume: None,
            interfaces: Interfaces::default(),
            plugins: cni::Plugins::default(),
            root,
            config,
        }
    }

    /// The machine as it is now.
    pub fn look(&mut self) -> Fingerprint {
        let Self { config, root, .. } = self;
        let mut found = Fingerprint::default();
        self.processors.add(&mut found, config);
        self.memory.add(&mut found, config.memory_total_mib);
        found.pieces.devices = devices::found(root, &config.devices);
        os::add(&mut found, root);
        let cgroups = Cgroups::look(root);
        cgroups.add(&mut found);
        if let Some(volume) = Volume::look(root, &config.data_dir) {
            self.volume = Some(volume.after(self.volume.take()));
        }
        if let Some(volume) = &self.volume {
            volume.add(&mut found);
        }
        let (own, addresses) = (config.address.ip(), netlink::addresses());
        found.networks = self.interfaces.look(root, &addresses, own, &config.network);
        found.put("unique.network.ip-address", own);
        found.put("unique.advertise.address", config.address);
        for (name, version) in self.plugins.look(&config.cni_dirs) {
            found.put(&format!("plugins.cni.version.{name}"), version);
        }
        drivers::add(&mut found, config.raw_exec, &config.alloc_dir, (root, &cgroups));
        found.put("drover.version", &config.version);
        // Job files written for Nomad ask for this name.
        found.put("nomad.version", &config.version);
        found
    }
}

impl Fingerprint {
    fn put(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        if !value.is_empty() {
            self.attributes.insert(name.to_owned(), value);
        }
    }

    /// A count of what there is one of at least, wherever it is known.
    fn put_some(&mut self, name: &str, count: usize) {
        if count != 0 {
            self.put(name, count);
        }
    }
}

/// A count that fits, or the largest that does.
fn whole(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_and_is_the_same_at_the_second_look() {
        let config = FingerprintConfig {
            raw_exec: RawExec::On,
            reserved_cores: CoreSet::from_iter([0]),
            version: "0.1.0".into(),
            ..FingerprintConfig::default()
        };
        let mut fingerprinter = Fingerprinter::new(config.clone());
        let found = fingerprinter.look();
        for name in [
            "arch",
            "cpu.arch",
            "cpu.numcores",
            "cpu.totalcompute",
            "cpu.usablecompute",
            "driver.raw_exec",
            "driver.raw_exec.healthy",
            "kernel.arch",
            "kernel.name",
            "kernel.version",
            "memory.totalbytes",
            "os.name",
            "os.signals",
            "unique.advertise.address",
            "unique.hostname",
            "unique.network.ip-address",
            "unique.storage.bytesfree",
            "unique.storage.bytestotal",
            "unique.storage.volume",
        ] {
            assert!(found.attributes.contains_key(name), "{name} in {:?}", found.attributes);
        }
        assert_eq!(found.attributes["kernel.name"], "linux");
        assert!(0 < found.capacity.cpu_mhz);
        assert!(0 < found.capacity.memory_mib);
        let default: Vec<_> = found.networks.iter().filter(|network| network.is_default).collect();
        assert_eq!(default.len(), 1, "{:?}", found.networks);
        assert_eq!(default[0].addresses[0], "127.0.0.1");
        let pieces = &found.pieces;
        assert_eq!(pieces.reserved_cores.to_string(), "0");
        assert!(!pieces.cores.has(0), "what is reserved is nobody's");
        let core_count: u32 = found.attributes["cpu.numcores"].parse().unwrap();
        assert!(0 < pieces.core_mhz && pieces.core_mhz <= found.capacity.cpu_mhz / core_count);
        assert!(found.drivers["raw_exec"].healthy);
        assert_eq!(fingerprinter.look(), found, "each difference is an entry in the servers' log");
    }
}
