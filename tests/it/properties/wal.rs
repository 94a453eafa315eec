//! The write-ahead log against a model: whatever is appended, completed, compacted, crashed and
//! damaged, recovery gives back what was durable, or says that it cannot.
use std::collections::{BTreeMap, VecDeque};

use crc_fast::crc32_iscsi as crc32c;
use drover_core::rng::Rng;
use drover_core::types::WriteSeq;
use drover_core::wal::{
    Config, Corruption, Fault, Lane, OpId, Operation, Output, PerLane, Recovery, SegmentId,
    SegmentImage, Tail, Wal, recover, seal,
};
use proptest::prelude::*;

mod damage;
mod files;
mod suite;

const PAGE: usize = 4_096;
const SECTOR: usize = 512;
const CONFIG: Config = Config {
    segment_bytes_first: PAGE as u64,
    segment_bytes: 8 * PAGE as u64,
    write_bytes_max: 2 * PAGE - 72,
};

fn size(number: u64) -> usize {
    usize::try_from(number).expect("sizes in tests are small")
}

type Record = (WriteSeq, Lane, Vec<u8>);

/// A log, its disk, and what was said about durability.
struct Rig {
    wal: Wal,
    out: Vec<Output>,
    files: BTreeMap<SegmentId, Vec<u8>>,
    previous_crc: u32,
    /// Submitted and not done: blocks, and segments, each in order.
    blocks: VecDeque<(OpId, Operation)>,
    segments: VecDeque<(OpId, Operation)>,
    appended: Vec<Record>,
    durable: WriteSeq,
    /// Where each block that is done lies, and its length.
    places: Vec<(SegmentId, usize, usize)>,
    failures: Vec<Fault>,
}

impl Rig {
    fn new() -> Self {
        Self::on(BTreeMap::new(), Tail::fresh(), Vec::new())
    }

    fn on(files: BTreeMap<SegmentId, Vec<u8>>, tail: Tail, appended: Vec<Record>) -> Self {
        let mut rig = Self {
            previous_crc: tail.crc,
            wal: Wal::new(CONFIG, tail),
            out: Vec::new(),
            files,
            blocks: VecDeque::new(),
            segments: VecDeque::new(),
            durable: WriteSeq(appended.len() as u64),
            appended,
            places: Vec::new(),
            failures: Vec::new(),
        };
        rig.wal.on_started(&mut rig.out);
        rig.hear();
        rig
    }

    /// A settled log of `blocks` blocks with one record each.
    fn with_blocks(blocks: usize, bytes: usize) -> Self {
        let mut rig = Self::new();
        for _ in 0..blocks {
            rig.append(Lane::Raft, bytes);
            rig.settle();
        }
        rig
    }

    fn append(&mut self, lane: Lane, bytes: usize) {
        let seq = WriteSeq(self.appended.len() as u64 + 1);
        // No byte is zero, so that a lost one shows.
        let body: Vec<u8> =
            (0..bytes).map(|at| (at as u64 + seq.0 * 7).to_le_bytes()[0] | 1).collect();
        self.wal.append(seq, lane, &body, &mut self.out);
        self.appended.push((seq, lane, body));
        self.hear();
    }

    fn compact(&mut self, lane: Lane, upto: WriteSeq) {
        self.wal.on_compacted(lane, upto, &mut self.out);
        self.hear();
    }

    fn quiet(&mut self) {
        self.wal.on_quiet(&mut self.out);
        self.hear();
    }

    fn hear(&mut self) {
        for output in self.out.drain(..) {
            match output {
                Output::Operate { op, operation } => match operation {
                    Operation::Write { .. } => self.blocks.push_back((op, operation)),
                    Operation::Prepare { .. } | Operation::Remove { .. } => {
                        self.segments.push_back((op, operation));
                    }
                },
                Output::Durable { upto } => {
                    assert!(self.durable < upto, "what is durable grows");
                    self.durable = upto;
                }
                Output::Failed { fault, .. } => self.failures.push(fault),
            }
        }
        assert!(self.blocks.len() <= 1, "one write is in flight");
        self.wal.check_invariants();
    }

    fn complete_block(&mut self) {
        let Some((op, operation)) = self.blocks.pop_front() else { return };
        let Operation::Write { segment, offset, block } = operation else { unreachable!() };
        let sealed = self.seal(block);
        let at = size(offset);
        let file = self.files.get_mut(&segment).expect("written segments are prepared");
        file[at..at + sealed.len()].copy_from_slice(&sealed);
        self.places.push((segment, at, sealed.len()));
        self.wal.on_done(op, &mut self.out);
        self.hear();
    }

