//! What a task uses, read from its cgroup and from /proc.
use std::fs;
use std::path::Path;

use super::TaskStats;
use crate::shim::cgroup;
use crate::shim::process::{Stat, descendants, resident_pages};
use crate::shim::record::RunRecord;

/// Reads what the task of `run` uses now; nothing that has ended is counted without a cgroup.
pub(super) fn read(run: &RunRecord) -> TaskStats {
    let group = (!run.cgroup.is_empty()).then(|| Path::new(&run.cgroup));
    let pids = group.map_or_else(|| descendants(run.shim.pid), cgroup::members);
    let ticks: u64 =
        pids.iter().filter_map(|&pid| Stat::read(pid)).map(|stat| stat.cpu_ticks).sum();
    let pages: u64 = pids.iter().map(|&pid| resident_pages(pid)).sum();
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let page_bytes = rustix::param::page_size() as u64;
    TaskStats {
        cpu_ns: group.and_then(cpu_of_group_ns).unwrap_or(ticks * tick_ns),
        memory_rss_bytes: pages * page_bytes,
        process_count: u32::try_from(pids.len()).unwrap_or(u32::MAX),
    }
}

fn cpu_of_group_ns(group: &Path) -> Option<u64> {
    let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
    let usage_us = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    usage_us.parse::<u64>().ok()?.checked_mul(1_000)
}
