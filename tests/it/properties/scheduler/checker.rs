//! What must hold of any plan, found by looking at everything, node by node and alloc by alloc.
//!
//! It shares nothing with the scheduler but the types: room is added up from the table of allocs, and
//! constraints are judged by a few plain rules.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::planner::View;
use drover_core::state::State;
use drover_core::types::*;

use super::leaning::{limits, value_of};

/// What is taken on one node, port by port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) cpu_mhz: u64,
    pub(crate) memory_mib: u64,
    pub(crate) disk_mib: u64,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) cores: BTreeSet<u16>,
    pub(crate) devices: BTreeSet<(DeviceName, String)>,
    pub(crate) alloc_count: u32,
}

impl Taken {
    /// Whether the node may have one alloc more.
    pub(crate) fn may_have_more(&self, node: &Node) -> bool {
        node.spec.allocs_max == 0 || self.alloc_count < node.spec.allocs_max
    }
}

/// Whether devices of the make would do: of the few demands that are drawn.
pub(crate) fn is_wanted(ask: &DeviceAsk, make: &DeviceGroup) -> bool {
    let is_large = make.attributes["memory"] == "16384 MiB";
    let is_named = ["gpu".to_owned(), "maker/gpu".to_owned(), make.name.to_string()];
    is_named.contains(&ask.name) && (ask.constraints.is_empty() || is_large)
}

/// What the make is worth to the task.
pub(crate) fn liking(ask: &DeviceAsk, make: &DeviceGroup) -> i8 {
    let is_large = make.attributes["memory"] == "16384 MiB";
    ask.affinities.first().filter(|_| is_large).map_or(0, |liked| liked.weight)
}

/// The makes that would do, with those of them that nobody has; the one that is liked best first, and of
/// those the one of which fewest are left.
pub(crate) fn free_devices<'a>(
    ask: &'a DeviceAsk,
    node: &'a Node,
    taken: &Taken,
) -> Vec<(&'a DeviceGroup, Vec<&'a String>)> {
    let makes = node.spec.pieces.iter().flat_map(|pieces| &pieces.devices);
    let mut free: Vec<_> = makes
        .filter(|make| is_wanted(ask, make))
        .map(|make| {
            let is_free =
                |id: &&String| !taken.devices.contains(&(make.name.clone(), (*id).clone()));
            (make, make.healthy().filter(is_free).collect::<Vec<_>>())
        })
        .filter(|(_, ids)| ask.count as usize <= ids.len())
        .collect();
    free.sort_by_key(|(make, ids)| (std::cmp::Reverse(liking(ask, make)), ids.len()));
    free
}

/// Whether there is one for each task. Each group that is drawn asks for devices once at most.
pub(crate) fn has_devices(group: &Group, node: &Node, taken: &Taken) -> bool {
    group.device_asks().all(|ask| !free_devices(ask, node, taken).is_empty())
}

/// What an alloc of the group takes of the node.
pub(crate) fn capacity_on(group: &Group, node: &Node) -> Capacity {
    let core_mhz = node.spec.pieces.as_ref().map_or(0, |pieces| pieces.core_mhz);
    let mut capacity = group.capacity().expect("a sum that fits");
    capacity.cpu_mhz += group.tasks.iter().map(|task| task.resources.cores * core_mhz).sum::<u32>();
    capacity
}

/// The cores of the node that nobody has, the lowest first.
pub(crate) fn free_cores(node: &Node, taken: &Taken) -> Vec<u16> {
    let offered = node.spec.pieces.as_ref().map(|pieces| pieces.cores.iter());
    offered.into_iter().flatten().filter(|core| !taken.cores.contains(core)).collect()
}

