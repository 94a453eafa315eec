//! What a task finds in its environment, and what `${...}` stands for in a job.
//!
//! The core knows all but where directories are: `${NOMAD_ALLOC_DIR}`, `${NOMAD_TASK_DIR}` and
//! `${NOMAD_SECRETS_DIR}` stay as they are, for the shell to resolve with a second `interpolate`.
//!
//! Invariants
//! - what has no meaning here is left as it was written;
//! - no value can break out of the JSON string it is put into.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::types::{
    AllocSpec, AssignedAlloc, CoreSet, DeviceGrant, DeviceName, MemoryLimit, NodeSpec, PortGrant,
    Task, TaskPieces, TaskStart,
};

/// What names in `${...}` may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// `node.*`, `attr.*` and `meta.*`.
    pub node: Option<&'a NodeSpec>,
    pub region: &'a str,
    /// Variables by their own name, or as `env.NAME` or `env["NAME"]`.
    pub env: &'a BTreeMap<String, String>,
}

/// `text` with every `${name}` that means something replaced.
#[must_use]
pub fn interpolate(text: &str, lookup: &Lookup<'_>) -> String {
    replace(text, |name| lookup.value(name))
}

/// The same for a JSON text: names are unescaped, and values are escaped.
#[must_use]
pub fn interpolate_json(text: &str, lookup: &Lookup<'_>) -> String {
    replace(text, |name| lookup.value(&name.replace("\\\"", "\"")).map(|value| escape(&value)))
}

/// Everything a driver needs to start one task of an alloc.
pub(super) fn task_start(
    run: &AssignedAlloc,
    spec: &Arc<AllocSpec>,
    task: usize,
    node: &NodeSpec,
) -> TaskStart {
    let env = of_task(run, spec, task, node);
    let task = &spec.group.tasks[task];
    let lookup = Lookup { node: Some(node), region: &spec.region, env: &env };
    let config_json = interpolate_json(&task.config_json, &lookup);
    let (uuid, ports) = (run.uuid, run.ports.clone());
    let memory = task.resources.memory_limit().filter(|_| run.may_exceed_memory);
    let cores = pieces_of(run, task).map_or_else(CoreSet::default, |has| has.cores.clone());
    TaskStart { uuid, spec: Arc::clone(spec), ports, env, config_json, memory, cores }
}

/// All variables of a task, resolved but for directories.
pub(super) fn of_task(
    run: &AssignedAlloc,
    spec: &AllocSpec,
    task: usize,
    node: &NodeSpec,
) -> BTreeMap<String, String> {
    let mut env = of_group(run, spec, node);
    let task = &spec.group.tasks[task];
    add_task(&mut env, run, task, node);
    let lookup = Lookup { node: Some(node), region: &spec.region, env: &env };
    let own: BTreeMap<_, _> = task
        .env
        .iter()
        .map(|(name, value)| (interpolate(name, &lookup), interpolate(value, &lookup)))
        .collect();
    env.extend(own);
    env
}

/// The variables that every task of the group gets.
pub(super) fn of_group(
    run: &AssignedAlloc,
    spec: &AllocSpec,
    node: &NodeSpec,
) -> BTreeMap<String, String> {
    let group = &spec.group;
    let uuid = run.uuid.to_string();
    let name = format!("{}.{}[{}]", spec.job_id, group.name, run.ordinal);
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| env.insert(format!("NOMAD_{name}"), value.to_string());
    set("ALLOC_ID", &uuid);
    set("SHORT_ALLOC_ID", &uuid[..8]);
    set("ALLOC_NAME", &name);
    set("ALLOC_INDEX", &run.ordinal.to_string());
    set("GROUP_NAME", &group.name);
    set("JOB_ID", &spec.job_id);
    set("JOB_NAME", &spec.job_name);
    set("NAMESPACE", &spec.namespace);
    set("REGION", &spec.region);
    set("DC", &node.datacenter);
    let ip = address_of(node);
    for PortGrant { label, value, .. } in &run.ports {
        let label = clean(label);
        // Tasks live in the host's own network: inside and outside are the same.
        for place in ["", "HOST_"] {
            set(&format!("{place}IP_{label}"), ip);
            set(&format!("{place}PORT_{label}"), &value.to_string());
            set(&format!("{place}ADDR_{label}"), &address(ip, *value));
        }
        set(&format!("ALLOC_PORT_{label}"), &value.to_string());
    }
    add_meta(&mut env, spec.job_meta.iter().chain(&group.meta));
    env
}

