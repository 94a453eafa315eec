//! ∀ system or sysbatch job, group g, node n: at most one alloc of g on n has not ended, and none was placed
//! after one that has succeeded there as the same version of a sysbatch job — what such jobs promise
//! (core/scheduler/system.rs).
//!
//! Invariants
//! - what the tables say has ended counts as ended: an alloc whose node died is believed to have.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{Allocation, ClientStatus, DesiredStatus, Job, NodeId};

use super::Verdict;

/// Looks at every job that runs on every node.
pub fn check(state: &State) -> Verdict {
    for job in state.jobs_everywhere().filter_map(|id| state.job(id)) {
        check_job(state, job).map_err(|why| format!("{}: {why}", job.newest().spec.id))?;
    }
    Ok(())
}

fn check_job(state: &State, job: &Job) -> Verdict {
    let mut live: BTreeMap<(NodeId, &str), &Allocation> = BTreeMap::new();
    let mut done: BTreeMap<(NodeId, &str, u64), &Allocation> = BTreeMap::new();
    for alloc in state.allocs_of_job(job.id) {
        let Some(group) = state.group_name(alloc) else { continue };
        if let Some(done) = done.get(&(alloc.node, group, alloc.version)) {
            return Err(format!(
                "{:?} was placed after {:?} had succeeded there",
                alloc.id, done.id
            ));
        }
        if !alloc.client_status.is_terminal()
            && let Some(other) = live.insert((alloc.node, group), alloc)
        {
            return Err(format!("{:?} and {:?} are on one node", other.id, alloc.id));
        }
        let has_succeeded = alloc.client_status == ClientStatus::Complete;
        if has_succeeded && alloc.desired == DesiredStatus::Run && job.newest().spec.kind.ends() {
            done.insert((alloc.node, group, alloc.version), alloc);
        }
    }
    Ok(())
}
