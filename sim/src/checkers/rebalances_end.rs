//! After healing, ◇: no alloc waits to be moved — each has found a better node when its turn came, or stays
//! where it is (core/fsm/rebalance.rs). Only behind a drain that waits for ever may it wait as well.
use drover_core::state::State;
use drover_core::types::Allocation;

use super::Verdict;

/// Looks at every alloc that a rebalance has marked, when all faults are over.
pub fn check(state: &State) -> Verdict {
    let drains = |alloc: &&Allocation| {
        let mut of_job = state.allocs_of_job(alloc.job);
        of_job.any(|other| other.migration.is_of_drain() && other.next.is_none())
    };
    let mut waiting = state.rebalancing().filter(|alloc| !drains(alloc));
    waiting.next().map_or(Ok(()), |alloc| {
        let (id, job, how) = (alloc.id, alloc.job, alloc.migration);
        Err(format!("{id:?} of {job:?} still waits to be moved: {how:?}"))
    })
}

#[cfg(test)]
mod tests {
    use drover_core::fsm::{Command, Entry, apply};
    use drover_core::time::WallTime;
    use drover_core::types::{AllocId, Index};

    use super::*;

    #[test]
    fn nothing_waits_where_nothing_was_ordered() {
        let mut state = State::new();
        let command = Command::Rebalance { moves: vec![AllocId(7)], gain_permille_min: 1 };
        let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
        let _outcome = apply(&mut state, Index(1), &entry, &mut Vec::new());
        assert_eq!(check(&state), Ok(()));
    }
}
