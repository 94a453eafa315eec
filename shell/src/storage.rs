//! What the agent keeps on disk: the write-ahead log's segments, snapshots, and the lock on both.
//!
//! `core::wal` decides; here bytes are moved. `Disk` is the seam: the simulator has one of its own,
//! over the same operations, and seals blocks with the same function.
//!
//! | file | what |
//! |---|---|
//! | `<data_dir>/lock` | held by the agent that uses the directory, for as long as it lives |
//! | `<data_dir>/wal/00000000000000000001.segment` | the log; see `core::wal::block` |
//! | `<data_dir>/damaged/<n>/` | what was found damaged, and was made up for by other servers |
//! | `<data_dir>/snapshots/<index>-<digest>.snapshot` | the newest two snapshots |
//!
//! Invariants
//! - an operation is called done only when it survives a power failure, or nothing is to survive;
//! - a failed write or flush is never tried again: it is reported and the disk stops;
//! - two agents never use one data directory.
use std::path::Path;

use drover_core::wal::{OpId, Operation, Recovery};

mod aside;
mod failure;
mod files;
mod lock;
mod segments;
mod snapshot;
mod worker;

pub use aside::{Damaged, set_aside};
pub use failure::Failure;
pub use lock::Lock;
pub use snapshot::{Incoming, Loaded, SnapshotName, Snapshots};
pub use worker::Threads;

use segments::Segments;

/// Carries out the log's operations. `Write`s complete in the order they were submitted, and so do
/// `Prepare`s and `Remove`s; a `Write` may overtake the others.
pub trait Disk: Send {
    /// Begin `operation`; a `Completion` with `op` follows.
    fn submit(&mut self, op: OpId, operation: Operation);
}

/// What became of an operation: `Wal::on_done`, or `Wal::on_failed` with `Failure::fault`.
#[derive(Debug)]
pub struct Completion {
    pub op: OpId,
    pub outcome: Result<(), Failure>,
}

/// A data directory that this process owns, its log read.
#[derive(Debug)]
pub struct Storage {
    lock: Lock,
    segments: Segments,
    previous_crc: u32,
    snapshots: Snapshots,
}

impl Storage {
    /// Lock `data_dir` (made if missing), read its log, and cut what a crash left half written.
    ///
    /// # Errors
    /// If another agent uses it, the disk refuses, or durable records are damaged.
    pub fn open(data_dir: &Path) -> Result<(Self, Recovery), Failure> {
        files::make_dir(data_dir)?;
        let lock = Lock::take(data_dir)?;
        let snapshots = Snapshots::open(&data_dir.join("snapshots"))?;
        let segments = Segments::open(data_dir.join("wal"))?;
        let recovery = segments.recover()?;
        let previous_crc = recovery.tail.crc;
        Ok((Self { lock, segments, previous_crc, snapshots }, recovery))
    }

    /// The data directory ends with this process: nothing need be flushed.
    #[must_use]
    pub fn keeping_nothing(self) -> Self {
        Self { segments: self.segments.keeping_nothing(), ..self }
    }

    /// The snapshots beside the log; a handle that can be cloned and used on any thread.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Start the threads that write; `completions` is called on them.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(
        self,
        completions: impl Fn(Completion) + Clone + Send + 'static,
    ) -> Result<Threads, Failure> {
        Threads::spawn(self.lock, self.segments, self.previous_crc, completions)
    }
}
