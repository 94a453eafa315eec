//! One alloc: its tasks together. It acts only on what is durable here.
//!
//! Status, as the servers are told it (`types/alloc.rs` has the table):
//!
//! | tasks | status |
//! |---|---|
//! | all dead, one failed | failed |
//! | all dead | complete |
//! | one running | running |
//! | otherwise | pending |
//!
//! Why its tasks are stopped: a tombstone, a task that failed for good, or the leader task's end. Then
//! the group's `shutdown_delay` passes, the leader ends first, and the others follow.
//!
//! Invariants
//! - a task starts, and is stopped, only when all that is known of its alloc is durable;
//! - once stopping, no task starts again;
//! - complete and failed are final.
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::health::{Policy, Watch};
use super::record::AllocRow;
use super::report::Urgency;
use super::services::Services;
use super::task::{Purpose, Stage, TaskRun, Terms};
use super::{Ground, Moment, Output, environment, words};
use crate::emit::Emit;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{
    AllocSpec, AllocUpdate, AssignedAlloc, Boot, ClientStatus, Task, TaskChange, TaskEventKind,
    TaskKey, TaskPhase, WriteSeq,
};

/// One alloc.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct AllocRun {
    pub(super) run: AssignedAlloc,
    pub(super) spec: Arc<AllocSpec>,
    pub(super) is_tombstoned: bool,
    tasks: Vec<TaskRun>,
    health: Watch,
    services: Services,
    stop: Option<Stop>,
    /// The last write that says something of it.
    written: WriteSeq,
    /// Something has changed since.
    is_dirty: bool,
    /// When it must next be looked at, as the client's index has it.
    pub(super) timer: Option<MonoTime>,
}

/// Why its tasks are stopped, and not before when.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Stop {
    why: Why,
    from: MonoTime,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Why {
    Tombstoned,
    /// The position of the one that failed.
    TaskFailed(usize),
    LeaderEnded,
}

impl AllocRun {
    /// Just assigned, by the record `written`.
    pub(super) fn new(
        at: Moment,
        run: AssignedAlloc,
        spec: Arc<AllocSpec>,
        written: WriteSeq,
    ) -> Self {
        let tasks = spec.group.tasks.iter().map(|_| TaskRun::new(at.wall)).collect();
        let (stop, timer, health) = (None, None, Watch::new(at.now));
        let (is_tombstoned, is_dirty, services) = (false, false, Services::default());
        Self { run, spec, is_tombstoned, tasks, health, services, stop, written, is_dirty, timer }
    }

    /// Read from the log.
    pub(super) fn restore(
        at: Moment,
        assigned: (AssignedAlloc, Arc<AllocSpec>),
        row: AllocRow,
    ) -> Self {
        let (run, spec) = assigned;
        let mut this = Self::new(at, run, spec, WriteSeq(0));
        let mut rows = row.tasks.into_iter();
        let tasks = this.spec.group.tasks.iter().map(|_| {
            // Assigned and nothing more: its first attempt may have begun all the same.
            let row = rows.next().unwrap_or_else(|| TaskRun::new(at.wall).row(at.now));
            TaskRun::restore(at.now, row)
        });
        this.tasks = tasks.collect();
        this.is_tombstoned = row.tombstoned;
        this.health = Watch::restore(at.now, row.health);
        // What was said to the siblings then is in their history.
        this.stop = this.why_stop().map(|why| Stop { why, from: at.now });
        this
    }

    /// What may live is looked for; after a reboot it is known to be lost.
    pub(super) fn on_booted(
        &mut self,
        at: Moment,
        boot: Boot,
        rng: &mut Rng,
        out: &mut impl Emit<Output>,
    ) {
        let boot = if planted!(NoReattach) { Boot::Rebooted } else { boot };
        for task in 0..self.tasks.len() {
            if self.tasks[task].stage != Stage::Reattaching {
                continue;
            }
            match boot {
                Boot::Rebooted => self.change(at, task, &TaskChange::Lost, rng),
                Boot::Same => {
                    let (uuid, spec) = (self.run.uuid, Arc::clone(&self.spec));
                    out.emit(Output::Reattach { key: self.key(task), uuid, spec });
                }
            }
        }
    }

    /// The position of the task called `name`.
    pub(super) fn task(&self, name: &str) -> Option<usize> {
        self.spec.group.tasks.iter().position(|task| task.name == name)
    }

    /// Whether `spec` asks for the same tasks, so that it can take the place of the present one.
    pub(super) fn has_tasks_of(&self, spec: &AllocSpec) -> bool {
        let names = |spec: &AllocSpec| -> Vec<_> {
            spec.group.tasks.iter().map(|task| task.name.clone()).collect()
        };
        names(&self.spec) == names(spec)
    }

