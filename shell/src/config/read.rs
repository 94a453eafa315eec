//! From the blocks of a file to what was written.
//!
//! Invariants
//! - a key of Nomad's that has no counterpart here is refused by name, unless it asks for nothing;
//! - a key that is accepted without effect leaves a note.
use std::path::PathBuf;

use super::written::{Written, WrittenJoin};
use super::{PROGRAM, address};
use crate::jobspec::diagnostic::{Dialect, Findings};
use crate::jobspec::reader::Reader;
use crate::jobspec::tree::Block;
use crate::jobspec::value::Value;

mod blocks;
mod devices;
mod volumes;

use blocks::{autopilot, client, consul, plugins, server, tls};

const LOG_LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// Everything of one file.
pub(super) fn top(root: &Block, findings: &Findings<'_>) -> Written {
    let reader = Reader::new(root, String::new(), findings);
    let mut notes = Vec::new();
    let (ports_http, ports_rpc) = ports(&reader, &mut notes);
    let (addresses_http, addresses_rpc) = addresses(&reader, &mut notes);
    let (advertise_http, advertise_rpc) = advertise(&reader, &mut notes);
    let (recorder_enabled, recorder_max_mb) = recorder(&reader);
    let written = Written {
        region: word(&reader, "region"),
        datacenter: word(&reader, "datacenter"),
        name: word(&reader, "name"),
        data_dir: directory(&reader, "data_dir"),
        bind_addr: ip(&reader, "bind_addr"),
        ports_http,
        ports_rpc,
        addresses_http,
        addresses_rpc,
        advertise_http,
        advertise_rpc,
        server: reader.one("server").map(server).unwrap_or_default(),
        autopilot: reader.one("autopilot").map(autopilot),
        client: reader.one("client").map(|one| client(one, &mut notes)).unwrap_or_default(),
        raw_exec: plugins(&reader, findings),
        consul: consul(&reader),
        tls: reader.one("tls").map(|one| tls(one, &mut notes)).unwrap_or_default(),
        log_level: log_level(&reader),
        log_json: reader.flag("log_json"),
        leave_on_interrupt: reader.flag("leave_on_interrupt"),
        leave_on_terminate: reader.flag("leave_on_terminate"),
        enable_debug: reader.flag("enable_debug"),
        prometheus_metrics: reader.one("telemetry").and_then(telemetry),
        unsafe_open: reader.flag("unsafe_open"),
        recorder_enabled,
        recorder_max_mb,
        notes,
        files: Vec::new(),
    };
    // Drover neither looks for updates nor signs anything: both say what is so.
    let _ = (reader.flag("disable_update_check"), reader.flag("disable_anonymous_signature"));
    if let Some(one) = reader.attribute("log_file") {
        let hint = "Drover logs to standard error; let the service manager keep it";
        reader.wrong(&one.place, "`log_file` is not supported".to_owned(), hint);
    }
    refuse_unless_idle(&reader);
    reader.finish(&[
        "plugin_dir",
        "log_include_location",
        "log_rotate_duration",
        "log_rotate_bytes",
        "log_rotate_max_files",
        "syslog_facility",
        "http_api_response_headers",
    ]);
    written
}

/// Blocks of Nomad's that pass as long as they ask for nothing.
fn refuse_unless_idle(reader: &Reader<'_>) {
    const NAMES: [&str; 12] = [
        "acl",
        "vault",
        "rpc",
        "ui",
        "sentinel",
        "limits",
        "audit",
        "reporting",
        "keyring",
        "eventlog",
        "enable_syslog",
        "license",
    ];
    for name in NAMES {
        if let Some(one) = reader.attribute(name).filter(|one| one.value != Value::Bool(false)) {
            refuse(reader, &one.place, name);
        }
        for block in reader.blocks(name) {
            let off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
            let idle = block.blocks.is_empty()
                && block.attributes.iter().all(|one| one.name == "enabled" && off(&one.value));
            if !idle {
                refuse(reader, &block.place, name);
            }
        }
    }
}

fn refuse(reader: &Reader<'_>, place: &std::ops::Range<usize>, name: &str) {
    reader.wrong(place, Dialect::AgentFile.refusal(name), "");
}

fn word(reader: &Reader<'_>, name: &'static str) -> Option<String> {
    let text = reader.text(name)?;
    let fine =
        !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    if !fine && let Some(one) = reader.attribute(name) {
        let why = format!("`{name}` must be a word, without blanks and slashes");
        reader.wrong(&one.value_place, why, "");
    }
    fine.then_some(text)
}

fn directory(reader: &Reader<'_>, name: &'static str) -> Option<PathBuf> {
    let path = PathBuf::from(reader.text(name)?);
    if !path.is_absolute()
        && let Some(one) = reader.attribute(name)
    {
        let why = format!("`{name}` must be an absolute path");
        reader.wrong(&one.value_place, why, "such as /var/lib/drover");
    }
    Some(path)
}

/// An IP address, without a port.
fn ip(reader: &Reader<'_>, name: &'static str) -> Option<String> {
    let text = reader.text(name)?;
    if text.parse::<std::net::IpAddr>().is_err()
        && let Some(one) = reader.attribute(name)
    {
        let hint = if text.contains("{{") {
            "templates of addresses are not supported: write the address itself"
        } else {
            "such as 10.0.0.1, or 0.0.0.0 for every interface"
        };
        reader.wrong(&one.value_place, format!("`{name}` must be an IP address"), hint);
    }
    Some(text)
}

