//! What is asked of a cluster, and what a cluster must be able to do.
use std::ops::{Bound, Range, RangeBounds};

/// Entries that every voter keeps in its log, at least.
pub(crate) const RETAINED_ENTRIES: u64 = 65_536;
/// A log is cut after so many more.
pub(crate) const CUT_ENTRIES: u64 = 8_192;

/// A kind of proposals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Load {
    /// Entries that are proposed together.
    pub(crate) batch: u64,
    /// Bytes of one entry.
    pub(crate) payload_bytes: usize,
}

impl Load {
    /// Enough batches for every log to be full and cut at least once.
    pub(crate) const fn warm_batches(self) -> u64 {
        (RETAINED_ENTRIES + 2 * CUT_ENTRIES).div_ceil(self.batch)
    }

    /// The bytes of one entry.
    pub(crate) fn payload(self) -> Vec<u8> {
        vec![7; self.payload_bytes]
    }
}

/// Where the entries of `range` lie in a log of `length` entries that begins at `base`.
pub(crate) fn held_range(range: &impl RangeBounds<u64>, base: u64, length: usize) -> Range<usize> {
    let begin = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last + 1,
        Bound::Excluded(&after) => after,
        Bound::Unbounded => u64::MAX,
    };
    let slot = |index: u64| {
        usize::try_from(index.saturating_sub(base)).map_or(length, |slot| slot.min(length))
    };
    slot(begin)..slot(end).max(slot(begin))
}

/// What voters said to each other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Entries in all messages, so each counts once a link.
    pub(crate) entries: u64,
    /// Bytes of the messages that held entries.
    pub(crate) append_bytes: u64,
}

impl Traffic {
    /// Notes one message.
    pub(crate) const fn note(&mut self, bytes: u64, entries: u64) {
        self.messages += 1;
        self.bytes += bytes;
        self.entries += entries;
        if 0 < entries {
            self.append_bytes += bytes;
        }
    }
}

/// Three voters with a leader.
pub(crate) trait Cluster {
    /// Proposes so many batches one after the other; each is applied by all voters before the next.
    fn run(&mut self, batches: u64);

    /// Begins to look at what is said (with no figures yet), or ends it and answers them.
    fn watch(&mut self, watch: Watch) -> Traffic;

    /// Panics if the voters do not agree, or forgot what they should keep.
    fn check(&self);
}

/// Whether the traffic is counted; counting costs time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Watch {
    Begin,
    End,
}
