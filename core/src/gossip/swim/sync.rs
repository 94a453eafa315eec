//! Joining, and finding what the news have missed.
//!
//! Who is new asks one member for everything. Members that have long known each other carry the sum of
//! their tables on each ping and answer; sums that stay different are compared by buckets, and only
//! records that differ travel:
//!
//! ```text
//!   Compare ──▶   ◀── Outlines   (newer here), Want ──▶   ◀── Snapshot of these
//! ```
//!
//! Invariants
//! - a member begins one comparison at a time, and not more than one in `COMPARE_MS`, save with one
//!   that was held for failed.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::table::bucket;
use super::{Description, Matter, Outline, Output, Packet, State, Swim, table};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

/// How long sums may differ: news come round in less.
const DIFFERS_MS: u64 = 1_000;
const COMPARE_MS: u64 = 900;
/// News beyond which both are shorter.
const CROWDED_MIN: usize = 100;
/// How often the same is asked, and how soon again.
const TRIES_MAX: u32 = 5;
const RETRY_MS: u64 = 1_000;
/// Members that are asked at once.
const CONTACTS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Purpose {
    Join,
    Compare,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Contact {
    purpose: Purpose,
    at: MonoTime,
    tries: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Contacts {
    waiting: BTreeMap<ServerId, Contact>,
    /// Since when nobody's sum was ours.
    differs_since: Option<MonoTime>,
    compared_at: Option<MonoTime>,
}

impl Contacts {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn next_at(&self) -> Option<MonoTime> {
        self.waiting.values().map(|contact| contact.at).min()
    }

    pub(super) fn shift(&mut self, ms: u64) {
        for contact in self.waiting.values_mut() {
            contact.at = contact.at.plus_ms(ms);
        }
    }

    pub(super) fn note_snapshot(&mut self, from: ServerId) {
        if self.waiting.get(&from).is_some_and(|contact| contact.purpose == Purpose::Join) {
            self.waiting.remove(&from);
        }
    }

    fn ask(&mut self, peer: ServerId, purpose: Purpose, at: MonoTime) {
        if self.waiting.len() < CONTACTS_MAX {
            self.waiting.entry(peer).or_insert(Contact { purpose, at, tries: TRIES_MAX });
        }
    }
}

impl<D: Description> Swim<D> {
    pub(super) fn contact(
        &mut self,
        now: MonoTime,
        peer: ServerId,
        out: &mut impl Emit<Output<D>>,
    ) {
        self.contacts.ask(peer, Purpose::Join, now.plus_ms(RETRY_MS));
        self.join(peer, out);
    }

    pub(super) fn retry_contacts(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        let due = self.contacts.waiting.iter().filter(|(_, contact)| contact.at <= now);
        let due: Vec<_> = due.map(|(peer, contact)| (*peer, contact.purpose)).collect();
        for (peer, purpose) in due {
            match purpose {
                Purpose::Join => self.join(peer, out),
                Purpose::Compare => self.compare(peer, out),
            }
            let Some(contact) = self.contacts.waiting.get_mut(&peer) else { continue };
            contact.tries -= 1;
            contact.at = now.plus_ms(RETRY_MS);
            if contact.tries == 0 {
                self.contacts.waiting.remove(&peer);
            }
        }
    }

    fn join(&self, peer: ServerId, out: &mut impl Emit<Output<D>>) {
        let news = alloc::vec![self.record(table::OWN)];
        let matter = Matter::Join { view: self.table.view() };
        out.emit(Output::Stream(peer, Packet { matter, news }));
    }

    pub(super) fn answer_join(&self, from: ServerId, view: u64, out: &mut impl Emit<Output<D>>) {
        let differs = view != self.table.view();
        let whole = self.table.places().filter(|_| differs);
        let news = whole.map(|(at, _)| self.whole_record(at)).collect();
        out.emit(Output::Stream(from, Packet { matter: Matter::Snapshot, news }));
    }

    /// `from` holds for active what sums up to `view`.
    pub(super) fn note_view(
        &mut self,
        now: MonoTime,
        from: ServerId,
        view: u64,
        out: &mut impl Emit<Output<D>>,
    ) {
        if view == self.table.view() {
            self.contacts.differs_since = None;
            if self.contacts.waiting.get(&from).is_some_and(|one| one.purpose == Purpose::Compare) {
                self.contacts.waiting.remove(&from);
            }
            return;
        }
        let since = *self.contacts.differs_since.get_or_insert(now);
        let state = self.table.find(from).map(|at| self.table.outline(at).state);
        // Whoever comes back from the other side of a cut knows a whole side.
        let is_back = state != Some(State::Alive) && state != Some(State::Suspect);
        if is_back {
            if !self.contacts.waiting.contains_key(&from) {
                self.contacts.ask(from, Purpose::Compare, now.plus_ms(RETRY_MS));
                self.compare(from, out);
            }
            return;
        }
        // More news than packets carry: whole tables are the shorter way.
        let haste = if CROWDED_MIN < self.queue.length() { 4 } else { 1 };
        let compare_ms = COMPARE_MS / haste;
        let rests = self.contacts.compared_at.is_some_and(|at| now.ms_since(at) < compare_ms);
        if DIFFERS_MS / haste <= now.ms_since(since) && !rests {
            self.contacts.compared_at = Some(now);
            self.compare(from, out);
        }
    }

    fn compare(&self, peer: ServerId, out: &mut impl Emit<Output<D>>) {
        let matter = Matter::Compare { buckets: self.table.sums().to_vec() };
        out.emit(Output::Stream(peer, Packet { matter, news: Vec::new() }));
    }

    pub(super) fn answer_compare(
        &self,
        from: ServerId,
        buckets: &[u64],
        out: &mut impl Emit<Output<D>>,
    ) {
        let outlines: Vec<Outline> = self.differing(buckets).map(|(_, outline)| outline).collect();
        let matter = Matter::Outlines { buckets: self.table.sums().to_vec(), outlines };
        out.emit(Output::Stream(from, Packet { matter, news: Vec::new() }));
    }

    pub(super) fn answer_outlines(
        &mut self,
        now: MonoTime,
        from: ServerId,
        (buckets, outlines): (&[u64], &[Outline]),
        out: &mut impl Emit<Output<D>>,
    ) {
        let (mut news, mut wanted, mut named) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut is_condemned = false;
        for theirs in outlines {
            named.insert(theirs.id);
            let known = self.table.find(theirs.id);
            let Some(at) = known else {
                if theirs.state.is_active() && wanted.len() < self.members_max {
                    wanted.push(theirs.id);
                }
                continue;
            };
            let ours = self.table.outline(at);
            match rank(ours).cmp(&rank(*theirs)) {
                core::cmp::Ordering::Less => wanted.push(theirs.id),
                core::cmp::Ordering::Greater => news.push(self.whole_record(at)),
                core::cmp::Ordering::Equal => (),
            }
            is_condemned |= ours.state.is_active() != theirs.state.is_active();
        }
        let unknown =
            |(_, ours): &(u32, Outline)| ours.state.is_active() && !named.contains(&ours.id);
        let unknown = self.differing(buckets).filter(unknown);
        news.extend(unknown.map(|(at, _)| self.whole_record(at)));
        if is_condemned {
            // Those who are dead for one side object now; soon both sides know.
            self.contacts.ask(from, Purpose::Compare, now.plus_ms(RETRY_MS));
        }
        if !news.is_empty() || !wanted.is_empty() {
            out.emit(Output::Stream(from, Packet { matter: Matter::Want(wanted), news }));
        }
    }

    pub(super) fn answer_want(
        &self,
        from: ServerId,
        ids: &[ServerId],
        out: &mut impl Emit<Output<D>>,
    ) {
        let places = ids.iter().take(self.members_max).filter_map(|id| self.table.find(*id));
        let news: Vec<_> = places.map(|at| self.whole_record(at)).collect();
        if !news.is_empty() {
            out.emit(Output::Stream(from, Packet { matter: Matter::Snapshot, news }));
        }
    }

    fn differing(&self, buckets: &[u64]) -> impl Iterator<Item = (u32, Outline)> {
        let sums = self.table.sums();
        let differs = |(_, outline): &(u32, Outline)| {
            let nth = bucket(outline.id);
            buckets.get(nth) != Some(&sums[nth])
        };
        self.table.places().filter(differs)
    }

    /// Who failed or left long ago is not asked after any more.
    pub(super) fn forget_old(&mut self, now: MonoTime) {
        if now < self.forget_at {
            return;
        }
        self.forget_at = now.plus_ms(60_000.min(self.timings.forget_ms));
        let is_old = |at: u32, outline: Outline| {
            let since = self.table.changed_at(at);
            at != table::OWN
                && !outline.state.is_active()
                && self.timings.forget_ms <= now.ms_since(since)
        };
        let places = self.table.places().filter(|(at, outline)| is_old(*at, *outline));
        let old: Vec<u32> = places.map(|(at, _)| at).collect();
        for at in old {
            self.drop_member(at);
        }
    }
}

/// What decides between two records. A suspicion is between members, not between tables.
const fn rank(outline: Outline) -> (u64, u32, u8) {
    let worse = match outline.state {
        State::Alive | State::Suspect => 0,
        State::Failed => 1,
        State::Left => 2,
    };
    (outline.version.incarnation.0, outline.version.turn, worse)
}
