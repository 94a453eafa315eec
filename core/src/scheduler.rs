//! From an evaluation to a plan: what a job needs, and where it goes.
//!
//! `schedule` is a pure function of the view, the evaluation, a seed and a budget. It reconciles each
//! group (`bucket`, `reconcile`), then finds the best of all nodes for each alloc to place
//! (`feasible`, `rank`, `score`). Jobs that run once on every node are compared node by node (`system`).
//!
//! An alloc holds its room until its client says that it has ended, so an update or a rescheduling
//! needs room beside the old alloc. Where there is none, but will be once the old one has ended, the
//! old one is stopped and the new one waits; otherwise the old one runs on.
//!
//! Invariants
//! - the same arguments give the same plan;
//! - a plan changes at most `budget` allocs; what is left over is said by `Verdict::More`;
//! - every placement fits on the view, next to the others of its plan;
//! - a second scheduling of what was applied asks for nothing new.
//!
//! `explain` is the same, and also says how the nodes compared: for people, later, from a recorded log.
//! `look` says how they compare now, `better` which allocs would be better elsewhere.
//!
//! It proposes nothing itself, and knows no clock but the replicated one.
mod bucket;
mod change;
mod compare;
mod crowd;
mod devices;
mod draft;
mod feasible;
mod lanes;
mod look;
mod memo;
mod pieces;
mod preempt;
mod rank;
mod rebalance;
mod reconcile;
mod retry;
mod rollout;
mod room;
pub mod score;
mod strata;
mod system;
mod tally;
mod wake;

use alloc::vec::Vec;

use self::bucket::Sorter;
use self::draft::Draft;
pub use self::look::{Asked, Look, Sought, Standing, Tried, look};
pub use self::memo::Memo;
pub use self::rank::field::Choice;
pub use self::rebalance::{Better, Stays, better, may_move};
pub use self::system::awaits;
pub use self::wake::{free_on, may_go_on, need};
pub use crate::planner::View;
use crate::types::{Evaluation, Plan};

/// What `eval` asks for, changing at most `budget` allocs.
#[must_use]
pub fn schedule(view: &View<'_>, eval: &Evaluation, seed: u64, budget: usize) -> Plan {
    schedule_with(&mut Memo::default(), view, eval, seed, budget)
}

/// `schedule`, with what is known of the nodes of this state from evaluations before.
#[must_use]
pub fn schedule_with(
    memo: &mut Memo,
    view: &View<'_>,
    eval: &Evaluation,
    seed: u64,
    budget: usize,
) -> Plan {
    drafted(Draft::of(memo, *view, eval, budget), *view, eval, seed).into_plan()
}

/// The same plan, and for each of its placements how the nodes compared.
#[must_use]
pub fn explain(
    view: &View<'_>,
    eval: &Evaluation,
    seed: u64,
    budget: usize,
) -> (Plan, Vec<Choice>) {
    let mut memo = Memo::default();
    let draft = Draft::of(&mut memo, *view, eval, budget).explained();
    let mut draft = drafted(draft, *view, eval, seed);
    let choices = draft.take_choices();
    (draft.into_plan(), choices)
}

fn drafted<'a>(mut draft: Draft<'a>, view: View<'a>, eval: &'a Evaluation, seed: u64) -> Draft<'a> {
    let state = view.state;
    let job = state.job(eval.job);
    // An evaluation that waited for a moment runs at that moment, even if no entry has moved the
    // replicated clock there.
    let now = state.clock().max(eval.wait_until.unwrap_or_default());
    let sorter = Sorter { state, job, now, eval: eval.id };
    let everywhere = sorter.wanted().filter(|spec| spec.kind.is_on_every_node());
    if let (Some(job), Some(_)) = (job, everywhere) {
        system::fill(&mut draft, job, now, seed);
        return draft;
    }
    let buckets = sorter.sort(state.allocs_of_job(eval.job));
    draft.stop(reconcile::stop_strays(&buckets));
    if let (Some(job), true) = (job, sorter.wanted().is_some()) {
        draft.fill(job, &buckets, seed);
    }
    draft
}
