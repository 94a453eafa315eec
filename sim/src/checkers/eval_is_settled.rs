//! After healing, ◇: no evaluation is pending, but for those whose moment has not come — every
//! evaluation ends (core/types/eval.rs).
//!
//! Invariants
//! - the moment is measured on the replicated clock.
use drover_core::state::State;

use super::Verdict;

/// Looks at every pending evaluation.
pub fn check(state: &State) -> Verdict {
    let now = state.clock();
    let due = state.pending_evals().find(|eval| eval.wait_until.is_none_or(|until| until <= now));
    match due {
        Some(eval) => Err(format!("{:?} of {:?} is still pending", eval.id, eval.job)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_an_evaluation_is_never_looked_at() {
        let mut state = State::new();
        assert_eq!(check(&state), Ok(()));
        crate::workload::register_in(&mut state, 1, 1);
        assert!(check(&state).is_err());
    }
}
