//! Room made by stopping what is less important.
//!
//! Where no node has room for an alloc, allocs of jobs whose priority is lower by at least
//! `PRIORITY_GAP` are stopped on one node, and the alloc is placed there, or wherever there is room
//! first, when they have ended. What has been stopped for the job and has still to end counts: each
//! alloc has others stopped for it once.
//!
//! The node is the one where the least importance is lost: the highest priority of those stopped, plus
//! the sum of their priorities by the highest. Source: Nomad's net priority, whose logistic curve
//! keeps that order. On the node the least important go first, and of those the ones closest to what
//! is lacking; who turns out to be stopped for nothing is spared.
//!
//! Invariants
//! - nothing is stopped where it would not make enough room;
//! - without one of those that are stopped, there would not be enough;
//! - a second scheduling of what was applied stops nothing more;
//! - until they have ended, nothing else on the node goes to a job that is not more important: who was
//!   stopped would be placed in what is free beside it, and be stopped for that as well.
//!
//! It does not place: room is taken only once it is free.
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::View;
use super::rank::Ranking;
use super::room::{Ask, Room};
use super::score::{Against, score};
use crate::limits::{PRIORITY_GAP, VICTIMS_MAX};
use crate::state::by_slot::BySlot;
use crate::state::fits::{Amounts, Overlay};
use crate::state::txn::holds_room;
use crate::types::{AllocId, Allocation, Capacity, DesiredStatus, JobId, NodeSlot, Preempted};

/// What came of looking for room.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Made {
    /// There will be enough on the node, for which so many more are stopped.
    Room {
        slot: NodeSlot,
        victims: usize,
    },
    /// More would have to be stopped than the plan may change.
    TooMuch,
    Nothing,
}

/// See the module.
pub(super) struct Preemption<'a> {
    view: View<'a>,
    job: JobId,
    /// Only what is at most so important makes way. `None`: nothing does.
    ceiling: Option<u8>,
    /// What those who make way will free, and who waits for it.
    beside: BySlot<Overlay>,
    victims: BTreeMap<AllocId, u16>,
    /// The position of the group at hand.
    group: u16,
    /// The best of each node for the group at hand, from when the node was last looked at.
    offers: Option<BinaryHeap<Offer>>,
}

/// What stopping some allocs of a node is worth. The greatest loses the least importance, then fits
/// best, then has the lowest slot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Offer {
    /// Thousandths.
    net_priority: Reverse<u64>,
    worth: i64,
    slot: Reverse<NodeSlot>,
    victims: Vec<AllocId>,
}

/// An alloc that may be stopped.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    alloc: &'a Allocation,
    priority: u8,
}

/// Close the nodes where somebody makes way for another job, unless `job` is more important than that.
pub(super) fn keep_for_others(room: &mut Room<'_>, view: View<'_>, job: JobId) {
    let state = view.state;
    let running = |id: JobId| state.job(id).filter(|job| !job.stopped);
    let priority = |id: JobId| running(id).map(|job| job.newest().spec.priority);
    let own = priority(job);
    for (by, alloc) in state.preempted().filter(|&(by, _)| by != job) {
        // A job that was stopped meanwhile waits for nothing.
        let is_kept = priority(by).is_some_and(|other| own <= Some(other));
        if let Some(slot) = state.slot_of(alloc.node).filter(|_| is_kept) {
            room.close(slot);
        }
    }
}

impl<'a> Preemption<'a> {
    pub(super) fn of(view: View<'a>, job: JobId) -> Self {
        let spec = view.state.job(job).map(|job| &job.newest().spec);
        let allowed = view.state.scheduler().config.preemption;
        let may = spec.filter(|spec| allowed.allows(spec.kind));
        let mut beside: BySlot<Overlay> = BySlot::new();
        for alloc in view.state.preempted_for(job) {
            if let Some(slot) = view.state.slot_of(alloc.node) {
                let overlay = beside.get_or_insert_with(slot, Overlay::default);
                overlay.freed.hold(alloc.claim());
            }
        }
        let ceiling = may.and_then(|spec| spec.priority.checked_sub(PRIORITY_GAP));
        let victims = BTreeMap::new();
        Self { view, job, ceiling, beside, victims, group: 0, offers: None }
    }

    /// What nodes are worth to the group before says nothing about the next one.
    pub(super) fn begin_group(&mut self, group: u16) {
        (self.group, self.offers) = (group, None);
    }

    /// Whether this plan stops anything.
    pub(super) fn is_empty(&self) -> bool {
        self.victims.is_empty()
    }

    pub(super) fn into_victims(self) -> Vec<Preempted> {
        let named = self.victims.into_iter();
        named.map(|(alloc, group)| Preempted { alloc, group }).collect()
    }

