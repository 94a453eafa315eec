//! The threads that wait for the disk: one writes blocks, one makes and removes segments, so that a
//! commit never waits for zeros.
//!
//! Invariants
//! - after a failed write no other is begun: the chain of blocks has no hole.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use drover_core::wal::{OpId, Operation, SegmentId, seal};

use super::segments::{Route, Segments};
use super::{Completion, Disk, Failure, Lock};

/// What a disk may want of the memory that it reads.
const PAGE_BYTES: usize = 4_096;

/// The real disk. Dropping it finishes what was submitted, then frees the data directory.
#[derive(Debug)]
pub struct Threads {
    blocks: Option<Sender<(OpId, Block)>>,
    segments: Option<Sender<(OpId, Change)>>,
    handles: Vec<JoinHandle<()>>,
    _lock: Lock,
}

/// A block to write, not sealed yet.
struct Block {
    segment: SegmentId,
    offset: u64,
    bytes: Vec<u8>,
}

/// A change to the row of segments.
enum Change {
    Prepare { segment: SegmentId, bytes: u64, recycled: Option<SegmentId> },
    Remove { segment: SegmentId },
}

/// What a thread does next.
enum Next {
    GoOn,
    Stop,
}

/// Writes blocks at the log's end.
struct Writer {
    segments: Segments,
    open: Option<Open>,
    aligned: Aligned,
    previous_crc: u32,
}

/// The segment that is written to.
struct Open {
    segment: SegmentId,
    file: File,
    route: Route,
}

impl Threads {
    pub(super) fn spawn(
        lock: Lock,
        segments: Segments,
        previous_crc: u32,
        completions: impl Fn(Completion) + Clone + Send + 'static,
    ) -> Result<Self, Failure> {
        let aligned = Aligned::default();
        let mut writer = Writer { segments: segments.clone(), open: None, aligned, previous_crc };
        let (blocks, submitted) = channel();
        let complete = completions.clone();
        let write = move || {
            run(&submitted, |op, block| {
                let outcome = writer.write(block);
                let next = if outcome.is_ok() { Next::GoOn } else { Next::Stop };
                complete(Completion { op, outcome });
                next
            });
        };
        let (changes, submitted) = channel();
        let path = segments.path(SegmentId(1));
        let arrange = move || {
            run(&submitted, |op, change| {
                completions(Completion { op, outcome: make_change(&segments, &change) });
                Next::GoOn
            });
        };
        let failure = |source: io::Error| Failure::of(&path, "start a thread to write", source);
        let handles = vec![
            Builder::new().name("wal-blocks".to_owned()).spawn(write).map_err(failure)?,
            Builder::new().name("wal-segments".to_owned()).spawn(arrange).map_err(failure)?,
        ];
        Ok(Self { blocks: Some(blocks), segments: Some(changes), handles, _lock: lock })
    }
}

impl Disk for Threads {
    fn submit(&mut self, op: OpId, operation: Operation) {
        match operation {
            Operation::Write { segment, offset, block } => {
                send(self.blocks.as_ref(), op, Block { segment, offset, bytes: block });
            }
            Operation::Prepare { segment, bytes, recycled } => {
                send(self.segments.as_ref(), op, Change::Prepare { segment, bytes, recycled });
            }
            Operation::Remove { segment } => {
                send(self.segments.as_ref(), op, Change::Remove { segment });
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.blocks = None;
        self.segments = None;
        for handle in self.handles.drain(..) {
            // A panic there was printed there; nothing is left to do about it here.
            handle.join().ok();
        }
    }
}

fn send<T>(thread: Option<&Sender<(OpId, T)>>, op: OpId, task: T) {
    let thread = thread.expect("invariant: the threads run until the drop");
    // A thread that stopped has reported its failure, and so the log has stopped.
    thread.send((op, task)).ok();
}

/// Do what is submitted until nobody can submit, or it says stop.
fn run<T>(submitted: &Receiver<(OpId, T)>, mut perform: impl FnMut(OpId, T) -> Next) {
    while let Ok((op, task)) = submitted.recv() {
        match perform(op, task) {
            Next::GoOn => {}
            Next::Stop => return,
        }
    }
}

fn make_change(segments: &Segments, change: &Change) -> Result<(), Failure> {
    match *change {
        Change::Prepare { segment, bytes, recycled } => segments.prepare(segment, bytes, recycled),
        Change::Remove { segment } => segments.remove(segment),
    }
}

impl Writer {
    fn write(&mut self, block: Block) -> Result<(), Failure> {
        let Block { segment, offset, mut bytes } = block;
        if self.open.as_ref().is_none_or(|open| open.segment != segment) {
            let (file, route) = self.segments.open_for_blocks(segment)?;
            self.open = Some(Open { segment, file, route });
        }
        self.previous_crc = seal(&mut bytes, self.previous_crc, crc_fast::crc32_iscsi);
        self.put(&bytes, offset)
            .map_err(|source| Failure::of(&self.segments.path(segment), "write", source))
    }

    fn put(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let open = self.open.as_mut().expect("invariant: just opened");
        if open.route == Route::Direct {
            match open.file.write_all_at(self.aligned.copy_of(bytes), offset) {
                // Refused as it stands, so that nothing of it was written: the disk wants another
                // alignment, or the file system only pretended.
                Err(fault) if fault.raw_os_error() == Some(libc::EINVAL) => {
                    (open.file, open.route) =
                        self.segments.open_through_cache(open.segment).map_err(io::Error::other)?;
                }
                written => return written,
            }
        }
        open.file.write_all_at(bytes, offset)?;
        match open.route {
            Route::Direct | Route::Cached => open.file.sync_data(),
            Route::Unflushed => Ok(()),
        }
    }
}

/// Memory that begins where a page does.
#[derive(Default)]
struct Aligned(Vec<u8>);

impl Aligned {
    fn copy_of(&mut self, bytes: &[u8]) -> &[u8] {
        if self.0.len() < bytes.len() + PAGE_BYTES {
            self.0.resize(bytes.len() + PAGE_BYTES, 0);
        }
        let begin = self.0.as_ptr().align_offset(PAGE_BYTES);
        let place = &mut self.0[begin..begin + bytes.len()];
        place.copy_from_slice(bytes);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned_however_large() {
        let mut aligned = Aligned::default();
        for length in [4_096, 1 << 20, 8_192] {
            let block = vec![7; length];
            let copy = aligned.copy_of(&block);
            assert_eq!(copy, block);
            assert!(copy.as_ptr().addr().is_multiple_of(PAGE_BYTES));
        }
    }
}
