//! What a log gives back after a restart, after a crash and after damage: the same cases on real files
//! and on the simulator's disk, so that what is true of one is true of the other.
//!
//! The letters and numbers of the cases of damage are those of `docs/log-scenarios.md`.
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use drover_core::rng::Rng;
use drover_core::types::WriteSeq;
use drover_core::wal::{Config, Lane, OpId, Operation, Output, SegmentId, Tail, Wal};
use drover_shell::storage::{Completion, Disk, Storage, Threads};
use drover_sim::disk::Disk as SimulatedDisk;
use tempfile::TempDir;

const PAGE: usize = 4_096;
const CONFIG: Config =
    Config { segment_bytes_first: 16 << 10, segment_bytes: 32 << 10, write_bytes_max: 12 << 10 };

/// What a start finds.
struct Found {
    records: Vec<(WriteSeq, Lane, Vec<u8>)>,
    tail: Tail,
    torn: bool,
}

/// Where a log is kept.
trait Bed: Sized {
    fn new() -> Self;
    /// Reads what is there, as an agent does that starts.
    fn start(&mut self) -> Result<Found, String>;
    fn submit(&mut self, op: OpId, operation: Operation);
    /// The next operation that is done.
    fn done(&mut self) -> OpId;
    /// The agent dies. What it has submitted may be done, or not, or in part.
    fn stop(&mut self);
    /// Changes what lies in a segment, while no agent runs.
    fn edit(&mut self, segment: SegmentId, change: impl FnOnce(&mut Vec<u8>));
}

/// Real files, and the threads that write them.
struct Files {
    dir: TempDir,
    running: Option<(Threads, Receiver<Completion>)>,
}

impl Files {
    fn path(&self, segment: SegmentId) -> PathBuf {
        self.dir.path().join("wal").join(format!("{:020}.segment", segment.0))
    }
}

impl Bed for Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory can be made"), running: None }
    }

    fn start(&mut self) -> Result<Found, String> {
        let (storage, found) = Storage::open(self.dir.path()).map_err(|why| why.to_string())?;
        let (sender, completions) = channel();
        let complete = move |completion| sender.send(completion).expect("the test listens");
        self.running = Some((storage.spawn(complete).expect("threads start"), completions));
        Ok(Found { records: found.records, tail: found.tail, torn: found.torn.is_some() })
    }

    fn submit(&mut self, op: OpId, operation: Operation) {
        self.running.as_mut().expect("it was started").0.submit(op, operation);
    }

    fn done(&mut self) -> OpId {
        let (_, completions) = self.running.as_ref().expect("it was started");
        let Completion { op, outcome } = completions.recv().expect("the disk answers");
        outcome.expect("the disk is healthy");
        op
    }

    fn stop(&mut self) {
        if let Some((threads, completions)) = self.running.take() {
            drop(threads);
            drop(completions);
        }
    }

    fn edit(&mut self, segment: SegmentId, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(segment);
        let mut bytes = fs::read(&path).expect("the segment is there");
        change(&mut bytes);
        fs::write(&path, bytes).expect("it can be written");
    }
}

/// The simulator's disk.
struct Simulated {
    disk: SimulatedDisk,
    submitted: VecDeque<OpId>,
    rng: Rng,
}

impl Bed for Simulated {
    fn new() -> Self {
        Self { disk: SimulatedDisk::default(), submitted: VecDeque::new(), rng: Rng::from_seed(1) }
    }

    fn start(&mut self) -> Result<Found, String> {
        let found = self.disk.recover(None).map_err(|corruption| corruption.to_string())?;
        Ok(Found { records: found.records, tail: found.tail, torn: found.torn })
    }

    fn submit(&mut self, op: OpId, operation: Operation) {
        self.disk.submit(op, operation);
        self.submitted.push_back(op);
    }

    fn done(&mut self) -> OpId {
        let op = self.submitted.pop_front().expect("something is under way");
        let outcome = self.disk.complete(op, &mut self.rng).expect("nothing was lost");
        outcome.expect("the disk is healthy");
        op
    }

    fn stop(&mut self) {
        self.submitted.clear();
        self.disk.crash(&mut self.rng);
    }

    fn edit(&mut self, segment: SegmentId, change: impl FnOnce(&mut Vec<u8>)) {
        self.disk.edit(segment, change);
    }
}

/// A log on a bed, and all that was ever appended to it.
struct Log<B> {
    bed: B,
    wal: Wal,
    outputs: Vec<Output>,
    underway: usize,
    appended: Vec<Vec<u8>>,
    /// Where each block lies that holds records, in their order.
    blocks: Vec<(SegmentId, usize)>,
    torn: bool,
}

