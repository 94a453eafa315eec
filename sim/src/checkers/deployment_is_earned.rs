//! ∀ deployment d, entry e: d becomes successful by e ⇒ each of its groups was promoted and has as many
//! healthy allocs as it wants; a group of d is promoted by e ⇒ all of its canaries are healthy — what
//! people rely on who let a version take over (core/fsm/deployment.rs).
//!
//! Invariants
//! - who is healthy is counted from the allocs, not taken from the deployment's own counts.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::state::{Change, State};
use drover_core::types::{Allocation, Deployment, DeploymentGroup, DeploymentId, DeploymentStatus};

use super::Verdict;

/// Deployments as they were last seen.
#[derive(Debug, Default)]
pub struct DeploymentIsEarned(BTreeMap<DeploymentId, Seen>);

#[derive(Debug)]
struct Seen {
    status: DeploymentStatus,
    promoted: BTreeSet<String>,
}

impl Seen {
    fn of(deployment: &Deployment) -> Self {
        let promoted = deployment.groups.iter().filter(|(_, group)| group.promoted);
        let promoted = promoted.map(|(name, _)| name.clone()).collect();
        Self { status: deployment.status, promoted }
    }
}

impl DeploymentIsEarned {
    /// An entry was applied, and `change` is what it did.
    pub fn on_applied(&mut self, state: &State, change: Change) -> Verdict {
        match change {
            Change::Deployment(id) => {
                let Some(deployment) = state.deployment(id) else {
                    self.0.remove(&id);
                    return Ok(());
                };
                let before = self.0.insert(id, Seen::of(deployment));
                check(state, deployment, before.as_ref())
            }
            Change::Restored => {
                self.0 = state.deployments().map(|one| (one.id, Seen::of(one))).collect();
                Ok(())
            }
            Change::Node(_)
            | Change::Job(_)
            | Change::Eval(_)
            | Change::Alloc(_)
            | Change::Assigned(_)
            | Change::Room(_)
            | Change::Pools
            | Change::Operator => Ok(()),
        }
    }
}

fn check(state: &State, deployment: &Deployment, before: Option<&Seen>) -> Verdict {
    let has_won = deployment.status == DeploymentStatus::Successful
        && before.is_none_or(|before| before.status != deployment.status);
    for (name, group) in &deployment.groups {
        if has_won {
            check_won(state, deployment, (name, group))?;
        }
        if group.promoted && before.is_none_or(|before| !before.promoted.contains(name)) {
            let canaries = group.placed_canaries.iter().filter_map(|&id| state.alloc(id));
            let healthy = canaries.filter(|alloc| alloc.is_healthy()).count();
            if healthy < group.desired_canaries as usize {
                let (what, wanted) = (called(state, deployment), group.desired_canaries);
                return Err(format!(
                    "{name} of {what} is promoted with {healthy} healthy canaries of {wanted}"
                ));
            }
        }
    }
    Ok(())
}

/// The deployment as people call it.
fn called(state: &State, deployment: &Deployment) -> String {
    let job = state.job(deployment.job).map_or("?", |job| &job.newest().spec.id);
    format!("the deployment of {job}, version {},", deployment.version)
}

fn check_won(
    state: &State,
    deployment: &Deployment,
    (name, group): (&str, &DeploymentGroup),
) -> Verdict {
    let is_counted = |alloc: &&Allocation| {
        alloc.deployment == Some(deployment.id)
            && alloc.is_healthy()
            && state.group_name(alloc) == Some(name)
    };
    let healthy = state.allocs_of_job(deployment.job).filter(is_counted).count();
    let (what, wanted) = (called(state, deployment), group.desired_total);
    if group.awaits_promotion() {
        return Err(format!("{what} is successful, and {name} still waits to be promoted"));
    }
    if wanted as usize <= healthy {
        return Ok(());
    }
    Err(format!("{what} is successful with {healthy} healthy allocs of {name}, and wants {wanted}"))
}
