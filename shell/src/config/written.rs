//! What an operator wrote: files, directories and flags, laid over each other.
//!
//! Invariants
//! - what is not written is `None`: defaults belong to `Resolved`;
//! - of two that were written the later wins; lists are joined and maps are merged, as in Nomad.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drover_core::raft::Priority;
use drover_core::types::{AutopilotConfig, DeviceGroup, HostVolume, PoolName, SchedulerConfig};

use super::{read, syntax};
use crate::jobspec::diagnostic::{Diagnostics, Dialect, Findings, Source};
use crate::transport::introduction::Enforcement;

/// Everything a configuration may say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub region: Option<String>,
    pub datacenter: Option<String>,
    pub name: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub bind_addr: Option<String>,
    pub ports_http: Option<u16>,
    pub ports_rpc: Option<u16>,
    pub addresses_http: Option<String>,
    pub addresses_rpc: Option<String>,
    pub advertise_http: Option<String>,
    pub advertise_rpc: Option<String>,
    pub server: WrittenServer,
    /// The block `autopilot`.
    pub autopilot: Option<AutopilotConfig>,
    pub client: WrittenClient,
    /// `plugin "raw_exec" { config { enabled } }`.
    pub raw_exec: Option<bool>,
    pub consul: Option<Consul>,
    pub tls: WrittenTls,
    pub log_level: Option<String>,
    pub log_json: Option<bool>,
    pub leave_on_interrupt: Option<bool>,
    pub leave_on_terminate: Option<bool>,
    pub enable_debug: Option<bool>,
    pub prometheus_metrics: Option<bool>,
    pub unsafe_open: Option<bool>,
    pub recorder_enabled: Option<bool>,
    pub recorder_max_mb: Option<u64>,
    /// What was accepted and has no effect, in words for the operator.
    pub notes: Vec<String>,
    /// The files this was read from.
    pub files: Vec<String>,
}

/// The block `server`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenServer {
    pub enabled: Option<bool>,
    pub bootstrap_expect: Option<u32>,
    pub election_priority: Option<Priority>,
    /// The block `tags`.
    pub tags: BTreeMap<String, String>,
    pub data_dir: Option<PathBuf>,
    pub join: WrittenJoin,
    pub heartbeat_grace_ms: Option<u64>,
    pub min_heartbeat_ttl_ms: Option<u64>,
    /// The block `default_scheduler_config`.
    pub scheduler: Option<SchedulerConfig>,
    pub garbage: WrittenGarbage,
    /// The block `client_introduction`.
    pub introduction: Option<Introduction>,
}

/// Whether new client nodes need a token, and how long one is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Introduction {
    pub enforcement: Enforcement,
    pub ttl_ms: u64,
    pub ttl_ms_max: u64,
}

impl Default for Introduction {
    /// Nomad's, but for its `warn`: here every client has a certificate.
    fn default() -> Self {
        Self { enforcement: Enforcement::default(), ttl_ms: 300_000, ttl_ms_max: 1_800_000 }
    }
}

/// How long what has ended is kept, and how often it is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WrittenGarbage {
    pub every_ms: Option<u64>,
    pub evals_kept_ms: Option<u64>,
    pub jobs_kept_ms: Option<u64>,
    pub nodes_kept_ms: Option<u64>,
}

/// The block `consul`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consul {
    /// Where its agent listens, `host:port`.
    pub address: String,
    pub token: Option<String>,
    /// Of all that is registered.
    pub tags: Vec<String>,
    pub advertises: bool,
    /// Whether servers look there for servers, and whether clients do.
    pub server_joins: bool,
    pub client_joins: bool,
    pub server_service: String,
    pub client_service: String,
}

/// The block `server_join`, and the older keys beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenJoin {
    pub start_join: Vec<String>,
    pub retry_join: Vec<String>,
    pub retry_interval_ms: Option<u64>,
    pub retry_max: Option<u32>,
}