    fn complete_segment(&mut self) {
        let Some((op, operation)) = self.segments.pop_front() else { return };
        match operation {
            Operation::Prepare { segment, bytes, recycled } => {
                let fresh = || vec![0; size(bytes)];
                let file = recycled.map_or_else(fresh, |old| {
                    self.files.remove(&old).expect("an old segment is there")
                });
                assert_eq!(file.len() as u64, bytes);
                assert!(self.files.insert(segment, file).is_none());
            }
            Operation::Remove { segment } => assert!(self.files.remove(&segment).is_some()),
            Operation::Write { .. } => unreachable!(),
        }
        self.wal.on_done(op, &mut self.out);
        self.hear();
    }

    fn settle(&mut self) {
        while !self.blocks.is_empty() || !self.segments.is_empty() {
            self.complete_block();
            self.complete_segment();
        }
        assert_eq!(self.durable.0, self.appended.len() as u64, "an idle log has nothing to write");
    }

    fn seal(&mut self, mut block: Vec<u8>) -> Vec<u8> {
        self.previous_crc = seal(&mut block, self.previous_crc, crc32c);
        block
    }

    /// The sealed bytes of the write in flight, and where they go.
    fn in_flight(&mut self) -> Option<(SegmentId, usize, Vec<u8>)> {
        let (_, operation) = self.blocks.pop_front()?;
        let Operation::Write { segment, offset, block } = operation else { unreachable!() };
        Some((segment, size(offset), self.seal(block)))
    }

    fn recover(&self) -> Result<Recovery, Corruption> {
        let images = self.files.iter().map(|(&segment, bytes)| SegmentImage {
            segment,
            bytes: bytes.clone(),
            blank_bytes: 0,
        });
        recover(images, crc32c)
    }

    /// What recovery must give if everything up to `upto` is there and `marks` were remembered.
    fn needed(&self, upto: WriteSeq, marks: PerLane) -> Vec<Record> {
        let is_needed = |(seq, lane, _): &&Record| *seq <= upto && marks.of(*lane) < *seq;
        self.appended.iter().filter(is_needed).cloned().collect()
    }

