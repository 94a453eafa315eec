//! The write-ahead log as a machine: records in, disk operations out, completions in.
//!
//! Group commit by waiting for the disk: one write is in flight, and what was appended meanwhile is
//! the next block. So there is no timer, a lone record goes out at once, and a busy log writes big
//! blocks. A block lies in one segment; segments are made before they are needed, are numbered
//! without gaps, and are recycled from the old end once nobody needs their records. One write in
//! flight also makes damage readable: a valid block proves that all before it was durable, so a bad
//! block with a valid one after it is corruption, and only a bad last block is a torn write.
//!
//! Invariants
//! - sequence numbers grow by one;
//! - at most one write is in flight, and what is durable never goes backwards;
//! - a block never crosses a segment, and a segment is written only after it was prepared;
//! - a segment goes only after a durable block in a later one, and one that says that nobody needs
//!   its records;
//! - after a failed write nothing is written and nothing is called durable.
//!
//! It does not bound what is appended (raft's and the client's budgets do), does not know what a
//! record means, and computes no checksum: whoever moves the bytes seals the block.
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::types::WriteSeq;

pub mod block;
pub mod recover;
mod segments;

pub use block::{BLOCK_ALIGN_BYTES, seal};
pub use recover::{Corruption, Damage, Recovery, SegmentImage, Tail, TornTail, recover};
pub use segments::Segment;

use block::{Draft, RECORD_HEADER_BYTES};
use segments::Segments;

/// Names a disk operation: completions carry it back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OpId(pub u64);

/// Which segment, counted from 1 without gaps; a recycled file gets a new number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SegmentId(pub u64);

/// Whose record it is: each lane says on its own what it no longer needs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Lane {
    /// Consensus: hard state and frames.
    Raft,
    /// The client node's own state.
    Client,
}

/// One sequence number for each lane.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PerLane {
    pub raft: WriteSeq,
    pub client: WriteSeq,
}

/// What the disk said no to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Fault {
    /// No space, or a quota.
    Full,
    /// Anything else: what is on the disk is unknown.
    Io,
}

/// Sizes of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Config {
    /// The first segment of a fresh log: small, so that it is filled with zeros in milliseconds. Each
    /// next one is twice as large, up to `segment_bytes`.
    pub segment_bytes_first: u64,
    /// A grown segment; only those are recycled.
    pub segment_bytes: u64,
    /// Records of one block, with eight bytes for each; so also the bound of one record.
    pub write_bytes_max: usize,
}

/// What the disk is asked to do. Those on segments (`Prepare`, `Remove`) take effect in the order
/// they were asked for; a `Write` may overtake them, and only names a segment that is prepared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Operation {
    /// Seal `block`, write it and make it durable before saying done.
    Write { segment: SegmentId, offset: u64, block: Vec<u8> },
    /// Make `segment` exist durably: out of `recycled`, which is no longer needed and keeps its
    /// bytes, or new and filled with zeros.
    Prepare { segment: SegmentId, bytes: u64, recycled: Option<SegmentId> },
    /// Delete `segment` durably.
    Remove { segment: SegmentId },
}

/// What the log says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// The disk should do this and then call `on_done` or `on_failed` with `op`.
    Operate { op: OpId, operation: Operation },
    /// Every record up to here survives a crash.
    Durable { upto: WriteSeq },
    /// The disk failed; the log says nothing more. The agent must stop.
    Failed { op: OpId, fault: Fault },
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Writing {
    op: OpId,
    segment: SegmentId,
    upto: WriteSeq,
    marks: PerLane,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Kind {
    Records,
    Confirmation,
}

/// Blocks that the disk was given since the start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Written {
    /// How many; each is flushed before the next.
    pub blocks: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// The log.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Wal {
    config: Config,
    segments: Segments,
    /// Blocks being filled; the last one still takes records.
    drafts: VecDeque<Draft>,
    appended_seq: WriteSeq,
    durable_seq: WriteSeq,
    /// The last record that a durable block follows, so that damage to it is told from a torn write.
    confirmed_seq: WriteSeq,
    marks: PerLane,
    durable_marks: PerLane,
    writing: Option<Writing>,
    written: Written,
    preparing: Option<(OpId, Segment)>,
    removing: BTreeSet<OpId>,
    /// A new segment found no space. Fatal only when a block needs it.
    shortage: Option<OpId>,
    failed: Option<Fault>,
    op_last: OpId,
}

impl Config {
    /// Longest record that `append` takes.
    #[must_use]
    pub const fn record_bytes_max(&self) -> usize {
        self.write_bytes_max - RECORD_HEADER_BYTES
    }
}

impl Lane {
    /// Every lane, in the order of the format.
    pub const ALL: [Self; 2] = [Self::Raft, Self::Client];
}

