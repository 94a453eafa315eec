//! A segment's file in memory.
//!
//! A block is whole pages and most hold a few hundred bytes: what is kept of a page is what lies before
//! its zeros, so that thousands of hosts fit into memory, and a few into a processor's cache.
//!
//! Invariants
//! - what is read is what was written, zeros included;
//! - a page that was never written takes no room.
use std::cell::Cell;
use std::ops::Range;

use drover_core::wal::{BLOCK_ALIGN_BYTES, SegmentId, SegmentImage};

/// How many bytes are compared at once where the zeros of a page begin.
const STRIDE_BYTES: usize = 64;

/// The file.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: usize,
    /// The beginning of the file, a page each, without the zeros at its end.
    pages: Vec<Box<[u8]>>,
}

impl Segment {
    pub(super) const fn blank(bytes: usize) -> Self {
        Self { bytes, pages: Vec::new() }
    }

    /// A file with this content.
    pub(super) fn of(content: &[u8]) -> Self {
        let mut file = Self::blank(content.len());
        file.write(0, content);
        file
    }

    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = self.read(0..self.pages.len() * BLOCK_ALIGN_BYTES);
        content.resize(self.bytes, 0);
        content
    }

    /// Where the pages begin in which anything but zeros lies.
    pub(super) fn used(&self) -> impl Iterator<Item = usize> {
        let pages = self.pages.iter().enumerate().filter(|(_, page)| !page.is_empty());
        pages.map(|(nth, _)| nth * BLOCK_ALIGN_BYTES)
    }

    /// Puts `pages` there; the last may be cut short by the end of the file.
    pub(super) fn write(&mut self, offset: usize, pages: &[u8]) {
        assert!(offset + pages.len() <= self.bytes, "a file does not grow");
        assert!(offset.is_multiple_of(BLOCK_ALIGN_BYTES), "writes are of whole pages");
        let first = offset / BLOCK_ALIGN_BYTES;
        let end = first + pages.len().div_ceil(BLOCK_ALIGN_BYTES);
        if self.pages.len() < end {
            self.pages.resize_with(end, Box::default);
        }
        for (kept, page) in self.pages[first..end].iter_mut().zip(pages.chunks(BLOCK_ALIGN_BYTES)) {
            *kept = trimmed(page).into();
        }
    }

    /// Whole pages, zeros included.
    pub(super) fn read(&self, range: Range<usize>) -> Vec<u8> {
        self.read_into(Vec::with_capacity(range.len()), range)
    }

    fn read_into(&self, mut read: Vec<u8>, range: Range<usize>) -> Vec<u8> {
        read.clear();
        for nth in range.start / BLOCK_ALIGN_BYTES..range.end / BLOCK_ALIGN_BYTES {
            let end = read.len() + BLOCK_ALIGN_BYTES;
            if let Some(page) = self.pages.get(nth) {
                read.extend_from_slice(page);
            }
            read.resize(end, 0);
        }
        read
    }

    pub(super) fn image(&self, segment: SegmentId) -> SegmentImage<Room> {
        let upto = (self.pages.len() * BLOCK_ALIGN_BYTES).min(self.bytes);
        let mut bytes = self.read_into(ROOM.take(), 0..self.pages.len() * BLOCK_ALIGN_BYTES);
        bytes.truncate(upto);
        SegmentImage { segment, bytes: Room(bytes), blank_bytes: (self.bytes - upto) as u64 }
    }
}

thread_local! {
    /// Where a segment is laid out to be read: starts are many, and new pages cost as much as the reading.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A segment laid out, in room that is given back.
pub(super) struct Room(Vec<u8>);

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        ROOM.set(std::mem::take(&mut self.0));
    }
}

/// `page` without the zeros at its end, to a stride.
fn trimmed(page: &[u8]) -> &[u8] {
    let blank = [0; STRIDE_BYTES];
    let used = page.chunks(STRIDE_BYTES).rposition(|stride| stride != &blank[..stride.len()]);
    let end = used.map_or(0, |last| (last + 1) * STRIDE_BYTES);
    &page[..end.min(page.len())]
}