    /// The power fails: of the write in flight each sector arrived or not, of the other operations a
    /// prefix did. Then the log is opened again.
    fn crash(mut self, rng: &mut Rng) -> Self {
        if let Some((segment, at, block)) = self.in_flight() {
            let file = self.files.get_mut(&segment).expect("written segments are prepared");
            let arrived_permille = rng.between(0, 1_000);
            for (sector, bytes) in block.chunks(SECTOR).enumerate() {
                if rng.chance(arrived_permille) {
                    file[at + sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        let recovery = self.recover().expect("a crash damages nothing durable");
        let upto = WriteSeq(recovery.tail.next_seq.0 - 1);
        assert!(self.durable <= upto, "what was durable is there");
        assert_eq!(recovery.records, self.needed(upto, recovery.tail.marks));
        let kept = size(upto.0);
        self.appended.truncate(kept);
        if let Some(torn) = recovery.torn.filter(|_| rng.chance(500)) {
            let at = size(torn.offset);
            let bytes = size(torn.bytes);
            self.files.get_mut(&torn.segment).expect("it was read")[at..at + bytes].fill(0);
        }
        Self::on(self.files, recovery.tail, self.appended)
    }
}

#[derive(Clone, Debug)]
enum Act {
    Append(Lane, usize),
    CompleteBlock,
    CompleteSegment,
    Compact(Lane, u64),
    Quiet,
    Settle,
    Crash(u64),
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![4 => Just(Lane::Raft), 1 => Just(Lane::Client)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (lane(), 0..200_usize).prop_map(|(lane, bytes)| Act::Append(lane, bytes)),
        2 => (lane(), 200..=CONFIG.record_bytes_max()).prop_map(|(lane, bytes)| Act::Append(lane, bytes)),
        8 => Just(Act::CompleteBlock),
        8 => Just(Act::CompleteSegment),
        3 => (lane(), 0..=1_000_u64).prop_map(|(lane, permille)| Act::Compact(lane, permille)),
        2 => Just(Act::Quiet),
        1 => Just(Act::Settle),
        1 => any::<u64>().prop_map(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_was_durable_survives_any_history(acts in prop::collection::vec(act(), 1..160)) {
        let mut rig = Rig::new();
        for act in acts {
            match act {
                Act::Append(lane, bytes) => rig.append(lane, bytes),
                Act::CompleteBlock => rig.complete_block(),
                Act::CompleteSegment => rig.complete_segment(),
                Act::Compact(lane, permille) => {
                    let upto = WriteSeq(rig.durable.0 * permille / 1_000);
                    rig.compact(lane, upto);
                }
                Act::Quiet => rig.quiet(),
                Act::Settle => rig.settle(),
                Act::Crash(seed) => rig = rig.crash(&mut Rng::from_seed(seed)),
            }
        }
        rig.settle();
        prop_assert!(rig.failures.is_empty());
        let recovery = rig.recover().unwrap();
        prop_assert_eq!(recovery.records, rig.needed(rig.durable, recovery.tail.marks));
    }

    #[test]
    fn a_log_that_is_compacted_stays_small(sizes in prop::collection::vec(0..6_000_usize, 50..150)) {
        let mut rig = Rig::new();
        for bytes in sizes {
            rig.append(Lane::Raft, bytes);
            rig.settle();
            rig.compact(Lane::Raft, rig.durable);
        }
        rig.quiet();
        rig.settle();
        prop_assert!(rig.files.len() <= 4, "one with the end, ready ones, and one to be recycled");
        let recovery = rig.recover().unwrap();
        prop_assert_eq!(recovery.records, Vec::new());
        prop_assert_eq!(recovery.torn, None);
        prop_assert_eq!(recovery.tail.next_seq.0, rig.durable.0 + 1);
    }
}

#[test]
fn what_arrives_while_the_disk_is_busy_is_one_block() {
    let mut rig = Rig::with_blocks(1, 10);
    for _ in 0..10 {
        rig.append(Lane::Raft, 10);
    }
    assert_eq!(rig.durable, WriteSeq(1));
    rig.complete_block();
    assert_eq!(rig.durable, WriteSeq(2), "the first went out alone");
    rig.complete_block();
    assert_eq!(rig.durable, WriteSeq(11), "the others went together");
}

#[test]
fn a_block_is_bounded_by_bytes() {
    let mut rig = Rig::with_blocks(1, 10);
    for _ in 0..9 {
        rig.append(Lane::Raft, PAGE - 100);
    }
    rig.complete_block();
    while let Some((_, Operation::Write { block, .. })) = rig.blocks.front() {
        assert!(block.len() <= 2 * PAGE);
        rig.complete_block();
        rig.complete_segment();
    }
    rig.settle();
}

#[test]
fn the_next_segment_is_made_before_it_is_needed() {
    let mut rig = Rig::new();
    assert_eq!(rig.segments.len(), 1, "the first is asked for at the start");
    // While it is young, a block may be larger than a segment.
    for _ in 0..10 {
        rig.append(Lane::Raft, PAGE);
        rig.settle();
    }
    for _ in 0..40 {
        rig.append(Lane::Raft, PAGE);
        rig.complete_segment();
        rig.complete_block();
        assert!(rig.blocks.is_empty() && rig.durable.0 == rig.appended.len() as u64);
    }
}

/// A log whose next segment was just refused for want of space, a whole one still being free.
fn with_a_full_disk() -> Rig {
    let mut rig = Rig::with_blocks(20, 3_000);
    while rig.segments.is_empty() {
        rig.append(Lane::Raft, 3_000);
        rig.complete_block();
    }
    let (op, operation) = rig.segments.pop_front().expect("just seen");
    assert!(matches!(operation, Operation::Prepare { recycled: None, .. }));
    rig.wal.on_failed(op, Fault::Full, &mut rig.out);
    rig.hear();
    rig
}

#[test]
fn a_full_disk_stops_the_log_only_when_it_needs_a_segment() {
    let mut rig = with_a_full_disk();
    let before = rig.durable;
    while rig.failures.is_empty() {
        rig.append(Lane::Raft, 3_000);
        rig.complete_block();
    }
    assert_eq!(rig.failures, [Fault::Full]);
    assert_eq!(rig.durable.0 - before.0, 7, "what still fitted was written");
    rig.append(Lane::Raft, 10);
    rig.quiet();
    assert!(rig.blocks.is_empty() && rig.segments.is_empty(), "a failed log does nothing");
    assert_eq!(rig.recover().unwrap().tail.next_seq.0, rig.durable.0 + 1);
}

#[test]
fn a_full_disk_is_forgotten_once_compaction_made_room() {
    let mut rig = with_a_full_disk();
    rig.compact(Lane::Raft, rig.durable);
    for _ in 0..60 {
        rig.append(Lane::Raft, 3_000);
        rig.settle();
        rig.compact(Lane::Raft, rig.durable);
    }
    assert_eq!(rig.failures, []);
    assert!(rig.recover().is_ok());
}

#[test]
fn a_failed_write_is_never_tried_again() {
    let mut rig = Rig::with_blocks(2, 100);
    rig.append(Lane::Raft, 100);
    rig.append(Lane::Client, 100);
    let (op, _) = rig.blocks.pop_front().unwrap();
    rig.wal.on_failed(op, Fault::Io, &mut rig.out);
    rig.hear();
    rig.append(Lane::Raft, 100);
    rig.quiet();
    assert_eq!((rig.failures.as_slice(), rig.durable), (&[Fault::Io][..], WriteSeq(2)));
    assert!(rig.blocks.is_empty(), "a failed log writes nothing");
}
