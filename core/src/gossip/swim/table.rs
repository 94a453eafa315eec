//! Everyone who is known, in places that do not move, and the sum of who is active.
//!
//! The sum is order-free, so two members with equal tables have equal sums however they learned; it is
//! kept up to date with each change, and by buckets, so that unequal tables are compared in parts.
//!
//! Invariants
//! - this member stands at place 0;
//! - sums and counts are what they would be if made from nothing.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Description, Outline, State};
use crate::rng::{Rng, mix};
use crate::time::MonoTime;
use crate::types::ServerId;

/// Where this member stands.
pub(super) const OWN: u32 = 0;
pub(super) const BUCKETS: usize = 16;
/// Draws before members are looked at one after the other.
const DRAWS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Rtt {
    /// Smoothed, and eight times as fine; zero: never measured.
    srtt_us: u32,
    deviation_us: u32,
}

impl Rtt {
    /// Jacobson, Karels 1988.
    pub(super) fn measure(&mut self, us: u32) {
        let us = us.clamp(1, 10_000_000);
        if self.srtt_us == 0 {
            (self.srtt_us, self.deviation_us) = (us, us / 2);
            return;
        }
        let off = self.srtt_us.abs_diff(us);
        self.srtt_us = (self.srtt_us * 7 + us) / 8;
        self.deviation_us = (self.deviation_us * 3 + off) / 4;
    }

    pub(super) fn timeout_ms(self) -> Option<u64> {
        let us = u64::from(self.srtt_us) + 4 * u64::from(self.deviation_us);
        (self.srtt_us != 0).then_some(us / 1_000)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Slot<D> {
    outline: Outline,
    said: D,
    changed_at: MonoTime,
    rtt: Rtt,
    /// Which of its entries in the queue is valid.
    stamp: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Table<D> {
    slots: Vec<Option<Slot<D>>>,
    free: Vec<u32>,
    index: super::index::Index,
    active: usize,
    count: usize,
    sums: [u64; BUCKETS],
    /// Whom to probe, in this order, from `next` on.
    order: Vec<u32>,
    next: usize,
}

impl<D: Description> Table<D> {
    pub(super) fn new(own: Outline, said: D) -> Self {
        let mut table = Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: super::index::Index::default(),
            active: 0,
            count: 0,
            sums: [0; BUCKETS],
            order: Vec::new(),
            next: 0,
        };
        let at = table.place(MonoTime::default(), own, said);
        assert!(at == OWN, "this member stands at place 0");
        table
    }

    pub(super) const fn others(&self) -> usize {
        self.count - 1
    }

    pub(super) const fn active(&self) -> usize {
        self.active
    }

    pub(super) fn own(&self) -> Outline {
        self.outline(OWN)
    }

    pub(super) fn own_said(&self) -> &D {
        self.said(OWN)
    }

    pub(super) fn describe_own(&mut self, now: MonoTime, turn: u32, said: D) {
        self.change(now, OWN, |slot| {
            slot.outline.version.turn = turn;
            slot.said = said;
        });
    }

    pub(super) fn find(&self, id: ServerId) -> Option<u32> {
        self.index.find(id, |at| self.slot(at).outline.id)
    }

    pub(super) fn outline(&self, at: u32) -> Outline {
        self.slot(at).outline
    }

    pub(super) fn said(&self, at: u32) -> &D {
        &self.slot(at).said
    }

    pub(super) fn changed_at(&self, at: u32) -> MonoTime {
        self.slot(at).changed_at
    }

    pub(super) fn rtt(&mut self, at: u32) -> &mut Rtt {
        &mut self.slot_mut(at).rtt
    }

    /// A new number for the entry of `at` in the queue: the older ones are void.
    pub(super) fn stamp(&mut self, at: u32) -> u32 {
        let slot = self.slot_mut(at);
        slot.stamp = slot.stamp.wrapping_add(1);
        slot.stamp
    }

    pub(super) fn has_stamp(&self, at: u32, stamp: u32) -> bool {
        self.slots[at as usize].as_ref().is_some_and(|slot| slot.stamp == stamp)
    }

    /// Takes somebody in, and into the order of probing at a place drawn by lot.
    pub(super) fn insert(
        &mut self,
        now: MonoTime,
        outline: Outline,
        said: D,
        rng: &mut Rng,
    ) -> u32 {
        let at = self.place(now, outline, said);
        self.enrol(at, rng);
        at
    }

    pub(super) fn remove(&mut self, at: u32) {
        assert!(at != OWN, "this member is never forgotten");
        self.change(MonoTime::default(), at, |slot| slot.outline.state = State::Left);
        let id = self.outline(at).id;
        let slots = &self.slots;
        let id_at = |at: u32| {
            let slot = slots[at as usize].as_ref();
            slot.expect("invariant: the index names places that are taken").outline.id
        };
        self.index.remove(id, id_at);
        self.slots[at as usize] = None;
        self.free.push(at);
        self.count -= 1;
    }

    pub(super) fn set_state(&mut self, now: MonoTime, at: u32, state: State) {
        self.change(now, at, |slot| slot.outline.state = state);
    }

    /// Takes over a later record. Whoever becomes active is probed again.
    pub(super) fn set(
        &mut self,
        now: MonoTime,
        at: u32,
        (outline, said): (Outline, Option<D>),
        rng: &mut Rng,
    ) {
        let was_active = self.outline(at).state.is_active();
        self.change(now, at, |slot| {
            slot.outline = outline;
            if let Some(said) = said {
                slot.said = said;
            }
        });
        if !was_active && outline.state.is_active() && at != OWN {
            self.enrol(at, rng);
        }
    }

    /// Whom to probe next; everybody once before anybody twice.
    pub(super) fn next_subject(&mut self, rng: &mut Rng) -> Option<u32> {
        for _ in 0..2 {
            while let Some(&at) = self.order.get(self.next) {
                self.next += 1;
                let slot = self.slots[at as usize].as_ref();
                if slot.is_some_and(|slot| slot.outline.state == State::Alive) {
                    return Some(at);
                }
            }
            let active = self.places().filter(|(at, one)| *at != OWN && one.state.is_active());
            let mut order: Vec<u32> = active.map(|(at, _)| at).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, draw(rng, last + 1));
            }
            (self.order, self.next) = (order, 0);
        }
        None
    }

