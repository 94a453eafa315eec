//! From the API's job to the core's: defaults filled in, policies inherited.
//!
//! Invariants
//! - every default is Nomad's and stands in `drover_core::types`, or here where the core has none;
//! - a number that does not fit becomes a problem, never another number.
use std::collections::BTreeMap;

use drover_core::types::{
    Constraint as Demand, DelayFunction, Group, HealthCheck, JobKind, JobSpec, LogLimits,
    MigratePolicy, NetworkAsk, Operator, PoolName, PortAsk, ReschedulePolicy as Reschedule,
    RestartMode, RestartPolicy as Restart, Task as TaskSpec, UpdatePolicy,
};

use super::services::Bearer;
use super::{
    Constraint, Job, Migrate, Network, Ns, Port, ReschedulePolicy, RestartPolicy, Task, TaskGroup,
    Update, unsupported,
};
use crate::jobspec::check::Problem;
use crate::jobspec::diagnostic::nearest;

/// Nomad's default of `priority`.
const PRIORITY: u8 = 50;
/// Nomad's default of `ephemeral_disk.size`.
const DISK_MIB: u32 = 300;
/// Nomad's default of `kill_timeout`.
const KILL_TIMEOUT_MS: u64 = 5_000;

/// Converts, and keeps what does not.
pub(super) struct Conversion {
    problems: Vec<Problem>,
}

impl Job {
    /// The specification with every default filled in, and all that it does not say: what Drover
    /// does not support, and what is out of range. `jobspec::check` finds the rest.
    #[must_use]
    pub fn converted(&self) -> (JobSpec, Vec<Problem>) {
        let mut conversion = Conversion { problems: Vec::new() };
        let spec = conversion.job(self);
        (spec, conversion.problems)
    }
}

pub(super) fn text(value: Option<&String>, default: &str) -> String {
    value.filter(|text| !text.is_empty()).map_or_else(|| default.to_owned(), Clone::clone)
}

pub(super) fn texts(map: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    map.cloned().unwrap_or_default()
}