/// Each task is given as many cores as it asks for, of those that nobody has.
pub(crate) fn check_pieces(group: &Group, node: &Node, taken: &Taken, placement: &Placement) {
    let free = free_cores(node, taken);
    for task in &group.tasks {
        let given = placement.pieces.as_ref().and_then(|pieces| pieces.of_task(&task.name));
        let given = given.map_or_else(CoreSet::default, |given| given.cores.clone());
        assert!(given.count() == task.resources.cores, "as many cores as it asks for");
        assert!(given.iter().all(|core| free.contains(&core)), "a core that nobody has");
        let granted = placement.pieces.as_ref().and_then(|pieces| pieces.of_task(&task.name));
        let granted = granted.map_or(&[][..], |granted| &granted.devices);
        assert_eq!(granted.len(), task.resources.devices.len(), "each device is granted");
        for (ask, grant) in task.resources.devices.iter().zip(granted) {
            let makes = free_devices(ask, node, taken);
            let (_, free) =
                makes.iter().find(|(make, _)| make.name == grant.name).expect("it would do");
            assert_eq!(grant.ids.len(), ask.count as usize, "as many as it asks for");
            assert!(grant.ids.iter().all(|id| free.contains(&id)), "a device that nobody has");
        }
    }
}

impl Taken {
    pub(crate) fn add(&mut self, claim: Claim<'_>, what: &str) {
        let capacity = claim.capacity;
        self.alloc_count += 1;
        self.cpu_mhz += u64::from(capacity.cpu_mhz);
        self.memory_mib += u64::from(capacity.memory_mib);
        self.disk_mib += u64::from(capacity.disk_mib);
        for port in claim.ports {
            assert!(self.ports.insert(port.value), "{what}: port {} is taken twice", port.value);
        }
        for core in claim.pieces.into_iter().flat_map(Pieces::cores) {
            assert!(self.cores.insert(core), "{what}: core {core} is taken twice");
        }
        for (name, id) in claim.pieces.into_iter().flat_map(Pieces::devices) {
            let is_new = self.devices.insert((name.clone(), id.clone()));
            assert!(is_new, "{what}: {name} {id} is taken twice");
        }
    }

    pub(crate) fn is_within(&self, usable: Capacity) -> bool {
        self.cpu_mhz <= u64::from(usable.cpu_mhz)
            && self.memory_mib <= u64::from(usable.memory_mib)
            && self.disk_mib <= u64::from(usable.disk_mib)
    }
}

/// What is taken before the plan. A node that registered again may since reserve a port that is held.
pub(crate) fn taken_on(state: &State, node: &Node) -> Taken {
    let mut taken = Taken::default();
    for alloc in state.allocs_of_node(node.spec.id) {
        if !alloc.client_status.is_terminal() {
            taken.add(alloc.claim(), "before the plan");
        }
    }
    taken.ports.extend(&node.spec.reserved_ports);
    taken
}

/// Whether the node meets what job, group and tasks demand of it, devices and volumes included.
pub(crate) fn is_feasible(spec: &JobSpec, group: &Group, node: &Node) -> bool {
    let devices = group.device_asks().all(|ask| {
        let mut makes = node.spec.pieces.iter().flat_map(|pieces| &pieces.devices);
        makes.any(|make| is_wanted(ask, make) && ask.count as usize <= make.instances.len())
    });
    let beside_consul = node.spec.attributes.contains_key("consul.version");
    let volumes = group.volumes.values().all(|ask| {
        let volume = node.spec.host_volumes.get(&ask.source);
        volume.is_some_and(|volume| {
            volume.access == Access::ReadWrite || ask.access == Access::ReadOnly
        })
    });
    devices
        && volumes
        && (beside_consul || !group.has_services())
        && is_feasible_without_devices(spec, group, node)
}

/// The same, whatever devices and volumes it has, and whether or not Consul is there.
pub(crate) fn is_feasible_without_devices(spec: &JobSpec, group: &Group, node: &Node) -> bool {
    let drivers = group.tasks.iter().all(|task| {
        node.spec.drivers.get(&task.driver).is_some_and(|info| info.detected && info.healthy)
    });
    let tasks = group.tasks.iter().flat_map(|task| &task.constraints);
    let constraints = spec.constraints.iter().chain(&group.constraints).chain(tasks);
    let is_distinct = [Operator::DistinctHosts, Operator::DistinctProperty];
    let mut others = constraints.filter(|c| !is_distinct.contains(&c.operator));
    let datacenter = spec.datacenters.iter().any(|dc| dc == "*" || *dc == node.spec.datacenter);
    is_in_pool(spec, node)
        && datacenter
        && drivers
        && others.all(|constraint| holds(constraint, node))
}

pub(crate) fn is_in_pool(spec: &JobSpec, node: &Node) -> bool {
    let wanted = spec.node_pool.as_str();
    wanted == "all" || wanted == node.spec.pool.as_str()
}