/// The block `client`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenClient {
    pub enabled: Option<bool>,
    pub servers: Vec<String>,
    pub join: WrittenJoin,
    pub node_class: Option<String>,
    pub node_pool: Option<PoolName>,
    pub meta: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub reserved_cpu: Option<u32>,
    pub reserved_memory: Option<u32>,
    pub reserved_disk: Option<u32>,
    pub reserved_ports: Option<String>,
    pub reserved_cores: Option<String>,
    pub reservable_cores: Option<String>,
    pub devices: Vec<DeviceGroup>,
    /// The blocks `host_volume`, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    pub node_max_allocs: Option<u32>,
    pub alloc_dir: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub cpu_total_compute: Option<u32>,
    pub memory_total_mb: Option<u32>,
    pub network_interface: Option<String>,
    pub network_speed: Option<u32>,
    pub cni_path: Option<String>,
    pub fingerprint_interval_ms: Option<u64>,
    pub max_kill_timeout_ms: Option<u64>,
    pub drain_on_shutdown: Option<DrainOnShutdown>,
    /// Not in files: it is soon worth nothing.
    pub introduction_token: Option<String>,
}

/// The block `drain_on_shutdown`: how a client's node is emptied when its agent leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DrainOnShutdown {
    pub deadline_ms: u64,
    pub is_forced: bool,
    pub ignore_system_jobs: bool,
}

/// The block `tls`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenTls {
    pub http: Option<bool>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub verify_https_client: Option<bool>,
}

/// `later`, or else what was there.
fn over<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

impl Written {
    /// What one file says; JSON and HCL look alike to it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(source: &Source) -> Result<Self, Diagnostics> {
        let root = syntax::parse(source).map_err(|found| Diagnostics::from(*found))?;
        let findings = Findings::new(source, Dialect::AgentFile);
        let mut written = read::top(&root, &findings);
        written.files.push(source.file.clone());
        if findings.any() { Err(findings.into_diagnostics()) } else { Ok(written) }
    }

    /// All of `paths` in their order; a directory stands for its `.hcl` and `.json` files by name.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Diagnostics> {
        let (mut whole, mut wrong) = (Self::default(), Diagnostics::default());
        for path in paths.iter().map(|path| files_of(path)) {
            let files = match path {
                Ok(files) => files,
                Err(found) => {
                    wrong.list.extend(found.list);
                    continue;
                }
            };
            for file in files {
                match Source::read(&file).and_then(|source| Self::parse(&source)) {
                    Ok(one) => whole = whole.overlaid(one),
                    Err(found) => wrong.list.extend(found.list),
                }
            }
        }
        if wrong.is_empty() { Ok(whole) } else { Err(wrong) }
    }

    /// This, and over it `later`.
    #[must_use]
    pub fn overlaid(mut self, later: Self) -> Self {
        over(&mut self.region, later.region);
        over(&mut self.datacenter, later.datacenter);
        over(&mut self.name, later.name);
        over(&mut self.data_dir, later.data_dir);
        over(&mut self.bind_addr, later.bind_addr);
        over(&mut self.ports_http, later.ports_http);
        over(&mut self.ports_rpc, later.ports_rpc);
        over(&mut self.addresses_http, later.addresses_http);
        over(&mut self.addresses_rpc, later.addresses_rpc);
        over(&mut self.advertise_http, later.advertise_http);
        over(&mut self.advertise_rpc, later.advertise_rpc);
        self.server.overlay(later.server);
        over(&mut self.autopilot, later.autopilot);
        self.client.overlay(later.client);
        over(&mut self.raw_exec, later.raw_exec);
        over(&mut self.consul, later.consul);
        self.tls.overlay(later.tls);
        over(&mut self.log_level, later.log_level);
        over(&mut self.log_json, later.log_json);
        over(&mut self.leave_on_interrupt, later.leave_on_interrupt);
        over(&mut self.leave_on_terminate, later.leave_on_terminate);
        over(&mut self.enable_debug, later.enable_debug);
        over(&mut self.prometheus_metrics, later.prometheus_metrics);
        over(&mut self.unsafe_open, later.unsafe_open);
        over(&mut self.recorder_enabled, later.recorder_enabled);
        over(&mut self.recorder_max_mb, later.recorder_max_mb);
        self.notes.extend(later.notes);
        self.files.extend(later.files);
        self
    }
}