    /// Somebody alive and not in `without`, by lot.
    pub(super) fn draw(&self, rng: &mut Rng, without: &[u32]) -> Option<u32> {
        let fits = |at: u32| {
            let slot = self.slots[at as usize].as_ref();
            let is_alive = slot.is_some_and(|slot| slot.outline.state == State::Alive);
            at != OWN && is_alive && !without.contains(&at)
        };
        let count = self.slots.len();
        let mut first = OWN;
        for _ in 0..DRAWS_MAX {
            first = place_of(draw(rng, count));
            if fits(first) {
                return Some(first);
            }
        }
        let places = (first..place_of(count)).chain(0..first);
        places.into_iter().find(|at| fits(*at))
    }

    pub(super) fn view(&self) -> u64 {
        self.sums.iter().fold(0, |sum, part| sum.wrapping_add(*part))
    }

    pub(super) const fn sums(&self) -> &[u64; BUCKETS] {
        &self.sums
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (u32, Outline)> {
        let taken = |(at, slot): (usize, &Option<Slot<D>>)| {
            slot.as_ref().map(|slot| (place_of(at), slot.outline))
        };
        self.slots.iter().enumerate().filter_map(taken)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Outline, &D)> {
        self.slots.iter().flatten().map(|slot| (slot.outline, &slot.said))
    }

    pub(super) fn check_invariants(&self) {
        let (mut sums, mut active) = ([0; BUCKETS], 0);
        for (outline, _) in self.iter() {
            if outline.state.is_active() {
                let sum = &mut sums[bucket(outline.id)];
                *sum = u64::wrapping_add(*sum, worth(outline));
                active += 1;
            }
        }
        assert!(sums == self.sums, "sums are what they would be if made from nothing");
        assert!(active == self.active, "counts are what they would be if made from nothing");
        for (at, outline) in self.places() {
            assert!(self.find(outline.id) == Some(at), "everyone is found");
        }
    }

    fn place(&mut self, now: MonoTime, outline: Outline, said: D) -> u32 {
        let slot = Slot { outline, said, changed_at: now, rtt: Rtt::default(), stamp: 0 };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            place_of(self.slots.len() - 1)
        });
        let slots = &self.slots;
        let id_at = |at: u32| {
            let slot = slots[at as usize].as_ref();
            slot.expect("invariant: the index names places that are taken").outline.id
        };
        self.index.insert(outline.id, at, id_at);
        self.slots[at as usize] = Some(slot);
        self.count += 1;
        self.add(outline);
        at
    }

    fn enrol(&mut self, at: u32, rng: &mut Rng) {
        if 2 * self.slots.len() + 8 < self.order.len() {
            // Many came back within one round: the next is drawn anew.
            self.order.clear();
        }
        self.order.push(at);
        let (next, last) = (self.next.min(self.order.len() - 1), self.order.len() - 1);
        let swapped = next + draw(rng, last - next + 1);
        self.order.swap(swapped, last);
    }

    fn change(&mut self, now: MonoTime, at: u32, change: impl FnOnce(&mut Slot<D>)) {
        let before = self.outline(at);
        if before.state.is_active() {
            let sum = &mut self.sums[bucket(before.id)];
            *sum = sum.wrapping_sub(worth(before));
            self.active -= 1;
        }
        let slot = self.slot_mut(at);
        change(slot);
        slot.changed_at = now;
        let after = slot.outline;
        self.add(after);
    }

    fn add(&mut self, outline: Outline) {
        if outline.state.is_active() {
            let sum = &mut self.sums[bucket(outline.id)];
            *sum = sum.wrapping_add(worth(outline));
            self.active += 1;
        }
    }

    fn slot(&self, at: u32) -> &Slot<D> {
        self.slots[at as usize].as_ref().expect("invariant: a place that is taken")
    }

    fn slot_mut(&mut self, at: u32) -> &mut Slot<D> {
        self.slots[at as usize].as_mut().expect("invariant: a place that is taken")
    }
}

/// What an active member adds to the sum.
const fn worth(outline: Outline) -> u64 {
    let Outline { id, version, state: _ } = outline;
    mix(mix(mix(id.0) ^ version.incarnation.0) ^ version.turn as u64)
}

pub(super) const fn bucket(id: ServerId) -> usize {
    (mix(id.0) >> 60) as usize
}

/// A number below `count`.
pub(super) fn draw(rng: &mut Rng, count: usize) -> usize {
    let drawn = rng.between(0, count as u64 - 1);
    usize::try_from(drawn).expect("invariant: below the length of a vector")
}

fn place_of(at: usize) -> u32 {
    u32::try_from(at).expect("invariant: members are bounded")
}
