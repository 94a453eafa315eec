//! The words of `scenarios/gates`: jobs that wait for each other.
//!
//! | command | what |
//! |---|---|
//! | `nodes count=` | ready nodes n1, n2, .. of 4,000 MHz |
//! | `add id=`, `lose id=`, `return id=` | a node comes, goes down, is heard again |
//! | `register JOB type= groups=NAME:COUNT,.. after=GATE,.. after.GROUP=GATE,.. cpu= max_parallel= program=` | the job, or a new version of it: what is not given is as usual |
//! | `clients` | clients do what they are told, and say what is healthy |
//! | `wait s=` | time passes |
//! | `complete JOB group= ordinal=`, `fail`, `sicken` | an alloc ends well or badly, or is found unhealthy |
//! | `scale JOB group= count=`, `stop JOB`, `purge JOB`, `evaluate JOB` | as users ask |
//! | `evaluate JOB returns=` | and a node is heard again after that is planned, before the plan is entered |
//! | `lead-anew` | another server leads, from a snapshot |
//! | `show JOB` | its groups with what they wait for, its evaluations, its deployment |
//!
//! A gate is `JOB`, `JOB/GROUP` or `/GROUP` (of the same job), with `:healthy` or `:complete` if that is said.
//! Each prints what was placed, stopped and updated because of it, and how many evaluations it took.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::api::Rejection;
use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::types::*;
use drover_shell::api::gate;
use drover_tests::Command;

use crate::properties::scheduler::rig::{Cluster, job, node, ranges};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
}

impl Default for Bench {
    fn default() -> Self {
        Self { cluster: Cluster::with_nodes(0) }
    }
}

