//! One disk log for two writers: which record of the log belongs to which writer's own count, and
//! which records nobody needs any more.
//!
//! Invariants
//! - a writer hears of durability in the order of its writes;
//! - only durable records are given up.
use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Disk, Output};
use crate::limits::WAL_QUIET_MS;
use crate::time::MonoTime;
use crate::types::{Index, WriteSeq};
use crate::wal::{Lane, PerLane};

/// Records on their way to the disk, and records that somebody may need.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Journal {
    last: WriteSeq,
    under_way: VecDeque<(WriteSeq, Lane, WriteSeq)>,
    /// Records of consensus, oldest first, with the last index that each holds (zero: none).
    frames: VecDeque<(WriteSeq, Index)>,
    /// Records of the client by its own count, oldest first.
    client: VecDeque<(WriteSeq, WriteSeq)>,
    /// What may be given up as soon as it is durable.
    unneeded: PerLane,
}

/// Up to where each writer's records are durable now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durable {
    pub(super) raft: Option<WriteSeq>,
    pub(super) client: Option<WriteSeq>,
}

impl Journal {
    /// A journal that goes on after `last`, the newest record that the disk gave back.
    pub(super) fn new(last: WriteSeq) -> Self {
        Self { last, ..Self::default() }
    }

    /// A record of consensus that the disk gave back.
    pub(super) fn on_recovered_frame(&mut self, seq: WriteSeq, end: Index) {
        self.frames.push_back((seq, end));
    }

    /// A record of the client that the disk gave back: unneeded as soon as anything is.
    pub(super) fn on_recovered_client(&mut self, seq: WriteSeq) {
        self.client.push_back((seq, WriteSeq(0)));
    }

    /// The number of the next record, which is `own` in its writer's count.
    pub(super) fn on_record(&mut self, lane: Lane, own: WriteSeq) -> WriteSeq {
        self.last = WriteSeq(self.last.0 + 1);
        self.under_way.push_back((self.last, lane, own));
        match lane {
            Lane::Raft => (),
            Lane::Client => self.client.push_back((self.last, own)),
        }
        self.last
    }

    /// The number of a record of consensus that repeats what an older one says: nobody waits for it.
    pub(super) fn on_copy(&mut self) -> WriteSeq {
        self.last = WriteSeq(self.last.0 + 1);
        self.frames.push_back((self.last, Index::default()));
        self.last
    }

    /// The record `seq` of consensus holds entries up to `end`.
    pub(super) fn on_frame(&mut self, seq: WriteSeq, end: Index) {
        self.frames.push_back((seq, end));
    }

    /// The newest record given out.
    pub(super) const fn last(&self) -> WriteSeq {
        self.last
    }

    /// Every record up to `upto` survives a crash.
    pub(super) fn on_durable(&mut self, upto: WriteSeq) -> Durable {
        let mut durable = Durable::default();
        while let Some(&(seq, lane, own)) = self.under_way.front() {
            if upto < seq {
                break;
            }
            self.under_way.pop_front();
            let writer = match lane {
                Lane::Raft => &mut durable.raft,
                Lane::Client => &mut durable.client,
            };
            assert!(writer.is_none_or(|before| before < own), "durable in the order of writes");
            *writer = Some(own);
        }
        durable
    }

    /// A snapshot holds everything up to `upto`, and the newest record repeats term and vote: records
    /// before the first that holds a later entry may go.
    pub(super) fn on_raft_compacted(&mut self, upto: Index) {
        while let Some(&(seq, end)) = self.frames.front() {
            // The newest record stays: it is term and vote, or what came after them.
            if upto < end || self.frames.len() == 1 {
                break;
            }
            self.frames.pop_front();
            self.unneeded.raise(Lane::Raft, seq);
        }
    }

    /// The client does not need its records before `before`, in its own count.
    pub(super) fn on_client_compacted(&mut self, before: WriteSeq) {
        while let Some(&(seq, own)) = self.client.front() {
            if before <= own {
                break;
            }
            self.client.pop_front();
            self.unneeded.raise(Lane::Client, seq);
        }
    }
}

impl Disk {
    /// Something became durable: if nothing follows it, it is confirmed soon.
    pub(super) const fn on_durable(&mut self, now: MonoTime) {
        self.quiet_at = Some(now.plus_ms(WAL_QUIET_MS));
    }

    /// Damage to the last records would pass for a write that a crash tore; a block after them tells.
    pub(super) fn on_time(&mut self, now: MonoTime, out: &mut VecDeque<Output>) {
        if self.quiet_at.take_if(|at| *at <= now).is_some() {
            self.wal.on_quiet(out);
        }
    }

    /// Give up what is both unneeded and durable.
    pub(super) fn compact(&mut self, out: &mut VecDeque<Output>) {
        for lane in Lane::ALL {
            let upto = self.journal.unneeded.of(lane).min(self.wal.durable_seq());
            self.wal.on_compacted(lane, upto, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_of_term_and_vote_outlives_what_was_compacted() {
        let mut journal = Journal::new(WriteSeq(0));
        let record = |journal: &mut Journal, own, end| {
            let seq = journal.on_record(Lane::Raft, WriteSeq(own));
            journal.on_frame(seq, Index(end));
            seq
        };
        // Term and vote, three entries, another term, one entry.
        for (own, end) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 0), (6, 4)] {
            record(&mut journal, own, end);
        }
        let copy = journal.on_copy();
        journal.on_raft_compacted(Index(4));
        assert_eq!(journal.unneeded.raft, WriteSeq(6), "all that came before the copy");
        let entry = record(&mut journal, 7, 5);
        let second = journal.on_copy();
        assert!(copy < entry && entry < second);
        journal.on_raft_compacted(Index(4));
        assert_eq!(journal.unneeded.raft, copy, "a later copy takes its place");
        assert_eq!(journal.on_durable(second).raft, Some(WriteSeq(7)), "nobody waits for copies");
    }
}
