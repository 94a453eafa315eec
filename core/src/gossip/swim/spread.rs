//! News travel on whatever is sent anyway, and a few times a second to some members drawn by lot.
//!
//! Each piece is sent a number of times that grows with the logarithm of the group; what was sent least
//! goes first. Whoever missed it all is found by the sums (`sync`).
//!
//! Invariants
//! - a member has one valid entry in the queue at most: the newest;
//! - a packet says nothing twice.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::table::Table;
use super::{Description, Matter, NEWS_BYTES_MAX, Output, Packet, Record, State, Swim};
use crate::emit::Emit;
use crate::types::ServerId;

/// Members that are told at once.
const FANOUT: usize = 3;

/// Places in the table and stamps, by how often they were sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Queue {
    rows: Vec<VecDeque<(u32, u32)>>,
    length: usize,
}

impl Queue {
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// There is something new to say of `at`.
    pub(super) fn push<D: Description>(&mut self, table: &mut Table<D>, at: u32) {
        let stamp = table.stamp(at);
        self.put(0, (at, stamp));
    }

    fn put(&mut self, row: usize, entry: (u32, u32)) {
        if self.rows.len() <= row {
            self.rows.resize(row + 1, VecDeque::new());
        }
        self.rows[row].push_back(entry);
        self.length += 1;
    }

    /// The first that was sent least, and how often that was.
    fn pop(&mut self) -> Option<(usize, (u32, u32))> {
        let row = self.rows.iter().position(|row| !row.is_empty())?;
        let entry = self.rows[row].pop_front()?;
        self.length -= 1;
        Some((row, entry))
    }

    fn put_back(&mut self, row: usize, entry: (u32, u32)) {
        self.rows[row].push_front(entry);
        self.length += 1;
    }
}

impl<D: Description> Swim<D> {
    /// Tells some members, by lot, what is new.
    pub(super) fn gossip(&mut self, out: &mut impl Emit<Output<D>>) {
        let mut told = Vec::new();
        for _ in 0..FANOUT {
            let Some(at) = self.table.draw(&mut self.rng, &told) else { return };
            told.push(at);
            let news = self.news_for(Some(at));
            if news.is_empty() {
                return;
            }
            let to = self.table.outline(at).id;
            out.emit(Output::Datagram(to, Packet { matter: Matter::News, news }));
        }
    }

    /// What is told to `to`: first that it is suspect or failed, so that it can object.
    pub(super) fn news_for(&mut self, to: Option<u32>) -> Vec<Record<D>> {
        let mut news = Vec::new();
        let mut room = NEWS_BYTES_MAX;
        if let Some(at) = to
            && matches!(self.table.outline(at).state, State::Suspect | State::Failed)
        {
            news.push(self.record(at));
            room -= size_bytes(&news[0]);
        }
        let sends_max = self.sends_max();
        let mut sent = Vec::new();
        while let Some((row, (at, stamp))) = self.queue.pop() {
            if !self.table.has_stamp(at, stamp) {
                continue;
            }
            let record = self.record(at);
            let bytes = size_bytes(&record);
            if room < bytes {
                self.queue.put_back(row, (at, stamp));
                break;
            }
            if Some(at) == to {
                sent.push((row, (at, stamp)));
                continue;
            }
            if row + 1 < sends_max {
                sent.push((row + 1, (at, stamp)));
            }
            room -= bytes;
            news.push(record);
        }
        for (row, entry) in sent {
            self.queue.put(row, entry);
        }
        news
    }

    /// What is told of `at`.
    pub(super) fn record(&self, at: u32) -> Record<D> {
        let outline = self.table.outline(at);
        let (accusers, said) = match outline.state {
            State::Alive => (Vec::new(), Some(self.table.said(at).clone())),
            State::Suspect => (self.suspicions.accusers(at), None),
            State::Failed => (self.verdict_accusers(at), None),
            State::Left => (Vec::new(), None),
        };
        Record { id: outline.id, version: outline.version, state: outline.state, accusers, said }
    }

    /// The same for somebody who may not know the member at all. A suspicion is not news by itself.
    pub(super) fn whole_record(&self, at: u32) -> Record<D> {
        let mut record = self.record(at);
        if record.state == State::Suspect {
            (record.state, record.accusers) = (State::Alive, Vec::new());
        }
        record.said = Some(self.table.said(at).clone());
        record
    }

    fn verdict_accusers(&self, at: u32) -> Vec<ServerId> {
        self.verdicts.get(&at).map(|verdict| verdict.accusers.clone()).unwrap_or_default()
    }

    /// Four times the digits of the group's size.
    fn sends_max(&self) -> usize {
        let digits = (self.table.active() as u64 + 1).checked_ilog10().unwrap_or_default() as usize;
        let is_power =
            10_u64.pow(u32::try_from(digits).unwrap_or_default()) == self.table.active() as u64 + 1;
        4 * (digits + usize::from(!is_power)).max(1)
    }
}

/// About how long it is on the wire.
fn size_bytes<D: Description>(record: &Record<D>) -> usize {
    let said = record.said.as_ref().map_or(0, Description::size_bytes);
    14 + 9 * record.accusers.len() + said
}
