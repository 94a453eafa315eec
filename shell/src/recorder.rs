//! The input log on disk: what the core was told, in order, so that any hour of it can be replayed.
//!
//! A segment starts with where it starts from: the configuration and seed of a fresh agent, or a frozen
//! agent. Then follow records, each with its length (`drover_core::agent::recording`): an input, what
//! was decided about it, or the agent's digest after so many inputs. The recorder writes on a thread of
//! its own, many inputs at once: to wake it for each would cost more than all else that it does. A
//! record that the process took to its grave is not missed, because a replay simply ends earlier; a core
//! that panics leaves everything up to that input.
//!
//! Invariants
//! - a segment is at most a quarter of the bound, but for its start; when a new one begins, the oldest go
//!   until all of them keep the bound, and never the one before the new one;
//! - an input waits for the thread at most twice `LINGER_MS`, if the loop runs;
//! - a segment that follows on a hole says so;
//! - files are readable by their owner only.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

pub use drover_core::agent::recording::{Record, Start};
use drover_core::agent::sum::Sum;
use drover_core::agent::{Agent, Effects, Input};
use drover_core::digest::Digest;
use drover_core::time::MonoTime;
use drover_core::types::Plan;
use serde::Serialize;

use crate::files;

mod log;
mod reader;

pub use log::{Begins, Fault, Log, Segment};
pub use reader::Reader;

/// Inputs between two digests in the log.
pub const INPUTS_PER_DIGEST: u64 = 1_024;
/// First bytes of every segment: the format's name and version.
const MAGIC: &[u8; 8] = b"DROVIN01";
/// What is handed to the writing thread at once.
const BUFFER_BYTES: usize = 64 << 10;
/// How long an input may wait for others before it is handed over.
const LINGER_MS: u64 = 100;
/// Buffers that wait for the disk; beyond that the newest inputs are not recorded.
const BUFFERS_WAITING_MAX: usize = 256;
/// Inputs that are let go before recording is tried again: a checkpoint is not cheap.
const INPUTS_SKIPPED_MAX: u64 = 100_000;
/// Segments that the bound is divided into.
const SEGMENTS: u64 = 4;
/// Steps whose sums are written together.
const SUMS_MAX: usize = 256;

/// Looks on while the loop steps the agent; the loop waits for it, and it must not be slow.
pub trait InputLog: Send {
    /// What is going to be stepped.
    fn on_input(&mut self, input: &Input);
    /// The agent after the step, and what it wants done, of which nothing has been done yet.
    fn on_step(&mut self, agent: &Agent, effects: &Effects);
    /// The loop has done what there was, and may sleep until `wake`.
    fn on_rest(&mut self, wake: Option<MonoTime>);
    /// The loop has ended.
    fn on_end(self: Box<Self>, agent: &Agent);
}

/// The agent's end of the recorder: cheap to call from the loop.
#[derive(Debug)]
pub struct Recorder {
    pending: Vec<u8>,
    /// When the first and the last that are pending came.
    pending_since: MonoTime,
    latest: MonoTime,
    inputs: u64,
    /// Of the inputs since the last record of sums.
    sums: Vec<Sum>,
    segment_bytes: u64,
    segment_bytes_max: u64,
    writer: mpsc::SyncSender<Work>,
    /// Once the writer fell behind, the segment has a hole and nothing more is put into it.
    broken: bool,
    /// Inputs that were not recorded since.
    skipped: u64,
    /// Inputs of the segment that the writer has taken.
    handed_over: u64,
    digest_is_due: bool,
}

enum Work {
    Segment(Vec<u8>),
    Bytes(Vec<u8>),
    Finish(mpsc::Sender<()>),
}