impl<B: Bed> Log<B> {
    fn new() -> Self {
        let mut bed = B::new();
        let found = bed.start().expect("an empty bed opens");
        assert_eq!(found.records, [], "nothing was written yet");
        assert_eq!(found.tail.next_seq, WriteSeq(1));
        Self::on(bed, found, Vec::new(), Vec::new())
    }

    fn on(bed: B, found: Found, appended: Vec<Vec<u8>>, blocks: Vec<(SegmentId, usize)>) -> Self {
        let wal = Wal::new(CONFIG, found.tail);
        let torn = found.torn;
        let mut log = Self { bed, wal, outputs: Vec::new(), underway: 0, appended, blocks, torn };
        log.wal.on_started(&mut log.outputs);
        log.settle();
        log
    }

    /// A record of its own kind in a block of its own.
    fn write(&mut self, bytes: usize) {
        self.append(bytes);
        self.settle();
    }

    fn append(&mut self, bytes: usize) {
        let nth = self.appended.len() + 1;
        let body: Vec<u8> = (0..bytes).map(|at| (nth * 31 + at).to_le_bytes()[0]).collect();
        let seq = WriteSeq(nth as u64);
        // Consensus's lane holds consensus's records; the other takes any bytes.
        self.wal.append(seq, Lane::Client, &body, &mut self.outputs);
        self.appended.push(body);
        self.submit();
    }

    /// Nothing was appended for a while.
    fn rest(&mut self) {
        self.wal.on_quiet(&mut self.outputs);
        self.settle();
    }

    fn give_up(&mut self, upto: u64) {
        self.wal.on_compacted(Lane::Client, WriteSeq(upto), &mut self.outputs);
        self.settle();
    }

