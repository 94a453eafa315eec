//! The words of `scenarios/rebalance`: jobs that run, nodes that come later, and who moves there.
//!
//! | command | what |
//! |---|---|
//! | `nodes count= dc= pool=` | ready nodes of 4,000 MHz |
//! | `algorithm which=spread pool=` | the emptiest node is the best, for jobs of the pool or for all |
//! | `register job= count= size= memory= pool= max_parallel= kind= rather= spread=yes distinct=yes program=` | a job, or a new version; what is not given stays; `rather` and `spread` are about datacenters |
//! | `plan budget= min= job=` | what would move |
//! | `apply budget= min= job=` | the same is ordered |
//! | `order job= ordinal= fails=yes` | this one is to move, whatever it gains; and fails before anybody looks |
//! | `order job= ordinal= reports=yes` | the same; its client speaks of it between a plan and its entry |
//! | `fail job= ordinal=` | it fails |
//! | `stop` | what has not begun to move stays |
//! | `drain node=`, `close node=`, `lose node=` | as operators and failures have it |
//! | `sick` | allocs that start are not healthy |
//! | `live s=` | seconds pass, and clients act in each |
//! | `show` | each node and what it holds |
//!
//! Each prints what the scheduler planned because of it.
use std::collections::BTreeMap;

use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::types::*;
use drover_shell::forecast::Forecast;
use drover_shell::forecast::rebalance::{Ask, Rebalance};
use drover_tests::Command;

use crate::properties::scheduler::rig::{Cluster, node, service};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
    specs: BTreeMap<String, JobSpec>,
}

impl Default for Bench {
    fn default() -> Self {
        Self { cluster: Cluster::with_nodes(0), specs: BTreeMap::new() }
    }
}

