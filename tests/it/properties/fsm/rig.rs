//! A state with a log of its own: commands in, outcomes out, invariants checked after each.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::fsm::{Command, Entry, Outcome, apply};
use drover_core::state::{Change, State};
use drover_core::time::WallTime;
use drover_core::types::*;

/// What the clock shows before the first command.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// See the module.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) changes: Vec<Change>,
    pub(crate) stamp: WallTime,
}

impl World {
    /// Bootstrapped, and nothing else.
    pub(crate) fn new() -> Self {
        let stamp = WallTime { unix_ms: START_MS };
        let mut world = Self { state: State::new(), changes: Vec::new(), stamp };
        world.run(Command::Bootstrap { cluster: ClusterId(7) });
        world
    }

    /// With `count` ready nodes of 1,000 MHz and 1,000 MiB, ids from 1.
    pub(crate) fn with_nodes(count: u128) -> Self {
        let mut world = Self::new();
        for id in 1..=count {
            world.add_node(id);
        }
        world
    }

    pub(crate) fn add_node(&mut self, id: u128) {
        self.run(Command::RegisterNode { spec: node_spec(id).into() });
        self.mark(id, NodeStatus::Ready);
    }

    pub(crate) fn mark(&mut self, id: u128, status: NodeStatus) -> Outcome {
        let reason = "as the test has it".to_owned();
        self.run(Command::SetNodeStatus { nodes: vec![NodeId(id)], status, reason })
    }

    /// Apply one command; `changes` are those of this command.
    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        self.enter(Entry { stamp: self.stamp, session: None, command })
    }

    pub(crate) fn enter(&mut self, entry: Entry) -> Outcome {
        self.changes.clear();
        let index = self.state.index().next();
        let outcome = apply(&mut self.state, index, &entry, &mut self.changes);
        self.state.check_invariants();
        outcome
    }

    /// Let `ms` pass on the clocks of leaders, and on the replicated clock in steps.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.stamp = self.stamp.plus_ms(ms);
        while self.state.clock() < self.stamp {
            self.run(Command::RaiseFeatureLevel { level: self.state.feature_level() });
        }
    }

    /// Register a job and return its id and the evaluation.
    pub(crate) fn register(&mut self, spec: JobSpec) -> (JobId, EvalId) {
        let spec = Arc::new(spec);
        ids(&self.run(Command::RegisterJob { spec, check_index: None }))
    }

    pub(crate) fn plan(&mut self, plan: Plan) -> Outcome {
        self.run(Command::ApplyPlan(plan))
    }

    /// A job with one alloc per slot of `slots`, all in one plan.
    pub(crate) fn place(&mut self, spec: JobSpec, slots: &[u32]) -> (JobId, Vec<AllocId>) {
        let (job, eval) = self.register(spec);
        let placements = slots.iter().zip(0..).map(|(&slot, nth)| placement(slot, nth));
        let plan = Plan { placements: placements.collect(), ..self.empty_plan(job, eval) };
        self.plan(plan);
        let allocs = self.state.allocs_of_job(job).map(|alloc| alloc.id).collect();
        (job, allocs)
    }

    /// A plan that completes its evaluation and does nothing else.
    pub(crate) fn empty_plan(&self, job: JobId, eval: EvalId) -> Plan {
        Plan {
            eval,
            job,
            version: self.state.job(job).expect("the job").newest().version,
            based_on: self.state.index(),
            stops: vec![],
            placements: vec![],
            in_place: vec![],
            watched: vec![],
            preempted: vec![],
            verdict: done(),
            next_step: None,
            opened: vec![],
        }
    }

    pub(crate) fn report(&mut self, node: u128, id: AllocId, status: ClientStatus) -> Outcome {
        let (description, tasks, health) = (String::new(), BTreeMap::new(), None);
        let update = AllocUpdate { id, status, description, tasks, health };
        self.run(Command::UpdateAllocs { node: NodeId(node), updates: vec![update] })
    }

    pub(crate) fn alloc(&self, id: AllocId) -> &Allocation {
        self.state.alloc(id).expect("the alloc")
    }

    pub(crate) fn eval(&self, id: EvalId) -> &Evaluation {
        self.state.eval(id).expect("the evaluation")
    }

    pub(crate) fn job(&self, id: JobId) -> &Job {
        self.state.job(id).expect("the job")
    }
}

/// The job and the evaluation that an outcome names.
pub(crate) fn ids(outcome: &Outcome) -> (JobId, EvalId) {
    match outcome {
        Outcome::Applied { job: Some(job), eval: Some(eval), .. } => (*job, *eval),
        other => panic!("no job and evaluation in {other:?}"),
    }
}

pub(crate) fn done() -> Verdict {
    Verdict::Done { failures: BTreeMap::new(), queued: BTreeMap::new(), later: vec![] }
}

pub(crate) fn placement(slot: u32, ordinal: u32) -> Placement {
    Placement {
        slot: NodeSlot(slot),
        group: 0,
        ordinal,
        ports: vec![],
        pieces: None,
        previous: None,
        version: None,
        canary: false,
        rescheduled_after_ms: None,
        note: PlacementNote::default(),
    }
}

pub(crate) fn node_spec(id: u128) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        name: format!("n{id}"),
        datacenter: "dc1".to_owned(),
        capacity: Capacity { cpu_mhz: 1_000, memory_mib: 1_000, disk_mib: 10_000 },
        ..NodeSpec::default()
    }
}

/// A service `name` with one group `web` of `count` allocs of 400 MHz.
pub(crate) fn service(name: &str, count: u32) -> JobSpec {
    job_spec(name, JobKind::Service, count)
}

pub(crate) fn job_spec(name: &str, kind: JobKind, count: u32) -> JobSpec {
    JobSpec {
        id: name.to_owned(),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        region: "global".to_owned(),
        kind,
        priority: 50,
        datacenters: vec!["*".to_owned()],
        constraints: vec![],
        groups: vec![group("web", kind, count)].into(),
        meta: BTreeMap::new(),
        launch: Launch::AtOnce,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        node_pool: PoolName::default(),
    }
}

pub(crate) fn group(name: &str, kind: JobKind, count: u32) -> Group {
    Group {
        name: name.to_owned(),
        count,
        constraints: vec![],
        tasks: vec![task("server")],
        network: NetworkAsk::default(),
        restart: RestartPolicy::default_of(kind),
        reschedule: ReschedulePolicy::default_of(kind),
        update: UpdatePolicy::default(),
        disk_mib: 100,
        meta: BTreeMap::new(),
        shutdown_delay_ms: 0,
        migrate: MigratePolicy::default(),
        scaling: None,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        services: Vec::new(),
        volumes: BTreeMap::new(),
    }
}

fn task(name: &str) -> Task {
    Task {
        name: name.to_owned(),
        driver: "mock".to_owned(),
        user: String::new(),
        config_json: "{}".to_owned(),
        env: BTreeMap::new(),
        constraints: vec![],
        resources: TaskResources { cpu_mhz: 400, memory_mib: 100, ..TaskResources::default() },
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
