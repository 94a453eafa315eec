//! After healing, ◇: for every service, its count of allocs run, or the rest waits blocked, and no node
//! has room for it or the group comes after something that has not come; for every system and sysbatch job the same of each node (`everywhere`);
//! what runs is of the newest version, unless an evaluation waits for room; and nothing
//! runs that should not — the purpose of the whole thing. Where the newest version may not take over,
//! older ones run instead, and some may be missing.
//!
//! Invariants
//! - what runs is asked of the drivers, not of the tables, and as which version of the clients.
use std::collections::BTreeSet;

use drover_core::state::State;
use drover_core::types::{
    AllocId, Allocation, ClientStatus, DeploymentStatus, DesiredStatus, Group, Job, JobKind, Node,
    NodeId, Operator,
};

use self::room::{has_room, has_volumes};
use super::Verdict;

mod everywhere;
mod room;

/// Compares what is desired with the allocs of which a process lives.
pub fn check(state: &State, live: &BTreeSet<AllocId>) -> Verdict {
    for job in state.jobs() {
        let is_everywhere = job.newest().spec.kind.is_on_every_node();
        let check_job = if is_everywhere { everywhere::check_job } else { check_job };
        check_job(state, job).map_err(|why| format!("{}: {why}", job.newest().spec.id))?;
    }
    let mut wanted = BTreeSet::new();
    for alloc in state.allocs().filter(|alloc| alloc.desired == DesiredStatus::Run) {
        if alloc.client_status == ClientStatus::Pending {
            return Err(format!("{:?} is still pending", alloc.id));
        }
        if alloc.client_status == ClientStatus::Running {
            wanted.insert(alloc.id);
        }
    }
    check_processes(&wanted, live)
}

/// Compares the version of each alloc that runs with the one that its node knows it by.
pub fn check_versions(state: &State, here: impl Fn(NodeId, AllocId) -> Option<u64>) -> Verdict {
    let wanted = state.allocs().filter(|alloc| {
        alloc.desired == DesiredStatus::Run && alloc.client_status == ClientStatus::Running
    });
    for alloc in wanted {
        let (known, wanted) = (here(alloc.node, alloc.id), alloc.version);
        if known != Some(wanted) {
            let known = known.map_or("not at all".into(), |known| format!("as version {known}"));
            let id = alloc.id;
            return Err(format!("{id:?} is of version {wanted}, and its node knows it {known}"));
        }
    }
    Ok(())
}

fn check_processes(wanted: &BTreeSet<AllocId>, live: &BTreeSet<AllocId>) -> Verdict {
    if let Some(alloc) = live.difference(wanted).next() {
        return Err(format!("{alloc:?} runs and should not"));
    }
    match wanted.difference(live).next() {
        Some(alloc) => Err(format!("{alloc:?} should run and does not")),
        None => Ok(()),
    }
}

fn check_job(state: &State, job: &Job) -> Verdict {
    let version = job.newest();
    for (at, group) in version.spec.groups.iter().enumerate() {
        let runs = |alloc: &&Allocation| {
            usize::from(alloc.group) == at
                && alloc.desired == DesiredStatus::Run
                && !alloc.client_status.is_terminal()
        };
        let running = state.allocs_of_job(job.id).filter(runs).count();
        let count = usize::try_from(group.count).unwrap_or(usize::MAX);
        let wanted = if job.stopped { 0 } else { count };
        let standstill = Standstill::of(state, job);
        if wanted + standstill.canaries < running {
            return Err(format!("{running} allocs run, {wanted} are wanted"));
        }
        if standstill.is_one {
            continue;
        }
        let waits = state.blocked_eval_of_job(job.id).is_some();
        if waits && !state.closed_gates(job, group).is_empty() {
            continue;
        }
        let mut live = state.allocs_of_job(job.id).filter(runs);
        if !waits && let Some(old) = live.find(|alloc| alloc.version < version.version) {
            let (id, old) = (old.id, old.version);
            return Err(format!("{id:?} runs version {old}, the newest is {}", version.version));
        }
        if running < wanted && version.spec.kind == JobKind::Service {
            check_missing(state, job, group).map_err(|why| {
                format!(
                    "{running} allocs run, {wanted} are wanted, and {why}\n{}",
                    picture_of(state, job)
                )
            })?;
        }
    }
    Ok(())
}

