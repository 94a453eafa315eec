//! Small moves on files that must survive a power failure.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::Failure;

/// Names of files that are not finished end with this; they are deleted at the next start.
const UNFINISHED: &str = "tmp";

/// Make `dir` and its parents, readable by the agent's user only, and durable.
pub(super) fn make_dir(dir: &Path) -> Result<(), Failure> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(|source| Failure::of(dir, "create", source))?;
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}

/// Make what was created, renamed or deleted in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| Failure::of(dir, "flush the directory", source))
}

/// The names in `dir` with their paths; unfinished files are deleted instead.
pub(super) fn list(dir: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let failure = |source| Failure::of(dir, "list", source);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            remove(&path)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            names.push((name.to_owned(), path.clone()));
        }
    }
    names.sort();
    Ok(names)
}

/// Where `path` lies until it is finished.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension(UNFINISHED)
}

/// A new, empty file to write to, readable by the agent's user only.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| Failure::of(path, "create", source))
}

/// Flush `file` and give it its name, which then means the whole file or is not there.
pub(super) fn finish(file: &File, path: &Path) -> Result<(), Failure> {
    file.sync_all().map_err(|source| Failure::of(path, "flush", source))?;
    rename(&unfinished(path), path)
}

/// Rename within a directory, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|source| Failure::of(to, "rename to", source))?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Delete, and do not wait until it is durable.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|source| Failure::of(path, "delete", source))
}

/// All of a file as the disk holds it. What a killed agent left in the page cache is flushed first;
/// then the cache is dropped, because after a failed flush it shows bytes that the disk never got.
pub(super) fn read_durable(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.sync_data()?;
        // Advice: some file systems have no cache to drop.
        fadvise(&file, 0, None, Advice::DontNeed).ok();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| Failure::of(path, "read", source))
}