    /// Make room for one alloc on a node that `may_follow` allows, stopping at most `victims_max`.
    pub(super) fn make_room(
        &mut self,
        ranking: &Ranking<'_>,
        room: &Room<'_>,
        may_follow: impl Fn(NodeSlot) -> bool,
        victims_max: usize,
    ) -> Made {
        let ask = ranking.ask();
        if let Some(slot) = self.already_made(ask, room, &may_follow) {
            self.keep(slot, ask, room);
            return Made::Room { slot, victims: 0 };
        }
        let suitable = || ranking.suitable().filter(|&slot| may_follow(slot));
        let Some(offer) = self.best(ask, room, suitable, &may_follow) else {
            return Made::Nothing;
        };
        if victims_max < offer.victims.len() {
            return Made::TooMuch;
        }
        let (slot, victims) = (offer.slot.0, offer.victims.len());
        self.take(offer, ask, room);
        let next = self.offer(slot, ask, room);
        self.offers.iter_mut().for_each(|offers| offers.extend(next.clone()));
        Made::Room { slot, victims }
    }

    /// The same on one node, for an alloc that is meant for no other.
    pub(super) fn make_room_on(
        &mut self,
        slot: NodeSlot,
        ask: &Ask<'_>,
        room: &Room<'_>,
        victims_max: usize,
    ) -> Made {
        if self.beside.get(slot).is_some_and(|beside| room.fits_beside(slot, ask, beside)) {
            self.keep(slot, ask, room);
            return Made::Room { slot, victims: 0 };
        }
        match self.offer(slot, ask, room) {
            None => Made::Nothing,
            Some(offer) if victims_max < offer.victims.len() => Made::TooMuch,
            Some(offer) => {
                let victims = offer.victims.len();
                self.take(offer, ask, room);
                Made::Room { slot, victims }
            }
        }
    }

    /// Stop those of the offer, and keep their room for the alloc.
    fn take(&mut self, offer: Offer, ask: &Ask<'_>, room: &Room<'_>) {
        let slot = offer.slot.0;
        for id in offer.victims {
            let alloc = self.view.state.alloc(id).expect("invariant: found on its node");
            let overlay = self.beside.get_or_insert_with(slot, Overlay::default);
            overlay.freed.hold(alloc.claim());
            self.victims.insert(id, self.group);
        }
        self.keep(slot, ask, room);
    }

    /// A node on which those who make way already free enough.
    fn already_made(
        &self,
        ask: &Ask<'_>,
        room: &Room<'_>,
        may_follow: &impl Fn(NodeSlot) -> bool,
    ) -> Option<NodeSlot> {
        let mut made = self
            .beside
            .iter()
            .filter(|&(slot, beside)| may_follow(slot) && room.fits_beside(slot, ask, beside));
        made.next().map(|(slot, _)| slot)
    }

    fn keep(&mut self, slot: NodeSlot, ask: &Ask<'_>, room: &Room<'_>) {
        let overlay = self.beside.get_mut(slot);
        let overlay = overlay.expect("invariant: somebody makes way there");
        room.keep_beside(slot, ask, overlay);
    }

    fn best<I: Iterator<Item = NodeSlot>>(
        &mut self,
        ask: &Ask<'_>,
        room: &Room<'_>,
        suitable: impl Fn() -> I,
        may_follow: &impl Fn(NodeSlot) -> bool,
    ) -> Option<Offer> {
        self.ceiling?;
        let mut offers = self
            .offers
            .take()
            .unwrap_or_else(|| suitable().filter_map(|slot| self.offer(slot, ask, room)).collect());
        let mut best = None;
        while let Some(offer) = offers.pop() {
            let slot = offer.slot.0;
            // The node may have changed since it was looked at.
            let now = self.offer(slot, ask, room).filter(|_| may_follow(slot));
            if now.as_ref() == Some(&offer) {
                best = now;
                break;
            }
            offers.extend(now);
        }
        self.offers = Some(offers);
        best
    }

    /// The best that can be done on one node.
    fn offer(&self, slot: NodeSlot, ask: &Ask<'_>, room: &Room<'_>) -> Option<Offer> {
        let candidates = self.candidates(slot);
        let beside = self.beside.get(slot).cloned().unwrap_or_default();
        let mut all = beside.clone();
        candidates.iter().for_each(|one| all.freed.hold(one.alloc.claim()));
        if candidates.is_empty() || !room.fits_beside(slot, ask, &all) {
            return None;
        }
        let victims = self.choose(slot, (ask, room), candidates, beside.clone())?;
        let mut used = room.used(slot);
        used.add(ask.capacity_on(room.fleet(), slot).into());
        used.add(beside.held.amounts);
        let mut freed = beside.freed.amounts;
        victims.iter().for_each(|one| freed.add(one.alloc.capacity.into()));
        Some(Offer {
            net_priority: Reverse(net_priority(&victims)),
            worth: score(room.usable(slot), used.left_after(freed), Against::default()),
            slot: Reverse(slot),
            victims: victims.iter().map(|one| one.alloc.id).collect(),
        })
    }

