//! From the core's job to the API's.
//!
//! Invariants
//! - every key that Nomad's clients look for is there, with what Drover does not support as null.
use std::collections::BTreeMap;

use drover_core::types::{
    Constraint as Demand, DelayFunction, Group, HealthCheck, JobKind, JobSpec, MigratePolicy,
    NetworkAsk, ReschedulePolicy as Reschedule, RestartMode, RestartPolicy as Restart,
    Task as TaskSpec, UpdatePolicy,
};

use super::{
    Affinity, After, Constraint, DispatchPayload, EphemeralDisk, Job, LogConfig, Migrate, Network,
    Ns, ParameterizedJob, Periodic, Port, ReschedulePolicy, Resources, RestartPolicy,
    ScalingPolicy, Service, Spread, Task, TaskGroup, Update, Volume, VolumeMount,
};

/// What the tables know of a job beside its specification.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// `pending`, `running` or `dead`.
    pub status: String,
    pub version: u64,
    pub stopped: bool,
    pub stable: bool,
    pub submitted_at_unix_ms: u64,
    pub create_index: u64,
    pub modify_index: u64,
    pub spec_index: u64,
}

/// `ms` in nanoseconds, as far as they can be told.
pub(super) fn ns(ms: u64) -> Option<Ns> {
    Some(Ns(i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)))
}

