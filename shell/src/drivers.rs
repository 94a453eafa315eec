//! Tasks on this machine: starting, watching, signalling and killing them.
//!
//! The agent's loop calls `Drivers` and hears back only through `DriverEvent`s. Every task attempt is
//! held by a shim (`crate::shim`), a process of its own that outlives the agent; so a start and a
//! re-attachment end in the same place: a pidfd of the shim, whose end means that the exit record is
//! there to be read, or that the shim died and the task is lost.
//!
//! Invariants
//! - the agent never forks: it asks a small process, itself posix_spawned, to do so (`zygote`);
//! - after `Started`, exactly one of `Exited` and `Lost` follows, unless the key is forgotten first;
//! - an attempt's process is started at most once, whoever dies when: its lock and its record say so;
//! - at most `STARTS_MAX` shims are being started at once.
//!
//! It does not restart tasks, escalate kills or know of jobs: that is decided in the core's client.
pub mod dirs;
mod launch;
mod payload;
pub mod raw_exec;
pub mod signal;
mod stats;
pub mod user;
mod watch;
mod zygote;

pub use payload::Payload;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drover_core::types::{AllocId, CoreSet, LogLimits, MemoryLimit, Uuid};
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use self::dirs::TaskDirs;
use self::launch::{Machine, spawn};
use self::watch::{Found, find, follow, hear, send};
use self::zygote::Zygote;
use crate::open_files;
pub use crate::shim::record::ExitRecord;
use crate::shim::record::{Record, RunRecord};
use crate::shim::{RAN_ALREADY, RUNS_ALREADY, Refusal, cgroup};

/// One run of a task: a restart is the next attempt.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TaskKey {
    pub alloc: AllocId,
    pub task: String,
    pub attempt: u32,
}

/// Everything a driver must know to start a task; nothing in here is interpolated any more.
#[derive(Clone, Debug)]
pub struct TaskStart {
    pub dirs: TaskDirs,
    /// Absolute, or relative to the task's directory, or a name looked up as `raw_exec::find_command` says.
    pub command: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// A name or a number of an account; empty: the agent's own.
    pub user: String,
    pub logs: LogLimits,
    /// Written before the command runs.
    pub payload: Option<Payload>,
    /// Held to by its cgroup, where there is one with a controller of memory.
    pub memory: Option<MemoryLimit>,
    /// The only ones it runs on, where its cgroup has a controller of cores; none: it may run on all.
    pub cores: CoreSet,
}

/// What the agent's loop hears of its tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DriverEvent {
    /// The task's program runs: newly, or found running by `Drivers::reattach`.
    Started { key: TaskKey, pid: u32 },
    /// It never ran. `recoverable`: the same start may succeed later.
    StartFailed { key: TaskKey, why: String, recoverable: bool },
    /// It ended, and nothing of it is left running.
    Exited { key: TaskKey, exit: ExitRecord },
    /// It did run, but nobody can say how it ended. What was left of it has been killed.
    Lost { key: TaskKey, why: String },
    /// Answer to `reattach`: the attempt never ran; it may be started.
    Absent { key: TaskKey },
}

/// How tasks are started on this machine.
#[derive(Clone, Debug)]
pub struct DriversConfig {
    /// The program that is run as the shim: this one, unless a test says otherwise.
    pub shim_executable: PathBuf,
    /// A cgroup of its own for every attempt, where the machine allows it.
    pub cgroups: Cgroups,
}

/// Whether tasks get a cgroup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cgroups {
    /// Where a cgroup v2 hierarchy is mounted and writable.
    WherePossible,
    Never,
}

impl Default for DriversConfig {
    fn default() -> Self {
        Self {
            shim_executable: Path::new("/proc/self/exe").to_path_buf(),
            cgroups: Cgroups::WherePossible,
        }
    }
}

/// What a task uses at the moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TaskStats {
    /// Consumed since the attempt began, by all its processes.
    pub cpu_ns: u64,
    pub memory_rss_bytes: u64,
    pub process_count: u32,
}

/// Shims that are being started at once: enough to hide one's waiting behind another's work.
pub const STARTS_MAX: usize = 64;
/// Threads that spawn at once: it is work for the processor, not waiting.
const SPAWNS_MAX: usize = 4;

