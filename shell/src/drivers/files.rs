//! Reading the files of an alloc for a user: listing, looking at, and reading beneath its directory.
//!
//! A task may put whatever links it likes into its directories; the kernel (`openat2`) keeps every
//! step beneath the alloc's directory, so a link shows nothing of the machine.
//!
//! Invariants
//! - no path leads out of the alloc's directory; secrets and the shim's records are refused.
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat,
};

use super::dirs::{RECORDS_DIR, SECRETS_DIR};

/// Read at once at most.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// One alloc's directory, open.
#[derive(Debug)]
pub struct AllocFiles {
    root: OwnedFd,
}

/// What a user sees of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileInfo {
    pub name: String,
    pub size_bytes: u64,
    /// As `ls -l` shows it.
    pub mode: String,
    pub is_dir: bool,
    pub modified_unix_ns: i64,
}

impl AllocFiles {
    /// Opens the directory of an alloc (`dirs::alloc_dir`).
    pub fn open(alloc_dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(alloc_dir, flags, Mode::empty())? })
    }

    /// The entries of the directory at `path`, by name.
    pub fn list(&self, path: &str) -> io::Result<Vec<FileInfo>> {
        let dir = self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || name == RECORDS_DIR {
                continue;
            }
            // It may have gone since the directory was read.
            if let Ok(stat) = statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                entries.push(info(name, &stat));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What the file at `path` is.
    pub fn stat(&self, path: &str) -> io::Result<FileInfo> {
        let file = self.open_beneath(path, OFlags::PATH)?;
        let name = Path::new(path).file_name().unwrap_or(OsStr::new("/"));
        Ok(info(name, &fstat(&file)?))
    }

    /// The regular file at `path`, to be read from its beginning.
    pub fn file(&self, path: &str) -> io::Result<File> {
        // Without NONBLOCK a named pipe would hold us up until somebody wrote to it.
        let file = self.open_beneath(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// At most `length_max` (and `READ_BYTES_MAX`) bytes of the file at `path`, from `offset` on.
    pub fn read_at(&self, path: &str, offset: u64, length_max: usize) -> io::Result<Vec<u8>> {
        read_at(&mut self.file(path)?, offset, length_max)
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = inside(path)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&self.root, &path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        self.refuse_private(&opened)?;
        Ok(opened)
    }

    /// A link within the alloc may lead to what is private; so where it led is looked at, not its name.
    fn refuse_private(&self, opened: &OwnedFd) -> io::Result<()> {
        let name = |file: &OwnedFd| {
            use rustix::fd::AsRawFd;
            std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        };
        let (root, real) = (name(&self.root)?, name(opened)?);
        let below = real.strip_prefix(&root).unwrap_or(&real);
        let private = below
            .components()
            .take(2)
            .skip(1)
            .any(|part| part.as_os_str() == SECRETS_DIR || part.as_os_str() == RECORDS_DIR);
        // `alloc/secrets` is the tasks' own affair, not a place for secrets.
        if private && !below.starts_with("alloc") {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this directory is private",
            ));
        }
        Ok(())
    }
}

/// `path` as relative to the alloc's directory; a leading slash means that directory.
fn inside(path: &str) -> io::Result<PathBuf> {
    let mut inside = PathBuf::from(".");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the path escapes the alloc's directory",
                ));
            }
        }
    }
    Ok(inside)
}

pub(super) fn read_at(file: &mut File, offset: u64, length_max: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    let limit = length_max.min(READ_BYTES_MAX) as u64;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn info(name: &OsStr, stat: &Stat) -> FileInfo {
    let seconds = stat.st_mtime;
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    FileInfo {
        name: name.to_string_lossy().into_owned(),
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        mode: mode_text(stat.st_mode),
        is_dir: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        modified_unix_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
    }
}

fn mode_text(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'L',
        FileType::Fifo => 'p',
        FileType::Socket => 'S',
        FileType::BlockDevice | FileType::CharacterDevice => 'D',
        _ => '-',
    };
    let bits = (0..9).map(|at| {
        let letter = [b'r', b'w', b'x'][at % 3];
        if mode & (0o400 >> at) == 0 { '-' } else { char::from(letter) }
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use drover_core::types::Uuid;

    use super::super::dirs::TaskDirs;
    use super::*;

    #[test]
    fn files_are_read_beneath_the_alloc_only() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path(), Uuid(1), "web").unwrap();
        dirs.build(None).unwrap();
        fs::write(dirs.local.join("a"), "0123456789").unwrap();
        fs::write(dirs.secrets.join("key"), "x").unwrap();
        fs::write(root.path().join("outside"), "x").unwrap();
        symlink("/etc", dirs.local.join("etc")).unwrap();
        symlink("../../../outside", dirs.local.join("up")).unwrap();
        symlink("../secrets/key", dirs.local.join("key")).unwrap();
        symlink("a", dirs.local.join("b")).unwrap();
        let files = AllocFiles::open(&dirs.alloc).unwrap();

        assert_eq!(files.read_at("web/local/a", 3, 4).unwrap(), b"3456");
        assert_eq!(files.read_at("/web/local/b", 8, 4).unwrap(), b"89");
        assert_eq!(files.read_at("web/local/a", 99, 4).unwrap(), b"");
        let names = |path| -> Vec<String> {
            files.list(path).unwrap().into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names("/"), ["alloc", "web"]);
        assert_eq!(names("web"), ["local", "secrets", "tmp"]);
        let stat = files.stat("web/local/a").unwrap();
        assert_eq!((stat.name.as_str(), stat.size_bytes, stat.is_dir), ("a", 10, false));
        assert!(files.stat("web").unwrap().mode.starts_with("drwxrwxrwx"));

        let refused = [
            "web/local/etc/passwd",
            "web/local/up",
            "web/local/key",
            "web/secrets/key",
            "web/.drover",
            "../outside",
            "web/nothing",
        ];
        for path in refused {
            assert!(files.file(path).is_err(), "{path}");
        }
        assert!(files.list("web/secrets").is_err());
        assert!(files.file("web").is_err());
    }
}
