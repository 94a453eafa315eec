//! The blocks `server`, `client`, `plugin` and `tls`.
//!
//! Invariants
//! - each block is read to its end, so that an unknown key in it is told.
use std::path::PathBuf;

use drover_core::limits::SERVERS_MAX;
use drover_core::raft::Priority;
use drover_core::types::{Algorithm, AutopilotConfig, PoolName, Preemption, SchedulerConfig};

use super::devices::devices;
use super::volumes::host_volumes;
use super::{addresses_of, directory, duration_ms, join, number};
use crate::config::address;
use crate::config::written::{
    Consul, DrainOnShutdown, Introduction, WrittenClient, WrittenGarbage, WrittenServer, WrittenTls,
};
use crate::cores;
use crate::jobspec::diagnostic::Findings;
use crate::jobspec::reader::Reader;
use crate::transport::introduction::Enforcement;

/// Nomad's keys of the block `server` that have no counterpart yet.
const SERVER_FOREIGN: [&str; 37] = [
    "authoritative_region",
    "raft_protocol",
    "raft_multiplier",
    "num_schedulers",
    "enabled_schedulers",
    "batch_eval_gc_threshold",
    "deployment_gc_threshold",
    "csi_volume_claim_gc_threshold",
    "csi_plugin_gc_threshold",
    "acl_token_gc_threshold",
    "root_key_gc_threshold",
    "root_key_gc_interval",
    "root_key_rotation_threshold",
    "max_heartbeats_per_second",
    "failover_heartbeat_ttl",
    "rejoin_after_leave",
    "non_voting_server",
    "redundancy_zone",
    "upgrade_version",
    "plan_rejection_tracker",
    "enable_event_broker",
    "event_buffer_size",
    "search",
    "deploy_query_rate_limit",
    "raft_logstore",
    "raft_boltdb",
    "raft_snapshot_threshold",
    "raft_snapshot_interval",
    "raft_trailing_logs",
    "job_default_priority",
    "job_max_priority",
    "job_max_count",
    "job_max_source_size",
    "job_tracked_versions",
    "oidc_issuer",
    "start_timeout",
    "license_path",
];
/// Nomad's keys of the block `autopilot` that have no counterpart.
const AUTOPILOT_FOREIGN: [&str; 3] =
    ["enable_redundancy_zones", "disable_upgrade_migration", "enable_custom_upgrades"];
/// Nomad's keys of the block `consul` that have no counterpart yet.
const CONSUL_FOREIGN: [&str; 19] = [
    "name",
    "auth",
    "namespace",
    "ssl",
    "share_ssl",
    "verify_ssl",
    "ca_file",
    "cert_file",
    "key_file",
    "grpc_address",
    "grpc_ca_file",
    "checks_use_advertise",
    "client_http_check_name",
    "server_http_check_name",
    "server_rpc_check_name",
    "server_serf_check_name",
    "service_identity",
    "task_identity",
    "timeout",
];
const CONSUL_PORT: u16 = 8500;
/// Looking for garbage is an entry of the log.
const GARBAGE_EVERY_MS_MIN: u64 = 1_000;
/// How long a node that is emptied because its agent leaves has, unless it says otherwise.
const DRAIN_DEADLINE_MS: u64 = 3_600_000;
/// Nomad's keys of the block `client` that have no counterpart yet.
const CLIENT_FOREIGN: [&str; 35] = [
    "alloc_mounts_dir",
    "host_volumes_dir",
    "host_volume_plugin_dir",
    "common_plugin_dir",
    "chroot_env",
    "preferred_address_family",
    "cpu_disable_dmidecode",
    "disk_total_mb",
    "disk_free_mb",
    "client_min_port",
    "client_max_port",
    "min_dynamic_port",
    "max_dynamic_port",
    "gc_interval",
    "gc_parallel_destroys",
    "gc_disk_usage_threshold",
    "gc_inode_usage_threshold",
    "gc_max_allocs",
    "gc_volumes_on_node_gc",
    "no_host_uuid",
    "disable_remote_exec",
    "template",
    "cni_config_dir",
    "bridge_network_name",
    "bridge_network_subnet",
    "bridge_network_subnet_ipv6",
    "bridge_network_hairpin_mode",
    "host_network",
    "bind_wildcard_default_host_network",
    "cgroup_parent",
    "nomad_service_discovery",
    "artifact",
    "users",
    "fingerprint",
    "default_ineligible",
];