/// Only what the generators of these tests write.
pub(crate) fn holds(constraint: &Constraint, node: &Node) -> bool {
    let key = constraint.left.trim_start_matches("${").trim_end_matches('}');
    let value = match key.split_once('.') {
        Some(("attr", rest)) => node.spec.attributes.get(rest).cloned(),
        Some(("meta", rest)) => node.spec.meta.get(rest).cloned(),
        Some(("node", "unique.name")) => Some(node.spec.name.clone()),
        Some(("node", "pool")) => Some(node.spec.pool.to_string()),
        Some(("node", "class")) => Some(node.spec.class.clone()),
        Some(("node", "datacenter")) => Some(node.spec.datacenter.clone()),
        other => panic!("not a target of these tests: {other:?}"),
    };
    match constraint.operator {
        Operator::Equal => value.as_ref() == Some(&constraint.right),
        Operator::NotEqual => value.as_ref() != Some(&constraint.right),
        Operator::Less => value.is_some_and(|v| {
            v.parse::<i64>().expect("a number") < constraint.right.parse().expect("a number")
        }),
        Operator::IsSet => value.is_some(),
        Operator::IsNotSet => value.is_none(),
        other => panic!("not an operator of these tests: {other:?}"),
    }
}

pub(crate) fn is_distinct(constraints: &[Constraint]) -> bool {
    constraints.iter().any(|c| c.operator == Operator::DistinctHosts)
}

/// Every promise of a plan.
pub(crate) fn check_plan(view: &View<'_>, plan: &Plan, budget: usize) {
    let state = view.state;
    let replacing = plan.placements.iter().filter_map(|placement| placement.previous);
    let replacing: BTreeSet<AllocId> = replacing.collect();
    let stopped: BTreeSet<AllocId> = plan.stops.iter().map(|stop| stop.alloc).collect();
    assert_eq!(stopped.len(), plan.stops.len(), "an alloc is stopped once");
    let changes = plan.placements.len() + plan.in_place.len();
    let alone = stopped.difference(&replacing).count();
    let changes = changes + alone;
    // What one alloc needs is not divided.
    let is_first = changes == 0;
    assert!(changes <= budget, "a plan stays within its budget");
    assert!(is_first || changes + plan.preempted.len() <= budget, "a plan stays within its budget");
    check_preempted(state, plan);
    for &id in &replacing {
        assert!(
            state.alloc(id).expect("a known alloc").next.is_none(),
            "an alloc is replaced once"
        );
    }
    if plan.placements.is_empty() {
        return;
    }
    check_room(state, plan);
    let job = state.job(plan.job).expect("a known job");
    if job.newest().spec.kind.is_on_every_node() {
        check_nodes(state, plan);
    } else {
        check_groups(state, plan, &stopped);
    }
}

/// One of a group on a node, and none beside one that has not ended.
fn check_nodes(state: &State, plan: &Plan) {
    let job = state.job(plan.job).expect("a known job");
    let mut taken: BTreeSet<(NodeId, &str)> = BTreeSet::new();
    for alloc in state.allocs_of_job(plan.job) {
        if !alloc.client_status.is_terminal() {
            taken.insert((alloc.node, state.group_name(alloc).expect("a kept version")));
        }
    }
    for placement in &plan.placements {
        let node = state.node_at(placement.slot).expect("a placement names a node");
        let group = &group_of(job, plan, placement).1;
        assert!(0 < group.count, "a group of none is placed nowhere");
        assert!(taken.insert((node.spec.id, &group.name)), "two of a group on one node");
    }
}

/// What is stopped for the job is another's, runs, and is less important by ten.
fn check_preempted(state: &State, plan: &Plan) {
    let of = |job: JobId, version: u64| {
        let job = state.job(job).expect("a known job");
        job.version(version).expect("a kept version").spec.priority
    };
    let distinct: BTreeSet<AllocId> = plan.preempted.iter().map(|one| one.alloc).collect();
    assert_eq!(distinct.len(), plan.preempted.len(), "an alloc is preempted once");
    for preempted in &plan.preempted {
        let alloc = state.alloc(preempted.alloc).expect("a known alloc");
        let runs = alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal();
        assert!(runs && alloc.job != plan.job, "only another's alloc that runs is preempted");
        let (own, other) = (of(plan.job, plan.version), of(alloc.job, alloc.version));
        assert!(other + 10 <= own, "priority {own} preempts {other}");
    }
}

