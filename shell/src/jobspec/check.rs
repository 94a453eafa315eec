//! What makes a specification wrong, whichever way it came in: file, API, another program.
//!
//! Invariants
//! - a specification without problems keeps the promises of `drover_core::types::job`;
//! - every problem names its field and says what would be right.
use std::collections::BTreeSet;

use drover_core::limits::GROUP_COUNT_MAX;
use drover_core::types::{
    Constraint, DelayFunction, Group, JobKind, JobSpec, NetworkAsk, Operator, ReschedulePolicy,
    RestartMode, RestartPolicy, Task, UpdatePolicy,
};

use super::duration::show_ms;

mod gates;
mod launch;
mod leanings;
mod resources;
mod services;
mod versions;
mod volumes;

/// Nomad's least of `restart.interval`.
const RESTART_INTERVAL_MS_MIN: u64 = 5_000;
/// Nomad's least of `reschedule.interval` and of `reschedule.delay`.
const RESCHEDULE_INTERVAL_MS_MIN: u64 = 15_000;
const RESCHEDULE_DELAY_MS_MIN: u64 = 5_000;
/// Names become parts of paths.
const NAME_BYTES_MAX: usize = 128;
/// The largest regular expression that is compiled, in bytes of the compiled form.
const REGEXP_BYTES_MAX: usize = 1 << 20;

const SIGNALS: [&str; 28] = [
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT",
    "SIGIO", "SIGKILL", "SIGPIPE", "SIGPROF", "SIGQUIT", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTERM",
    "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGWINCH",
    "SIGXCPU", "SIGXFSZ",
];

/// One thing that is wrong with a specification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Such as `group[web].task[server].resources.cpu`.
    pub field: String,
    pub why: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Collects the problems of one place and those inside it.
struct Check<'a> {
    path: String,
    list: &'a mut Vec<Problem>,
}

/// All that is wrong with `spec`; empty if nothing is.
#[must_use]
pub fn check(spec: &JobSpec) -> Vec<Problem> {
    let mut list = Vec::new();
    let mut check = Check { path: String::new(), list: &mut list };
    check.job(spec);
    list
}

