//! ∀ alloc that is called healthy: all of its tasks had run since at least `min_healthy_time` — what a
//! deployment relies on (core/client/health.rs).
//!
//! Invariants
//! - both moments are read on the client's own clock; a task that started again since says nothing any
//!   more.
use drover_core::state::State;
use drover_core::types::Allocation;

use super::Verdict;

/// How much faster a client's calendar may run than the clock that it waits by, and to spare.
const SLACK_PERCENT: u64 = 20;

/// Looks at every alloc.
pub fn check(state: &State) -> Verdict {
    state.allocs().try_for_each(|alloc| check_one(state, alloc))
}

fn check_one(state: &State, alloc: &Allocation) -> Verdict {
    let health = alloc.health.filter(|health| health.healthy && health.version == alloc.version);
    let Some(health) = health else { return Ok(()) };
    let version = state.job(alloc.job).and_then(|job| job.version(alloc.version));
    let group = version.and_then(|kept| kept.spec.groups.get(usize::from(alloc.group)));
    let Some(group) = group else { return Ok(()) };
    let least = if alloc.deployment.is_some() && 0 < group.update.parallel_max {
        group.update.min_healthy_ms
    } else {
        group.migrate.min_healthy_ms
    };
    let least = least * (100 - SLACK_PERCENT) / 100;
    for (name, task) in &alloc.tasks {
        let started = task.started_at.filter(|&started| started <= health.at);
        if let Some(started) = started.filter(|&started| health.at.ms_since(started) < least) {
            let ran = health.at.ms_since(started);
            return Err(format!("{:?} is healthy, and {name} had run for {ran} ms", alloc.id));
        }
    }
    Ok(())
}
