//! A host's disk: what survives a power failure, and what is still on its way there.
//!
//! The log's own code recovers from these bytes; only the moving of bytes is simulated here, as the
//! shell does it: seal, write, make durable, say so.
//!
//! Invariants
//! - what was reported as done survives every crash;
//! - of what was not, any part may survive: nothing, all, or some sectors of a block;
//! - `Prepare` and `Remove` take effect in the order they were asked for.
//!
//! It is damaged only when asked to, and only where recovery can notice.
use std::collections::BTreeMap;

use drover_core::raft::SnapshotMark;
use drover_core::rng::Rng;
use drover_core::types::WriteSeq;
use drover_core::wal::{self, Fault, Lane, OpId, Operation, SegmentId, Tail};

use crate::durable::DurableLog;
use crate::plan::Damage;

mod segment;

use segment::Segment;

/// What a torn write is torn into: finer than any disk's sectors, since most blocks hold few bytes.
const SECTOR_BYTES: usize = 64;

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    segments: BTreeMap<SegmentId, Segment>,
    /// Checksum of the last block sealed: the next one names it.
    chain_crc: u32,
    in_flight: BTreeMap<OpId, Operation>,
    /// Where the newest block begins that was reported as written.
    newest: Option<(SegmentId, u64)>,
    /// What consensus may rely on, for the checkers.
    pub log: DurableLog,
    /// The next write fails.
    pub is_broken: bool,
    /// No new segment can be made.
    pub is_full: bool,
}

/// What a start finds.
pub struct Found {
    /// Records of the log, oldest first.
    pub records: Vec<(WriteSeq, Lane, Vec<u8>)>,
    /// Where the log ends.
    pub tail: Tail,
    /// Whether a write was cut in two.
    pub torn: bool,
}

impl Disk {
    /// The agent asks for `operation`.
    pub fn submit(&mut self, op: OpId, mut operation: Operation) {
        if let Operation::Write { block, .. } = &mut operation {
            self.chain_crc = wal::seal(block, self.chain_crc, crc_fast::crc32_iscsi);
        }
        self.in_flight.insert(op, operation);
    }

