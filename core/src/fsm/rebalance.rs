//! Rebalancing: allocs that an operator had chosen move to better nodes, at the pace of drains.
//!
//! Who is chosen is marked in its row (`Migration::Chosen`). `follow` is called after every entry: of each
//! group `migrate.max_parallel` get their turn (`IfBetter`), counted together with what drains move, and
//! an evaluation looks whether there is a better node at that moment. If so, another is placed there,
//! and the old one is stopped. If not, the alloc stays, and its mark is gone. An alloc that must not be
//! moved any more loses the mark as soon as that is entered: its job is updated, its node drains, or its group
//! is short of healthy allocs though nothing of it is on its way.
//!
//! Invariants
//! - of a group's `count` allocs no more than `max_parallel` are on their way or not healthy because of
//!   drains and rebalances;
//! - whose turn has come is placed elsewhere, or stays, by the first plan that has seen it;
//! - following again changes nothing.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::drain::{self, Turns, is_wanted};
use super::eval::{self, Cause};
use super::{Outcome, invalid};
use crate::api::Rejection;
use crate::limits::{REBALANCE_MOVES_MAX, SCORE_PERMILLE_MAX};
use crate::scheduler;
use crate::state::txn::Txn;
use crate::state::{Change, State};
use crate::types::{AllocId, Allocation, JobId, Migration, Plan, Trigger};

/// These are to move, as far as they may, each if it gains so much. What was chosen before and has not had
/// its turn stays.
pub(super) fn choose(
    txn: &mut Txn<'_>,
    moves: &[AllocId],
    gain_permille_min: u32,
) -> Result<Outcome, Rejection> {
    if REBALANCE_MOVES_MAX < moves.len() {
        let why = alloc::format!("at most {REBALANCE_MOVES_MAX} allocs are moved at once");
        return Err(invalid("moves", &why));
    }
    if gain_permille_min == 0 || SCORE_PERMILLE_MAX < gain_permille_min {
        let why = alloc::format!("a gain is from 1 to {SCORE_PERMILLE_MAX} thousandths");
        return Err(invalid("gain", &why));
    }
    let meant: BTreeSet<AllocId> = moves.iter().copied().collect();
    let forgotten = txn.state().rebalancing().filter(|alloc| is_chosen(alloc));
    let forgotten = forgotten.map(|alloc| alloc.id).filter(|id| !meant.contains(id));
    for id in forgotten.collect::<Vec<_>>() {
        drain::mark(txn, id, Migration::None);
    }
    for id in meant {
        let may_move = |alloc: &&Allocation| scheduler::may_move(txn.state(), alloc).is_ok();
        if txn.state().alloc(id).is_some_and(|alloc| may_move(&alloc)) {
            drain::mark(txn, id, Migration::Chosen { gain_permille_min });
        }
    }
    Ok(Outcome::DONE)
}

const fn is_chosen(alloc: &Allocation) -> bool {
    matches!(alloc.migration, Migration::Chosen { .. })
}

/// Let those move whose turn has come after what the entry has changed.
pub(super) fn follow(txn: &mut Txn<'_>) {
    if txn.state().rebalancing().next().is_none() {
        return;
    }
    for job in touched(txn) {
        drop_marks(txn, job, |state, alloc| {
            let is_barred = is_chosen(alloc) && scheduler::may_move(state, alloc).is_err();
            is_barred || !is_wanted(alloc)
        });
        send_off(txn, job);
    }
}

/// Jobs of which something may move and that the entry has to do with.
fn touched(txn: &Txn<'_>) -> BTreeSet<JobId> {
    let state = txn.state();
    let jobs: BTreeSet<JobId> = state.rebalancing().map(|alloc| alloc.job).collect();
    let mut touched = BTreeSet::new();
    for change in txn.changes() {
        match *change {
            Change::Alloc(id) => touched.extend(state.alloc(id).map(|alloc| alloc.job)),
            Change::Job(id) => drop(touched.insert(id)),
            Change::Deployment(id) => touched.extend(state.deployment(id).map(|found| found.job)),
            // Few are there, and a node has to do with any of them.
            Change::Node(_) | Change::Restored => return jobs,
            Change::Eval(_) | Change::Pools | Change::Operator => {}
            Change::Assigned(_) | Change::Room(_) => {}
        }
    }
    &touched & &jobs
}

fn send_off(txn: &mut Txn<'_>, job: JobId) {
    let Turns { next, stuck } = drain::turns_of(txn.state(), job, is_chosen);
    for id in stuck {
        drain::mark(txn, id, Migration::None);
    }
    if next.is_empty() {
        return;
    }
    for id in next {
        let alloc = txn.state().alloc(id).expect("invariant: looked up before");
        if let Migration::Chosen { gain_permille_min } = alloc.migration {
            drain::mark(txn, id, Migration::IfBetter { gain_permille_min });
        }
    }
    eval::create(txn, job, Cause::of(Trigger::Rebalance));
}

/// The plan has looked at the whole job: those that it could have moved, and did not, stay. Those that
/// changed after it had looked are looked at again.
pub(super) fn give_up(txn: &mut Txn<'_>, plan: &Plan) {
    if planted!(RebalanceNotGivenUp) {
        return;
    }
    let has_turn = |alloc: &Allocation| is_wanted(alloc) && !is_chosen(alloc);
    drop_marks(txn, plan.job, |_, alloc| has_turn(alloc) && alloc.modify_index <= plan.based_on);
    let state = txn.state();
    let is_left = state.rebalancing_of_job(plan.job).any(has_turn);
    let is_awaited = state.pending_evals_of_job(plan.job).any(|eval| eval.wait_until.is_none());
    if is_left && !is_awaited {
        eval::create(txn, plan.job, Cause::of(Trigger::Rebalance));
    }
}

fn drop_marks(txn: &mut Txn<'_>, job: JobId, is_over: impl Fn(&State, &Allocation) -> bool) {
    let state = txn.state();
    let over = state.rebalancing_of_job(job).filter(|alloc| is_over(state, alloc));
    for id in over.map(|alloc| alloc.id).collect::<Vec<_>>() {
        drain::mark(txn, id, Migration::None);
    }
}
