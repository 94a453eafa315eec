//! A file that grows, or a task's stream of numbered log files, read piece by piece.
//!
//! Invariants
//! - every byte that is kept in the files is told once, in order, across rotation;
//! - a file is left for the next only when the next exists and the end has been read after that;
//! - a piece is at most `PIECE_BYTES_MAX`.
//!
//! It does not wait: whoever gets `None` asks again later.
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{AllocDir, Refusal};

/// The largest piece (Nomad's frame).
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// Where reading begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// So many bytes after the beginning of what is kept.
    Start(u64),
    /// So many bytes before the end.
    End(u64),
}

/// A part of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    pub data: Vec<u8>,
    /// Beneath the alloc's directory.
    pub file: String,
    /// Where in the file the data ends.
    pub end: u64,
    pub event: Option<Event>,
}

/// What happened to a file beside growing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    Deleted,
    Truncated,
}

/// Which files belong together.
#[derive(Clone, Debug)]
enum Subject {
    /// One file.
    One(String),
    /// `<prefix>.<n>`, `n` growing.
    Rotated { prefix: String, number: u64 },
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    dir: AllocDir,
    subject: Subject,
    file: File,
    at: u64,
    /// The next file existed before the end of this one was read.
    next_exists: bool,
    ended: bool,
}

impl Follower {
    /// The file at `path`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(dir: AllocDir, path: &str, origin: Origin) -> Result<Self, Refusal> {
        let file = dir.file(path)?;
        let size = size(&file)?;
        let at = match origin {
            Origin::Start(offset) => offset.min(size),
            Origin::End(offset) => size.saturating_sub(offset),
        };
        let subject = Subject::One(path.trim_start_matches('/').to_owned());
        Ok(Self { dir, subject, file, at, next_exists: false, ended: false })
    }

    /// The stream `kind` (`stdout`, `stderr`) of `task`.
    ///
    /// # Errors
    /// If the task has no log files yet.
    pub fn of_log(dir: AllocDir, task: &str, kind: &str, origin: Origin) -> Result<Self, Refusal> {
        let prefix = format!("alloc/logs/{task}.{kind}");
        let mut files = Vec::new();
        for number in numbers(&dir, &prefix)? {
            // The oldest may have been rotated away since it was listed.
            let Ok(file) = dir.file(&format!("{prefix}.{number}")) else { continue };
            let bytes = size(&file)?;
            files.push((number, file, bytes));
        }
        let total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        let mut skip = match origin {
            Origin::Start(offset) => offset.min(total),
            Origin::End(offset) => total.saturating_sub(offset),
        };
        let last = files.len().saturating_sub(1);
        for (position, (number, file, bytes)) in files.into_iter().enumerate() {
            if skip < bytes || position == last {
                let subject = Subject::Rotated { prefix, number };
                return Ok(Self { dir, subject, file, at: skip, next_exists: false, ended: false });
            }
            skip -= bytes;
        }
        Err(Refusal::NotFound(format!("task {task:?} not started yet. No logs available")))
    }

    /// The name of the file that is being read.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.subject {
            Subject::One(path) => path.clone(),
            Subject::Rotated { prefix, number } => format!("{prefix}.{number}"),
        }
    }

    /// What comes next; `None`: nothing for now.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Refusal> {
        while !self.ended {
            let mut data = vec![0; PIECE_BYTES_MAX];
            let read = self.file.read_at(&mut data, self.at);
            let length = read.map_err(|why| super::failed(&self.name(), &why))?;
            if 0 < length {
                data.truncate(length);
                self.at += length as u64;
                return Ok(Some(self.piece(data, None)));
            }
            if size(&self.file)? < self.at {
                self.at = 0;
                return Ok(Some(self.piece(Vec::new(), Some(Event::Truncated))));
            }
            if !self.advance()? {
                return Ok(self.vanished());
            }
        }
        Ok(None)
    }

    /// At the end of a file: on to the next one, or to a last look at this one. `false`: there is none.
    fn advance(&mut self) -> Result<bool, Refusal> {
        let Subject::Rotated { prefix, number } = &mut self.subject else { return Ok(false) };
        if !self.next_exists {
            // What was written before the next file began may have come after our last look.
            self.next_exists = numbers(&self.dir, prefix)?.iter().any(|other| *number < *other);
            return Ok(self.next_exists);
        }
        let next = numbers(&self.dir, prefix)?.into_iter().find(|other| *number < *other);
        let Some(next) = next else { return Ok(false) };
        // It too may have gone already: the next round finds the one after it.
        if let Ok(file) = self.dir.file(&format!("{prefix}.{next}")) {
            (self.file, self.at, self.next_exists) = (file, 0, false);
        }
        *number = next;
        Ok(true)
    }

    /// A single file that is gone is told once, and is the end.
    fn vanished(&mut self) -> Option<Piece> {
        let Subject::One(path) = &self.subject else { return None };
        if !matches!(self.dir.stat(path), Err(Refusal::NotFound(_))) {
            return None;
        }
        self.ended = true;
        Some(self.piece(Vec::new(), Some(Event::Deleted)))
    }

    /// Nothing will ever come any more.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    fn piece(&self, data: Vec<u8>, event: Option<Event>) -> Piece {
        Piece { data, file: self.name(), end: self.at, event }
    }
}