pub(super) fn server(reader: Reader<'_>) -> WrittenServer {
    let bootstrap_expect: Option<u32> = number(&reader, "bootstrap_expect");
    if bootstrap_expect.is_some_and(|count| SERVERS_MAX < count as usize)
        && let Some(one) = reader.attribute("bootstrap_expect")
    {
        let why = format!("a region has at most {SERVERS_MAX} servers");
        reader.wrong(&one.value_place, why, "3 or 5 are usual");
    }
    let made = WrittenServer {
        enabled: reader.flag("enabled"),
        bootstrap_expect,
        election_priority: election_priority(&reader),
        tags: reader.map("tags").unwrap_or_default(),
        data_dir: directory(&reader, "data_dir"),
        join: join(&reader, true),
        heartbeat_grace_ms: duration_ms(&reader, "heartbeat_grace"),
        min_heartbeat_ttl_ms: duration_ms(&reader, "min_heartbeat_ttl"),
        scheduler: reader.one("default_scheduler_config").map(scheduler),
        garbage: garbage(&reader),
        introduction: reader.one("client_introduction").map(introduction),
    };
    if let Some(one) = reader.attribute("encrypt") {
        reader.wrong(
            &one.place,
            "`encrypt` has no counterpart here".to_owned(),
            "remove it: all traffic among agents is encrypted by TLS",
        );
    }
    reader.finish(&SERVER_FOREIGN);
    made
}

/// What is not set is as `Introduction` has it.
fn introduction(reader: Reader<'_>) -> Introduction {
    let usual = Introduction::default();
    let enforcement = match reader.text("enforcement").as_deref() {
        None | Some("" | "none") => Enforcement::None,
        Some("warn") => Enforcement::Warn,
        Some("strict") => Enforcement::Strict,
        Some(other) => {
            if let Some(one) = reader.attribute("enforcement") {
                let why = format!("there is no enforcement \"{other}\"");
                reader.wrong(&one.value_place, why, "\"none\", \"warn\" or \"strict\"");
            }
            Enforcement::Strict
        }
    };
    let ttl_ms = duration_ms(&reader, "default_identity_ttl").unwrap_or(usual.ttl_ms);
    let ttl_ms_max = duration_ms(&reader, "max_identity_ttl").unwrap_or(usual.ttl_ms_max);
    if ttl_ms_max < ttl_ms
        && let Some(one) = reader.attribute("default_identity_ttl")
    {
        let why = "`default_identity_ttl` is longer than `max_identity_ttl`".to_owned();
        reader.wrong(&one.value_place, why, "make one shorter or the other longer");
    }
    reader.finish(&[]);
    Introduction { enforcement, ttl_ms, ttl_ms_max }
}

fn garbage(reader: &Reader<'_>) -> WrittenGarbage {
    let every_ms = duration_ms(reader, "job_gc_interval");
    if every_ms.is_some_and(|ms| ms < GARBAGE_EVERY_MS_MIN)
        && let Some(one) = reader.attribute("job_gc_interval")
    {
        let why = "`job_gc_interval` is less than a second".to_owned();
        reader.wrong(&one.value_place, why, "5m is usual");
    }
    WrittenGarbage {
        every_ms,
        evals_kept_ms: duration_ms(reader, "eval_gc_threshold"),
        jobs_kept_ms: duration_ms(reader, "job_gc_threshold"),
        nodes_kept_ms: duration_ms(reader, "node_gc_threshold"),
    }
}

/// What is not set is as Nomad has it.
fn drain_on_shutdown(reader: Reader<'_>) -> DrainOnShutdown {
    let made = DrainOnShutdown {
        deadline_ms: duration_ms(&reader, "deadline").unwrap_or(DRAIN_DEADLINE_MS),
        is_forced: reader.flag("force").unwrap_or_default(),
        ignore_system_jobs: reader.flag("ignore_system_jobs").unwrap_or_default(),
    };
    reader.finish(&[]);
    made
}

/// What is not set is as `AutopilotConfig` has it.
pub(super) fn autopilot(reader: Reader<'_>) -> AutopilotConfig {
    let usual = AutopilotConfig::default();
    let config = AutopilotConfig {
        cleanup_dead_servers: reader
            .flag("cleanup_dead_servers")
            .unwrap_or(usual.cleanup_dead_servers),
        last_contact_ms_max: duration_ms(&reader, "last_contact_threshold")
            .unwrap_or(usual.last_contact_ms_max),
        trailing_logs_max: number(&reader, "max_trailing_logs").unwrap_or(usual.trailing_logs_max),
        min_quorum: number(&reader, "min_quorum").unwrap_or(usual.min_quorum),
        stabilization_ms: duration_ms(&reader, "server_stabilization_time")
            .unwrap_or(usual.stabilization_ms),
    };
    if SERVERS_MAX < config.min_quorum as usize
        && let Some(one) = reader.attribute("min_quorum")
    {
        let why = format!("a region has at most {SERVERS_MAX} servers");
        reader.wrong(&one.value_place, why, "zero asks for none");
    }
    reader.finish(&AUTOPILOT_FOREIGN);
    config
}

