//! The best of all nodes for each alloc of a group.
//!
//! The fleet finds the best of the nodes that are as its columns say (`state::grid`), as many as there
//! are allocs to place. The others stand apart and are scored one by one: those under plans, this one
//! and those in flight, and those with allocs of the group, which speak against them: so much that
//! they are not even scored while better ones are left. A placement changes only the node that was
//! chosen, which then stands apart too, and what its values are wanted for (`tally`): so nodes are kept
//! by strata, which are all alike in that (`strata`, `lanes`).
//!
//! Invariants
//! - what is chosen fits, meets every demand, and no other such node has a higher score;
//! - of equal scores the lowest slot wins: the same state and evaluation give the same plan;
//! - where nothing is chosen, each node that meets every demand lacks something.
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::crowd::Crowd;
use super::devices;
use super::feasible::{Distinct, Suitable};
use super::lanes::{Contest, Lane, Rank, Top};
use super::room::{Ask, Grants, Room};
use super::score::{Against, BestFit, Terms, WorstFit, fit, fit_with_devices, most_beside};
use super::strata::Leanings;
use crate::state::bits::Bits;
use crate::state::fleet::{Parting, Quest};
use crate::types::{Algorithm, NodeSlot, PlacementNote};

pub(super) mod elsewhere;
pub(super) mod field;
mod note;
pub(super) mod trial;
mod wanted;

use self::wanted::Wanted;

/// The group whose allocs are placed.
pub(super) struct Subject<'a> {
    /// Its position in the job.
    pub(super) at: usize,
    pub(super) ask: Ask<'a>,
    pub(super) distinct: Distinct,
    pub(super) suitable: Arc<Suitable>,
    pub(super) leanings: Leanings<'a>,
    pub(super) algorithm: Algorithm,
    /// How many are to be placed at most.
    pub(super) wanted: usize,
}

/// Where an alloc goes.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) slot: NodeSlot,
    pub(super) grants: Grants,
    pub(super) note: PlacementNote,
}

/// The best node.
struct Best {
    top: Top,
    /// The alloc before it failed there, and it has paid for that.
    failed_before: bool,
}

/// The nodes of one group, best first.
pub(super) struct Ranking<'a> {
    subject: Subject<'a>,
    /// Nodes that are not only what the fleet says.
    apart: Bits,
    /// Of each stratum.
    lanes: Vec<Lane>,
    contest: Contest,
    /// Lanes whose tops are to be found anew.
    stale: Vec<usize>,
    /// What the values of nodes are wanted for.
    wanted: Wanted,
    /// What a node with an alloc of the group is worth at most.
    most_beside: Terms,
    /// The weights of all that its tasks would rather have of devices.
    device_weights: i64,
    /// What an alloc leaves of a node's devices counts for its fit.
    packs_devices: bool,
    /// Have no dynamic port left.
    portless: Bits,
    /// An alloc may leave it, so it is nowhere to go.
    left_behind: Option<NodeSlot>,
    /// Meet every demand and are kept from it by another alloc.
    crowded_count: u32,
    /// Of the nodes that stand apart, those that lack room.
    lacking_count: u32,
    /// Of the others, as the last search saw them.
    lacking_others_count: u32,
}

impl<'a> Ranking<'a> {
    pub(super) fn of(subject: Subject<'a>, room: &Room<'_>, crowd: &Crowd) -> Self {
        let wanted = Wanted::of(&subject, crowd);
        let strata = &subject.suitable.strata;
        let lanes = strata.list.len();
        let device_weights = devices::weights(subject.ask.group.device_asks());
        let wants_devices = subject.ask.group.device_asks().next().is_some();
        let mut ranking = Self {
            apart: Bits::default(),
            lanes: core::iter::repeat_with(Lane::new).take(lanes).collect(),
            contest: Contest::of(lanes),
            stale: Vec::new(),
            wanted,
            most_beside: most_beside(subject.ask.group.count, 0 < device_weights),
            device_weights,
            packs_devices: wants_devices && subject.algorithm == Algorithm::Pack,
            portless: Bits::default(),
            left_behind: None,
            crowded_count: 0,
            lacking_count: 0,
            lacking_others_count: 0,
            subject,
        };
        (0..lanes).for_each(|lane| ranking.outdate(lane));
        let Subject { at, distinct, .. } = ranking.subject;
        for slot in crowd.slots(distinct, at).chain(room.slots()) {
            ranking.set_apart(slot, room, crowd);
        }
        if ranking.subject.ask.wants_pieces {
            // The columns do not say who has pieces left.
            let suitable = Arc::clone(&ranking.subject.suitable);
            suitable.nodes.iter().for_each(|slot| ranking.set_apart(slot, room, crowd));
            ranking.lanes.iter_mut().for_each(|lane| lane.more_others = false);
        }
        ranking
    }