/// What is compared before and after a command, by alloc.
type Seen = BTreeMap<AllocId, (DesiredStatus, u64)>;

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        let name = command.plain().next().unwrap_or_default();
        let (before, evals) = (self.seen(), self.complete_count());
        let namespace = "default".to_owned();
        let mut said = Vec::new();
        match command.name {
            "nodes" => self.cluster = Cluster::with_nodes(u128::from(command.number("count"))),
            "add" => self.cluster.add_node(node(u128::from(command.number("id")))),
            "lose" | "return" => {
                let down = command.name == "lose";
                let status = if down { NodeStatus::Down } else { NodeStatus::Ready };
                self.cluster.mark(u128::from(command.number("id")), status);
            }
            "register" => said.extend(self.register(command, name)),
            "clients" => self.cluster.clients_act(),
            "wait" => self.cluster.wait_ms(command.number("s") * 1_000),
            "complete" | "fail" | "sicken" => self.end(command, name),
            "scale" => {
                let entry = Entry::ScaleJob {
                    namespace,
                    job: name.to_owned(),
                    group: command.value("group").expect("a group").to_owned(),
                    count: u32::try_from(command.number("count")).ok(),
                    message: String::new(),
                    error: false,
                    meta_json: String::new(),
                };
                said.extend(refusal(&self.cluster.run(entry)));
            }
            "stop" | "purge" => {
                let (job, purge) = (name.to_owned(), command.name == "purge");
                let entry = Entry::DeregisterJob { namespace, job, purge };
                said.extend(refusal(&self.cluster.run(entry)));
            }
            "evaluate" => {
                let entry = Entry::EvaluateJob { namespace, job: name.to_owned() };
                said.extend(refusal(&self.cluster.run(entry)));
                if command.value("returns").is_some() {
                    let id = u128::from(command.number("returns"));
                    let job =
                        self.cluster.state.job_named("default", name).expect("a known job").id;
                    self.cluster.plan_before(job, |cluster| cluster.mark(id, NodeStatus::Ready));
                }
            }
            "lead-anew" => self.cluster.lead_anew(),
            "show" => return self.show(name),
            other => panic!("no such command: {other}"),
        }
        self.cluster.settle();
        said.extend(self.told(&before, evals));
        said.join("\n")
    }

    fn register(&mut self, command: &Command<'_>, name: &str) -> Option<String> {
        let kind = match command.value("type") {
            Some("batch") => JobKind::Batch,
            Some("system") => JobKind::System,
            Some("sysbatch") => JobKind::Sysbatch,
            _ => JobKind::Service,
        };
        let usual = job(kind, 1);
        let groups = command.value("groups").unwrap_or("web:1").split(',').map(|group| {
            let (called, count) = group.split_once(':').unwrap_or((group, "1"));
            let mut made = usual.groups[0].clone();
            made.name = called.to_owned();
            made.count = count.parse().expect("a count");
            made.after = gates(command.value(&format!("after.{called}")));
            if kind == JobKind::Service {
                let most = command.value("max_parallel").map_or("1", |most| most);
                made.update.parallel_max = most.parse().expect("a number");
            }
            if let Some(cpu) = command.value("cpu") {
                made.tasks[0].resources.cpu_mhz = cpu.parse().expect("MHz");
            }
            if let Some(program) = command.value("program") {
                made.tasks[0].config_json = format!(r#"{{"command":"{program}"}}"#);
            }
            made
        });
        let groups = groups.collect::<Vec<_>>().into();
        let (id, called) = (name.to_owned(), name.to_owned());
        let after = gates(command.value("after"));
        let spec = Arc::new(JobSpec { id, name: called, groups, after, ..usual });
        refusal(&self.cluster.run(Entry::RegisterJob { spec, check_index: None }))
    }

    fn end(&mut self, command: &Command<'_>, name: &str) {
        let ordinal = u32::try_from(command.number("ordinal")).expect("an ordinal");
        let group = command.value("group").unwrap_or("web");
        let state = &self.cluster.state;
        let job = state.job_named("default", name).expect("a known job").id;
        let live = state.allocs_of_job(job).find(|alloc| {
            let is_meant = alloc.ordinal == ordinal && state.group_name(alloc) == Some(group);
            is_meant && alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
        });
        let alloc = live.expect("a live alloc");
        let (node, id, version) = (alloc.node, alloc.id, alloc.version);
        let at = self.cluster.stamp;
        let (status, health) = match command.name {
            "complete" => (ClientStatus::Complete, None),
            "fail" => (ClientStatus::Failed, None),
            _ => (ClientStatus::Running, Some(AllocHealth { version, healthy: false, at })),
        };
        let (description, tasks) = (String::new(), BTreeMap::new());
        let update = AllocUpdate { id, status, description, tasks, health };
        self.cluster.run(Entry::UpdateAllocs { node, updates: vec![update] });
    }

    fn seen(&self) -> Seen {
        let allocs = self.cluster.state.allocs();
        allocs.map(|alloc| (alloc.id, (alloc.desired, alloc.version))).collect()
    }

    fn complete_count(&self) -> usize {
        let evals = self.cluster.state.evals();
        evals.filter(|eval| eval.status == EvalStatus::Complete).count()
    }

    /// What became of allocs since then, group by group.
    fn told(&self, before: &Seen, evals: usize) -> Vec<String> {
        let state = &self.cluster.state;
        let mut found: BTreeMap<(String, &str), Vec<u32>> = BTreeMap::new();
        for alloc in state.allocs() {
            let what = match before.get(&alloc.id) {
                None => "place",
                Some(&(DesiredStatus::Run, _)) if alloc.desired == DesiredStatus::Stop => "stop",
                Some(&(_, version)) if version != alloc.version => "update in place",
                Some(_) => continue,
            };
            let spec = &state.job(alloc.job).expect("a known job").newest().spec;
            let place = format!("{}.{}", spec.id, state.group_name(alloc).unwrap_or_default());
            found.entry((place, what)).or_default().push(alloc.ordinal);
        }
        let line = |((place, what), mut ordinals): ((String, &str), Vec<u32>)| {
            ordinals.sort_unstable();
            format!("{place}: {what} {}", ranges(&ordinals))
        };
        let mut lines: Vec<String> = found.into_iter().map(line).collect();
        let looked = self.complete_count() - evals;
        if 0 < looked {
            lines.push(format!("({looked} evaluation{})", if looked == 1 { "" } else { "s" }));
        }
        lines
    }

    fn show(&self, name: &str) -> String {
        let state = &self.cluster.state;
        let Some(job) = state.job_named("default", name) else { return "no such job".to_owned() };
        let newest = job.newest();
        let stopped = if job.stopped { ", stopped" } else { "" };
        let mut lines = vec![format!("{name} v{}{stopped}", newest.version)];
        for group in &newest.spec.groups {
            let live = state.allocs_of_job(job.id).filter(|alloc| {
                let runs =
                    alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal();
                runs && state.group_name(alloc) == Some(&group.name)
            });
            lines.push(format!("{}: {} of {}", group.name, live.count(), group.count));
            for (gate, approach) in state.closed_gates(job, group) {
                lines.push(format!("  {}", gate::words(gate, approach)));
            }
        }
        let open = state.evals_of_job(job.id).filter(|eval| !eval.status.is_final());
        lines.extend(open.map(|eval| {
            let queued = eval.queued.iter().map(|(group, count)| format!("{group}: {count}"));
            let queued = queued.collect::<Vec<_>>().join(", ");
            format!("evaluation {:?}, queued {{{queued}}}", eval.status).to_lowercase()
        }));
        let watched = state.deployment_of_version(job.id, newest.version);
        lines.extend(watched.map(|deployment| {
            format!("deployment {:?}: {}", deployment.status, deployment.status_description)
        }));
        lines.join("\n")
    }
}

fn gates(list: Option<&str>) -> Vec<Gate> {
    let list = list.unwrap_or_default().split(',').filter(|gate| !gate.is_empty());
    let gate = |text: &str| {
        let (target, until) = text.split_once(':').unwrap_or((text, ""));
        let (job, group) = target.split_once('/').unwrap_or((target, ""));
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let until = match until {
            "healthy" => Some(Until::Healthy),
            "complete" => Some(Until::Complete),
            _ => None,
        };
        Gate { job: named(job), group: named(group), until }
    };
    list.map(gate).collect()
}

fn refusal(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Refused(Rejection::Invalid { field, why }) => {
            Some(format!("refused: {field}: {why}"))
        }
        Outcome::Refused(rejection) => Some(format!("refused: {rejection:?}")),
        Outcome::Applied { .. } | Outcome::Repeated { .. } => None,
    }
}