/// Those that are the task's alone.
fn add_task(env: &mut BTreeMap<String, String>, run: &AssignedAlloc, task: &Task, node: &NodeSpec) {
    let mut visible: Vec<&str> = Vec::new();
    let mut set = |name: &str, value: &str| env.insert(format!("NOMAD_{name}"), value.to_string());
    set("TASK_NAME", &task.name);
    let core_mhz = node.pieces.as_ref().map_or(0, |pieces| pieces.core_mhz);
    let of_cores = task.resources.cores.saturating_mul(core_mhz);
    set("CPU_LIMIT", &task.resources.cpu_mhz.saturating_add(of_cores).to_string());
    if let Some(has) = pieces_of(run, task).filter(|has| !has.cores.is_empty()) {
        set("CPU_CORES", &has.cores.to_string());
    }
    for DeviceGrant { name, ids } in pieces_of(run, task).map_or(&[][..], |has| &has.devices) {
        let DeviceName { vendor, kind, name } = name;
        let device = format!("DEVICE_{}", clean(&format!("{vendor}_{kind}_{name}")));
        set(&device, &ids.join(","));
        if vendor == "nvidia" && kind == "gpu" {
            // What the vendor's own libraries look for.
            visible.extend(ids.iter().map(String::as_str));
        }
    }
    set("MEMORY_LIMIT", &task.resources.memory_mib.to_string());
    let limit = task.resources.memory_limit().filter(|_| run.may_exceed_memory);
    if let Some(MemoryLimit { most_mib: Some(most), .. }) = limit {
        set("MEMORY_MAX_LIMIT", &most.to_string());
    }
    add_meta(env, task.meta.iter());
    if !visible.is_empty() {
        for name in ["NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"] {
            env.insert(name.to_string(), visible.join(","));
        }
    }
}

fn add_meta<'a>(
    env: &mut BTreeMap<String, String>,
    meta: impl Iterator<Item = (&'a String, &'a String)>,
) {
    for (key, value) in meta {
        let key = clean(key);
        env.insert(format!("NOMAD_META_{key}"), value.clone());
        env.insert(format!("NOMAD_META_{}", key.to_uppercase()), value.clone());
    }
}

/// Where others reach what runs on the node.
pub(super) fn address_of(node: &NodeSpec) -> &str {
    node.attributes.get("unique.network.ip-address").map_or("127.0.0.1", String::as_str)
}

/// What the task has for itself.
fn pieces_of<'a>(run: &'a AssignedAlloc, task: &Task) -> Option<&'a TaskPieces> {
    run.pieces.as_ref()?.of_task(&task.name)
}

fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Only letters, digits and underscores are safe in a variable's name.
fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let end = start + length;
        done.push_str(&rest[..start]);
        match value(rest[start + 2..end].trim()) {
            Some(value) => done.push_str(&value),
            None => done.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    done.push_str(rest);
    done
}

impl Lookup<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let quoted = name.strip_prefix("env[\"").and_then(|rest| rest.strip_suffix("\"]"));
        if let Some(name) = quoted.or_else(|| name.strip_prefix("env.")) {
            return self.env.get(name).cloned();
        }
        if let Some(value) = self.env.get(name) {
            return Some(value.clone());
        }
        let node = self.node?;
        if let Some(key) = name.strip_prefix("attr.") {
            return node.attributes.get(key).cloned();
        }
        if let Some(key) = name.strip_prefix("meta.") {
            return node.meta.get(key).cloned();
        }
        match name {
            "node.unique.id" => Some(node.id.uuid().to_string()),
            "node.unique.name" => Some(node.name.clone()),
            "node.datacenter" => Some(node.datacenter.clone()),
            "node.class" => Some(node.class.clone()),
            "node.pool" => Some(node.pool.to_string()),
            "node.region" => Some(self.region.to_string()),
            _ => None,
        }
    }
}

/// The inside of a JSON string.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            c if c < ' ' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}
