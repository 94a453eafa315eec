//! From evaluated blocks to the API's job, as it was written: nothing is filled in here.
//!
//! Invariants
//! - every block is read to its end: a key is read, refused by name, or unknown.
mod services;
mod volumes;

use drover_core::types::Operator;

use self::services::services;
use self::volumes::{volume_mounts, volumes};
use super::diagnostic::Findings;
use super::reader::Reader;
use super::tree::Block;
use crate::api::job::{
    Affinity, After, Constraint, Device, DispatchPayload, EphemeralDisk, Job, LogConfig, Migrate,
    Network, Ns, ParameterizedJob, Periodic, Port, ReschedulePolicy, Resources, RestartPolicy,
    ScalingPolicy, Spread, SpreadTarget, Task, TaskGroup, Update,
};

/// The job that `block` describes.
pub(crate) fn job(block: &Block, findings: &Findings<'_>) -> Job {
    let reader = Reader::new(block, String::new(), findings);
    let label = match &block.labels[..] {
        [label] => {
            findings.place("id".to_owned(), label.place.clone());
            Some(label.text.clone())
        }
        _ => {
            reader.wrong(
                &block.place,
                "`job` has one label: its id".to_owned(),
                "write job \"NAME\" { ... }",
            );
            None
        }
    };
    let id = reader.text("id").or_else(|| label.clone());
    let mut groups: Vec<TaskGroup> =
        reader.labelled("group").into_iter().map(|(name, one)| group(&name, one)).collect();
    // A task outside a group is a group of its own.
    for (name, one) in reader.labelled("task") {
        let inner = task(&name, one);
        groups.push(TaskGroup {
            name: Some(name),
            tasks: Some(vec![inner]),
            ..TaskGroup::default()
        });
    }
    let job = Job {
        name: reader.text("name").or(label),
        id,
        region: reader.text("region"),
        namespace: reader.text("namespace"),
        kind: reader.text("type"),
        priority: reader.int("priority"),
        all_at_once: reader.flag("all_at_once"),
        datacenters: reader.texts("datacenters"),
        node_pool: reader.text("node_pool"),
        constraints: constraints(&reader),
        affinities: affinities(&reader),
        spreads: spreads(&reader),
        after: gates(&reader),
        task_groups: Some(groups),
        update: reader.one("update").map(update),
        migrate: reader.one("migrate").map(migrate),
        restart_policy: reader.one("restart").map(restart),
        reschedule: reader.one("reschedule").map(reschedule),
        meta: reader.map("meta"),
        periodic: reader.one("periodic").map(periodic),
        parameterized_job: reader.one("parameterized").map(parameterized),
        ..Job::default()
    };
    reader.finish(&[
        "multiregion",
        "vault",
        "vault_token",
        "consul",
        "consul_token",
        "consul_namespace",
        "vault_namespace",
        "scaling",
        "ui",
    ]);
    job
}

fn group(name: &str, reader: Reader<'_>) -> TaskGroup {
    let tasks: Vec<Task> =
        reader.labelled("task").into_iter().map(|(name, one)| task(&name, one)).collect();
    let networks = reader.numbered("network");
    let group = TaskGroup {
        name: Some(name.to_owned()),
        count: reader.int("count"),
        constraints: constraints(&reader),
        affinities: affinities(&reader),
        spreads: spreads(&reader),
        after: gates(&reader),
        tasks: Some(tasks),
        restart_policy: reader.one("restart").map(restart),
        reschedule_policy: reader.one("reschedule").map(reschedule),
        ephemeral_disk: reader.one("ephemeral_disk").map(disk),
        update: reader.one("update").map(update),
        migrate: reader.one("migrate").map(migrate),
        networks: (!networks.is_empty()).then(|| networks.into_iter().map(network).collect()),
        meta: reader.map("meta"),
        shutdown_delay: ns(&reader, "shutdown_delay"),
        scaling: reader.one("scaling").map(scaling),
        services: services(&reader),
        volumes: volumes(&reader),
        ..TaskGroup::default()
    };
    reader.finish(&[
        "consul",
        "vault",
        "disconnect",
        "stop_after_client_disconnect",
        "max_client_disconnect",
        "prevent_reschedule_on_lost",
        "max_run_duration",
    ]);
    group
}