/// A number of so many bits that is not negative.
fn number<T: TryFrom<i64>>(reader: &Reader<'_>, name: &'static str) -> Option<T> {
    let value = reader.int(name)?;
    let fits = T::try_from(value).ok();
    if fits.is_none()
        && let Some(one) = reader.attribute(name)
    {
        reader.wrong(&one.value_place, format!("`{name}` cannot be {value}"), "");
    }
    fits
}

fn duration_ms(reader: &Reader<'_>, name: &'static str) -> Option<u64> {
    let ns = reader.duration_ns(name)?;
    let fits = u64::try_from(ns).ok().map(|ns| ns.div_ceil(1_000_000));
    if fits.is_none()
        && let Some(one) = reader.attribute(name)
    {
        reader.wrong(&one.value_place, format!("`{name}` must not be negative"), "");
    }
    fits
}

/// Gossip has no port of its own here.
fn note_serf(reader: &Reader<'_>, notes: &mut Vec<String>) {
    if reader.attribute("serf").is_some() {
        notes.push(format!(
            "{} has no effect: all traffic among agents goes to the port of rpc, by UDP",
            reader.field("serf")
        ));
    }
}

fn ports(reader: &Reader<'_>, notes: &mut Vec<String>) -> (Option<u16>, Option<u16>) {
    let Some(ports) = reader.one("ports") else { return (None, None) };
    let found = (number(&ports, "http"), number(&ports, "rpc"));
    note_serf(&ports, notes);
    ports.finish(&[]);
    found
}

fn addresses(reader: &Reader<'_>, notes: &mut Vec<String>) -> (Option<String>, Option<String>) {
    let Some(addresses) = reader.one("addresses") else { return (None, None) };
    let found = (ip(&addresses, "http"), ip(&addresses, "rpc"));
    note_serf(&addresses, notes);
    addresses.finish(&[]);
    found
}

fn advertise(reader: &Reader<'_>, notes: &mut Vec<String>) -> (Option<String>, Option<String>) {
    let Some(advertise) = reader.one("advertise") else { return (None, None) };
    let one = |name| {
        let text = advertise.text(name)?;
        if address::with_port(&text, 1).is_none()
            && let Some(one) = advertise.attribute(name)
        {
            let hint = "such as 10.0.0.1 or 10.0.0.1:4647";
            advertise.wrong(&one.value_place, format!("`{name}` must be an IP address"), hint);
        }
        Some(text)
    };
    let found = (one("http"), one("rpc"));
    note_serf(&advertise, notes);
    advertise.finish(&[]);
    found
}

fn recorder(reader: &Reader<'_>) -> (Option<bool>, Option<u64>) {
    let Some(recorder) = reader.one("recorder") else { return (None, None) };
    let found = (recorder.flag("enabled"), number(&recorder, "max_mb"));
    recorder.finish(&[]);
    found
}

fn telemetry(telemetry: Reader<'_>) -> Option<bool> {
    let found = telemetry.flag("prometheus_metrics");
    // How metrics are named and paced elsewhere changes nothing of what is told here.
    for name in
        ["publish_allocation_metrics", "publish_node_metrics", "disable_hostname", "use_node_name"]
    {
        let _ = telemetry.flag(name);
    }
    let _ = telemetry.duration_ns("collection_interval");
    telemetry.finish(&[
        "statsd_address",
        "statsite_address",
        "datadog_address",
        "datadog_tags",
        "circonus_api_token",
        "prefix_filter",
        "filter_default",
        "disable_dispatched_job_summary_metrics",
        "in_memory_collection_interval",
    ]);
    found
}

fn log_level(reader: &Reader<'_>) -> Option<String> {
    let level = reader.text("log_level")?.to_uppercase();
    if !LOG_LEVELS.contains(&level.as_str())
        && let Some(one) = reader.attribute("log_level")
    {
        let hint = format!("one of {}", LOG_LEVELS.join(", "));
        reader.wrong(&one.value_place, format!("there is no log level \"{level}\""), &hint);
    }
    Some(level)
}

fn addresses_of(reader: &Reader<'_>, name: &'static str) -> Vec<String> {
    let list = reader.texts(name).unwrap_or_default();
    for text in &list {
        let is_program = text.strip_prefix(PROGRAM).is_some_and(|line| !line.trim().is_empty());
        if !is_program
            && address::host_port(text, 1).is_none()
            && let Some(one) = reader.attribute(name)
        {
            let hint = if text.contains("provider=") {
                "Drover asks no cloud: let a program print the addresses, \"exec=/path/to/program\""
            } else {
                "such as 10.0.0.1, server-1:4647, [fd00::1]:4647 or _drover._udp.example.com"
            };
            reader.wrong(&one.value_place, format!("\"{text}\" is no address of a server"), hint);
        }
    }
    list
}

/// `server_join { ... }`, and the same keys directly in the block.
fn join(reader: &Reader<'_>, older: bool) -> WrittenJoin {
    let mut made = WrittenJoin::default();
    if older {
        made.overlay(join_keys(reader));
    }
    if let Some(inner) = reader.one("server_join") {
        made.overlay(join_keys(&inner));
        inner.finish(&[]);
    }
    made
}

fn join_keys(reader: &Reader<'_>) -> WrittenJoin {
    WrittenJoin {
        start_join: addresses_of(reader, "start_join"),
        retry_join: addresses_of(reader, "retry_join"),
        retry_interval_ms: duration_ms(reader, "retry_interval"),
        retry_max: number(reader, "retry_max"),
    }
}
