//! What the configuration means: defaults filled in, addresses put together, contradictions refused.
//!
//! Invariants
//! - an agent is a server, a client or both;
//! - HTTP listens beyond loopback only where the operator says `unsafe_open`;
//! - outside `-dev` an agent has certificates from files.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use drover_core::agent::LeadConfig;
use drover_core::raft::Priority;
use drover_core::types::{
    AutopilotConfig, CoreSet, DeviceGroup, HostVolume, PoolName, SchedulerConfig,
};

use super::address;
use super::written::{
    Consul, DrainOnShutdown, Introduction, Written, WrittenClient, WrittenServer,
};
use crate::jobspec::check::Problem;

mod client;
mod server;

/// Nomad's default ports; ours for RPC is UDP.
pub const HTTP_PORT: u16 = 4646;
/// See `HTTP_PORT`.
pub const RPC_PORT: u16 = 4647;
const RETRY_INTERVAL_MS: u64 = 30_000;
/// Nomad's default of `max_kill_timeout`.
const KILL_TIMEOUT_MS_MAX: u64 = 30_000;
/// As often as Nomad looks at its drivers.
const LOOK_EVERY_MS: u64 = 30_000;
/// The flight recorder keeps so much unless told otherwise: days of a quiet cluster.
const RECORDER_MIB_MAX: u64 = 512;

/// An agent's configuration, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub region: String,
    pub datacenter: String,
    pub name: String,
    pub data_dir: PathBuf,
    /// Where HTTP listens (TCP).
    pub http_bind: SocketAddr,
    /// Where others reach it.
    pub http_advertise: SocketAddr,
    /// Where agents listen for each other (UDP).
    pub rpc_bind: SocketAddr,
    /// Where others reach it.
    pub rpc_advertise: SocketAddr,
    pub server: Option<Server>,
    pub client: Option<Client>,
    pub certificates: Certificates,
    /// HTTP answers whoever reaches it.
    pub unsafe_open: bool,
    pub log_level: String,
    pub log_json: bool,
    pub leave_on_interrupt: bool,
    pub leave_on_terminate: bool,
    pub debug: bool,
    pub prometheus: bool,
    pub recorder: Recorder,
    pub consul: Option<Consul>,
    pub mode: Mode,
    /// For the operator's eyes, once, at start.
    pub notes: Vec<String>,
    pub files: Vec<String>,
}

/// Whether the agent was started for a try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    Production,
    /// `-dev`: everything in one process, nothing kept.
    Dev,
}

/// Where an agent's identity comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certificates {
    Files {
        ca: PathBuf,
        cert: PathBuf,
        key: PathBuf,
    },
    /// Made at start and never written: only in `-dev`.
    InMemory,
}

/// What a server needs to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// How many servers found the cluster together; zero joins an existing one.
    pub bootstrap_expect: u32,
    pub election_priority: Priority,
    /// What it says of itself to the other servers.
    pub tags: BTreeMap<String, String>,
    pub data_dir: PathBuf,
    pub join: Join,
    pub heartbeat_ttl_ms: u64,
    pub heartbeat_grace_ms: u64,
    /// Of the cluster that this server founds.
    pub scheduler: SchedulerConfig,
    pub autopilot: AutopilotConfig,
    pub lead: LeadConfig,
    pub introduction: Introduction,
}

/// Whom to look for at start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Join {
    /// `host:port`; who of them has not answered in ten seconds is waited for only if others are retried.
    pub start: Vec<String>,
    /// `host:port`; tried again and again.
    pub retry: Vec<String>,
    /// What the shell runs to be told of others.
    pub programs: Vec<String>,
    /// The longest pause between two tries; shorter ones come first.
    pub retry_interval_ms: u64,
    /// Zero: for ever.
    pub retry_max: u32,
}

impl Join {
    /// Whether it goes on looking.
    #[must_use]
    pub const fn is_retried(&self) -> bool {
        !self.retry.is_empty() || !self.programs.is_empty()
    }

    /// Whether it looks for anybody.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        !self.start.is_empty() || self.is_retried()
    }

    /// All that are known by their addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        [&self.start[..], &self.retry].concat()
    }
}

impl Resolved {
    /// Whom each part of the agent joins.
    pub fn joins(&self) -> impl Iterator<Item = &Join> {
        let server = self.server.as_ref().map(|server| &server.join);
        let client = self.client.as_ref().map(|client| &client.join);
        server.into_iter().chain(client)
    }
}

