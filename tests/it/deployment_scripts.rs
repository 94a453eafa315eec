//! The words of `scenarios/deployments`: one service, a new version of it, and what takes over when.
//!
//! | command | what |
//! |---|---|
//! | `nodes count=` | ready nodes |
//! | `register count= max_parallel= canary= auto_promote=yes auto_revert=yes min_healthy_s= deadline_s= program=` | the job, or a new version; what is not given stays |
//! | `clients` | clients do what they are told, and say what is healthy |
//! | `wait s=` | time passes; leaders look at deadlines, delayed evaluations are scheduled |
//! | `sick version=` | allocs of the version run and are never healthy |
//! | `fail`, `lose`, `stop`, `judge health=` `ordinal= version=` | one alloc |
//! | `promote`, `pause`, `resume`, `give-up`, `revert version=`, `stop-job` | as operators ask |
//! | `show` | the job as its users see it |
//!
//! Each prints what the scheduler planned because of it.
use drover_core::api::Rejection;
use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::types::*;
use drover_tests::Command;

use crate::properties::scheduler::rig::{Cluster, ranges, service};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
    spec: JobSpec,
    job: JobId,
}

impl Default for Bench {
    fn default() -> Self {
        let mut spec = service(3);
        let group = &mut spec.groups[0];
        group.update = UpdatePolicy { parallel_max: 1, ..UpdatePolicy::default() };
        group.tasks[0].resources.cpu_mhz = 100;
        Self { cluster: Cluster::with_nodes(0), spec, job: JobId(0) }
    }
}

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        self.cluster.story.clear();
        let mut said = Vec::new();
        match command.name {
            "nodes" => self.cluster = Cluster::with_nodes(u128::from(command.number("count"))),
            "register" => self.register(command),
            "clients" => self.cluster.clients_act(),
            "wait" => self.cluster.wait_ms(command.number("s") * 1_000),
            "sick" => {
                self.cluster.sick.insert(command.number("version"));
            }
            "fail" | "lose" | "stop" | "judge" => said.extend(self.touch(command)),
            "promote" | "pause" | "resume" | "give-up" | "revert" | "stop-job" => {
                said.extend(self.steer(command));
            }
            "show" => return self.show(),
            other => panic!("no such command: {other}"),
        }
        self.cluster.settle();
        said.append(&mut self.cluster.story);
        said.join("\n")
    }

    fn register(&mut self, command: &Command<'_>) {
        let group = &mut self.spec.groups[0];
        for (key, value) in command.pairs() {
            let number = || value.parse::<u32>().expect("a number");
            let ms = || u64::from(number()) * 1_000;
            match key {
                "count" => group.count = number(),
                "max_parallel" => group.update.parallel_max = number(),
                "canary" => group.update.canary = number(),
                "auto_promote" => group.update.auto_promote = value == "yes",
                "auto_revert" => group.update.auto_revert = value == "yes",
                "min_healthy_s" => group.update.min_healthy_ms = ms(),
                "healthy_deadline_s" => group.update.healthy_deadline_ms = ms(),
                "deadline_s" => group.update.progress_deadline_ms = ms(),
                "restarts" => group.restart.attempts = number(),
                "program" => group.tasks[0].config_json = format!("\"{value}\""),
                "health_check" if value == "manual" => {
                    group.update.health_check = HealthCheck::Manual;
                }
                other => panic!("register: no such key: {other}"),
            }
        }
        self.job = self.cluster.register(&self.spec);
    }

    fn one(&self, command: &Command<'_>) -> Allocation {
        let (ordinal, version) = (command.number("ordinal"), command.number("version"));
        let live = self.cluster.live(self.job).into_iter();
        let mut meant = live.filter(|a| u64::from(a.ordinal) == ordinal && a.version == version);
        meant.next().expect("a live alloc of that name and version").clone()
    }

    fn touch(&mut self, command: &Command<'_>) -> Option<String> {
        let alloc = self.one(command);
        match command.name {
            "fail" => {
                let update = AllocUpdate {
                    id: alloc.id,
                    status: ClientStatus::Failed,
                    description: String::new(),
                    tasks: alloc.tasks,
                    health: None,
                };
                let (node, updates) = (alloc.node, vec![update]);
                self.cluster.run(Entry::UpdateAllocs { node, updates });
                None
            }
            "lose" => {
                self.cluster.mark(alloc.node.0, NodeStatus::Down);
                None
            }
            "stop" => {
                self.cluster.run(Entry::StopAlloc { alloc: alloc.id });
                None
            }
            _ => {
                let deployment = alloc.deployment.expect("an alloc of a deployment");
                let is_good = command.value("health") == Some("good");
                let (healthy, unhealthy) =
                    if is_good { (vec![alloc.id], vec![]) } else { (vec![], vec![alloc.id]) };
                refusal(&self.cluster.run(Entry::SetAllocHealth { deployment, healthy, unhealthy }))
            }
        }
    }

    fn steer(&mut self, command: &Command<'_>) -> Option<String> {
        let (namespace, job) = (self.spec.namespace.clone(), self.spec.id.clone());
        let newest = self.cluster.state.deployments_of_job(self.job).last();
        let deployment = newest.map_or(DeploymentId(0), |newest| newest.id);
        let entry = match command.name {
            "promote" => Entry::PromoteDeployment { deployment, groups: vec![] },
            "pause" => Entry::PauseDeployment { deployment, pause: true },
            "resume" => Entry::PauseDeployment { deployment, pause: false },
            "give-up" => Entry::FailDeployment { deployment },
            "revert" => {
                let version = command.number("version");
                Entry::RevertJob { namespace, job, version, enforce_prior: None }
            }
            _ => Entry::DeregisterJob { namespace, job, purge: false },
        };
        refusal(&self.cluster.run(entry))
    }

    /// The deployments, newest first, and what runs of each version.
    fn show(&self) -> String {
        let state = &self.cluster.state;
        let mut lines = Vec::new();
        for deployment in state.deployments_of_job(self.job).rev() {
            let group = &deployment.groups["web"];
            let canaries = if group.desired_canaries == 0 {
                String::new()
            } else {
                let promoted = if group.promoted { "promoted" } else { "not promoted" };
                format!(", {} canaries {promoted}", group.desired_canaries)
            };
            lines.push(format!(
                "v{} {:?}: {} ({} of {} healthy, {} placed, {} unhealthy{canaries})",
                deployment.version,
                deployment.status,
                deployment.status_description,
                group.healthy,
                group.desired_total,
                group.placed,
                group.unhealthy
            ));
        }
        let job = state.job(self.job).expect("a known job");
        for version in job.versions.iter().rev() {
            let live = self.cluster.live(self.job).into_iter();
            let ours: Vec<_> = live.filter(|alloc| alloc.version == version.version).collect();
            let of = |canary: bool| {
                let some = ours.iter().filter(|alloc| alloc.canary == canary);
                some.map(|alloc| alloc.ordinal).collect::<Vec<_>>()
            };
            let stable = if version.stable { " stable" } else { "" };
            let mut parts = Vec::new();
            if !of(false).is_empty() {
                parts.push(ranges(&of(false)));
            }
            if !of(true).is_empty() {
                parts.push(format!("canary {}", ranges(&of(true))));
            }
            let parts = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
            lines.push(format!("v{}{stable} runs: {parts}", version.version));
        }
        lines.join("\n")
    }
}

pub(crate) fn refusal(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Refused(Rejection::Invalid { why, .. }) => Some(format!("refused: {why}")),
        Outcome::Refused(other) => Some(format!("refused: {other:?}")),
        Outcome::Applied { .. } | Outcome::Repeated { .. } => None,
    }
}
