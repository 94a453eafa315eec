//! A leader's scheduling without a network: state, broker, plans in flight, and clients that do what
//! they are told when the test says so. Every plan is held against a checker of its own making.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_core::broker::{self, Broker};
use drover_core::fsm::{Command, Entry, Outcome, apply};
use drover_core::planner::{self, InFlight, View};
use drover_core::scheduler::{free_on, may_go_on, need, schedule};
use drover_core::state::{Change, State};
use drover_core::time::WallTime;
use drover_core::types::*;

use super::checker;

mod clients;
mod gates;

const START_MS: u64 = 1_700_000_000_000;
/// More evaluations than this without a pause means that they make each other.
const EVALS_MAX: usize = 2_000;
pub(crate) const BUDGET: usize = 512;

/// See the module.
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) in_flight: InFlight,
    pub(crate) broker: Broker,
    pub(crate) stamp: WallTime,
    pub(crate) budget: usize,
    pub(crate) seed: u64,
    /// Versions whose allocs run and are never healthy.
    pub(crate) sick: BTreeSet<u64>,
    /// Nothing stops there.
    pub(crate) stubborn: Option<NodeId>,
    /// What was planned, in words, since somebody last looked.
    pub(crate) story: Vec<String>,
    /// Since when each alloc runs, as which version.
    running: BTreeMap<AllocId, (u64, WallTime)>,
    /// What the broker asked for and has not got.
    asked: Vec<broker::Output>,
}

impl Cluster {
    /// With `count` ready nodes of 4,000 MHz and 8,000 MiB, ids from 1.
    pub(crate) fn with_nodes(count: u128) -> Self {
        let mut cluster = Self {
            state: State::new(),
            in_flight: InFlight::default(),
            broker: Broker::default(),
            stamp: WallTime { unix_ms: START_MS },
            budget: BUDGET,
            seed: 1,
            sick: BTreeSet::new(),
            stubborn: None,
            story: Vec::new(),
            running: BTreeMap::new(),
            asked: Vec::new(),
        };
        cluster.run(Command::Bootstrap { cluster: ClusterId(7) });
        // Jobs may name it before a node is in it.
        let spec = PoolSpec { name: PoolName::of("gpu"), ..PoolSpec::default() };
        cluster.run(Command::UpsertNodePool { spec });
        for id in 1..=count {
            cluster.add_node(node(id));
        }
        cluster
    }

    pub(crate) fn add_node(&mut self, spec: NodeSpec) {
        let id = spec.id.0;
        self.run(Command::RegisterNode { spec: spec.into() });
        self.mark(id, NodeStatus::Ready);
    }

    pub(crate) fn mark(&mut self, id: u128, status: NodeStatus) {
        let reason = "as the test has it".to_owned();
        self.run(Command::SetNodeStatus { nodes: vec![NodeId(id)], status, reason });
    }