impl PerLane {
    /// The number of `lane`.
    #[must_use]
    pub const fn of(&self, lane: Lane) -> WriteSeq {
        match lane {
            Lane::Raft => self.raft,
            Lane::Client => self.client,
        }
    }

    /// Make `lane`'s number at least `seq`.
    pub fn raise(&mut self, lane: Lane, seq: WriteSeq) {
        let number = match lane {
            Lane::Raft => &mut self.raft,
            Lane::Client => &mut self.client,
        };
        *number = seq.max(*number);
    }

    /// Whether no lane's number is above `other`'s.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        Lane::ALL.iter().all(|&lane| self.of(lane) <= other.of(lane))
    }
}

impl Wal {
    /// The log that recovery found.
    #[must_use]
    pub fn new(config: Config, tail: Tail) -> Self {
        assert!(RECORD_HEADER_BYTES < config.write_bytes_max, "a block holds a record");
        let durable_seq = WriteSeq(tail.next_seq.0 - 1);
        Self {
            segments: Segments::new(config, &tail),
            config,
            drafts: VecDeque::new(),
            appended_seq: durable_seq,
            durable_seq,
            confirmed_seq: WriteSeq(0),
            marks: tail.marks,
            durable_marks: tail.marks,
            writing: None,
            written: Written::default(),
            preparing: None,
            removing: BTreeSet::new(),
            shortage: None,
            failed: None,
            op_last: OpId(0),
        }
    }

    /// The agent runs: make the first segment before anything is appended.
    pub fn on_started(&mut self, out: &mut impl Emit<Output>) {
        self.advance(out);
    }

    /// Take one more record; `Durable` will tell when it survives a crash.
    pub fn append(
        &mut self,
        seq: WriteSeq,
        lane: Lane,
        record: &[u8],
        out: &mut impl Emit<Output>,
    ) {
        assert!(seq.0 == self.appended_seq.0 + 1, "sequence numbers grow by one");
        assert!(record.len() <= self.config.record_bytes_max(), "a record fits into a block");
        self.appended_seq = seq;
        let fits = |draft: &Draft| draft.has_room(record.len(), self.config.write_bytes_max);
        if !self.drafts.back().is_some_and(fits) {
            self.drafts.push_back(Draft::new(seq));
        }
        self.drafts.back_mut().expect("invariant: just pushed").push(seq, lane, record);
        self.advance(out);
    }

    /// Nobody needs the records of `lane` up to `upto`. It is remembered by the next block.
    pub fn on_compacted(&mut self, lane: Lane, upto: WriteSeq, out: &mut impl Emit<Output>) {
        assert!(upto <= self.durable_seq, "only durable records can be given up");
        self.marks.raise(lane, upto);
        self.advance(out);
    }

    /// Nothing was appended for a while: write an empty block, so that damage to the last records
    /// can no longer pass for a torn write, and what was compacted is remembered.
    pub fn on_quiet(&mut self, out: &mut impl Emit<Output>) {
        let is_idle = self.writing.is_none() && self.drafts.is_empty();
        let is_confirmed = self.confirmed_seq == self.durable_seq;
        if !is_idle || (is_confirmed && self.marks == self.durable_marks) {
            return;
        }
        self.drafts.push_back(Draft::new(WriteSeq(self.appended_seq.0 + 1)));
        self.advance(out);
    }

    /// The disk did `op`.
    pub fn on_done(&mut self, op: OpId, out: &mut impl Emit<Output>) {
        if self.failed.is_some() {
            return;
        }
        if let Some(writing) = self.writing.take_if(|writing| writing.op == op) {
            self.note_durable(writing, out);
        } else if let Some((_, segment)) = self.preparing.take_if(|(asked, _)| *asked == op) {
            self.segments.on_prepared(segment);
            self.shortage = None;
        } else {
            assert!(self.removing.remove(&op), "only what was asked for can be done");
            self.shortage = None;
        }
        self.advance(out);
    }

    /// The disk could not do `op`. A failed write is never tried again: what the disk holds then is
    /// unknown, and a second `fsync` would report as clean what the first one lost.
    pub fn on_failed(&mut self, op: OpId, fault: Fault, out: &mut impl Emit<Output>) {
        if self.failed.is_some() {
            return;
        }
        if fault == Fault::Full && self.preparing.is_some_and(|(asked, _)| asked == op) {
            let (_, segment) = self.preparing.take().expect("invariant: just seen");
            self.segments.on_unprepared(segment);
            self.shortage = Some(op);
            self.advance(out);
        } else {
            self.fail(op, fault, out);
        }
    }

