//! Plugins that make networks for containers (CNI), by what they say of themselves.
//!
//! Invariants
//! - a program is run when it is new or was replaced, not each time;
//! - one that does not end in time is killed, and is left out.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What a plugin may take to say who it is.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// A plugin's words for itself are one line.
const WORDS_BYTES_MAX: u64 = 4_096;
const PLUGINS_MAX: usize = 128;

/// The plugins as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    known: BTreeMap<PathBuf, (Stamp, Option<String>)>,
}

/// What tells a file from one that takes its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Plugins {
    /// Versions by the names of the plugins in `dirs`; of two of one name the first counts.
    pub(super) fn look(&mut self, dirs: &[PathBuf]) -> BTreeMap<String, String> {
        let mut before = std::mem::take(&mut self.known);
        let mut versions = BTreeMap::new();
        for path in dirs.iter().flat_map(|dir| programs(dir)).take(PLUGINS_MAX) {
            let Some(stamp) = stamp(&path) else { continue };
            let known = before.remove(&path).filter(|(seen, _)| *seen == stamp);
            let (_, version) = known.unwrap_or_else(|| (stamp, version(&path)));
            if let (Some(version), Some(name)) = (&version, path.file_name()) {
                versions.entry(name.to_string_lossy().into_owned()).or_insert(version.clone());
            }
            self.known.insert(path, (stamp, version));
        }
        versions
    }
}

fn programs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let changed = (file.ctime(), file.ctime_nsec());
    let is_program = file.is_file() && file.permissions().mode() & 0o111 != 0;
    is_program.then(|| Stamp { inode: file.ino(), bytes: file.len(), changed })
}

fn version(path: &Path) -> Option<String> {
    let words = words(path)?;
    // `CNI bridge plugin v1.2.0`.
    words.split_whitespace().find_map(|word| {
        let is_version = word.strip_prefix('v')?.starts_with(|c: char| c.is_ascii_digit());
        is_version.then(|| word.to_owned())
    })
}

/// What a plugin says when it is asked for nothing.
fn words(path: &Path) -> Option<String> {
    let mut said = File::from(memfd_create("plugin", MemfdFlags::CLOEXEC).ok()?);
    let mut command = Command::new(path);
    command.env_clear().stdin(Stdio::null());
    command.stdout(said.try_clone().ok()?).stderr(said.try_clone().ok()?);
    let mut child = command.spawn().ok()?;
    let has_ended = ends_in_time(&child);
    if !has_ended {
        tracing::warn!("the CNI plugin {} does not say who it is", path.display());
        child.kill().ok();
    }
    child.wait().ok()?;
    said.rewind().ok()?;
    let mut words = Vec::new();
    said.take(WORDS_BYTES_MAX).read_to_end(&mut words).ok()?;
    has_ended.then(|| String::from_utf8_lossy(&words).into_owned())
}

fn ends_in_time(child: &Child) -> bool {
    let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    let ready = retry_on_intr(|| poll(&mut watched, Some(&PATIENCE)));
    ready.is_ok_and(|ready| ready == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, script: &str) {
        // Written aside: a program that is open for writing cannot be run.
        let aside = path.with_added_extension("new");
        fs::write(&aside, script).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, path).unwrap();
    }

    #[test]
    fn plugins_say_their_versions_and_are_asked_once() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let asked = dirs[0].path().join("asked.txt");
        let bridge = format!(
            "#!/bin/sh\necho x >> {}\necho 'CNI bridge plugin v1.2.0' >&2\n",
            asked.display()
        );
        put(&dirs[0].path().join("bridge"), &bridge);
        put(&dirs[1].path().join("bridge"), "#!/bin/sh\necho CNI bridge plugin v0.9\n");
        put(&dirs[1].path().join("loopback"), "#!/bin/sh\necho CNI loopback plugin v1.0.1\n");
        put(&dirs[1].path().join("silent"), "#!/bin/sh\nexit 1\n");
        fs::write(dirs[1].path().join("README.md"), "v5").unwrap();
        let paths = dirs.each_ref().map(|dir| dir.path().to_owned());
        let mut plugins = Plugins::default();
        let first = plugins.look(&paths);
        assert_eq!(first.get("bridge").map(String::as_str), Some("v1.2.0"));
        assert_eq!(first.get("loopback").map(String::as_str), Some("v1.0.1"));
        assert_eq!(first.len(), 2);
        assert_eq!(plugins.look(&paths), first);
        assert_eq!(fs::read_to_string(&asked).unwrap(), "x\n", "asked once");
        put(&dirs[0].path().join("bridge"), "#!/bin/sh\necho CNI bridge plugin v1.3.0\n");
        assert_eq!(plugins.look(&paths)["bridge"], "v1.3.0");
        fs::remove_file(dirs[0].path().join("bridge")).unwrap();
        assert_eq!(plugins.look(&paths)["bridge"], "v0.9");
    }

    #[test]
    fn a_plugin_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("stuck"), "#!/bin/sh\necho v1.0; exec sleep 60\n");
        let found = Plugins::default().look(&[dir.path().to_owned()]);
        assert!(found.is_empty(), "{found:?}");
    }
}
