//! Whether an alloc would be better on another node than where it runs.
//!
//! What a node is worth to an alloc depends on who else is there, so two who each go where it is best for
//! themselves may chase each other for ever: one that wants company and one that flees it. So a move must
//! also be good for all together. What all have is a number that follows from who is where: the fit of
//! every alloc on its node, what speaks against every alloc beside others of its group, what
//! affinities say of it, and what spreads say of the group. Every move raises it, so moves that follow on
//! each other never lead back to where they began, and come to an end.
//!
//! Invariants
//! - an alloc moves only to a node where the next alloc of its group would be placed if it were not there;
//! - its score rises by what was asked for, and what all have rises;
//! - looking changes nothing.
use super::{Ranking, Top};
use crate::scheduler::crowd::Crowd;
use crate::scheduler::look::Standing;
use crate::scheduler::rank::Chosen;
use crate::scheduler::room::Room;
use crate::scheduler::score::{Against, Leaned, Terms, fit, parts, permille};
use crate::state::fits::Amounts;
use crate::state::txn::holds_room;
use crate::types::{Algorithm, NodeSlot};

/// What an alloc would gain by a move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::scheduler) struct Gain {
    pub(in crate::scheduler) here: Standing,
    pub(in crate::scheduler) there: Standing,
}

impl Ranking<'_> {
    /// The best node for an alloc that runs on `from` and has been vacated, if it is better there.
    pub(in crate::scheduler) fn elsewhere(
        &mut self,
        from: NodeSlot,
        gain_permille_min: u32,
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Option<Gain> {
        self.leave_behind(Some(from), room, crowd);
        let gain = self.gain(from, gain_permille_min, room, crowd);
        self.leave_behind(None, room, crowd);
        gain
    }

    /// Place another there, if it is better by so much.
    pub(in crate::scheduler) fn place_elsewhere(
        &mut self,
        (from, gain_permille_min): (NodeSlot, u32),
        draw: u64,
        room: &mut Room<'_>,
        crowd: &mut Crowd,
    ) -> Option<Chosen> {
        self.leave_behind(Some(from), room, crowd);
        let gain = self.gain(from, gain_permille_min, room, crowd);
        let chosen = gain.and_then(|_| self.place(&[], draw, room, crowd));
        self.leave_behind(None, room, crowd);
        chosen
    }

    /// Whether the node is out of the question, and no other is for this reason.
    fn leave_behind(&mut self, slot: Option<NodeSlot>, room: &Room<'_>, crowd: &Crowd) {
        let Some(changed) = slot.or(self.left_behind) else { return };
        let Some(lane) = self.lane_of(changed) else { return };
        assert!(self.apart.has(changed), "a node with an alloc of the group stands apart");
        self.score_the_rest(lane, room, crowd);
        let before = self.worth(changed, room, crowd).ok();
        self.left_behind = slot;
        let after = self.worth(changed, room, crowd).ok();
        self.revalue(lane, before, after);
    }

    fn gain(
        &mut self,
        from: NodeSlot,
        gain_permille_min: u32,
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Option<Gain> {
        // A node to which nothing may go is left for other reasons. How well the devices are liked that it
        // has, among those that it has not, nobody has asked.
        if !self.may_follow(from, room, crowd) || self.packs_devices || self.device_weights != 0 {
            return None;
        }
        let fit_here = fit(self.subject.algorithm, room.usable(from), room.used(from));
        let here = self.standing(from, fit_here, crowd);
        let top = self.best_with_ports(room, crowd)?;
        let there = self.standing(top.slot, self.fit(top.slot, room), crowd);
        assert!(there.score_permille == permille(top.score), "a node has one score");
        let gain = i64::from(there.score_permille) - i64::from(here.score_permille);
        let is_enough = i64::from(gain_permille_min.max(1)) <= gain;
        let is_good = is_enough && 0 < self.whole_after(from, top.slot, room, crowd);
        is_good.then_some(Gain { here, there })
    }

    /// The best node of those that have all ports.
    fn best_with_ports(&mut self, room: &Room<'_>, crowd: &Crowd) -> Option<Top> {
        loop {
            let (lane, top) = self.winner(room, crowd)?;
            if room.ports(top.slot, &self.subject.ask, 0).is_ok() {
                return Some(top);
            }
            self.lanes[lane].take(&top);
            self.apart.insert(top.slot);
            self.outdate(lane);
            self.note_portless(top.slot);
        }
    }

    fn standing(&self, slot: NodeSlot, fit: i64, crowd: &Crowd) -> Standing {
        let against = self.against(slot, crowd);
        let strata = &self.subject.suitable.strata;
        let lane = strata.at(slot).expect("invariant: a suitable node is of a stratum");
        let (leanings, _) = self.wanted.of_lane(lane, strata);
        let score = Terms::sum(fit, 1).and(against.terms()).and(leanings).mean();
        let (affinity, spread) =
            (strata.list[lane].affinity, self.wanted.spread_of_lane(lane, strata));
        let devices = self.wanted.kept_of_lane(lane, strata);
        let parts = parts(fit, against, Leaned { affinity, spread, devices });
        Standing { slot, score_permille: permille(score), parts }
    }

    /// How much more all have together after the move.
    fn whole_after(&self, from: NodeSlot, to: NodeSlot, room: &Room<'_>, crowd: &Crowd) -> i64 {
        let ask = |slot| Amounts::from(self.subject.ask.capacity_on(room.fleet(), slot));
        let (used_from, used_to) = (room.used(from), room.used(to));
        let mut joined = used_to;
        joined.add(ask(to));
        let (mut on_from, mut on_to) = (Fitting::on(from, room), Fitting::on(to, room));
        let before = on_from.whole(room.usable(from), used_from);
        let before = before + on_to.whole(room.usable(to), used_to);
        *on_from.count(self.subject.algorithm) -= 1;
        *on_to.count(self.subject.algorithm) += 1;
        let after = on_from.whole(room.usable(from), used_from.left_after(ask(from)));
        let after = after + on_to.whole(room.usable(to), joined);
        let at = self.subject.at;
        let (others_from, others_to) = (crowd.of_group(at, from), crowd.of_group(at, to));
        let of_crowd = self.of_crowd(others_from) - self.of_crowd(others_from + 1)
            + self.of_crowd(others_to + 1)
            - self.of_crowd(others_to);
        after - before + of_crowd + self.of_stratum(to) - self.of_stratum(from)
    }

    /// What speaks against so many allocs of the group on one node, of all of them.
    fn of_crowd(&self, count: u32) -> i64 {
        let Some(collisions) = count.checked_sub(1) else { return 0 };
        let against =
            Against { collisions, count: self.subject.ask.group.count, failed_before: false };
        i64::from(count) * against.terms().total()
    }

    fn of_stratum(&self, slot: NodeSlot) -> i64 {
        let strata = &self.subject.suitable.strata;
        let lane = strata.at(slot).expect("invariant: a suitable node is of a stratum");
        let kept = self.wanted.kept_of_lane(lane, strata);
        strata.list[lane].affinity + kept + self.wanted.pull_of_lane(lane, strata)
    }
}

/// How many allocs of a node want it full, and how many empty.
#[derive(Clone, Copy, Default)]
struct Fitting {
    packed: i64,
    spread: i64,
}

impl Fitting {
    /// All that hold room there.
    fn on(slot: NodeSlot, room: &Room<'_>) -> Self {
        let (state, mut fitting) = (room.state(), Self::default());
        let node =
            room.fleet().node_at(slot).expect("invariant: a slot that is compared has a node");
        for alloc in state.allocs_of_node(node).filter(|alloc| holds_room(alloc)) {
            let job = state.job(alloc.job).expect("invariant: an alloc's job exists");
            *fitting.count(state.algorithm_of(&job.newest().spec.node_pool)) += 1;
        }
        fitting
    }

    const fn count(&mut self, algorithm: Algorithm) -> &mut i64 {
        match algorithm {
            Algorithm::BinPack | Algorithm::Pack => &mut self.packed,
            Algorithm::Spread => &mut self.spread,
        }
    }

    /// What all of them have of a node with `total` of which `used` is taken.
    fn whole(self, total: Amounts, used: Amounts) -> i64 {
        self.packed * fit(Algorithm::BinPack, total, used)
            + self.spread * fit(Algorithm::Spread, total, used)
    }
}