/// What a rebalance of the state would do.
pub(crate) fn planned(cluster: &Cluster, ask: &Ask) -> Rebalance {
    let before = cluster.state.encode();
    let mut forecast = Forecast::of(cluster.state.clone());
    let plan = forecast.rebalance(ask);
    forecast.state().check_invariants();
    assert_eq!(cluster.state.encode(), before, "nothing of it happens");
    plan
}

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        self.cluster.story.clear();
        let mut said = Vec::new();
        match command.name {
            "nodes" => {
                for _ in 0..command.number("count") {
                    let next = self.cluster.state.nodes().count() as u128 + 1;
                    let datacenter = command.value("dc").unwrap_or("dc1").to_owned();
                    let pool = command.value("pool").map_or_else(PoolName::default, PoolName::of);
                    self.cluster.add_node(NodeSpec { datacenter, pool, ..node(next) });
                }
            }
            "algorithm" => {
                let algorithm = match command.value("which") {
                    Some("spread") => Algorithm::Spread,
                    _ => Algorithm::BinPack,
                };
                self.cluster.run(match command.value("pool") {
                    Some(pool) => {
                        let mut spec = PoolSpec { name: PoolName::of(pool), ..PoolSpec::default() };
                        spec.scheduler.algorithm = Some(algorithm);
                        Entry::UpsertNodePool { spec }
                    }
                    None => {
                        let config = SchedulerConfig { algorithm, ..SchedulerConfig::default() };
                        Entry::SetSchedulerConfig { config, check_index: None }
                    }
                });
            }
            "register" => self.register(command),
            "plan" => return self.plan(command).join("\n"),
            "apply" => said = self.apply(command),
            "order" => {
                let moves = vec![self.alloc(command)];
                self.cluster.run(Entry::Rebalance { moves, gain_permille_min: 1 });
                if command.value("fails") == Some("yes") {
                    self.fail(command);
                }
                if command.value("reports") == Some("yes") {
                    let job = self.job(command.value("job").unwrap_or("web"));
                    let ordinal = u32::try_from(command.number("ordinal")).expect("small");
                    let speak = |cluster: &mut Cluster| cluster.describe(job, ordinal, "busy");
                    self.cluster.plan_before(job, speak);
                }
            }
            "fail" => self.fail(command),
            "stop" => {
                self.cluster.run(Entry::Rebalance { moves: vec![], gain_permille_min: 1 });
            }
            "drain" => {
                let spec = DrainSpec { deadline: DrainDeadline::Never, ignore_system: false };
                let (node, meta) = (node_of(command), BTreeMap::new());
                let (spec, mark_eligible) = (Some(spec), false);
                self.cluster.run(Entry::SetNodeDrain { node, spec, mark_eligible, meta });
            }
            "close" => {
                self.cluster
                    .run(Entry::SetNodeEligible { node: node_of(command), eligible: false });
            }
            "lose" => self.cluster.mark(node_of(command).0, NodeStatus::Down),
            "sick" => drop(self.cluster.sick.insert(0)),
            "live" => {
                for _ in 0..command.number("s") {
                    self.cluster.wait_ms(1_000);
                    self.cluster.clients_act();
                    self.cluster.settle();
                }
            }
            "show" => return self.show(),
            other => panic!("no such command: {other}"),
        }
        for alloc in self.cluster.state.rebalancing() {
            assert!(!alloc.client_status.is_terminal(), "what has ended does not move");
        }
        self.cluster.settle();
        said.append(&mut self.cluster.story);
        said.join("\n")
    }

    fn register(&mut self, command: &Command<'_>) {
        let name = command.value("job").unwrap_or("web").to_owned();
        let spec = self.specs.entry(name.clone()).or_insert_with(|| JobSpec {
            id: name,
            datacenters: vec!["*".to_owned()],
            ..service(3)
        });
        for (key, value) in command.pairs() {
            let number = || value.parse::<u32>().expect("a number");
            let group = &mut spec.groups[0];
            match key {
                "job" => {}
                "count" => group.count = number(),
                "pool" => spec.node_pool = PoolName::of(value),
                "size" => group.tasks[0].resources.cpu_mhz = number(),
                "memory" => group.tasks[0].resources.memory_mib = number(),
                "max_parallel" => group.migrate.parallel_max = number(),
                "program" => group.tasks[0].config_json = format!("\"{value}\""),
                "update_parallel" => group.update.parallel_max = number(),
                "rather" => {
                    group.affinities = vec![Affinity {
                        left: "${node.datacenter}".to_owned(),
                        operator: Operator::Equal,
                        right: value.to_owned(),
                        weight: 100,
                    }];
                }
                "spread" => {
                    let attribute = "${node.datacenter}".to_owned();
                    group.spreads = vec![Spread { attribute, weight: 100, targets: Vec::new() }];
                }
                "distinct" => {
                    let operator = Operator::DistinctHosts;
                    let (left, right) = (String::new(), "true".to_owned());
                    group.constraints = vec![Constraint { left, operator, right }];
                }
                "kind" => {
                    spec.kind = match value {
                        "batch" => JobKind::Batch,
                        "system" => JobKind::System,
                        other => panic!("register: no such kind: {other}"),
                    }
                }
                other => panic!("register: no such key: {other}"),
            }
        }
        let spec = spec.clone();
        self.cluster.register(&spec);
    }

    fn job(&self, name: &str) -> JobId {
        self.cluster.state.job_named("default", name).expect("a job of that name").id
    }

    fn fail(&mut self, command: &Command<'_>) {
        let job = self.job(command.value("job").unwrap_or("web"));
        let ordinal = u32::try_from(command.number("ordinal")).expect("small");
        self.cluster.end(job, ordinal, ClientStatus::Failed);
    }

    fn alloc(&self, command: &Command<'_>) -> AllocId {
        let live = self.cluster.live(self.job(command.value("job").unwrap_or("web")));
        let meant = live.iter().find(|alloc| u64::from(alloc.ordinal) == command.number("ordinal"));
        meant.expect("a live alloc").id
    }

    fn ask(&self, command: &Command<'_>) -> Ask {
        let number = |key, or| command.value(key).map_or(or, |_| command.number(key));
        Ask {
            budget: usize::try_from(number("budget", 10)).expect("small"),
            gain_permille_min: u32::try_from(number("min", 50)).expect("small"),
            job: command.value("job").map(|name| self.job(name)),
            pool: None,
        }
    }

    fn plan(&self, command: &Command<'_>) -> Vec<String> {
        self.told(&planned(&self.cluster, &self.ask(command)))
    }

    fn apply(&mut self, command: &Command<'_>) -> Vec<String> {
        let ask = self.ask(command);
        let plan = planned(&self.cluster, &ask);
        let moves = plan.moves.iter().map(|one| one.alloc).collect();
        let gain_permille_min = ask.gain_permille_min;
        let outcome = self.cluster.run(Entry::Rebalance { moves, gain_permille_min });
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        self.told(&plan)
    }

    fn told(&self, plan: &Rebalance) -> Vec<String> {
        let state = &self.cluster.state;
        let name = |id| state.node(id).expect("a node").spec.name.clone();
        let one = |one: &drover_shell::forecast::rebalance::Move| {
            format!(
                "{}: {} -> {}, {} -> {}: {}",
                self.name(state.alloc(one.alloc).expect("an alloc that is there")),
                name(one.from),
                name(one.to),
                one.here.score_permille,
                one.there.score_permille,
                one.why().join(", ")
            )
        };
        let mut told: Vec<String> = plan.moves.iter().map(one).collect();
        told.extend(plan.staying.iter().map(|(why, count)| format!("{count} {why}")));
        let counts =
            [(plan.more, "more would gain"), (plan.slight, "gain less"), (plan.held, "held")];
        let counts = counts.into_iter().filter(|&(count, _)| 0 < count);
        told.extend(counts.map(|(count, word)| format!("{count} {word}")));
        told
    }

    fn name(&self, alloc: &Allocation) -> String {
        let job = self.cluster.state.job(alloc.job).expect("a known job");
        format!("{}[{}]", job.newest().spec.id, alloc.ordinal)
    }

    fn show(&self) -> String {
        let state = &self.cluster.state;
        let line = |node: &Node| {
            let live = state.allocs_of_node(node.spec.id);
            let live = live.filter(|alloc| !alloc.client_status.is_terminal());
            let mut names: Vec<String> = live
                .map(|alloc| {
                    let mark = match (alloc.desired, alloc.migration) {
                        (DesiredStatus::Stop, _) => " stops",
                        (DesiredStatus::Run, Migration::Chosen { .. }) => " chosen",
                        (DesiredStatus::Run, Migration::IfBetter { .. }) => " in turn",
                        (DesiredStatus::Run, _) => "",
                    };
                    format!("{}{mark}", self.name(alloc))
                })
                .collect();
            names.sort();
            format!("{}: {}", node.spec.name, names.join(", ")).trim_end().to_owned()
        };
        state.nodes().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn node_of(command: &Command<'_>) -> NodeId {
    NodeId(u128::from(command.number("node")))
}