fn task(name: &str, reader: Reader<'_>) -> Task {
    let config = match reader.object("config").map(|value| value.to_json()) {
        Some(serde_json::Value::Object(map)) => Some(map),
        _ => None,
    };
    let task = Task {
        name: Some(name.to_owned()),
        driver: reader.text("driver"),
        user: reader.text("user"),
        config,
        env: reader.map("env"),
        constraints: constraints(&reader),
        affinities: affinities(&reader),
        resources: reader.one("resources").map(resources),
        restart_policy: reader.one("restart").map(restart),
        meta: reader.map("meta"),
        kill_timeout: ns(&reader, "kill_timeout"),
        kill_signal: reader.text("kill_signal"),
        leader: reader.flag("leader"),
        shutdown_delay: ns(&reader, "shutdown_delay"),
        log_config: reader.one("logs").map(logs),
        dispatch_payload: reader.one("dispatch_payload").map(dispatch_payload),
        services: services(&reader),
        volume_mounts: volume_mounts(&reader),
        ..Task::default()
    };
    reader.finish(&[
        "artifact",
        "template",
        "vault",
        "consul",
        "identity",
        "secret",
        "lifecycle",
        "csi_plugin",
        "scaling",
        "action",
        "schedule",
        "kind",
    ]);
    task
}

fn periodic(reader: Reader<'_>) -> Periodic {
    let periodic = Periodic {
        enabled: reader.flag("enabled"),
        spec: reader.text("cron"),
        specs: reader.texts("crons"),
        spec_type: None,
        prohibit_overlap: reader.flag("prohibit_overlap"),
        time_zone: reader.text("time_zone"),
    };
    if periodic.spec.is_none() && periodic.specs.is_some() {
        reader.alias("cron", "crons");
    }
    reader.finish(&[]);
    periodic
}

fn parameterized(reader: Reader<'_>) -> ParameterizedJob {
    let rules = ParameterizedJob {
        payload: reader.text("payload"),
        meta_required: reader.texts("meta_required"),
        meta_optional: reader.texts("meta_optional"),
    };
    reader.finish(&[]);
    rules
}

fn dispatch_payload(reader: Reader<'_>) -> DispatchPayload {
    let payload = DispatchPayload { file: reader.text("file") };
    if payload.file.is_none() {
        let hint = "write file = \"input.json\": it appears in the task's local/ directory";
        reader.wrong(&reader.block.place, "`dispatch_payload` names a file".to_owned(), hint);
    }
    reader.finish(&[]);
    payload
}

fn scaling(reader: Reader<'_>) -> ScalingPolicy {
    let scaling = ScalingPolicy {
        min: reader.int("min"),
        max: reader.int("max"),
        enabled: reader.flag("enabled"),
        kind: reader.text("type"),
        policy: reader.object("policy").map_or(serde_json::Value::Null, |value| value.to_json()),
    };
    reader.finish(&[]);
    scaling
}

fn ns(reader: &Reader<'_>, name: &'static str) -> Option<Ns> {
    reader.duration_ns(name).map(Ns)
}

fn resources(reader: Reader<'_>) -> Resources {
    let resources = Resources {
        cpu: reader.int("cpu"),
        cores: reader.int("cores"),
        memory_mb: reader.int("memory"),
        memory_max_mb: reader.int("memory_max"),
        devices: devices(&reader),
        ..Resources::default()
    };
    reader.finish(&["network", "numa", "disk", "iops", "secrets"]);
    resources
}

fn devices(reader: &Reader<'_>) -> Option<Vec<Device>> {
    let blocks = reader.labelled("device").into_iter().map(|(name, reader)| {
        let device = Device {
            name: Some(name),
            count: reader.int("count"),
            constraints: constraints(&reader),
            affinities: affinities(&reader),
        };
        reader.finish(&[]);
        device
    });
    let list: Vec<Device> = blocks.collect();
    (!list.is_empty()).then_some(list)
}

fn disk(reader: Reader<'_>) -> EphemeralDisk {
    let disk = EphemeralDisk {
        sticky: reader.flag("sticky"),
        migrate: reader.flag("migrate"),
        size_mb: reader.int("size"),
    };
    reader.finish(&[]);
    disk
}

fn logs(reader: Reader<'_>) -> LogConfig {
    let logs = LogConfig {
        max_files: reader.int("max_files"),
        max_file_size_mb: reader.int("max_file_size"),
        disabled: reader.flag("disabled"),
    };
    reader.finish(&["enabled"]);
    logs
}

fn restart(reader: Reader<'_>) -> RestartPolicy {
    let policy = RestartPolicy {
        attempts: reader.int("attempts"),
        interval: ns(&reader, "interval"),
        delay: ns(&reader, "delay"),
        mode: reader.text("mode"),
        render_templates: reader.flag("render_templates"),
    };
    reader.finish(&[]);
    policy
}

fn reschedule(reader: Reader<'_>) -> ReschedulePolicy {
    let policy = ReschedulePolicy {
        attempts: reader.int("attempts"),
        interval: ns(&reader, "interval"),
        delay: ns(&reader, "delay"),
        delay_function: reader.text("delay_function"),
        max_delay: ns(&reader, "max_delay"),
        unlimited: reader.flag("unlimited"),
    };
    reader.finish(&[]);
    policy
}