impl Check<'_> {
    fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn wrong(&mut self, name: &str, why: impl Into<String>) {
        let field = self.field(name);
        self.list.push(Problem { field, why: why.into() });
    }

    fn inner(&mut self, name: &str) -> Check<'_> {
        Check { path: self.field(name), list: self.list }
    }

    fn job(&mut self, spec: &JobSpec) {
        self.name("id", &spec.id, &[' ', '\0']);
        self.name("name", &spec.name, &['\0']);
        self.name("namespace", &spec.namespace, &[' ', '/', '\0']);
        self.name("region", &spec.region, &[' ', '/', '\0']);
        if !(1..=100).contains(&spec.priority) {
            self.wrong("priority", format!("{} is not between 1 and 100", spec.priority));
        }
        if spec.datacenters.iter().any(String::is_empty) {
            self.wrong("datacenters", "a datacenter's name is not empty; [\"*\"] means all");
        }
        self.meta(&spec.meta);
        self.constraints(&spec.constraints);
        self.launch(spec);
        self.affinities(&spec.affinities);
        self.spreads(&spec.spreads);
        self.gates(spec);
        if spec.groups.is_empty() {
            self.wrong("group", "a job has at least one group, with a task in it");
        }
        let mut seen = BTreeSet::new();
        for group in &spec.groups {
            let mut inner = self.inner(&format!("group[{}]", group.name));
            if !seen.insert(&group.name) {
                inner.wrong("name", format!("there are two groups called \"{}\"", group.name));
                continue;
            }
            inner.group(spec.kind, group);
        }
    }

    fn name(&mut self, field: &str, name: &str, refused: &[char]) {
        if name.is_empty() {
            self.wrong(field, "must not be empty");
        } else if NAME_BYTES_MAX < name.len() {
            self.wrong(field, format!("must not be longer than {NAME_BYTES_MAX} bytes"));
        } else if let Some(c) = name.chars().find(|c| refused.contains(c) || c.is_control()) {
            self.wrong(field, format!("must not contain {c:?}"));
        }
    }

    fn meta(&mut self, meta: &std::collections::BTreeMap<String, String>) {
        for key in meta.keys() {
            if key.is_empty() || key.chars().any(|c| c.is_control() || c.is_whitespace()) {
                self.wrong(&format!("meta.{key}"), "a key of meta is a word without blanks");
            }
        }
    }

    fn group(&mut self, kind: JobKind, group: &Group) {
        self.name("name", &group.name, &['/', '\\', '\0']);
        if kind.is_on_every_node() && 1 < group.count {
            let why = format!(
                "{} is more than 1: a job of this type runs once on every node; drop count, put more \
                 groups into the job, or make it a {}",
                group.count,
                if kind.ends() { "batch" } else { "service" }
            );
            self.wrong("count", why);
        } else if GROUP_COUNT_MAX < group.count {
            self.wrong("count", format!("{} is more than {GROUP_COUNT_MAX}", group.count));
        }
        self.meta(&group.meta);
        self.constraints(&group.constraints);
        self.affinities(&group.affinities);
        self.spreads(&group.spreads);
        self.network(&group.network);
        self.services(group);
        self.volumes(group);
        self.inner("restart").restart(&group.restart);
        self.inner("reschedule").reschedule(&group.reschedule);
        self.inner("update").update(kind, &group.update);
        let migrate = &group.migrate;
        self.inner("migrate").healthy(migrate.min_healthy_ms, migrate.healthy_deadline_ms);
        self.scaling(group);
        if group.tasks.is_empty() {
            self.wrong("task", "a group has at least one task");
        }
        if 1 < group.tasks.iter().filter(|task| task.leader).count() {
            self.wrong("task", "only one task of a group can be its leader");
        }
        let mut seen = BTreeSet::new();
        for task in &group.tasks {
            let mut inner = self.inner(&format!("task[{}]", task.name));
            if !seen.insert(&task.name) {
                inner.wrong("name", format!("there are two tasks called \"{}\"", task.name));
                continue;
            }
            inner.task(task, group.disk_mib);
            inner.volume_mounts(task, group);
        }
        if group.capacity().is_none() {
            self.wrong("task", "what the tasks ask for together is more than any number holds");
        }
    }

    fn network(&mut self, network: &NetworkAsk) {
        let (mut labels, mut fixed) = (BTreeSet::new(), BTreeSet::new());
        for port in &network.ports {
            let mut inner = self.inner(&format!("network.port[{}]", port.label));
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if port.label.is_empty() || !port.label.chars().all(word) {
                inner.wrong("name", "a port's label is made of letters, digits, _ and -");
            }
            if !labels.insert(&port.label) {
                inner.wrong("name", format!("there are two ports called \"{}\"", port.label));
            }
            match port.fixed {
                Some(0) => inner.wrong(
                    "static",
                    "a port is between 1 and 65535; leave it out for a dynamic one",
                ),
                Some(value) if !fixed.insert(value) => {
                    inner.wrong("static", format!("the port {value} is asked for twice"));
                }
                Some(_) | None => {}
            }
        }
    }

    fn restart(&mut self, policy: &RestartPolicy) {
        if policy.attempts == 0 {
            if policy.mode == RestartMode::Delay {
                self.wrong(
                    "mode",
                    "\"delay\" with 0 attempts never starts again: use \"fail\", or more attempts",
                );
            }
            return;
        }
        if policy.interval_ms < RESTART_INTERVAL_MS_MIN {
            self.wrong(
                "interval",
                format!("must be at least {}", show_ms(RESTART_INTERVAL_MS_MIN)),
            );
        }
        let needed = u64::from(policy.attempts).saturating_mul(policy.delay_ms);
        if policy.interval_ms < needed {
            self.wrong(
                "interval",
                format!(
                    "{} attempts with {} between them need {}, and the interval is {}",
                    policy.attempts,
                    show_ms(policy.delay_ms),
                    show_ms(needed),
                    show_ms(policy.interval_ms)
                ),
            );
        }
    }

    fn reschedule(&mut self, policy: &ReschedulePolicy) {
        if policy.unlimited && 0 < policy.attempts {
            self.wrong("attempts", "cannot be limited and unlimited at once: drop `attempts`, or set unlimited = false");
        }
        if !policy.unlimited && policy.attempts == 0 {
            return;
        }
        if policy.delay_ms < RESCHEDULE_DELAY_MS_MIN {
            self.wrong("delay", format!("must be at least {}", show_ms(RESCHEDULE_DELAY_MS_MIN)));
        }
        if policy.delay_function != DelayFunction::Constant && policy.delay_ms_max < policy.delay_ms
        {
            self.wrong(
                "max_delay",
                format!("must not be less than the delay, {}", show_ms(policy.delay_ms)),
            );
        }
        if policy.unlimited {
            return;
        }
        if policy.interval_ms < RESCHEDULE_INTERVAL_MS_MIN {
            self.wrong(
                "interval",
                format!("must be at least {}", show_ms(RESCHEDULE_INTERVAL_MS_MIN)),
            );
        } else if let Some(needed) =
            reschedule_ms(policy).filter(|&needed| policy.interval_ms < needed)
        {
            self.wrong(
                "interval",
                format!(
                    "{} attempts with these delays need {}, and the interval is {}",
                    policy.attempts,
                    show_ms(needed),
                    show_ms(policy.interval_ms)
                ),
            );
        }
    }

    fn update(&mut self, kind: JobKind, policy: &UpdatePolicy) {
        self.canaries(kind, policy);
        if policy.stagger_ms == 0 {
            self.wrong("stagger", "must be more than 0; leave it out for 30s");
        }
        self.healthy(policy.min_healthy_ms, policy.healthy_deadline_ms);
        if policy.progress_deadline_ms != 0
            && policy.progress_deadline_ms <= policy.healthy_deadline_ms
        {
            self.wrong(
                "progress_deadline",
                format!(
                    "{} must be more than healthy_deadline, {}, or 0",
                    show_ms(policy.progress_deadline_ms),
                    show_ms(policy.healthy_deadline_ms)
                ),
            );
        }
    }

    fn healthy(&mut self, least_ms: u64, most_ms: u64) {
        if most_ms <= least_ms {
            let (most, least) = (show_ms(most_ms), show_ms(least_ms));
            let why = format!("{most} must be more than min_healthy_time, {least}");
            self.wrong("healthy_deadline", why);
        }
    }

    fn canaries(&mut self, kind: JobKind, policy: &UpdatePolicy) {
        if policy.auto_promote && policy.canary == 0 {
            let why = "there is nothing to promote without canaries: set canary = 1, or more";
            self.wrong("auto_promote", why);
        }
        if policy.auto_revert && kind.is_on_every_node() {
            let why = "an update of a job on every node is watched by no deployment, which could go \
                       back: drop it";
            self.wrong("auto_revert", why);
        }
        if 0 < policy.canary && kind != JobKind::Service {
            self.wrong("canary", "only a service has canaries: drop it, or make the job a service");
        } else if 0 < policy.canary && policy.parallel_max == 0 {
            let why = "max_parallel = 0 replaces everything at once, without canaries: set \
                       max_parallel = 1, or more, or drop canary";
            self.wrong("canary", why);
        }
        if GROUP_COUNT_MAX < policy.canary {
            self.wrong("canary", format!("{} is more than {GROUP_COUNT_MAX}", policy.canary));
        }
    }

    fn task(&mut self, task: &Task, disk_mib: u32) {
        self.name("name", &task.name, &['/', '\\', '\0']);
        if matches!(task.name.as_str(), "alloc" | "." | "..") {
            self.wrong(
                "name",
                format!(
                    "a task cannot be called \"{}\": its directory would be another",
                    task.name
                ),
            );
        }
        if task.driver.is_empty() {
            self.wrong("driver", "a task names its driver: driver = \"raw_exec\"");
        }
        let config = serde_json::from_str::<serde_json::Map<_, _>>(&task.config_json);
        if config.is_err() {
            self.wrong("config", "must be a JSON object");
        }
        for (key, value) in &task.env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                self.wrong(&format!("env.{key}"), "a name is not empty and has no = in it");
            }
        }
        self.meta(&task.meta);
        self.constraints(&task.constraints);
        self.affinities(&task.affinities);
        self.inner("resources").resources(&task.resources);
        let signal = task.kill_signal.to_uppercase();
        if !signal.is_empty() && !SIGNALS.contains(&signal.as_str()) {
            self.wrong(
                "kill_signal",
                format!("there is no signal \"{}\"; such as SIGTERM", task.kill_signal),
            );
        }
        self.logs(task, disk_mib);
        self.payload_file(task);
    }

    fn logs(&mut self, task: &Task, disk_mib: u32) {
        if task.logs.files_max == 0 {
            self.wrong("logs.max_files", "must be at least 1");
        }
        if task.logs.file_mib_max == 0 {
            self.wrong("logs.max_file_size", "must be at least 1 MiB");
        }
        let needed = u64::from(task.logs.files_max) * u64::from(task.logs.file_mib_max);
        if u64::from(disk_mib) <= needed {
            self.wrong("logs", format!(
                "{} files of {} MiB are {needed} MiB; the group's ephemeral_disk.size, {disk_mib} MiB, must be more",
                task.logs.files_max, task.logs.file_mib_max
            ));
        }
    }

    fn constraints(&mut self, list: &[Constraint]) {
        for (at, one) in list.iter().enumerate() {
            self.inner(&format!("constraint[{at}]")).constraint(one);
        }
    }

    fn constraint(&mut self, one: &Constraint) {
        if one.operator == Operator::DistinctHosts {
            return;
        }
        if one.operator == Operator::DistinctProperty
            && !one.right.is_empty()
            && !one.right.parse().is_ok_and(|most: u32| 0 < most)
        {
            let why = "is how many allocs may have the same: 1 or more; leave it out for 1";
            self.wrong("value", why);
        }
        self.demand(&one.left, one.operator, &one.right);
    }

    /// What a constraint and an affinity have in common.
    fn demand(&mut self, left: &str, operator: Operator, right: &str) {
        // What the node fills in cannot be judged here.
        let literal = !right.contains("${");
        match operator {
            Operator::Regexp if literal => {
                let built = regex::RegexBuilder::new(right).size_limit(REGEXP_BYTES_MAX).build();
                if built.is_err() {
                    self.wrong("value", format!("\"{right}\" is no regular expression"));
                }
            }
            Operator::Version | Operator::Semver if literal => {
                if let Err(why) = versions::parse(right, operator) {
                    self.wrong("value", why);
                }
            }
            Operator::SetContains | Operator::SetContainsAny if right.is_empty() => {
                self.wrong("value", "names the words that are looked for: \"a,b\"");
            }
            Operator::IsSet | Operator::IsNotSet if !right.is_empty() => {
                self.wrong("value", format!("`{}` compares with nothing", operator.name()));
            }
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::Regexp
            | Operator::Version
            | Operator::SetContains
            | Operator::IsSet
            | Operator::IsNotSet
            | Operator::DistinctHosts
            | Operator::Semver
            | Operator::SetContainsAny
            | Operator::DistinctProperty => {}
        }
        if left.is_empty() {
            self.wrong("attribute", "names what is looked at: attribute = \"${attr.kernel.name}\"");
        }
    }
}

/// How long all attempts of a limited policy take; `None` if that is more than can be told.
fn reschedule_ms(policy: &ReschedulePolicy) -> Option<u64> {
    let (mut sum, mut last, mut delay) = (0u64, 0u64, policy.delay_ms);
    for _ in 0..policy.attempts.min(10_000) {
        sum = sum.checked_add(delay)?;
        let next = match policy.delay_function {
            DelayFunction::Constant => delay,
            DelayFunction::Exponential => delay.checked_mul(2)?.min(policy.delay_ms_max),
            DelayFunction::Fibonacci => {
                delay.checked_add(last)?.max(policy.delay_ms).min(policy.delay_ms_max)
            }
        };
        (last, delay) = (delay, next);
    }
    Some(sum)
}