impl Conversion {
    pub(super) fn wrong(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), why: why.into() });
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        field: &str,
        value: Option<i64>,
        default: T,
    ) -> T {
        let Some(value) = value else { return default };
        T::try_from(value).unwrap_or_else(|_| {
            let why = if value < 0 { "must not be negative" } else { "is too large" };
            self.wrong(field, format!("{value} {why}"));
            default
        })
    }

    pub(super) fn ms(&mut self, field: &str, value: Option<Ns>, default: u64) -> u64 {
        let Some(Ns(ns)) = value else { return default };
        u64::try_from(ns).map_or_else(
            |_| {
                self.wrong(field, "a duration must not be negative");
                default
            },
            // Rounded up: a wait that was asked for does not vanish.
            |ns| ns.div_ceil(1_000_000),
        )
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        field: &str,
        value: Option<&String>,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(word) = value.filter(|word| !word.is_empty()) else { return default };
        if let Some((_, meant)) = words.iter().find(|(name, _)| name == word) {
            return *meant;
        }
        let known: Vec<String> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let quotes = if word.starts_with("${") { "; mind the quotes" } else { "" };
        self.wrong(field, format!("\"{word}\" is none of {}{quotes}", known.join(", ")));
        default
    }

    fn job(&mut self, job: &Job) -> JobSpec {
        unsupported::of_job(job, &mut self.problems);
        let words = [
            ("service", JobKind::Service),
            ("batch", JobKind::Batch),
            ("system", JobKind::System),
            ("sysbatch", JobKind::Sysbatch),
        ];
        let kind = self.word("type", job.kind.as_ref(), &words, JobKind::Service);
        unsupported::of_kind(job, kind, &mut self.problems);
        let id = text(job.id.as_ref(), "");
        let datacenters = job.datacenters.clone().unwrap_or_default();
        let groups =
            job.task_groups.iter().flatten().map(|group| self.group(job, kind, group)).collect();
        JobSpec {
            name: text(job.name.as_ref(), &id),
            namespace: text(job.namespace.as_ref(), "default"),
            region: text(job.region.as_ref(), "global"),
            kind,
            priority: self.priority(job.priority),
            datacenters: if datacenters.is_empty() { vec!["*".to_owned()] } else { datacenters },
            constraints: self.constraints("", job.constraints.as_ref()),
            groups,
            meta: texts(job.meta.as_ref()),
            launch: self.launch(job),
            affinities: self.affinities("", job.affinities.as_ref()),
            spreads: self.spreads("", job.spreads.as_ref()),
            after: self.gates("", &id, job.after.as_ref()),
            node_pool: self.pool(job.node_pool.as_ref()),
            id,
        }
    }

    fn pool(&mut self, given: Option<&String>) -> PoolName {
        let pool = PoolName::of(&text(given, PoolName::DEFAULT));
        if let Err(why) = pool.check() {
            self.wrong("node_pool", why);
        }
        pool
    }

    fn priority(&mut self, given: Option<i64>) -> u8 {
        let Some(given) = given else { return PRIORITY };
        u8::try_from(given).unwrap_or_else(|_| {
            self.wrong("priority", format!("{given} is not between 1 and 100"));
            PRIORITY
        })
    }

    fn group(&mut self, job: &Job, kind: JobKind, group: &TaskGroup) -> Group {
        let name = text(group.name.as_ref(), "");
        let path = format!("group[{name}]");
        unsupported::of_group(group, &path, &mut self.problems);
        let restart = self.restart(&path, kind, &[&job.restart_policy, &group.restart_policy]);
        let job_name = text(job.name.as_ref().or(job.id.as_ref()), "");
        let bearer = Bearer { job: &job_name, group: &name, task: None };
        let tasks = group
            .tasks
            .iter()
            .flatten()
            .map(|task| self.task((&path, bearer), restart, task))
            .collect();
        let services = self.services(&path, bearer, group.services.as_ref());
        let disk = group.ephemeral_disk.as_ref().and_then(|disk| disk.size_mb);
        Group {
            count: self.number(&format!("{path}.count"), group.count, 1),
            constraints: self.constraints(&path, group.constraints.as_ref()),
            tasks,
            network: self.network(&path, group.networks.as_ref()),
            restart,
            reschedule: self.reschedule(&path, kind, &[&job.reschedule, &group.reschedule_policy]),
            update: self.update(&path, kind, &[&job.update, &group.update]),
            disk_mib: self.number(&format!("{path}.ephemeral_disk.size"), disk, DISK_MIB),
            meta: texts(group.meta.as_ref()),
            shutdown_delay_ms: self.ms(&format!("{path}.shutdown_delay"), group.shutdown_delay, 0),
            migrate: self.migrate(&path, kind, &[&job.migrate, &group.migrate]),
            scaling: self.scaling(&path, group),
            affinities: self.affinities(&path, group.affinities.as_ref()),
            spreads: self.spreads(&path, group.spreads.as_ref()),
            after: self.gates(&path, &text(job.id.as_ref(), ""), group.after.as_ref()),
            services,
            volumes: self.volumes(&path, group.volumes.as_ref()),
            name,
        }
    }

    fn task(
        &mut self,
        (group, bearer): (&str, Bearer<'_>),
        restart: Restart,
        task: &Task,
    ) -> TaskSpec {
        let name = text(task.name.as_ref(), "");
        let path = format!("{group}.task[{name}]");
        unsupported::of_task(task, &path, &mut self.problems);
        // Nomad copies the group's policy into each task that it shows.
        if let Some(own) = &task.restart_policy
            && self.merged_restart(&path, restart, own) != restart
        {
            self.wrong(
                format!("{path}.restart"),
                "Drover restarts by group: move `restart` into the group",
            );
        }
        let logs = task.log_config.clone().unwrap_or_default();
        let usual_logs = LogLimits::default();
        TaskSpec {
            driver: text(task.driver.as_ref(), ""),
            user: text(task.user.as_ref(), ""),
            config_json: serde_json::Value::Object(task.config.clone().unwrap_or_default())
                .to_string(),
            env: texts(task.env.as_ref()),
            constraints: self.constraints(&path, task.constraints.as_ref()),
            resources: self.resources(&path, task.resources.as_ref()),
            meta: texts(task.meta.as_ref()),
            kill_timeout_ms: self.ms(
                &format!("{path}.kill_timeout"),
                task.kill_timeout,
                KILL_TIMEOUT_MS,
            ),
            kill_signal: text(task.kill_signal.as_ref(), ""),
            leader: task.leader.unwrap_or_default(),
            shutdown_delay_ms: self.ms(&format!("{path}.shutdown_delay"), task.shutdown_delay, 0),
            logs: LogLimits {
                files_max: self.number(
                    &format!("{path}.logs.max_files"),
                    logs.max_files,
                    usual_logs.files_max,
                ),
                file_mib_max: self.number(
                    &format!("{path}.logs.max_file_size"),
                    logs.max_file_size_mb,
                    usual_logs.file_mib_max,
                ),
            },
            payload_file: text(
                task.dispatch_payload.as_ref().and_then(|payload| payload.file.as_ref()),
                "",
            ),
            affinities: self.affinities(&path, task.affinities.as_ref()),
            services: self.services(
                &path,
                Bearer { task: Some(&name), ..bearer },
                task.services.as_ref(),
            ),
            volume_mounts: self.volume_mounts(&path, task.volume_mounts.as_ref()),
            name,
        }
    }

    pub(super) fn constraints(
        &mut self,
        path: &str,
        list: Option<&Vec<Constraint>>,
    ) -> Vec<Demand> {
        let dot = if path.is_empty() { "" } else { "." };
        let mut made = Vec::new();
        for (at, one) in list.into_iter().flatten().enumerate() {
            let field = format!("{path}{dot}constraint[{at}]");
            made.extend(self.constraint(&field, one));
        }
        made
    }

    pub(super) fn operator(&mut self, field: &str, word: Option<&String>) -> Option<Operator> {
        let word = text(word, "=");
        let Some(operator) = Operator::parse(&word) else {
            let names = Operator::NAMES.iter().map(|&(name, _)| name);
            let hint = nearest(&word, names.clone()).map_or_else(
                || format!("known are {}", names.collect::<Vec<_>>().join(" ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            self.wrong(
                format!("{field}.operator"),
                format!("there is no operator \"{word}\"; {hint}"),
            );
            return None;
        };
        Some(operator)
    }

    fn constraint(&mut self, field: &str, one: &Constraint) -> Option<Demand> {
        let operator = self.operator(field, one.operand.as_ref())?;
        let (left, right) = (text(one.left.as_ref(), ""), text(one.right.as_ref(), ""));
        if operator != Operator::DistinctHosts {
            return Some(Demand { left, operator, right });
        }
        // `distinct_hosts = false` switches it off.
        (right != "false").then(|| Demand { left: String::new(), operator, right: String::new() })
    }

    fn network(&mut self, path: &str, networks: Option<&Vec<Network>>) -> NetworkAsk {
        let networks = networks.map_or(&[][..], Vec::as_slice);
        if 1 < networks.len() {
            self.wrong(format!("{path}.network"), "a group has at most one network");
        }
        let Some(network) = networks.first() else { return NetworkAsk::default() };
        let mode = text(network.mode.as_ref(), "");
        if !matches!(mode.as_str(), "" | "host") {
            let field = format!("{path}.network.mode");
            self.wrong(field, format!("the mode \"{mode}\" is not supported yet; use \"host\""));
        }
        let fixed = network.reserved_ports.iter().flatten().map(|port| (port, port.value));
        let dynamic = network.dynamic_ports.iter().flatten().map(|port| (port, None));
        let ports =
            fixed.chain(dynamic).map(|(port, value)| self.port(path, port, value)).collect();
        NetworkAsk { mode, ports }
    }

    fn port(&mut self, path: &str, port: &Port, value: Option<i64>) -> PortAsk {
        let label = text(port.label.as_ref(), "");
        let field = format!("{path}.network.port[{label}]");
        let fixed = value.map(|_| self.number(&format!("{field}.static"), value, 1));
        // Nomad's -1: the same port inside as outside, which is what zero means here.
        let to = self.number(&format!("{field}.to"), port.to.filter(|&to| to != -1), 0);
        PortAsk { label, fixed, to }
    }

    fn restart(&mut self, path: &str, kind: JobKind, given: &[&Option<RestartPolicy>]) -> Restart {
        let usual = Restart::default_of(kind);
        given
            .iter()
            .copied()
            .flatten()
            .fold(usual, |made, one| self.merged_restart(path, made, one))
    }

    fn merged_restart(&mut self, path: &str, base: Restart, given: &RestartPolicy) -> Restart {
        let path = format!("{path}.restart");
        if given.render_templates == Some(true) {
            let field = format!("{path}.render_templates");
            self.wrong(field, unsupported::refusal("render_templates"));
        }
        let modes = [("fail", RestartMode::Fail), ("delay", RestartMode::Delay)];
        Restart {
            attempts: self.number(&format!("{path}.attempts"), given.attempts, base.attempts),
            interval_ms: self.ms(&format!("{path}.interval"), given.interval, base.interval_ms),
            delay_ms: self.ms(&format!("{path}.delay"), given.delay, base.delay_ms),
            mode: self.word(&format!("{path}.mode"), given.mode.as_ref(), &modes, base.mode),
        }
    }

    fn reschedule(
        &mut self,
        path: &str,
        kind: JobKind,
        given: &[&Option<ReschedulePolicy>],
    ) -> Reschedule {
        let path = format!("{path}.reschedule");
        let functions = [
            ("constant", DelayFunction::Constant),
            ("exponential", DelayFunction::Exponential),
            ("fibonacci", DelayFunction::Fibonacci),
        ];
        let mut made = Reschedule::default_of(kind);
        for one in given.iter().copied().flatten() {
            let attempts = self.number(&format!("{path}.attempts"), one.attempts, made.attempts);
            // Whoever counts attempts has set a limit.
            let unlimited = one
                .unlimited
                .unwrap_or(made.unlimited && one.attempts.is_none_or(|count| count <= 0));
            let function = one.delay_function.as_ref();
            made = Reschedule {
                attempts,
                interval_ms: self.ms(&format!("{path}.interval"), one.interval, made.interval_ms),
                delay_ms: self.ms(&format!("{path}.delay"), one.delay, made.delay_ms),
                delay_function: self.word(
                    &format!("{path}.delay_function"),
                    function,
                    &functions,
                    made.delay_function,
                ),
                delay_ms_max: self.ms(
                    &format!("{path}.max_delay"),
                    one.max_delay,
                    made.delay_ms_max,
                ),
                unlimited,
            };
        }
        made
    }

    fn update(&mut self, path: &str, kind: JobKind, given: &[&Option<Update>]) -> UpdatePolicy {
        let path = format!("{path}.update");
        let checks = [
            ("checks", HealthCheck::Checks),
            ("task_states", HealthCheck::TaskStates),
            ("manual", HealthCheck::Manual),
        ];
        let mut made = UpdatePolicy::default_of(kind);
        let mut usual_parallel = UpdatePolicy::default().parallel_max;
        for one in given.iter().copied().flatten() {
            // Nomad shows an empty update block where the job itself has none.
            if one.health_check.as_deref() == Some("") && one.healthy_deadline == Some(Ns(0)) {
                continue;
            }
            made = UpdatePolicy {
                parallel_max: self.number(
                    &format!("{path}.max_parallel"),
                    one.max_parallel,
                    usual_parallel,
                ),
                health_check: self.word(
                    &format!("{path}.health_check"),
                    one.health_check.as_ref(),
                    &checks,
                    made.health_check,
                ),
                canary: self.number(&format!("{path}.canary"), one.canary, made.canary),
                auto_revert: one.auto_revert.unwrap_or(made.auto_revert),
                auto_promote: one.auto_promote.unwrap_or(made.auto_promote),
                stagger_ms: self.ms(&format!("{path}.stagger"), one.stagger, made.stagger_ms),
                min_healthy_ms: self.ms(
                    &format!("{path}.min_healthy_time"),
                    one.min_healthy_time,
                    made.min_healthy_ms,
                ),
                healthy_deadline_ms: self.ms(
                    &format!("{path}.healthy_deadline"),
                    one.healthy_deadline,
                    made.healthy_deadline_ms,
                ),
                progress_deadline_ms: self.ms(
                    &format!("{path}.progress_deadline"),
                    one.progress_deadline,
                    made.progress_deadline_ms,
                ),
            };
            usual_parallel = made.parallel_max;
        }
        made
    }

    fn migrate(&mut self, path: &str, kind: JobKind, given: &[&Option<Migrate>]) -> MigratePolicy {
        let path = format!("{path}.migrate");
        let checks = [("checks", HealthCheck::Checks), ("task_states", HealthCheck::TaskStates)];
        let mut made = MigratePolicy::default();
        for one in given.iter().copied().flatten() {
            if kind != JobKind::Service {
                let why = "only services migrate at a pace: remove `migrate`, or make the job one";
                self.wrong(&path, why);
                break;
            }
            let (least, most) = (one.min_healthy_time, one.healthy_deadline);
            made = MigratePolicy {
                parallel_max: self.number(
                    &format!("{path}.max_parallel"),
                    one.max_parallel,
                    made.parallel_max,
                ),
                health_check: self.word(
                    &format!("{path}.health_check"),
                    one.health_check.as_ref(),
                    &checks,
                    made.health_check,
                ),
                min_healthy_ms: self.ms(
                    &format!("{path}.min_healthy_time"),
                    least,
                    made.min_healthy_ms,
                ),
                healthy_deadline_ms: self.ms(
                    &format!("{path}.healthy_deadline"),
                    most,
                    made.healthy_deadline_ms,
                ),
            };
        }
        made
    }
}