    /// A driver spoke of one attempt. A word about any other attempt is old.
    pub(super) fn on_task(&mut self, at: Moment, key: TaskKey, change: &TaskChange, rng: &mut Rng) {
        let task = usize::from(key.task);
        if self.tasks.get(task).is_some_and(|known| known.attempt == key.attempt) {
            self.change(at, task, change, rng);
        }
    }

    /// A newer version of the job that does not ask for new processes.
    pub(super) fn on_updated(
        &mut self,
        at: Moment,
        (run, spec): (AssignedAlloc, Arc<AllocSpec>),
        written: WriteSeq,
    ) {
        assert!(run.id == self.run.id, "an alloc stays who it is");
        self.run = run;
        if self.spec.version != spec.version {
            self.health = Watch::new(at.now);
        }
        self.spec = spec;
        self.services.on_changed();
        self.written = written;
    }

    /// Consul's opinion of the services that were told in that round.
    pub(super) const fn on_checks(&mut self, round: u32, pass: bool) {
        self.services.on_checks(round, pass);
    }

    /// Its node is another than before.
    pub(super) fn on_node_changed(&mut self) {
        self.services.on_changed();
    }

    /// The servers want it gone, by the record `written`.
    pub(super) fn on_tombstoned(&mut self, written: WriteSeq) {
        self.is_tombstoned = true;
        self.written = written;
    }

    /// An operator wants one task, or all, restarted. Answers whether anything runs.
    pub(super) fn on_restart_asked(&mut self, at: Moment, only: Option<usize>) -> bool {
        let mut is_any = false;
        for (index, task) in self.tasks.iter_mut().enumerate() {
            let is_meant = only.is_none_or(|only| only == index);
            if !is_meant || self.stop.is_some() || task.is_dead() {
                continue;
            }
            let delay_ms = self.spec.group.tasks[index].shutdown_delay_ms;
            task.note(at.wall, TaskEventKind::RestartSignaled, words::RESTART_ASKED);
            task.begin_stop(at, Purpose::Restart, delay_ms);
            is_any = true;
        }
        self.is_dirty |= is_any;
        is_any
    }

    /// An operator wants a task to get a signal. Answers the attempt that does, if one runs.
    pub(super) fn on_signal_asked(&mut self, at: Moment, task: usize) -> Option<TaskKey> {
        let key = self.key(task);
        let task = &mut self.tasks[task];
        let is_running = task.state.phase == TaskPhase::Running && task.may_live();
        is_running.then(|| {
            task.note(at.wall, TaskEventKind::Signaling, words::SIGNALING);
            self.is_dirty = true;
            key
        })
    }

    /// The client already runs as many as it may.
    pub(super) fn refuse(&mut self, at: Moment) {
        for task in &mut self.tasks {
            task.refuse(at.wall, words::TOO_MANY);
        }
        self.is_dirty = true;
    }

    /// Does whatever can be done now.
    pub(super) fn advance(&mut self, at: Moment, ground: &Ground, out: &mut impl Emit<Output>) {
        let is_settled = self.is_settled(ground.durable);
        self.note_stop(at);
        for task in 0..self.tasks.len() {
            match self.stop {
                Some(stop) => self.try_stop(at, task, stop),
                None => self.try_go_on(at, task, ground, out),
            }
        }
        // Before a signal goes out: what is about to end is not to be found any more.
        self.advertise(ground, out);
        for task in 0..self.tasks.len() {
            if is_settled {
                self.try_signal(at, task, ground.config.kill_timeout_ms_max, out);
            }
            if self.tasks[task].is_kill_due(at.now) {
                out.emit(Output::KillTask { key: self.key(task) });
            }
        }
        let policy = Policy::of(&self.run, &self.spec);
        let standing = (&*self.tasks, self.services.are_well(&self.spec));
        self.is_dirty |=
            !self.is_tombstoned && self.health.look(at, (policy, &self.spec), standing);
    }

    /// When `advance` must be called though nothing happens. What is due and waits, waits for something else.
    pub(super) fn next_deadline(&self, now: MonoTime) -> Option<MonoTime> {
        let tasks = self.tasks.iter().filter_map(TaskRun::deadline);
        let stop = self.stop.map(|stop| stop.from);
        let policy = Policy::of(&self.run, &self.spec).filter(|_| self.stop.is_none());
        let health = self.health.deadline(policy, &self.spec);
        tasks.chain(stop).chain(health).filter(|&deadline| now < deadline).min()
    }

    /// Whether all that is known of it is durable.
    pub(super) fn is_settled(&self, durable: WriteSeq) -> bool {
        !self.is_dirty && self.written <= durable
    }

