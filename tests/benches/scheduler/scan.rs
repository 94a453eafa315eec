//! What a plan should have been, by looking at every node for every placement.
//!
//! It shares the types and the score with the scheduler: room is added up from the table of allocs, and
//! constraints are judged by the few rules that `shapes` uses.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::scheduler::score::{Against, Terms, fit, score_with};
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
    rack: String,
    /// The sum of the weights of what it meets.
    weight: i64,
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
    met.map(|node| seen(state, node, group)).collect()
}

fn holds(constraint: &Constraint, node: &Node) -> bool {
    meets((&constraint.left, constraint.operator, &constraint.right), node)
}

fn meets((left, operator, right): (&str, Operator, &String), node: &Node) -> bool {
    match (left, operator) {
        ("${attr.kernel.name}", Operator::Equal) => {
            node.spec.attributes.get("kernel.name") == Some(right)
        }
        ("${meta.row}", Operator::Less) => {
            let [row, bound] = [&node.spec.meta["row"], right]
                .map(|number| number.parse::<u32>().expect("a number"));
            row < bound
        }
        other => panic!("not a constraint of these shapes: {other:?}"),
    }
}

fn seen(state: &State, node: &Node, group: &Group) -> Seen {
    let met = group.affinities.iter();
    let met = met.filter(|one| meets((&one.left, one.operator, &one.right), node));
    let mut seen = Seen {
        slot: state.slot_of(node.spec.id).expect("a known node"),
        usable: node.spec.usable().into(),
        used: Amounts::default(),
        ports: node.spec.reserved_ports.iter().copied().collect(),
        collisions: 0,
        rack: node.spec.meta["rack"].clone(),
        weight: met.map(|one| i64::from(one.weight)).sum(),
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
    let mut racks: BTreeMap<String, i64> = BTreeMap::new();
    for alloc in state.allocs_of_job(plan.job) {
        let slot = state.slot_of(alloc.node);
        if let Some(seen) = nodes.iter_mut().find(|seen| Some(seen.slot) == slot) {
            seen.collisions += 1;
            *racks.entry(seen.rack.clone()).or_default() += 1;
        }
    }
    let mut compared = 0;
    for (nth, placement) in plan.placements.iter().enumerate() {
        if nth % every == 0 {
            let best = nodes.iter().filter_map(|seen| worth(seen, ask, group, &racks));
            let best = best.max_by_key(|&(worth, slot)| (worth, std::cmp::Reverse(slot)));
            let (_, slot) = best.expect("something was placed, so there was room");
            assert_eq!(placement.slot, slot, "placement {nth} of {:?}", plan.job);
            compared += 1;
        }
        let seen = nodes.iter_mut().find(|seen| seen.slot == placement.slot);
        let seen = seen.expect("placed where the group may run");
        seen.used.add(ask.into());
        seen.collisions += 1;
        *racks.entry(seen.rack.clone()).or_default() += 1;
        for port in &placement.ports {
            assert!(seen.ports.insert(port.value), "a port is given once");
        }
    }
    let failed = matches!(&plan.verdict, Verdict::Done { failures, .. } if !failures.is_empty());
    if failed {
        let room = nodes.iter().filter_map(|seen| worth(seen, ask, group, &racks)).count();
        assert_eq!(room, 0, "what is said to fit nowhere fits nowhere");
        compared += 1;
    }
    compared
}

/// The node's score, if there is room.
fn worth(
    seen: &Seen,
    ask: Capacity,
    group: &Group,
    racks: &BTreeMap<String, i64>,
) -> Option<(i64, NodeSlot)> {
    let mut used = seen.used;
    used.add(ask.into());
    let within = used.cpu_mhz <= seen.usable.cpu_mhz
        && used.memory_mib <= seen.usable.memory_mib
        && used.disk_mib <= seen.usable.disk_mib;
    let (collisions, count) = (seen.collisions, group.count);
    let against = Against { collisions, count, failed_before: false };
    within.then(|| {
        let terms = leaning(seen, group, racks);
        (score_with(fit(Algorithm::Pack, seen.usable, used), against, terms), seen.slot)
    })
}

/// What affinities and a spread over racks say of the node.
fn leaning(seen: &Seen, group: &Group, racks: &BTreeMap<String, i64>) -> Terms {
    const ONE: i64 = 1 << 32;
    let weights: i64 = group.affinities.iter().map(|one| i64::from(one.weight).abs()).sum();
    let affinity = if weights == 0 { 0 } else { seen.weight * ONE / weights };
    let terms = Terms::default().with(affinity);
    let [spread] = &group.spreads[..] else { return terms };
    let own = racks.get(&seen.rack).copied().unwrap_or(0);
    if !spread.targets.is_empty() {
        let named: i64 = spread.targets.iter().map(|target| i64::from(target.percent)).sum();
        let target = spread.targets.iter().find(|target| target.value == seen.rack);
        let percent = target.map_or(100 - named, |target| i64::from(target.percent));
        let desired = percent * i64::from(group.count);
        return terms.with((desired - 100 * (own + 1)) * ONE / desired);
    }
    let (Some(&fewest), Some(&most)) = (racks.values().min(), racks.values().max()) else {
        return terms;
    };
    terms.with(match (own == fewest, fewest == most) {
        (false, _) => (fewest - own) * ONE / fewest,
        (true, true) => -ONE,
        (true, false) => ((most - fewest) * ONE / fewest).min(ONE),
    })
}