/// What a client needs to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    pub join: Join,
    /// As the flag says it.
    pub introduction_token: Option<String>,
    pub node_class: String,
    pub node_pool: PoolName,
    pub meta: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub reserved: Reserved,
    pub alloc_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Instead of what is measured.
    pub cpu_total_mhz: Option<u32>,
    /// Instead of what is measured.
    pub memory_total_mib: Option<u32>,
    /// The only ones that tasks may have for themselves; `None`: all.
    pub reservable_cores: Option<CoreSet>,
    /// Beside those that are found; the later of one name goes before the earlier.
    pub devices: Vec<DeviceGroup>,
    /// What it lends to tasks, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// Zero: any number.
    pub allocs_max: u32,
    /// The one that the node is known by; `None`: the one with the advertised address.
    pub network_interface: Option<String>,
    /// Instead of what is measured.
    pub network_speed_mbits: Option<u32>,
    /// Where CNI plugins are.
    pub cni_dirs: Vec<PathBuf>,
    /// How often the machine is looked at; `None`: once.
    pub look_every: Option<Duration>,
    pub kill_timeout_ms_max: u64,
    pub drain_on_shutdown: Option<DrainOnShutdown>,
    pub raw_exec: RawExec,
}

/// Whether tasks may run without isolation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RawExec {
    Off,
    On,
}

/// What a node keeps for itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reserved {
    pub cpu_mhz: u32,
    pub memory_mib: u32,
    pub disk_mib: u32,
    pub ports: Vec<u16>,
    pub cores: CoreSet,
}

/// The input log on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorder {
    Off,
    On { bytes_max: u64 },
}

/// What the configuration cannot know by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    pub hostname: String,
    /// The address that leads out of this machine, if there is one.
    pub outward_ip: Option<IpAddr>,
    /// Where `-dev` keeps its data: a fresh directory of the caller's.
    pub scratch_dir: PathBuf,
}

/// Why no agent can be started so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unusable {
    pub problems: Vec<Problem>,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Unusable {}

impl Resolved {
    /// What `written` means on this machine.
    ///
    /// # Errors
    /// Everything that is missing or contradicts itself.
    pub fn of(written: &Written, around: &Surroundings) -> Result<Self, Unusable> {
        Resolution {
            around,
            mode: Mode::Production,
            problems: Vec::new(),
            notes: written.notes.clone(),
        }
        .run(written)
    }

    /// The same for `-dev`: server and client on loopback, with `written` laid over that.
    ///
    /// # Errors
    /// Everything that contradicts itself.
    pub fn dev(written: &Written, around: &Surroundings) -> Result<Self, Unusable> {
        let on = Some(true);
        let base = Written {
            data_dir: Some(around.scratch_dir.clone()),
            bind_addr: Some(Ipv4Addr::LOCALHOST.to_string()),
            server: WrittenServer {
                enabled: on,
                bootstrap_expect: Some(1),
                ..WrittenServer::default()
            },
            client: WrittenClient { enabled: on, ..WrittenClient::default() },
            raw_exec: on,
            log_level: Some("DEBUG".to_owned()),
            enable_debug: on,
            prometheus_metrics: on,
            ..Written::default()
        };
        let written = base.overlaid(written.clone());
        Resolution { around, mode: Mode::Dev, problems: Vec::new(), notes: written.notes.clone() }
            .run(&written)
    }
}

