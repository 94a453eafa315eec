//! Jobs that run on every node: a plan in words, and what holds of every history.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::fsm::Command;
use drover_core::rng::Rng;
use drover_core::time::WallTime;
use drover_core::types::*;

use super::checker::{
    capacity_on, free_cores, has_devices, is_feasible, is_feasible_without_devices, taken_on,
};
use super::generate::{a_job, a_node};
use super::rig::{BUDGET, Cluster, constraint, job, node};

impl Cluster {
    pub(super) fn is_everywhere(&self, job: JobId) -> bool {
        self.state.job(job).is_some_and(|job| job.newest().spec.kind.is_on_every_node())
    }

    /// Where a plan does what: `place n1 n3; stop n2 lost; in place n4; queued 1; next in 30 s`.
    pub(super) fn told_by_node(&self, plan: &Plan) -> String {
        let name = |node: Option<&Node>| node.map_or("?".to_owned(), |node| node.spec.name.clone());
        let on = |id: AllocId| {
            let alloc = self.state.alloc(id).expect("a known alloc");
            name(self.state.node(alloc.node))
        };
        let mut parts: BTreeMap<(u8, &str), Vec<String>> = BTreeMap::new();
        for placement in &plan.placements {
            let node = name(self.state.node_at(placement.slot));
            parts.entry((0, "place")).or_default().push(node);
        }
        for stop in &plan.stops {
            let word = match stop.reason {
                StopReason::NotNeeded => "not needed",
                StopReason::Updated => "updated",
                StopReason::NodeLost => "lost",
                StopReason::Rescheduled => "rescheduled",
                StopReason::Migrating => "migrating",
                StopReason::Drained => "drained",
            };
            parts.entry((1, word)).or_default().push(on(stop.alloc));
        }
        let in_place = plan.in_place.iter().map(|&id| on(id));
        parts.entry((2, "in place")).or_default().extend(in_place);
        let preempted = plan.preempted.iter().map(|one| on(one.alloc));
        parts.entry((3, "preempt on")).or_default().extend(preempted);
        parts.retain(|_, nodes| !nodes.is_empty());
        let mut said: Vec<String> = parts
            .into_iter()
            .map(|((kind, word), mut nodes)| {
                nodes.sort();
                let nodes = nodes.join(" ");
                if kind == 1 { format!("stop {nodes} {word}") } else { format!("{word} {nodes}") }
            })
            .collect();
        match &plan.verdict {
            Verdict::More => said.push("more".to_owned()),
            Verdict::Done { queued, .. } => {
                let queued: u32 = queued.values().sum();
                said.extend((0 < queued).then(|| format!("queued {queued}")));
            }
        }
        let wait = |due: WallTime| format!("next in {} s", due.ms_since(self.stamp) / 1_000);
        said.extend(plan.next_step.map(wait));
        if said.is_empty() { "nothing".to_owned() } else { said.join("; ") }
    }
}

/// Of the group on the node: what runs, and whether it is done there.
fn on_node<'a>(
    cluster: &'a Cluster,
    job: &Job,
    group: &str,
    node: NodeId,
) -> (Vec<&'a Allocation>, bool) {
    let newest = job.newest();
    let ours = cluster.state.allocs_of_node(node).filter(|alloc| {
        alloc.job == job.id
            && alloc.desired == DesiredStatus::Run
            && alloc.next.is_none()
            && cluster.state.group_name(alloc) == Some(group)
    });
    let (ended, live): (Vec<_>, Vec<_>) = ours.partition(|a| a.client_status.is_terminal());
    let is_done = ended.iter().any(|alloc| {
        let is_over = alloc.client_status == ClientStatus::Failed || newest.spec.kind.ends();
        alloc.version == newest.version && is_over
    });
    (live, is_done)
}

fn has_room(cluster: &Cluster, group: &Group, node: &Node) -> bool {
    let mut taken = taken_on(&cluster.state, node);
    let mut fixed = group.network.ports.iter().filter_map(|port| port.fixed);
    let is_free = fixed.all(|port| !taken.ports.contains(&port));
    let may_have_more = taken.may_have_more(node);
    taken.add(Claim::of(capacity_on(group, node), &[]), "tried");
    let has_cores = group.core_count() as usize <= free_cores(node, &taken).len();
    let has_devices = has_devices(group, node, &taken);
    may_have_more && is_free && has_cores && has_devices && taken.is_within(node.spec.usable())
}

