//! A state with a leader's scheduling around it, and nothing else: no log, no network.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_core::fsm::{Command, Entry, Outcome, apply};
use drover_core::planner::{self, InFlight, View};
use drover_core::scheduler::{Memo, schedule_with};
use drover_core::state::{Change, State};
use drover_core::time::WallTime;
use drover_core::types::*;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread.
pub(crate) fn cpu_now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("nanoseconds"))
}

/// What one plan cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) scheduling: Duration,
    /// The planner's check and the leader's note of what is in flight.
    pub(crate) checking: Duration,
    pub(crate) applying: Duration,
}

impl Spent {
    pub(crate) fn whole(&self) -> Duration {
        self.scheduling + self.checking + self.applying
    }

    /// Decided, checked and applied, for each of `count`.
    pub(crate) fn parts(&self, count: usize) -> String {
        let each = |spent: Duration| spent.as_nanos() / count.max(1) as u128;
        let [scheduling, checking, applying] =
            [self.scheduling, self.checking, self.applying].map(each);
        format!("{scheduling} + {checking} + {applying} ns")
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.scheduling += more.scheduling;
        self.checking += more.checking;
        self.applying += more.applying;
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) state: State,
    /// The state that the last plan was made from, when copies are kept.
    pub(crate) before: State,
    pub(crate) keeps_before: bool,
    in_flight: InFlight,
    memo: Memo,
    changes: Vec<Change>,
}

impl World {
    pub(crate) fn new(nodes: impl Iterator<Item = NodeSpec>) -> Self {
        let mut world = Self {
            state: State::new(),
            before: State::new(),
            keeps_before: true,
            in_flight: InFlight::default(),
            memo: Memo::default(),
            changes: Vec::new(),
        };
        world.run(Command::Bootstrap { cluster: ClusterId(7) });
        let mut ids = Vec::new();
        for spec in nodes {
            ids.push(spec.id);
            world.run(Command::RegisterNode { spec: spec.into() });
        }
        for nodes in ids.chunks(1_000) {
            let (nodes, reason) = (nodes.to_vec(), "heard from".to_owned());
            world.run(Command::SetNodeStatus { nodes, status: NodeStatus::Ready, reason });
        }
        world
    }

    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        let stamp = WallTime { unix_ms: 1_700_000_000_000 };
        let entry = Entry { stamp, session: None, command };
        self.changes.clear();
        let index = self.state.index().next();
        apply(&mut self.state, index, &entry, &mut self.changes)
    }

    /// The evaluation that the job's registration makes.
    pub(crate) fn register(&mut self, spec: JobSpec) -> EvalId {
        let spec = Arc::new(spec);
        match self.run(Command::RegisterJob { spec, check_index: None }) {
            Outcome::Applied { eval: Some(eval), .. } => eval,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// Schedule, check and apply one plan.
    pub(crate) fn place(&mut self, eval: EvalId, budget: usize) -> (Plan, Spent) {
        if self.keeps_before {
            self.before = self.state.clone();
        }
        let row = self.state.eval(eval).expect("a known evaluation");
        let view = View { state: &self.state, in_flight: &self.in_flight };
        let started = cpu_now();
        let plan = schedule_with(&mut self.memo, &view, row, 1, budget);
        let scheduled = cpu_now();
        let plan = planner::check(&view, plan);
        self.in_flight.on_proposed(&self.state, &plan);
        let checked = cpu_now();
        let kept = plan.clone();
        let apply_from = cpu_now();
        let outcome = self.run(Command::ApplyPlan(plan));
        self.in_flight.on_applied(eval);
        let applied = cpu_now();
        match outcome {
            Outcome::Applied { refused_placements: 0, .. } => {}
            other => panic!("a plan was not applied whole: {other:?}"),
        }
        let spent = Spent {
            scheduling: scheduled - started,
            checking: checked - scheduled,
            applying: applied - apply_from,
        };
        (kept, spent)
    }

    /// The client says that the alloc is done.
    pub(crate) fn end(&mut self, node: NodeId, id: AllocId) {
        let status = ClientStatus::Complete;
        let (description, tasks) = (String::new(), BTreeMap::new());
        let update = AllocUpdate { id, status, description, tasks, health: None };
        self.run(Command::UpdateAllocs { node, updates: vec![update] });
    }

    pub(crate) fn end_all(&mut self) {
        let running = self.state.allocs().filter(|alloc| !alloc.client_status.is_terminal());
        let running: Vec<_> = running.map(|alloc| (alloc.node, alloc.id)).collect();
        running.into_iter().for_each(|(node, alloc)| self.end(node, alloc));
    }
}
