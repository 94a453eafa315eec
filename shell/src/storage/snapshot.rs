//! Snapshots as files: written whole or not at all, read in chunks, received in chunks.
//!
//! A snapshot's name holds its index and the digest of its content, so a name is a promise that can
//! be checked. The content is the caller's; two servers' snapshots at one index are byte-identical.
//!
//! Invariants
//! - a file under a snapshot's name is whole and durable;
//! - the newest two are kept: one may be damaged, or still be read by a peer.
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use drover_core::digest::Digest;
use drover_core::types::Index;

use super::{Failure, files};

/// How many snapshots stay.
const KEPT: usize = 2;
const EXTENSION: &str = "snapshot";

/// Which snapshot: what it covers, and what it must contain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SnapshotName {
    pub index: Index,
    pub digest: Digest,
}

/// A snapshot that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    pub name: SnapshotName,
    pub bytes: Vec<u8>,
    /// Newer ones that were damaged; the log must reach back to this one without them.
    pub damaged: Vec<PathBuf>,
}

/// The directory of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

/// A snapshot that arrives in chunks. Dropped before `finish`, it is deleted.
#[derive(Debug)]
pub struct Incoming {
    snapshots: Snapshots,
    name: SnapshotName,
    bytes: u64,
    /// None once it is finished.
    file: Option<File>,
}

impl Snapshots {
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        files::make_dir(dir)?;
        files::list(dir)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// Keep `bytes` as the snapshot at `index`; older ones than the newest two go.
    ///
    /// # Errors
    /// If the disk refuses. The snapshots that were there stay.
    pub fn write(&self, index: Index, bytes: &[u8]) -> Result<SnapshotName, Failure> {
        let name = SnapshotName { index, digest: Digest::of(bytes) };
        let path = self.path(name);
        let unfinished = files::unfinished(&path);
        let kept = files::create(&unfinished).and_then(|file| {
            let written = file.write_all_at(bytes, 0);
            written.map_err(|source| Failure::of(&unfinished, "write", source))?;
            files::finish(&file, &path)
        });
        if kept.is_err() {
            // Give its space back; if that fails too, the next start deletes it.
            files::remove(&unfinished).ok();
        }
        kept?;
        self.prune()?;
        Ok(name)
    }

    /// The newest snapshot whose content matches its name, if there is any snapshot.
    ///
    /// # Errors
    /// If the disk refuses, or there are snapshots and all are damaged.
    pub fn load_newest(&self) -> Result<Option<Loaded>, Failure> {
        let mut damaged = Vec::new();
        for name in self.names()?.into_iter().rev() {
            let path = self.path(name);
            let bytes = files::read_durable(&path)?;
            if Digest::of(&bytes) == name.digest {
                return Ok(Some(Loaded { name, bytes, damaged }));
            }
            tracing::error!(path = %path.display(), "a snapshot is damaged");
            damaged.push(path);
        }
        damaged.into_iter().next().map_or(Ok(None), |path| Err(Failure::SnapshotDamaged { path }))
    }

    /// At most `bytes_max` bytes of a snapshot from `offset` on; empty at its end.
    ///
    /// # Errors
    /// If it is no longer kept, or the disk refuses.
    pub fn read_chunk(
        &self,
        name: SnapshotName,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Failure> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::SnapshotGone { index: name.index });
            }
            Err(source) => return Err(Failure::of(&path, "open", source)),
        };
        read_at(&file, offset, bytes_max).map_err(|source| Failure::of(&path, "read", source))
    }

    /// Begin to receive the snapshot `name` of `bytes`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn receive(&self, name: SnapshotName, bytes: u64) -> Result<Incoming, Failure> {
        let file = files::create(&files::unfinished(&self.path(name)))?;
        Ok(Incoming { snapshots: self.clone(), name, bytes, file: Some(file) })
    }

    /// The snapshots that are kept, the oldest first.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn names(&self) -> Result<Vec<SnapshotName>, Failure> {
        let entries = std::fs::read_dir(&self.dir)
            .map_err(|source| Failure::of(&self.dir, "list", source))?;
        let mut names: Vec<_> = entries
            .filter_map(|entry| SnapshotName::parse(entry.ok()?.file_name().to_str()?))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Where `name` lies.
    #[must_use]
    pub fn path(&self, name: SnapshotName) -> PathBuf {
        self.dir.join(name.to_string()).with_added_extension(EXTENSION)
    }

    fn prune(&self) -> Result<(), Failure> {
        let names = self.names()?;
        let surplus = names.len().saturating_sub(KEPT);
        for &name in &names[..surplus] {
            files::remove(&self.path(name))?;
        }
        Ok(())
    }
}

impl Incoming {
    /// Keep a chunk; chunks may come again and in any order.
    ///
    /// # Errors
    /// If it lies beyond the snapshot's end, or the disk refuses.
    pub fn store(&mut self, offset: u64, chunk: &[u8]) -> Result<(), Failure> {
        let path = self.unfinished_path();
        let is_inside = offset.checked_add(chunk.len() as u64).is_some_and(|end| end <= self.bytes);
        if !is_inside {
            return Err(Failure::SnapshotDamaged { path });
        }
        let file = self.file.as_ref().expect("invariant: kept until finish");
        file.write_all_at(chunk, offset).map_err(|source| Failure::of(&path, "write", source))
    }

    /// Check the whole against its name and keep it; older ones than the newest two go.
    ///
    /// # Errors
    /// If a byte is missing or wrong, or the disk refuses. It is deleted then.
    pub fn finish(mut self) -> Result<Vec<u8>, Failure> {
        let path = self.unfinished_path();
        let file = self.file.as_ref().expect("invariant: kept until finish");
        file.sync_data().map_err(|source| Failure::of(&path, "flush", source))?;
        let bytes = files::read_durable(&path)?;
        if bytes.len() as u64 != self.bytes || Digest::of(&bytes) != self.name.digest {
            return Err(Failure::SnapshotDamaged { path });
        }
        files::finish(file, &self.snapshots.path(self.name))?;
        self.file = None;
        self.snapshots.prune()?;
        Ok(bytes)
    }

    fn unfinished_path(&self) -> PathBuf {
        files::unfinished(&self.snapshots.path(self.name))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If this fails, the next start deletes it.
            files::remove(&self.unfinished_path()).ok();
        }
    }
}

impl SnapshotName {
    /// What the file at `path` promises to be.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        Self::parse(path.file_name()?.to_str()?)
    }

    fn parse(file_name: &str) -> Option<Self> {
        let (index, digest) = file_name.strip_suffix(".snapshot")?.split_once('-')?;
        let digest = Digest(u128::from_str_radix(digest, 16).ok()?);
        Some(Self { index: Index(index.parse().ok()?), digest })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{}", self.index.0, self.digest)
    }
}

fn read_at(file: &File, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let rest = file.metadata()?.len().saturating_sub(offset);
    let mut chunk = vec![0; bytes_max.min(usize::try_from(rest).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut chunk, offset)?;
    Ok(chunk)
}
