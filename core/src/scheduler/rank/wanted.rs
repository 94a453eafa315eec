//! What the group's allocs so far say of each stratum.
//!
//! Invariants
//! - each alloc of the group is counted once for each key, at the value of its node.
use alloc::vec::Vec;

use super::Subject;
use crate::scheduler::crowd::Crowd;
use crate::scheduler::score::{DEVICES_KEPT, Terms};
use crate::scheduler::strata::{NONE, Strata, Within};
use crate::scheduler::tally::{Limit, Shift, Tally};
use crate::types::{Algorithm, NodeSlot};

/// See the module.
pub(super) struct Wanted {
    tallies: Vec<Tally>,
    limits: Vec<Limit>,
    /// Strata of which something else is said than before.
    changed: Vec<u32>,
    /// Devices are kept for those who ask for some.
    keeps_devices: bool,
}

impl Wanted {
    pub(super) fn of(subject: &Subject<'_>, crowd: &Crowd) -> Self {
        let (leanings, keys) = (&subject.leanings, &subject.suitable.strata.keys);
        let (weights, count) = (leanings.weights(), subject.ask.group.count);
        let (of_spreads, of_limits) = keys.split_at(leanings.spreads.len());
        let tallies = leanings.spreads.iter().zip(of_spreads).map(|(spread, key)| {
            let mut tally = Tally::of(spread, weights, count, key);
            tally.join_all(crowd.counts(subject.at).map(|(slot, more)| (key.value(slot), more)));
            tally
        });
        let limits = leanings.limits.iter().zip(of_limits).map(|(limited, key)| {
            let mut limit = Limit::of(limited.most, key);
            let groups = match limited.within {
                Within::Group => subject.at..subject.at + 1,
                Within::Job => 0..crowd.groups(),
            };
            for (slot, more) in groups.flat_map(|group| crowd.counts(group)) {
                limit.join(key.value(slot), more);
            }
            limit
        });
        Self {
            tallies: tallies.collect(),
            limits: limits.collect(),
            changed: Vec::new(),
            keeps_devices: subject.algorithm == Algorithm::Pack,
        }
    }

    /// One more alloc of the group is on the node.
    pub(super) fn join(&mut self, slot: NodeSlot, strata: &Strata) {
        self.change(slot, strata, Tally::join, |limit, value| limit.join(value, 1));
    }

    /// One alloc of the group makes way.
    pub(super) fn leave(&mut self, slot: NodeSlot, strata: &Strata) {
        self.change(slot, strata, Tally::leave, Limit::leave);
    }

    fn change(
        &mut self,
        slot: NodeSlot,
        strata: &Strata,
        count: impl Fn(&mut Tally, u32) -> Shift,
        limit: impl Fn(&mut Limit, u32),
    ) {
        let mut keys = strata.keys.iter();
        for (tally, key) in self.tallies.iter_mut().zip(keys.by_ref()) {
            let value = key.value(slot);
            match count(tally, value) {
                Shift::One => self.changed.extend(key.strata(value)),
                Shift::All => self.changed.extend((0..).zip(&strata.list).map(|(at, _)| at)),
            }
        }
        for (one, key) in self.limits.iter_mut().zip(keys) {
            let value = key.value(slot);
            limit(one, value);
            self.changed.extend(key.strata(value));
        }
    }

    /// The strata of which something else is said than before; some may be named twice.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.changed)
    }

    /// What counts for or against the stratum, and whether nothing may be placed there.
    pub(super) fn of_lane(&self, lane: usize, strata: &Strata) -> (Terms, bool) {
        let affinity = strata.list[lane].affinity;
        let terms = Terms::default()
            .with(affinity)
            .with(self.spread_of_lane(lane, strata))
            .with(self.kept_of_lane(lane, strata));
        (terms, self.reached(lane, strata).is_some())
    }

    /// What speaks against a stratum that has devices of which nothing is asked.
    pub(super) fn kept_of_lane(&self, lane: usize, strata: &Strata) -> i64 {
        let is_kept = self.keeps_devices && strata.list[lane].has_idle_devices;
        if is_kept { DEVICES_KEPT } else { 0 }
    }

    pub(super) fn spread_of_lane(&self, lane: usize, strata: &Strata) -> i64 {
        let values = &strata.list[lane].values;
        self.tallies.iter().zip(values).map(|(tally, &value)| tally.boost(value)).sum()
    }

    /// What speaks for one more alloc in the stratum, of what adds up over moves.
    pub(super) fn pull_of_lane(&self, lane: usize, strata: &Strata) -> i64 {
        let values = &strata.list[lane].values;
        self.tallies.iter().zip(values).map(|(tally, &value)| tally.pull(value)).sum()
    }

    pub(super) const fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Each limit at the node, suitable or not: its key, the node's value, and how many allocs have it;
    /// and whether that is as many as may.
    pub(super) fn limits_at<'s>(
        &'s self,
        slot: NodeSlot,
        strata: &'s Strata,
    ) -> impl Iterator<Item = (usize, u32, Option<u32>, bool)> + 's {
        let first = self.tallies.len();
        self.limits.iter().zip(strata.keys.iter().skip(first)).enumerate().map(
            move |(nth, (limit, key))| {
                let value = key.value(slot);
                let count = (value != NONE).then(|| limit.count(value));
                (first + nth, value, count, limit.is_reached(value))
            },
        )
    }

    /// The first limit that keeps further allocs out of the stratum: its key, and how many are there.
    pub(super) fn reached(&self, lane: usize, strata: &Strata) -> Option<(usize, u32)> {
        let values = strata.list[lane].values.get(self.tallies.len()..).unwrap_or_default();
        let mut limits = self.limits.iter().zip(values).enumerate();
        let (nth, (limit, &value)) =
            limits.find(|(_, (limit, value))| limit.is_reached(**value))?;
        Some((self.tallies.len() + nth, limit.count(value)))
    }
}
