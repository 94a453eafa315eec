//! The process that holds one attempt of a task, so that the task survives its agent.
//!
//! The same executable as the agent, run once as `drover __shim` and forked for each attempt
//! (`zygote`), with a `spec::Spec` on standard input. It owns exactly what must not die with the
//! agent: being the task's parent (its exit status), the pipes of its output, and knowing all its
//! descendants (it is their subreaper). It says `ok` or why not on standard output, once, and is then known only by its
//! record. It listens to two things: the death of a child, and SIGUSR1, which means: kill everything.
//! An agent finds it again through `RunRecord`, and learns of its end from a pidfd.
//!
//! Order of its life: lock, clone, exec seen, run record, `ok`; task ended, leftovers killed, pipes
//! drained, exit record, gone.
//!
//! Invariants
//! - one attempt is started at most once: it is refused while its record is locked, and ever after
//!   anything is written there;
//! - when the exit record exists, no process of the task is left (but one that nobody can kill);
//! - it has one thread, waits without waking, and buffers no output.
pub mod cgroup;
mod log;
pub mod process;
mod raw;
pub mod record;
pub mod spec;
mod task;
pub mod zygote;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, WaitId, WaitIdOptions, WaitOptions, chdir, getpid, set_child_subreaper, setsid, wait,
    waitid, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::disable_transparent_huge_pages;
use rustix::time::{ClockId, clock_gettime};

pub use self::log::numbers_of as log_numbers;

use self::cgroup::Cgroup;
use self::log::{Log, Rotation};
use self::process::{ProcessId, descendants, kill_all};
use self::record::{ExitRecord, RunRecord};
use self::spec::SpecView;
use self::task::{Output, Task};

/// The first argument that makes this executable a shim.
pub const ARGUMENT: &str = "__shim";
/// How long output and leftovers of an ended task are waited for.
const DRAIN_MS_MAX: u64 = 2_000;

/// Is this process meant to be a shim, or their zygote? Then it is one, and this does not return.
///
/// Must be the first thing that `main` does: a shim wants none of what an agent sets up.
pub fn run_if_asked() {
    if std::env::args_os().nth(1).is_none_or(|first| first != ARGUMENT) {
        return;
    }
    // The agent does without them; its tasks need not.
    disable_transparent_huge_pages(false).ok();
    let code = match zygote::next_shim().map(|record| hold(&record)) {
        None | Some(Ok(())) => 0,
        Some(Err(refusal)) => {
            say(&refusal.to_line());
            125
        }
    };
    raw::exit_at_once(code);
}

/// Why a task could not be started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub why: String,
    /// The same start may succeed later.
    pub recoverable: bool,
}

impl Refusal {
    fn of(what: &str, error: io::Error) -> Self {
        let passing = [
            libc::EAGAIN,
            libc::ENOMEM,
            libc::ENOSPC,
            libc::EMFILE,
            libc::ENFILE,
            libc::ETXTBSY,
            libc::EBUSY,
            libc::EINTR,
            libc::EIO,
        ];
        let recoverable = error.raw_os_error().is_some_and(|code| passing.contains(&code));
        Self { why: format!("cannot {what}: {error}"), recoverable }
    }

    fn later(what: &str, error: io::Error) -> Self {
        Self { recoverable: true, ..Self::of(what, error) }
    }

    fn to_line(&self) -> String {
        let word = if self.recoverable { "later" } else { "never" };
        format!("{word} {}\n", self.why)
    }

    /// What `to_line` wrote.
    #[must_use]
    pub fn told(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let (word, why) =
            line.trim_end().split_once(' ').unwrap_or(("later", "the shim broke off"));
        Self { why: why.to_owned(), recoverable: word != "never" }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, recoverable: false }
    }
}

/// Why an attempt is not started beside a shim that lives.
pub const RUNS_ALREADY: &str = "this attempt is running already";
/// Why an attempt is not started after one that lived.
pub const RAN_ALREADY: &str = "this attempt has run already";
/// What is said when the task's program runs.
pub const SAID_OK: &str = "ok\n";

