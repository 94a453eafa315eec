//! The words of `scenarios/system`: one job that runs on every node, and what becomes of it there.
//!
//! | command | what |
//! |---|---|
//! | `nodes count=` | ready nodes n1, n2, .. of 4,000 MHz |
//! | `node id= dc= pool= gpu=yes driver=no` | a node registers, or registers again, and is heard from |
//! | `node … heard=no` | the same, and it is not heard from yet |
//! | `lose`, `return`, `bar`, `admit` `id=` | it falls silent, is heard again, takes nothing new, does again |
//! | `register type= count= max_parallel= stagger_s= program= cpu= port= dc= pool= gpu=yes restarts= groups=` | the job, or a new version; what is not given stays |
//! | `fill id= cpu=`, `empty id=` | something else takes room of a node, and gives it back |
//! | `clients` | clients do what they are told |
//! | `wait s=` | time passes |
//! | `complete`, `fail`, `stop` `id=` | the alloc on that node |
//! | `evaluate`, `stop-job`, `collect` | as operators ask; what ended is collected |
//! | `show` | what each node has, and which evaluations there are |
//!
//! Each prints what the scheduler planned because of it, node by node.
use drover_core::api::Rejection;
use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::types::*;
use drover_tests::Command;

use crate::properties::scheduler::rig::{Cluster, constraint, job, node, service};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
    spec: JobSpec,
    job: JobId,
}

