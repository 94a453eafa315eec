//! What waits to be sent on one lane to one peer.
//!
//! Invariants
//! - what waits, and what was taken but not yet written, together never exceed the bound;
//! - what goes in first comes out first.
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Frames taken for one write.
const BATCH_BYTES: usize = 256 << 10;
/// Counted for a frame beyond its bytes, so that empty messages are bounded too.
const FRAME_COST_BYTES: usize = 64;

/// Bounded in bytes; any thread puts in, one task takes out.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// One task waits on it: the session that writes this lane.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    /// Of `frames` and of the batch that is being written.
    cost_bytes: usize,
}

/// Whether a message was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It will be written.
    Queued,
    /// There was no room.
    Full,
}

/// Frames for one write, and what they cost.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<Bytes>,
    cost_bytes: usize,
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_COST_BYTES
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, waiting: Mutex::default(), arrived: Notify::new() }
    }

    pub(super) fn push(&self, frame: Bytes) -> Admission {
        let mut waiting = self.lock();
        let cost_bytes = waiting.cost_bytes + cost(&frame);
        if self.bytes_max < cost_bytes {
            return Admission::Full;
        }
        waiting.cost_bytes = cost_bytes;
        let was_empty = waiting.frames.is_empty();
        waiting.frames.push_back(frame);
        drop(waiting);
        if was_empty {
            self.arrived.notify_one();
        }
        Admission::Queued
    }

    /// Waits until there is something to write, and takes as much as one write carries.
    pub(super) async fn next_batch(&self) -> Batch {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let mut batch = Batch { frames: Vec::new(), cost_bytes: 0 };
        while let Some(frame) = waiting.frames.pop_front() {
            batch.cost_bytes += cost(&frame);
            batch.frames.push(frame);
            if BATCH_BYTES <= batch.cost_bytes {
                break;
            }
        }
        (!batch.frames.is_empty()).then_some(batch)
    }

    /// The batch is with the connection now: its room is free again.
    pub(super) fn written(&self, cost_bytes: usize) {
        let mut waiting = self.lock();
        assert!(cost_bytes <= waiting.cost_bytes, "only what was taken is written");
        waiting.cost_bytes -= cost_bytes;
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.lock().cost_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Splits into the frames and what they cost.
    pub(super) fn into_parts(self) -> (Vec<Bytes>, usize) {
        (self.frames, self.cost_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_takes_again_once_written() {
        let queue = Queue::new(3 * (100 + FRAME_COST_BYTES));
        let frame = Bytes::from(vec![0; 100]);
        for _ in 0..3 {
            assert_eq!(queue.push(frame.clone()), Admission::Queued);
        }
        assert_eq!(queue.push(frame.clone()), Admission::Full);
        let (frames, cost_bytes) = queue.take().unwrap().into_parts();
        assert_eq!(frames.len(), 3);
        assert_eq!(
            queue.push(frame.clone()),
            Admission::Full,
            "a batch in the writer's hands counts"
        );
        queue.written(cost_bytes);
        assert_eq!(queue.push(frame), Admission::Queued);
    }

    #[test]
    fn empty_messages_are_bounded_too() {
        let queue = Queue::new(10 * FRAME_COST_BYTES);
        let taken = (0..1_000).filter(|_| queue.push(Bytes::new()) == Admission::Queued).count();
        assert_eq!(taken, 10);
    }
}
