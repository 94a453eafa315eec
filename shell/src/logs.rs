//! The files of an alloc, for those who look from outside: opened beneath its directory only.
//!
//! A task owns its directory and can put anything there: symlinks that lead out, pipes that never
//! open, devices. So a path is first opened without touching what it names (`O_PATH`), judged, and
//! only then opened to read.
//!
//! Invariants
//! - nothing outside the alloc's directory is ever shown, whatever links there are;
//! - only regular files are read, and only directories listed;
//! - `secrets` and the shim's records are shown to nobody, however a path reaches them.
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use drover_core::types::Uuid;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::drivers::dirs::{RECORDS_DIR, SECRETS_DIR, alloc_dir};

pub mod follow;

/// Names that a listing shows at most.
pub const LIST_MAX: usize = 10_000;
/// Looked at to tell text from anything else.
const SNIFF_BYTES: usize = 512;

/// Why a file is not shown.
#[derive(Debug)]
pub enum Refusal {
    NotFound(String),
    /// It lies outside, or is nobody's business.
    Forbidden(String),
    /// It is not the kind of thing that was asked for.
    Unfit(String),
    Failed(String),
}

/// The directory of one alloc.
#[derive(Debug)]
pub struct AllocDir {
    directory: OwnedFd,
    /// Without links.
    real: PathBuf,
}

/// What is known of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    /// As `ls` and Go write it: `drwxr-xr-x`.
    pub mode: String,
    pub modified_unix_ms: u64,
}

impl AllocDir {
    /// The directory of `alloc` beneath `root`.
    ///
    /// # Errors
    /// If it is not there.
    pub fn open(root: &Path, alloc: Uuid) -> Result<Self, Refusal> {
        let path = alloc_dir(root, alloc);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&path, flags, Mode::empty()).map_err(|why| match why {
            Errno::NOENT => Refusal::NotFound(format!("alloc {alloc} has no files on this node")),
            _ => Refusal::Failed(format!("{}: {why}", path.display())),
        })?;
        let real = name_of(&directory)
            .map_err(|why| Refusal::Failed(format!("{}: {why}", path.display())))?;
        Ok(Self { directory, real })
    }

    /// The file at `path`, to be read.
    ///
    /// # Errors
    /// If it is not a regular file of this alloc that may be seen.
    pub fn file(&self, path: &str) -> Result<File, Refusal> {
        let found = self.find(path)?;
        let meta = found.metadata().map_err(|why| failed(path, &why))?;
        if !meta.is_file() {
            return Err(Refusal::Unfit(format!("{path:?} is no regular file")));
        }
        File::open(descriptor(&found)).map_err(|why| failed(path, &why))
    }

    /// What is at `path`, and what kind of content it has.
    ///
    /// # Errors
    /// If there is nothing that may be seen.
    pub fn stat(&self, path: &str) -> Result<(Entry, &'static str), Refusal> {
        let found = self.find(path)?;
        let meta = found.metadata().map_err(|why| failed(path, &why))?;
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or("/");
        let content = if meta.is_file() { content_type(&descriptor(&found)) } else { "" };
        Ok((Entry::of(name.to_owned(), &meta), content))
    }

    /// What is in the directory at `path`, in the order of names.
    ///
    /// # Errors
    /// If it is no directory that may be seen.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, Refusal> {
        let found = self.find(path)?;
        if !found.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(Refusal::Unfit(format!("{path:?} is no directory")));
        }
        let names = fs::read_dir(descriptor(&found)).map_err(|why| failed(path, &why))?;
        let mut entries: Vec<Entry> = names
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() != RECORDS_DIR)
            .take(LIST_MAX)
            // A file may go while it is listed.
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                Some(Entry::of(entry.file_name().to_string_lossy().into_owned(), &meta))
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Opened as a place only: what is there is not touched.
    fn find(&self, path: &str) -> Result<File, Refusal> {
        let relative = match path.trim_matches('/') {
            "" => ".",
            relative => relative,
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.directory, relative, flags, Mode::empty(), resolve);
        let found = found.map_err(|why| match why {
            Errno::NOENT | Errno::NOTDIR => Refusal::NotFound(format!("file {path:?} not found")),
            Errno::XDEV | Errno::LOOP => {
                Refusal::Forbidden(format!("{path:?} leads out of the alloc's directory"))
            }
            Errno::ACCESS | Errno::PERM => Refusal::Forbidden(format!("{path:?}: {why}")),
            _ => Refusal::Failed(format!("{path:?}: {why}")),
        })?;
        let real = name_of(&found).map_err(|why| failed(path, &why))?;
        let inside = real.strip_prefix(&self.real).map_err(|_| {
            Refusal::Forbidden(format!("{path:?} leads out of the alloc's directory"))
        })?;
        let own = inside.components().nth(1).map(|part| part.as_os_str().to_owned());
        if own.is_some_and(|name| name == SECRETS_DIR || name == RECORDS_DIR) {
            return Err(Refusal::Forbidden(format!("{path:?} is for its task only")));
        }
        Ok(File::from(found))
    }
}