    /// Apply one command and tell the broker.
    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        let entry = Entry { stamp: self.stamp, session: None, command };
        let (index, mut changes) = (self.state.index().next(), Vec::new());
        let outcome = apply(&mut self.state, index, &entry, &mut changes);
        let state = &self.state;
        let yard = broker::Yard {
            fits: &|job, node| may_go_on(state, job, node),
            free: &|node| free_on(state, node),
            need: &|job| need(state, job),
        };
        let touched: BTreeSet<JobId> =
            changes.iter().filter_map(|change| change.job(state)).collect();
        for change in changes {
            match change {
                Change::Eval(id) => {
                    if let Some(eval) = state.eval(id) {
                        self.broker.on_eval(eval, self.stamp, &yard, &mut self.asked);
                    }
                }
                Change::Room(node) => self.broker.on_room(node, index, &yard, &mut self.asked),
                Change::Node(_) | Change::Job(_) | Change::Alloc(_) => {}
                Change::Deployment(_) => {}
                Change::Assigned(_) | Change::Pools | Change::Operator | Change::Restored => {}
            }
        }
        let waiting = state.waiters_of(&touched);
        self.let_in(waiting);
        self.state.check_invariants();
        self.broker.check_invariants();
        outcome
    }

    pub(crate) fn register(&mut self, spec: &JobSpec) -> JobId {
        let spec = Arc::new(spec.clone());
        match self.run(Command::RegisterJob { spec, check_index: None }) {
            Outcome::Applied { job: Some(job), .. } => job,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// Registered, placed, and running as far as there is room.
    pub(crate) fn with_running(&mut self, spec: &JobSpec) -> JobId {
        let job = self.register(spec);
        self.settle();
        self.clients_act();
        job
    }

    pub(crate) fn deregister(&mut self, spec: &JobSpec) {
        let (namespace, job) = (spec.namespace.clone(), spec.id.clone());
        self.run(Command::DeregisterJob { namespace, job, purge: false });
    }

    pub(crate) fn evaluate(&mut self, job: JobId) {
        let spec = &self.state.job(job).expect("a known job").newest().spec;
        let (namespace, job) = (spec.namespace.clone(), spec.id.clone());
        self.run(Command::EvaluateJob { namespace, job });
    }

    pub(crate) const fn view(&self) -> View<'_> {
        View { state: &self.state, in_flight: &self.in_flight }
    }

    /// The plan of one evaluation, checked.
    fn plan(&self, eval: &Evaluation) -> Plan {
        let plan = schedule(&self.view(), eval, self.seed, self.budget);
        checker::check_plan(&self.view(), &plan, self.budget);
        let checked = planner::check(&self.view(), plan.clone());
        assert_eq!(checked, plan, "what the scheduler plans, the planner finds in order");
        plan
    }

    /// What the job's newest pending evaluation would do now, without doing it.
    pub(crate) fn plan_of(&self, job: JobId) -> Plan {
        let mut evals = self.state.evals_of_job(job);
        let newest = evals.rfind(|eval| {
            let due = eval.wait_until.is_none_or(|at| at <= self.stamp);
            eval.status == EvalStatus::Pending && due
        });
        self.plan(newest.expect("a pending evaluation"))
    }

    /// The job's plan is drawn, then this happens, and then the plan is entered.
    pub(crate) fn plan_before(&mut self, job: JobId, meanwhile: impl FnOnce(&mut Self)) {
        let plan = self.plan_of(job);
        meanwhile(self);
        self.run(Command::ApplyPlan(plan));
    }

    /// Schedule everything that is due, until nothing is.
    pub(crate) fn settle(&mut self) {
        let mut last = Vec::new();
        self.review();
        for _ in 0..EVALS_MAX {
            self.broker.on_time(self.stamp, &mut self.asked);
            for output in std::mem::take(&mut self.asked) {
                let broker::Output::Unblock(evals) = output;
                self.run(Command::UnblockEvals { evals, reason: "room".to_owned() });
            }
            let Some(id) = self.broker.next(self.state.index()) else {
                if self.asked.is_empty() {
                    return;
                }
                continue;
            };
            let plan = self.plan(self.state.eval(id).expect("a known evaluation"));
            self.in_flight.on_proposed(&self.state, &plan);
            self.in_flight.check_invariants();
            let placed = plan.placements.len();
            let told = self.told(&plan);
            if told != "nothing" {
                self.story.push(told.clone());
            }
            last.insert(0, format!("{:?}: {told}", plan.job));
            last.truncate(4);
            let outcome = self.run(Command::ApplyPlan(plan));
            self.in_flight.on_applied(id);
            self.broker.on_settled(id);
            let Outcome::Applied { refused_placements, .. } = outcome else {
                panic!("a plan was refused: {outcome:?}");
            };
            assert_eq!(refused_placements, 0, "of {placed} placements, fit means fit");
        }
        panic!("evaluations make each other without end: {last:?}");
    }

    /// As a leader does when the moment of a deployment or a drain has come.
    fn review(&mut self) {
        let due = self.state.deployment_deadlines().take_while(|&(at, _)| at <= self.stamp);
        let deployments: Vec<DeploymentId> = due.map(|(_, id)| id).collect();
        if !deployments.is_empty() {
            self.run(Command::ReviewDeployments { deployments });
        }
        let due = self.state.drains_due().take_while(|&(at, _)| at <= self.stamp);
        let nodes: Vec<NodeId> = due.map(|(_, id)| id).collect();
        if !nodes.is_empty() {
            self.run(Command::ReviewDrains { nodes });
        }
    }

    /// What is planned for the job, done, and what the next look at it would do.
    pub(crate) fn plan_and_settle(&mut self, job: JobId) -> (String, String) {
        let first = self.told(&self.plan_of(job));
        self.settle();
        self.evaluate(job);
        let second = self.told(&self.plan_of(job));
        self.settle();
        (first, second)
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.stamp = self.stamp.plus_ms(ms);
        while self.state.clock() < self.stamp {
            self.run(Command::RaiseFeatureLevel { level: self.state.feature_level() });
        }
    }

    /// Allocs that should run and have not ended, on nodes that are there, by ordinal.
    pub(crate) fn live(&self, job: JobId) -> Vec<&Allocation> {
        let mut live: Vec<_> = self
            .state
            .allocs_of_job(job)
            .filter(|a| a.desired == DesiredStatus::Run && !a.client_status.is_terminal())
            .filter(|a| self.state.node(a.node).is_some_and(|n| n.status != NodeStatus::Down))
            .collect();
        live.sort_by_key(|alloc| (alloc.ordinal, alloc.id));
        live
    }

    pub(crate) fn blocked(&self, job: JobId) -> Option<&Evaluation> {
        self.state.blocked_eval_of_job(job)
    }

    /// A plan in words: `place 5-9; stop 2 lost; in place 3; later 1; queued 4`.
    pub(crate) fn told(&self, plan: &Plan) -> String {
        if self.is_everywhere(plan.job) {
            return self.told_by_node(plan);
        }
        let mut parts = Vec::new();
        let mut placed: BTreeMap<(bool, Option<u64>), Vec<u32>> = BTreeMap::new();
        for placement in &plan.placements {
            let kind = (placement.canary, placement.version);
            placed.entry(kind).or_default().push(placement.ordinal);
        }
        for ((is_canary, version), mut ordinals) in placed {
            ordinals.sort_unstable();
            let word = if is_canary { "canary" } else { "place" };
            let of = version.map(|version| format!(" of v{version}")).unwrap_or_default();
            parts.push(format!("{word} {}{of}", ranges(&ordinals)));
        }
        for (reason, word) in [
            (StopReason::NotNeeded, "not needed"),
            (StopReason::Updated, "updated"),
            (StopReason::NodeLost, "lost"),
            (StopReason::Rescheduled, "rescheduled"),
            (StopReason::Migrating, "migrating"),
            (StopReason::Drained, "drained"),
        ] {
            let of = plan.stops.iter().filter(|stop| stop.reason == reason);
            let ordinals =
                of.map(|stop| self.state.alloc(stop.alloc).expect("a known alloc").ordinal);
            let mut ordinals: Vec<u32> = ordinals.collect();
            ordinals.sort_unstable();
            if !ordinals.is_empty() {
                parts.push(format!("stop {} {word}", ranges(&ordinals)));
            }
        }
        if !plan.in_place.is_empty() {
            parts.push(format!("in place {}", plan.in_place.len()));
        }
        if !plan.preempted.is_empty() {
            let of = plan.preempted.iter();
            let of = of.map(|one| self.state.alloc(one.alloc).expect("a known alloc"));
            let names = of.map(|alloc| {
                let job = self.state.job(alloc.job).expect("a known job");
                format!("{}[{}]", job.newest().spec.id, alloc.ordinal)
            });
            parts.push(format!("preempt {}", names.collect::<Vec<_>>().join(" ")));
        }
        match &plan.verdict {
            Verdict::More => parts.push("more".to_owned()),
            Verdict::Done { queued, later, .. } => {
                if !later.is_empty() {
                    parts.push(format!("later {}", later.len()));
                }
                let queued: u32 = queued.values().sum();
                if 0 < queued {
                    parts.push(format!("queued {queued}"));
                }
            }
        }
        if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
    }
}

