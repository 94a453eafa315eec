//! What Nomad's jobs may have and Drover's not yet: refused by name, never ignored.
//!
//! Invariants
//! - what is empty (`null`, `[]`, `{}`, `""`, `0`, `false`) asks for nothing and passes.
use drover_core::types::JobKind;
use serde_json::Value as Json;

use super::{Job, Network, Ns, ReschedulePolicy, Resources, Task, TaskGroup};
use crate::jobspec::check::Problem;
use crate::jobspec::diagnostic::Dialect;

/// Whether `json` asks for anything.
pub(super) fn asks(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(list) => !list.is_empty(),
        Json::Object(map) => map.values().any(asks),
    }
}

pub(super) fn is_text(value: Option<&String>, harmless: &[&str]) -> bool {
    value.is_some_and(|text| !text.is_empty() && !harmless.contains(&text.as_str()))
}

fn is_ns(value: Option<Ns>) -> bool {
    value.is_some_and(|ns| ns.0 != 0)
}

/// Collects what is asked for in vain.
pub(super) struct Refusals<'a> {
    pub(super) path: &'a str,
    pub(super) list: &'a mut Vec<Problem>,
}

impl Refusals<'_> {
    /// Each name whose presence is true.
    pub(super) fn each(&mut self, names: &[(&str, bool)]) {
        for (name, _) in names.iter().filter(|(_, present)| *present) {
            let field = if self.path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{}.{name}", self.path)
            };
            self.list.push(Problem { field, why: refusal(name) });
        }
    }
}

/// How a part of Nomad's job files that is not supported is turned down.
pub(super) fn refusal(name: &str) -> String {
    Dialect::JobFile.refusal(name)
}

/// Everything of the job itself; groups and tasks are asked on their own.
pub(super) fn of_job(job: &Job, list: &mut Vec<Problem>) {
    Refusals { path: "", list }.each(&[
        ("all_at_once", job.all_at_once == Some(true)),
        ("multiregion", asks(&job.multiregion)),
        ("ui", asks(&job.ui)),
        ("consul_token", is_text(job.consul_token.as_ref(), &[])),
        ("consul_namespace", is_text(job.consul_namespace.as_ref(), &["default"])),
        ("vault_token", is_text(job.vault_token.as_ref(), &[])),
        ("vault_namespace", is_text(job.vault_namespace.as_ref(), &["default"])),
    ]);
}

/// What makes no sense for a job of this type.
pub(super) fn of_kind(job: &Job, kind: JobKind, list: &mut Vec<Problem>) {
    if !kind.is_on_every_node() {
        return;
    }
    let name = job.kind.as_deref().unwrap_or_default();
    let groups = job.task_groups.iter().flatten();
    let groups = groups.map(|group| (group.name.as_deref(), &group.reschedule_policy));
    for (group, policy) in core::iter::once((None, &job.reschedule)).chain(groups) {
        if policy.as_ref().is_some_and(reschedules) {
            let of = group.map(|group| format!("group[{group}].")).unwrap_or_default();
            let why = format!(
                "a {name} job runs on every node, so what fails has no other to go to: drop the block; \
                 `restart` says how often it is tried where it is"
            );
            list.push(Problem { field: format!("{of}reschedule"), why });
        }
    }
    let groups = job.task_groups.iter().flatten().map(|group| {
        let path = format!("group[{}].", group.name.as_deref().unwrap_or_default());
        (path, has_any(&group.affinities), has_any(&group.spreads))
    });
    let of_job = (String::new(), has_any(&job.affinities), has_any(&job.spreads));
    for (path, has_affinities, has_spreads) in core::iter::once(of_job).chain(groups) {
        for (block, is_there) in [("affinity", has_affinities), ("spread", has_spreads)] {
            if is_there {
                let why = format!("a {name} job runs on every node, so it has no choice: drop it");
                list.push(Problem { field: format!("{path}{block}"), why });
            }
        }
    }
}

fn has_any<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// Newer Nomads write a policy of nothing for such jobs.
fn reschedules(policy: &ReschedulePolicy) -> bool {
    policy.attempts.is_some_and(|attempts| attempts != 0)
        || policy.unlimited == Some(true)
        || [policy.interval, policy.delay, policy.max_delay].into_iter().any(is_ns)
}

