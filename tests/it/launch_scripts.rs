//! The words of `scenarios/launches`: one job, what it launches, and how it is scaled.
//!
//! | command | what |
//! |---|---|
//! | `nodes count=` | ready nodes |
//! | `periodic cron= overlap=no` | a batch job with a calendar in UTC; blanks of the cron are `_` |
//! | `parameterized payload= required= optional=` | a batch job that is dispatched |
//! | `service count= min= max=` | a job that is scaled |
//! | `wait s=` | time passes |
//! | `look`, `look twice=yes` | a leader looks at calendars; another one enters the same |
//! | `look late_s=` | the entry of a leader whose clock is so far behind |
//! | `force`, `dispatch payload= meta= token= prefix=` | as users ask |
//! | `scale group= count= message= error=yes` | so do autoscalers |
//! | `stop`, `purge`, `evaluate` | the job |
//! | `clients`, `finish` | allocs run; allocs that run end well |
//! | `collect` | everything that ended is old enough to be forgotten |
//! | `events`, `show` | scaling events; the job, its next launch and its children |
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::state::JobStatus;
use drover_core::time::WallTime;
use drover_core::types::*;
use drover_tests::Command;

use crate::deployment_scripts::refusal;
use crate::properties::scheduler::rig::{Cluster, job};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
    /// When the script began.
    from: WallTime,
}

impl Default for Bench {
    fn default() -> Self {
        let mut cluster = Cluster::with_nodes(0);
        // A full minute.
        let from = WallTime { unix_ms: cluster.stamp.unix_ms.div_ceil(60_000) * 60_000 };
        cluster.wait_ms(from.ms_since(cluster.stamp));
        Self { cluster, from }
    }
}