/// `0-2,5`
pub(crate) fn ranges(ordinals: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &ordinal in ordinals {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == ordinal => *last = ordinal,
            _ => runs.push((ordinal, ordinal)),
        }
    }
    let written = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    written.collect::<Vec<_>>().join(",")
}

pub(crate) fn node(id: u128) -> NodeSpec {
    let healthy = DriverInfo { detected: true, healthy: true, description: String::new() };
    NodeSpec {
        id: NodeId(id),
        name: format!("n{id}"),
        datacenter: "dc1".to_owned(),
        attributes: [("kernel.name".to_owned(), "linux".to_owned())].into(),
        capacity: Capacity { cpu_mhz: 4_000, memory_mib: 8_000, disk_mib: 100_000 },
        drivers: [("mock".to_owned(), healthy)].into(),
        ..NodeSpec::default()
    }
}

/// A job with one group `web` of `count` allocs of 500 MHz and 256 MiB.
pub(crate) fn job(kind: JobKind, count: u32) -> JobSpec {
    JobSpec {
        id: "job".to_owned(),
        name: "job".to_owned(),
        namespace: "default".to_owned(),
        region: "global".to_owned(),
        kind,
        priority: 50,
        datacenters: vec!["dc1".to_owned()],
        constraints: vec![constraint("${attr.kernel.name}", "=", "linux")],
        groups: vec![Group {
            name: "web".to_owned(),
            count,
            constraints: vec![],
            tasks: vec![task()],
            network: NetworkAsk::default(),
            restart: RestartPolicy::default_of(kind),
            reschedule: ReschedulePolicy {
                attempts: 2,
                interval_ms: 600_000,
                delay_ms: 5_000,
                delay_function: DelayFunction::Constant,
                delay_ms_max: 0,
                unlimited: false,
            },
            update: UpdatePolicy { parallel_max: 0, ..UpdatePolicy::default() },
            disk_mib: 150,
            meta: BTreeMap::new(),
            shutdown_delay_ms: 0,
            migrate: MigratePolicy::default(),
            scaling: None,
            affinities: Vec::new(),
            spreads: Vec::new(),
            after: Vec::new(),
            services: Vec::new(),
            volumes: BTreeMap::new(),
        }]
        .into(),
        meta: BTreeMap::new(),
        launch: Launch::AtOnce,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        node_pool: PoolName::default(),
    }
}