impl WrittenServer {
    fn overlay(&mut self, later: Self) {
        over(&mut self.enabled, later.enabled);
        over(&mut self.bootstrap_expect, later.bootstrap_expect);
        over(&mut self.election_priority, later.election_priority);
        self.tags.extend(later.tags);
        over(&mut self.data_dir, later.data_dir);
        self.join.overlay(later.join);
        over(&mut self.heartbeat_grace_ms, later.heartbeat_grace_ms);
        over(&mut self.min_heartbeat_ttl_ms, later.min_heartbeat_ttl_ms);
        over(&mut self.scheduler, later.scheduler);
        self.garbage.overlay(later.garbage);
        over(&mut self.introduction, later.introduction);
    }
}

impl WrittenGarbage {
    fn overlay(&mut self, later: Self) {
        over(&mut self.every_ms, later.every_ms);
        over(&mut self.evals_kept_ms, later.evals_kept_ms);
        over(&mut self.jobs_kept_ms, later.jobs_kept_ms);
        over(&mut self.nodes_kept_ms, later.nodes_kept_ms);
    }
}

impl WrittenJoin {
    pub(super) fn overlay(&mut self, later: Self) {
        self.start_join.extend(later.start_join);
        self.retry_join.extend(later.retry_join);
        over(&mut self.retry_interval_ms, later.retry_interval_ms);
        over(&mut self.retry_max, later.retry_max);
    }
}

impl WrittenClient {
    fn overlay(&mut self, later: Self) {
        over(&mut self.enabled, later.enabled);
        self.servers.extend(later.servers);
        self.join.overlay(later.join);
        over(&mut self.node_class, later.node_class);
        over(&mut self.drain_on_shutdown, later.drain_on_shutdown);
        over(&mut self.introduction_token, later.introduction_token);
        over(&mut self.node_pool, later.node_pool);
        self.meta.extend(later.meta);
        self.options.extend(later.options);
        over(&mut self.reserved_cpu, later.reserved_cpu);
        over(&mut self.reserved_memory, later.reserved_memory);
        over(&mut self.reserved_disk, later.reserved_disk);
        over(&mut self.reserved_ports, later.reserved_ports);
        over(&mut self.reserved_cores, later.reserved_cores);
        over(&mut self.reservable_cores, later.reservable_cores);
        self.devices.extend(later.devices);
        self.host_volumes.extend(later.host_volumes);
        over(&mut self.node_max_allocs, later.node_max_allocs);
        over(&mut self.alloc_dir, later.alloc_dir);
        over(&mut self.state_dir, later.state_dir);
        over(&mut self.cpu_total_compute, later.cpu_total_compute);
        over(&mut self.memory_total_mb, later.memory_total_mb);
        over(&mut self.network_interface, later.network_interface);
        over(&mut self.network_speed, later.network_speed);
        over(&mut self.cni_path, later.cni_path);
        over(&mut self.fingerprint_interval_ms, later.fingerprint_interval_ms);
        over(&mut self.max_kill_timeout_ms, later.max_kill_timeout_ms);
    }
}

impl WrittenTls {
    fn overlay(&mut self, later: Self) {
        over(&mut self.http, later.http);
        over(&mut self.ca_file, later.ca_file);
        over(&mut self.cert_file, later.cert_file);
        over(&mut self.key_file, later.key_file);
        over(&mut self.verify_https_client, later.verify_https_client);
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |why: std::io::Error| {
        let source = Source { file: path.display().to_string(), text: String::new() };
        Diagnostics::from(
            source.whole(format!("the directory cannot be read: {why}"), String::new()),
        )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let known = file.extension().is_some_and(|end| end == "hcl" || end == "json");
        if known && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
