//! What a server's disk holds of its log, as a checker sees it: read from the blocks themselves.
//!
//! Invariants
//! - it knows what was reported as durable, and nothing else.
use drover_core::raft::{HardState, Position, Record, SnapshotMark};
use drover_core::types::{Index, WriteSeq};
use drover_core::wal::Lane;

/// Bytes of a block before its first record, of a record before its body, and where the count is.
const HEADER_BYTES: usize = 72;
const RECORD_HEADER_BYTES: usize = 8;
const COUNT_AT: usize = 20;
/// The code of consensus's records in the header of a record.
const RAFT_LANE: u8 = 1;

/// The durable part of a server's log.
#[derive(Clone, Debug, Default)]
pub struct DurableLog {
    /// Term and vote.
    pub hard_state: HardState,
    /// Everything up to here is in a durable snapshot.
    base: Index,
    /// Ends of the frames above, oldest first.
    ends: Vec<(Index, Position)>,
}

impl DurableLog {
    /// What a start finds.
    #[must_use]
    pub fn from_records(
        records: &[(WriteSeq, Lane, Vec<u8>)],
        snapshot: Option<&SnapshotMark>,
    ) -> Self {
        let mut log = Self::default();
        for (_, lane, bytes) in records {
            if *lane == Lane::Raft {
                log.on_record(bytes);
            }
        }
        log.base = log.base.max(snapshot.map_or(Index(0), |mark| mark.index));
        log
    }

    /// A block became durable.
    pub fn on_block(&mut self, block: &[u8]) {
        for record in raft_bodies(block) {
            self.on_record(record);
        }
    }

    /// A snapshot became durable.
    pub fn on_snapshot(&mut self, index: Index) {
        self.base = self.base.max(index);
    }

    /// Whether the entry at `at` would survive a power failure now.
    #[must_use]
    pub fn holds(&self, at: Position) -> bool {
        if at.index <= self.base {
            return true;
        }
        let slot = self.ends.partition_point(|(_, end)| end.index < at.index);
        self.ends.get(slot).is_some_and(|&(first, end)| first <= at.index && end.term == at.term)
    }

    /// The last entry that would survive a power failure now.
    #[must_use]
    pub fn last_index(&self) -> Index {
        self.ends.last().map_or(self.base, |(_, end)| end.index.max(self.base))
    }

    fn on_record(&mut self, bytes: &[u8]) {
        let record: Record = postcard::from_bytes(bytes).expect("invariant: records decode");
        match record {
            Record::HardState(hard_state) => self.hard_state = hard_state,
            Record::Frame { truncate_from, frame } => {
                if let Some(from) = truncate_from {
                    let kept = self.ends.partition_point(|(_, end)| end.index < from);
                    self.ends.truncate(kept);
                }
                self.ends.push((frame.first, frame.position()));
            }
            Record::SnapshotInstalled(mark) => {
                self.ends.clear();
                self.base = self.base.max(mark.index);
            }
        }
    }
}

/// The records of consensus in a block.
#[must_use]
pub fn raft_records(block: &[u8]) -> Vec<Record> {
    let decode = |bytes: &[u8]| postcard::from_bytes(bytes).expect("invariant: records decode");
    raft_bodies(block).map(decode).collect()
}

fn raft_bodies(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = HEADER_BYTES;
    let records = (0..u32_at(block, COUNT_AT)).map(move |_| {
        let length = usize::try_from(u32_at(block, at)).expect("invariant: 32 bits fit");
        let (lane, body) = (block[at + 4], at + RECORD_HEADER_BYTES);
        at = body + length;
        (lane, &block[body..body + length])
    });
    records.filter(|(lane, _)| *lane == RAFT_LANE).map(|(_, body)| body)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}
