//! ∀ service group with `migrate.max_parallel` = n: of its allocs that drains and rebalances have taken
//! away, or want to, while no deadline had come, those whose successors are not there and healthy are at
//! most n — what pacing is for (core/fsm/drain.rs, core/fsm/rebalance.rs).
//!
//! Invariants
//! - the largest n of the versions that are kept counts: a version may have come while allocs moved;
//! - a successor that has taken a newer version in place must prove itself anew, and counts no more;
//! - a successor that must leave its own node is on its way itself: both together are one.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{Allocation, DesiredStatus, JobKind, Migration};

use super::Verdict;

/// Looks at every job of which allocs must move.
pub fn check(state: &State) -> Verdict {
    let mut moving: BTreeMap<_, u32> = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| is_on_its_way(state, alloc)) {
        let Some(name) = group_name(state, alloc) else { continue };
        *moving.entry((alloc.job, name)).or_default() += 1;
    }
    for ((job, name), count) in moving {
        let Some(job) = state.job(job).filter(|job| !job.stopped) else { continue };
        let groups = job.versions.iter().filter_map(|version| version.spec.group(name));
        let most = groups.map(|(_, group)| group.migrate.parallel_max).max().unwrap_or(count);
        if job.newest().spec.kind == JobKind::Service && most < count {
            let id = &job.newest().spec.id;
            return Err(format!("{id}: {count} allocs leave their nodes at once, {most} may"));
        }
    }
    Ok(())
}

fn group_name<'a>(state: &'a State, alloc: &Allocation) -> Option<&'a str> {
    let version = state.job(alloc.job)?.version(alloc.version)?;
    Some(&version.spec.groups.get(usize::from(alloc.group))?.name)
}

/// Whether it waits for its successor, or the successor is not healthy yet.
fn is_on_its_way(state: &State, alloc: &Allocation) -> bool {
    match alloc.migration {
        Migration::WhenReplaced | Migration::IfBetter { .. } => {}
        Migration::None | Migration::AtOnce | Migration::Chosen { .. } => return false,
    }
    let runs = |alloc: &Allocation| {
        alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
    };
    let next = alloc.next.and_then(|next| state.alloc(next));
    let is_awaited = |next: &Allocation| {
        let is_as_placed = next.assign_index == next.create_index;
        let must_move = next.migration.is_leaving();
        runs(next) && !next.is_healthy() && is_as_placed && !must_move
    };
    runs(alloc) || next.is_some_and(is_awaited)
}
