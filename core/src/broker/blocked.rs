//! Evaluations that wait for room, and the room that appears; and those that wait for another job.
//!
//! Room of a node is offered to those who wait: by priority, then age, and only to as many as it would
//! hold if each took the least that it asks for. Ten thousand that wait for one machine are not all tried
//! whenever something on it ends. Who was woken may not take what was offered; once it has settled, what is
//! left is offered to those behind it.
//!
//! A plan that found no room was based on a state that may be older than room that has appeared since: such
//! room is remembered until the plan's blocked evaluation is heard of, and tried against it then.
//!
//! A job that is waited for is not used up by whoever notices it: it is looked at again whenever it has
//! changed, so nothing need be remembered of it.
//!
//! Invariants
//! - what waits only for other jobs is woken by no room;
//! - an evaluation is asked to be unblocked at most once before it has left, unless asking was in vain;
//! - room that appeared after the oldest base of an unsettled plan is remembered, or counts as room
//!   everywhere;
//! - room that was offered is offered on until nobody waits who could take it and has not seen it.
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Turn, Yard};
use crate::types::{Capacity, EvalId, Evaluation, Index, JobId, Need, NodeId};

/// Nodes whose room is remembered; beyond that, room anywhere is taken for room everywhere.
const RECENT_MAX: usize = 4_096;

/// What an evaluation waits for: its groups do for one or the other.
struct Waits {
    for_room: bool,
    for_jobs: bool,
}

impl Waits {
    fn of(eval: &Evaluation) -> Self {
        let for_jobs = |group: &&String| {
            eval.failures.get(*group).is_some_and(|failure| !failure.closed.is_empty())
        };
        let gated = eval.queued.keys().filter(for_jobs).count();
        Self { for_room: gated == 0 || gated < eval.queued.len(), for_jobs: 0 < gated }
    }
}

/// One that waits for room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Waiter {
    job: JobId,
    turn: Turn,
    need: Need,
    /// The state on which it found none.
    base: Index,
}

/// Room on one node, while somebody who was woken for it is not settled.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Offer {
    /// When there was more of it last.
    index: Index,
    /// Who was woken, and the least that each takes.
    woken: BTreeMap<JobId, Capacity>,
}

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Blocked {
    /// Those that wait for room, and were not asked for yet.
    waiting: BTreeMap<EvalId, Waiter>,
    /// The same, by what they need.
    by_need: BTreeMap<Need, BTreeSet<Turn>>,
    offers: BTreeMap<NodeId, Offer>,
    /// Where room was offered to a job that is not settled.
    woken: BTreeMap<JobId, NodeId>,
    /// Those that wait for other jobs, by their own, and were not asked for yet.
    gated: BTreeMap<JobId, EvalId>,
    /// By job, the state that its unsettled plan is based on.
    bases: BTreeMap<JobId, Index>,
    /// Where room appeared, oldest first.
    recent: VecDeque<(Index, NodeId)>,
    /// Whatever was based on an older state than this may have missed room.
    everywhere: Index,
    /// Asked for in vain.
    lost: Vec<EvalId>,
}

impl Blocked {
    /// An evaluation of the job is scheduled on the state at `base`.
    pub(super) fn on_scheduled(&mut self, job: JobId, base: Index) {
        self.bases.insert(job, base);
    }

    /// The job has no plan that is not settled, and left nothing blocked. Says who may go on.
    pub(super) fn on_job_done(&mut self, job: JobId, yard: &Yard<'_>) -> Vec<EvalId> {
        self.bases.remove(&job);
        self.settle(job, yard)
    }

    /// The evaluation waits from now on. Says who need not: it may be this one.
    pub(super) fn on_blocked(&mut self, eval: &Evaluation, yard: &Yard<'_>) -> Vec<EvalId> {
        let (id, job, waits) = (eval.id, eval.job, Waits::of(eval));
        let mut next = self.settle(job, yard);
        if waits.for_jobs {
            self.gated.insert(job, id);
        }
        let base = self.bases.remove(&job);
        if !waits.for_room {
            return next;
        }
        // Nobody knows what it was based on, or room has come since.
        let fitting = base.filter(|&base| {
            let since = self.recent.iter().filter(|&&(index, _)| base < index);
            self.everywhere <= base && !since.into_iter().any(|&(_, node)| (yard.fits)(job, node))
        });
        match fitting {
            None => {
                self.gated.remove(&job);
                next.push(id);
            }
            Some(base) => {
                let turn = (Reverse(eval.priority), id);
                let waiter = Waiter { job, turn, need: (yard.need)(job), base };
                self.by_need.entry(waiter.need).or_default().insert(turn);
                self.waiting.insert(id, waiter);
            }
        }
        next
    }

    pub(super) fn is_gated(&self, job: JobId) -> bool {
        self.gated.contains_key(&job)
    }

    /// What the job waited for is as it should be. Says whether something may go on.
    pub(super) fn on_let_in(&mut self, job: JobId) -> Vec<EvalId> {
        let Some(eval) = self.gated.remove(&job) else { return Vec::new() };
        self.forget(eval);
        vec![eval]
    }

    /// The evaluation waits no more.
    pub(super) fn on_left(&mut self, eval: EvalId, job: JobId) {
        self.forget(eval);
        if self.gated.get(&job) == Some(&eval) {
            self.gated.remove(&job);
        }
        self.lost.retain(|&lost| lost != eval);
    }

    /// It waits for room no more.
    fn forget(&mut self, eval: EvalId) -> Option<Waiter> {
        let waiter = self.waiting.remove(&eval)?;
        let alike = self.by_need.get_mut(&waiter.need);
        let alike = alike.expect("invariant: who waits is found by what it needs");
        alike.remove(&waiter.turn);
        if alike.is_empty() {
            self.by_need.remove(&waiter.need);
        }
        Some(waiter)
    }

