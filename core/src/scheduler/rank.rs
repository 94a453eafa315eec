//! The best of all nodes for each alloc of a group.
//!
//! Every node that may run the group and has room is scored once and kept in a heap. A placement
//! changes only the node that was chosen, so only that one is scored again: `c` placements on `n`
//! nodes cost `n + c log n`.
//!
//! Invariants
//! - what is chosen fits, meets every demand, and no other such node has a higher score;
//! - of equal scores the lowest slot wins: the same state and evaluation give the same plan.
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::View;
use super::feasible::{DISTINCT_HOSTS, Distinct, Feasibility, Judgement};
use super::room::{Ask, Room};
use super::score::{Against, permille, score};
use crate::state::fits::Shortage;
use crate::types::{NodeSlot, PlacementFailure, PlacementNote, PortGrant};

/// How many allocs of the job are on each node, or are placed there by this plan; without those that
/// have made way for a successor.
pub(super) struct Crowd {
    of_group: Vec<BTreeMap<NodeSlot, u32>>,
    of_job: BTreeMap<NodeSlot, u32>,
}

impl Crowd {
    pub(super) fn of(groups: usize) -> Self {
        Self { of_group: vec![BTreeMap::new(); groups], of_job: BTreeMap::new() }
    }

    /// One more alloc of the group is on the node.
    pub(super) fn join(&mut self, group: usize, slot: NodeSlot) {
        *self.of_group[group].entry(slot).or_default() += 1;
        *self.of_job.entry(slot).or_default() += 1;
    }

    /// One alloc of the group makes way.
    fn leave(&mut self, group: usize, slot: NodeSlot) {
        one_less(&mut self.of_group[group], slot);
        one_less(&mut self.of_job, slot);
    }

    fn of_group(&self, group: usize, slot: NodeSlot) -> u32 {
        self.of_group[group].get(&slot).copied().unwrap_or(0)
    }

    fn excludes(&self, distinct: Distinct, group: usize, slot: NodeSlot) -> bool {
        match distinct {
            Distinct::Nobody => false,
            Distinct::WithinGroup => 0 < self.of_group(group, slot),
            Distinct::WithinJob => self.of_job.contains_key(&slot),
        }
    }
}

fn one_less(counts: &mut BTreeMap<NodeSlot, u32>, slot: NodeSlot) {
    let count = counts.get_mut(&slot).expect("invariant: only what was counted leaves");
    *count -= 1;
    if *count == 0 {
        counts.remove(&slot);
    }
}

/// The group whose allocs are placed.
pub(super) struct Subject<'a> {
    /// Its position in the job.
    pub(super) at: usize,
    pub(super) ask: Ask<'a>,
    pub(super) distinct: Distinct,
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
    heap: BinaryHeap<Candidate>,
    /// Of each slot, the score that counts; other entries of the heap are outdated.
    valid: Vec<Option<i64>>,
    /// Nodes that meet every demand, with room or without.
    fit: Vec<NodeSlot>,
    tally: PlacementFailure,
}