    /// Whether it is not known yet what has become of a task that ran before the agent was started again.
    pub(super) fn is_sought(&self) -> bool {
        self.tasks.iter().any(|task| task.stage == Stage::Reattaching)
    }

    pub(super) const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    pub(super) const fn written(&self) -> WriteSeq {
        self.written
    }

    /// All that is known of it is in the record `written`.
    pub(super) const fn on_written(&mut self, written: WriteSeq) {
        self.written = written;
        self.is_dirty = false;
    }

    pub(super) fn row(&self, now: MonoTime) -> AllocRow {
        let tasks = self.tasks.iter().map(|task| task.row(now)).collect();
        AllocRow { tombstoned: self.is_tombstoned, tasks, health: self.health.verdict() }
    }

    /// Whether it waits for something that the whole client waits for.
    pub(super) fn has_ready(&self) -> bool {
        self.tasks.iter().any(|task| task.stage == Stage::Ready) || self.has_unsaid()
    }

    /// Whether other services stand than was said.
    fn has_unsaid(&self) -> bool {
        self.services.has_news(&self.spec, &self.tasks, self.stop.is_some())
    }

    fn advertise(&mut self, ground: &Ground, out: &mut impl Emit<Output>) {
        if let Some(node) = &ground.node {
            let standing = (&*self.tasks, self.stop.is_some());
            self.services.look((&self.run, &self.spec), standing, node, out);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.tasks.iter().all(TaskRun::is_dead)
    }

    pub(super) fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// What the servers are told.
    pub(super) fn update(&self) -> AllocUpdate {
        let (status, description) = self.status();
        let named = self.spec.group.tasks.iter().zip(&self.tasks);
        let tasks = named.map(|(spec, task)| (spec.name.clone(), task.state.clone())).collect();
        let (id, health) = (self.run.id, self.health.verdict());
        AllocUpdate { id, status, description: description.into(), tasks, health }
    }

    /// How soon the servers must hear of what has just changed.
    pub(super) fn urgency(&self) -> Urgency {
        match self.status().0 {
            ClientStatus::Pending => Urgency::Batched,
            ClientStatus::Running
            | ClientStatus::Complete
            | ClientStatus::Failed
            | ClientStatus::Lost => Urgency::AtOnce,
        }
    }

    fn status(&self) -> (ClientStatus, &'static str) {
        let any = |phase| self.tasks.iter().any(|task| task.state.phase == phase);
        if self.has_ended() {
            if self.tasks.iter().any(|task| task.state.failed) {
                (ClientStatus::Failed, "Failed tasks")
            } else {
                (ClientStatus::Complete, "All tasks have completed")
            }
        } else if any(TaskPhase::Running) {
            (ClientStatus::Running, "Tasks are running")
        } else {
            (ClientStatus::Pending, "No tasks have started")
        }
    }

    pub(super) fn check_invariants(&self, ground: &Ground) {
        assert!(ground.node.is_none() || !self.has_unsaid(), "what stands was said");
        assert_eq!(self.tasks.len(), self.spec.group.tasks.len(), "every task has its run");
        for task in &self.tasks {
            assert_eq!(task.is_dead(), task.state.phase == TaskPhase::Dead, "dead is dead");
            assert!(!task.state.failed || task.is_dead(), "only the dead have failed");
            assert!(
                task.stage != Stage::Running || task.state.phase == TaskPhase::Running,
                "what runs is shown as running"
            );
        }
        if self.is_tombstoned && !self.is_dirty {
            assert!(self.stop.is_some() || self.has_ended(), "what has a tombstone is stopping");
        }
    }

    fn change(&mut self, at: Moment, task: usize, change: &TaskChange, rng: &mut Rng) {
        let terms = Terms {
            kind: self.spec.kind,
            policy: &self.spec.group.restart,
            is_alloc_stopping: self.stop.is_some(),
        };
        let run = &mut self.tasks[task];
        self.is_dirty |= match change {
            TaskChange::Started { .. } => run.on_started(at),
            TaskChange::StartFailed { why, remedy } => {
                run.on_start_failed(at, (why, *remedy), terms, rng)
            }
            TaskChange::Exited { exit_code, signal } => {
                run.on_exited(at, (*exit_code, *signal), terms, rng)
            }
            TaskChange::Lost => run.on_lost(at, terms, rng),
        };
    }

    fn why_stop(&self) -> Option<Why> {
        let specs = &self.spec.group.tasks;
        let is_leader = |task: usize| specs[task].leader;
        let failed = || self.tasks.iter().position(|task| task.state.failed).map(Why::TaskFailed);
        let leader = || {
            let ended = (0..self.tasks.len()).find(|&task| is_leader(task) && self.is_dead(task));
            ended.map(|_| Why::LeaderEnded)
        };
        self.is_tombstoned.then_some(Why::Tombstoned).or_else(failed).or_else(leader)
    }

    /// Notes that the alloc is stopping, from the moment that this is so.
    fn note_stop(&mut self, at: Moment) {
        if self.stop.is_some() || self.has_ended() {
            return;
        }
        let Some(why) = self.why_stop() else {
            return;
        };
        self.stop = Some(Stop { why, from: at.now.plus_ms(self.spec.group.shutdown_delay_ms) });
        let (kind, message) = match why {
            Why::Tombstoned => return,
            Why::LeaderEnded => (TaskEventKind::LeaderTaskDead, words::LEADER_DEAD.into()),
            Why::TaskFailed(task) => {
                let name = &self.spec.group.tasks[task].name;
                (TaskEventKind::SiblingFailed, words::sibling_failed(name))
            }
        };
        for task in self.tasks.iter_mut().filter(|task| !task.is_dead()) {
            task.note(at.wall, kind, &message);
            self.is_dirty = true;
        }
    }

    fn try_stop(&mut self, at: Moment, task: usize, stop: Stop) {
        let is_turn = !self.tasks[task].may_live()
            || (stop.from <= at.now && (self.spec_of(task).leader || !self.has_live_leader()));
        if !is_turn || self.tasks[task].is_dead() {
            return;
        }
        let delay_ms = self.spec_of(task).shutdown_delay_ms;
        self.tasks[task].begin_stop(at, Purpose::End, delay_ms);
        self.is_dirty |= self.tasks[task].is_dead();
    }

    fn try_go_on(&mut self, at: Moment, task: usize, ground: &Ground, out: &mut impl Emit<Output>) {
        let is_settled = self.is_settled(ground.durable);
        match self.tasks[task].stage {
            Stage::Backoff { until } if until <= at.now => {
                self.tasks[task].begin_next_attempt();
                self.is_dirty = true;
            }
            Stage::Ready if is_settled => self.try_start(at, task, ground, out),
            Stage::Ready
            | Stage::Backoff { .. }
            | Stage::Starting
            | Stage::Reattaching
            | Stage::Running
            | Stage::Delayed { .. }
            | Stage::Stopping { .. }
            | Stage::Dead => {}
        }
    }

    fn try_start(&mut self, at: Moment, task: usize, ground: &Ground, out: &mut impl Emit<Output>) {
        assert!(self.is_settled(ground.durable), "a task starts only when its alloc is durable");
        assert!(self.stop.is_none(), "once stopping, no task starts");
        let Some(node) = &ground.node else {
            return;
        };
        if self.tasks[task].is_lost && !ground.has_heard_servers {
            return;
        }
        let start = environment::task_start(&self.run, &self.spec, task, node);
        out.emit(Output::StartTask { key: self.key(task), start });
        let run = &mut self.tasks[task];
        run.is_lost = false;
        run.stage = Stage::Starting;
        run.note(at.wall, TaskEventKind::TaskSetup, words::SETUP);
        self.is_dirty = true;
    }

    /// Sends the stop signal when the task's own `shutdown_delay` is over.
    fn try_signal(
        &mut self,
        at: Moment,
        task: usize,
        timeout_ms_max: u64,
        out: &mut impl Emit<Output>,
    ) {
        let Stage::Delayed { until, purpose } = self.tasks[task].stage else {
            return;
        };
        if at.now < until {
            return;
        }
        let spec = self.spec_of(task);
        let kill_after_ms = spec.kill_timeout_ms.min(timeout_ms_max);
        let signal = if spec.kill_signal.is_empty() { "SIGINT" } else { &spec.kill_signal };
        out.emit(Output::StopTask { key: self.key(task), signal: signal.into() });
        self.tasks[task].begin_kill(at, purpose, kill_after_ms);
        self.is_dirty = true;
    }

    fn has_live_leader(&self) -> bool {
        (0..self.tasks.len()).any(|task| self.spec_of(task).leader && !self.is_dead(task))
    }

    fn is_dead(&self, task: usize) -> bool {
        self.tasks[task].is_dead()
    }

    fn spec_of(&self, task: usize) -> &Task {
        &self.spec.group.tasks[task]
    }

    pub(super) fn key(&self, task: usize) -> TaskKey {
        let (alloc, attempt) = (self.run.id, self.tasks[task].attempt);
        TaskKey { alloc, task: u16::try_from(task).expect("invariant: few tasks"), attempt }
    }
}
