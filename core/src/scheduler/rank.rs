//! The best of all nodes for each alloc of a group.
//!
//! The fleet finds the best of the nodes that are as its columns say (`state::grid`), as many as there
//! are allocs to place. The others stand apart and are scored one by one: those under plans, this one
//! and those in flight, and those with allocs of the group, which speak against them: so much that
//! they are not even scored while better ones are left. A placement changes only the node that was
//! chosen, which then stands apart too.
//!
//! Invariants
//! - what is chosen fits, meets every demand, and no other such node has a higher score;
//! - of equal scores the lowest slot wins: the same state and evaluation give the same plan;
//! - where nothing is chosen, each node that meets every demand lacks something.
use alloc::collections::{BTreeSet, BinaryHeap};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

pub(super) mod field;

use super::crowd::Crowd;
use super::feasible::{Distinct, Suitable};
use super::room::{Ask, Room};
use super::score::{Against, BestFit, most_beside, permille, score};
use crate::state::bits::Bits;
use crate::state::fleet::Quest;
use crate::types::{NodeSlot, PlacementNote, PortGrant};

/// The group whose allocs are placed.
pub(super) struct Subject<'a> {
    /// Its position in the job.
    pub(super) at: usize,
    pub(super) ask: Ask<'a>,
    pub(super) distinct: Distinct,
    pub(super) suitable: Arc<Suitable>,
    /// How many are to be placed at most.
    pub(super) wanted: usize,
}

/// A node and what it is worth. The greatest is the best score, then the lowest slot.
type Candidate = (i64, Reverse<NodeSlot>);

/// Where an alloc goes.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) slot: NodeSlot,
    pub(super) ports: Vec<PortGrant>,
    pub(super) note: PlacementNote,
}

/// The nodes of one group, best first.
pub(super) struct Ranking<'a> {
    subject: Subject<'a>,
    /// Nodes that are not only what the fleet says.
    apart: Bits,
    /// Those of them with allocs of the group that nobody has looked at yet.
    unscored: Vec<NodeSlot>,
    /// What those are worth at most.
    unscored_worth_max: i64,
    /// The rest, where they may take one more.
    scored: BinaryHeap<Candidate>,
    /// Entries of `scored` that are not true any more.
    outdated: BTreeSet<Candidate>,
    /// The best of all others, the best last.
    others: Vec<(i64, NodeSlot)>,
    /// Whether there may be more others than these.
    more_others: bool,
    /// Have no dynamic port left.
    portless: Bits,
    /// Meet every demand and are kept from it by another alloc.
    crowded_count: u32,
    /// Of the nodes that stand apart, those that lack room.
    lacking_count: u32,
    /// Of the others, as the last search saw them.
    lacking_others_count: u32,
}

impl<'a> Ranking<'a> {
    pub(super) fn of(subject: Subject<'a>, room: &Room<'_>, crowd: &Crowd) -> Self {
        let mut ranking = Self {
            unscored_worth_max: most_beside(subject.ask.group.count),
            subject,
            apart: Bits::default(),
            unscored: Vec::new(),
            scored: BinaryHeap::new(),
            outdated: BTreeSet::new(),
            others: Vec::new(),
            more_others: true,
            portless: Bits::default(),
            crowded_count: 0,
            lacking_count: 0,
            lacking_others_count: 0,
        };
        let Subject { at, distinct, .. } = ranking.subject;
        for slot in crowd.slots(distinct, at).chain(room.slots()) {
            ranking.set_apart(slot, room, crowd);
        }
        ranking
    }

    /// Score a node by itself from now on.
    fn set_apart(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) {
        if self.apart.insert(slot) {
            if self.is_suitable(slot, room) && self.is_crowded(slot, crowd) {
                self.crowded_count += 1;
            }
            if 0 < crowd.of_group(self.subject.at, slot) {
                self.unscored.push(slot);
            } else {
                self.offer(slot, room, crowd);
            }
        }
    }

    fn score_the_rest(&mut self, room: &Room<'_>, crowd: &Crowd) {
        for slot in core::mem::take(&mut self.unscored) {
            self.offer(slot, room, crowd);
        }
    }

    fn is_suitable(&self, slot: NodeSlot, room: &Room<'_>) -> bool {
        self.subject.suitable.nodes.has(slot) && room.is_placeable(slot)
    }

    fn is_crowded(&self, slot: NodeSlot, crowd: &Crowd) -> bool {
        crowd.excludes(self.subject.distinct, self.subject.at, slot)
    }

    /// What a node is worth that may take one more.
    fn worth(&self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) -> Result<i64, Lack> {
        if !self.is_suitable(slot, room) || self.is_crowded(slot, crowd) {
            return Err(Lack::Unwanted);
        }
        if self.portless.has(slot) || room.fits(slot, &self.subject.ask).is_err() {
            return Err(Lack::Room);
        }
        Ok(self.score(slot, false, room, crowd))
    }

    /// Take the node as it is now into account, if it may take one more.
    fn offer(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) {
        match self.worth(slot, room, crowd) {
            Ok(worth) => self.scored.push((worth, Reverse(slot))),
            Err(Lack::Room) => self.lacking_count += 1,
            Err(Lack::Unwanted) => {}
        }
    }

