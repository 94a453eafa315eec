//! What this machine is and has, under the names that Nomad's users write into constraints.
//!
//! Everything is read from /proc, /sys and /etc by hand, in a few milliseconds. What cannot be found
//! out is left out: an attribute that is there is true.
//!
//! Invariants
//! - capacity is what the attributes say, in whole units, rounded down.
//!
//! It does not probe clouds or containers, and of devices only what the kernel tells.
mod cpu;
mod devices;
mod os;
pub mod stats;
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use drover_core::types::{Capacity, CoreSet, DeviceGroup, DriverInfo, NodePieces};

use crate::config::RawExec;

/// What the agent's configuration says about its machine.
#[derive(Clone, Debug)]
pub struct FingerprintConfig {
    /// Its volume is where tasks write.
    pub data_dir: PathBuf,
    pub raw_exec: RawExec,
    /// `client.cpu_total_compute`, where the machine does not tell.
    pub cpu_total_mhz: Option<u32>,
    /// `client.reservable_cores`; `None`: all there are.
    pub reservable_cores: Option<CoreSet>,
    /// `client.reserved.cores`.
    pub reserved_cores: CoreSet,
    /// `client.device`.
    pub devices: Vec<DeviceGroup>,
    /// `client.memory_total_mb`.
    pub memory_total_mib: Option<u32>,
    /// The address that users reach tasks under; found by the default route if not given.
    pub address: Option<IpAddr>,
    /// The agent's version.
    pub version: String,
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fingerprint {
    pub attributes: BTreeMap<String, String>,
    pub capacity: Capacity,
    pub pieces: NodePieces,
    pub drivers: BTreeMap<String, DriverInfo>,
}

const MIB: u64 = 1 << 20;

/// Looks at the machine.
#[must_use]
pub fn fingerprint(config: &FingerprintConfig) -> Fingerprint {
    let mut found = Fingerprint::default();
    cpu::add(&mut found, config);
    add_memory(&mut found, config.memory_total_mib);
    found.pieces.devices = devices::found(&config.devices);
    os::add(&mut found);
    storage::add(&mut found, &config.data_dir);
    add_network(&mut found, config.address);
    add_raw_exec(&mut found, config.raw_exec);
    found.put("drover.version", &config.version);
    // Job files written for Nomad ask for this name.
    found.put("nomad.version", &config.version);
    found
}

impl Fingerprint {
    fn put(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        if !value.is_empty() {
            self.attributes.insert(name.to_owned(), value);
        }
    }
}

fn add_memory(found: &mut Fingerprint, configured_mib: Option<u32>) {
    let configured = configured_mib.map(|mib| u64::from(mib) * MIB);
    let Some(bytes) = configured.or_else(|| stats::memory().map(|memory| memory.total_bytes))
    else {
        return;
    };
    found.put("memory.totalbytes", bytes);
    found.capacity.memory_mib = whole(bytes / MIB);
}

fn add_network(found: &mut Fingerprint, configured: Option<IpAddr>) {
    let address = configured.or_else(outgoing).unwrap_or(Ipv4Addr::LOCALHOST.into());
    found.put("unique.network.ip-address", address);
}

/// The address that packets for elsewhere leave with. Connecting a datagram socket sends none.
fn outgoing() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-3: an address that is nobody's.
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn add_raw_exec(found: &mut Fingerprint, raw_exec: RawExec) {
    let info = match raw_exec {
        RawExec::On => {
            found.put("driver.raw_exec", 1);
            DriverInfo { detected: true, healthy: true, description: "Healthy".into() }
        }
        RawExec::Off => {
            DriverInfo { detected: false, healthy: false, description: "disabled".into() }
        }
    };
    found.drivers.insert("raw_exec".into(), info);
}

/// A count that fits, or the largest that does.
fn whole(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The text of a small file of the kernel's, without its line end.
fn read_line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_and_quickly() {
        let config = FingerprintConfig {
            data_dir: "/".into(),
            raw_exec: RawExec::On,
            cpu_total_mhz: None,
            reservable_cores: None,
            reserved_cores: CoreSet::from_iter([0]),
            devices: Vec::new(),
            memory_total_mib: None,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            version: "0.1.0".into(),
        };
        let found = fingerprint(&config);
        for name in [
            "arch",
            "cpu.arch",
            "cpu.numcores",
            "cpu.totalcompute",
            "driver.raw_exec",
            "kernel.arch",
            "kernel.name",
            "kernel.version",
            "memory.totalbytes",
            "os.name",
            "os.signals",
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
        let pieces = &found.pieces;
        assert_eq!(pieces.reserved_cores.to_string(), "0");
        assert!(!pieces.cores.has(0), "what is reserved is nobody's");
        let core_count: u32 = found.attributes["cpu.numcores"].parse().unwrap();
        assert!(0 < pieces.core_mhz && pieces.core_mhz <= found.capacity.cpu_mhz / core_count);
        assert!(found.drivers["raw_exec"].healthy);
        let disabled = FingerprintConfig { raw_exec: RawExec::Off, ..config };
        assert!(!fingerprint(&disabled).attributes.contains_key("driver.raw_exec"));
    }
}
