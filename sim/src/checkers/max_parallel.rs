//! ∀ service group with `max_parallel` = n > 0, while its deployment runs: of the allocs that an update
//! has replaced, the successors that run and are not healthy yet are at most n — what a rolling update is
//! for (core/scheduler/reconcile.rs).
//!
//! Invariants
//! - only successors of allocs that were stopped for the update count: what failed or was lost is placed
//!   again whatever else is on its way.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{Allocation, ClientStatus, Deployment, DesiredStatus};

use super::Verdict;

/// As the state describes what was stopped for an update.
const UPDATED: &str = "alloc is being updated due to job update";

/// Looks at every deployment that is active.
pub fn check(state: &State) -> Verdict {
    for deployment in state.deployments().filter(|one| one.status.is_active()) {
        check_one(state, deployment)?;
    }
    Ok(())
}

fn check_one(state: &State, deployment: &Deployment) -> Verdict {
    let Some(job) = state.job(deployment.job) else { return Ok(()) };
    let Some(version) = job.version(deployment.version) else { return Ok(()) };
    let mut moving: BTreeMap<u16, u32> = BTreeMap::new();
    let steps = state.allocs_of_job(job.id).filter(|alloc| {
        // What has only taken the version in place was made before, and nobody was replaced by it.
        let is_of_it = alloc.deployment == Some(deployment.id);
        let is_made_by_it = is_of_it && deployment.create_index <= alloc.create_index;
        is_made_by_it && is_step(state, deployment, alloc) && !alloc.is_healthy()
    });
    for alloc in steps {
        *moving.entry(alloc.group).or_default() += 1;
    }
    for (at, count) in moving {
        let Some(group) = version.spec.groups.get(usize::from(at)) else { continue };
        let most = group.update.parallel_max;
        if 0 < most && most < count {
            let (id, version) = (&version.spec.id, deployment.version);
            return Err(format!("{id}: {count} allocs of version {version} move, {most} may"));
        }
    }
    Ok(())
}

/// Whether it runs in the place of one that was stopped for it. What an earlier version had stopped, and
/// found no room for, was missing already.
fn is_step(state: &State, deployment: &Deployment, alloc: &Allocation) -> bool {
    let is_live = alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal();
    let previous = alloc.previous.and_then(|id| state.alloc(id));
    is_live
        && previous.is_some_and(|previous| {
            previous.version < alloc.version
                && previous.desired_description == UPDATED
                && deployment.create_index <= previous.assign_index
                && previous.client_status != ClientStatus::Failed
        })
}
