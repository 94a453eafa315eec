//! The volume that tasks write to.
use std::fs;
use std::path::{Path, PathBuf};

use super::stats::disk;
use super::{Fingerprint, MIB, whole};

pub(super) fn add(found: &mut Fingerprint, data_dir: &Path) {
    // The directory may be yet to be made: then it will lie where its parent lies.
    let existing = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let Some(disk) = disk(existing) else { return };
    found.put("unique.storage.volume", &disk.device);
    found.put("unique.storage.bytestotal", disk.size_bytes);
    found.put("unique.storage.bytesfree", disk.available_bytes);
    found.capacity.disk_mib = whole(disk.available_bytes / MIB);
}

/// A mounted file system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    pub(super) device: String,
}

/// Everything that is mounted, in the order it was.
pub(super) fn mounts() -> Vec<Mount> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// The file system that `path` lies on: the longest mount point above it, the last mounted of equals.
pub(super) fn mount_of(path: &Path) -> Option<Mount> {
    let path = path.canonicalize().ok()?;
    let above = mounts().into_iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.as_os_str().len())
}

fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = unescape(before.split(' ').nth(4)?).into();
            Some(Mount { point, device: unescape(after.split(' ').nth(1)?) })
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
        assert_eq!(read[0], Mount { point: "/".into(), device: "/dev/vda".into() });
        assert_eq!(read[1].point, Path::new("/a b"));
    }
}