    fn submit(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Operate { op, operation } => {
                    if let Operation::Write { segment, offset, block } = &operation
                        && block[20..24] != [0; 4]
                    {
                        self.blocks.push((*segment, small(*offset)));
                    }
                    self.underway += 1;
                    self.bed.submit(op, operation);
                }
                Output::Durable { .. } => {}
                Output::Failed { op, fault } => panic!("{op:?} failed: {fault:?}"),
            }
        }
    }

    fn settle(&mut self) {
        self.submit();
        while 0 < self.underway {
            let op = self.bed.done();
            self.underway -= 1;
            self.wal.on_done(op, &mut self.outputs);
            self.submit();
        }
        self.wal.check_invariants();
    }

    /// The agent dies and starts again. Whatever is found is a beginning of what was appended, holds
    /// all that was durable, and holds nothing that was given up for long.
    fn restart(self) -> Result<Self, String> {
        let Self { mut bed, wal, mut appended, blocks, .. } = self;
        bed.stop();
        let found = bed.start()?;
        let upto = found.tail.next_seq.0 - 1;
        let first = found.records.first().map_or(upto + 1, |(seq, _, _)| seq.0);
        assert!(wal.durable_seq().0 <= upto, "what is durable is there");
        appended.truncate(small(upto));
        let expected: Vec<_> = (first..=upto)
            .map(|seq| (WriteSeq(seq), Lane::Client, appended[small(seq) - 1].clone()))
            .collect();
        assert_eq!(found.records, expected);
        Ok(Self::on(bed, found, appended, blocks))
    }

    /// As `restart`, where nothing is damaged.
    fn again(self) -> Self {
        self.restart().unwrap_or_else(|why| panic!("{why}"))
    }

    /// As `restart`, after somebody changed the block of record `nth`, counted from 1.
    fn restart_damaged(
        mut self,
        nth: usize,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<Self, String> {
        let (segment, at) = self.blocks[nth - 1];
        self.bed.stop();
        self.bed.edit(segment, |bytes| change(&mut bytes[at..at + PAGE]));
        self.restart()
    }

    fn held(&self) -> u64 {
        self.wal.durable_seq().0
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("logs of tests are small")
}

/// Three records, a block each.
fn three<B: Bed>() -> Log<B> {
    let mut log = Log::<B>::new();
    (0..3).for_each(|_| log.write(500));
    log
}

fn refusal<B>(outcome: Result<Log<B>, String>) -> String {
    outcome.err().expect("what is missing may have been acknowledged")
}

fn an_empty_log_is_empty_after_a_restart<B: Bed>() {
    let log = Log::<B>::new().again();
    assert_eq!((log.held(), log.torn), (0, false));
}

fn records_of_every_size_come_back_and_more_follow<B: Bed>() {
    let mut log = Log::<B>::new();
    for start in 0..4 {
        for bytes in [0, 1, 71, 4_000, 4_096, CONFIG.record_bytes_max()] {
            log.write(bytes);
        }
        log = log.again();
        assert_eq!((log.held(), log.torn), (6 * (start + 1), false));
    }
}

fn many_in_one_block_come_back<B: Bed>() {
    let mut log = Log::<B>::new();
    (0..40).for_each(|_| log.append(200));
    log.settle();
    assert_eq!(log.again().held(), 40);
}

fn a_second_restart_finds_the_same<B: Bed>() {
    let log = three::<B>().again().again();
    assert_eq!(log.held(), 3);
}

fn what_was_given_up_is_gone_and_the_numbers_go_on<B: Bed>() {
    let mut log = Log::<B>::new();
    for nth in 1..=60 {
        log.write(3_000);
        log.give_up(nth - nth % 7);
    }
    log.rest();
    let mut log = log.again();
    assert_eq!(log.held(), 60);
    log.give_up(60);
    log.rest();
    let mut log = log.again();
    assert_eq!(log.held(), 60, "an empty log knows how far it was");
    log.write(10);
    assert_eq!(log.again().held(), 61);
}

fn a_crash_in_the_middle_loses_nothing_durable<B: Bed>() {
    let mut log = Log::<B>::new();
    for _ in 0..30 {
        log.write(900);
        log.append(2_000);
        log.append(30);
        log = log.again();
    }
}

/// J3.
fn a_torn_last_block_is_cut_and_written_over<B: Bed>() {
    let mut log = three::<B>().again();
    // As if the agent had died before the third was durable: nobody was told of it.
    log.wal = Wal::new(CONFIG, Tail::fresh());
    let torn = log.restart_damaged(3, |page| page[300..].fill(0));
    let mut log = torn.expect("it is cut");
    assert_eq!((log.held(), log.torn), (2, true));
    log.write(20);
    let log = log.again();
    assert_eq!((log.held(), log.torn), (3, false));
}

/// J1: it may have been acknowledged.
fn the_newest_block_may_not_rot_once_the_log_has_rested<B: Bed>() {
    let mut log = three::<B>();
    log.rest();
    let why = refusal(log.restart_damaged(3, |page| page[100] ^= 1));
    assert!(why.contains("at byte 8192: a durable block cannot be read"), "{why}");
}

/// J4.
fn a_valid_block_behind_an_invalid_one_shows_rot<B: Bed>() {
    for at in [0, 5, 17, 60, 72, 90, 3_000] {
        let why = refusal(three::<B>().restart_damaged(2, |page| page[at] ^= 0x40));
        assert!(why.contains("at byte 4096: a durable block cannot be read"), "byte {at}: {why}");
    }
}

/// J6.
fn a_block_that_was_written_to_the_wrong_place_is_noticed<B: Bed>() {
    let mut log = three::<B>();
    let (segment, third) = log.blocks[2];
    log.bed.stop();
    let mut copied = Vec::new();
    log.bed.edit(segment, |bytes| copied.extend_from_slice(&bytes[third..third + PAGE]));
    let why = refusal(log.restart_damaged(2, |page| page.copy_from_slice(&copied)));
    assert!(why.contains("wrong place") || why.contains("cannot be read"), "{why}");
}

/// J7: what was there before it shows again.
fn a_write_that_the_disk_lost_is_noticed<B: Bed>() {
    let why = refusal(three::<B>().restart_damaged(2, |page| page.fill(0)));
    assert!(why.contains("at byte 4096: a durable block cannot be read"), "{why}");
    let mut log = three::<B>();
    log.rest();
    let why = refusal(log.restart_damaged(3, |page| page.fill(0)));
    assert!(why.contains("at byte 8192"), "{why}");
}

/// J11.
fn a_segment_of_another_size_is_refused<B: Bed>() {
    let mut log = three::<B>();
    log.bed.stop();
    log.bed.edit(SegmentId(1), |bytes| bytes.truncate(2 * PAGE));
    assert!(refusal(log.restart()).contains("size"));
}

macro_rules! on_both {
    ($($case:ident,)*) => {
        mod on_files {
            $(#[test] fn $case() { super::$case::<super::Files>(); })*
        }
        mod simulated {
            $(#[test] fn $case() { super::$case::<super::Simulated>(); })*
        }
    };
}

on_both!(
    an_empty_log_is_empty_after_a_restart,
    records_of_every_size_come_back_and_more_follow,
    many_in_one_block_come_back,
    a_second_restart_finds_the_same,
    what_was_given_up_is_gone_and_the_numbers_go_on,
    a_crash_in_the_middle_loses_nothing_durable,
    a_torn_last_block_is_cut_and_written_over,
    the_newest_block_may_not_rot_once_the_log_has_rested,
    a_valid_block_behind_an_invalid_one_shows_rot,
    a_block_that_was_written_to_the_wrong_place_is_noticed,
    a_write_that_the_disk_lost_is_noticed,
    a_segment_of_another_size_is_refused,
);
