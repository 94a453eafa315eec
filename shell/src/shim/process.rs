//! Processes by name and birth, and who descends from whom.
//!
//! Invariants
//! - a process id is believed only together with its start time: ids are used again.
use std::fs;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks after boot (`/proc/<pid>/stat`, field 22).
    pub start: u64,
}

/// Passes over the tree while it grows under our hands; stopped processes do not fork, so few are needed.
const KILL_PASSES_MAX: u32 = 64;

impl ProcessId {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// A handle of exactly this process; `None` when it is gone.
    ///
    /// The start time is compared after the handle was taken: had the number changed hands before
    /// that, the times would differ; afterwards the handle no longer cares.
    #[must_use]
    pub fn open(self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        (Self::of(self.pid) == Some(self)).then_some(pidfd)
    }
}

/// The fields of `/proc/<pid>/stat` that we use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    /// Not a zombie.
    pub alive: bool,
    pub session: i32,
    /// Of its own and of the children it has waited for.
    pub cpu_ticks: u64,
    pub start: u64,
}

impl Stat {
    /// Of the process `pid`, if it exists.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, so count from its end: field 3 comes next.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let cpu_ticks = [14, 15, 16, 17].into_iter().filter_map(number).sum();
        Some(Self {
            alive: !matches!(*fields.first()?, "Z" | "X"),
            session: fields.get(6 - 3)?.parse().ok()?,
            cpu_ticks,
            start: number(22)?,
        })
    }
}

/// Resident pages of the process `pid`; from `statm`, since `stat` rounds small ones down to nothing.
#[must_use]
pub fn resident_pages(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// Every process below `root`, not `root` itself, parents first.
#[must_use]
pub fn descendants(root: i32) -> Vec<i32> {
    let mut found = Vec::new();
    collect_children(root, &mut found);
    let mut next = 0;
    while next < found.len() {
        collect_children(found[next], &mut found);
        next += 1;
    }
    found
}

fn collect_children(parent: i32, found: &mut Vec<i32>) {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return };
    for thread in threads.flatten() {
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in list.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
}

/// Every living process of the machine whose session is `session`.
#[must_use]
pub fn session_members(session: i32) -> Vec<i32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.session == session && stat.alive))
        .collect()
}

/// Kills everybody whom `list` names, again and again until it names nobody new.
///
/// A tree that forks may outrun one pass: so everybody is stopped first, then everybody is killed.
/// Nobody is waited for here: that would take the task's exit status from its pidfd.
pub fn kill_all(list: impl Fn() -> Vec<i32>) {
    let mut stopped: Vec<i32> = Vec::new();
    for _ in 0..KILL_PASSES_MAX {
        let fresh: Vec<i32> = list().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for &pid in &fresh {
            send(pid, Signal::STOP);
        }
        stopped.extend(fresh);
    }
    for pid in stopped {
        send(pid, Signal::KILL);
    }
}

/// Who has ended meanwhile needs no signal any more.
fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, signal).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_hostile_name() {
        let line = "7 (a ) (b) S 1 7 6 0 -1 4194560 1 2 0 0 10 20 30 40 20 0 1 0 555 9 42 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { alive: true, session: 6, cpu_ticks: 100, start: 555 });
    }

    #[test]
    fn a_process_is_opened_only_under_its_own_birth() {
        let own = i32::try_from(std::process::id()).unwrap();
        let me = ProcessId::of(own).unwrap();
        assert!(me.open().is_some());
        assert!(ProcessId { start: me.start + 1, ..me }.open().is_none());
    }
}
