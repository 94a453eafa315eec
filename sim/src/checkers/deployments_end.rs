//! After healing, ◇: no deployment is running, but for those that wait for an operator: their canaries
//! are healthy; and for those of groups that wait for another job — every deployment ends (core/types/deployment.rs).
//!
//! Invariants
//! - a paused deployment waits for an operator, too.
use drover_core::state::State;
use drover_core::types::{Deployment, DeploymentStatus};

use super::Verdict;

/// Looks at every deployment.
pub fn check(state: &State) -> Verdict {
    match state.deployments().find(|one| is_under_way(one)) {
        Some(one) => {
            let (id, job, words) = (one.id, one.job, &one.status_description);
            Err(format!("{id:?} of {job:?} is still under way: {words}: {:?}", one.groups))
        }
        None => Ok(()),
    }
}

fn is_under_way(deployment: &Deployment) -> bool {
    let waits = deployment.groups.values().all(|group| group.deadline().is_none());
    let for_operator = deployment.awaits_promotion() && waits;
    let for_others = deployment.only_waits();
    deployment.status == DeploymentStatus::Running && !for_operator && !for_others
}

#[cfg(test)]
mod tests {
    use drover_core::fsm::{self, Command, Entry};
    use drover_core::types::{Index, Plan, Verdict, WatchedGroup};
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_fires_when_a_deployment_is_under_way() {
        let mut state = State::new();
        assert_eq!(check(&state), Ok(()));
        crate::workload::register_in(&mut state, 1, 1);
        let eval = state.evals().next().expect("registered");
        let plan = Plan {
            eval: eval.id,
            job: eval.job,
            version: 0,
            based_on: Index(1),
            stops: vec![],
            placements: vec![],
            in_place: vec![],
            watched: vec![WatchedGroup { group: 0, canaries: 0 }],
            preempted: vec![],
            verdict: Verdict::Done {
                failures: BTreeMap::new(),
                queued: BTreeMap::new(),
                later: vec![],
            },
            next_step: None,
            opened: vec![],
        };
        let entry =
            Entry { stamp: state.clock(), session: None, command: Command::ApplyPlan(plan) };
        let _applied = fsm::apply(&mut state, Index(2), &entry, &mut Vec::new());
        assert!(check(&state).is_err());
    }
}
