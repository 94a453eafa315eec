//! ∀ alloc that is called healthy by its checks: they had all passed, as its node was told
//! (core/client/health.rs).
//!
//! Invariants
//! - what passes is what the world told, not what a client makes of it.
use std::collections::BTreeSet;

use drover_core::state::State;
use drover_core::types::{AllocId, Allocation, HealthCheck, JobKind};

use super::Verdict;

/// Allocs whose checks have passed once.
#[derive(Debug, Default)]
pub struct ChecksHadPassed {
    passed: BTreeSet<AllocId>,
}

impl ChecksHadPassed {
    /// A client hears that all checks of the alloc pass.
    pub fn on_passed(&mut self, alloc: AllocId) {
        self.passed.insert(alloc);
    }

    /// Looks at every alloc.
    pub fn check(&self, state: &State) -> Verdict {
        let mut well = state.allocs().filter(|alloc| is_healthy_by_checks(state, alloc));
        match well.find(|alloc| !self.passed.contains(&alloc.id)) {
            Some(alloc) => Err(format!("{:?} is healthy, and its checks never passed", alloc.id)),
            None => Ok(()),
        }
    }
}

fn is_healthy_by_checks(state: &State, alloc: &Allocation) -> bool {
    let is_well =
        alloc.health.is_some_and(|health| health.healthy && health.version == alloc.version);
    let version = state.job(alloc.job).and_then(|job| job.version(alloc.version));
    let Some(spec) = version.map(|kept| &kept.spec).filter(|_| is_well) else { return false };
    let Some(group) = spec.groups.get(usize::from(alloc.group)) else { return false };
    let is_watched = alloc.deployment.is_some() && 0 < group.update.parallel_max;
    let check = if is_watched { group.update.health_check } else { group.migrate.health_check };
    spec.kind == JobKind::Service && check == HealthCheck::Checks && group.has_checks()
}
