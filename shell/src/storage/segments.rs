//! The files of the log: made, recycled, read and removed.
//!
//! Invariants
//! - a segment's name appears only when the whole file is durable;
//! - creation, recycling and removal are durable in the order they were asked for.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use drover_core::wal::{self, Recovery, SegmentId, SegmentImage, TornTail};

use super::{Failure, files};

/// Zeros of one write, and between two flushes: short enough for the log's own flushes to pass.
const ZEROS_BYTES: usize = 2 << 20;

/// Whether anything is to survive the process.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Always,
    Nothing,
}

/// How a block reaches the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// At once, and flushed by the same call; its memory must be aligned.
    Direct,
    /// Through the page cache, which is then flushed.
    Cached,
    /// Through the page cache, whenever the system likes.
    Unflushed,
}

#[derive(Clone, Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    keep: Keep,
}

impl Segments {
    pub(super) fn open(dir: PathBuf) -> Result<Self, Failure> {
        files::make_dir(&dir)?;
        Ok(Self { dir, keep: Keep::Always })
    }

    pub(super) fn keeping_nothing(self) -> Self {
        Self { keep: Keep::Nothing, ..self }
    }

    /// Read the log, and overwrite what a crash left half written.
    pub(super) fn recover(&self) -> Result<Recovery, Failure> {
        let mut failure = None;
        let mut read = |(segment, path): (SegmentId, PathBuf)| match files::read_durable(&path) {
            Ok(bytes) => Some(SegmentImage { segment, bytes, blank_bytes: 0 }),
            Err(reason) => {
                failure = Some(reason);
                None
            }
        };
        let images = self.found()?.into_iter().map_while(&mut read);
        let recovered = wal::recover(images, crc_fast::crc32_iscsi);
        if let Some(reason) = failure {
            return Err(reason);
        }
        let recovery = recovered.map_err(|corruption| {
            let file = self.path(corruption.segment);
            Failure::Corrupt { file, corruption }
        })?;
        if let Some(torn) = recovery.torn {
            self.wipe(torn)?;
        }
        Ok(recovery)
    }

    pub(super) fn prepare(
        &self,
        segment: SegmentId,
        bytes: u64,
        recycled: Option<SegmentId>,
    ) -> Result<(), Failure> {
        let path = self.path(segment);
        if let Some(old) = recycled {
            return files::rename(&self.path(old), &path);
        }
        let unfinished = files::unfinished(&path);
        let failure = |source| Failure::of(&unfinished, "fill", source);
        let made = files::create(&unfinished).and_then(|file| match self.keep {
            Keep::Always => {
                write_zeros(&file, 0, bytes).map_err(failure)?;
                files::finish(&file, &path)
            }
            Keep::Nothing => {
                file.set_len(bytes).map_err(failure)?;
                std::fs::rename(&unfinished, &path).map_err(failure)
            }
        });
        if made.is_err() {
            // Give its space back; if that fails too, the next start deletes it.
            files::remove(&unfinished).ok();
        }
        made
    }

    pub(super) fn remove(&self, segment: SegmentId) -> Result<(), Failure> {
        files::remove(&self.path(segment))?;
        files::sync_dir(&self.dir)
    }

    /// Open for blocks: past the page cache where the file system allows it, which saves the copy into
    /// the cache and a second wait for the disk.
    pub(super) fn open_for_blocks(&self, segment: SegmentId) -> Result<(File, Route), Failure> {
        let direct = libc::O_DIRECT | libc::O_DSYNC;
        match self.keep {
            Keep::Nothing => Ok((self.open_segment(segment)?, Route::Unflushed)),
            Keep::Always => {
                let path = self.path(segment);
                let opened = OpenOptions::new().write(true).custom_flags(direct).open(path);
                match opened {
                    Ok(file) => Ok((file, Route::Direct)),
                    Err(_) => self.open_through_cache(segment),
                }
            }
        }
    }

    pub(super) fn open_through_cache(&self, segment: SegmentId) -> Result<(File, Route), Failure> {
        Ok((self.open_segment(segment)?, Route::Cached))
    }

    fn open_segment(&self, segment: SegmentId) -> Result<File, Failure> {
        let path = self.path(segment);
        let opened = OpenOptions::new().write(true).open(&path);
        opened.map_err(|source| Failure::of(&path, "open", source))
    }

    pub(super) fn path(&self, segment: SegmentId) -> PathBuf {
        self.dir.join(format!("{:020}.segment", segment.0))
    }

    /// The segments that are there, in the order of their numbers.
    fn found(&self) -> Result<Vec<(SegmentId, PathBuf)>, Failure> {
        let names = files::list(&self.dir)?;
        Ok(names.into_iter().filter_map(|(name, path)| Some((number(&name)?, path))).collect())
    }

    fn wipe(&self, torn: TornTail) -> Result<(), Failure> {
        let file = self.open_segment(torn.segment)?;
        tracing::warn!(
            segment = torn.segment.0,
            offset = torn.offset,
            bytes = torn.bytes,
            "cut an unfinished write off the log"
        );
        write_zeros(&file, torn.offset, torn.bytes)
            .and_then(|()| file.sync_data())
            .map_err(|source| Failure::of(&self.path(torn.segment), "wipe", source))
    }
}

fn number(name: &str) -> Option<SegmentId> {
    let digits = Path::new(name).file_stem()?.to_str()?;
    name.ends_with(".segment").then(|| digits.parse().ok().map(SegmentId))?
}

/// Real zeros, not reserved space: a write into reserved space must change metadata, and pays twice.
/// The caller flushes the last of them.
fn write_zeros(file: &File, offset: u64, bytes: u64) -> std::io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut written = 0;
    while written < bytes {
        let rest = usize::try_from(bytes - written).unwrap_or(usize::MAX).min(ZEROS_BYTES);
        file.write_all_at(&zeros[..rest], offset + written)?;
        written += rest as u64;
        if written < bytes {
            file.sync_data()?;
        }
    }
    Ok(())
}