    fn outdate(&mut self, lane: usize) {
        if !core::mem::replace(&mut self.lanes[lane].is_stale, true) {
            self.stale.push(lane);
        }
    }

    fn lane_of(&self, slot: NodeSlot) -> Option<usize> {
        self.subject.suitable.strata.at(slot)
    }

    /// Score a node by itself from now on.
    fn set_apart(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) {
        if !self.apart.insert(slot) {
            return;
        }
        let Some(lane) = self.lane_of(slot) else { return };
        if self.is_suitable(slot, room) && self.is_crowded(slot, crowd) {
            self.crowded_count += 1;
        }
        self.outdate(lane);
        if 0 < crowd.of_group(self.subject.at, slot) {
            self.lanes[lane].unscored.push(slot);
        } else {
            self.offer(lane, slot, room, crowd);
        }
    }

    fn score_the_rest(&mut self, lane: usize, room: &Room<'_>, crowd: &Crowd) {
        for slot in core::mem::take(&mut self.lanes[lane].unscored) {
            self.offer(lane, slot, room, crowd);
        }
    }

    fn is_suitable(&self, slot: NodeSlot, room: &Room<'_>) -> bool {
        self.subject.suitable.nodes.has(slot) && room.is_placeable(slot)
    }

    fn is_crowded(&self, slot: NodeSlot, crowd: &Crowd) -> bool {
        crowd.excludes(self.subject.distinct, self.subject.at, slot)
    }

    /// What speaks against the node itself.
    fn against(&self, slot: NodeSlot, crowd: &Crowd) -> Against {
        Against {
            collisions: crowd.of_group(self.subject.at, slot),
            count: self.subject.ask.group.count,
            failed_before: false,
        }
    }

    fn fit(&self, slot: NodeSlot, room: &Room<'_>) -> i64 {
        let mut used = room.used(slot);
        used.add(self.subject.ask.capacity_on(room.fleet(), slot).into());
        let amounts = fit(self.subject.algorithm, room.usable(slot), used);
        if !self.packs_devices {
            return amounts;
        }
        let shelf = room.shelf(slot);
        let chosen = shelf.choose(self.subject.ask.group);
        chosen.map_or(amounts, |chosen| fit_with_devices(amounts, shelf.left_after(&chosen)))
    }

    /// How well the devices that an alloc would get are liked. It counts for every node if for any.
    fn devices(&self, slot: NodeSlot, room: &Room<'_>) -> Terms {
        if self.device_weights == 0 {
            return Terms::default();
        }
        let chosen = room.shelf(slot).choose(self.subject.ask.group);
        let weight = chosen.map_or(0, |chosen| chosen.weight);
        Terms::sum(devices::term(weight, self.device_weights), 1)
    }

    /// The score of a node that may take one more.
    fn score(&self, slot: NodeSlot, failed_before: bool, room: &Room<'_>, crowd: &Crowd) -> i64 {
        let against = Against { failed_before, ..self.against(slot, crowd) };
        let lane = self.lane_of(slot).expect("invariant: a suitable node is of a stratum");
        let (leanings, _) = self.wanted.of_lane(lane, &self.subject.suitable.strata);
        let own = Terms::sum(self.fit(slot, room), 1).and(self.devices(slot, room));
        own.and(against.terms()).and(leanings).mean()
    }

    /// Where a node stands that may take one more, and the sum of its own terms.
    fn worth(&self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) -> Result<Worth, Lack> {
        if !self.is_suitable(slot, room) || self.is_crowded(slot, crowd) {
            return Err(Lack::Unwanted);
        }
        let is_out = self.portless.has(slot) || self.left_behind == Some(slot);
        if is_out || room.fits(slot, &self.subject.ask).is_err() {
            return Err(Lack::Room);
        }
        let against = self.against(slot, crowd);
        let rank = if 0 < against.collisions { Rank::Beside } else { Rank::Alone };
        let own = self.fit(slot, room) + self.devices(slot, room).total();
        Ok((rank, (own + against.terms().total(), slot)))
    }

    /// Take the node as it is now into account, if it may take one more.
    fn offer(&mut self, lane: usize, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) {
        match self.worth(slot, room, crowd) {
            Ok((rank, worth)) => self.lanes[lane].add(rank, worth),
            Err(Lack::Room) => self.lacking_count += 1,
            Err(Lack::Unwanted) => {}
        }
    }

    /// An old alloc of the group on the node makes way for its successor, which is placed next.
    pub(super) fn vacate(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &mut Crowd) {
        self.recount(slot, Step::Leave, room, crowd);
    }