/// A version that may not take over: given up, paused, or waiting to be promoted. Then older ones run
/// on, canaries beside them, and what is missing may stay missing.
#[derive(Clone, Copy, Default)]
struct Standstill {
    is_one: bool,
    canaries: usize,
}

impl Standstill {
    fn of(state: &State, job: &Job) -> Self {
        let Some(deployment) = state.deployment_of_version(job.id, job.newest().version) else {
            return Self::default();
        };
        let is_one = match deployment.status {
            DeploymentStatus::Failed | DeploymentStatus::Paused => true,
            DeploymentStatus::Running => deployment.awaits_promotion(),
            DeploymentStatus::Successful | DeploymentStatus::Cancelled => false,
        };
        let groups = deployment.groups.values().filter(|group| group.awaits_promotion());
        let canaries: u32 = groups.map(|group| group.desired_canaries).sum();
        let canaries = if deployment.status.is_active() { canaries } else { 0 };
        Self { is_one, canaries: usize::try_from(canaries).unwrap_or(usize::MAX) }
    }
}

/// The job's evaluations and allocs, for whoever must find out why.
fn picture_of(state: &State, job: &Job) -> String {
    let mut lines =
        vec![format!("clock {}  version {}", state.clock().unix_ms, job.newest().version)];
    for eval in state.evals_of_job(job.id) {
        let (id, trigger, status) = (eval.id.0, eval.trigger, eval.status);
        let until = eval.wait_until.map(|until| until.unix_ms);
        lines.push(format!("eval {id}  {trigger:?}  {status:?}  wait until {until:?}"));
    }
    for alloc in state.allocs_of_job(job.id) {
        lines.push(format!(
            "alloc {}  ordinal {}  version {}  {:?}  {:?}  follow up {:?}  next {:?}  changed {}",
            alloc.id.0,
            alloc.ordinal,
            alloc.version,
            alloc.desired,
            alloc.client_status,
            alloc.follow_up,
            alloc.next,
            alloc.modify_time.unix_ms
        ));
    }
    lines.join("\n")
}

/// Too few run: then the rest must be known to wait, and have reason to.
fn check_missing(state: &State, job: &Job, group: &Group) -> Verdict {
    if state.blocked_eval_of_job(job.id).is_none() {
        return Err("no evaluation is blocked".to_owned());
    }
    let would_do = |node: &&Node| {
        may_lie_on(state, job, node) && has_volumes(node, group) && has_room(state, node, group)
    };
    match state.nodes().find(would_do) {
        Some(node) => Err(format!("there is room on {}", node.spec.name)),
        None => Ok(()),
    }
}

fn may_lie_on(state: &State, job: &Job, node: &Node) -> bool {
    let spec = &job.newest().spec;
    let is_there = spec.datacenters.iter().any(|dc| *dc == "*" || *dc == node.spec.datacenter);
    let is_alone = spec.constraints.iter().any(|c| c.operator == Operator::DistinctHosts);
    let mut on_node = state.allocs_of_node(node.spec.id);
    let has_other = on_node.any(|a| a.job == job.id && !a.client_status.is_terminal());
    is_there && spec.node_pool.covers(&node.spec.pool) && !(is_alone && has_other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_a_process_is_missing_or_too_much() {
        let set = |ids: &[u64]| ids.iter().copied().map(AllocId).collect::<BTreeSet<_>>();
        assert_eq!(check_processes(&set(&[1, 2]), &set(&[1, 2])), Ok(()));
        assert!(check_processes(&set(&[1, 2]), &set(&[1])).is_err());
        assert!(check_processes(&set(&[1]), &set(&[1, 2])).is_err());
    }

    #[test]
    fn it_fires_when_a_job_runs_nothing_and_nothing_waits() {
        let mut state = State::new();
        assert_eq!(check(&state, &BTreeSet::new()), Ok(()));
        crate::workload::register_in(&mut state, 1, 2);
        assert!(check(&state, &BTreeSet::new()).is_err());
    }
}
