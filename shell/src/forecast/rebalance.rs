//! Which allocs should move to better nodes: found on a copy of the state, by moving them there.
//!
//! All that may move are compared, and whoever gains most is moved, by the commands that would move it
//! in earnest; then all others are what they are after that. So each move of the list is what would
//! happen once those before it are done.
//!
//! Invariants
//! - at most `budget` moves, of allocs that there are, each once;
//! - each gains at least what is asked for;
//! - the same state and question give the same list;
//! - where the budget is not used up and all were compared, nobody else gains so much.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use drover_core::fsm::Command;
use drover_core::planner::InFlight;
use drover_core::scheduler::{Better, Standing, Stays, View, better, may_move};
use drover_core::types::{
    AllocHealth, AllocId, AllocUpdate, Allocation, ClientStatus, DesiredStatus, JobId, Migration,
    NodeId, PoolName,
};

use super::{Forecast, ended};

/// Comparisons of one alloc with all nodes: a few seconds.
const COMPARED_MAX: usize = 500_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Moves.
    pub budget: usize,
    /// Whoever gains less stays. Above zero.
    pub gain_permille_min: u32,
    /// Only allocs of this job.
    pub job: Option<JobId>,
    /// Only allocs on nodes of this pool.
    pub pool: Option<PoolName>,
}

/// What would be moved, and what not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rebalance {
    /// One after the other.
    pub moves: Vec<Move>,
    /// How many others would gain as much, once these are done.
    pub more: usize,
    /// How many would gain something, but less than was asked for.
    pub slight: usize,
    /// How many may not move, and why.
    pub staying: BTreeMap<Stays, usize>,
    /// How many would leave too few healthy allocs of their groups behind.
    pub held: usize,
    /// How many were not compared any more: there are too many.
    pub uncompared: usize,
}

/// One alloc that moves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move {
    pub alloc: AllocId,
    pub job: JobId,
    pub from: NodeId,
    pub to: NodeId,
    /// What both nodes are worth to it at that moment.
    pub here: Standing,
    pub there: Standing,
}

impl Move {
    /// By how much its score rises.
    #[must_use]
    pub const fn gain_permille(&self) -> i32 {
        self.there.score_permille.saturating_sub(self.here.score_permille)
    }

    /// What counts for it there that did not here, what counts most first.
    #[must_use]
    pub fn why(&self) -> Vec<&'static str> {
        let (here, there) = (self.here.parts, self.there.parts);
        let mut rises = vec![
            (there.affinity - here.affinity, "affinity"),
            (there.spread - here.spread, "spread"),
            (there.crowd - here.crowd, "fewer of its group"),
            (there.fit - here.fit, "fit"),
        ];
        rises.retain(|&(rise, _)| 0 < rise);
        rises.sort_by_key(|&(rise, _)| Reverse(rise));
        rises.into_iter().map(|(_, word)| word).collect()
    }
}

/// Who gains, the greatest gain first.
type Queue = BTreeSet<(Reverse<i32>, AllocId, JobId)>;

/// While moves are looked for.
struct Search<'a> {
    ask: &'a Ask,
    compared: usize,
    /// Would move and must not yet.
    held: BTreeSet<AllocId>,
}

impl Forecast {
    /// Move what gains most.
    pub fn rebalance(&mut self, ask: &Ask) -> Rebalance {
        // What an earlier one has not begun is decided anew, and what is under way is waited for.
        self.choose(&[], ask.gain_permille_min);
        self.schedule_all();
        let mut rebalance = Rebalance { staying: self.staying(ask), ..Rebalance::default() };
        let mut search = Search { ask, compared: 0, held: BTreeSet::new() };
        loop {
            let (queue, slight, uncompared) = self.gains(&mut search);
            (rebalance.slight, rebalance.uncompared) = (slight, uncompared);
            let before = rebalance.moves.len();
            if before == ask.budget || queue.is_empty() {
                rebalance.more = queue.len();
                rebalance.held = search.held.len();
                return rebalance;
            }
            self.move_all(queue, &mut search, &mut rebalance.moves);
            if COMPARED_MAX <= search.compared {
                rebalance.uncompared = rebalance.uncompared.max(1);
                rebalance.held = search.held.len();
                return rebalance;
            }
        }
    }

    fn choose(&mut self, moves: &[AllocId], gain_permille_min: u32) {
        self.enter(Command::Rebalance { moves: moves.to_vec(), gain_permille_min });
    }

    fn is_meant(&self, ask: &Ask, alloc: &Allocation) -> bool {
        let pool = || self.state.node(alloc.node).map(|node| &node.spec.pool);
        let is_of_pool = ask.pool.as_ref().is_none_or(|name| pool() == Some(name));
        is_of_pool && ask.job.is_none_or(|job| job == alloc.job)
    }