/// The group that a placement is of, with its version's specification.
fn group_of<'a>(job: &'a Job, plan: &Plan, placement: &Placement) -> (&'a JobSpec, &'a Group) {
    let version = job.version(plan.version_of(placement)).expect("a kept version");
    (&version.spec, &version.spec.groups[usize::from(placement.group)])
}

/// What the placement takes.
pub(crate) fn claim_of<'a>(group: &Group, node: &Node, placement: &'a Placement) -> Claim<'a> {
    let (ports, pieces) = (&placement.ports, placement.pieces.as_deref());
    Claim { capacity: capacity_on(group, node), ports, pieces }
}

fn check_room(state: &State, plan: &Plan) {
    let job = state.job(plan.job).expect("a known job");
    let mut nodes: BTreeMap<NodeSlot, Taken> = BTreeMap::new();
    for placement in &plan.placements {
        let node = state.node_at(placement.slot).expect("a placement names a node");
        let (spec, group) = group_of(job, plan, placement);
        assert!(node.status == NodeStatus::Ready && node.eligible, "placed where nothing may go");
        assert!(is_feasible(spec, group, node), "placed against a constraint");
        let taken = nodes.entry(placement.slot).or_insert_with(|| taken_on(state, node));
        check_pieces(group, node, taken, placement);
        assert!(taken.may_have_more(node), "more allocs than the node may have");
        taken.add(claim_of(group, node, placement), "placed");
        assert!(taken.is_within(node.spec.usable()), "more is placed than the node has");
        let granted: Vec<_> = placement.ports.iter().map(|port| &port.label).collect();
        let asked: Vec<_> = group.network.ports.iter().map(|port| &port.label).collect();
        assert_eq!(granted, asked, "each port that was asked for is granted");
        for (ask, grant) in group.network.ports.iter().zip(&placement.ports) {
            let dynamic = DYNAMIC_PORT_MIN..=DYNAMIC_PORT_MAX;
            assert!(ask.fixed.map_or(dynamic.contains(&grant.value), |p| p == grant.value));
        }
    }
}

/// Counts and names per group, and hosts that must differ. Canaries are counted beside the others.
fn check_groups(state: &State, plan: &Plan, stopped: &BTreeSet<AllocId>) {
    let job = state.job(plan.job).expect("a known job");
    let spec = &job.version(plan.version).expect("a kept version").spec;
    let mut on_node: BTreeMap<(NodeSlot, usize), u32> = BTreeMap::new();
    for (at, group) in spec.groups.iter().enumerate() {
        let running = state.allocs_of_job(plan.job).filter(|alloc| {
            let old = &job.version(alloc.version).expect("a kept version").spec.groups
                [usize::from(alloc.group)];
            old.name == group.name
                && alloc.desired == DesiredStatus::Run
                && !alloc.client_status.is_terminal()
                && !stopped.contains(&alloc.id)
        });
        let (mut names, mut counts) = (BTreeSet::new(), [0, 0]);
        for alloc in running {
            counts[usize::from(alloc.canary)] += 1;
            names.insert((alloc.canary, alloc.ordinal));
            if let Some(slot) = state.slot_of(alloc.node) {
                *on_node.entry((slot, at)).or_default() += 1;
            }
        }
        let is_ours = |p: &&Placement| group_of(job, plan, p).1.name == group.name;
        let mut placed = [false, false];
        for placement in plan.placements.iter().filter(is_ours) {
            counts[usize::from(placement.canary)] += 1;
            placed[usize::from(placement.canary)] = true;
            let is_new = names.insert((placement.canary, placement.ordinal));
            assert!(is_new, "a name is given once");
            *on_node.entry((placement.slot, at)).or_default() += 1;
        }
        for (placed, count, most) in
            [(placed[0], counts[0], group.count), (placed[1], counts[1], group.update.canary)]
        {
            assert!(!placed || count <= most, "{count} allocs for a count of {most}");
        }
    }
    for (at, group) in spec.groups.iter().enumerate() {
        if is_distinct(&group.constraints) {
            let most = on_node.iter().filter(|((_, g), _)| *g == at).map(|(_, n)| *n).max();
            assert!(most <= Some(1), "two of a group that wants distinct hosts share one");
        }
        for (attribute, most) in limits(&group.constraints) {
            let mut sharing: BTreeMap<Option<String>, u32> = BTreeMap::new();
            // What runs already may stand where it may not be placed now.
            let is_placed = |slot| plan.placements.iter().any(|p| p.slot == slot);
            for ((slot, _), count) in on_node.iter().filter(|((_, g), _)| *g == at) {
                let node = state.node_at(*slot).expect("a known node");
                let value = value_of(attribute, node);
                assert!(value.is_some() || !is_placed(*slot), "placed without {attribute}");
                *sharing.entry(value).or_default() += count;
            }
            for placement in plan.placements.iter().filter(|p| usize::from(p.group) == at) {
                let node = state.node_at(placement.slot).expect("a known node");
                let count = sharing.get(&value_of(attribute, node)).copied();
                assert!(count <= Some(most), "{count:?} of {most} share {attribute}");
            }
        }
    }
    if is_distinct(&spec.constraints) {
        let mut of_job: BTreeMap<NodeSlot, u32> = BTreeMap::new();
        on_node.iter().for_each(|((slot, _), n)| *of_job.entry(*slot).or_default() += n);
        assert!(of_job.values().all(|&n| n <= 1), "two of a job on one host");
    }
}