/// Whoever runs tasks. Nothing here waits: what comes of it is told as `DriverEvent`s.
pub trait Driver: Send {
    /// Starts a task. A key that is known already is left alone: its events are under way.
    fn start(&self, key: TaskKey, start: TaskStart);

    /// Finds a task that an earlier agent has started. The answer is `Started`, `Exited`, `Lost` or `Absent`.
    fn reattach(&self, key: TaskKey, dirs: &TaskDirs);

    /// Sends a signal to the task's first process.
    ///
    /// # Errors
    /// For a name that is none, and for a task that is not there.
    fn signal(&self, key: &TaskKey, name: &str) -> Result<(), String>;

    /// Kills the task and everything that descends from it; `Exited` follows. Nothing there is fine.
    fn kill(&self, key: &TaskKey);

    /// Forgets the task: no more events of it. What runs is not touched.
    fn forget(&self, key: &TaskKey);

    /// Removes the files of an alloc beneath `root`; its attempts have ended.
    fn remove_files(&self, root: PathBuf, alloc: Uuid);

    /// What the task uses now; `None` when it is not running.
    fn stats(&self, key: &TaskKey) -> Option<TaskStats>;
}

/// All tasks of this machine that the agent knows of.
pub struct Drivers {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    machine: Machine,
    events: mpsc::Sender<DriverEvent>,
    starts: Semaphore,
    spawns: Semaphore,
    tasks: Mutex<BTreeMap<TaskKey, Entry>>,
}

struct Entry {
    /// Dropping the agent's interest ends the watching, not the task.
    watcher: AbortHandle,
    phase: Phase,
}

enum Phase {
    /// What was asked for before there was anybody to tell.
    Starting(Vec<Ask>),
    Running(Arc<RunRecord>),
    Ended,
}

#[derive(Clone, Copy)]
enum Ask {
    Signal(Signal),
    Kill,
}

impl Drivers {
    /// Called on a tokio runtime, which then carries all the waiting.
    pub fn new(config: DriversConfig, events: mpsc::Sender<DriverEvent>) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let cgroups = match config.cgroups {
            Cgroups::WherePossible => cgroup::tasks_root(),
            Cgroups::Never => None,
        };
        let machine = Machine {
            zygote: Zygote::new(config.shim_executable),
            boot,
            cgroups,
            open_files_soft: open_files::raise(),
        };
        let shared = Shared {
            machine,
            events,
            starts: Semaphore::new(STARTS_MAX),
            spawns: Semaphore::new(SPAWNS_MAX),
            tasks: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), runtime: Handle::current() })
    }

    fn follow_up<F>(&self, key: TaskKey, work: impl FnOnce(Arc<Shared>, TaskKey) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.shared.tasks();
        if tasks.contains_key(&key) {
            return;
        }
        let future = work(Arc::clone(&self.shared), key.clone());
        // Held locked: the entry is there before the work looks for it.
        let watcher = self.runtime.spawn(future).abort_handle();
        tasks.insert(key, Entry { watcher, phase: Phase::Starting(Vec::new()) });
    }

    fn ask(&self, key: &TaskKey, ask: Ask) -> bool {
        let mut tasks = self.shared.tasks();
        let Some(entry) = tasks.get_mut(key) else { return false };
        match &mut entry.phase {
            Phase::Starting(asked) => {
                asked.push(ask);
                true
            }
            Phase::Running(run) => tell(run, ask),
            Phase::Ended => false,
        }
    }
}

impl Driver for Drivers {
    fn start(&self, key: TaskKey, start: TaskStart) {
        self.follow_up(key, |shared, key| run(shared, key, start));
    }

    fn reattach(&self, key: TaskKey, dirs: &TaskDirs) {
        let record = dirs.record(key.attempt);
        self.follow_up(key, |shared, key| recover(shared, key, record));
    }

    fn signal(&self, key: &TaskKey, name: &str) -> Result<(), String> {
        let signal = signal::parse(name)?;
        self.ask(key, Ask::Signal(signal))
            .then_some(())
            .ok_or_else(|| "the task is not running".into())
    }

    fn kill(&self, key: &TaskKey) {
        self.ask(key, Ask::Kill);
    }

    fn forget(&self, key: &TaskKey) {
        if let Some(entry) = self.shared.tasks().remove(key) {
            entry.watcher.abort();
        }
    }

