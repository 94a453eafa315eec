//! The volume that tasks write to.
//!
//! Invariants
//! - what is free is what was free when the volume was first seen: what tasks write is in what they
//!   have reserved, and would be counted twice; and it changes with every line of a log.
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::root::Root;
use super::{Fingerprint, MIB, whole};

/// A file system, as it was when it was first seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Volume {
    device: String,
    size_bytes: u64,
    free_bytes: u64,
}

impl Volume {
    pub(super) fn look(root: &Root, data_dir: &Path) -> Option<Self> {
        // The directory may be yet to be made: then it will lie where its parent lies.
        let existing = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        let mount = mount_of(&mounts(root), existing)?;
        let stat = statvfs(existing).ok()?;
        Some(Self {
            device: mount.device,
            size_bytes: stat.f_blocks * stat.f_frsize,
            free_bytes: stat.f_bavail * stat.f_frsize,
        })
    }

    /// What is known now that `self` was seen: another volume, or another size of it, is news.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        before
            .filter(|before| before.device == self.device && before.size_bytes == self.size_bytes)
            .unwrap_or(self)
    }

    pub(super) fn add(&self, found: &mut Fingerprint) {
        found.put("unique.storage.volume", &self.device);
        found.put("unique.storage.bytestotal", self.size_bytes);
        found.put("unique.storage.bytesfree", self.free_bytes);
        found.capacity.disk_mib = whole(self.free_bytes / MIB);
    }
}

/// A mounted file system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// Such as `ext4`.
    pub(super) kind: String,
    pub(super) device: String,
}

/// Everything that is mounted, in the order it was.
pub(super) fn mounts(root: &Root) -> Vec<Mount> {
    parse(&root.text("proc/self/mountinfo"))
}

/// The file system that `path` lies on: the longest mount point above it, the last mounted of equals.
fn mount_of(mounts: &[Mount], path: &Path) -> Option<Mount> {
    let path = path.canonicalize().ok()?;
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.as_os_str().len()).cloned()
}

fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = unescape(before.split(' ').nth(4)?).into();
            let mut after = after.split(' ');
            Some(Mount { point, kind: after.next()?.to_owned(), device: unescape(after.next()?) })
        })
        .collect()
}

/// Blanks in names are written in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read() {
        let text = "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                    30 24 0:20 / /a\\040b rw - tmpfs none rw\n";
        let read = parse(text);
        let (kind, device) = ("ext4".into(), "/dev/vda".into());
        assert_eq!(read[0], Mount { point: "/".into(), kind, device });
        assert_eq!(read[1].point, Path::new("/a b"));
        assert_eq!(mount_of(&read, Path::new("/proc")).unwrap().device, "/dev/vda");
    }

    #[test]
    fn what_tasks_write_is_no_news_and_another_size_is() {
        let volume = |device: &str, size_bytes, free_bytes| Volume {
            device: device.to_owned(),
            size_bytes,
            free_bytes,
        };
        let first = volume("/dev/vda", 100, 80);
        assert_eq!(first.clone().after(None), first);
        assert_eq!(volume("/dev/vda", 100, 20).after(Some(first.clone())), first);
        let grown = volume("/dev/vda", 200, 120);
        assert_eq!(grown.clone().after(Some(first.clone())), grown);
        let other = volume("/dev/vdb", 100, 90);
        assert_eq!(other.clone().after(Some(first)), other);
    }
}