const NAME: &str = "job";

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        self.cluster.story.clear();
        let (namespace, name) = ("default".to_owned(), NAME.to_owned());
        let mut said = Vec::new();
        match command.name {
            "nodes" => {
                for id in 1..=u128::from(command.number("count")) {
                    self.cluster.add_node(crate::properties::scheduler::rig::node(id));
                }
            }
            "periodic" | "parameterized" | "service" => said.extend(self.register(command)),
            "wait" => self.cluster.wait_ms(command.number("s") * 1_000),
            "look" => self.look(command),
            "force" => {
                let entry = Entry::ForcePeriodic { namespace, job: name };
                said.extend(self.launched(entry));
            }
            "dispatch" => said.extend(self.dispatch(command)),
            "scale" => said.extend(self.scale(command)),
            "stop" | "purge" => {
                let purge = command.name == "purge";
                let entry = Entry::DeregisterJob { namespace, job: name, purge };
                said.extend(refusal(&self.cluster.run(entry)));
            }
            "evaluate" => {
                let entry = Entry::EvaluateJob { namespace, job: name };
                said.extend(refusal(&self.cluster.run(entry)));
            }
            "clients" => self.cluster.clients_act(),
            "finish" => self.finish(),
            "collect" => {
                let now = self.cluster.stamp.plus_ms(1);
                self.cluster.run(Entry::CollectGarbage {
                    eval_before: now,
                    job_before: now,
                    node_before: now,
                });
            }
            "events" => return self.events(),
            "show" => return self.show(),
            other => panic!("no such command: {other}"),
        }
        self.cluster.settle();
        said.append(&mut self.cluster.story);
        said.join("\n")
    }

    fn register(&mut self, command: &Command<'_>) -> Option<String> {
        let set = |key| {
            let list = command.value(key).unwrap_or_default();
            list.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut spec = job(JobKind::Batch, 1);
        match command.name {
            "periodic" => {
                let cron = command.value("cron").unwrap_or("*_*_*_*_*").replace('_', " ");
                spec.launch = Launch::Periodic(Periodic {
                    crons: vec![cron],
                    overlap_prohibited: command.value("overlap") == Some("no"),
                    time_zone: "UTC".to_owned(),
                    enabled: command.value("enabled") != Some("no"),
                    zone: vec![],
                });
            }
            "parameterized" => {
                spec.launch = Launch::Parameterized(Parameterized {
                    payload: match command.value("payload") {
                        Some("required") => PayloadRule::Required,
                        Some("forbidden") => PayloadRule::Forbidden,
                        _ => PayloadRule::Optional,
                    },
                    meta_required: set("required"),
                    meta_optional: set("optional"),
                });
            }
            _ => {
                let narrow = |key| u32::try_from(command.number(key)).expect("small");
                spec = job(JobKind::Service, narrow("count"));
                spec.groups[0].update.parallel_max = 1;
                spec.groups[0].scaling = command.value("max").map(|_| Scaling {
                    min: narrow("min"),
                    max: narrow("max"),
                    enabled: true,
                    policy_json: String::new(),
                });
            }
        }
        let spec = Arc::new(spec);
        refusal(&self.cluster.run(Entry::RegisterJob { spec, check_index: None }))
    }

    fn look(&mut self, command: &Command<'_>) {
        let now = self.cluster.stamp;
        let due = self.cluster.state.launches().take_while(|&(at, _)| at <= now);
        let jobs: Vec<JobId> = due.map(|(_, id)| id).collect();
        let late_ms = command.value("late_s").map_or(0, |_| command.number("late_s") * 1_000);
        self.cluster.stamp = WallTime { unix_ms: now.unix_ms - late_ms };
        let times = if command.value("twice") == Some("yes") { 2 } else { 1 };
        for _ in 0..times {
            self.cluster.run(Entry::LaunchPeriodic { jobs: jobs.clone() });
        }
        self.cluster.stamp = now;
    }

    fn launched(&mut self, entry: Entry) -> Option<String> {
        let outcome = self.cluster.run(entry);
        if let Outcome::Applied { job: Some(id), .. } = outcome {
            return Some(format!("launched {}", self.name_of(id)));
        }
        refusal(&outcome)
    }

    /// The name without what no script can know: digits and moments since the start.
    fn name_of(&self, id: JobId) -> String {
        let name = &self.cluster.state.job(id).expect("a known job").newest().spec.id;
        let parts = name.split('-').map(|part| match part.parse::<u64>() {
            Ok(unix_s) if 10 <= part.len() => {
                let since_s = unix_s.saturating_sub(self.from.unix_ms / 1_000);
                format!("+{since_s}s")
            }
            Ok(_) | Err(_) if part.len() == 8 => "xxxxxxxx".to_owned(),
            Ok(_) | Err(_) => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("-")
    }

    fn dispatch(&mut self, command: &Command<'_>) -> Option<String> {
        let word = |key| command.value(key).unwrap_or_default().to_owned();
        let meta = word("meta");
        let pairs = meta.split(',').filter_map(|pair| pair.split_once(':'));
        let meta: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.launched(Entry::DispatchJob {
            namespace: "default".to_owned(),
            job: NAME.to_owned(),
            payload: word("payload").into_bytes().into(),
            meta,
            id_prefix: word("prefix"),
            token: word("token"),
        })
    }

    fn scale(&mut self, command: &Command<'_>) -> Option<String> {
        let word = |key| command.value(key).unwrap_or_default().to_owned();
        let count = command.value("count").map(|count| count.parse().expect("a number"));
        refusal(&self.cluster.run(Entry::ScaleJob {
            namespace: "default".to_owned(),
            job: NAME.to_owned(),
            group: command.value("group").unwrap_or("web").to_owned(),
            count,
            message: word("message"),
            error: word("error") == "yes",
            meta_json: String::new(),
        }))
    }

    fn finish(&mut self) {
        let running = self.cluster.state.allocs().filter(|alloc| {
            alloc.client_status == ClientStatus::Running && alloc.desired == DesiredStatus::Run
        });
        let running: Vec<_> = running.map(|alloc| (alloc.job, alloc.ordinal)).collect();
        for (job, ordinal) in running {
            self.cluster.end(job, ordinal, ClientStatus::Complete);
        }
    }

    fn events(&self) -> String {
        let job = self.cluster.state.job_named("default", NAME).expect("a known job");
        let mut lines = Vec::new();
        for (group, events) in &job.lineage.scaling_events {
            lines.extend(events.iter().map(|event| {
                let count = event.count.map_or_else(|| "-".to_owned(), |count| count.to_string());
                let word = if event.error { " error" } else { "" };
                let eval = if event.eval.is_some() { "" } else { " without an evaluation" };
                let (before, said) = (event.previous_count, &event.message);
                format!("{group}: {before} to {count}{word}{eval} {said}").trim_end().to_owned()
            }));
        }
        if 4 < lines.len() {
            let count = lines.len();
            lines.drain(1..count - 1);
            lines.insert(1, format!("... {} more", count - 2));
        }
        lines.join("\n")
    }

    fn show(&self) -> String {
        let state = &self.cluster.state;
        let mut lines = Vec::new();
        match state.job_named("default", NAME) {
            Some(job) => {
                let next = job.lineage.next_launch.map(|at| at.ms_since(self.from) / 1_000);
                let next = next.map(|at| format!(", next at +{at}s")).unwrap_or_default();
                let version = job.newest().version;
                lines.push(format!("job v{version} {}{next}", status(state.job_status(job))));
            }
            None => lines.push("no job".to_owned()),
        }
        for child in state.children_of("default", NAME) {
            let mut line =
                format!("{} {}", self.name_of(child.id), status(state.job_status(child)));
            let made = child.lineage.child.as_ref().expect("a child");
            if let Some(payload) = made.payload().filter(|payload| !payload.is_empty()) {
                line.push_str(&format!(", payload {}", String::from_utf8_lossy(payload)));
            }
            for (key, value) in &child.newest().spec.meta {
                line.push_str(&format!(", {key}={value}"));
            }
            lines.push(line);
        }
        lines.join("\n")
    }
}

const fn status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Dead => "dead",
    }
}