/// The work of resolving, and what was found wrong.
struct Resolution<'a> {
    around: &'a Surroundings,
    mode: Mode,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Resolution<'_> {
    fn wrong(&mut self, field: &str, why: impl Into<String>) {
        self.problems.push(Problem { field: field.to_owned(), why: why.into() });
    }

    fn run(mut self, written: &Written) -> Result<Resolved, Unusable> {
        let (is_server, is_client) =
            (written.server.enabled == Some(true), written.client.enabled == Some(true));
        if !is_server && !is_client {
            self.wrong(
                "server.enabled",
                "the agent would do nothing: enable `server`, `client`, or start it with -dev",
            );
        }
        let data_dir = written.data_dir.clone().unwrap_or_else(|| {
            self.wrong(
                "data_dir",
                "is missing: name a directory that lasts, such as /var/lib/drover",
            );
            PathBuf::new()
        });
        let bind = self
            .ip("bind_addr", written.bind_addr.as_ref())
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        self.not_yet(written);
        let http_ip = self.http_ip(written, bind);
        let rpc_ip = self.ip("addresses.rpc", written.addresses_rpc.as_ref()).unwrap_or(bind);
        let http_bind = SocketAddr::new(http_ip, written.ports_http.unwrap_or(HTTP_PORT));
        let rpc_bind = SocketAddr::new(rpc_ip, written.ports_rpc.unwrap_or(RPC_PORT));
        let server = is_server.then(|| self.server(written, &data_dir, rpc_bind.port()));
        let client = is_client.then(|| self.client(written, &data_dir, rpc_bind.port()));
        let resolved = Resolved {
            region: written.region.clone().unwrap_or_else(|| "global".to_owned()),
            datacenter: written.datacenter.clone().unwrap_or_else(|| "dc1".to_owned()),
            name: written.name.clone().unwrap_or_else(|| self.around.hostname.clone()),
            http_bind,
            http_advertise: self.advertised("http", written.advertise_http.as_ref(), http_bind),
            rpc_bind,
            rpc_advertise: self.advertised("rpc", written.advertise_rpc.as_ref(), rpc_bind),
            server,
            client,
            certificates: self.certificates(written),
            unsafe_open: written.unsafe_open == Some(true),
            log_level: written.log_level.clone().unwrap_or_else(|| "INFO".to_owned()),
            log_json: written.log_json.unwrap_or_default(),
            leave_on_interrupt: written.leave_on_interrupt.unwrap_or_default(),
            leave_on_terminate: written.leave_on_terminate.unwrap_or_default(),
            debug: written.enable_debug.unwrap_or_default(),
            prometheus: written.prometheus_metrics.unwrap_or_default(),
            recorder: recorder(written),
            consul: written.consul.clone(),
            mode: self.mode,
            notes: self.notes,
            files: written.files.clone(),
            data_dir,
        };
        let problems = self.problems;
        if problems.is_empty() { Ok(resolved) } else { Err(Unusable { problems }) }
    }

    fn ip(&mut self, field: &str, text: Option<&String>) -> Option<IpAddr> {
        let text = text?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(field, format!("\"{text}\" is no IP address"));
        }
        parsed
    }

    /// What other tools do and this one does not yet, said before anybody relies on it.
    fn not_yet(&mut self, written: &Written) {
        if written.tls.http == Some(true) || written.tls.verify_https_client == Some(true) {
            self.wrong(
                "tls.http",
                "HTTPS is not supported yet: remove it, leave HTTP on loopback, and put a proxy that \
                 checks its callers before it where others must reach it",
            );
        }
        let without_effect = [
            ("client.network_interface", written.client.network_interface.is_some()),
            ("client.state_dir", written.client.state_dir.is_some()),
        ];
        for (key, _) in without_effect.iter().filter(|(_, is_written)| *is_written) {
            self.notes.push(format!("{key} has no effect yet"));
        }
    }

    /// Whoever reaches HTTP owns the cluster, so it stays on loopback unless somebody is answerable.
    fn http_ip(&mut self, written: &Written, bind: IpAddr) -> IpAddr {
        let open = written.unsafe_open == Some(true);
        let remedy = "say unsafe_open = true if the network itself keeps strangers out";
        if let Some(ip) = self.ip("addresses.http", written.addresses_http.as_ref()) {
            if !open && !ip.is_loopback() {
                self.wrong(
                    "addresses.http",
                    format!("{ip} would let anybody who reaches it run programs here: {remedy}"),
                );
            }
            return ip;
        }
        if open || bind.is_loopback() {
            return bind;
        }
        self.notes.push(format!("HTTP listens on 127.0.0.1 only; to open it, {remedy}"));
        Ipv4Addr::LOCALHOST.into()
    }

    fn advertised(&mut self, name: &str, written: Option<&String>, bind: SocketAddr) -> SocketAddr {
        let field = format!("advertise.{name}");
        if let Some(text) = written {
            return address::with_port(text, bind.port()).unwrap_or_else(|| {
                self.wrong(&field, format!("\"{text}\" is no IP address, with or without a port"));
                bind
            });
        }
        if !bind.ip().is_unspecified() {
            return bind;
        }
        match self.around.outward_ip {
            Some(ip) => SocketAddr::new(ip, bind.port()),
            None => {
                self.wrong(
                    &field,
                    "this machine's address cannot be found: write the one that others reach it by",
                );
                bind
            }
        }
    }

    fn certificates(&mut self, written: &Written) -> Certificates {
        let tls = &written.tls;
        match (&tls.ca_file, &tls.cert_file, &tls.key_file, self.mode) {
            (Some(ca), Some(cert), Some(key), _) => {
                Certificates::Files { ca: ca.clone(), cert: cert.clone(), key: key.clone() }
            }
            (None, None, None, Mode::Dev) => Certificates::InMemory,
            _ => {
                self.wrong(
                    "tls",
                    "ca_file, cert_file and key_file are all needed: agents know each other by \
                    certificates; `drover tls ca create` and `drover tls cert create` make them",
                );
                Certificates::InMemory
            }
        }
    }
}

fn recorder(written: &Written) -> Recorder {
    if written.recorder_enabled == Some(false) {
        return Recorder::Off;
    }
    let max_mib = written.recorder_max_mb.unwrap_or(RECORDER_MIB_MAX);
    Recorder::On { bytes_max: max_mib.saturating_mul(1 << 20) }
}

impl Surroundings {
    /// What this machine says of itself. `scratch_dir` is made by the caller where it is needed.
    #[must_use]
    pub fn look(scratch_dir: PathBuf) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { hostname, outward_ip: outward_ip(), scratch_dir }
    }
}

/// The address of the interface that a packet to elsewhere would leave by. None is sent.
fn outward_ip() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-1: nobody's address, so only the routing table is asked.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}