    fn remove_files(&self, root: PathBuf, alloc: Uuid) {
        let _in_the_background = self.runtime.spawn_blocking(move || {
            if let Err(fault) = dirs::destroy_alloc(&root, alloc) {
                tracing::warn!("the files of alloc {alloc} in {} stay: {fault}", root.display());
            }
        });
    }

    fn stats(&self, key: &TaskKey) -> Option<TaskStats> {
        let run = match &self.shared.tasks().get(key)?.phase {
            Phase::Running(run) => Arc::clone(run),
            Phase::Starting(_) | Phase::Ended => return None,
        };
        Some(stats::read(&run))
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        for entry in self.shared.tasks().values() {
            entry.watcher.abort();
        }
    }
}

impl Shared {
    /// The table is whole between any two statements, also of one that panicked.
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskKey, Entry>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, key: &TaskKey, phase: Phase) -> Option<Phase> {
        let mut tasks = self.tasks();
        let entry = tasks.get_mut(key)?;
        Some(std::mem::replace(&mut entry.phase, phase))
    }

    async fn say(&self, event: DriverEvent) {
        // A loop that has ended listens to nothing.
        self.events.send(event).await.ok();
    }
}

fn tell(run: &RunRecord, ask: Ask) -> bool {
    match ask {
        Ask::Signal(signal) => send(run.task, signal),
        Ask::Kill => send(run.shim, Signal::USR1),
    }
}

/// The life of an attempt that begins here.
async fn run(shared: Arc<Shared>, key: TaskKey, start: TaskStart) {
    let record = start.dirs.record(key.attempt);
    match launch(&shared, &key, start).await {
        Ok(()) => match Record::read(&record) {
            Ok(Some(Record { run: Some(run), .. })) => {
                let shim = run.shim.open();
                watch(&shared, key, &record, run, shim).await;
            }
            Ok(_) | Err(_) => recover(shared, key, record).await,
        },
        // An earlier agent began it and died before it could say so.
        Err(refusal) if refusal.why == RUNS_ALREADY || refusal.why == RAN_ALREADY => {
            recover(shared, key, record).await;
        }
        Err(Refusal { why, recoverable }) => {
            shared.enter(&key, Phase::Ended);
            shared.say(DriverEvent::StartFailed { key, why, recoverable }).await;
        }
    }
}

/// Returns when the task's program runs.
async fn launch(shared: &Arc<Shared>, key: &TaskKey, start: TaskStart) -> Result<(), Refusal> {
    const OPEN: &str = "invariant: the semaphores are never closed";
    let _start = shared.starts.acquire().await.expect(OPEN);
    let spawned = {
        let _spawn = shared.spawns.acquire().await.expect(OPEN);
        let (shared, key) = (Arc::clone(shared), key.clone());
        tokio::task::spawn_blocking(move || spawn(&shared.machine, &key, &start)).await
    };
    let says = spawned.map_err(|error| Refusal { why: error.to_string(), recoverable: true })??;
    hear(says).await
}

/// The life of an attempt that an earlier agent began.
async fn recover(shared: Arc<Shared>, key: TaskKey, record: PathBuf) {
    match find(&record, &shared.machine.boot).await {
        Found::Running(run, shim) => watch(&shared, key, &record, run, Some(shim)).await,
        ended @ (Found::Absent | Found::Exited(_) | Found::Lost(_)) => {
            conclude(&shared, key, ended).await;
        }
    }
}

async fn watch(
    shared: &Shared,
    key: TaskKey,
    record: &Path,
    run: RunRecord,
    shim: Option<OwnedFd>,
) {
    let run = Arc::new(run);
    let before = shared.enter(&key, Phase::Running(Arc::clone(&run)));
    if let Some(Phase::Starting(asked)) = before {
        for ask in asked {
            tell(&run, ask);
        }
    }
    let pid = run.task.pid.cast_unsigned();
    shared.say(DriverEvent::Started { key: key.clone(), pid }).await;
    let ended = follow(record, &run, shim).await;
    conclude(shared, key, ended).await;
}

async fn conclude(shared: &Shared, key: TaskKey, ended: Found) {
    shared.enter(&key, Phase::Ended);
    let event = match ended {
        Found::Absent => DriverEvent::Absent { key },
        Found::Exited(exit) => DriverEvent::Exited { key, exit },
        Found::Lost(why) => DriverEvent::Lost { key, why },
        Found::Running(..) => unreachable!("what runs has not ended"),
    };
    shared.say(event).await;
}
