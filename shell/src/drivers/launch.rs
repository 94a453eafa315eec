//! From a `TaskStart` to a shim that has been asked for.
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

use drover_core::types::{CoreSet, MemoryLimit};
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use super::raw_exec::{DEFAULT_PATH, find_command};
use super::user::{Account, account};
use super::zygote::Zygote;
use super::{TaskKey, TaskStart, payload};
use crate::shim::Refusal;
use crate::shim::spec::Spec;

/// What is the same for all tasks of this machine.
pub(super) struct Machine {
    pub(super) zygote: Zygote,
    /// The kernel's boot id.
    pub(super) boot: String,
    /// Beneath it every attempt gets a cgroup.
    pub(super) cgroups: Option<PathBuf>,
    /// The soft limit of open files that the agent was started with.
    pub(super) open_files_soft: Option<u64>,
}

const MIB: u64 = 1 << 20;

/// Makes the directories and asks for a shim; returns the pipe on which it will speak. Blocks.
pub(super) fn spawn(
    machine: &Machine,
    key: &TaskKey,
    start: &TaskStart,
) -> Result<OwnedFd, Refusal> {
    let user = start.user.as_str();
    let account = if user.is_empty() { None } else { Some(account(user)?) };
    let dirs = &start.dirs;
    let record = dirs.record(key.attempt);
    let passing = |error: io::Error| Refusal { why: error.to_string(), recoverable: true };
    dirs.build(account.as_ref()).map_err(passing)?;
    if let Some(payload) = &start.payload {
        payload::write(dirs, payload, account.as_ref()).map_err(passing)?;
    }
    let bytes = spec(machine, key, start, account)?.encode()?;
    let spec = in_memory(&bytes).map_err(passing)?;
    let (hears, says) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| passing(error.into()))?;
    machine.zygote.ask(&record, &spec, &says).map_err(passing)?;
    Ok(hears)
}

fn spec(
    machine: &Machine,
    key: &TaskKey,
    start: &TaskStart,
    account: Option<Account>,
) -> Result<Spec, Refusal> {
    let TaskStart { dirs, command, args, env, user: _, logs, payload: _, memory, cores } = start;
    let mut env_list: Vec<(String, String)> =
        env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if !env.contains_key("PATH") {
        env_list.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    let name = dirs.alloc.file_name().unwrap_or_default().to_string_lossy();
    let group = format!("{name}.{}.{}.scope", key.task, key.attempt);
    Ok(Spec {
        program: find_command(command, dirs, env)?,
        args: std::iter::once(command).chain(args).cloned().collect(),
        env: env_list,
        cwd: dirs.task.clone(),
        log_prefix: dirs.logs().join(&key.task),
        log_files_max: logs.files_max,
        log_file_bytes_max: u64::from(logs.file_mib_max) * MIB,
        account: account.map(|account| (account.uid, account.gid, account.groups)),
        cgroup: machine.cgroups.as_ref().map(|root| root.join(group)),
        limits: limits(*memory, cores),
        open_files_soft: machine.open_files_soft,
        boot: machine.boot.clone(),
    })
}

/// What the cgroup is told. What is kept for the task is not taken from it while others have more than
/// theirs.
fn limits(memory: Option<MemoryLimit>, cores: &CoreSet) -> Vec<(&'static str, String)> {
    let bytes = |mib: u32| (u64::from(mib) * MIB).to_string();
    let kept = memory.map(|limit| ("memory.low", bytes(limit.kept_mib)));
    let most = memory.and_then(|limit| limit.most_mib).map(|most| ("memory.max", bytes(most)));
    let cores = (!cores.is_empty()).then(|| ("cpuset.cpus", cores.to_string()));
    [kept, most, cores].into_iter().flatten().collect()
}

fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("drover-task", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