/// Each placement of a plan that stops nothing went to a node that no other beat at that moment, by
/// Nomad's formula in floating point.
pub(crate) fn check_best(state: &State, plan: &Plan) {
    assert!(plan.stops.is_empty(), "only plans for jobs of which nothing runs");
    let spec = &state.job(plan.job).expect("a known job").newest().spec;
    let mut nodes: BTreeMap<NodeSlot, (Taken, u32)> = state
        .nodes()
        .filter(|node| node.status == NodeStatus::Ready && node.eligible)
        .map(|node| {
            (state.slot_of(node.spec.id).expect("a known node"), (taken_on(state, node), 0))
        })
        .collect();
    for placement in &plan.placements {
        let group = &spec.groups[usize::from(placement.group)];
        let distinct = is_distinct(&group.constraints) || is_distinct(&spec.constraints);
        let value = |slot: NodeSlot, (taken, crowd): &(Taken, u32)| {
            let node = state.node_at(slot).expect("a known node");
            let mut after = taken.clone();
            let clash = group
                .network
                .ports
                .iter()
                .any(|p| p.fixed.is_some_and(|p| after.ports.contains(&p)));
            let may_have_more = after.may_have_more(node);
            after.add(Claim::of(capacity_on(group, node), &[]), "tried");
            let possible = is_feasible(spec, group, node)
                && may_have_more
                && group.core_count() as usize <= free_cores(node, &after).len()
                && has_devices(group, node, &after)
                && after.is_within(node.spec.usable())
                && !clash
                && !(distinct && 0 < *crowd);
            possible.then(|| worth(&after, node.spec.usable(), *crowd, group.count))
        };
        let best = nodes.iter().filter_map(|(&slot, on)| value(slot, on)).fold(f64::MIN, f64::max);
        let chosen = value(placement.slot, &nodes[&placement.slot]).expect("a possible node");
        assert!(best - 1e-5 <= chosen, "chose {chosen}, but there was {best}");
        let (taken, crowd) = nodes.get_mut(&placement.slot).expect("a node that was looked at");
        let node = state.node_at(placement.slot).expect("a known node");
        taken.add(claim_of(group, node, placement), "placed");
        *crowd += 1;
    }
}

fn worth(after: &Taken, usable: Capacity, crowd: u32, count: u32) -> f64 {
    let free = |total: u32, used: u64| {
        if total == 0 { 0.0 } else { 1.0 - used as f64 / f64::from(total) }
    };
    let cpu = 10_f64.powf(free(usable.cpu_mhz, after.cpu_mhz));
    let memory = 10_f64.powf(free(usable.memory_mib, after.memory_mib));
    let fit = (20.0 - cpu - memory).clamp(0.0, 18.0) / 18.0;
    if crowd == 0 {
        return fit;
    }
    let collisions = (f64::from(crowd + 1) / f64::from(count)).min(1.0);
    f64::midpoint(fit, -collisions)
}