/// Every node that takes new allocs and meets the demands has one of each group, or is done with it.
pub(super) fn check_all(cluster: &Cluster, job: &Job, seed: u64) {
    let newest = job.newest();
    for group in &newest.spec.groups {
        for node in cluster.state.nodes() {
            let is_open = node.status == NodeStatus::Ready && node.eligible;
            let is_meant = 0 < group.count && is_feasible(&newest.spec, group, node);
            let (live, is_done) = on_node(cluster, job, &group.name, node.spec.id);
            let what = format!("seed {seed}: {} on {}", newest.spec.id, node.spec.name);
            // What runs beside devices that have gone stays.
            let may_stay =
                0 < group.count && is_feasible_without_devices(&newest.spec, group, node);
            let most = usize::from(may_stay || !is_open);
            assert!(live.len() <= most, "{what}: {} run", live.len());
            if is_open && is_meant {
                let waits = cluster.blocked(job.id).is_some() && !has_room(cluster, group, node);
                assert!(is_done || live.len() == 1 || waits, "{what}: none runs");
                let is_newest = live.iter().all(|alloc| alloc.version == newest.version);
                assert!(is_newest, "{what}: an old version runs");
            }
        }
    }
}

#[test]
fn a_node_that_comes_or_changes_wakes_the_jobs_that_have_something_to_do_there_and_no_others() {
    let mut woken = [0, 0];
    for seed in 0..60 {
        let mut rng = Rng::from_seed(seed);
        let mut cluster = Cluster::with_nodes(0);
        for id in 1..=4 {
            let mut spec = a_node(&mut rng, id);
            // Room is another matter.
            spec.capacity = Capacity { cpu_mhz: 90_000, memory_mib: 90_000, disk_mib: 90_000 };
            spec.allocs_max = 0;
            cluster.add_node(spec);
        }
        for nth in [4, 5, 10, 11, 16, 17] {
            let mut spec = a_job(&mut rng, nth);
            spec.groups.iter_mut().for_each(|group| group.network.ports.clear());
            cluster.register(&spec);
        }
        cluster.settle();
        cluster.clients_act();
        for _ in 0..6 {
            let id = u128::from(rng.between(1, 6));
            let mut spec = a_node(&mut rng, id);
            spec.capacity = Capacity { cpu_mhz: 90_000, memory_mib: 90_000, disk_mib: 90_000 };
            spec.allocs_max = 0;
            cluster.run(Command::RegisterNode { spec: spec.into() });
            cluster.settle();
            let before = cluster.state.index();
            cluster.mark(id, NodeStatus::Ready);
            let state = &cluster.state;
            let made = state.evals().filter(|eval| before < eval.modify_index);
            let made: BTreeSet<JobId> = made.map(|eval| eval.job).collect();
            let node = state.node(NodeId(id)).expect("it has just registered");
            for job in state.jobs() {
                let spec = &job.newest().spec;
                let has_to_do = spec.groups.iter().any(|group| {
                    let (live, is_done) = on_node(&cluster, job, &group.name, node.spec.id);
                    let spec_with =
                        NodeSpec { drivers: self::node(1).drivers, ..node.spec.clone() };
                    let with_drivers = Node { spec: spec_with, ..node.clone() };
                    if live.is_empty() {
                        0 < group.count && !is_done && is_feasible(spec, group, node)
                    } else {
                        !is_feasible_without_devices(spec, group, &with_drivers)
                    }
                });
                assert_eq!(made.contains(&job.id), has_to_do, "seed {seed}: {}", spec.id);
                woken[usize::from(has_to_do)] += 1;
            }
            cluster.settle();
            cluster.clients_act();
            cluster.settle();
            cluster.clients_act();
        }
    }
    assert!(woken.iter().all(|&count| 100 < count), "both happen: {woken:?}");
}

