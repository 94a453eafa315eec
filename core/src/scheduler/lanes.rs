//! The nodes of one stratum, best first, and the best of all strata.
//!
//! What counts for or against a stratum as a whole (its affinity, what its values are wanted for) changes
//! with each placement; what its nodes are worth beside that does not. So nodes are ordered once, by
//! that alone, among those that have as many terms: those of the fleet's columns, those that stand apart,
//! and those of them that have allocs of the group. Of the first of each the stratum's terms decide.
//!
//! Invariants
//! - the top of a lane is its best node: the highest score, then the lowest slot;
//! - the winner of a contest is the best of all tops.
use alloc::collections::{BTreeSet, BinaryHeap};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::score::{ONE, Terms};
use crate::types::NodeSlot;

/// A node and what it is worth. The greatest is the best, then the lowest slot.
pub(super) type Candidate = (i64, Reverse<NodeSlot>);

/// Nodes of which some may be taken out again.
#[derive(Default)]
pub(super) struct Pool {
    heap: BinaryHeap<Candidate>,
    /// Entries of `heap` that are not true any more.
    outdated: BTreeSet<Candidate>,
}

impl Pool {
    pub(super) fn add(&mut self, candidate: Candidate) {
        // What was taken out a moment ago may still be there.
        if !self.outdated.remove(&candidate) {
            self.heap.push(candidate);
        }
    }

    /// Take out what is there.
    pub(super) fn remove(&mut self, candidate: Candidate) {
        self.outdated.insert(candidate);
    }

    fn first(&mut self) -> Option<Candidate> {
        loop {
            let &first = self.heap.peek()?;
            if self.outdated.is_empty() || !self.outdated.remove(&first) {
                return Some(first);
            }
            self.heap.pop();
        }
    }
}

/// Where in a lane a node stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rank {
    /// It is only what the fleet says.
    Other,
    /// It stands apart, with no alloc of the group.
    Alone,
    /// It stands apart, with allocs of the group.
    Beside,
}

impl Rank {
    /// How many terms its nodes have themselves.
    const fn terms(self, sum: i64) -> Terms {
        match self {
            Self::Other | Self::Alone => Terms::sum(sum, 1),
            Self::Beside => Terms::sum(sum, 2),
        }
    }
}

/// The best node of a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Top {
    pub(super) score: i64,
    pub(super) slot: NodeSlot,
    pub(super) rank: Rank,
    /// Its own terms.
    pub(super) sum: i64,
}

impl Top {
    pub(super) const fn candidate(&self) -> Candidate {
        (self.score, Reverse(self.slot))
    }
}

/// See the module. What a node is worth is here the sum of its own terms.
#[derive(Default)]
pub(super) struct Lane {
    /// What counts for or against all of its nodes.
    pub(super) terms: Terms,
    /// The best of those that are only what the fleet says, the best last.
    pub(super) others: Vec<(i64, NodeSlot)>,
    /// Whether there may be more others than these.
    pub(super) more_others: bool,
    /// How many were looked for last.
    asked: usize,
    /// What those that were not found yet are worth at most.
    others_worth_max: i64,
    alone: Pool,
    beside: Pool,
    /// Belong to those beside, and nobody has looked at them yet.
    pub(super) unscored: Vec<NodeSlot>,
    /// Nothing may be placed on its nodes.
    pub(super) is_closed: bool,
    /// Its top is to be found anew.
    pub(super) is_stale: bool,
    /// The best node; `None`: there is none, or it is not known before others are looked for.
    pub(super) known_top: Option<Top>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { more_others: true, others_worth_max: ONE, ..Self::default() }
    }

    const fn pool(&mut self, rank: Rank) -> &mut Pool {
        match rank {
            Rank::Beside => &mut self.beside,
            Rank::Alone | Rank::Other => &mut self.alone,
        }
    }

    /// A node that stands apart.
    pub(super) fn add(&mut self, rank: Rank, (sum, slot): (i64, NodeSlot)) {
        self.pool(rank).add((sum, Reverse(slot)));
    }

    pub(super) fn remove(&mut self, rank: Rank, (sum, slot): (i64, NodeSlot)) {
        self.pool(rank).remove((sum, Reverse(slot)));
    }

    /// The best node of those that were looked at.
    pub(super) fn top(&mut self) -> Option<Top> {
        if self.is_closed {
            return None;
        }
        let other = self.others.last().map(|&(sum, slot)| (sum, slot, Rank::Other));
        let first =
            |pool: &mut Pool, rank| pool.first().map(|(sum, Reverse(slot))| (sum, slot, rank));
        let (alone, beside) =
            (first(&mut self.alone, Rank::Alone), first(&mut self.beside, Rank::Beside));
        let tops = [other, alone, beside].into_iter().flatten();
        let tops = tops.map(|(sum, slot, rank)| Top {
            score: rank.terms(sum).and(self.terms).mean(),
            slot,
            rank,
            sum,
        });
        tops.max_by_key(Top::candidate)
    }

    /// The node with this worth, were it to pay for a failure.
    pub(super) fn penalised(&self, rank: Rank, (sum, slot): (i64, NodeSlot)) -> Option<Top> {
        let terms = rank.terms(sum).and(self.terms).with(-ONE);
        (!self.is_closed).then(|| Top { score: terms.mean(), slot, rank, sum: sum - ONE })
    }

    /// What the lane has to say in the contest, where `top` is the best that was looked at: its best
    /// node, or what that is at most.
    pub(super) fn claim(&mut self, top: Option<Top>) -> Option<Candidate> {
        self.known_top = top;
        let known = top.as_ref().map(Top::candidate);
        if self.others.is_empty() && self.more_others && !self.is_closed {
            let most = Rank::Other.terms(self.others_worth_max).and(self.terms).mean();
            let most = Some((most, Reverse(NodeSlot(0))));
            if known < most {
                self.known_top = None;
                return most;
            }
        }
        known
    }

    /// How many others to look for: `share` at first, more each time, and `most` at most. None while
    /// there are many left.
    pub(super) fn ask(&mut self, share: usize, most: usize) -> u32 {
        let has_many = 0 < self.asked && self.asked < self.others.len() * 2;
        if has_many || !self.more_others || self.is_closed {
            return 0;
        }
        self.asked = if self.asked == 0 { share } else { self.asked * 2 }.clamp(1, most);
        u32::try_from(self.asked).unwrap_or(u32::MAX)
    }

    /// So many others were looked for, and these were found.
    pub(super) fn found(&mut self, asked: usize, others: Vec<(i64, NodeSlot)>) {
        self.more_others = others.len() == asked && !planted!(StratumNotRefilled);
        // Those that were not found are no better than the worst that was.
        self.others_worth_max = others.first().map_or(self.others_worth_max, |&(sum, _)| sum);
        self.others = others;
    }

    /// The top is chosen, and leaves.
    pub(super) fn take(&mut self, top: &Top) {
        match top.rank {
            Rank::Other => {
                let last = self.others.pop();
                assert!(last == Some((top.sum, top.slot)), "what is chosen is the best");
            }
            Rank::Alone | Rank::Beside => {
                let first = self.pool(top.rank).heap.pop();
                let chosen = (top.sum, Reverse(top.slot));
                assert!(first == Some(chosen), "what is chosen is the best");
            }
        }
    }
}