/// What is not set is as Nomad has it, but for the services' names: its agents and ours do not speak with
/// each other. A block that asks for nothing is none.
pub(super) fn consul(reader: &Reader<'_>) -> Option<Consul> {
    let reader = reader.one("consul")?;
    let written = reader.text("address");
    let address = written.as_ref().and_then(|text| address::host_port(text, CONSUL_PORT));
    if let (Some(text), None, Some(one)) = (&written, &address, reader.attribute("address")) {
        let why = format!("\"{text}\" is no address of a Consul agent");
        reader.wrong(&one.value_place, why, "such as 127.0.0.1:8500, without http://");
    }
    let flag = |name| reader.flag(name).unwrap_or(true);
    let name = |key, usual: &str| reader.text(key).unwrap_or_else(|| usual.to_owned());
    let made = Consul {
        address: address.clone().unwrap_or_default(),
        token: reader.text("token"),
        tags: reader.texts("tags").unwrap_or_default(),
        advertises: flag("auto_advertise"),
        server_joins: flag("server_auto_join"),
        client_joins: flag("client_auto_join"),
        server_service: name("server_service_name", "drover"),
        client_service: name("client_service_name", "drover-client"),
    };
    let is_off = reader.flag("enabled") == Some(false);
    reader.finish(&CONSUL_FOREIGN);
    address.filter(|_| !is_off).map(|_| made)
}

/// What is not set is as `SchedulerConfig` has it.
fn scheduler(reader: Reader<'_>) -> SchedulerConfig {
    let algorithm = match reader.text("scheduler_algorithm").as_deref() {
        None | Some("") => Algorithm::default(),
        Some("pack") => Algorithm::Pack,
        Some("binpack") => Algorithm::BinPack,
        Some("spread") => Algorithm::Spread,
        Some(other) => {
            if let Some(one) = reader.attribute("scheduler_algorithm") {
                let why = format!("there is no algorithm \"{other}\"");
                reader.wrong(&one.value_place, why, "\"pack\", \"binpack\" or \"spread\"");
            }
            Algorithm::default()
        }
    };
    let preemption = reader.one("preemption_config").map(|inner| {
        let is_on = |name| inner.flag(name).unwrap_or_default();
        let preemption = Preemption {
            system: is_on("system_scheduler_enabled"),
            sysbatch: is_on("sysbatch_scheduler_enabled"),
            batch: is_on("batch_scheduler_enabled"),
            service: is_on("service_scheduler_enabled"),
        };
        inner.finish(&[]);
        preemption
    });
    let is_on = |name| reader.flag(name).unwrap_or_default();
    let config = SchedulerConfig {
        algorithm,
        preemption: preemption.unwrap_or_default(),
        memory_oversubscription: is_on("memory_oversubscription_enabled"),
        reject_job_registration: is_on("reject_job_registration"),
        pause_eval_broker: is_on("pause_eval_broker"),
    };
    reader.finish(&["node_limit_for_feasibility_checks"]);
    config
}

fn election_priority(reader: &Reader<'_>) -> Option<Priority> {
    let text = reader.text("election_priority")?;
    match text.as_str() {
        "normal" => Some(Priority::Normal),
        "low" => Some(Priority::Low),
        _ => {
            let one = reader.attribute("election_priority")?;
            let why = format!("{text:?} is no priority");
            reader.wrong(
                &one.value_place,
                why,
                "\"low\" leaves the lead to others, \"normal\" does not",
            );
            None
        }
    }
}

