//! A job in the API: every field as Nomad's clients write and expect it.
//!
//! What Drover does not support has a field of its own too: it is read, so that it can be refused by
//! name, and written as null, so that clients find the key. Keys nobody knows are ignored.
//!
//! Invariants
//! - `null` and an absent key mean the same;
//! - what `Job::of` writes, `Job::converted` reads back as the same specification.
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::jobspec::duration;

mod from_spec;
mod gates;
mod launch;
mod leanings;
mod resources;
mod services;
mod to_spec;
mod unsupported;
mod volumes;

pub use from_spec::Row;
pub use gates::until_word;
pub use launch::{DispatchPayload, ParameterizedJob, Periodic, ScalingPolicy};
pub use resources::memory_max_mb;
pub use services::{Check, Service, status_word};
pub use volumes::{Volume, VolumeMount};

/// A duration: nanoseconds in JSON, and on the way in also `"30s"`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ns(pub i64);

impl Serialize for Ns {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Ns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(from)?;
        let ns = match &json {
            Json::Number(number) => number.as_i64(),
            Json::String(text) => duration::parse_ns(text),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        };
        let wanted = "is no duration: nanoseconds, or a text such as \"1h30m\"";
        ns.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{json} {wanted}")))
    }
}

type Texts = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    pub region: Option<String>,
    pub namespace: Option<String>,
    #[serde(rename = "ID")]
    pub id: Option<String>,
    #[serde(rename = "ParentID")]
    pub parent_id: Option<String>,
    pub name: Option<String>,
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub priority: Option<i64>,
    pub all_at_once: Option<bool>,
    pub datacenters: Option<Vec<String>>,
    pub node_pool: Option<String>,
    pub constraints: Option<Vec<Constraint>>,
    pub affinities: Option<Vec<Affinity>>,
    pub spreads: Option<Vec<Spread>>,
    pub task_groups: Option<Vec<TaskGroup>>,
    pub update: Option<Update>,
    /// Ours: Nomad has no `restart` at this height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    pub reschedule: Option<ReschedulePolicy>,
    pub migrate: Option<Migrate>,
    pub multiregion: Json,
    pub periodic: Option<Periodic>,
    pub parameterized_job: Option<ParameterizedJob>,
    pub payload: Option<String>,
    pub dispatched: Option<bool>,
    pub dispatch_idempotency_token: Option<String>,
    pub meta: Option<Texts>,
    #[serde(rename = "UI")]
    pub ui: Json,
    pub consul_token: Option<String>,
    pub consul_namespace: Option<String>,
    pub vault_token: Option<String>,
    pub vault_namespace: Option<String>,
    #[serde(rename = "NomadTokenID")]
    pub nomad_token_id: Option<String>,
    pub status: Option<String>,
    pub status_description: Option<String>,
    pub stable: Option<bool>,
    pub stop: Option<bool>,
    pub version: Option<u64>,
    pub submit_time: Option<i64>,
    pub create_index: Option<u64>,
    pub modify_index: Option<u64>,
    pub job_modify_index: Option<u64>,
    /// Ours: what every group waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<After>>,
    /// Ours: when the calendar launches the next child. Ignored on the way in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_periodic_launch: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroup {
    pub name: Option<String>,
    pub count: Option<i64>,
    pub constraints: Option<Vec<Constraint>>,
    pub affinities: Option<Vec<Affinity>>,
    pub spreads: Option<Vec<Spread>>,
    pub tasks: Option<Vec<Task>>,
    pub restart_policy: Option<RestartPolicy>,
    pub reschedule_policy: Option<ReschedulePolicy>,
    pub ephemeral_disk: Option<EphemeralDisk>,
    pub update: Option<Update>,
    pub migrate: Option<Migrate>,
    pub networks: Option<Vec<Network>>,
    pub meta: Option<Texts>,
    pub services: Option<Vec<Service>>,
    pub shutdown_delay: Option<Ns>,
    pub stop_after_client_disconnect: Option<Ns>,
    pub max_client_disconnect: Option<Ns>,
    pub prevent_reschedule_on_lost: Json,
    pub disconnect: Json,
    pub scaling: Option<ScalingPolicy>,
    pub consul: Json,
    pub volumes: Option<BTreeMap<String, Volume>>,
    pub max_run_duration: Option<Ns>,
    /// Ours: what the group waits for beside its job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<After>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    pub name: Option<String>,
    pub driver: Option<String>,
    pub user: Option<String>,
    pub config: Option<serde_json::Map<String, Json>>,
    pub env: Option<Texts>,
    pub constraints: Option<Vec<Constraint>>,
    pub affinities: Option<Vec<Affinity>>,
    pub resources: Option<Resources>,
    pub restart_policy: Option<RestartPolicy>,
    pub meta: Option<Texts>,
    pub kill_timeout: Option<Ns>,
    pub kill_signal: Option<String>,
    pub kind: Option<String>,
    pub leader: Option<bool>,
    pub shutdown_delay: Option<Ns>,
    pub log_config: Option<LogConfig>,
    pub lifecycle: Json,
    pub services: Option<Vec<Service>>,
    pub artifacts: Json,
    pub templates: Json,
    pub vault: Json,
    pub consul: Json,
    pub identity: Json,
    pub identities: Json,
    pub secrets: Json,
    pub dispatch_payload: Option<DispatchPayload>,
    pub volume_mounts: Option<Vec<VolumeMount>>,
    #[serde(rename = "CSIPluginConfig")]
    pub csi_plugin_config: Json,
    pub scaling_policies: Json,
    pub actions: Json,
    pub schedule: Json,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Constraint {
    #[serde(rename = "LTarget")]
    pub left: Option<String>,
    #[serde(rename = "RTarget")]
    pub right: Option<String>,
    #[serde(rename = "Operand")]
    pub operand: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Affinity {
    #[serde(rename = "LTarget")]
    pub left: Option<String>,
    #[serde(rename = "RTarget")]
    pub right: Option<String>,
    #[serde(rename = "Operand")]
    pub operand: Option<String>,
    #[serde(rename = "Weight")]
    pub weight: Option<i64>,
}

/// What must have come before.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct After {
    pub job: Option<String>,
    pub group: Option<String>,
    pub until: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spread {
    pub attribute: Option<String>,
    pub weight: Option<i64>,
    pub spread_target: Option<Vec<SpreadTarget>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpreadTarget {
    pub value: Option<String>,
    pub percent: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Resources {
    #[serde(rename = "CPU")]
    pub cpu: Option<i64>,
    #[serde(rename = "Cores")]
    pub cores: Option<i64>,
    #[serde(rename = "MemoryMB")]
    pub memory_mb: Option<i64>,
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: Option<i64>,
    #[serde(rename = "DiskMB")]
    pub disk_mb: Option<i64>,
    #[serde(rename = "IOPS")]
    pub iops: Option<i64>,
    #[serde(rename = "Networks")]
    pub networks: Json,
    #[serde(rename = "Devices")]
    pub devices: Option<Vec<Device>>,
    #[serde(rename = "NUMA")]
    pub numa: Json,
    #[serde(rename = "SecretsMB")]
    pub secrets_mb: Option<i64>,
}

/// Devices that a task asks for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    pub name: Option<String>,
    pub count: Option<i64>,
    pub constraints: Option<Vec<Constraint>>,
    pub affinities: Option<Vec<Affinity>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    pub mode: Option<String>,
    pub device: Option<String>,
    #[serde(rename = "CIDR")]
    pub cidr: Option<String>,
    #[serde(rename = "IP")]
    pub ip: Option<String>,
    pub hostname: Option<String>,
    #[serde(rename = "DNS")]
    pub dns: Json,
    #[serde(rename = "CNI")]
    pub cni: Json,
    #[serde(rename = "MBits")]
    pub mbits: Option<i64>,
    pub reserved_ports: Option<Vec<Port>>,
    pub dynamic_ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    pub label: Option<String>,
    pub value: Option<i64>,
    pub to: Option<i64>,
    pub host_network: Option<String>,
    pub ignore_collision: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    pub attempts: Option<i64>,
    pub interval: Option<Ns>,
    pub delay: Option<Ns>,
    pub mode: Option<String>,
    pub render_templates: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReschedulePolicy {
    pub attempts: Option<i64>,
    pub interval: Option<Ns>,
    pub delay: Option<Ns>,
    pub delay_function: Option<String>,
    pub max_delay: Option<Ns>,
    pub unlimited: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Update {
    pub stagger: Option<Ns>,
    pub max_parallel: Option<i64>,
    pub health_check: Option<String>,
    pub min_healthy_time: Option<Ns>,
    pub healthy_deadline: Option<Ns>,
    pub progress_deadline: Option<Ns>,
    pub canary: Option<i64>,
    pub auto_revert: Option<bool>,
    pub auto_promote: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Migrate {
    pub max_parallel: Option<i64>,
    pub health_check: Option<String>,
    pub min_healthy_time: Option<Ns>,
    pub healthy_deadline: Option<Ns>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralDisk {
    pub sticky: Option<bool>,
    pub migrate: Option<bool>,
    #[serde(rename = "SizeMB")]
    pub size_mb: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    pub max_files: Option<i64>,
    #[serde(rename = "MaxFileSizeMB")]
    pub max_file_size_mb: Option<i64>,
    pub disabled: Option<bool>,
}

impl Job {
    /// The job in `body`: an object with the key `Job`, or the job itself.
    ///
    /// # Errors
    /// What is wrong with the body, in words for whoever sent it.
    pub fn decode(body: &[u8]) -> Result<Self, String> {
        let json: Json =
            serde_json::from_slice(body).map_err(|why| format!("the body is not JSON: {why}"))?;
        Self::from_json(json)
    }

    /// The same from JSON that has been read already.
    ///
    /// # Errors
    /// Which key has a value of the wrong kind.
    pub fn from_json(json: Json) -> Result<Self, String> {
        let Json::Object(mut map) = json else {
            return Err("the job must be a JSON object".to_owned());
        };
        let job = match map.remove("Job").or_else(|| map.remove("job")) {
            Some(Json::Null) => return Err("Job must be specified".to_owned()),
            Some(inner) => inner,
            None if map.contains_key("ID") || map.contains_key("TaskGroups") => Json::Object(map),
            None => return Err("Job must be specified".to_owned()),
        };
        // Read from text, line by line, because only then the error says where.
        let text = format!("{job:#}");
        serde_json::from_str(&text).map_err(|why| {
            let line = text.lines().nth(why.line().saturating_sub(1)).unwrap_or_default().trim();
            let what = why.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            format!("the job cannot be read: {what}, in: {line}")
        })
    }
}
