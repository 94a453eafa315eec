//! What the machine's tasks and everything else use at the moment, for `/v1/client/stats`.
//!
//! Invariants
//! - a share of time is measured between two samples; the first sample has none to show.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::storage::{mount_of, mounts};

/// One look at the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostStats {
    pub cpus: Vec<CpuShare>,
    pub memory: MemoryStats,
    /// Of block devices.
    pub disks: Vec<DiskStats>,
    /// Of the directory that tasks write to.
    pub alloc_dir: Option<DiskStats>,
    pub uptime_seconds: u64,
}

/// What one processor did since the sample before, in percent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuShare {
    /// `cpu0`.
    pub name: String,
    pub user_percent: f64,
    pub system_percent: f64,
    pub idle_percent: f64,
    /// Everything but idle.
    pub busy_percent: f64,
}

/// The machine's memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemoryStats {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub free_bytes: u64,
    /// Neither free nor in caches.
    pub used_bytes: u64,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskStats {
    pub device: String,
    pub mount_point: PathBuf,
    pub size_bytes: u64,
    pub used_bytes: u64,
    /// To those without privileges.
    pub available_bytes: u64,
    pub used_percent: f64,
    pub inodes_used_percent: f64,
}

/// Takes samples; remembers the last one.
#[derive(Debug, Default)]
pub struct HostSampler {
    before: BTreeMap<String, CpuTicks>,
}

#[derive(Clone, Copy, Debug, Default)]
struct CpuTicks {
    user: u64,
    system: u64,
    idle: u64,
    all: u64,
}

impl HostSampler {
    /// Looks at the machine now; `alloc_dir` is where tasks write.
    pub fn sample(&mut self, alloc_dir: &Path) -> HostStats {
        let now = cpu_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let cpus = now
            .iter()
            .map(|(name, ticks)| share(name, *ticks, self.before.get(name).copied()))
            .collect();
        self.before = now;
        HostStats {
            cpus,
            memory: memory().unwrap_or_default(),
            disks: disks(),
            alloc_dir: disk(alloc_dir),
            uptime_seconds: uptime_seconds(),
        }
    }
}

fn share(name: &str, now: CpuTicks, before: Option<CpuTicks>) -> CpuShare {
    let before = before.unwrap_or(now);
    let all = now.all.saturating_sub(before.all);
    let part = |now: u64, before: u64| percent(now.saturating_sub(before), all);
    let idle = now.idle.saturating_sub(before.idle);
    CpuShare {
        name: name.to_owned(),
        user_percent: part(now.user, before.user),
        system_percent: part(now.system, before.system),
        idle_percent: percent(idle, all),
        busy_percent: percent(all.saturating_sub(idle), all),
    }
}

fn cpu_ticks(stat: &str) -> BTreeMap<String, CpuTicks> {
    let mut cpus = BTreeMap::new();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next().filter(|name| name.starts_with("cpu") && *name != "cpu")
        else {
            continue;
        };
        // user nice system idle iowait irq softirq steal; guests are counted in user already.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, ..] = ticks[..] else { continue };
        let (user, idle, all) = (user + nice, idle + iowait, ticks.iter().sum());
        cpus.insert(name.to_owned(), CpuTicks { user, system, idle, all });
    }
    cpus
}

/// The machine's memory, if the kernel tells.
pub(super) fn memory() -> Option<MemoryStats> {
    parse_memory(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_memory(info: &str) -> Option<MemoryStats> {
    let bytes = |key: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let (total_bytes, free_bytes) = (bytes("MemTotal")?, bytes("MemFree")?);
    let cached = bytes("Cached").unwrap_or(0) + bytes("Buffers").unwrap_or(0);
    Some(MemoryStats {
        total_bytes,
        free_bytes,
        available_bytes: bytes("MemAvailable").unwrap_or(free_bytes),
        used_bytes: total_bytes.saturating_sub(free_bytes + cached),
    })
}

/// Of the file system that `path` lies on.
pub(super) fn disk(path: &Path) -> Option<DiskStats> {
    let mount = mount_of(path)?;
    disk_at(mount.device, mount.point)
}

fn disks() -> Vec<DiskStats> {
    let mut seen: Vec<String> = Vec::new();
    let blocks = mounts().into_iter().filter(|mount| mount.device.starts_with("/dev/"));
    blocks
        .filter_map(|mount| {
            if seen.contains(&mount.device) {
                return None;
            }
            seen.push(mount.device.clone());
            disk_at(mount.device, mount.point)
        })
        .collect()
}

fn disk_at(device: String, mount_point: PathBuf) -> Option<DiskStats> {
    let stat = statvfs(&mount_point).ok()?;
    let used_blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
    Some(DiskStats {
        device,
        mount_point,
        size_bytes: stat.f_blocks * stat.f_frsize,
        used_bytes: used_blocks * stat.f_frsize,
        available_bytes: stat.f_bavail * stat.f_frsize,
        used_percent: percent(used_blocks, used_blocks + stat.f_bavail),
        inodes_used_percent: percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_files),
    })
}

fn uptime_seconds() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_happened_between_two_samples() {
        let first = cpu_ticks("cpu 9 9 9 9 9\ncpu0 10 0 10 80 0 0 0 0 0 0\nintr 5\n")["cpu0"];
        let second = cpu_ticks("cpu0 20 10 40 130 0 0 0 0 0 0\n")["cpu0"];
        let shown = share("cpu0", second, Some(first));
        assert_eq!((shown.user_percent, shown.system_percent), (20.0, 30.0));
        assert_eq!((shown.idle_percent, shown.busy_percent), (50.0, 50.0));
        assert_eq!(share("cpu0", first, None).busy_percent, 0.0);
    }

    #[test]
    fn meminfo_is_read_and_the_machine_has_a_disk_and_memory() {
        let text = "MemTotal: 100 kB\nMemFree: 40 kB\nBuffers: 5 kB\nCached: 15 kB\n";
        let memory = parse_memory(text).unwrap();
        assert_eq!((memory.used_bytes, memory.available_bytes), (40 << 10, 40 << 10));
        let stats = HostSampler::default().sample(Path::new("/"));
        assert!(0 < stats.memory.total_bytes);
        assert!(stats.alloc_dir.is_some_and(|disk| 0 < disk.size_bytes));
        assert!(!stats.cpus.is_empty());
        assert!(0 < stats.uptime_seconds);
    }
}