    /// An old alloc of the group on the node makes way for its successor, which is placed next.
    pub(super) fn vacate(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &mut Crowd) {
        assert!(self.apart.has(slot), "a node with an alloc of the group stands apart");
        self.score_the_rest(room, crowd);
        let was_crowded = self.is_crowded(slot, crowd);
        let before = self.worth(slot, room, crowd).ok();
        crowd.leave(self.subject.at, slot);
        if was_crowded && !self.is_crowded(slot, crowd) && self.is_suitable(slot, room) {
            self.crowded_count -= 1;
        }
        let after = self.worth(slot, room, crowd).ok();
        if before != after {
            self.outdated.extend(before.map(|worth| (worth, Reverse(slot))));
            self.scored.extend(after.map(|worth| (worth, Reverse(slot))));
        }
    }

    fn score(&self, slot: NodeSlot, failed_before: bool, room: &Room<'_>, crowd: &Crowd) -> i64 {
        let mut used = room.used(slot);
        used.add(self.subject.ask.capacity.into());
        let against = Against {
            collisions: crowd.of_group(self.subject.at, slot),
            count: self.subject.ask.group.count,
            failed_before,
        };
        score(room.usable(slot), used, against)
    }

    /// Place one alloc, which failed on the nodes `avoided` before. `None`: no node has room.
    pub(super) fn place(
        &mut self,
        avoided: &[NodeSlot],
        draw: u64,
        room: &mut Room<'_>,
        crowd: &mut Crowd,
    ) -> Option<Chosen> {
        for &slot in avoided {
            self.set_apart(slot, room, crowd);
            self.score_the_rest(room, crowd);
        }
        loop {
            let (score, slot) = self.best(avoided, room, crowd)?;
            self.apart.insert(slot);
            match room.take(slot, &self.subject.ask, draw) {
                Ok(ports) => {
                    let note = self.note(score);
                    let was_crowded = self.is_crowded(slot, crowd);
                    crowd.join(self.subject.at, slot);
                    self.crowded_count += u32::from(!was_crowded && self.is_crowded(slot, crowd));
                    self.subject.wanted = self.subject.wanted.saturating_sub(1);
                    self.unscored.push(slot);
                    return Some(Chosen { slot, ports, note });
                }
                Err(_) => {
                    self.portless.insert(slot);
                    self.lacking_count += 1;
                }
            }
        }
    }

    /// The best node once those that are `avoided` have paid for it.
    fn best(
        &mut self,
        avoided: &[NodeSlot],
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Option<(i64, NodeSlot)> {
        let other = self.best_other(room).map(|(worth, slot)| (worth, Reverse(slot)));
        if other.is_none_or(|(worth, _)| worth <= self.unscored_worth_max) {
            self.score_the_rest(room, crowd);
        }
        if avoided.is_empty() {
            let scored = self.pop_scored();
            let best = scored.max(other);
            if best == scored {
                return best.map(|(score, Reverse(slot))| (score, slot));
            }
            self.scored.extend(scored);
            self.others.pop();
            return best.map(|(score, Reverse(slot))| (score, slot));
        }
        let mut set_aside: Vec<Candidate> = Vec::new();
        let mut best: Option<Candidate> = None;
        while let Some(candidate) = self.pop_scored() {
            let slot = candidate.1.0;
            set_aside.push(candidate);
            if !avoided.contains(&slot) {
                best = best.max(Some(candidate));
                break;
            }
            let penalised = (self.score(slot, true, room, crowd), Reverse(slot));
            best = best.max(Some(penalised));
        }
        if best < other {
            self.others.pop();
            best = other;
        }
        self.scored.extend(set_aside.into_iter().filter(|kept| best.is_none_or(|b| b.1 != kept.1)));
        best.map(|(score, Reverse(slot))| (score, slot))
    }

    fn pop_scored(&mut self) -> Option<Candidate> {
        loop {
            let candidate = self.scored.pop()?;
            if !self.outdated.remove(&candidate) {
                return Some(candidate);
            }
        }
    }

    /// The best of the nodes that do not stand apart.
    fn best_other(&mut self, room: &Room<'_>) -> Option<(i64, NodeSlot)> {
        loop {
            match self.others.last() {
                // It was set apart since it was found.
                Some(&(_, slot)) if self.apart.has(slot) => {
                    self.others.pop();
                }
                Some(&found) => return Some(found),
                None if self.more_others => self.find_others(room),
                None => return None,
            }
        }
    }

    fn find_others(&mut self, room: &Room<'_>) {
        let Subject { ask, suitable, wanted, .. } = &self.subject;
        // Each alloc takes at most one of them.
        let wanted = (*wanted).max(1);
        let quest = Quest {
            ask: ask.capacity,
            ports: &ask.fixed,
            wanted,
            allowed: &suitable.nodes,
            excluded: &self.apart,
        };
        let found = room.fleet().best(quest, &BestFit);
        self.lacking_others_count = found.lacking;
        self.more_others = found.nodes.len() == wanted;
        self.others = found.nodes;
    }

    fn note(&self, score: i64) -> PlacementNote {
        let suitable = &self.subject.suitable;
        PlacementNote {
            nodes_evaluated: suitable.evaluated_count,
            nodes_filtered: suitable.filtered_count + self.crowded_count,
            nodes_exhausted: self.lacking_count + self.lacking_others_count,
            score_permille: permille(score),
        }
    }

    /// What the group's allocs take.
    pub(super) const fn ask(&self) -> &Ask<'a> {
        &self.subject.ask
    }

    /// Whether an alloc of the group may run on the node as soon as it has room.
    pub(super) fn may_follow(&self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) -> bool {
        self.is_suitable(slot, room) && !self.is_crowded(slot, crowd)
    }
}

/// Why a node is not worth anything to a group.
enum Lack {
    Unwanted,
    Room,
}
