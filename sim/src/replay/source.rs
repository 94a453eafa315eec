//! Where recorded segments come from: files of an agent, or the memory of a test.
//!
//! Invariants
//! - a segment can be opened as often as one likes, and is the same each time.
use drover_core::agent::recording::{Record, Start};
use drover_core::time::WallTime;

/// What is recorded in a segment, in order; in words why it cannot be read any further.
pub type Records = Box<dyn Iterator<Item = Result<Record, String>>>;

/// A segment to be read.
pub struct Opened {
    pub start: Start,
    pub records: Records,
}

/// The segments of one agent, oldest first.
pub trait Source {
    /// How many segments there are.
    fn count(&self) -> usize;

    /// What people call the segment.
    fn name(&self, segment: usize) -> String;

    /// How many inputs it holds.
    fn inputs(&self, segment: usize) -> u64;

    /// When its first and last inputs came.
    fn span(&self, segment: usize) -> Option<(WallTime, WallTime)>;

    /// Reads it from its start.
    ///
    /// # Errors
    /// In words for people.
    fn open(&self, segment: usize) -> Result<Opened, String>;

    /// Inputs of all segments before this one.
    fn inputs_before(&self, segment: usize) -> u64 {
        (0..segment).map(|earlier| self.inputs(earlier)).sum()
    }
}

/// Segments in memory.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub segments: Vec<(Start, Vec<Record>)>,
}

impl Source for Recorded {
    fn count(&self) -> usize {
        self.segments.len()
    }

    fn name(&self, segment: usize) -> String {
        format!("segment {}", segment + 1)
    }

    fn inputs(&self, segment: usize) -> u64 {
        self.walls(segment).count() as u64
    }

    fn span(&self, segment: usize) -> Option<(WallTime, WallTime)> {
        let first = self.walls(segment).next()?;
        Some((first, self.walls(segment).last()?))
    }

    fn open(&self, segment: usize) -> Result<Opened, String> {
        let (start, records) = self.segments.get(segment).ok_or("there is no such segment")?;
        let records = records.clone().into_iter().map(Ok);
        Ok(Opened { start: start.clone(), records: Box::new(records) })
    }
}

impl Recorded {
    fn walls(&self, segment: usize) -> impl Iterator<Item = WallTime> {
        let records = self.segments.get(segment).map(|(_, records)| records);
        records.into_iter().flatten().filter_map(|record| match record {
            Record::Input(input) => Some(input.wall),
            Record::Digest { .. } | Record::Planned(_) | Record::Sums(_) => None,
        })
    }
}