impl Recorder {
    /// Record into `dir`, keeping at most about `bytes_max`.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn start(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        files::make_private_dir(dir)?;
        let (writer, work) = mpsc::sync_channel(BUFFERS_WAITING_MAX);
        let dir = dir.to_owned();
        thread::Builder::new()
            .name("recorder".into())
            .spawn(move || Writer { dir, bytes_max, file: None }.run(&work))?;
        Ok(Self {
            pending: Vec::with_capacity(BUFFER_BYTES),
            pending_since: MonoTime::default(),
            latest: MonoTime::default(),
            inputs: 0,
            sums: Vec::with_capacity(SUMS_MAX),
            segment_bytes: 0,
            segment_bytes_max: bytes_max / SEGMENTS,
            writer,
            broken: true,
            skipped: 0,
            handed_over: 0,
            digest_is_due: false,
        })
    }

    /// Begin a new segment from `start`.
    pub fn begin(&mut self, start: &Start) {
        self.flush();
        let mut head = MAGIC.to_vec();
        push_record(&mut head, start);
        self.broken = self.writer.try_send(Work::Segment(head)).is_err();
        self.sums.clear();
        self.inputs = 0;
        self.segment_bytes = 0;
        self.skipped = 0;
        self.handed_over = 0;
    }

    /// Begin a new segment from the agent as it is, `frozen`.
    fn go_on_from(&mut self, frozen: Vec<u8>) {
        self.flush();
        let inputs_missing = self.inputs - self.handed_over + self.skipped;
        if self.broken {
            self.begin(&Start::FrozenAfterHole { inputs_missing, frozen });
        } else {
            self.begin(&Start::Frozen(frozen));
        }
    }

    /// Whether `go_on_from` should be called: the segment is full, or has a hole and the disk has had time.
    #[must_use]
    const fn wants_segment(&self) -> bool {
        self.segment_bytes_max < self.segment_bytes || INPUTS_SKIPPED_MAX < self.skipped
    }

    /// One input, before it is stepped. `true`: the digest is due after this step.
    fn record(&mut self, input: &Input) -> bool {
        if self.broken {
            self.skipped += 1;
            return false;
        }
        if self.pending.is_empty() {
            self.pending_since = input.now;
        }
        self.latest = input.now;
        push_record(&mut self.pending, &RecordRef::Input(input));
        self.inputs += 1;
        if BUFFER_BYTES <= self.pending.len() {
            self.flush();
        }
        self.inputs.is_multiple_of(INPUTS_PER_DIGEST)
    }

    /// What came of the last input.
    fn record_step(&mut self, effects: &Effects) {
        if self.broken {
            return;
        }
        if let Some(plan) = &effects.planned {
            push_record(&mut self.pending, &RecordRef::Planned(plan));
        }
        self.sums.push(effects.sum());
        if SUMS_MAX <= self.sums.len() {
            self.push_sums();
        }
    }

    fn push_sums(&mut self) {
        if !self.sums.is_empty() {
            push_record(&mut self.pending, &RecordRef::Sums(&self.sums));
            self.sums.clear();
        }
    }

    /// The agent's digest after the last input.
    fn record_digest(&mut self, digest: Digest) {
        if !self.broken {
            self.push_sums();
            let inputs = self.inputs;
            push_record(&mut self.pending, &RecordRef::Digest { inputs, digest });
        }
    }

    /// Hand what is pending to the thread.
    fn flush(&mut self) {
        self.push_sums();
        if self.pending.is_empty() {
            return;
        }
        self.segment_bytes += self.pending.len() as u64;
        let bytes = std::mem::replace(&mut self.pending, Vec::with_capacity(BUFFER_BYTES));
        if self.writer.try_send(Work::Bytes(bytes)).is_err() {
            tracing::warn!("the input log's disk is too slow: recording stops for a while");
            self.broken = true;
        } else {
            self.handed_over = self.inputs;
        }
    }
}

impl InputLog for Recorder {
    fn on_input(&mut self, input: &Input) {
        self.digest_is_due = self.record(input);
    }

    fn on_step(&mut self, agent: &Agent, effects: &Effects) {
        self.record_step(effects);
        if std::mem::take(&mut self.digest_is_due) {
            self.record_digest(agent.digest());
        }
        if self.wants_segment() {
            self.go_on_from(agent.freeze());
        }
    }