pub(super) fn client(reader: Reader<'_>, notes: &mut Vec<String>) -> WrittenClient {
    let options = reader.map("options").unwrap_or_default();
    for name in options.keys().filter(|name| *name != "driver.raw_exec.enable") {
        notes.push(format!("client.options[\"{name}\"] has no effect"));
    }
    let mut made = WrittenClient {
        enabled: reader.flag("enabled"),
        servers: addresses_of(&reader, "servers"),
        join: join(&reader, false),
        node_class: reader.text("node_class"),
        drain_on_shutdown: reader.one("drain_on_shutdown").map(drain_on_shutdown),
        node_pool: node_pool(&reader),
        meta: reader.map("meta").unwrap_or_default(),
        options,
        alloc_dir: directory(&reader, "alloc_dir"),
        state_dir: directory(&reader, "state_dir"),
        cpu_total_compute: number(&reader, "cpu_total_compute"),
        memory_total_mb: number(&reader, "memory_total_mb"),
        devices: devices(&reader),
        host_volumes: host_volumes(&reader),
        node_max_allocs: number(&reader, "node_max_allocs"),
        reservable_cores: list_of_cores(&reader, "reservable_cores"),
        network_interface: reader.text("network_interface"),
        network_speed: number(&reader, "network_speed"),
        cni_path: cni_path(&reader),
        fingerprint_interval_ms: duration_ms(&reader, "fingerprint_interval"),
        max_kill_timeout_ms: duration_ms(&reader, "max_kill_timeout"),
        ..WrittenClient::default()
    };
    if let Some(reserved) = reader.one("reserved") {
        made.reserved_cpu = number(&reserved, "cpu");
        made.reserved_memory = number(&reserved, "memory");
        made.reserved_disk = number(&reserved, "disk");
        made.reserved_ports = reserved.text("reserved_ports");
        if let (Some(Err(why)), Some(one)) = (
            made.reserved_ports.as_deref().map(address::ports),
            reserved.attribute("reserved_ports"),
        ) {
            reserved.wrong(&one.value_place, why, "such as \"22,80,8500-8600\"");
        }
        made.reserved_cores = list_of_cores(&reserved, "cores");
        reserved.finish(&[]);
    }
    reader.finish(&CLIENT_FOREIGN);
    made
}

/// Directories with colons between.
fn cni_path(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text("cni_path")?;
    if !text.split(':').filter(|dir| !dir.is_empty()).all(|dir| dir.starts_with('/'))
        && let Some(one) = reader.attribute("cni_path")
    {
        let why = "`cni_path` must be made of absolute paths".to_owned();
        reader.wrong(&one.value_place, why, "such as /opt/cni/bin:/usr/lib/cni");
    }
    Some(text)
}

fn list_of_cores(reader: &Reader<'_>, name: &'static str) -> Option<String> {
    let text = reader.text(name)?;
    if let (Err(why), Some(one)) = (cores::parse(&text), reader.attribute(name)) {
        reader.wrong(&one.value_place, why, "such as \"0-3,6\"");
    }
    Some(text)
}

fn node_pool(reader: &Reader<'_>) -> Option<PoolName> {
    let pool = PoolName::of(&reader.text("node_pool")?);
    if let (Err(why), Some(one)) = (pool.check_of_node(), reader.attribute("node_pool")) {
        reader.wrong(&one.value_place, why.to_owned(), "such as \"default\" or \"gpu\"");
    }
    Some(pool)
}

/// `plugin "raw_exec" { config { enabled = true } }`; in JSON the label is a key.
pub(super) fn plugins(reader: &Reader<'_>, findings: &Findings<'_>) -> Option<bool> {
    let mut enabled = None;
    let written = reader.blocks("plugin");
    let named = written.iter().flat_map(|block| match block.labels.first() {
        Some(label) => vec![(label.text.as_str(), *block)],
        None => block.blocks.iter().map(|inner| (inner.name.as_str(), inner)).collect(),
    });
    for (name, block) in named {
        if name != "raw_exec" {
            let why = format!("there is no plugin \"{name}\": Drover has the driver raw_exec");
            reader.wrong(&block.place, why, "remove it");
            continue;
        }
        let plugin = Reader::new(block, format!("plugin[{name}]"), findings);
        if let Some(config) = plugin.one("config") {
            enabled = config.flag("enabled").or(enabled);
            config.finish(&[
                "no_cgroups",
                "denied_host_uids",
                "denied_host_gids",
                "denied_envvars",
            ]);
        }
        plugin.finish(&["args"]);
    }
    enabled
}

pub(super) fn tls(reader: Reader<'_>, notes: &mut Vec<String>) -> WrittenTls {
    for name in ["rpc", "verify_server_hostname"] {
        if reader.flag(name) == Some(false) {
            notes.push(format!(
                "tls.{name} = false has no effect: agents always prove who they are"
            ));
        }
    }
    if reader.flag("rpc_upgrade_mode") == Some(true) {
        notes.push(
            "tls.rpc_upgrade_mode has no effect: there is no plain traffic to upgrade from"
                .to_owned(),
        );
    }
    let made = WrittenTls {
        http: reader.flag("http"),
        ca_file: reader.text("ca_file").map(PathBuf::from),
        cert_file: reader.text("cert_file").map(PathBuf::from),
        key_file: reader.text("key_file").map(PathBuf::from),
        verify_https_client: reader.flag("verify_https_client"),
    };
    reader.finish(&["tls_cipher_suites", "tls_min_version", "tls_prefer_server_cipher_suites"]);
    made
}
