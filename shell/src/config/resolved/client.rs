//! The block `client`, with every default filled in.
//!
//! Invariants
//! - what is not written is as Nomad has it.
use std::path::Path;
use std::time::Duration;

use drover_core::types::CoreSet;

use super::{Client, KILL_TIMEOUT_MS_MAX, LOOK_EVERY_MS, RawExec, Reserved, Resolution};
use crate::config::address;
use crate::config::written::Written;
use crate::cores;

/// Nomad's default, and where Debian has them.
const CNI_PATH: &str = "/opt/cni/bin:/usr/lib/cni";

impl Resolution<'_> {
    pub(super) fn client(&mut self, written: &Written, data_dir: &Path, port: u16) -> Client {
        let client = &written.client;
        let option =
            client.options.get("driver.raw_exec.enable").map(|text| text == "1" || text == "true");
        let raw_exec = written.raw_exec.or(option).unwrap_or_default();
        let join = self.join("client", &client.join, &client.servers, port);
        let looks_up = written.consul.as_ref().is_some_and(|consul| consul.client_joins);
        if written.server.enabled != Some(true) && !join.is_any() && !looks_up {
            self.wrong(
                "client.servers",
                "is missing: name at least one server, such as servers = [\"10.0.0.1\"]",
            );
        }
        let ports = client.reserved_ports.as_deref().map_or(Ok(Vec::new()), address::ports);
        Client {
            join,
            introduction_token: client.introduction_token.clone(),
            node_class: client.node_class.clone().unwrap_or_default(),
            node_pool: client.node_pool.clone().unwrap_or_default(),
            meta: client.meta.clone(),
            options: client.options.clone(),
            reserved: Reserved {
                cpu_mhz: client.reserved_cpu.unwrap_or(0),
                memory_mib: client.reserved_memory.unwrap_or(0),
                disk_mib: client.reserved_disk.unwrap_or(0),
                ports: ports.unwrap_or_else(|why| {
                    self.wrong("client.reserved.reserved_ports", why);
                    Vec::new()
                }),
                cores: self
                    .cores("reserved.cores", client.reserved_cores.as_ref())
                    .unwrap_or_default(),
            },
            alloc_dir: client.alloc_dir.clone().unwrap_or_else(|| data_dir.join("alloc")),
            state_dir: client.state_dir.clone().unwrap_or_else(|| data_dir.join("client")),
            cpu_total_mhz: client.cpu_total_compute.filter(|&mhz| mhz != 0),
            memory_total_mib: client.memory_total_mb.filter(|&mib| mib != 0),
            reservable_cores: self.cores("reservable_cores", client.reservable_cores.as_ref()),
            devices: client.devices.clone(),
            host_volumes: client.host_volumes.clone(),
            allocs_max: client.node_max_allocs.unwrap_or(0),
            network_interface: client.network_interface.clone().filter(|name| !name.is_empty()),
            network_speed_mbits: client.network_speed.filter(|&speed| speed != 0),
            cni_dirs: client
                .cni_path
                .as_deref()
                .unwrap_or(CNI_PATH)
                .split(':')
                .filter(|dir| !dir.is_empty())
                .map(Into::into)
                .collect(),
            look_every: client
                .fingerprint_interval_ms
                .map_or(Some(LOOK_EVERY_MS), |ms| (ms != 0).then_some(ms))
                .map(Duration::from_millis),
            kill_timeout_ms_max: client.max_kill_timeout_ms.unwrap_or(KILL_TIMEOUT_MS_MAX),
            drain_on_shutdown: client.drain_on_shutdown,
            raw_exec: if raw_exec { RawExec::On } else { RawExec::Off },
        }
    }

    fn cores(&mut self, name: &str, list: Option<&String>) -> Option<CoreSet> {
        match cores::parse(list?) {
            Ok(cores) => Some(cores),
            Err(why) => {
                self.wrong(&format!("client.{name}"), why);
                None
            }
        }
    }
}