    /// Everything up to here survives a crash.
    #[must_use]
    pub const fn durable_seq(&self) -> WriteSeq {
        self.durable_seq
    }

    /// The last record that was appended.
    #[must_use]
    pub const fn appended_seq(&self) -> WriteSeq {
        self.appended_seq
    }

    /// Bytes that wait for the disk, the write in flight not counted.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.drafts.iter().map(Draft::len).sum()
    }

    /// What was written since the start.
    #[must_use]
    pub const fn written(&self) -> Written {
        self.written
    }

    /// Bytes of all segments that hold records.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.segments.live_bytes()
    }

    /// Checks in O(n) what the assertions cannot.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check_invariants(&self) {
        assert!(self.confirmed_seq <= self.durable_seq, "only what is durable is confirmed");
        assert!(self.durable_seq <= self.appended_seq, "only what was appended is durable");
        assert!(self.durable_marks.is_within(&self.marks), "marks never go backwards");
        let waiting: u64 = self.drafts.iter().map(|draft| u64::from(draft.count())).sum();
        let written = self.writing.map_or(self.durable_seq, |writing| writing.upto);
        assert!(written.0 + waiting == self.appended_seq.0, "sequence numbers grow by one");
        self.segments.check_invariants();
    }

    fn note_durable(&mut self, writing: Writing, out: &mut impl Emit<Output>) {
        assert!(self.durable_seq <= writing.upto, "what is durable never goes backwards");
        self.confirmed_seq = self.durable_seq;
        self.durable_seq = writing.upto;
        self.durable_marks = writing.marks;
        self.segments.on_durable(writing.segment);
        match writing.kind {
            Kind::Records => out.emit(Output::Durable { upto: writing.upto }),
            Kind::Confirmation => {}
        }
    }

    /// Start whatever can be started, the write first: it is what somebody waits for.
    fn advance(&mut self, out: &mut impl Emit<Output>) {
        if self.failed.is_none() {
            self.start_write(out);
            self.reclaim(out);
            self.start_prepare(out);
        }
    }

    fn start_write(&mut self, out: &mut impl Emit<Output>) {
        let Some(draft) = self.drafts.front() else { return };
        if self.writing.is_some() {
            return;
        }
        if !self.segments.make_room(draft.block_bytes()) {
            if let Some(op) = self.shortage {
                self.fail(op, Fault::Full, out);
            }
            return;
        }
        let draft = self.drafts.pop_front().expect("invariant: just seen");
        let kind = if draft.count() == 0 { Kind::Confirmation } else { Kind::Records };
        let (upto, marks) = (draft.last_seq(), self.marks);
        let place = self.segments.take(&draft);
        let op = self.next_op();
        let (segment, offset) = (place.segment, place.offset);
        self.writing = Some(Writing { op, segment, upto, marks, kind });
        let block = draft.into_block(place, marks);
        self.written.blocks += 1;
        self.written.bytes += block.len() as u64;
        out.emit(Output::Operate { op, operation: Operation::Write { segment, offset, block } });
        if planted!(WalDurableEarly) && kind == Kind::Records {
            out.emit(Output::Durable { upto });
        }
    }

    fn reclaim(&mut self, out: &mut impl Emit<Output>) {
        while let Some(unneeded) = self.segments.pop_unneeded(&self.durable_marks) {
            if self.preparing.is_none() && self.segments.wants(&unneeded) {
                self.prepare(unneeded.bytes, Some(unneeded.id), out);
            } else {
                let op = self.next_op();
                self.removing.insert(op);
                let operation = Operation::Remove { segment: unneeded.id };
                out.emit(Output::Operate { op, operation });
            }
        }
    }

    fn start_prepare(&mut self, out: &mut impl Emit<Output>) {
        let is_due = self.preparing.is_none() && !self.segments.has_ready();
        if is_due && self.shortage.is_none() && self.failed.is_none() {
            self.prepare(self.segments.next_bytes(), None, out);
        }
    }

    fn prepare(&mut self, bytes: u64, recycled: Option<SegmentId>, out: &mut impl Emit<Output>) {
        assert!(self.preparing.is_none(), "segments are prepared one after the other");
        let op = self.next_op();
        let segment = self.segments.number(bytes);
        self.preparing = Some((op, segment));
        let operation = Operation::Prepare { segment: segment.id, bytes, recycled };
        out.emit(Output::Operate { op, operation });
    }

    fn fail(&mut self, op: OpId, fault: Fault, out: &mut impl Emit<Output>) {
        assert!(self.failed.is_none(), "a log fails once");
        self.failed = Some(fault);
        out.emit(Output::Failed { op, fault });
    }

    fn next_op(&mut self) -> OpId {
        self.op_last = OpId(self.op_last.0 + 1);
        self.op_last
    }
}
