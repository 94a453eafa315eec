//! What a job was dispatched with, put where its task looks for it.
//!
//! Invariants
//! - nothing is written outside the task's directory, whatever an earlier attempt left in it.
use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, fchown, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::dirs::TaskDirs;
use super::user::Account;

/// A file beneath the task's `local`, and what is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payload {
    pub file: PathBuf,
    pub bytes: Arc<[u8]>,
}

/// Write it anew: an attempt begins with what the job was given.
pub(super) fn write(dirs: &TaskDirs, payload: &Payload, owner: Option<&Account>) -> io::Result<()> {
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, &dirs.task, folder, Mode::empty())?;
    at = openat(&at, "local", folder, Mode::empty())?;
    let mut names: Vec<_> = payload
        .file
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let Some(name) = names.pop() else { return Ok(()) };
    for folder_name in names {
        match mkdirat(&at, folder_name, Mode::from_raw_mode(0o755)) {
            Ok(()) => own(openat(&at, folder_name, folder, Mode::empty())?, owner)?,
            Err(Errno::EXIST) => {}
            Err(other) => return Err(other.into()),
        }
        at = openat(&at, folder_name, folder, Mode::empty())?;
    }
    match unlinkat(&at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(other) => return Err(other.into()),
    }
    let fresh = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&at, name, fresh, Mode::from_raw_mode(0o644))?;
    let mut file = File::from(file);
    file.write_all(&payload.bytes)?;
    own(file.into(), owner)
}

fn own(what: OwnedFd, owner: Option<&Account>) -> io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(fchown(&what, Some(uid), Some(gid))?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use drover_core::types::Uuid;

    use super::*;

    #[test]
    fn a_payload_is_written_anew_and_never_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path(), Uuid(7), "work").unwrap();
        dirs.build(None).unwrap();
        let payload = Payload { file: "in/put.json".into(), bytes: b"{}".as_slice().into() };
        write(&dirs, &payload, None).unwrap();
        write(&dirs, &payload, None).unwrap();
        assert_eq!(fs::read(dirs.local.join("in/put.json")).unwrap(), b"{}");

        let foreign = root.path().join("foreign");
        fs::write(&foreign, "mine").unwrap();
        fs::remove_file(dirs.local.join("in/put.json")).unwrap();
        symlink(&foreign, dirs.local.join("in/put.json")).unwrap();
        write(&dirs, &payload, None).unwrap();
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");

        fs::remove_dir_all(dirs.local.join("in")).unwrap();
        symlink(root.path(), dirs.local.join("in")).unwrap();
        write(&dirs, &payload, None).expect_err("a folder that is a link leads away");
        assert!(!root.path().join("put.json").exists());
    }
}
