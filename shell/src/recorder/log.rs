//! A recorded input log as a whole: the segments that there are, and what is in each.
//!
//! Invariants
//! - segments come in the order in which they were recorded;
//! - only heads, lengths, and the first and last inputs are decoded: looking at a log takes as long as
//!   reading it.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use drover_core::agent::recording::{Record, Start};
use drover_core::time::{MonoTime, WallTime};

use super::reader::Reader;
use super::segments;

/// The segments of one agent.
#[derive(Debug)]
pub struct Log {
    pub segments: Vec<Segment>,
}

/// What a look at a segment shows.
#[derive(Clone, Debug)]
pub struct Segment {
    pub path: PathBuf,
    pub begins: Begins,
    pub inputs: u64,
    pub bytes: u64,
    /// When the first and the last input came.
    pub span: Option<(WallTime, WallTime)>,
    /// Bytes at the end that are no whole record.
    pub torn_bytes: u64,
    /// Why nothing behind these inputs can be read.
    pub damage: Option<String>,
}

/// How a segment begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begins {
    /// With a start of the agent.
    AtStart,
    /// Where the segment before ended.
    FollowsOn,
    /// Somewhat later: inputs between are not recorded.
    AfterHole { inputs_missing: u64 },
}

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(
        "{} is not there: name the data directory of an agent, its folder `inputs`, or a file `*.inputs`",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "{} holds no input log: name the data directory of an agent that records (`recorder {{ enabled = \
         true }}`), its folder `inputs`, or a file `*.inputs`",
        .0.display()
    )]
    NoLog(PathBuf),
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

impl Log {
    /// What `path` names: the data directory of an agent, its folder `inputs`, or one segment.
    ///
    /// # Errors
    /// When it names no input log, or one whose first bytes are not one's.
    pub fn find(path: &Path) -> Result<Self, Fault> {
        let unreadable = |source| Fault::Unreadable { path: path.to_owned(), source };
        let about = fs::metadata(path).map_err(|fault| match fault.kind() {
            io::ErrorKind::NotFound => Fault::Missing(path.to_owned()),
            _ => unreadable(fault),
        })?;
        if !about.is_dir() {
            let segment = Segment::look(path).map_err(unreadable)?;
            return Ok(Self { segments: vec![segment] });
        }
        let inside = path.join("inputs");
        let folder = if inside.is_dir() { inside } else { path.to_owned() };
        let found = segments(&folder).map_err(unreadable)?;
        if found.is_empty() {
            return Err(Fault::NoLog(path.to_owned()));
        }
        let look = |(_, path): (u64, PathBuf)| {
            Segment::look(&path).map_err(|source| Fault::Unreadable { path, source })
        };
        let segments = found.into_iter().map(look).collect::<Result<Vec<Segment>, Fault>>()?;
        Ok(Self { segments })
    }

    /// When the first and the last input came.
    #[must_use]
    pub fn span(&self) -> Option<(WallTime, WallTime)> {
        let mut spans = self.segments.iter().filter_map(|segment| segment.span);
        let (first, last) = spans.next()?;
        Some((first, spans.next_back().map_or(last, |(_, last)| last)))
    }

    /// The inputs of all segments.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.segments.iter().map(|segment| segment.inputs).sum()
    }
}

impl Segment {
    fn look(path: &Path) -> io::Result<Self> {
        let (mut reader, start) = Reader::open(path)?;
        let begins = match start {
            Start::Boot { .. } => Begins::AtStart,
            Start::Frozen(_) => Begins::FollowsOn,
            Start::FrozenAfterHole { inputs_missing, .. } => Begins::AfterHole { inputs_missing },
        };
        let bytes = fs::metadata(path)?.len();
        let (mut inputs, mut first, mut last, mut damage) = (0, None, None, None);
        let (mut newest, mut before) = (Vec::new(), None);
        loop {
            match reader.read_bytes() {
                Ok(None) => break,
                Ok(Some(record)) if is_input(&record) => {
                    inputs += 1;
                    before = last;
                    last = wall_of(&record).or(last);
                    first = first.or(last);
                    newest = record;
                }
                Ok(Some(_)) => (),
                Err(fault) => {
                    damage = Some(fault.to_string());
                    break;
                }
            }
        }
        // What stands in a damaged record is no moment.
        if postcard::from_bytes::<Record>(&newest).is_err() {
            last = before;
        }
        let torn_bytes = reader.torn_bytes();
        let path = path.to_owned();
        Ok(Self { path, begins, inputs, bytes, span: first.zip(last), torn_bytes, damage })
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// By the number of the record's variant.
fn is_input(record: &[u8]) -> bool {
    record.first() == Some(&0)
}

/// What stands at the beginning of an input's record, without all that follows.
fn wall_of(record: &[u8]) -> Option<WallTime> {
    let head = postcard::take_from_bytes::<(u32, MonoTime, WallTime)>(record);
    head.ok().map(|((_, _, wall), _)| wall)
}

#[cfg(test)]
mod tests {
    use drover_core::agent::{Event, Input};

    use super::*;

    #[test]
    fn the_head_of_a_record_is_where_the_moment_is_looked_for() {
        let (now, wall) = (MonoTime { ns: 1 << 40 }, WallTime { unix_ms: 1_790_000_000_123 });
        let record = Record::Input(Box::new(Input { now, wall, event: Event::Woken }));
        let bytes = postcard::to_allocvec(&record).expect("it encodes");
        assert!(is_input(&bytes));
        assert_eq!(wall_of(&bytes), Some(wall));
        let other = postcard::to_allocvec(&Record::Sums(Vec::new())).expect("it encodes");
        assert!(!is_input(&other));
    }
}