impl Default for Bench {
    fn default() -> Self {
        let mut spec = job(JobKind::System, 1);
        spec.groups[0].reschedule = ReschedulePolicy::default_of(JobKind::System);
        spec.groups[0].update = UpdatePolicy::default_of(JobKind::System);
        Self { cluster: Cluster::with_nodes(0), spec, job: JobId(0) }
    }
}

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        self.cluster.story.clear();
        let id = u128::from(command.value("id").map_or(0, |_| command.number("id")));
        let (namespace, job) = (self.spec.namespace.clone(), self.spec.id.clone());
        let mut said = Vec::new();
        match command.name {
            "nodes" => self.cluster = Cluster::with_nodes(u128::from(command.number("count"))),
            "node" => self.node(command, id),
            "lose" => self.cluster.mark(id, NodeStatus::Down),
            "return" => self.cluster.mark(id, NodeStatus::Ready),
            "bar" | "admit" => {
                let eligible = command.name == "admit";
                self.cluster.run(Entry::SetNodeEligible { node: NodeId(id), eligible });
            }
            "register" => said.extend(self.register(command)),
            "fill" => self.fill(command, id),
            "empty" => self.cluster.deregister(&filler(id, 1)),
            "clients" => self.cluster.clients_act(),
            "wait" => self.cluster.wait_ms(command.number("s") * 1_000),
            "complete" => self.end(id, ClientStatus::Complete),
            "fail" => self.end(id, ClientStatus::Failed),
            "stop" => {
                let alloc = self.newest_on(id).id;
                self.cluster.run(Entry::StopAlloc { alloc });
            }
            "evaluate" => self.cluster.evaluate(self.job),
            "stop-job" => {
                self.cluster.run(Entry::DeregisterJob { namespace, job, purge: false });
            }
            "collect" => {
                let before = self.cluster.stamp;
                let (eval_before, job_before, node_before) = (before, before, before);
                self.cluster.run(Entry::CollectGarbage { eval_before, job_before, node_before });
            }
            "show" => return self.show(),
            other => panic!("no such command: {other}"),
        }
        self.cluster.settle();
        said.append(&mut self.cluster.story);
        said.join("\n")
    }

    fn node(&mut self, command: &Command<'_>, id: u128) {
        let mut spec = node(id);
        for (key, value) in command.pairs() {
            match key {
                "id" | "heard" => (),
                "dc" => value.clone_into(&mut spec.datacenter),
                "pool" => spec.pool = PoolName::of(value),
                "gpu" => {
                    spec.attributes.insert("gpu".to_owned(), value.to_owned());
                }
                "rack" => {
                    spec.meta.insert("rack".to_owned(), value.to_owned());
                }
                "driver" => spec.drivers = Named::default(),
                other => panic!("node: no such key: {other}"),
            }
        }
        if command.value("heard") == Some("no") {
            self.cluster.run(Entry::RegisterNode { spec: spec.into() });
        } else {
            self.cluster.add_node(spec);
        }
    }

    fn register(&mut self, command: &Command<'_>) -> Option<String> {
        for (key, value) in command.pairs() {
            let number = || value.parse::<u32>().expect("a number");
            let group = &mut self.spec.groups[0];
            match key {
                "type" => self.spec.kind = kind(value),
                "count" => group.count = number(),
                "max_parallel" => group.update.parallel_max = number(),
                "stagger_s" => group.update.stagger_ms = u64::from(number()) * 1_000,
                "restarts" => group.restart.attempts = number(),
                "program" => group.tasks[0].config_json = format!("\"{value}\""),
                "cpu" => group.tasks[0].resources.cpu_mhz = number(),
                "port" => {
                    let fixed = Some(u16::try_from(number()).expect("a port"));
                    let port = PortAsk { label: "http".to_owned(), fixed, to: 0 };
                    group.network.ports = vec![port];
                }
                "dc" => self.spec.datacenters = vec![value.to_owned()],
                "pool" => self.spec.node_pool = PoolName::of(value),
                "gpu" => group.constraints = vec![constraint("${attr.gpu}", "=", value)],
                "groups" => {
                    let mut second = group.clone();
                    "second".clone_into(&mut second.name);
                    self.spec.groups.truncate(1);
                    self.spec.groups.extend((1..number()).map(|_| second.clone()));
                }
                other => panic!("register: no such key: {other}"),
            }
        }
        let spec = self.spec.clone().into();
        match self.cluster.run(Entry::RegisterJob { spec, check_index: None }) {
            Outcome::Applied { job, .. } => self.job = job.expect("a job"),
            Outcome::Refused(Rejection::Invalid { field, why }) => {
                return Some(format!("refused: {field}: {why}"));
            }
            other => panic!("{other:?}"),
        }
        None
    }

    /// A service of one that may only run there.
    fn fill(&mut self, command: &Command<'_>, id: u128) {
        let cpu_mhz = u32::try_from(command.number("cpu")).expect("a small number");
        self.cluster.register(&filler(id, cpu_mhz));
    }

    fn newest_on(&self, id: u128) -> &Allocation {
        let of_job = self.cluster.state.allocs_of_job(self.job);
        let here = of_job.filter(|alloc| alloc.node == NodeId(id));
        here.last().expect("an alloc of the job on that node")
    }

    fn end(&mut self, id: u128, status: ClientStatus) {
        let alloc = self.newest_on(id).id;
        let (description, tasks) = (String::new(), std::collections::BTreeMap::new());
        let update = AllocUpdate { id: alloc, status, description, tasks, health: None };
        self.cluster.run(Entry::UpdateAllocs { node: NodeId(id), updates: vec![update] });
    }

    fn show(&self) -> String {
        let state = &self.cluster.state;
        let mut lines = Vec::new();
        for node in state.nodes() {
            let of_job = state.allocs_of_node(node.spec.id).filter(|a| a.job == self.job);
            let told = of_job.map(|alloc| {
                let status = format!("{:?}", alloc.client_status).to_lowercase();
                let stopped = if alloc.desired == DesiredStatus::Stop { " stopped" } else { "" };
                format!("v{} {status}{stopped}", alloc.version)
            });
            let told = told.collect::<Vec<_>>().join(", ");
            lines.push(format!("{}: {told}", node.spec.name));
        }
        let mut evals = std::collections::BTreeMap::new();
        for eval in state.evals_of_job(self.job) {
            *evals.entry(format!("{:?} {:?}", eval.trigger, eval.status)).or_insert(0) += 1;
        }
        let evals: Vec<String> =
            evals.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
        lines.push(format!("evaluations: {}", evals.join(", ")));
        if let Some(blocked) = self.cluster.blocked(self.job) {
            let failure = |(group, why): (&String, &PlacementFailure)| {
                let PlacementFailure { nodes_evaluated, filtered, exhausted, coalesced, .. } = why;
                format!(
                    "{group} lacks {exhausted:?} on {} of {nodes_evaluated}, filtered {filtered:?}",
                    coalesced + 1
                )
            };
            lines.extend(blocked.failures.iter().map(failure));
        }
        lines.join("\n")
    }
}

fn kind(word: &str) -> JobKind {
    match word {
        "system" => JobKind::System,
        "sysbatch" => JobKind::Sysbatch,
        "service" => JobKind::Service,
        other => panic!("no such type: {other}"),
    }
}

fn filler(id: u128, cpu_mhz: u32) -> JobSpec {
    let mut spec = service(1);
    spec.id = format!("filler{id}");
    spec.datacenters = vec!["*".to_owned()];
    spec.constraints = vec![constraint("${node.unique.name}", "=", &format!("n{id}"))];
    spec.groups[0].tasks[0].resources.cpu_mhz = cpu_mhz;
    spec
}
