//! A task's output as one stream over its rotated files.
//!
//! Invariants
//! - every byte is handed out once, in order; only what was removed before it was read is skipped.
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::files::{AllocFiles, READ_BYTES_MAX, read_at};
use crate::shim::log_numbers;

/// Which output of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// From where an offset is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    Start,
    End,
}

/// Some output, all from one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogChunk {
    /// Relative to the alloc's directory: `alloc/logs/web.stdout.0`.
    pub file: String,
    /// Where in the file the chunk ends.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// How often a follower looks for more: a person does not notice, and an idle one costs microseconds.
const FOLLOW_POLL: Duration = Duration::from_millis(100);
/// A chunk for the network: a few frames.
const CHUNK_BYTES: usize = 64 << 10;
const _: () = assert!(CHUNK_BYTES <= READ_BYTES_MAX);

/// Reads a task's output from some point on.
pub struct LogReader {
    files: AllocFiles,
    /// Absolute, for listing.
    prefix: String,
    name: String,
    at: Option<Position>,
}

struct Position {
    number: u32,
    file: File,
    offset: u64,
}

impl Stream {
    /// As in the name of a log file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl LogReader {
    /// A reader of `stream` of `task`, `offset` bytes after the start or before the end of what there is.
    pub fn open(
        alloc_dir: &Path,
        task: &str,
        stream: Stream,
        origin: Origin,
        offset: u64,
    ) -> io::Result<Self> {
        let name = format!("alloc/logs/{task}.{}", stream.name());
        let prefix = alloc_dir.join(&name);
        let Some(prefix) = prefix.to_str() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"));
        };
        let files = AllocFiles::open(alloc_dir)?;
        let mut reader = Self { files, prefix: prefix.to_owned(), name, at: None };
        let sizes: Vec<(u32, u64)> = reader.sizes();
        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        let mut skip = match origin {
            Origin::Start => offset.min(total),
            Origin::End => total.saturating_sub(offset),
        };
        for &(number, size) in &sizes {
            if skip < size || Some(&(number, size)) == sizes.last() {
                reader.enter(number, skip)?;
                break;
            }
            skip -= size;
        }
        Ok(reader)
    }

    /// The stream's files in order, relative to the alloc's directory.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        log_numbers(&self.prefix).into_iter().map(|n| format!("{}.{n}", self.name)).collect()
    }

    /// The next piece that is there; `None` when all has been read for now.
    pub fn read(&mut self) -> io::Result<Option<LogChunk>> {
        loop {
            let Some(at) = &mut self.at else {
                let Some(&first) = log_numbers(&self.prefix).first() else { return Ok(None) };
                self.enter(first, 0)?;
                continue;
            };
            let bytes = read_at(&mut at.file, at.offset, CHUNK_BYTES)?;
            if !bytes.is_empty() {
                at.offset += bytes.len() as u64;
                let file = format!("{}.{}", self.name, at.number);
                return Ok(Some(LogChunk { file, offset: at.offset, bytes }));
            }
            let number = at.number;
            let Some(next) = log_numbers(&self.prefix).into_iter().find(|&n| number < n) else {
                return Ok(None);
            };
            // A file is complete once its successor exists; so what was written between our
            // reading and its coming is read before we go on.
            let rest = read_at(&mut at.file, at.offset, CHUNK_BYTES)?;
            if rest.is_empty() {
                self.enter(next, 0)?;
            }
        }
    }

    /// The next piece, waited for. Dropping the future loses nothing.
    pub async fn follow(&mut self) -> io::Result<LogChunk> {
        loop {
            if let Some(chunk) = self.read()? {
                return Ok(chunk);
            }
            tokio::time::sleep(FOLLOW_POLL).await;
        }
    }

    fn enter(&mut self, number: u32, offset: u64) -> io::Result<()> {
        match self.files.file(&format!("{}.{number}", self.name)) {
            Ok(file) => self.at = Some(Position { number, file, offset }),
            // Rotated away since it was listed: the next listing tells where to go on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.at = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn sizes(&self) -> Vec<(u32, u64)> {
        log_numbers(&self.prefix)
            .into_iter()
            .filter_map(|number| {
                let stat = self.files.stat(&format!("{}.{number}", self.name)).ok()?;
                Some((number, stat.size_bytes))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use drover_core::types::Uuid;

    use super::super::dirs::TaskDirs;
    use super::*;

    fn all(reader: &mut LogReader) -> String {
        let mut text = String::new();
        while let Some(chunk) = reader.read().unwrap() {
            text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
        }
        text
    }

    #[test]
    fn rotated_files_are_read_as_one_from_any_point() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path(), Uuid(1), "web").unwrap();
        dirs.build(None).unwrap();
        let open = |origin, offset| {
            LogReader::open(&dirs.alloc, "web", Stream::Stdout, origin, offset).unwrap()
        };
        let write = |number: u32, text: &str| {
            fs::write(dirs.logs().join(format!("web.stdout.{number}")), text).unwrap();
        };
        let mut early = open(Origin::Start, 0);
        assert_eq!(early.read().unwrap(), None);
        write(9, "abc");
        write(10, "def");
        write(11, "g");
        assert_eq!(all(&mut early), "abcdefg");
        assert_eq!(all(&mut open(Origin::Start, 4)), "efg");
        assert_eq!(all(&mut open(Origin::Start, 3)), "defg");
        assert_eq!(all(&mut open(Origin::End, 2)), "fg");
        assert_eq!(all(&mut open(Origin::End, 99)), "abcdefg");
        let mut end = open(Origin::End, 0);
        assert_eq!(all(&mut end), "");
        write(11, "gh");
        write(12, "i");
        let chunk = end.read().unwrap().unwrap();
        assert_eq!((chunk.file.as_str(), chunk.offset), ("alloc/logs/web.stdout.11", 2));
        assert_eq!(all(&mut end), "i");
        fs::remove_file(dirs.logs().join("web.stdout.9")).unwrap();
        assert_eq!(all(&mut early), "hi");
        assert_eq!(early.file_names().len(), 3);
    }
}
