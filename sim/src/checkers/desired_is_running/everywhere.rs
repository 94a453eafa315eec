//! For every system and sysbatch job, ◇: each node that takes new allocs and meets the job's demands has
//! exactly one of each group, of the newest version: one that runs; or one that has failed there for good;
//! or, of a sysbatch job, one that has succeeded; or the job waits blocked, and the node has no room or the group comes after something. No
//! other node that is ready and does not meet them has one.
//!
//! Invariants
//! - demands are judged by the plain rules of `workload`, not by the scheduler's.
use drover_core::state::State;
use drover_core::types::{Allocation, ClientStatus, DesiredStatus, Group, Job, Node, NodeStatus};

use super::Verdict;
use super::room::{has_room, has_such_devices, has_volumes};

pub(super) fn check_job(state: &State, job: &Job) -> Verdict {
    for group in &job.newest().spec.groups {
        for node in state.nodes() {
            check_node(state, job, group, node)
                .map_err(|why| format!("group {} on {}: {why}", group.name, node.spec.name))?;
        }
    }
    Ok(())
}

fn check_node(state: &State, job: &Job, group: &Group, node: &Node) -> Verdict {
    let newest = job.newest();
    let ours: Vec<&Allocation> = state
        .allocs_of_node(node.spec.id)
        .filter(|alloc| alloc.job == job.id && alloc.desired == DesiredStatus::Run)
        .filter(|alloc| state.group_name(alloc) == Some(&group.name))
        .collect();
    let live: Vec<&&Allocation> =
        ours.iter().filter(|alloc| !alloc.client_status.is_terminal()).collect();
    let spec = &newest.spec;
    let is_there = spec.datacenters.iter().any(|dc| *dc == "*" || *dc == node.spec.datacenter);
    let is_meant = is_there && spec.node_pool.covers(&node.spec.pool);
    let is_wanted = !job.stopped && 0 < group.count;
    if 1 < live.len() {
        return Err(format!("{} run, one may", live.len()));
    }
    let may_run = is_wanted && is_meant;
    if !live.is_empty() && !may_run {
        return Err("one runs that should not".to_owned());
    }
    // What runs beside devices or volumes that have gone stays, and nothing new comes.
    let is_open = node.status == NodeStatus::Ready && node.eligible;
    let has_what_it_asks_for = has_such_devices(node, group) && has_volumes(node, group);
    if !(may_run && is_open && has_what_it_asks_for) {
        return Ok(());
    }
    let waits = state.blocked_eval_of_job(job.id).is_some();
    let is_held = !state.closed_gates(job, group).is_empty();
    if let Some(live) = live.first() {
        return match live.version == newest.version || waits {
            true => Ok(()),
            false => {
                Err(format!("version {} runs, the newest is {}", live.version, newest.version))
            }
        };
    }
    let is_done = |alloc: &&Allocation| {
        let is_over = match alloc.client_status {
            ClientStatus::Failed => true,
            ClientStatus::Complete => spec.kind.ends(),
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Lost => false,
        };
        is_over && alloc.version == newest.version
    };
    match (ours.iter().any(is_done), waits && (is_held || !has_room(state, node, group))) {
        (true, _) | (_, true) => Ok(()),
        (false, false) if waits => Err("none runs, and there is room".to_owned()),
        (false, false) => Err("none runs, and no evaluation is blocked".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drover_core::fsm::{Command, Entry, apply};
    use drover_core::rng::Rng;
    use drover_core::time::WallTime;
    use drover_core::types::{Index, JobKind};

    use super::*;
    use crate::plan::{JobAsk, PiecesAsk, Promotion, Spread, UpdateAsk};
    use crate::workload::{node_id, node_of, spec_of};

    #[test]
    fn it_fires_when_a_node_has_nothing_and_nothing_waits() {
        let mut state = State::new();
        let spec = spec_of(&JobAsk {
            job: "job7".into(),
            kind: JobKind::System,
            count: 1,
            tasks: 1,
            cpu_mhz: 100,
            memory_mib: 100,
            ports: 0,
            fixed_port: 0,
            spread: Spread::Anywhere,
            mark: 1,
            build: 1,
            after: None,
            pieces: PiecesAsk::default(),
            volume: None,
            update: UpdateAsk { parallel: 0, canaries: 0, promotion: Promotion::Operator },
        });
        let nodes = vec![node_id(1)];
        let commands = [
            Command::RegisterJob { spec, check_index: None },
            Command::RegisterNode { spec: Arc::new(node_of(1, &mut Rng::from_seed(1))) },
            Command::SetNodeStatus { nodes, status: NodeStatus::Ready, reason: String::new() },
        ];
        for (index, command) in (1..).zip(commands) {
            let job = state.jobs().next().cloned();
            assert!(job.is_none_or(|job| check_job(&state, &job).is_ok()), "no node takes it yet");
            let entry = Entry { stamp: WallTime { unix_ms: index }, session: None, command };
            let _applied = apply(&mut state, Index(index), &entry, &mut Vec::new());
        }
        let job = state.jobs().next().expect("it is registered").clone();
        assert!(check_job(&state, &job).is_err());
    }
}