impl Entry {
    fn of(name: String, meta: &fs::Metadata) -> Self {
        let modified =
            meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let ms = modified.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        Self {
            name,
            is_dir: meta.is_dir(),
            size_bytes: meta.len(),
            mode: mode(meta.mode()),
            modified_unix_ms: ms,
        }
    }
}

/// Where an open file really is.
fn name_of(fd: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The way to open again what has been judged: nobody can put something else in its place.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn failed(path: &str, why: &io::Error) -> Refusal {
    Refusal::Failed(format!("{path:?}: {why}"))
}

fn content_type(path: &Path) -> &'static str {
    use std::io::Read as _;
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    let read =
        File::open(path).and_then(|file| file.take(SNIFF_BYTES as u64).read_to_end(&mut head));
    let is_text = match std::str::from_utf8(&head) {
        Ok(text) => !text.contains('\0'),
        // Cut within a character.
        Err(why) => why.error_len().is_none(),
    };
    if read.is_ok() && is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" }
}

/// A mode as Go writes it.
fn mode(bits: u32) -> String {
    let kinds = [
        (0o040_000, 'd'),
        (0o120_000, 'L'),
        (0o010_000, 'p'),
        (0o140_000, 'S'),
        (0o060_000, 'D'),
        (0o020_000, 'D'),
    ];
    let mut text: String =
        kinds.iter().filter(|(kind, _)| bits & 0o170_000 == *kind).map(|&(_, c)| c).collect();
    let special = [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')];
    text.extend(special.iter().filter(|(bit, _)| bits & bit != 0).map(|&(_, c)| c));
    if text.is_empty() {
        text.push('-');
    }
    let rights = "rwxrwxrwx".chars().enumerate();
    text.extend(rights.map(|(at, c)| if bits & (0o400 >> at) == 0 { '-' } else { c }));
    text
}

/// Whether the alloc has files beneath `root`.
#[must_use]
pub fn has_files(root: &Path, alloc: Uuid) -> bool {
    alloc_dir(root, alloc).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn alloc() -> (tempfile::TempDir, AllocDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = alloc_dir(root.path(), Uuid(7));
        for part in ["alloc/logs", "web/secrets", "web/local", "web/.drover/0"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        fs::write(path.join("web/secrets/key"), "hidden").unwrap();
        fs::write(path.join("web/local/page"), "seen").unwrap();
        let directory = AllocDir::open(root.path(), Uuid(7)).unwrap();
        (root, directory, path)
    }

    fn forbidden<T>(result: Result<T, Refusal>) -> bool {
        matches!(result, Err(Refusal::Forbidden(_)))
    }

    #[test]
    fn no_path_and_no_link_leads_out() {
        let (_root, dir, path) = alloc();
        symlink("/etc/passwd", path.join("web/local/out")).unwrap();
        symlink("../../../..", path.join("web/local/up")).unwrap();
        symlink("page", path.join("web/local/in")).unwrap();
        for path in ["web/local/out", "../../etc/passwd", "web/local/up/etc/passwd", ".."] {
            assert!(forbidden(dir.file(path)), "{path}");
        }
        assert!(dir.file("web/local/in").is_ok());
        assert!(dir.file("/web/../web/local/page").is_ok());
    }

    #[test]
    fn secrets_and_records_are_shown_to_nobody() {
        let (_root, dir, path) = alloc();
        symlink("../web/secrets", path.join("alloc/way")).unwrap();
        for path in ["web/secrets/key", "web/secrets", "alloc/way/key", "web/.drover/0"] {
            assert!(forbidden(dir.stat(path)), "{path}");
        }
        let names: Vec<_> = dir.list("web").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["local", "secrets"]);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let (_root, dir, path) = alloc();
        let pipe = path.join("web/local/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        assert!(matches!(dir.file("web/local/pipe"), Err(Refusal::Unfit(_))));
        assert!(matches!(dir.file("web/local"), Err(Refusal::Unfit(_))));
        assert!(matches!(dir.list("web/local/page"), Err(Refusal::Unfit(_))));
        assert!(matches!(dir.stat("web/nothing"), Err(Refusal::NotFound(_))));
    }

    #[test]
    fn files_are_described_as_go_does() {
        let (_root, dir, _) = alloc();
        let (entry, content) = dir.stat("web/local/page").unwrap();
        assert_eq!((entry.name.as_str(), entry.size_bytes, entry.is_dir), ("page", 4, false));
        assert_eq!(content, "text/plain; charset=utf-8");
        assert_eq!(mode(0o041_777), "dtrwxrwxrwx");
        assert_eq!(mode(0o100_640), "-rw-r-----");
        assert_eq!(mode(0o120_777), "Lrwxrwxrwx");
    }
}