fn say(line: &str) {
    // An agent that died meanwhile will read the record instead.
    rustix::io::write(rustix::stdio::stdout(), line.as_bytes()).ok();
}

/// A shim's life. `path` is where its record goes.
fn hold(path: &Path) -> Result<(), Refusal> {
    let signals = raw::take_signals(&[libc::SIGCHLD, libc::SIGUSR1])
        .map_err(|error| Refusal::later("take signals", error))?;
    let bytes = read_spec().map_err(|error| Refusal::later("read the spec", error))?;
    let spec = SpecView::decode(&bytes)?;
    let record = lock_for_life(path)?;
    detach();
    let cgroup = spec.cgroup.and_then(|path| Cgroup::create(path).ok());
    if let Some(cgroup) = &cgroup {
        cgroup.limit(&spec.limits);
    }
    let shim = start(&spec, signals, cgroup.as_ref(), &record);
    if let (Err(_), Some(cgroup)) = (&shim, &cgroup) {
        cgroup.remove();
    }
    let mut shim = shim?;
    drop(spec);
    drop(bytes);
    say(SAID_OK);
    release_stdio();
    let exit = shim.watch();
    if let Some(cgroup) = &cgroup {
        cgroup.remove();
    }
    exit.write(&record).map_err(|error| Refusal::later("write the exit record", error))
}

/// Logs first, so that nothing can fail once the task runs but writing down that it does.
fn start<'a>(
    spec: &SpecView<'_>,
    signals: File,
    cgroup: Option<&'a Cgroup>,
    record: &File,
) -> Result<Shim<'a>, Refusal> {
    let rotation =
        Rotation { file_bytes_max: spec.log_file_bytes_max, files_max: spec.log_files_max };
    let log = |stream| -> Result<(Log, OwnedFd), Refusal> {
        let (ours, tasks) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| Refusal::later("pipe", error.into()))?;
        Ok((Log::open(format!("{}.{stream}", spec.log_prefix), ours, rotation)?, tasks))
    };
    let ((stdout_log, stdout), (stderr_log, stderr)) = (log("stdout")?, log("stderr")?);
    let Task { pid, pidfd } = task::start(spec, cgroup, Output { stdout, stderr })?;
    let logs = [stdout_log, stderr_log];
    let shim = Shim { pid, pidfd, signals, logs, cgroup, ended: None };
    shim.write_run_record(spec.boot, record).inspect_err(|_| shim.kill_everything())?;
    Ok(shim)
}