impl<'a> Ranking<'a> {
    /// Look at every node.
    pub(super) fn of(
        view: View<'_>,
        subject: Subject<'a>,
        feasibility: &mut Feasibility<'_>,
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Self {
        let fleet = view.state.fleet();
        let mut ranking = Self {
            subject,
            heap: BinaryHeap::new(),
            valid: vec![None; fleet.len()],
            fit: Vec::new(),
            tally: feasibility.empty_tally(),
        };
        for slot in fleet.slots().filter(|&slot| fleet.is_placeable(slot)) {
            let node = view.state.node_at(slot);
            let node = node.expect("invariant: the fleet has the nodes of the table");
            let judgement = feasibility.judge(fleet.class(slot), node);
            if judgement == Judgement::Elsewhere {
                continue;
            }
            ranking.tally.nodes_evaluated += 1;
            *count_of(&mut ranking.tally.nodes_available, &node.spec.datacenter) += 1;
            match judgement {
                Judgement::Unfit(why) => *count_of(&mut ranking.tally.filtered, &why) += 1,
                Judgement::Fit => {
                    ranking.fit.push(slot);
                    ranking.offer(slot, room, crowd);
                }
                Judgement::Elsewhere => {}
            }
        }
        ranking
    }

    /// Score the node as it is now, if it may take one more; otherwise count why not.
    fn offer(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) {
        self.valid[slot.0 as usize] = None;
        if crowd.excludes(self.subject.distinct, self.subject.at, slot) {
            *count_of(&mut self.tally.filtered, DISTINCT_HOSTS) += 1;
            return;
        }
        if let Err(lacking) = room.fits(slot, &self.subject.ask) {
            self.exhaust(&lacking);
            return;
        }
        let score = self.score(slot, false, room, crowd);
        self.valid[slot.0 as usize] = Some(score);
        self.heap.push((score, Reverse(slot)));
    }

    /// An old alloc of the group on the node makes way for its successor, which is placed next.
    pub(super) fn vacate(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &mut Crowd) {
        let (at, distinct) = (self.subject.at, self.subject.distinct);
        let excluded = crowd.excludes(distinct, at, slot);
        crowd.leave(at, slot);
        let opened = excluded
            && self.fit.binary_search(&slot).is_ok()
            && !crowd.excludes(distinct, at, slot);
        if opened {
            *count_of(&mut self.tally.filtered, DISTINCT_HOSTS) -= 1;
        }
        if opened || self.valid[slot.0 as usize].is_some() {
            self.offer(slot, room, crowd);
        }
    }

    fn exhaust(&mut self, lacking: &Shortage) {
        *count_of(&mut self.tally.exhausted, &lacking.to_string()) += 1;
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
        loop {
            let (score, slot) = self.best(avoided, room, crowd)?;
            match room.take(slot, &self.subject.ask, draw) {
                Ok(ports) => {
                    let note = self.note(score);
                    crowd.join(self.subject.at, slot);
                    self.offer(slot, room, crowd);
                    return Some(Chosen { slot, ports, note });
                }
                Err(lacking) => {
                    self.valid[slot.0 as usize] = None;
                    self.exhaust(&lacking);
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
        let mut set_aside: Vec<Candidate> = Vec::new();
        let mut best: Option<Candidate> = None;
        while let Some(candidate) = self.pop_valid() {
            let slot = candidate.1.0;
            if !avoided.contains(&slot) {
                best = best.max(Some(candidate));
                set_aside.push(candidate);
                break;
            }
            let penalised = (self.score(slot, true, room, crowd), Reverse(slot));
            best = best.max(Some(penalised));
            set_aside.push(candidate);
        }
        self.heap.extend(set_aside.into_iter().filter(|kept| best.is_none_or(|b| b.1 != kept.1)));
        best.map(|(score, Reverse(slot))| (score, slot))
    }

    fn pop_valid(&mut self) -> Option<Candidate> {
        loop {
            let candidate = self.heap.pop()?;
            if self.valid[candidate.1.0.0 as usize] == Some(candidate.0) {
                return Some(candidate);
            }
        }
    }

    fn note(&self, score: i64) -> PlacementNote {
        PlacementNote {
            nodes_evaluated: self.tally.nodes_evaluated,
            nodes_filtered: self.tally.filtered.values().sum(),
            nodes_exhausted: self.tally.exhausted.values().sum(),
            score_permille: permille(score),
        }
    }

    /// What the group's allocs take.
    pub(super) const fn ask(&self) -> &Ask<'a> {
        &self.subject.ask
    }

    /// Whether an alloc of the group may run on the node as soon as it has room.
    pub(super) fn may_follow(&self, slot: NodeSlot, crowd: &Crowd) -> bool {
        self.fit.binary_search(&slot).is_ok()
            && !crowd.excludes(self.subject.distinct, self.subject.at, slot)
    }

    /// Why nothing more could be placed, and what would have fitted best.
    pub(super) fn failure(&self, room: &Room<'_>) -> PlacementFailure {
        let ask = self.subject.ask.capacity;
        let nearest =
            self.fit.iter().map(|&slot| room.free(slot).to_capacity()).max_by_key(|free| {
                let met = u8::from(ask.cpu_mhz <= free.cpu_mhz)
                    + u8::from(ask.memory_mib <= free.memory_mib)
                    + u8::from(ask.disk_mib <= free.disk_mib);
                (met, free.memory_mib, free.cpu_mhz, free.disk_mib)
            });
        let mut failure =
            PlacementFailure { nearest: nearest.unwrap_or_default(), ..self.tally.clone() };
        failure.filtered.retain(|_, nodes| 0 < *nodes);
        failure
    }
}

fn count_of<'m>(counts: &'m mut BTreeMap<String, u32>, what: &str) -> &'m mut u32 {
    counts.entry(what.to_string()).or_default()
}
