//! The log and the snapshots on real files.
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use drover_core::digest::Digest;
use drover_core::types::{Index, WriteSeq};
use drover_core::wal::{Config, Lane, Output, Recovery, Wal};

use drover_shell::storage::{Completion, Disk, Failure, SnapshotName, Storage, Threads};

const CONFIG: Config =
    Config { segment_bytes_first: 16 << 10, segment_bytes: 64 << 10, write_bytes_max: 12 << 10 };

/// The log on real files, driven until the disk is idle.
struct Log {
    wal: Wal,
    disk: Threads,
    completions: Receiver<Completion>,
    outputs: Vec<Output>,
    underway: usize,
}

impl Log {
    fn open(data_dir: &Path) -> (Self, Recovery) {
        let (storage, recovery) = Storage::open(data_dir).expect("a healthy directory opens");
        let (sender, completions) = channel();
        let complete = move |completion| sender.send(completion).expect("the test listens");
        let disk = storage.spawn(complete).expect("threads start");
        let wal = Wal::new(CONFIG, recovery.tail.clone());
        let mut log = Self { wal, disk, completions, outputs: Vec::new(), underway: 0 };
        log.wal.on_started(&mut log.outputs);
        (log, recovery)
    }

    fn append(&mut self, lane: Lane, record: &[u8]) {
        let seq = WriteSeq(self.wal.appended_seq().0 + 1);
        self.wal.append(seq, lane, record, &mut self.outputs);
        self.submit();
    }

    fn submit(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Operate { op, operation } => {
                    self.underway += 1;
                    self.disk.submit(op, operation);
                }
                Output::Durable { .. } => {}
                Output::Failed { op, fault } => panic!("{op:?} failed: {fault:?}"),
            }
        }
    }

    fn settle(&mut self) {
        self.submit();
        while 0 < self.underway {
            let Completion { op, outcome } = self.completions.recv().expect("the disk answers");
            self.underway -= 1;
            outcome.expect("the disk is healthy");
            self.wal.on_done(op, &mut self.outputs);
            self.submit();
        }
        self.wal.check_invariants();
    }
}

fn segment_paths(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir.join("wal")).expect("the directory is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.sort();
    paths
}

#[test]
fn compacted_segments_are_recycled_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path());
    for _ in 0..400 {
        log.append(Lane::Raft, &[7; 3_000]);
        log.settle();
        let durable = log.wal.durable_seq();
        log.wal.on_compacted(Lane::Raft, durable, &mut log.outputs);
    }
    log.settle();
    assert!(segment_paths(dir.path()).len() <= 4, "segments nobody needs go");
    drop(log);
    let (_, recovery) = Log::open(dir.path());
    assert_eq!(recovery.tail.next_seq, WriteSeq(401));
    assert_eq!(recovery.records.len(), 1, "only the last mark was not yet on disk");
}

#[test]
fn a_second_agent_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Storage::open(dir.path()).unwrap();
    let failure = Storage::open(dir.path()).unwrap_err();
    let holder = format!("process {}", std::process::id());
    assert!(matches!(&failure, Failure::Locked { holder: named, .. } if *named == holder));
    drop(first);
    Storage::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_block_before_others_is_reported_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path());
    for _ in 0..3 {
        log.append(Lane::Raft, &[1; 100]);
        log.settle();
    }
    drop(log);
    let path = &segment_paths(dir.path())[0];
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[9], 4_096 + 90).unwrap();
    let text = Storage::open(dir.path()).unwrap_err().to_string();
    let place = "0001.segment at byte 4096: a durable block cannot be read";
    assert!(text.contains(place), "{text}");
    assert!(text.contains("joins them as a new server"), "{text}");
}

#[test]
fn a_write_to_a_missing_segment_fails_and_ends_the_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path());
    log.settle();
    for path in segment_paths(dir.path()) {
        fs::remove_file(path).unwrap();
    }
    log.append(Lane::Raft, &[1]);
    log.submit();
    while !log.outputs.iter().any(|output| matches!(output, Output::Failed { .. })) {
        let Completion { op, outcome } = log.completions.recv().unwrap();
        match outcome {
            Ok(()) => log.wal.on_done(op, &mut log.outputs),
            Err(failure) => log.wal.on_failed(op, failure.fault(), &mut log.outputs),
        }
    }
    log.outputs.clear();
    log.wal.append(WriteSeq(2), Lane::Raft, &[2], &mut log.outputs);
    assert_eq!(log.outputs, []);
}

#[test]
fn the_newest_two_snapshots_stay_and_a_damaged_one_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, _) = Storage::open(dir.path()).unwrap();
    let snapshots = storage.snapshots();
    assert!(snapshots.load_newest().unwrap().is_none());
    for index in 1..=3 {
        snapshots.write(Index(index), format!("state {index}").as_bytes()).unwrap();
    }
    let names = snapshots.names().unwrap();
    assert_eq!(names.iter().map(|name| name.index.0).collect::<Vec<_>>(), [2, 3]);
    let loaded = snapshots.load_newest().unwrap().unwrap();
    assert_eq!((loaded.name.index, loaded.bytes.as_slice()), (Index(3), &b"state 3"[..]));
    assert_eq!(snapshots.read_chunk(names[1], 6, 100).unwrap(), b"3");
    assert_eq!(snapshots.read_chunk(names[1], 7, 100).unwrap(), b"");
    fs::write(snapshots.path(names[1]), b"state 4").unwrap();
    let loaded = snapshots.load_newest().unwrap().unwrap();
    assert_eq!((loaded.name.index, loaded.damaged.len()), (Index(2), 1));
    fs::write(snapshots.path(names[0]), b"").unwrap();
    assert!(matches!(snapshots.load_newest(), Err(Failure::SnapshotDamaged { .. })));
}

#[test]
fn a_received_snapshot_is_kept_only_if_every_byte_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, _) = Storage::open(dir.path()).unwrap();
    let snapshots = storage.snapshots();
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let name = SnapshotName { index: Index(9), digest: Digest::of(&bytes) };
    let receive = || snapshots.receive(name, 10_000).unwrap();

    let mut incoming = receive();
    incoming.store(4_000, &bytes[4_000..]).unwrap();
    assert!(matches!(incoming.store(9_000, &bytes[..2_000]), Err(Failure::SnapshotDamaged { .. })));
    assert!(incoming.finish().is_err(), "the first 4,000 bytes are missing");
    assert_eq!(snapshots.names().unwrap(), []);

    let mut incoming = receive();
    incoming.store(4_000, &bytes[4_000..]).unwrap();
    incoming.store(0, &bytes[..5_000]).unwrap();
    assert_eq!(incoming.finish().unwrap(), bytes);
    assert_eq!(snapshots.load_newest().unwrap().unwrap().name, name);
    assert!(matches!(
        snapshots.read_chunk(SnapshotName { index: Index(8), ..name }, 0, 1),
        Err(Failure::SnapshotGone { index: Index(8) })
    ));
}
