//! The cgroup of one attempt, in a v2 hierarchy: to know and to kill what belongs to it, and to hold it to
//! what it asked to be held to.
//!
//! Invariants
//! - a limit whose controller is not there holds nobody back, and keeps no task from running;
//! - a cgroup is used for one attempt only: on Linux 6.18 a child cloned into a group that was once
//!   killed is killed at birth.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};

pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes it; one that a dead shim left behind is emptied and replaced.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let made = Self { path: path.to_path_buf() };
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                made.kill().ok();
                fs::remove_dir(path)?;
                fs::create_dir(path)?;
            }
            other => other?,
        }
        Ok(made)
    }

    /// Writes each `file=value` whose file is there.
    pub(super) fn limit(&self, limits: &[&str]) {
        for (file, value) in limits.iter().filter_map(|limit| limit.split_once('=')) {
            let path = self.path.join(file);
            if path.exists() {
                fs::write(path, value).ok();
            }
        }
    }

    /// For cloning a child into it.
    pub(super) fn open(&self) -> rustix::io::Result<OwnedFd> {
        open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        kill(&self.path)
    }

    /// What is not empty stays, and is removed with its alloc.
    pub(super) fn remove(&self) {
        fs::remove_dir(&self.path).ok();
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Kills everybody in the cgroup at `path`, frozen or forking.
pub fn kill(path: &Path) -> io::Result<()> {
    fs::write(path.join("cgroup.kill"), "1")
}

/// The process ids in the cgroup at `path`.
#[must_use]
pub fn members(path: &Path) -> Vec<i32> {
    let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Where the agent may make cgroups for its tasks, made if need be; `None` where none is to be had.
///
/// Any v2 mount will do, also one that owns no controllers beside v1 hierarchies.
#[must_use]
pub fn tasks_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mount_point = before.split(' ').nth(4)?;
        after.starts_with("cgroup2 ").then(|| PathBuf::from(mount_point))
    })?;
    let own = root.join("drover.slice");
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
        Ok(()) | Err(_) => {}
    }
    // For limits, where the controllers are to be had; a group without any must do.
    for group in [&root, &own] {
        for controller in ["+cpuset", "+memory"] {
            fs::write(group.join("cgroup.subtree_control"), controller).ok();
        }
    }
    own.join("cgroup.kill").exists().then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_where_the_controller_is() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::create(&root.path().join("task")).unwrap();
        fs::write(cgroup.path().join("memory.max"), "max").unwrap();
        cgroup.limit(&["memory.max=4096", "cpuset.cpus=0,2"]);
        assert_eq!(fs::read_to_string(cgroup.path().join("memory.max")).unwrap(), "4096");
        assert!(!cgroup.path().join("cpuset.cpus").exists(), "no controller, no file");
    }
}