    /// Allocs of the node that may make way, by age.
    fn candidates(&self, slot: NodeSlot) -> Vec<Candidate<'a>> {
        let state = self.view.state;
        let (Some(ceiling), Some(node)) = (self.ceiling, state.fleet().node_at(slot)) else {
            return Vec::new();
        };
        let candidates = state.allocs_of_node(node).filter_map(|alloc| {
            let runs = alloc.desired == DesiredStatus::Run && holds_room(alloc);
            if !runs || alloc.job == self.job || self.victims.contains_key(&alloc.id) {
                return None;
            }
            let priority = state.job(alloc.job)?.version(alloc.version)?.spec.priority;
            (priority <= ceiling).then_some(Candidate { alloc, priority })
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_unstable_by_key(|candidate| candidate.alloc.id);
        candidates
    }

    /// Of `candidates`, who are enough together, those that are stopped.
    fn choose(
        &self,
        slot: NodeSlot,
        (ask, room): (&Ask<'_>, &Room<'_>),
        candidates: Vec<Candidate<'a>>,
        mut beside: Overlay,
    ) -> Option<Vec<Candidate<'a>>> {
        let mut by_priority: BTreeMap<u8, Vec<Candidate<'a>>> = BTreeMap::new();
        let wanted = |alloc: &Allocation| {
            let is_fixed = |value| ask.fixed.iter().any(|port| port.value == value);
            alloc.ports.iter().any(|port| is_fixed(port.value))
        };
        let mut chosen: Vec<Candidate<'a>> = Vec::new();
        for one in candidates {
            // Nobody else's going would free the port.
            if wanted(one.alloc) {
                beside.freed.hold(one.alloc.claim());
                chosen.push(one);
            } else {
                by_priority.entry(one.priority).or_default().push(one);
            }
        }
        let needed = chosen.len();
        for mut level in by_priority.into_values() {
            while !level.is_empty() && !room.fits_beside(slot, ask, &beside) {
                let lacking = lacking(room, slot, ask, &beside);
                // Where amounts are not what is lacking, pieces are.
                let is_piece = lacking == Amounts::default() && ask.wants_pieces;
                let of = |one: &Candidate<'_>| {
                    let has_none = is_piece && one.alloc.pieces.is_none();
                    (has_none, distance(lacking, one.alloc.capacity), one.alloc.id)
                };
                let closest = (0..level.len()).min_by_key(|&at| of(&level[at]));
                let one = level.swap_remove(closest.expect("invariant: not empty"));
                beside.freed.hold(one.alloc.claim());
                chosen.push(one);
            }
        }
        assert!(room.fits_beside(slot, ask, &beside), "all of them together are enough");
        // The most important, and of those the first chosen, are spared first.
        let mut spared: Vec<usize> = (needed..chosen.len()).collect();
        spared.sort_by_key(|&at| (Reverse(chosen[at].priority), at));
        spared.retain(|&at| {
            let alloc = chosen[at].alloc;
            beside.freed.release(alloc.claim());
            let is_enough = room.fits_beside(slot, ask, &beside);
            if !is_enough {
                beside.freed.hold(alloc.claim());
            }
            is_enough
        });
        let kept = chosen.into_iter().enumerate().filter(|(at, _)| !spared.contains(at));
        let victims: Vec<Candidate<'a>> = kept.map(|(_, one)| one).collect();
        (victims.len() <= VICTIMS_MAX).then_some(victims)
    }
}

/// What is lost with them, in thousandths.
fn net_priority(victims: &[Candidate<'_>]) -> u64 {
    let priorities = || victims.iter().map(|one| u64::from(one.priority));
    let (highest, sum) = (priorities().max().unwrap_or(0), priorities().sum::<u64>());
    highest * 1_000 + sum * 1_000 / highest.max(1)
}

/// What the node lacks for the alloc.
fn lacking(room: &Room<'_>, slot: NodeSlot, ask: &Ask<'_>, beside: &Overlay) -> Amounts {
    let mut wanted = room.used(slot);
    wanted.add(ask.capacity_on(room.fleet(), slot).into());
    wanted.add(beside.held.amounts);
    let mut there = room.usable(slot);
    there.add(beside.freed.amounts);
    wanted.left_after(there)
}

/// How far what an alloc would free is from what is lacking: the sum of squares, each quantity in
/// thousandths of what is lacking of it.
fn distance(lacking: Amounts, freed: Capacity) -> u128 {
    let freed = Amounts::from(freed);
    let of = |lacking: u64, freed: u64| {
        let apart = u128::from(lacking.abs_diff(freed)) * 1_000;
        let apart = apart / u128::from(lacking.max(1));
        if lacking == 0 { 0 } else { apart * apart }
    };
    of(lacking.cpu_mhz, freed.cpu_mhz)
        + of(lacking.memory_mib, freed.memory_mib)
        + of(lacking.disk_mib, freed.disk_mib)
}