fn read_spec() -> io::Result<Vec<u8>> {
    let stdin = rustix::stdio::stdin();
    let size = usize::try_from(rustix::fs::fstat(stdin)?.st_size).unwrap_or(0);
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match rustix::io::read(stdin, &mut bytes[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// An attempt is started once: not beside a shim that lives, not after one that lived.
fn lock_for_life(path: &Path) -> Result<File, Refusal> {
    let record = File::options().create(true).append(true).mode(0o600).open(path);
    let record =
        record.map_err(|error| Refusal::of(&format!("write {}", path.display()), error))?;
    if flock(&record, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(RUNS_ALREADY.to_owned().into());
    }
    match record.metadata() {
        Ok(metadata) if metadata.len() == 0 => Ok(record),
        Ok(_) => Err(RAN_ALREADY.to_owned().into()),
        Err(error) => Err(Refusal::later("look at the record", error)),
    }
}

/// Out of the agent's session and group; parent of all that the task leaves behind.
fn detach() {
    // Fails only for a group's leader, which a freshly forked process is not.
    setsid().ok();
    chdir("/").ok();
    set_child_subreaper(Some(getpid())).ok();
    rustix::thread::set_name(c"drover-shim").ok();
    // A killed shim loses an exit status. Going below zero takes a privilege that may be missing.
    fs::write("/proc/self/oom_score_adj", "-900").ok();
}

/// The agent's pipe must not be held open, nor its files.
fn release_stdio() {
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        dup2_stdin(&null).ok();
        dup2_stdout(&null).ok();
        dup2_stderr(&null).ok();
    }
}

/// The running task and what is still to be heard of it.
struct Shim<'a> {
    pid: i32,
    pidfd: OwnedFd,
    signals: File,
    logs: [Log; 2],
    cgroup: Option<&'a Cgroup>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    exit: ExitRecord,
    drain_until_ms: u64,
}

impl Shim<'_> {
    fn write_run_record(&self, boot: &str, file: &File) -> Result<(), Refusal> {
        let own = getpid().as_raw_nonzero().get();
        let birth = |pid| ProcessId::of(pid).ok_or("cannot read /proc: is it mounted?".to_owned());
        let record = RunRecord {
            task: birth(self.pid)?,
            shim: birth(own)?,
            boot: boot.to_owned(),
            cgroup: self
                .cgroup
                .map_or_else(String::new, |cgroup| cgroup.path().to_string_lossy().into_owned()),
        };
        record.write(file).map_err(|error| Refusal::later("write the run record", error))
    }

    /// Until the task has ended, nothing of it is left and all its output is in files.
    fn watch(&mut self) -> ExitRecord {
        loop {
            if let Some(ended) = self.ended {
                let drained = self.logs.iter().all(|log| log.pipe().is_none());
                let settled = reap_all() && drained;
                if settled || ended.drain_until_ms <= monotonic_ms() {
                    return ended.exit;
                }
            }
            self.wait();
            while let Some(signal) = raw::next_signal(&self.signals) {
                if signal == libc::SIGUSR1.cast_unsigned() {
                    self.kill_everything();
                }
            }
            for log in &mut self.logs {
                log.pump();
            }
            if self.ended.is_none() {
                reap_orphans(self.pid);
                self.notice_end();
            }
        }
    }

    fn wait(&self) {
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        for log in &self.logs {
            watched.extend(log.pipe().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        }
        let timeout = self.ended.map(|ended| {
            let ms = ended.drain_until_ms.saturating_sub(monotonic_ms());
            let (seconds, ms) = ((ms / 1_000).cast_signed(), (ms % 1_000).cast_signed());
            Timespec { tv_sec: seconds, tv_nsec: ms * 1_000_000 }
        });
        if self.ended.is_none() {
            watched.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        // Interrupted or not: whoever called looks at everything.
        poll(&mut watched, timeout.as_ref()).ok();
    }

    fn notice_end(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options) else { return };
        let exit = ExitRecord {
            code: status.exit_status().unwrap_or(0),
            signal: status.terminating_signal().unwrap_or(0),
            oom_killed: false,
            at_unix_ms: wall_ms(),
        };
        self.ended = Some(Ended { exit, drain_until_ms: monotonic_ms() + DRAIN_MS_MAX });
        self.kill_everything();
    }

    /// The cgroup first, since nobody outruns it; then whoever left it.
    fn kill_everything(&self) {
        if let Some(cgroup) = self.cgroup {
            cgroup.kill().ok();
        }
        let own = getpid().as_raw_nonzero().get();
        kill_all(|| descendants(own));
    }
}

/// Reaps what the task's descendants left to us, never the task itself: its status is its pidfd's.
fn reap_orphans(task: i32) {
    let own = getpid().as_raw_nonzero().get();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    let children = list.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok());
    for orphan in children.filter(|&child| child != task).filter_map(Pid::from_raw) {
        waitpid(Some(orphan), WaitOptions::NOHANG).ok();
    }
}

/// Reaps everybody; true when there is nobody left to wait for.
fn reap_all() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn monotonic_ms() -> u64 {
    ms_of(ClockId::Monotonic)
}

fn wall_ms() -> u64 {
    ms_of(ClockId::Realtime)
}

fn ms_of(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
