//! The disk below the data directories: what it is, and how long a flush of it takes.
//!
//! Invariants
//! - it is written to as the log is: one block over bytes that are there already, then `fdatasync`.
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::Measured;

/// The log's smallest write.
const BLOCK: [u8; 4_096] = [0x5a; 4_096];
/// Blocks of the file that is written over, round and round.
const BLOCKS: usize = 1_024;
/// As many as there are servers on this disk.
const WRITERS: usize = 3;

/// How long writing one block and flushing it took, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) alone_ns: Vec<u64>,
    /// Three files written and flushed at once, by a thread each.
    pub(crate) together_ns: Vec<u64>,
}

impl Disk {
    /// `count` flushes alone, and as many by each of three writers.
    pub(crate) fn measure(&mut self, folder: &Path, count: usize) -> Measured<()> {
        let scratch = scratch(folder)?;
        let files: Vec<File> = (0..WRITERS)
            .map(|number| prewritten(&scratch.path().join(number.to_string())))
            .collect::<Measured<_>>()?;
        self.alone_ns.extend(flush(&files[0], count)?);
        let flushed: Vec<Measured<Vec<u64>>> = std::thread::scope(|scope| {
            let writers: Vec<_> =
                files.iter().map(|file| scope.spawn(move || flush(file, count))).collect();
            let panicked = |_| Err("a thread that measures the disk panicked".to_owned());
            writers.into_iter().map(|writer| writer.join().unwrap_or_else(panicked)).collect()
        });
        for times in flushed {
            self.together_ns.extend(times?);
        }
        Ok(())
    }
}

fn prewritten(path: &Path) -> Measured<File> {
    let make = || -> std::io::Result<File> {
        let file = OpenOptions::new().create_new(true).write(true).open(path)?;
        file.write_all_at(&BLOCK.repeat(BLOCKS), 0)?;
        file.sync_all()?;
        Ok(file)
    };
    make().map_err(|why| format!("{}: {why}", path.display()))
}

fn flush(file: &File, count: usize) -> Measured<Vec<u64>> {
    let one = |number: usize| -> std::io::Result<u64> {
        let begun = Instant::now();
        file.write_all_at(&BLOCK, ((number % BLOCKS) * BLOCK.len()) as u64)?;
        file.sync_data()?;
        Ok(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    };
    (0..count).map(one).collect::<std::io::Result<_>>().map_err(|why| format!("a flush: {why}"))
}

/// Where data directories go.
pub(crate) fn folder() -> Measured<PathBuf> {
    let named = std::env::var_os("DROVER_BENCH_DIR").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    folder.canonicalize().map_err(|why| format!("{}: {why}", folder.display()))
}

/// A folder that is gone at the end.
pub(crate) fn scratch(folder: &Path) -> Measured<TempDir> {
    tempfile::tempdir_in(folder).map_err(|why| format!("{}: {why}", folder.display()))
}

/// The kind of file system that `folder` is on. One in memory is refused: it has nothing to flush.
pub(crate) fn file_system(folder: &Path) -> Measured<String> {
    let mounts = fs::read_to_string("/proc/mounts").map_err(|why| why.to_string())?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    // Of two on one point the later one is seen.
    let found = mounted.max_by_key(|&(length, _)| length);
    match found {
        Some((_, kind @ ("tmpfs" | "ramfs"))) => Err(format!(
            "{} is on {kind}, which keeps nothing: set DROVER_BENCH_DIR to a folder on a disk",
            folder.display()
        )),
        Some((_, kind)) => Ok(kind.to_owned()),
        None => Err(format!("no mount holds {}", folder.display())),
    }
}
