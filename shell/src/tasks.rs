//! Between the core's words for tasks and the drivers': directories, the last variables, names.
//!
//! Invariants
//! - whatever the core asks for, the driver or this module answers with a `TaskChange`;
//! - a driver that the configuration does not enable starts nothing.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_core::client::{Lookup, interpolate, interpolate_json};
use drover_core::types::{AllocId, AllocSpec, Remedy, Task, TaskChange, TaskKey, TaskStart, Uuid};
use tokio::sync::mpsc;

use crate::config::RawExec;
use crate::drivers::dirs::TaskDirs;
use crate::drivers::{
    self, Driver, DriverEvent, Drivers, DriversConfig, Payload, TaskStats, raw_exec,
};
use crate::files;

/// What this node may do.
#[derive(Clone, Debug)]
pub struct TasksConfig {
    /// `client.alloc_dir`.
    pub alloc_dir: PathBuf,
    pub raw_exec: RawExec,
}

/// The tasks of this node.
pub struct Tasks {
    config: TasksConfig,
    driver: Box<dyn Driver>,
    /// The core's key of each attempt that the drivers know by name.
    keys: BTreeMap<drivers::TaskKey, TaskKey>,
}

/// A change that needs no driver: a start that was refused before it reached one.
pub type Refused = (TaskKey, TaskChange);

impl Tasks {
    /// Tasks whose events arrive at `events`. Called on a tokio runtime.
    ///
    /// # Errors
    /// When `alloc_dir` cannot be made, or the machine's boot id cannot be read.
    pub fn new(
        config: TasksConfig,
        drivers: DriversConfig,
        events: mpsc::Sender<DriverEvent>,
    ) -> io::Result<Self> {
        files::make_passable_dir(&config.alloc_dir)?;
        Ok(Self::run_by(Box::new(Drivers::new(drivers, events)?), config))
    }

    /// Tasks that `driver` runs.
    #[must_use]
    pub const fn run_by(driver: Box<dyn Driver>, config: TasksConfig) -> Self {
        Self { config, driver, keys: BTreeMap::new() }
    }

    /// Start an attempt. `Some`: it was refused.
    pub fn start(&mut self, key: TaskKey, start: &TaskStart) -> Option<Refused> {
        let refuse =
            |why: String| Some((key, TaskChange::StartFailed { why, remedy: Remedy::None }));
        let Some(task) = start.spec.group.tasks.get(usize::from(key.task)) else {
            return refuse("the task is not in its group".into());
        };
        let Some(dirs) = TaskDirs::new(&self.config.alloc_dir, start.uuid, &task.name) else {
            return refuse(format!("{:?} cannot be the name of a task's directory", task.name));
        };
        match self.driver_start(task, start, dirs) {
            Ok(start) => {
                let name = self.remember(key, task);
                self.driver.start(name, start);
                None
            }
            Err(why) => refuse(why),
        }
    }

    /// Find an attempt that an earlier start of the agent left running. `Some`: it cannot be there.
    pub fn reattach(&mut self, key: TaskKey, uuid: Uuid, spec: &AllocSpec) -> Option<Refused> {
        let task = spec.group.tasks.get(usize::from(key.task));
        let dirs = task.and_then(|task| TaskDirs::new(&self.config.alloc_dir, uuid, &task.name));
        let Some((task, dirs)) = task.zip(dirs) else { return Some((key, TaskChange::Lost)) };
        let name = self.remember(key, task);
        self.driver.reattach(name, &dirs);
        None
    }

    /// Send a signal. A task that has ended meanwhile needs none.
    pub fn signal(&self, key: TaskKey, signal: &str) {
        if let Some(name) = self.name_of(key)
            && let Err(why) = self.driver.signal(name, signal)
        {
            tracing::debug!(alloc = key.alloc.0, attempt = key.attempt, "no signal: {why}");
        }
    }

    /// Kill whatever is left of an attempt.
    pub fn kill(&self, key: TaskKey) {
        if let Some(name) = self.name_of(key) {
            self.driver.kill(name);
        }
    }

    /// Kill everything that runs here.
    pub fn kill_all(&self) {
        for name in self.keys.keys() {
            self.driver.kill(name);
        }
    }

    /// Remove an alloc's files; its attempts have ended.
    pub fn destroy(&mut self, alloc: AllocId, uuid: Uuid) {
        for name in self.names_of(alloc) {
            self.keys.remove(&name);
            self.driver.forget(&name);
        }
        self.driver.remove_files(self.config.alloc_dir.clone(), uuid);
    }