    /// Whether a block is on its way to the disk.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.in_flight.values().any(|operation| matches!(operation, Operation::Write { .. }))
    }

    /// The time has come at which `op` is done, or has failed. `None`: it was lost in a crash.
    pub fn complete(&mut self, op: OpId, rng: &mut Rng) -> Option<Result<(), Fault>> {
        let operation = self.in_flight.remove(&op)?;
        let fault = match &operation {
            Operation::Write { .. } if self.is_broken => Some(Fault::Io),
            Operation::Prepare { recycled: None, .. } if self.is_full => Some(Fault::Full),
            Operation::Write { .. } | Operation::Prepare { .. } | Operation::Remove { .. } => None,
        };
        if let Some(fault) = fault {
            if let Operation::Write { segment, offset, block } = operation {
                self.is_broken = false;
                self.tear(segment, offset, &block, rng);
            }
            return Some(Err(fault));
        }
        if let Operation::Write { block, .. } = &operation {
            self.log.on_block(block);
        }
        self.apply(operation);
        Some(Ok(()))
    }

    /// The agent or its machine died: what was on its way arrives in part.
    pub fn crash(&mut self, rng: &mut Rng) {
        let mut order_holds = true;
        for (_, operation) in std::mem::take(&mut self.in_flight) {
            match operation {
                Operation::Write { segment, offset, block } => {
                    self.tear(segment, offset, &block, rng);
                }
                Operation::Prepare { .. } | Operation::Remove { .. } => {
                    order_holds &= rng.chance(500);
                    if order_holds {
                        self.apply(operation);
                    }
                }
            }
        }
        self.is_broken = false;
    }

    /// Change a segment's file, or its length: for tests that damage it.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn edit(&mut self, segment: SegmentId, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.segments.get_mut(&segment).expect("only a segment that exists is changed");
        let mut content = file.content();
        change(&mut content);
        *file = Segment::of(&content);
    }

    /// Reads the log as a starting agent does.
    ///
    /// # Errors
    /// What the log's own recovery says, which after mere crashes is a bug.
    pub fn recover(&mut self, snapshot: Option<&SnapshotMark>) -> Result<Found, wal::Corruption> {
        let recovery = self.scan()?;
        if let Some(torn) = recovery.torn {
            self.file(torn.segment).write(at(torn.offset), &vec![0; at(torn.bytes)]);
        }
        self.chain_crc = recovery.tail.crc;
        self.log = DurableLog::from_records(&recovery.records, snapshot);
        let torn = recovery.torn.is_some();
        Ok(Found { records: recovery.records, tail: recovery.tail, torn })
    }

    /// The log changes behind everybody's back. Answers whether a start will notice; if it will not, the
    /// change is undone: it is one that nobody reads, or it is in the last block, which then counts as
    /// torn.
    ///
    /// # Errors
    /// The log cannot be read before anything is changed; or records are missing afterwards and nobody
    /// notices, though a block behind them is whole.
    pub fn damage(&mut self, damage: Damage, rng: &mut Rng) -> Result<bool, String> {
        let used = |(&segment, file): (&SegmentId, &Segment)| -> Vec<_> {
            file.used().map(|page| (segment, page)).collect()
        };
        let pages: Vec<(SegmentId, usize)> = self.segments.iter().flat_map(used).collect();
        let whole = self.scan().map_err(|corruption| corruption.to_string())?;
        if pages.is_empty() {
            return Ok(false);
        }
        let mut draw = || pages[at(rng.between(0, pages.len() as u64 - 1))];
        let ((segment, page), (other, other_page)) = (draw(), draw());
        let before = self.page(segment, page);
        let mut after = before.clone();
        match damage {
            Damage::Bit => {
                let byte = at(rng.between(0, wal::BLOCK_ALIGN_BYTES as u64 - 1));
                after[byte] ^= 1 << rng.between(0, 7);
            }
            Damage::LostWrite => after.fill(0),
            Damage::Misdirected => after = self.page(other, other_page),
        }
        self.file(segment).write(page, &after);
        let found = self.scan();
        if let Ok(found) = &found
            && Some((segment, page as u64)) < self.newest
            && found.records.len() < whole.records.len()
        {
            let what = format!("{damage:?} at {page} of {segment:?}");
            return Err(format!("{what} cuts the log unnoticed"));
        }
        if found.is_ok() {
            self.file(segment).write(page, &before);
        }
        Ok(found.is_err())
    }

    fn page(&self, segment: SegmentId, page: usize) -> Vec<u8> {
        self.segments[&segment].read(page..page + wal::BLOCK_ALIGN_BYTES)
    }

    fn file(&mut self, segment: SegmentId) -> &mut Segment {
        self.segments.get_mut(&segment).expect("invariant: it was found among them")
    }

    fn scan(&self) -> Result<wal::Recovery, wal::Corruption> {
        let images = self.segments.iter().map(|(&segment, file)| file.image(segment));
        wal::recover(images, crc_fast::crc32_iscsi)
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Write { segment, offset, block } => {
                let file = self.segments.get_mut(&segment);
                let file = file.expect("invariant: a block is written into a prepared segment");
                file.write(at(offset), &block);
                self.newest = self.newest.max(Some((segment, offset)));
            }
            Operation::Prepare { segment, bytes, recycled } => {
                let old = recycled.and_then(|recycled| self.segments.remove(&recycled));
                self.segments.insert(segment, old.unwrap_or_else(|| Segment::blank(at(bytes))));
            }
            Operation::Remove { segment } => {
                self.segments.remove(&segment);
            }
        }
    }

    /// Nothing of the block arrives, all of it, its beginning, or some of its sectors.
    fn tear(&mut self, segment: SegmentId, offset: u64, block: &[u8], rng: &mut Rng) {
        let Some(file) = self.segments.get_mut(&segment) else { return };
        let mut pages = file.read(at(offset)..at(offset) + block.len());
        let sectors = block.len() / SECTOR_BYTES;
        let fate = rng.between(0, 3);
        let kept_upto = rng.between(0, sectors as u64);
        for sector in 0..sectors {
            let arrives = match fate {
                0 => false,
                1 => true,
                2 => (sector as u64) < kept_upto,
                _ => rng.chance(500),
            };
            if arrives {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                pages[range.clone()].copy_from_slice(&block[range]);
            }
        }
        file.write(at(offset), &pages);
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("invariant: a segment fits into memory")
}