    /// An alloc that made way is there after all: there is no room for its successor.
    pub(super) fn restore(&mut self, slot: NodeSlot, room: &Room<'_>, crowd: &mut Crowd) {
        self.recount(slot, Step::Join, room, crowd);
    }

    fn recount(&mut self, slot: NodeSlot, step: Step, room: &Room<'_>, crowd: &mut Crowd) {
        let (at, lane) = (self.subject.at, self.lane_of(slot));
        if let Some(lane) = lane {
            assert!(self.apart.has(slot), "a node with an alloc of the group stands apart");
            self.score_the_rest(lane, room, crowd);
        }
        let was_crowded = self.is_suitable(slot, room) && self.is_crowded(slot, crowd);
        let before = self.worth(slot, room, crowd).ok();
        let strata = &self.subject.suitable.strata;
        match step {
            Step::Join => {
                crowd.join(at, slot);
                self.wanted.join(slot, strata);
            }
            Step::Leave => {
                crowd.leave(at, slot);
                self.wanted.leave(slot, strata);
            }
        }
        self.outdate_wanted();
        let is_crowded = self.is_suitable(slot, room) && self.is_crowded(slot, crowd);
        self.crowded_count -= u32::from(was_crowded);
        self.crowded_count += u32::from(is_crowded);
        let after = self.worth(slot, room, crowd).ok();
        if let Some(lane) = lane.filter(|_| before != after) {
            self.revalue(lane, before, after);
        }
    }

    /// A node that stands apart is worth something else than before.
    fn revalue(&mut self, lane: usize, before: Option<Worth>, after: Option<Worth>) {
        self.outdate(lane);
        before.into_iter().for_each(|(rank, worth)| self.lanes[lane].remove(rank, worth));
        after.into_iter().for_each(|(rank, worth)| self.lanes[lane].add(rank, worth));
    }