    /// What a driver said, in the core's words.
    pub fn on_event(&mut self, event: DriverEvent) -> Option<(TaskKey, TaskChange)> {
        let (name, change) = match event {
            DriverEvent::Started { key, pid } => (key, TaskChange::Started { pid }),
            DriverEvent::StartFailed { key, why, recoverable } => {
                let remedy = if recoverable { Remedy::Retry } else { Remedy::None };
                (key, TaskChange::StartFailed { why, remedy })
            }
            DriverEvent::Exited { key, exit } => {
                (key, TaskChange::Exited { exit_code: exit.code, signal: exit.signal })
            }
            DriverEvent::Lost { key, why } => {
                tracing::warn!("task {} was lost: {why}", key.task);
                (key, TaskChange::Lost)
            }
            // The attempt was written down and never begun: to begin the next one is the same.
            DriverEvent::Absent { key } => {
                let why = "the agent stopped before the task was started".to_owned();
                (key, TaskChange::StartFailed { why, remedy: Remedy::Retry })
            }
        };
        let key = *self.keys.get(&name)?;
        match change {
            TaskChange::Started { .. } => (),
            TaskChange::StartFailed { .. } | TaskChange::Exited { .. } | TaskChange::Lost => {
                self.keys.remove(&name);
                self.driver.forget(&name);
            }
        }
        Some((key, change))
    }

    /// What each running task of an alloc uses now.
    #[must_use]
    pub fn stats(&self, alloc: AllocId) -> BTreeMap<String, TaskStats> {
        let names = self.names_of(alloc).into_iter();
        names.filter_map(|name| Some((name.task.clone(), self.driver.stats(&name)?))).collect()
    }

    fn driver_start(
        &self,
        task: &Task,
        start: &TaskStart,
        dirs: TaskDirs,
    ) -> Result<drivers::TaskStart, String> {
        match (task.driver.as_str(), self.config.raw_exec) {
            ("raw_exec", RawExec::On) => (),
            ("raw_exec", RawExec::Off) => {
                return Err("raw_exec is disabled on this node: set client.options or \
                            plugin \"raw_exec\" { config { enabled = true } } in its configuration"
                    .into());
            }
            (other, _) => return Err(format!("this node has no driver {other:?}")),
        }
        let mut env = start.env.clone();
        for (name, path) in [
            ("NOMAD_ALLOC_DIR", &dirs.shared),
            ("NOMAD_TASK_DIR", &dirs.local),
            ("NOMAD_SECRETS_DIR", &dirs.secrets),
        ] {
            env.insert(name.into(), path.display().to_string());
        }
        let known = env.clone();
        let lookup = Lookup { node: None, region: &start.spec.region, env: &known };
        for value in env.values_mut() {
            *value = interpolate(value, &lookup);
        }
        let config = raw_exec::decode(&interpolate_json(&start.config_json, &lookup))?;
        Ok(drivers::TaskStart {
            dirs,
            command: config.command,
            args: config.args,
            env,
            user: task.user.clone(),
            logs: task.logs,
            payload: payload_of(task, &start.spec),
            memory: start.memory,
            cores: start.cores.clone(),
        })
    }

    fn remember(&mut self, key: TaskKey, task: &Task) -> drivers::TaskKey {
        let name =
            drivers::TaskKey { alloc: key.alloc, task: task.name.clone(), attempt: key.attempt };
        self.keys.insert(name.clone(), key);
        name
    }

    fn name_of(&self, key: TaskKey) -> Option<&drivers::TaskKey> {
        let first = drivers::TaskKey { alloc: key.alloc, task: String::new(), attempt: 0 };
        let of_alloc = self.keys.range(first..).take_while(|(name, _)| name.alloc == key.alloc);
        of_alloc.into_iter().find(|&(_, &known)| known == key).map(|(name, _)| name)
    }

    fn names_of(&self, alloc: AllocId) -> Vec<drivers::TaskKey> {
        let first = drivers::TaskKey { alloc, task: String::new(), attempt: 0 };
        let names = self.keys.range(first..).map(|(name, _)| name);
        names.take_while(|name| name.alloc == alloc).cloned().collect()
    }
}

/// Where an alloc's files are.
#[must_use]
pub fn alloc_dir(config: &TasksConfig, uuid: Uuid) -> PathBuf {
    drivers::dirs::alloc_dir(Path::new(&config.alloc_dir), uuid)
}

/// What the task's job was dispatched with, if the task wants it and there is something.
fn payload_of(task: &Task, spec: &AllocSpec) -> Option<Payload> {
    let is_wanted = !task.payload_file.is_empty() && !spec.payload.is_empty();
    let (file, bytes) = (PathBuf::from(&task.payload_file), Arc::clone(&spec.payload));
    is_wanted.then_some(Payload { file, bytes })
}