fn update(reader: Reader<'_>) -> Update {
    let policy = Update {
        stagger: ns(&reader, "stagger"),
        max_parallel: reader.int("max_parallel"),
        health_check: reader.text("health_check"),
        min_healthy_time: ns(&reader, "min_healthy_time"),
        healthy_deadline: ns(&reader, "healthy_deadline"),
        progress_deadline: ns(&reader, "progress_deadline"),
        canary: reader.int("canary"),
        auto_revert: reader.flag("auto_revert"),
        auto_promote: reader.flag("auto_promote"),
    };
    reader.finish(&[]);
    policy
}

fn migrate(reader: Reader<'_>) -> Migrate {
    let policy = Migrate {
        max_parallel: reader.int("max_parallel"),
        health_check: reader.text("health_check"),
        min_healthy_time: ns(&reader, "min_healthy_time"),
        healthy_deadline: ns(&reader, "healthy_deadline"),
    };
    reader.finish(&[]);
    policy
}

fn network(mut reader: Reader<'_>) -> Network {
    // A group has one network: problems do not number it.
    reader.move_to(reader.path.replace("network[0]", "network"));
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for (label, port) in reader.labelled("port") {
        let value = port.int("static");
        let list = if value.is_some() { &mut fixed } else { &mut dynamic };
        list.push(Port {
            label: Some(label),
            value,
            to: port.int("to"),
            host_network: port.text("host_network"),
            ignore_collision: port.flag("ignore_collision"),
        });
        port.finish(&[]);
    }
    let network = Network {
        mode: reader.text("mode"),
        hostname: reader.text("hostname"),
        mbits: reader.int("mbits"),
        reserved_ports: (!fixed.is_empty()).then_some(fixed),
        dynamic_ports: (!dynamic.is_empty()).then_some(dynamic),
        ..Network::default()
    };
    reader.finish(&["dns", "cni"]);
    network
}

fn constraints(reader: &Reader<'_>) -> Option<Vec<Constraint>> {
    let list: Vec<Constraint> = reader.numbered("constraint").into_iter().map(constraint).collect();
    (!list.is_empty()).then_some(list)
}

fn affinities(reader: &Reader<'_>) -> Option<Vec<Affinity>> {
    let list: Vec<Affinity> = reader.numbered("affinity").into_iter().map(affinity).collect();
    (!list.is_empty()).then_some(list)
}

fn affinity(reader: Reader<'_>) -> Affinity {
    let weight = reader.int("weight");
    let Constraint { left, right, operand } = constraint(reader);
    Affinity { left, right, operand, weight }
}

fn spreads(reader: &Reader<'_>) -> Option<Vec<Spread>> {
    let list: Vec<Spread> = reader.numbered("spread").into_iter().map(spread).collect();
    (!list.is_empty()).then_some(list)
}

fn spread(reader: Reader<'_>) -> Spread {
    let targets = reader.labelled("target").into_iter().map(|(label, target)| {
        let value = target.text("value").or(Some(label));
        let made = SpreadTarget { value, percent: target.int("percent") };
        target.finish(&[]);
        made
    });
    let targets: Vec<SpreadTarget> = targets.collect();
    let spread = Spread {
        attribute: reader.text("attribute"),
        weight: reader.int("weight"),
        spread_target: (!targets.is_empty()).then_some(targets),
    };
    reader.finish(&[]);
    spread
}

fn gates(reader: &Reader<'_>) -> Option<Vec<After>> {
    let gate = |reader: Reader<'_>| {
        let after = After {
            job: reader.text("job"),
            group: reader.text("group"),
            until: reader.text("until"),
        };
        reader.finish(&[]);
        after
    };
    let list: Vec<After> = reader.numbered("after").into_iter().map(gate).collect();
    (!list.is_empty()).then_some(list)
}

/// The long form, or one of the short ones: `regexp = "..."`, `distinct_hosts = true`.
fn constraint(reader: Reader<'_>) -> Constraint {
    const SHORT: [&str; 8] = [
        "regexp",
        "version",
        "semver",
        "set_contains",
        "set_contains_all",
        "set_contains_any",
        "distinct_property",
        "is_set",
    ];
    let mut made = Constraint {
        left: reader.text("attribute"),
        operand: reader.text("operator"),
        right: reader.text("value"),
    };
    for name in SHORT {
        if let Some(text) = reader.text(name) {
            made.operand = Some(name.to_owned());
            reader.alias("operator", name);
            reader.alias(if name == "distinct_property" { "attribute" } else { "value" }, name);
            if name == "distinct_property" {
                made.left = Some(text);
            } else {
                made.right = Some(text);
            }
        }
    }
    if let Some(distinct) = reader.flag("distinct_hosts") {
        made.operand = Some(Operator::DistinctHosts.name().to_owned());
        made.right = Some(distinct.to_string());
    }
    reader.finish(&[]);
    made
}