#[test]
fn nodes_that_come_together_are_seen_to_together() {
    let mut cluster = Cluster::with_nodes(1);
    let id = cluster.with_running(&job(JobKind::System, 1));
    for id in 2..=200 {
        cluster.add_node(node(id));
    }
    let waiting = cluster.state.pending_evals_of_job(id).count();
    assert_eq!(waiting, 2, "one may be on its way, one sees to all that came since");
    cluster.settle();
    cluster.clients_act();
    assert_eq!(cluster.live(id).len(), 200);
    assert_eq!(cluster.state.evals_of_job(id).count(), 3);
}

#[test]
fn what_is_seen_to_by_an_evaluation_in_waiting_is_not_settled_by_an_older_plan() {
    let mut cluster = Cluster::with_nodes(1);
    let id = cluster.with_running(&job(JobKind::System, 1));
    cluster.add_node(node(2));
    cluster.add_node(node(3));
    // A plan is made, and a node comes before it is applied.
    let first = cluster.state.pending_evals_of_job(id).next().expect("one waits").clone();
    let plan = drover_core::scheduler::schedule(&cluster.view(), &first, 1, BUDGET);
    assert_eq!(plan.placements.len(), 2);
    cluster.add_node(node(4));
    cluster.run(Command::ApplyPlan(plan));
    cluster.settle();
    assert_eq!(cluster.live(id).len(), 4);
}

#[test]
fn what_a_plan_knew_of_a_node_must_still_hold_when_it_is_applied() {
    let mut cluster = Cluster::with_nodes(2);
    let mut spec = job(JobKind::System, 1);
    spec.constraints.push(constraint("${meta.rack}", "is_not_set", ""));
    let id = cluster.register(&spec);
    let plan = cluster.plan_of(id);
    assert_eq!(plan.placements.len(), 2);
    let mut moved = node(2);
    moved.meta.insert("rack".to_owned(), "1".to_owned());
    cluster.add_node(moved);
    cluster.run(Command::ApplyPlan(plan));
    assert_eq!(cluster.live(id).len(), 1, "it is not the node that was looked at");
}

#[test]
fn a_plan_is_cut_at_its_budget_and_goes_on() {
    let mut cluster = Cluster::with_nodes(23);
    cluster.budget = 5;
    let mut spec = job(JobKind::System, 1);
    let id = cluster.register(&spec);
    assert_eq!(cluster.plan_of(id).verdict, Verdict::More);
    cluster.settle();
    cluster.clients_act();
    assert_eq!(cluster.live(id).len(), 23);
    spec.groups[0].tasks[0].config_json.push(' ');
    cluster.register(&spec);
    for _ in 0..3 {
        cluster.settle();
        cluster.clients_act();
    }
    let live = cluster.live(id);
    assert!(live.len() == 23 && live.iter().all(|alloc| alloc.version == 1));
}

#[test]
fn an_update_takes_no_more_nodes_within_a_stagger_than_it_may() {
    for seed in 0..30 {
        let mut rng = Rng::from_seed(seed);
        let count = rng.between(3, 12);
        let mut cluster = Cluster::with_nodes(u128::from(count));
        let most = rng.between(1, 4);
        let mut spec = job(JobKind::System, 1);
        spec.groups[0].update.parallel_max = u32::try_from(most).expect("a small number");
        spec.groups[0].update.stagger_ms = 10_000;
        let id = cluster.with_running(&spec);
        spec.groups[0].tasks[0].config_json.push(' ');
        cluster.register(&spec);
        // When each node was taken.
        let mut taken: BTreeMap<AllocId, WallTime> = BTreeMap::new();
        for _ in 0..400 {
            match rng.between(0, 3) {
                0 => cluster.clients_act(),
                1 => cluster.evaluate(id),
                _ => cluster.wait_ms(rng.between(1, 4_000)),
            }
            cluster.settle();
            let stopped = cluster
                .state
                .allocs_of_job(id)
                .filter(|alloc| alloc.version == 0 && alloc.desired == DesiredStatus::Stop);
            for alloc in stopped {
                taken.entry(alloc.id).or_insert(cluster.stamp);
            }
            let recent = taken.values().filter(|&&at| cluster.stamp.ms_since(at) < 10_000);
            assert!(recent.count() as u64 <= most, "seed {seed}");
        }
        assert_eq!(taken.len() as u64, count, "seed {seed}: the update ends");
        assert!(cluster.live(id).iter().all(|alloc| alloc.version == 1));
    }
}
