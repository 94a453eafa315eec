//! The directories of an alloc, laid out as Nomad's users know them.
//!
//! ```text
//! <root>/<alloc uuid>/alloc/{data,logs,tmp}        shared by the alloc's tasks
//! <root>/<alloc uuid>/<task>/{local,secrets,tmp}   the task's own; it starts in <task>
//! <root>/<alloc uuid>/<task>/.drover/<attempt>     the shim's record; not for users
//! ```
//!
//! Invariants
//! - every path of an alloc lies beneath its directory: a task's name is one path component;
//! - `secrets` and `.drover` are open to their owner only.
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use drover_core::types::Uuid;

use super::user::Account;

/// The shim's own corner of a task's directory.
pub const RECORDS_DIR: &str = ".drover";
/// Where a task finds what only it may read.
pub const SECRETS_DIR: &str = "secrets";

/// The directories of one task of an alloc.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaskDirs {
    /// `<root>/<alloc uuid>`.
    pub alloc: PathBuf,
    /// `NOMAD_ALLOC_DIR`.
    pub shared: PathBuf,
    /// Where the task's program starts.
    pub task: PathBuf,
    /// `NOMAD_TASK_DIR`.
    pub local: PathBuf,
    /// `NOMAD_SECRETS_DIR`.
    pub secrets: PathBuf,
    pub tmp: PathBuf,
}

impl TaskDirs {
    /// Names them; nothing is created. `None` when `task` is not a single path component.
    #[must_use]
    pub fn new(root: &Path, alloc: Uuid, task: &str) -> Option<Self> {
        let mut parts = Path::new(task).components();
        let single =
            matches!(parts.next(), Some(Component::Normal(part)) if part == OsStr::new(task));
        if !single || task == "alloc" {
            return None;
        }
        let alloc = alloc_dir(root, alloc);
        let task = alloc.join(task);
        Some(Self {
            shared: alloc.join("alloc"),
            local: task.join("local"),
            secrets: task.join(SECRETS_DIR),
            tmp: task.join("tmp"),
            task,
            alloc,
        })
    }

    /// Where the shim of `attempt` keeps its record.
    #[must_use]
    pub fn record(&self, attempt: u32) -> PathBuf {
        self.task.join(RECORDS_DIR).join(attempt.to_string())
    }

    /// Where the task's log files are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.shared.join("logs")
    }

    /// Creates whatever is missing; what a task keeps to itself becomes `owner`'s.
    pub fn build(&self, owner: Option<&Account>) -> io::Result<()> {
        make_dir(&self.alloc, 0o755)?;
        make_dir(&self.shared, 0o777)?;
        for name in ["data", "logs", "tmp"] {
            make_dir(&self.shared.join(name), 0o777)?;
        }
        make_dir(&self.task, 0o777)?;
        make_dir(&self.local, 0o777)?;
        make_dir(&self.tmp, 0o1777)?;
        make_dir(&self.secrets, 0o700)?;
        make_dir(&self.task.join(RECORDS_DIR), 0o700)?;
        if let Some(owner) = owner {
            chown(&self.secrets, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(())
    }
}

/// The directory of an alloc.
#[must_use]
pub fn alloc_dir(root: &Path, alloc: Uuid) -> PathBuf {
    root.join(alloc.to_string())
}

/// Removes an alloc's directory and everything in it; nothing there is fine. Symlinks are not followed.
pub fn destroy_alloc(root: &Path, alloc: Uuid) -> io::Result<()> {
    match fs::remove_dir_all(alloc_dir(root, alloc)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Creates `path` with exactly `mode`, whatever the umask; a directory already there keeps its own.
fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) if mode & 0o022 == 0 => Ok(()),
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_name_that_leaves_the_directory_is_refused() {
        for name in ["", ".", "..", "a/b", "/etc", "a/", "alloc"] {
            assert_eq!(TaskDirs::new(Path::new("/r"), Uuid(1), name), None, "{name:?}");
        }
        let dirs = TaskDirs::new(Path::new("/r"), Uuid(1), "web").unwrap();
        assert!(dirs.record(2).ends_with("web/.drover/2"));
    }

    #[test]
    fn what_is_built_is_private_where_it_must_be_and_goes_away_whole() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path(), Uuid(7), "web").unwrap();
        dirs.build(None).unwrap();
        dirs.build(None).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&dirs.secrets), 0o700);
        assert_eq!(mode(&dirs.task.join(RECORDS_DIR)), 0o700);
        assert_eq!(mode(&dirs.logs()), 0o777);
        assert_eq!(mode(&dirs.tmp), 0o1777);
        destroy_alloc(root.path(), Uuid(7)).unwrap();
        destroy_alloc(root.path(), Uuid(7)).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