    fn outdate_wanted(&mut self) {
        let mut changed = self.wanted.take_changed();
        changed.drain(..).for_each(|lane| self.outdate(lane as usize));
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
        }
        loop {
            let best = self.best(avoided, room, crowd)?;
            let slot = best.top.slot;
            let lane = self.lane_of(slot).expect("invariant: what is chosen is suitable");
            self.apart.insert(slot);
            self.outdate(lane);
            let devices = self.devices(slot, room).total();
            match room.take(slot, &self.subject.ask, draw) {
                Ok(grants) => {
                    let note = self.note(lane, (&best, devices), room, crowd);
                    let was_crowded = self.is_crowded(slot, crowd);
                    crowd.join(self.subject.at, slot);
                    self.wanted.join(slot, &self.subject.suitable.strata);
                    self.outdate_wanted();
                    self.crowded_count += u32::from(!was_crowded && self.is_crowded(slot, crowd));
                    self.subject.wanted = self.subject.wanted.saturating_sub(1);
                    self.lanes[lane].unscored.push(slot);
                    return Some(Chosen { slot, grants, note });
                }
                Err(_) => self.note_portless(slot),
            }
        }
    }

    fn note_portless(&mut self, slot: NodeSlot) {
        self.portless.insert(slot);
        self.lacking_count += 1;
    }

    /// The best node, which leaves its lane, once those that are `avoided` have paid for it.
    fn best(&mut self, avoided: &[NodeSlot], room: &Room<'_>, crowd: &Crowd) -> Option<Best> {
        let mut aside: Vec<(usize, Rank, (i64, NodeSlot))> = Vec::new();
        for (nth, &slot) in avoided.iter().enumerate() {
            let Some(lane) = self.lane_of(slot).filter(|_| !avoided[..nth].contains(&slot)) else {
                continue;
            };
            self.score_the_rest(lane, room, crowd);
            if let Ok((rank, worth)) = self.worth(slot, room, crowd) {
                self.lanes[lane].remove(rank, worth);
                self.outdate(lane);
                aside.push((lane, rank, worth));
            }
        }
        let winner = self.winner(room, crowd);
        let mut best = winner.map(|(_, top)| Best { top, failed_before: false });
        for &(lane, rank, worth) in &aside {
            let penalised = self.lanes[lane].penalised(rank, worth);
            let is_better = penalised.as_ref().is_some_and(|penalised| {
                best.as_ref().is_none_or(|best| best.top.candidate() < penalised.candidate())
            });
            if let Some(top) = penalised.filter(|_| is_better) {
                best = Some(Best { top, failed_before: true });
            }
        }
        let chosen = best.as_ref().map(|best| best.top.slot);
        if let Some((lane, top)) = winner.filter(|(_, top)| Some(top.slot) == chosen) {
            self.lanes[lane].take(&top);
        }
        for (lane, rank, worth) in aside.into_iter().filter(|kept| Some(kept.2.1) != chosen) {
            self.lanes[lane].add(rank, worth);
            self.outdate(lane);
        }
        best
    }

    /// The lane with the best node, and that node.
    fn winner(&mut self, room: &Room<'_>, crowd: &Crowd) -> Option<(usize, Top)> {
        loop {
            self.settle(room, crowd);
            let lane = self.contest.winner()?;
            if let Some(top) = self.lanes[lane].known_top {
                return Some((lane, top));
            }
            // It could be the best, as far as is known.
            self.find_others(room);
        }
    }

    /// Find the tops of all lanes in which something has changed.
    fn settle(&mut self, room: &Room<'_>, crowd: &Crowd) {
        let mut stale = core::mem::take(&mut self.stale);
        for &at in &stale {
            let lane = &mut self.lanes[at];
            lane.is_stale = false;
            let (terms, is_closed) = self.wanted.of_lane(at, &self.subject.suitable.strata);
            // What is wanted of devices is in the sum of each node, and counts as one term more.
            let of_devices = Terms::sum(0, i64::from(0 < self.device_weights));
            (lane.terms, lane.is_closed) = (terms.and(of_devices), is_closed);
            // They were set apart since they were found.
            while lane.others.pop_if(|(_, slot)| self.apart.has(*slot)).is_some() {}
            let mut top = lane.top();
            let bound = self.most_beside.and(lane.terms).mean();
            if !lane.unscored.is_empty()
                && !lane.is_closed
                && top.is_none_or(|top| top.score <= bound)
            {
                self.score_the_rest(at, room, crowd);
                top = self.lanes[at].top();
            }
            self.contest.set(at, self.lanes[at].claim(top));
        }
        self.contest.meet(&stale);
        stale.clear();
        stale.append(&mut self.stale);
        self.stale = stale;
    }

    /// Find more of the nodes that do not stand apart, for the lanes that have none left.
    fn find_others(&mut self, room: &Room<'_>) {
        let Subject { ask, suitable, wanted, algorithm, .. } = &self.subject;
        // Each alloc takes at most one of them.
        let most = (*wanted).max(1);
        let share = most.div_ceil(self.lanes.len());
        let quest = Quest {
            ask: ask.capacity_anywhere(),
            ports: &ask.fixed,
            wanted: most,
            allowed: &suitable.nodes,
            excluded: &self.apart,
        };
        let (fleet, strata) = (room.fleet(), suitable.strata.by_slot());
        if let ([lane], []) = (&mut self.lanes[..], strata) {
            let found = match algorithm {
                Algorithm::BinPack | Algorithm::Pack => fleet.best(quest, &BestFit),
                Algorithm::Spread => fleet.best(quest, &WorstFit),
            };
            self.lacking_others_count = found.lacking;
            lane.found(most, found.nodes);
            return self.outdate(0);
        }
        let asked: Vec<u32> = self.lanes.iter_mut().map(|lane| lane.ask(share, most)).collect();
        let parting = Parting { of_slot: strata, wanted: &asked };
        let (found, lacking) = match algorithm {
            Algorithm::BinPack | Algorithm::Pack => fleet.best_of_each(quest, parting, &BestFit),
            Algorithm::Spread => fleet.best_of_each(quest, parting, &WorstFit),
        };
        self.lacking_others_count = lacking;
        for (at, (found, asked)) in found.into_iter().zip(asked).enumerate() {
            if 0 < asked {
                self.lanes[at].found(asked as usize, found);
                self.outdate(at);
            }
        }
    }

    /// What the group's allocs take.
    pub(super) const fn ask(&self) -> &Ask<'a> {
        &self.subject.ask
    }

    /// Nodes that meet every demand, taken or not.
    pub(super) fn suitable(&self) -> impl Iterator<Item = NodeSlot> + '_ {
        self.subject.suitable.nodes.iter()
    }

    /// Whether an alloc of the group may run on the node as soon as it has room.
    pub(super) fn may_follow(&self, slot: NodeSlot, room: &Room<'_>, crowd: &Crowd) -> bool {
        let strata = &self.subject.suitable.strata;
        let is_open = strata.at(slot).is_some_and(|lane| !self.wanted.of_lane(lane, strata).1);
        is_open && self.is_suitable(slot, room) && !self.is_crowded(slot, crowd)
    }
}

/// Where a node stands that may take one more, and the sum of its own terms.
type Worth = (Rank, (i64, NodeSlot));

/// What becomes of the number of allocs on a node.
#[derive(Clone, Copy)]
enum Step {
    Join,
    Leave,
}

/// Why a node is not worth anything to a group.
enum Lack {
    Unwanted,
    Room,
}
