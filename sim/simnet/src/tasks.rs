//! A driver whose tasks are simulated: they belong to the machine and outlive the agent, as with shims.
//!
//! Invariants
//! - what a task does is a function of the seed and its key, and of whether all faults have ended.
use std::path::PathBuf;
use std::sync::Arc;

use drover_core::types::{AllocId, Capacity, JobKind, Remedy, TaskChange, TaskKey, Uuid};
use drover_shell::drivers::{
    self, Driver, DriverEvent, ExitRecord, TaskStart, TaskStats, dirs::TaskDirs, dirs::alloc_dir,
};
use drover_shell::run::Inbox;
use drover_sim::checkers::named;
use drover_sim::drivers::{Behaviour, Turn};
use drover_sim::network::HostId;
use drover_sim::plan::Act;

use crate::site::Site;
use crate::stage::{Machine, Stage, ToAgent};

/// The driver of one life of a machine.
pub struct LifeDriver {
    pub stage: Arc<Stage>,
    pub host: HostId,
    pub site: Site,
}

/// The core's name of a task: jobs of a plan number theirs.
fn key_of(name: &drivers::TaskKey) -> TaskKey {
    let number = name.task.trim_start_matches(|c: char| !c.is_ascii_digit());
    TaskKey { alloc: name.alloc, task: number.parse().unwrap_or(0), attempt: name.attempt }
}

fn name_of(key: TaskKey) -> drivers::TaskKey {
    drivers::TaskKey { alloc: key.alloc, task: format!("work{}", key.task), attempt: key.attempt }
}

fn event_of(key: TaskKey, change: TaskChange) -> DriverEvent {
    let key = name_of(key);
    match change {
        TaskChange::Started { pid } => DriverEvent::Started { key, pid },
        TaskChange::StartFailed { why, remedy } => {
            DriverEvent::StartFailed { key, why, recoverable: remedy == Remedy::Retry }
        }
        TaskChange::Exited { exit_code, signal } => {
            let exit = ExitRecord { code: exit_code, signal, ..ExitRecord::default() };
            DriverEvent::Exited { key, exit }
        }
        TaskChange::Lost => DriverEvent::Lost { key, why: "as the plan says".into() },
    }
}

fn tell(machine: &Machine, key: TaskKey, change: TaskChange) {
    if let Some(inbox) = &machine.inbox {
        let item = Box::new(Inbox::Driver(event_of(key, change)));
        let _the_agent_may_have_ended = inbox.send(ToAgent::Tell(item));
    }
}

impl LifeDriver {
    fn behaviour(&self, key: TaskKey, job: Option<&str>) -> Behaviour {
        let (plan, has_healed) = (&self.stage.plan, self.stage.has_healed());
        let kind = plan.lines.iter().find_map(|line| match &line.act {
            Act::Register(ask) if Some(ask.job.as_str()) == job => Some(ask.kind),
            _ => None,
        });
        // Who has a parent ends of itself.
        let is_child = job.is_some_and(|job| job.contains('/'));
        let kind = kind.unwrap_or(if is_child { JobKind::Batch } else { JobKind::Service });
        Behaviour::draw(plan, key, kind, has_healed)
    }

    fn own_files(&self, machine: &mut Machine, dirs: &TaskDirs, alloc: AllocId) {
        if machine.dirs.iter().all(|(_, known)| *known != alloc) {
            machine.dirs.push((dirs.alloc.clone(), alloc));
        }
    }
}

impl Driver for LifeDriver {
    fn start(&self, name: drivers::TaskKey, start: TaskStart) {
        let key = key_of(&name);
        let behaviour = self.behaviour(key, start.env.get("NOMAD_JOB_ID").map(String::as_str));
        let mut machine = self.stage.machine(self.host);
        self.own_files(&mut machine, &start.dirs, key.alloc);
        match machine.host.drivers.start(key, Capacity::default(), behaviour) {
            Ok(turn) => self.stage.plan_turn((self.site.now)(), self.host, key, Some(turn)),
            Err(message) => self.stage.fail("alloc_runs_once", message),
        }
    }

    fn reattach(&self, name: drivers::TaskKey, dirs: &TaskDirs) {
        let key = key_of(&name);
        let mut machine = self.stage.machine(self.host);
        self.own_files(&mut machine, dirs, key.alloc);
        let change = machine.host.drivers.reattach(key);
        let mut book = self.stage.book();
        book.counters.tasks_reattached += 1;
        book.checkers.stopped_for_a_reason.on_task_changed(key, &change);
        drop(book);
        tell(&machine, key, change);
    }

    fn signal(&self, name: &drivers::TaskKey, _: &str) -> Result<(), String> {
        let key = key_of(name);
        self.stage.book().on_task_stopped(key);
        let turn = self.stage.machine(self.host).host.drivers.stop(key);
        self.stage.plan_turn((self.site.now)(), self.host, key, turn);
        Ok(())
    }

    fn kill(&self, name: &drivers::TaskKey) {
        let key = key_of(name);
        self.stage.book().on_task_stopped(key);
        let turn = self.stage.machine(self.host).host.drivers.kill(key);
        self.stage.plan_turn((self.site.now)(), self.host, key, turn);
    }

    fn forget(&self, _: &drivers::TaskKey) {}

    fn remove_files(&self, root: PathBuf, alloc: Uuid) {
        let dir = alloc_dir(&root, alloc);
        let mut machine = self.stage.machine(self.host);
        let Some(at) = machine.dirs.iter().position(|(known, _)| *known == dir) else { return };
        let (_, alloc) = machine.dirs.swap_remove(at);
        if let Err(message) = machine.host.drivers.destroy(alloc) {
            self.stage.fail("alloc_runs_once", message);
        }
    }

    fn stats(&self, _: &drivers::TaskKey) -> Option<TaskStats> {
        None
    }
}

/// A task's turn has come, whether or not an agent is there to hear of it.
pub fn turn(stage: &Stage, now: drover_sim::clock::Moment, host: HostId, key: TaskKey, turn: Turn) {
    let mut machine = stage.machine(host);
    let came = machine.host.drivers.come(key, turn);
    let mut book = stage.book();
    if let Some(ladder) = &mut book.ladder
        && (came.has_begun || came.has_ended)
    {
        ladder.on_task(now, host, key, came.has_begun);
    }
    if came.has_begun {
        book.counters.tasks_started += 1;
        let once = book.checkers.alloc_runs_once.on_begun(host, key);
        if let Err(violation) = named("alloc_runs_once", once) {
            book.fail(violation);
        }
    }
    if came.has_ended {
        book.checkers.alloc_runs_once.on_ended(key);
    }
    if let Some(change) = &came.told {
        book.checkers.stopped_for_a_reason.on_task_changed(key, change);
    }
    drop(book);
    stage.plan_turn(now, host, key, came.next);
    if let Some(change) = came.told {
        tell(&machine, key, change);
    }
}