    /// Room on one node. Says who may go on.
    pub(super) fn on_room(&mut self, node: NodeId, index: Index, yard: &Yard<'_>) -> Vec<EvalId> {
        self.remember(node, index);
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let fresh = || Offer { index, woken: BTreeMap::new() };
        self.offers.entry(node).or_insert_with(fresh).index = index;
        self.offer(node, yard)
    }

    /// Wake as many as the room on the node would hold, beside those who were woken for it.
    fn offer(&mut self, node: NodeId, yard: &Yard<'_>) -> Vec<EvalId> {
        let offer = self.offers.get(&node).expect("invariant: only room is offered");
        let mut left = (yard.free)(node);
        offer.woken.values().for_each(|&least| left = left.saturating_sub(least));
        let mut fitting: Vec<EvalId> = Vec::new();
        // Of those with one need the first, the foremost of all on top.
        let mut kinds: Vec<_> = self.by_need.iter().map(|(need, all)| (need, all.iter())).collect();
        let mut heads = BinaryHeap::new();
        for (at, (need, turns)) in kinds.iter_mut().enumerate() {
            if left.holds(need.least) {
                heads.extend(turns.next().map(|&turn| Reverse((turn, at))));
            }
        }
        while let Some(Reverse(((_, eval), at))) = heads.pop() {
            let (need, turns) = &mut kinds[at];
            let waiter = &self.waiting[&eval];
            if !left.holds(need.least) {
                // Others have taken what all of these need.
                continue;
            }
            // Who has seen this room already found that it was of no use.
            if waiter.base < offer.index {
                if (yard.fits)(waiter.job, node) {
                    left = left.saturating_sub(need.least);
                    fitting.push(eval);
                } else if (yard.need)(waiter.job) == **need {
                    // Nor does it suit those who need the same. Who needs something else by now, as a new
                    // version that is not scheduled yet, speaks for nobody.
                    continue;
                }
            }
            heads.extend(turns.next().map(|&turn| Reverse((turn, at))));
        }
        fitting.iter().for_each(|&eval| self.wake(eval, node));
        if self.offers.get(&node).is_some_and(|offer| offer.woken.is_empty()) {
            self.offers.remove(&node);
        }
        fitting
    }

    fn wake(&mut self, eval: EvalId, node: NodeId) {
        let waiter = self.forget(eval).expect("invariant: who is woken has waited");
        self.gated.remove(&waiter.job);
        let offer = self.offers.get_mut(&node).expect("invariant: only room is offered");
        offer.woken.insert(waiter.job, waiter.need.least);
        self.woken.insert(waiter.job, node);
    }

    /// The job has made what it could of the room that it was offered; what is left is for others.
    fn settle(&mut self, job: JobId, yard: &Yard<'_>) -> Vec<EvalId> {
        let Some(node) = self.woken.remove(&job) else { return Vec::new() };
        let offer = self.offers.get_mut(&node).expect("invariant: who was woken was offered room");
        offer.woken.remove(&job);
        if planted!(OfferNotPassedOn) {
            return Vec::new();
        }
        self.offer(node, yard)
    }

    /// Room that belongs to no one node. Says who may go on: everyone.
    pub(super) fn on_room_everywhere(&mut self, index: Index) -> Vec<EvalId> {
        self.everywhere = self.everywhere.max(index);
        self.by_need.clear();
        let waiting = core::mem::take(&mut self.waiting);
        for waiter in waiting.values() {
            self.gated.remove(&waiter.job);
        }
        waiting.into_keys().collect()
    }

    /// Who waits is found by what it needs, and who was offered room where it was. `is_open` says
    /// whether a job has an evaluation that is not final.
    ///
    /// # Panics
    /// When that is not so.
    pub(super) fn check_invariants(&self, is_open: impl Fn(JobId) -> bool) {
        let turns: usize = self.by_need.values().map(BTreeSet::len).sum();
        assert!(turns == self.waiting.len(), "who waits has one turn");
        for (eval, waiter) in &self.waiting {
            assert!(waiter.turn.1 == *eval, "a turn is that of its evaluation");
            let alike = self.by_need.get(&waiter.need);
            assert!(alike.is_some_and(|all| all.contains(&waiter.turn)), "a need leads back");
        }
        let woken: usize = self.offers.values().map(|offer| offer.woken.len()).sum();
        assert!(woken == self.woken.len(), "a job is offered room on one node");
        for (job, node) in &self.woken {
            let offer = self.offers.get(node);
            assert!(offer.is_some_and(|offer| offer.woken.contains_key(job)), "an offer is kept");
            assert!(is_open(*job), "who was woken is settled once");
        }
    }

    /// These were asked for in vain.
    pub(super) fn on_lost(&mut self, evals: &[EvalId]) {
        self.lost.extend(evals);
    }

    /// What is to be asked for again.
    pub(super) fn take_lost(&mut self) -> Vec<EvalId> {
        core::mem::take(&mut self.lost)
    }

    fn remember(&mut self, node: NodeId, index: Index) {
        let oldest = self.bases.values().min().copied().unwrap_or(index);
        while self.recent.front().is_some_and(|&(at, _)| at <= oldest) {
            self.recent.pop_front();
        }
        if oldest < index {
            self.recent.push_back((index, node));
        }
        if RECENT_MAX < self.recent.len() {
            self.recent.clear();
            self.everywhere = index;
        }
        assert!(self.recent.len() <= RECENT_MAX, "what is remembered is bounded");
    }
}