pub(super) fn some(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

impl Job {
    /// The job that `spec` and `row` describe.
    #[must_use]
    pub fn of(spec: &JobSpec, row: &Row) -> Self {
        let submitted = row.submitted_at_unix_ms.saturating_mul(1_000_000);
        Self {
            status: text(&row.status),
            status_description: text(""),
            stable: Some(row.stable),
            stop: Some(row.stopped),
            version: Some(row.version),
            submit_time: (submitted != 0).then(|| i64::try_from(submitted).unwrap_or(i64::MAX)),
            create_index: Some(row.create_index),
            modify_index: Some(row.modify_index),
            job_modify_index: Some(row.spec_index),
            ..Self::of_spec(spec)
        }
    }

    fn of_spec(spec: &JobSpec) -> Self {
        let groups = spec.groups.iter().map(|group| TaskGroup::of(spec.kind, group));
        Self {
            region: text(&spec.region),
            namespace: text(&spec.namespace),
            id: text(&spec.id),
            parent_id: text(""),
            name: text(&spec.name),
            kind: text(match spec.kind {
                JobKind::Service => "service",
                JobKind::Batch => "batch",
                JobKind::System => "system",
                JobKind::Sysbatch => "sysbatch",
            }),
            priority: Some(i64::from(spec.priority)),
            all_at_once: Some(false),
            datacenters: Some(spec.datacenters.clone()),
            node_pool: text(spec.node_pool.as_str()),
            constraints: constraints(&spec.constraints),
            affinities: Affinity::list(&spec.affinities),
            spreads: Spread::list(&spec.spreads),
            after: After::list(&spec.after),
            task_groups: Some(groups.collect()),
            update: Some(Update::none()),
            periodic: Periodic::of(&spec.launch),
            parameterized_job: ParameterizedJob::of(&spec.launch),
            dispatched: Some(false),
            meta: some(&spec.meta),
            consul_token: text(""),
            consul_namespace: text(""),
            vault_token: text(""),
            vault_namespace: text(""),
            nomad_token_id: text(""),
            ..Self::default()
        }
    }
}

pub(super) fn constraints(list: &[Demand]) -> Option<Vec<Constraint>> {
    let one = |demand: &Demand| Constraint {
        left: text(&demand.left),
        right: text(&demand.right),
        operand: text(demand.operator.name()),
    };
    (!list.is_empty()).then(|| list.iter().map(one).collect())
}

impl TaskGroup {
    fn of(kind: JobKind, group: &Group) -> Self {
        // What runs on every node is never placed on another.
        let reschedule = Some(&group.reschedule).filter(|_| !kind.is_on_every_node());
        let restart = RestartPolicy::of(&group.restart);
        Self {
            name: text(&group.name),
            count: Some(i64::from(group.count)),
            constraints: constraints(&group.constraints),
            affinities: Affinity::list(&group.affinities),
            spreads: Spread::list(&group.spreads),
            after: After::list(&group.after),
            tasks: Some(group.tasks.iter().map(|task| Task::of(task, &restart)).collect()),
            restart_policy: Some(restart.clone()),
            reschedule_policy: reschedule.map(ReschedulePolicy::of),
            ephemeral_disk: Some(EphemeralDisk {
                sticky: Some(false),
                migrate: Some(false),
                size_mb: Some(i64::from(group.disk_mib)),
            }),
            update: Some(Update::of(&group.update)),
            migrate: match kind {
                JobKind::Service => Some(Migrate::of(&group.migrate)),
                JobKind::Batch | JobKind::System | JobKind::Sysbatch => None,
            },
            networks: Network::of(&group.network),
            meta: some(&group.meta),
            shutdown_delay: ns(group.shutdown_delay_ms).filter(|delay| delay.0 != 0),
            scaling: group.scaling.as_ref().map(ScalingPolicy::of),
            services: Service::list(&group.services),
            volumes: Volume::map(&group.volumes),
            ..Self::default()
        }
    }
}

impl Task {
    fn of(task: &TaskSpec, restart: &RestartPolicy) -> Self {
        Self {
            name: text(&task.name),
            driver: text(&task.driver),
            user: text(&task.user),
            // The specification was made from an object; a text that is none shows as nothing.
            config: serde_json::from_str(&task.config_json).ok(),
            env: some(&task.env),
            constraints: constraints(&task.constraints),
            affinities: Affinity::list(&task.affinities),
            resources: Some(Resources::of(&task.resources)),
            restart_policy: Some(restart.clone()),
            meta: some(&task.meta),
            kill_timeout: ns(task.kill_timeout_ms),
            kill_signal: text(&task.kill_signal),
            kind: text(""),
            leader: Some(task.leader),
            shutdown_delay: ns(task.shutdown_delay_ms),
            log_config: Some(LogConfig {
                max_files: Some(i64::from(task.logs.files_max)),
                max_file_size_mb: Some(i64::from(task.logs.file_mib_max)),
                disabled: Some(false),
            }),
            dispatch_payload: DispatchPayload::of(&task.payload_file),
            services: Service::list(&task.services),
            volume_mounts: VolumeMount::list(&task.volume_mounts),
            ..Self::default()
        }
    }
}

impl Network {
    /// A group without a network has none in the API either.
    fn of(ask: &NetworkAsk) -> Option<Vec<Self>> {
        if *ask == NetworkAsk::default() {
            return None;
        }
        let (mut reserved, mut dynamic) = (Vec::new(), Vec::new());
        for port in &ask.ports {
            let list = if port.fixed.is_some() { &mut reserved } else { &mut dynamic };
            list.push(Port {
                label: text(&port.label),
                value: Some(i64::from(port.fixed.unwrap_or_default())),
                to: Some(i64::from(port.to)),
                host_network: text("default"),
                ignore_collision: Some(false),
            });
        }
        let some = |list: Vec<Port>| (!list.is_empty()).then_some(list);
        Some(vec![Self {
            mode: text(&ask.mode),
            device: text(""),
            cidr: text(""),
            ip: text(""),
            hostname: text(""),
            mbits: Some(0),
            reserved_ports: some(reserved),
            dynamic_ports: some(dynamic),
            ..Self::default()
        }])
    }
}

impl RestartPolicy {
    fn of(policy: &Restart) -> Self {
        Self {
            attempts: Some(i64::from(policy.attempts)),
            interval: ns(policy.interval_ms),
            delay: ns(policy.delay_ms),
            mode: text(match policy.mode {
                RestartMode::Delay => "delay",
                RestartMode::Fail => "fail",
            }),
            render_templates: Some(false),
        }
    }
}

impl ReschedulePolicy {
    fn of(policy: &Reschedule) -> Self {
        Self {
            attempts: Some(i64::from(policy.attempts)),
            interval: ns(policy.interval_ms),
            delay: ns(policy.delay_ms),
            delay_function: text(match policy.delay_function {
                DelayFunction::Constant => "constant",
                DelayFunction::Exponential => "exponential",
                DelayFunction::Fibonacci => "fibonacci",
            }),
            max_delay: ns(policy.delay_ms_max),
            unlimited: Some(policy.unlimited),
        }
    }
}

impl Update {
    /// What Nomad shows at the job's height when every group has its own.
    fn none() -> Self {
        Self {
            max_parallel: Some(0),
            health_check: text(""),
            min_healthy_time: ns(0),
            healthy_deadline: ns(0),
            progress_deadline: ns(0),
            ..Self::of(&UpdatePolicy::default())
        }
    }

    fn of(policy: &UpdatePolicy) -> Self {
        Self {
            stagger: ns(policy.stagger_ms),
            max_parallel: Some(i64::from(policy.parallel_max)),
            health_check: health_check(policy.health_check),
            min_healthy_time: ns(policy.min_healthy_ms),
            healthy_deadline: ns(policy.healthy_deadline_ms),
            progress_deadline: ns(policy.progress_deadline_ms),
            canary: Some(i64::from(policy.canary)),
            auto_revert: Some(policy.auto_revert),
            auto_promote: Some(policy.auto_promote),
        }
    }
}

impl Migrate {
    fn of(policy: &MigratePolicy) -> Self {
        Self {
            max_parallel: Some(i64::from(policy.parallel_max)),
            health_check: health_check(policy.health_check),
            min_healthy_time: ns(policy.min_healthy_ms),
            healthy_deadline: ns(policy.healthy_deadline_ms),
        }
    }
}

fn health_check(check: HealthCheck) -> Option<String> {
    text(match check {
        HealthCheck::Checks => "checks",
        HealthCheck::TaskStates => "task_states",
        HealthCheck::Manual => "manual",
    })
}
