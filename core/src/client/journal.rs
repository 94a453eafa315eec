//! Numbers this machine's writes, and knows when its log says everything too often.
//!
//! Invariants
//! - writes are numbered from 1 without a gap;
//! - older records are given up only when the rows that replace them are durable.
use serde::{Deserialize, Serialize};

use super::{ClientRecord, Output};
use crate::emit::Emit;
use crate::types::{Index, WriteSeq};

/// Records per alloc between two compactions: what the life of a task takes that ends well.
const RECORDS_PER_ALLOC: usize = 4;

/// This machine's part of the log.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Journal {
    last: WriteSeq,
    /// Since the last compaction.
    records: usize,
    compaction: Option<Compaction>,
}

/// Rows on their way to the disk.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Compaction {
    first: WriteSeq,
    /// `None` while they are being written.
    last: Option<WriteSeq>,
}

impl Journal {
    /// The log already holds `records` of earlier starts.
    pub(super) const fn on_booted(&mut self, records: usize) {
        self.records = records;
    }

    pub(super) const fn last(&self) -> WriteSeq {
        self.last
    }

    pub(super) fn write(&mut self, record: ClientRecord, out: &mut impl Emit<Output>) -> WriteSeq {
        self.last.0 += 1;
        self.records += 1;
        out.emit(Output::Persist { seq: self.last, record });
        self.last
    }

    pub(super) const fn is_long(&self, allocs: usize, records_min: usize) -> bool {
        self.compaction.is_none() && records_min + allocs * RECORDS_PER_ALLOC < self.records
    }

    pub(super) fn begin_compaction(&mut self) {
        assert!(self.compaction.is_none(), "one compaction at a time");
        self.compaction = Some(Compaction { first: WriteSeq(self.last.0 + 1), last: None });
        self.records = 0;
    }

    /// Answers the write with which it is complete.
    pub(super) fn end_compaction(&mut self, seq: Index, out: &mut impl Emit<Output>) -> WriteSeq {
        let last = self.write(ClientRecord::Compacted { seq }, out);
        let compaction = self.compaction.as_mut().expect("invariant: a compaction began");
        compaction.last = Some(last);
        last
    }

    pub(super) fn on_persisted(&mut self, upto: WriteSeq, out: &mut impl Emit<Output>) {
        let done = self.compaction.filter(|rows| rows.last.is_some_and(|last| last <= upto));
        if let Some(Compaction { first, .. }) = done {
            self.compaction = None;
            out.emit(Output::Compacted { before: first });
        }
    }
}
