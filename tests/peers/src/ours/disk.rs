//! A voter's disk: it never fails, and it has done a write when it is next asked.
//!
//! With a write-ahead log, records go the way of `core/src/agent` (`apply`, `journal`) and blocks
//! are sealed as `shell/src/storage` seals them; then the bytes are dropped instead of written.
use std::collections::VecDeque;
use std::hint::black_box;

use drover_core::limits;
use drover_core::raft::{Payload, Record};
use drover_core::types::{Index, WriteSeq};
use drover_core::wal::{self, Lane, OpId, Operation, PerLane, Tail, Wal};

use super::{Own, Weight, record_end};

/// What becomes of a record.
pub(super) enum Disk {
    /// It counts as written.
    Memory { under_way: VecDeque<Own> },
    /// Its checksum is taken.
    Checksum { under_way: VecDeque<Own>, crc: u32 },
    /// It is sealed into a block of a log.
    Journal(Box<Journal>),
}

pub(super) struct Journal {
    wal: Wal,
    said: Vec<wal::Output>,
    done: VecDeque<OpId>,
    previous_crc: u32,
    last: WriteSeq,
    under_way: VecDeque<(WriteSeq, Own)>,
    /// Records that somebody may need, and the last index in each.
    needed: VecDeque<(WriteSeq, Index)>,
}

impl Disk {
    pub(super) fn new(weight: Weight) -> Self {
        match weight {
            Weight::Machine => Self::Memory { under_way: VecDeque::new() },
            Weight::Checksum => Self::Checksum { under_way: VecDeque::new(), crc: 0 },
            Weight::Journal | Weight::Wire => Self::Journal(Box::new(Journal::new())),
        }
    }

    pub(super) fn write(&mut self, own: Own, record: &Record) {
        match self {
            Self::Memory { under_way } => under_way.push_back(own),
            Self::Checksum { under_way, crc } => {
                if let Record::Frame { frame, .. } = record
                    && let Payload::Commands { bytes, .. } = &frame.payload
                {
                    *crc ^= crc_fast::crc32_iscsi(bytes);
                }
                under_way.push_back(own);
            }
            Self::Journal(journal) => journal.write(own, record),
        }
    }

    /// Up to which write the machine may be told next, if any has ended.
    pub(super) fn complete(&mut self) -> Option<Own> {
        match self {
            Self::Memory { under_way } | Self::Checksum { under_way, .. } => under_way.pop_front(),
            Self::Journal(journal) => journal.complete(),
        }
    }

    /// The log up to `upto` is not needed.
    pub(super) fn on_compacted(&mut self, upto: Index) {
        if let Self::Journal(journal) = self {
            journal.on_compacted(upto);
        }
    }
}

impl Journal {
    fn new() -> Self {
        let config = wal::Config {
            segment_bytes_first: limits::WAL_SEGMENT_BYTES_FIRST,
            segment_bytes: limits::WAL_SEGMENT_BYTES,
            write_bytes_max: limits::WAL_WRITE_BYTES_MAX,
        };
        let tail = Tail {
            live: Vec::new(),
            ready: Vec::new(),
            offset: 0,
            next_seq: WriteSeq(1),
            crc: 0,
            marks: PerLane::default(),
        };
        let mut journal = Self {
            wal: Wal::new(config, tail),
            said: Vec::new(),
            done: VecDeque::new(),
            previous_crc: 0,
            last: WriteSeq(0),
            under_way: VecDeque::new(),
            needed: VecDeque::new(),
        };
        journal.wal.on_started(&mut journal.said);
        journal
    }

    fn write(&mut self, own: Own, record: &Record) {
        self.last = WriteSeq(self.last.0 + 1);
        self.under_way.push_back((self.last, own));
        self.needed.push_back((self.last, record_end(record)));
        let bytes = postcard::to_allocvec(record).expect("records always encode");
        self.wal.append(self.last, Lane::Raft, &bytes, &mut self.said);
    }

    fn complete(&mut self) -> Option<Own> {
        loop {
            let durable = self.carry_out();
            if let Some(upto) = durable {
                let mut last = None;
                while let Some((_, own)) = self.under_way.pop_front_if(|(seq, _)| *seq <= upto) {
                    last = Some(own);
                }
                return last;
            }
            let op = self.done.pop_front()?;
            self.wal.on_done(op, &mut self.said);
        }
    }

    /// Does what the log asks of the disk; answers up to where it called its records durable.
    fn carry_out(&mut self) -> Option<WriteSeq> {
        let mut durable = None;
        for output in self.said.drain(..) {
            match output {
                wal::Output::Operate { op, operation } => {
                    if let Operation::Write { mut block, .. } = operation {
                        self.previous_crc =
                            wal::seal(&mut block, self.previous_crc, crc_fast::crc32_iscsi);
                        black_box(&block);
                    }
                    self.done.push_back(op);
                }
                wal::Output::Durable { upto } => durable = Some(upto),
                wal::Output::Failed { .. } => panic!("this disk never fails"),
            }
        }
        durable
    }

    fn on_compacted(&mut self, upto: Index) {
        let mut unneeded = WriteSeq(0);
        while let Some((seq, _)) = self.needed.pop_front_if(|(_, end)| *end <= upto) {
            unneeded = seq;
        }
        let unneeded = unneeded.min(self.wal.durable_seq());
        self.wal.on_compacted(Lane::Raft, unneeded, &mut self.said);
    }
}