    fn staying(&self, ask: &Ask) -> BTreeMap<Stays, usize> {
        let mut staying = BTreeMap::new();
        let is_there = |alloc: &&Allocation| {
            alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
        };
        for alloc in self.state.allocs().filter(is_there) {
            if let (true, Err(why)) = (self.is_meant(ask, alloc), may_move(&self.state, alloc)) {
                *staying.entry(why).or_default() += 1;
            }
        }
        staying
    }

    /// Who would gain as much as is asked for; how many would gain something; and how many nobody knows of.
    fn gains(&mut self, search: &mut Search<'_>) -> (Queue, usize, usize) {
        let (mut queue, mut slight, mut uncompared) = (Queue::new(), 0, 0);
        let jobs: Vec<JobId> = self.state.jobs().map(|job| job.id).collect();
        for job in jobs.into_iter().filter(|&job| search.ask.job.is_none_or(|asked| asked == job)) {
            if COMPARED_MAX <= search.compared {
                let of_job = self.state.allocs_of_job(job);
                uncompared += of_job.filter(|alloc| may_move(&self.state, alloc).is_ok()).count();
                continue;
            }
            for found in self.better(job, (1, None), search) {
                if search.ask.gain_permille_min.cast_signed() <= found.gain_permille() {
                    queue.insert((Reverse(found.gain_permille()), found.alloc, job));
                } else {
                    slight += 1;
                }
            }
        }
        (queue, slight, uncompared)
    }

    /// Those of the job that gain so much and have not been looked at in vain.
    fn better(
        &mut self,
        job: JobId,
        which: (u32, Option<AllocId>),
        search: &mut Search<'_>,
    ) -> Vec<Better> {
        let (state, memo, in_flight) = (&self.state, &mut self.memo, InFlight::default());
        let view = View { state, in_flight: &in_flight };
        let mut found = better(memo, &view, job, which, &mut search.compared);
        found.retain(|one| {
            // Whoever has been moved already is another by now.
            let known = self.before.alloc(one.alloc);
            known.is_some_and(|alloc| self.is_meant(search.ask, alloc))
                && !search.held.contains(&one.alloc)
        });
        found
    }

    /// Move those of the queue who gain as much when their turn comes, until the budget is used up.
    fn move_all(&mut self, mut queue: Queue, search: &mut Search<'_>, moves: &mut Vec<Move>) {
        while let Some((_, alloc, job)) = queue.pop_first() {
            if moves.len() == search.ask.budget || COMPARED_MAX <= search.compared {
                return;
            }
            let which = (search.ask.gain_permille_min, Some(alloc));
            let Some(found) = self.better(job, which, search).pop() else { continue };
            let now = (Reverse(found.gain_permille()), alloc, job);
            if queue.first().is_some_and(|next| *next < now) {
                // What was moved since has made it gain less.
                queue.insert(now);
                continue;
            }
            match self.carry_out(&found, job, search.ask.gain_permille_min) {
                Some(one) => moves.push(one),
                None => drop(search.held.insert(alloc)),
            }
        }
    }

    /// `None`: its group can do without none of its allocs now.
    fn carry_out(&mut self, found: &Better, job: JobId, gain_permille_min: u32) -> Option<Move> {
        self.choose(&[found.alloc], gain_permille_min);
        let chosen = self.state.alloc(found.alloc)?;
        let (from, is_its_turn) = (chosen.node, chosen.migration.is_leaving());
        if !is_its_turn {
            self.choose(&[], gain_permille_min);
            return None;
        }
        self.schedule_all();
        let next = self.state.alloc(found.alloc)?.next?;
        let next = self.state.alloc(next)?;
        let (to, running) = (next.node, running(next, self.state.clock()));
        self.enter(Command::UpdateAllocs { node: from, updates: vec![ended(found.alloc)] });
        self.enter(Command::UpdateAllocs { node: to, updates: vec![running] });
        let Better { alloc, here, there } = *found;
        Some(Move { alloc, job, from, to, here, there })
    }
}

/// It runs, and is as it should be.
fn running(alloc: &Allocation, at: drover_core::time::WallTime) -> AllocUpdate {
    let health = AllocHealth { version: alloc.version, healthy: true, at };
    AllocUpdate { status: ClientStatus::Running, health: Some(health), ..ended(alloc.id) }
}

/// Allocs that an operator had chosen to move, and that have not moved yet: those that wait, and those
/// whose turn has come.
#[must_use]
pub fn under_way(state: &drover_core::state::State) -> (Vec<&Allocation>, Vec<&Allocation>) {
    state.rebalancing().partition(|alloc| matches!(alloc.migration, Migration::Chosen { .. }))
}
