//! One stream of a task, moved from its pipe into numbered files.
//!
//! Bytes go by splice(2) from the pipe to the file: none ever lie in the shim, so none are lost with
//! it. Files are `<prefix>.<n>`, `n` growing; a full file is followed by the next, and the oldest is
//! removed. When the disk refuses bytes they are dropped: a full disk must not stop the task.
//!
//! Invariants
//! - a file never exceeds its limit; at most `files_max` files of a stream exist.
use std::fs;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, SeekFrom, fcntl_setfl, open, seek, unlink};
use rustix::io::{Errno, read};
use rustix::pipe::{SpliceFlags, splice};

/// Taken from a pipe at once; more than a pipe usually holds.
const SPLICE_BYTES_MAX: u64 = 1 << 20;
/// Dropped at once when the disk is full; small, since the shim's stack is to stay small.
const DROP_BYTES: usize = 4096;

pub(super) struct Log {
    /// `None` once every writer is gone.
    pipe: Option<OwnedFd>,
    file: OwnedFd,
    prefix: String,
    number: u32,
    size: u64,
    file_bytes_max: u64,
    files_max: u32,
}

/// When files end and go.
#[derive(Clone, Copy)]
pub(super) struct Rotation {
    pub(super) file_bytes_max: u64,
    pub(super) files_max: u32,
}

impl Log {
    /// Continues the newest file of `prefix`, or begins the first.
    pub(super) fn open(prefix: String, pipe: OwnedFd, rotation: Rotation) -> Result<Self, String> {
        let failed = |error: Errno| format!("log file {prefix}: {error}");
        fcntl_setfl(&pipe, OFlags::NONBLOCK).map_err(failed)?;
        let numbers = numbers_of(&prefix);
        let newest = numbers.last().copied();
        let number = newest.unwrap_or(0);
        let files_max = rotation.files_max.max(1);
        for &old in numbers.iter().filter(|&&old| old + files_max <= number) {
            unlink(format!("{prefix}.{old}")).ok();
        }
        // Whoever follows a task that has said nothing yet finds a file to wait for.
        let file = create(&prefix, number).map_err(failed)?;
        let size = seek(&file, SeekFrom::End(0)).map_err(failed)?;
        let file_bytes_max = rotation.file_bytes_max.max(1);
        Ok(Self { pipe: Some(pipe), file, prefix, number, size, file_bytes_max, files_max })
    }

    pub(super) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Moves what the pipe holds; forgets the pipe when its writers are gone.
    pub(super) fn pump(&mut self) {
        loop {
            let Some(pipe) = &self.pipe else { return };
            if self.file_bytes_max <= self.size {
                // The next file begins with its first byte.
                match waiting(pipe) {
                    Waiting::Bytes if self.next_file().is_err() => return self.drop_some(),
                    Waiting::Bytes => continue,
                    Waiting::Nothing => return,
                    Waiting::End => self.pipe = None,
                }
                return;
            }
            let room = (self.file_bytes_max - self.size).min(SPLICE_BYTES_MAX);
            let room = usize::try_from(room).expect("invariant: a megabyte fits");
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            match splice(pipe, None, &self.file, None, room, flags) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.size += count as u64,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.drop_some(),
            }
        }
    }

    fn next_file(&mut self) -> rustix::io::Result<()> {
        let number = self.number + 1;
        self.file = create(&self.prefix, number)?;
        self.number = number;
        self.size = 0;
        if let Some(old) = number.checked_sub(self.files_max) {
            // The oldest may be gone already: someone tidied up.
            unlink(format!("{}.{old}", self.prefix)).ok();
        }
        assert!(self.size < self.file_bytes_max, "a file never exceeds its limit");
        Ok(())
    }

    fn drop_some(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let mut sink = [0u8; DROP_BYTES];
        if read(pipe, &mut sink) == Ok(0) {
            self.pipe = None;
        }
    }
}

enum Waiting {
    Bytes,
    Nothing,
    End,
}

fn waiting(pipe: &OwnedFd) -> Waiting {
    let mut watched = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok();
    let seen = watched[0].revents();
    match seen {
        seen if seen.contains(PollFlags::IN) => Waiting::Bytes,
        seen if seen.is_empty() => Waiting::Nothing,
        _ => Waiting::End,
    }
}

/// Not for appending: splice refuses such files.
fn create(prefix: &str, number: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    open(format!("{prefix}.{number}"), flags, Mode::from_raw_mode(0o644))
}

/// The numbers of the files of `prefix`, ascending.
#[must_use]
pub fn numbers_of(prefix: &str) -> Vec<u32> {
    let path = Path::new(prefix);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| {
            entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix('.')?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}
