//! Commands out of a seed: mostly such as a cluster would see, some that make no sense at all.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::fsm::{Command, Entry};
use drover_core::rng::Rng;
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::*;

use super::rig::{START_MS, group, job_spec, node_spec};

/// See the module.
pub(crate) struct Generator {
    rng: Rng,
    stamp: WallTime,
    /// States as they were at some moments of this log.
    saved: Vec<Vec<u8>>,
    /// One of them on its way back, and how many of its parts were sent.
    upload: Option<(Vec<u8>, u32)>,
}

/// Parts of one saved state.
const PARTS: u32 = 2;

impl Generator {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let stamp = WallTime { unix_ms: START_MS };
        Self { rng: Rng::from_seed(seed), stamp, saved: Vec::new(), upload: None }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.between(0, bound.saturating_sub(1))
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("below a number of 32 bits")
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = usize::try_from(self.below(from.len() as u64)).expect("a position in memory");
        Some(from[at].clone())
    }

    /// One of a list that is not empty.
    fn one_of<T: Clone>(&mut self, from: &[T]) -> T {
        self.pick(from).expect("a list with something in it")
    }

    /// Some of `from`, in order.
    fn some<T: Clone>(&mut self, from: &[T], permille: u64) -> Vec<T> {
        from.iter().filter(|_| self.rng.chance(permille)).cloned().collect()
    }

    /// The next entry of a log that has led to `state`.
    pub(crate) fn entry(&mut self, state: &State) -> Entry {
        let drift = self.below(20_000);
        self.stamp = if self.rng.chance(50) {
            WallTime { unix_ms: self.rng.next_u64() }
        } else {
            WallTime { unix_ms: state.clock().unix_ms.saturating_sub(5_000) + drift }
        };
        if state.index() == Index(0) {
            self.stamp = WallTime { unix_ms: START_MS };
        }
        let session = self.rng.chance(500).then(|| Session {
            origin: ServerId(self.below(3)),
            incarnation: Incarnation(self.below(2)),
            seq: self.below(60),
        });
        Entry { stamp: self.stamp, session, command: self.command(state) }
    }

    fn command(&mut self, state: &State) -> Command {
        match self.below(50) {
            0 => Command::Bootstrap { cluster: ClusterId(u128::from(self.below(3))) },
            1 | 2 => Command::RegisterNode { spec: self.node_spec().into() },
            3..=5 => self.set_node_status(),
            6 => Command::SetNodeEligible { node: self.node(), eligible: self.rng.chance(700) },
            7..=9 => self.register_job(state),
            10 => {
                let (namespace, job) = self.job_name();
                Command::DeregisterJob { namespace, job, purge: self.rng.chance(400) }
            }
            11 => {
                let (namespace, job) = self.job_name();
                Command::EvaluateJob { namespace, job }
            }
            12 => Command::StopAlloc { alloc: self.alloc(state) },
            13..=20 => Command::ApplyPlan(self.plan(state)),
            21 => Command::FailEval { eval: self.eval(state), why: "no reason".to_owned() },
            22 => {
                let blocked: Vec<EvalId> = state.blocked_evals().map(|eval| eval.id).collect();
                let mut evals = self.some(&blocked, 700);
                evals.push(self.eval(state));
                Command::UnblockEvals { evals, reason: "room".to_owned() }
            }
            23..=26 => self.update_allocs(state),
            27 => self.collect_garbage(state),
            28 => self.acknowledge(state),
            30..=35 => self.restore(state),
            36..=41 => self.steer(state),
            42 if self.rng.chance(400) => {
                let all: Vec<AllocId> = state.allocs().map(|alloc| alloc.id).collect();
                let (moves, gain_permille_min) = (self.some(&all, 400), self.small(300));
                Command::Rebalance { moves, gain_permille_min }
            }
            42 => self.drain(state),
            43..=46 => self.launch(state),
            47..=49 => self.pool(),
            _ => Command::RaiseFeatureLevel { level: self.small(4) },
        }
    }

    fn node(&mut self) -> NodeId {
        NodeId(u128::from(self.below(6)))
    }

    fn node_spec(&mut self) -> NodeSpec {
        let mut spec = node_spec(self.node().0);
        if self.rng.chance(200) {
            spec.capacity.cpu_mhz = self.small(3_000);
        }
        if self.rng.chance(200) {
            spec.reserved_ports = vec![22, 8_000];
        }
        if self.rng.chance(200) {
            spec.pool = self.pool_name();
        }
        spec
    }

    /// Some that there are, some that may be, and some that cannot.
    fn pool_name(&mut self) -> PoolName {
        PoolName::of(self.one_of(&["default", "all", "all", "gpu", "gpu", "gpu", "no name"]))
    }

    fn pool(&mut self) -> Command {
        let name = self.pool_name();
        if self.rng.chance(500) {
            return Command::DeleteNodePool { pool: name };
        }
        let description = self.one_of(&["", "fast ones"]).to_owned();
        let algorithm = self.one_of(&[None, Some(Algorithm::Spread)]);
        let scheduler = PoolScheduler { algorithm, memory_oversubscription: None };
        let spec = PoolSpec { name, description, scheduler, ..PoolSpec::default() };
        Command::UpsertNodePool { spec }
    }

    fn set_node_status(&mut self) -> Command {
        let count = self.below(3);
        let nodes = (0..=count).map(|_| self.node()).collect();
        let all = [NodeStatus::Ready, NodeStatus::Ready, NodeStatus::Down, NodeStatus::Init];
        let status = if self.rng.chance(100) { all[3] } else { self.one_of(&all[..3]) };
        Command::SetNodeStatus { nodes, status, reason: "heard or not".to_owned() }
    }

    fn job_name(&mut self) -> (String, String) {
        let namespace = self.one_of(&["default", "other"]);
        let job = self.one_of(&["a", "b", "c"]);
        (namespace.to_owned(), job.to_owned())
    }

    fn register_job(&mut self, state: &State) -> Command {
        let (namespace, name) = self.job_name();
        // A job keeps its type, but for an attempt now and then.
        let kinds = [JobKind::Service, JobKind::Batch, JobKind::System, JobKind::Sysbatch];
        let own = match (name.as_str(), namespace.as_str()) {
            ("a", _) => JobKind::Service,
            ("b", "default") => JobKind::Batch,
            ("b", _) => JobKind::Sysbatch,
            (_, "default") => JobKind::Service,
            _ => JobKind::System,
        };
        let kind = if self.rng.chance(950) { own } else { self.one_of(&kinds) };
        let most = if kind.is_on_every_node() && self.rng.chance(950) { 2 } else { 4 };
        let mut spec = JobSpec { namespace, ..job_spec(&name, kind, self.small(most)) };
        if self.rng.chance(300) {
            spec.groups.insert(0, group("second", kind, self.small(most.min(3))));
        }
        spec.priority = self.one_of(&[30, 50, 50, 60]);
        if self.rng.chance(50) {
            spec.priority = 0;
        }
        if self.rng.chance(400) {
            spec.node_pool = self.pool_name();
        }
        for group in &mut spec.groups {
            group.update.canary = self.small(3);
            group.update.auto_promote = self.rng.chance(500);
            group.update.auto_revert = self.rng.chance(500);
            group.update.progress_deadline_ms = self.below(3) * 10_000;
        }
        if self.rng.chance(50) {
            spec.groups.clear();
        }
        let known = state.job_named(&spec.namespace, &spec.id).map(|job| job.spec_index);
        let check_index = match self.below(6) {
            0 => Some(Index(0)),
            1 => known,
            2 => Some(Index(self.below(50))),
            _ => None,
        };
        Command::RegisterJob { spec: Arc::new(spec), check_index }
    }

    fn alloc(&mut self, state: &State) -> AllocId {
        let all: Vec<AllocId> = state.allocs().map(|alloc| alloc.id).collect();
        let nonsense = AllocId(self.rng.next_u64());
        if self.rng.chance(50) { nonsense } else { self.pick(&all).unwrap_or(nonsense) }
    }

    fn eval(&mut self, state: &State) -> EvalId {
        let pending: Vec<EvalId> = state.pending_evals().map(|eval| eval.id).collect();
        let all: Vec<EvalId> = state.evals().map(|eval| eval.id).collect();
        let from = if self.rng.chance(800) { pending } else { all };
        self.pick(&from).unwrap_or(EvalId(7))
    }

    fn plan(&mut self, state: &State) -> Plan {
        let eval = self.eval(state);
        let job = state.eval(eval).map_or(JobId(3), |eval| eval.job);
        let job = if self.rng.chance(30) { JobId(self.below(100)) } else { job };
        let newest = state.job(job).map_or(0, |job| job.newest().version);
        let allocs: Vec<AllocId> = state.allocs_of_job(job).map(|alloc| alloc.id).collect();
        let stops = self.some(&allocs, 150);
        let stops = stops.into_iter().map(|alloc| Stop { alloc, reason: self.reason() }).collect();
        let count = self.below(5);
        let placements = (0..count).map(|_| self.placement(&allocs)).collect();
        Plan {
            eval,
            job,
            version: if self.rng.chance(800) { newest } else { self.below(3) },
            based_on: Index(state.index().0.saturating_sub(self.below(3))),
            stops,
            placements,
            in_place: self.some(&allocs, 200),
            watched: self.watched(),
            preempted: self.preempted(state),
            verdict: self.verdict(&allocs),
            next_step: self.rng.chance(100).then(|| state.clock().plus_ms(5_000)),
            opened: vec![],
        }
    }

    fn reason(&mut self) -> StopReason {
        let all = [
            StopReason::NotNeeded,
            StopReason::Updated,
            StopReason::NodeLost,
            StopReason::NodeLost,
            StopReason::Rescheduled,
            StopReason::Migrating,
        ];
        self.one_of(&all)
    }

    fn placement(&mut self, allocs: &[AllocId]) -> Placement {
        let value = self.one_of(&[22, 8_000, 8_001]);
        let port = PortGrant { label: "http".to_owned(), value, to: 0 };
        Placement {
            slot: NodeSlot(self.small(6)),
            group: u16::try_from(self.below(3)).expect("below three"),
            ordinal: self.small(4),
            ports: if self.rng.chance(300) { vec![port] } else { vec![] },
            pieces: None,
            previous: self.pick(allocs).filter(|_| self.rng.chance(500)),
            version: self.rng.chance(100).then(|| self.below(3)),
            canary: self.rng.chance(200),
            rescheduled_after_ms: self.rng.chance(500).then_some(5_000),
            note: PlacementNote::default(),
        }
    }

    fn verdict(&mut self, allocs: &[AllocId]) -> Verdict {
        if self.rng.chance(200) {
            return Verdict::More;
        }
        let mut queued = BTreeMap::new();
        if self.rng.chance(400) {
            queued.insert("web".to_owned(), self.small(3));
        }
        let failures = queued.keys().map(|group| (group.clone(), PlacementFailure::default()));
        let later = self.some(allocs, 100).into_iter().map(|id| (id, self.stamp.plus_ms(30_000)));
        Verdict::Done { failures: failures.collect(), later: later.collect(), queued }
    }

    fn update_allocs(&mut self, state: &State) -> Command {
        let node = self.node();
        let ours: Vec<AllocId> = state.allocs_of_node(node).map(|alloc| alloc.id).collect();
        let mut reported = self.some(&ours, 400);
        if self.rng.chance(200) {
            reported.push(self.alloc(state));
        }
        let updates = reported.into_iter().map(|id| self.update(id)).collect();
        Command::UpdateAllocs { node, updates }
    }

    fn update(&mut self, id: AllocId) -> AllocUpdate {
        let statuses = [
            ClientStatus::Pending,
            ClientStatus::Running,
            ClientStatus::Running,
            ClientStatus::Complete,
            ClientStatus::Failed,
            ClientStatus::Lost,
        ];
        let status = self.one_of(&statuses);
        let phases = [TaskPhase::Pending, TaskPhase::Running, TaskPhase::Dead];
        let event = TaskEvent {
            at: self.stamp,
            kind: TaskEventKind::Restarting { delay_ms: self.below(9) },
            message: String::new(),
        };
        let count = usize::try_from(self.below(14)).expect("below fourteen");
        let task = TaskState {
            phase: self.one_of(&phases),
            failed: self.rng.chance(300),
            restarts: self.small(3),
            last_restart: None,
            started_at: Some(self.stamp),
            finished_at: None,
            events: vec![event; count],
        };
        let name = self.one_of(&["server", "stranger"]).to_owned();
        let tasks = [(name, task)].into_iter().collect();
        let health = self.rng.chance(400).then(|| AllocHealth {
            version: self.below(3),
            healthy: self.rng.chance(700),
            at: self.stamp,
        });
        AllocUpdate { id, status, description: "as reported".to_owned(), tasks, health }
    }

    fn preempted(&mut self, state: &State) -> Vec<Preempted> {
        if self.rng.chance(850) {
            return Vec::new();
        }
        let runs = |alloc: &&Allocation| alloc.desired == DesiredStatus::Run;
        let running: Vec<AllocId> = state.allocs().filter(runs).map(|alloc| alloc.id).collect();
        let mut some = self.some(&running, 300);
        some.push(self.alloc(state));
        some.into_iter().map(|alloc| Preempted { alloc, group: 0 }).collect()
    }

    fn watched(&mut self) -> Vec<WatchedGroup> {
        let count = self.below(3);
        (0..count)
            .map(|_| WatchedGroup {
                group: u16::try_from(self.below(3)).expect("below three"),
                canaries: self.small(3),
            })
            .collect()
    }

    /// Something about a deployment, mostly about one that there is.
    fn steer(&mut self, state: &State) -> Command {
        let all: Vec<DeploymentId> = state.deployments().map(|one| one.id).collect();
        let deployment = self.pick(&all).unwrap_or(DeploymentId(7));
        let ours = |alloc: &&Allocation| alloc.deployment == Some(deployment);
        let ours: Vec<AllocId> = state.allocs().filter(ours).map(|alloc| alloc.id).collect();
        let (namespace, job) = self.job_name();
        match self.below(8) {
            0 => Command::PromoteDeployment { deployment, groups: vec![] },
            1 => Command::PromoteDeployment { deployment, groups: vec!["web".to_owned()] },
            2 => Command::PauseDeployment { deployment, pause: self.rng.chance(400) },
            3 => Command::FailDeployment { deployment },
            4 => Command::ReviewDeployments { deployments: all },
            5 => {
                let (version, enforce_prior) = (self.below(3), None);
                Command::RevertJob { namespace, job, version, enforce_prior }
            }
            6 => {
                let (version, stable) = (self.below(3), self.rng.chance(700));
                Command::SetJobStable { namespace, job, version, stable }
            }
            _ => {
                let (healthy, unhealthy) = (self.some(&ours, 500), self.some(&ours, 200));
                Command::SetAllocHealth { deployment, healthy, unhealthy }
            }
        }
    }

    fn drain(&mut self, state: &State) -> Command {
        let deadline = match self.below(3) {
            0 => DrainDeadline::Force,
            1 => DrainDeadline::After { ms: self.below(60_000) },
            _ => DrainDeadline::Never,
        };
        let spec = DrainSpec { deadline, ignore_system: self.rng.chance(200) };
        let (node, mark_eligible, meta) = (self.node(), self.rng.chance(900), BTreeMap::new());
        match self.below(4) {
            0 => Command::ReviewDrains { nodes: state.draining().chain([node]).collect() },
            1 | 2 => Command::SetNodeDrain { node, spec: None, mark_eligible, meta },
            _ => Command::SetNodeDrain { node, spec: Some(spec), mark_eligible, meta },
        }
    }

    /// Something about a job that makes children, or a count.
    fn launch(&mut self, state: &State) -> Command {
        let (namespace, _) = self.job_name();
        match self.below(8) {
            0 | 1 => {
                let name = self.one_of(&["cron", "feed"]);
                let mut spec = JobSpec { namespace, ..job_spec(name, JobKind::Batch, 1) };
                spec.launch = self.launch_of(name);
                Command::RegisterJob { spec: Arc::new(spec), check_index: None }
            }
            2 => Command::ForcePeriodic { namespace, job: "cron".to_owned() },
            3 | 4 => Command::LaunchPeriodic {
                jobs: state.launches().map(|(_, job)| job).chain([JobId(7)]).collect(),
            },
            5 => {
                let (_, job) = self.job_name();
                Command::ScaleJob {
                    namespace,
                    job: self.one_of(&[job, "feed".to_owned()]),
                    group: self.one_of(&["web", "second"]).to_owned(),
                    count: self.rng.chance(800).then(|| self.small(6)),
                    message: "as the test has it".to_owned(),
                    error: self.rng.chance(200),
                    meta_json: String::new(),
                }
            }
            _ => {
                let keys = self.some(&["a", "b"], 400);
                Command::DispatchJob {
                    namespace,
                    job: self.one_of(&["feed", "feed", "cron"]).to_owned(),
                    payload: vec![7; self.small(3) as usize].into(),
                    meta: keys.into_iter().map(|key| (key.to_owned(), "1".to_owned())).collect(),
                    id_prefix: self.one_of(&["", "night"]).to_owned(),
                    token: self.one_of(&["", "t1", "t2"]).to_owned(),
                }
            }
        }
    }

    fn launch_of(&mut self, name: &str) -> Launch {
        if self.rng.chance(50) {
            return Launch::AtOnce;
        }
        if name == "feed" {
            let meta_optional = ["a", "b"].map(str::to_owned).into();
            return Launch::Parameterized(Parameterized { meta_optional, ..Default::default() });
        }
        let cron = self.one_of(&["* * * * *", "*/5 * * * * * *", "@daily", "nonsense"]);
        Launch::Periodic(Periodic {
            crons: vec![cron.to_owned()],
            overlap_prohibited: self.rng.chance(300),
            time_zone: "UTC".to_owned(),
            enabled: self.rng.chance(900),
            zone: vec![],
        })
    }

    fn restore(&mut self, state: &State) -> Command {
        if self.saved.is_empty() || self.rng.chance(200) {
            self.saved.push(state.encode());
        }
        let (bytes, nth) = match self.upload.take() {
            Some(upload) => upload,
            None => (self.pick(&self.saved.clone()).expect("there is one"), 0),
        };
        let of = if self.rng.chance(20) { Digest(1) } else { Digest::of(&bytes) };
        if nth == PARTS {
            return Command::Restore { of, parts: nth };
        }
        let length = bytes.len().div_ceil(PARTS as usize);
        let part = bytes.chunks(length).nth(nth as usize).expect("it has as many parts");
        let command = Command::RestorePart { of, nth, bytes: part.into() };
        self.upload = Some((bytes, nth + 1));
        command
    }

    fn collect_garbage(&mut self, state: &State) -> Command {
        let mut before = || {
            let back = self.below(120_000);
            WallTime { unix_ms: (state.clock().unix_ms + 1).saturating_sub(back) }
        };
        let (eval_before, job_before, node_before) = (before(), before(), before());
        Command::CollectGarbage { eval_before, job_before, node_before }
    }

    fn acknowledge(&mut self, state: &State) -> Command {
        let back = self.below(200);
        let seq = Index(state.index().0.saturating_sub(back));
        Command::AcknowledgeAssignment { node: self.node(), seq }
    }
}