/// Which lane has the best top: a tournament, so that a lane that changes meets a few others only.
pub(super) struct Contest {
    tops: Vec<Option<Candidate>>,
    /// The winner of each pair, from the final at 1 to the lanes themselves.
    winners: Vec<u32>,
}

impl Contest {
    /// Nobody has a top yet.
    pub(super) fn of(lanes: usize) -> Self {
        let first = lanes.next_power_of_two();
        let mut winners = vec![0; first * 2];
        for (lane, winner) in (0..).zip(&mut winners[first..]) {
            *winner = lane;
        }
        Self { tops: vec![None; first], winners }
    }

    /// A lane has another top. `meet` follows.
    pub(super) fn set(&mut self, lane: usize, top: Option<Candidate>) {
        self.tops[lane] = top;
    }

    /// These lanes have other tops.
    pub(super) fn meet(&mut self, lanes: &[usize]) {
        let first = self.tops.len();
        if first < lanes.len() * 4 {
            (1..first).rev().for_each(|at| self.play(at));
            return;
        }
        for lane in lanes {
            let mut at = (first + lane) / 2;
            while 0 < at {
                self.play(at);
                at /= 2;
            }
        }
    }

    fn play(&mut self, at: usize) {
        let [one, other] = [self.winners[at * 2], self.winners[at * 2 + 1]];
        let is_other = self.tops[one as usize] < self.tops[other as usize];
        self.winners[at] = if is_other { other } else { one };
    }

    /// The lane with the best top, if any has one.
    pub(super) fn winner(&self) -> Option<usize> {
        let winner = self.winners[1] as usize;
        self.tops[winner].map(|_| winner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_is_the_best_of_all_tops_whoever_changed() {
        for lanes in [1, 2, 5, 64, 70] {
            let mut contest = Contest::of(lanes);
            assert_eq!(contest.winner(), None);
            let mut tops = vec![None; lanes];
            let mut rng = crate::rng::Rng::from_seed(lanes as u64);
            for _ in 0..200 {
                let mut changed = Vec::new();
                for (lane, top) in tops.iter_mut().enumerate() {
                    if rng.chance(200) {
                        let score = i64::try_from(rng.between(0, 9)).unwrap();
                        let slot = NodeSlot(u32::try_from(lane).unwrap());
                        *top = rng.chance(800).then_some((score, Reverse(slot)));
                        contest.set(lane, *top);
                        changed.push(lane);
                    }
                }
                contest.meet(&changed);
                let best = (0..lanes).filter(|&lane| tops[lane].is_some()).max_by_key(|&l| tops[l]);
                assert_eq!(contest.winner(), best);
            }
        }
    }

    #[test]
    fn what_is_taken_out_of_a_pool_and_put_back_is_there_once() {
        let mut pool = Pool::default();
        let at = |sum, slot| (sum, Reverse(NodeSlot(slot)));
        pool.add(at(5, 1));
        pool.add(at(7, 2));
        pool.remove(at(7, 2));
        pool.add(at(7, 2));
        pool.remove(at(7, 2));
        assert_eq!(pool.first(), Some(at(5, 1)));
        pool.remove(at(5, 1));
        assert_eq!(pool.first(), None);
    }
}
