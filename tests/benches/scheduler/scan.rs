//! What a plan should have been, by looking at every node for every placement.
//!
//! It shares the types and the score with the scheduler: room is added up from the table of allocs, and
//! constraints are judged by the few rules that `shapes` uses.
use std::collections::BTreeSet;

use drover_core::scheduler::score::{Against, score};
use drover_core::state::State;
use drover_core::state::fits::Amounts;
use drover_core::types::*;

/// A node as the scan sees it.
struct Seen {
    slot: NodeSlot,
    usable: Amounts,
    used: Amounts,
    ports: BTreeSet<u16>,
    collisions: u32,
}

/// The nodes that the group may run on, with what is taken there.
fn feasible(state: &State, spec: &JobSpec, group: &Group) -> Vec<Seen> {
    let ready = state.nodes().filter(|node| node.status == NodeStatus::Ready && node.eligible);
    let met = ready.filter(|node| {
        let constraints = spec.constraints.iter().chain(&group.constraints);
        let met = constraints.into_iter().all(|constraint| holds(constraint, node));
        met && spec.datacenters.contains(&node.spec.datacenter)
            && group.tasks.iter().all(|task| node.spec.drivers.contains_key(&task.driver))
    });
    met.map(|node| seen(state, node)).collect()
}

fn holds(constraint: &Constraint, node: &Node) -> bool {
    match (constraint.left.as_str(), constraint.operator) {
        ("${attr.kernel.name}", Operator::Equal) => {
            node.spec.attributes.get("kernel.name") == Some(&constraint.right)
        }
        ("${meta.row}", Operator::Less) => {
            let [row, bound] = [&node.spec.meta["row"], &constraint.right]
                .map(|number| number.parse::<u32>().expect("a number"));
            row < bound
        }
        other => panic!("not a constraint of these shapes: {other:?}"),
    }
}

fn seen(state: &State, node: &Node) -> Seen {
    let mut seen = Seen {
        slot: state.slot_of(node.spec.id).expect("a known node"),
        usable: node.spec.usable().into(),
        used: Amounts::default(),
        ports: node.spec.reserved_ports.iter().copied().collect(),
        collisions: 0,
    };
    for alloc in state.allocs_of_node(node.spec.id) {
        if !alloc.client_status.is_terminal() {
            seen.used.add(alloc.capacity.into());
            seen.ports.extend(alloc.ports.iter().map(|port| port.value));
        }
    }
    seen
}

/// Compare placements of the plan, made from `state` for a job of which nothing is lost or updated,
/// with the best of all nodes at that moment, each `every`-th of them. How many were compared.
///
/// # Panics
/// When one differs.
pub(crate) fn check(state: &State, plan: &Plan, every: usize) -> usize {
    let spec = &state.job(plan.job).expect("a known job").newest().spec;
    let group = &spec.groups[0];
    let ask = group.capacity().expect("a sum that fits");
    let mut nodes = feasible(state, spec, group);
    nodes.sort_by_key(|seen| seen.slot);
    for alloc in state.allocs_of_job(plan.job) {
        let slot = state.slot_of(alloc.node);
        if let Some(seen) = nodes.iter_mut().find(|seen| Some(seen.slot) == slot) {
            seen.collisions += 1;
        }
    }
    let mut compared = 0;
    for (nth, placement) in plan.placements.iter().enumerate() {
        if nth % every == 0 {
            let best = nodes.iter().filter_map(|seen| worth(seen, ask, group.count));
            let best = best.max_by_key(|&(worth, slot)| (worth, std::cmp::Reverse(slot)));
            let (_, slot) = best.expect("something was placed, so there was room");
            assert_eq!(placement.slot, slot, "placement {nth} of {:?}", plan.job);
            compared += 1;
        }
        let seen = nodes.iter_mut().find(|seen| seen.slot == placement.slot);
        let seen = seen.expect("placed where the group may run");
        seen.used.add(ask.into());
        seen.collisions += 1;
        for port in &placement.ports {
            assert!(seen.ports.insert(port.value), "a port is given once");
        }
    }
    let failed = matches!(&plan.verdict, Verdict::Done { failures, .. } if !failures.is_empty());
    if failed {
        let room = nodes.iter().filter_map(|seen| worth(seen, ask, group.count)).count();
        assert_eq!(room, 0, "what is said to fit nowhere fits nowhere");
        compared += 1;
    }
    compared
}

/// The node's score, if there is room.
fn worth(seen: &Seen, ask: Capacity, count: u32) -> Option<(i64, NodeSlot)> {
    let mut used = seen.used;
    used.add(ask.into());
    let within = used.cpu_mhz <= seen.usable.cpu_mhz
        && used.memory_mib <= seen.usable.memory_mib
        && used.disk_mib <= seen.usable.disk_mib;
    let against = Against { collisions: seen.collisions, count, failed_before: false };
    within.then(|| (score(seen.usable, used, against), seen.slot))
}
