//! What is asked of a cluster that is not balanced, in words and as a request.
//!
//! Invariants
//! - a command and the request that asked for it are told in the same words.
use std::cmp::Reverse;

use drover_core::api::Request;
use drover_core::limits::REBALANCE_MOVES_MAX;
use drover_core::planner::InFlight;
use drover_core::scheduler::{Better, Memo, View, better};
use drover_core::state::State;
use drover_core::types::{AllocId, Allocation, DesiredStatus};

/// What an operator asks for who sees `state`: the best moves, each as if it were the only one, and one more.
#[must_use]
pub fn request_of(state: &State, budget: u64, gain_permille: u64, nth: u64) -> Request {
    let gain_permille_min = u32::try_from(gain_permille).unwrap_or(u32::MAX);
    let in_flight = InFlight::default();
    let (view, mut memo) = (View { state, in_flight: &in_flight }, Memo::default());
    let of_job = |job| better(&mut memo, &view, job, (gain_permille_min, None), &mut 0);
    let mut found: Vec<Better> = state.jobs().map(|job| job.id).flat_map(of_job).collect();
    found.sort_by_key(|one| (Reverse(one.gain_permille()), one.alloc));
    let budget = usize::try_from(budget).unwrap_or(usize::MAX).min(REBALANCE_MOVES_MAX - 1);
    let mut moves: Vec<AllocId> = found.iter().map(|one| one.alloc).take(budget).collect();
    if 0 < budget {
        let wanted = state.allocs().filter(|alloc| alloc.desired == DesiredStatus::Run);
        let wanted: Vec<&Allocation> = wanted.collect();
        let at = usize::try_from(nth).unwrap_or(0).checked_rem(wanted.len());
        moves.extend(at.and_then(|at| wanted.get(at)).map(|alloc| alloc.id));
    }
    Request::Rebalance { moves, gain_permille_min }
}

/// What is to be moved.
#[must_use]
pub fn told(moves: &[AllocId], gain_permille_min: u32) -> String {
    match moves.len() {
        0 => "nothing that waits to move moves".to_owned(),
        count => format!("{count} allocs move if they gain {gain_permille_min} thousandths"),
    }
}
