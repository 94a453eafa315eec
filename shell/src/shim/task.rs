//! Starting the task's program: the way from a clone to an exec.
//!
//! Invariants
//! - whoever returns from `start` knows that the program runs: the child's pipe closes at exec.
use std::fs;
use std::io;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Resource, Rlimit, WaitId, WaitIdOptions, chdir, getrlimit, setrlimit, setsid, waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::Refusal;
use super::cgroup::Cgroup;
use super::raw::{self, Cloned, Pointers};
use super::spec::SpecView;

/// A running task, as its parent holds it.
pub(super) struct Task {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
}

/// The task's ends of the pipes of its output.
pub(super) struct Output {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// A failure of the child is one short line.
const FAILURE_BYTES_MAX: usize = 256;

/// Starts what `spec` says.
pub(super) fn start(
    spec: &SpecView<'_>,
    cgroup: Option<&Cgroup>,
    output: Output,
) -> Result<Task, Refusal> {
    let (failure, failure_end) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| Refusal::later("pipe", error.into()))?;
    let args = Pointers::new(&spec.args);
    let env = Pointers::new(&spec.env);
    let group = cgroup.and_then(|cgroup| cgroup.open().ok());
    let cloned = raw::clone(group.as_ref().map(AsFd::as_fd))
        .map_err(|error| Refusal::later("clone", error))?;
    let (pid, pidfd) = match cloned {
        Cloned::Child => become_task(spec, &output, &failure_end, &args, &env),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((output, failure_end));
    let mut said = [0u8; FAILURE_BYTES_MAX];
    let refusal = match read(&failure, &mut said) {
        Ok(0) => return Ok(Task { pid, pidfd }),
        Ok(count) => Refusal::told(&said[..count]),
        Err(error) => Refusal::later("start", error.into()),
    };
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok();
    Err(refusal)
}

fn become_task(
    spec: &SpecView<'_>,
    output: &Output,
    failure: &OwnedFd,
    args: &Pointers<'_>,
    env: &Pointers<'_>,
) -> ! {
    let Err(refusal) = prepare(spec, output, args, env);
    // Whoever should read these words may be gone.
    write(failure, refusal.to_line().as_bytes()).ok();
    raw::exit_at_once(126)
}

enum Never {}

/// Takes every step from the shim's copy to the task; comes back only with what failed. All
/// descriptors but the standard three close at exec.
fn prepare(
    spec: &SpecView<'_>,
    output: &Output,
    args: &Pointers<'_>,
    env: &Pointers<'_>,
) -> Result<Never, Refusal> {
    let step = |what: &str, done: io::Result<()>| done.map_err(|error| Refusal::of(what, error));
    // The shim's own protection from the kernel's memory killer is not the task's.
    fs::write("/proc/self/oom_score_adj", "0").ok();
    step("begin a session", setsid().map(drop).map_err(io::Error::from))?;
    step("connect its output", wire(output))?;
    if let Some(soft) = spec.open_files_soft {
        let limit = Rlimit { current: Some(soft), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).ok();
    }
    let cwd = spec.cwd.unwrap_or(c"/");
    step(&format!("enter {cwd:?}"), chdir(cwd).map_err(io::Error::from))?;
    if let (Some(uid), Some(gid)) = (spec.uid, spec.gid) {
        step(&format!("become user {uid}"), raw::become_account(uid, gid, &spec.groups))?;
    }
    raw::reset_signals();
    let program = spec.program.unwrap_or(c"");
    let error = raw::exec(program, args, env);
    Err(Refusal::of(&format!("run {program:?}"), error))
}

/// Standard input is empty, the others are the pipes.
fn wire(output: &Output) -> io::Result<()> {
    let null = open(Path::new("/dev/null"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&output.stdout)?;
    dup2_stderr(&output.stderr)?;
    Ok(())
}