pub(crate) fn service(count: u32) -> JobSpec {
    job(JobKind::Service, count)
}

pub(crate) fn constraint(left: &str, word: &str, right: &str) -> Constraint {
    let operator = Operator::parse(word).expect("an operator");
    Constraint { left: left.to_owned(), operator, right: right.to_owned() }
}

fn task() -> Task {
    Task {
        name: "server".to_owned(),
        driver: "mock".to_owned(),
        user: String::new(),
        config_json: "{}".to_owned(),
        env: BTreeMap::new(),
        constraints: vec![],
        resources: TaskResources { cpu_mhz: 500, memory_mib: 256, ..TaskResources::default() },
        meta: BTreeMap::new(),
        kill_timeout_ms: 5_000,
        kill_signal: String::new(),
        leader: false,
        shutdown_delay_ms: 0,
        logs: LogLimits::default(),
        payload_file: String::new(),
        affinities: Vec::new(),
        services: Vec::new(),
        volume_mounts: Vec::new(),
    }
}

/// The same job with another program: a change that no running task survives.
pub(crate) fn changed(spec: &JobSpec) -> JobSpec {
    let mut other = spec.clone();
    other.groups[0].tasks[0].config_json.push(' ');
    other
}

pub(crate) fn with_count(spec: &JobSpec, count: u32) -> JobSpec {
    let mut other = spec.clone();
    other.groups[0].count = count;
    other
}
