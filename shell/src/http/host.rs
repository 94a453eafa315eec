//! What the machine uses, read from `/proc`.
//!
//! Invariants
//! - what cannot be read is zero: a dashboard must not fail over it.
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::client::Readings;
use crate::api::Absent;
use crate::api::time::unix_ns;
use crate::clock::Clock;

/// Readings that are compared with the next.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) readings: Readings,
    cpus: Mutex<Vec<Ticks>>,
}

/// What one processor has done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    user: u64,
    system: u64,
    idle: u64,
    total: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostStats {
    pub(super) memory: Memory,
    #[serde(rename = "CPU")]
    pub(super) cpu: Vec<Cpu>,
    pub(super) disk_stats: Vec<Disk>,
    pub(super) alloc_dir_stats: Disk,
    device_stats: Absent,
    pub(super) uptime: u64,
    #[serde(rename = "CPUTicksConsumed")]
    pub(super) cpu_ticks_consumed: f64,
    timestamp: i64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) used: u64,
    pub(super) free: u64,
}

/// Shares in percent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cpu {
    #[serde(rename = "CPU")]
    pub(super) name: String,
    pub(super) user: f64,
    pub(super) system: f64,
    pub(super) idle: f64,
    pub(super) total: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Disk {
    device: String,
    mountpoint: String,
    pub(super) size: u64,
    pub(super) used: u64,
    pub(super) available: u64,
    used_percent: f64,
    inodes_used_percent: f64,
}

impl Host {
    pub(super) fn stats(&self, alloc_dir: Option<&Path>) -> HostStats {
        let cpu = self.cpus();
        let busy: f64 = cpu.iter().map(|cpu| cpu.total / 100.0).sum();
        HostStats {
            memory: memory(),
            cpu_ticks_consumed: busy * self.core_mhz(),
            cpu,
            disk_stats: vec![disk(Path::new("/"), "/")],
            alloc_dir_stats: alloc_dir.map(|dir| disk(dir, "")).unwrap_or_default(),
            device_stats: (),
            uptime: uptime_s(),
            timestamp: unix_ns(Clock::new().wall()),
        }
    }

    /// How fast a processor is; what a clock says at the moment is near enough.
    #[expect(clippy::unused_self, reason = "one place to ask for all that is about the machine")]
    pub(super) fn core_mhz(&self) -> f64 {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("cpu MHz"));
        let value = line.and_then(|line| line.rsplit(':').next());
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// What each processor did since the last reading, or since the start of the machine.
    fn cpus(&self) -> Vec<Cpu> {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let now = ticks(&text);
        let mut last = self.cpus.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now.clone());
        let shown = now.iter().enumerate().map(|(at, now)| {
            let before = before.get(at).copied().unwrap_or_default();
            shares(at, *now, before)
        });
        shown.collect()
    }
}

fn ticks(text: &str) -> Vec<Ticks> {
    let lines = text.lines().filter(|line| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    lines
        .map(|line| {
            // user nice system idle iowait irq softirq steal
            let words = line.split_ascii_whitespace().skip(1).take(8);
            let n: Vec<u64> = words.map(|word| word.parse().unwrap_or(0)).collect();
            let at = |at: usize| n.get(at).copied().unwrap_or(0);
            Ticks {
                user: at(0) + at(1),
                system: at(2) + at(5) + at(6),
                idle: at(3) + at(4),
                total: n.iter().sum(),
            }
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn shares(at: usize, now: Ticks, before: Ticks) -> Cpu {
    let total = now.total.saturating_sub(before.total).max(1) as f64;
    let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / total * 100.0;
    let idle = share(now.idle, before.idle);
    Cpu {
        name: format!("cpu{at}"),
        user: share(now.user, before.user),
        system: share(now.system, before.system),
        idle,
        total: (100.0 - idle).max(0.0),
    }
}

fn memory() -> Memory {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib = line.split_ascii_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        kib.unwrap_or(0) * 1_024
    };
    let (total, available, free) = (bytes("MemTotal:"), bytes("MemAvailable:"), bytes("MemFree:"));
    Memory { total, available, used: total.saturating_sub(available), free }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn disk(path: &Path, mountpoint: &str) -> Disk {
    let Ok(found) = rustix::fs::statvfs(path) else { return Disk::default() };
    let size = found.f_blocks * found.f_frsize;
    let available = found.f_bavail * found.f_frsize;
    let used = (found.f_blocks - found.f_bfree.min(found.f_blocks)) * found.f_frsize;
    let inodes = found.f_files - found.f_ffree.min(found.f_files);
    let percent = |part: u64, whole: u64| part as f64 / whole.max(1) as f64 * 100.0;
    Disk {
        device: String::new(),
        mountpoint: mountpoint.to_owned(),
        size,
        used,
        available,
        used_percent: percent(used, used + available),
        inodes_used_percent: percent(inodes, found.f_files),
    }
}

fn uptime_s() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let whole = text.split('.').next().and_then(|seconds| seconds.parse().ok());
    whole.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_and_compared() {
        let before = ticks("cpu  9 9 9 9\ncpu0 100 0 50 800 50 0 0 0 0 0\nintr 5\n");
        let now = ticks("cpu0 150 0 75 900 50 0 25 0 0 0\n");
        assert_eq!(before.len(), 1);
        let cpu = shares(0, now[0], before[0]);
        assert_eq!((cpu.user, cpu.system, cpu.idle, cpu.total), (25.0, 25.0, 50.0, 50.0));
    }
}