/// Everything of the group at `path`.
pub(super) fn of_group(group: &TaskGroup, path: &str, list: &mut Vec<Problem>) {
    Refusals { path, list }.each(&[
        ("stop_after_client_disconnect", is_ns(group.stop_after_client_disconnect)),
        ("max_client_disconnect", is_ns(group.max_client_disconnect)),
        ("prevent_reschedule_on_lost", asks(&group.prevent_reschedule_on_lost)),
        ("disconnect", asks(&group.disconnect)),
        ("consul", asks(&group.consul)),
        ("max_run_duration", is_ns(group.max_run_duration)),
    ]);
    if let Some(disk) = &group.ephemeral_disk {
        Refusals { path: &format!("{path}.ephemeral_disk"), list }.each(&[
            ("sticky", disk.sticky == Some(true)),
            ("migrate", disk.migrate == Some(true)),
        ]);
    }
    for network in group.networks.iter().flatten() {
        of_network(network, &format!("{path}.network"), list);
    }
}

fn of_network(network: &Network, path: &str, list: &mut Vec<Problem>) {
    Refusals { path, list }.each(&[
        ("device", is_text(network.device.as_ref(), &[])),
        ("cidr", is_text(network.cidr.as_ref(), &[])),
        ("ip", is_text(network.ip.as_ref(), &[])),
        ("hostname", is_text(network.hostname.as_ref(), &[])),
        ("dns", asks(&network.dns)),
        ("cni", asks(&network.cni)),
        ("mbits", network.mbits.is_some_and(|mbits| mbits != 0)),
    ]);
    for port in network.reserved_ports.iter().chain(&network.dynamic_ports).flatten() {
        let path = format!("{path}.port[{}]", port.label.as_deref().unwrap_or_default());
        Refusals { path: &path, list }.each(&[
            ("host_network", is_text(port.host_network.as_ref(), &["default"])),
            ("ignore_collision", port.ignore_collision == Some(true)),
        ]);
    }
}

/// Everything of the task at `path`.
pub(super) fn of_task(task: &Task, path: &str, list: &mut Vec<Problem>) {
    Refusals { path, list }.each(&[
        ("kind", is_text(task.kind.as_ref(), &[])),
        ("lifecycle", asks(&task.lifecycle)),
        ("artifact", asks(&task.artifacts)),
        ("template", asks(&task.templates)),
        ("vault", asks(&task.vault)),
        ("consul", asks(&task.consul)),
        ("identity", is_identity(&task.identity) || asks(&task.identities)),
        ("secret", asks(&task.secrets)),
        ("csi_plugin", asks(&task.csi_plugin_config)),
        ("scaling", asks(&task.scaling_policies)),
        ("action", asks(&task.actions)),
        ("schedule", asks(&task.schedule)),
    ]);
    if let Some(resources) = &task.resources {
        of_resources(resources, &format!("{path}.resources"), list);
    }
    if let Some(logs) = &task.log_config {
        let path = format!("{path}.logs");
        Refusals { path: &path, list }.each(&[("disabled", logs.disabled == Some(true))]);
    }
}

fn of_resources(resources: &Resources, path: &str, list: &mut Vec<Problem>) {
    let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    Refusals { path, list }.each(&[
        ("disk", set(resources.disk_mb)),
        ("iops", set(resources.iops)),
        ("network", asks(&resources.networks)),
        ("numa", is_numa(&resources.numa)),
        ("secrets", set(resources.secrets_mb)),
    ]);
}

/// Newer Nomads write `{"Affinity": "none"}` for nothing.
fn is_numa(json: &Json) -> bool {
    asks(json) && json.get("Affinity").and_then(Json::as_str) != Some("none")
}

/// Newer Nomads give every task the default identity, which reaches no file and no variable.
fn is_identity(json: &Json) -> bool {
    let set = |key| json.get(key).is_some_and(asks);
    set("Env") || set("File") || set("Filepath") || set("ChangeMode")
}