fn size(file: &File) -> Result<u64, Refusal> {
    file.metadata().map(|meta| meta.len()).map_err(|why| Refusal::Failed(why.to_string()))
}

/// The numbers of the files of `prefix`, lowest first.
fn numbers(dir: &AllocDir, prefix: &str) -> Result<Vec<u64>, Refusal> {
    let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let entries = dir.list(folder)?;
    let mut numbers: Vec<u64> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_prefix(name)?.strip_prefix('.')?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::dirs::alloc_dir;
    use drover_core::types::Uuid;
    use std::fs;
    use std::io::Write as _;
    use std::path::PathBuf;

    fn logs(files: &[(u64, &str)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let logs = alloc_dir(root.path(), Uuid(1)).join("alloc/logs");
        fs::create_dir_all(&logs).unwrap();
        for (number, text) in files {
            fs::write(logs.join(format!("web.stdout.{number}")), text).unwrap();
        }
        (root, logs)
    }

    fn follow(root: &tempfile::TempDir, origin: Origin) -> Follower {
        let dir = AllocDir::open(root.path(), Uuid(1)).unwrap();
        Follower::of_log(dir, "web", "stdout", origin).unwrap()
    }

    fn drain(follower: &mut Follower) -> String {
        let mut text = Vec::new();
        while let Some(piece) = follower.next_piece().unwrap() {
            text.extend(piece.data);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn offsets_count_over_all_files() {
        let (root, _) = logs(&[(9, "abc"), (10, "def"), (11, "gh")]);
        for (origin, text) in [
            (Origin::Start(0), "abcdefgh"),
            (Origin::Start(4), "efgh"),
            (Origin::Start(99), ""),
            (Origin::End(0), ""),
            (Origin::End(3), "fgh"),
            (Origin::End(99), "abcdefgh"),
        ] {
            assert_eq!(drain(&mut follow(&root, origin)), text, "{origin:?}");
        }
    }

    #[test]
    fn no_byte_is_lost_or_told_twice_when_files_rotate() {
        let (root, logs) = logs(&[(0, "a")]);
        let mut follower = follow(&root, Origin::Start(0));
        assert_eq!(drain(&mut follower), "a");
        let mut first = File::options().append(true).open(logs.join("web.stdout.0")).unwrap();
        first.write_all(b"b").unwrap();
        fs::write(logs.join("web.stdout.1"), "c").unwrap();
        assert_eq!(drain(&mut follower), "bc");
        fs::remove_file(logs.join("web.stdout.0")).unwrap();
        fs::remove_file(logs.join("web.stdout.1")).unwrap();
        fs::write(logs.join("web.stdout.3"), "d").unwrap();
        assert_eq!(drain(&mut follower), "d");
        assert_eq!(follower.name(), "alloc/logs/web.stdout.3");
    }

    #[test]
    fn a_file_that_shrinks_or_goes_is_said_so() {
        let (root, logs) = logs(&[(0, "long text")]);
        let dir = AllocDir::open(root.path(), Uuid(1)).unwrap();
        let path = "alloc/logs/web.stdout.0";
        let mut follower = Follower::of_file(dir, path, Origin::Start(0)).unwrap();
        assert_eq!(follower.next_piece().unwrap().unwrap().end, 9);
        fs::write(logs.join("web.stdout.0"), "new").unwrap();
        let piece = follower.next_piece().unwrap().unwrap();
        assert_eq!((piece.event, piece.end), (Some(Event::Truncated), 0));
        assert_eq!(follower.next_piece().unwrap().unwrap().data, b"new");
        fs::remove_file(logs.join("web.stdout.0")).unwrap();
        assert_eq!(follower.next_piece().unwrap().unwrap().event, Some(Event::Deleted));
        assert_eq!(follower.next_piece().unwrap(), None);
        assert!(follower.has_ended());
    }
}