    fn on_rest(&mut self, wake: Option<MonoTime>) {
        let sleeps_long = wake.is_none_or(|wake| self.latest.plus_ms(LINGER_MS) < wake);
        if sleeps_long || self.pending_since.plus_ms(LINGER_MS) <= self.latest {
            self.flush();
        }
    }

    /// Returns when the disk has everything.
    fn on_end(mut self: Box<Self>, agent: &Agent) {
        self.record_digest(agent.digest());
    }
}

impl Drop for Recorder {
    /// Returns when the disk has everything.
    fn drop(&mut self) {
        self.flush();
        let (done, wait) = mpsc::channel();
        if self.writer.send(Work::Finish(done)).is_ok() {
            let _finished = wait.recv();
        }
    }
}

/// A borrowing twin of `Record`, with the same encoding.
#[derive(Serialize)]
enum RecordRef<'a> {
    Input(&'a Input),
    Digest { inputs: u64, digest: Digest },
    Planned(&'a Plan),
    Sums(&'a [Sum]),
}

fn push_record(into: &mut Vec<u8>, record: &impl Serialize) {
    let at = into.len();
    into.extend_from_slice(&[0; 4]);
    let filled = postcard::to_extend(record, std::mem::take(into))
        .expect("invariant: records are plain data and always encode");
    *into = filled;
    let length = u32::try_from(into.len() - at - 4).expect("invariant: a record is below 4 GiB");
    into[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// The writing thread.
struct Writer {
    dir: PathBuf,
    bytes_max: u64,
    file: Option<File>,
}

impl Writer {
    fn run(mut self, work: &mpsc::Receiver<Work>) {
        while let Ok(work) = work.recv() {
            let result = match work {
                Work::Segment(head) => self.begin(&head),
                Work::Bytes(bytes) => self.file.as_mut().map_or(Ok(()), |f| f.write_all(&bytes)),
                Work::Finish(done) => {
                    let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync_data());
                    let _receiver_may_be_gone = done.send(());
                    synced
                }
            };
            if let Err(fault) = result {
                let dir = self.dir.display();
                tracing::warn!(
                    "the input log in {dir} cannot be written ({fault}): recording stops"
                );
                self.file = None;
            }
        }
    }

    fn begin(&mut self, head: &[u8]) -> io::Result<()> {
        let old = segments(&self.dir)?;
        let number = old.last().map_or(1, |(number, _)| number + 1);
        // The newest of the old ones stays: it leads up to this one.
        let mut kept = head.len() as u64 + self.bytes_max / SEGMENTS;
        for (at, (_, path)) in old.iter().rev().enumerate() {
            kept += fs::metadata(path)?.len();
            if 0 < at && self.bytes_max < kept {
                fs::remove_file(path)?;
            }
        }
        let path = self.dir.join(format!("{number:08}.inputs"));
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(head)?;
        self.file = Some(file);
        Ok(())
    }
}

/// The segments in `dir`, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
            name.strip_suffix(".inputs").and_then(|number| number.parse::<u64>().ok())
        });
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use drover_core::agent::Event;
    use drover_core::time::WallTime;

    use super::*;

    #[test]
    fn a_log_with_a_hole_is_begun_anew_after_a_while() {
        let (writer, work) = mpsc::sync_channel(0);
        let mut recorder = Recorder {
            pending: Vec::new(),
            pending_since: MonoTime::default(),
            latest: MonoTime::default(),
            inputs: 0,
            sums: Vec::new(),
            segment_bytes: 0,
            segment_bytes_max: u64::MAX,
            writer,
            broken: false,
            skipped: 0,
            handed_over: 0,
            digest_is_due: false,
        };
        let input =
            Input { now: MonoTime { ns: 1 }, wall: WallTime { unix_ms: 1 }, event: Event::Woken };
        recorder.record(&input);
        // Nobody takes the buffer: the disk is too slow.
        recorder.flush();
        for _ in 0..INPUTS_SKIPPED_MAX {
            recorder.record(&input);
            assert!(!recorder.wants_segment());
        }
        recorder.record(&input);
        assert!(recorder.wants_segment());
        drop(work);
    }
}
