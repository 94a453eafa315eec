//! What the machine says: of itself, and of the processes that are measured.
use std::fs;
use std::process::Command;

use crate::Measured;
use crate::program::{Program, root};

/// A process's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Its share: pages that several processes use are counted in parts.
    pub(crate) pss_kib: u64,
    pub(crate) rss_kib: u64,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) cpu_ns: u64,
    /// Times that one of its threads waited for something and went on.
    pub(crate) wakes: u64,
}

/// The lines above the table.
pub(crate) fn describe(program: &Program) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "-uno"]).is_some_and(|list| !list.is_empty());
    let changed = if changed { " and what is not committed" } else { "" };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "commit {commit}{changed}\nprogram {}\nCPU {model}, {cores} cores, load {}",
        program.path.display(),
        load.join(" ")
    )
}

pub(crate) fn memory(pid: u32) -> Measured<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
    };
    let found = field("Pss").zip(field("Rss"));
    found.map(|(pss_kib, rss_kib)| Memory { pss_kib, rss_kib }).ok_or(format!("{path}: unreadable"))
}

/// Summed over its threads. Not from `stat`: a tick is longer than an idle agent's second.
pub(crate) fn used(pid: u32) -> Measured<Used> {
    let threads = format!("/proc/{pid}/task");
    let list = fs::read_dir(&threads).map_err(|why| format!("{threads}: {why}"))?;
    let mut used = Used { cpu_ns: 0, wakes: 0 };
    for thread in list.flatten() {
        let text = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let ran = text("schedstat");
        used.cpu_ns += ran.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        let status = text("status");
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        used.wakes += waits.and_then(|waits| waits.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(used)
}

/// The zygote of the agent `pid` and all that it has forked.
pub(crate) fn shims_of(pid: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let processes: Vec<(u32, String, u32)> =
        all.flatten().filter_map(|entry| process(&entry.path())).collect();
    let zygotes: Vec<u32> = processes
        .iter()
        .filter(|(_, name, parent)| name == "drover-zygote" && *parent == pid)
        .map(|&(zygote, ..)| zygote)
        .collect();
    let shims = processes
        .iter()
        .filter(|(_, name, parent)| name == "drover-shim" && zygotes.contains(parent))
        .map(|&(shim, ..)| shim);
    shims.chain(zygotes.iter().copied()).collect()
}

/// Number, name and parent.
fn process(path: &std::path::Path) -> Option<(u32, String, u32)> {
    let pid = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    Some((pid, name, rest.split_ascii_whitespace().nth(1)?.parse().ok()?))
}
