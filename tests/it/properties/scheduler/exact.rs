//! Which node each alloc of a new job goes to, and what is said about it, by looking at every node.
use std::cmp::Reverse;
use std::collections::BTreeMap;

use drover_core::fsm::Command;
use drover_core::rng::Rng;
use drover_core::scheduler::score::{
    Against, DEVICES_KEPT, DevicesLeft, fit, fit_with_devices, permille, score_with,
};
use drover_core::state::State;
use drover_core::state::fits::Amounts;
use drover_core::types::*;

use super::checker::{
    Taken, capacity_on, claim_of, free_cores, free_devices, has_devices, is_distinct, is_feasible,
    is_in_pool, liking, taken_on,
};
use super::generate::{a_job, lean, something_happens};
use super::leaning::{is_kept_out, terms};
use super::{SEEDS, empty};

/// A node that may be placed on, in the job's pool and one of its datacenters.
struct Seen<'a> {
    node: &'a Node,
    taken: Taken,
    crowd: u32,
    is_feasible: bool,
    /// Somebody makes way there for another job that is as important.
    is_kept: bool,
}

/// Whether an alloc on the node has still to end for another job, which is not less important.
fn is_kept(state: &State, job: JobId, node: &Node) -> bool {
    let priority = |job: JobId| Some(state.job(job)?.newest().spec.priority);
    let waits = |by: JobId| by != job && state.job(by).is_some_and(|job| !job.stopped);
    let mut there =
        state.allocs_of_node(node.spec.id).filter(|alloc| !alloc.client_status.is_terminal());
    there.any(|alloc| {
        let by = alloc.preempted_by.filter(|&by| waits(by));
        by.is_some_and(|by| priority(job) <= priority(by))
    })
}

/// What is left of the node's devices once one more alloc has those that it asks for.
fn left_after(ask: &DeviceAsk, seen: &Seen<'_>) -> DevicesLeft {
    let (chosen, _) = free_devices(ask, seen.node, &seen.taken)[0];
    let mut left = DevicesLeft::default();
    for make in seen.node.spec.pieces.iter().flat_map(|pieces| &pieces.devices) {
        let ids: Vec<_> = make.healthy().map(|id| (make.name.clone(), id.clone())).collect();
        let taken = ids.iter().filter(|id| seen.taken.devices.contains(id)).count();
        left.total += u32::try_from(ids.len()).expect("a small number");
        left.free += u32::try_from(ids.len() - taken).expect("a small number");
        if make.name == chosen.name {
            left.is_begun = 0 < taken;
        }
    }
    left.free -= ask.count;
    left
}

/// One group of a job of which nothing runs.
struct Look<'a> {
    spec: &'a JobSpec,
    group: &'a Group,
    algorithm: Algorithm,
    nodes: BTreeMap<NodeSlot, Seen<'a>>,
    in_pool_count: usize,
}

impl<'a> Look<'a> {
    /// At the state, with what `ahead` has placed and is not applied.
    fn at(state: &'a State, job: JobId, ahead: &Plan) -> Self {
        let spec = &state.job(job).expect("a known job").newest().spec;
        let group = &spec.groups[0];
        let in_pool = state.nodes().filter(|node| {
            let ready = node.status == NodeStatus::Ready && node.eligible;
            ready && is_in_pool(spec, node)
        });
        let in_pool: Vec<&Node> = in_pool.collect();
        let ready = in_pool.iter().filter(|node| {
            let within = |dc: &String| dc == "*" || *dc == node.spec.datacenter;
            spec.datacenters.iter().any(within)
        });
        let nodes = ready.map(|node| {
            let seen = Seen {
                node,
                taken: taken_on(state, node),
                crowd: 0,
                is_feasible: is_feasible(spec, group, node),
                is_kept: is_kept(state, job, node),
            };
            (state.slot_of(node.spec.id).expect("a known node"), seen)
        });
        let gpu = state.made_pool("gpu").filter(|pool| pool.spec.name == spec.node_pool);
        let own = gpu.and_then(|pool| pool.spec.scheduler.algorithm);
        let algorithm = own.unwrap_or(state.scheduler().config.algorithm);
        let (nodes, in_pool_count) = (nodes.collect(), in_pool.len());
        let mut look = Self { spec, group, algorithm, nodes, in_pool_count };
        let other = &state.job(ahead.job).expect("a known job").newest().spec;
        for placement in &ahead.placements {
            let group = &other.groups[usize::from(placement.group)];
            if let Some(seen) = look.nodes.get_mut(&placement.slot) {
                seen.taken.add(claim_of(group, seen.node, placement), "ahead");
            }
        }
        look
    }

    /// How many of the group are on each node.
    fn placed(&self) -> Vec<(&Node, u32)> {
        self.nodes.values().map(|seen| (seen.node, seen.crowd)).collect()
    }

    /// Whether others of the job keep it from the node.
    fn is_crowded(&self, seen: &Seen<'_>) -> bool {
        let distinct = is_distinct(&self.spec.constraints) || is_distinct(&self.group.constraints);
        let kept_out = || is_kept_out((self.spec, self.group), seen.node, &self.placed());
        distinct && 0 < seen.crowd || kept_out()
    }

    /// What the node lacks first, in words.
    fn lacking(&self, seen: &Seen<'_>) -> Option<String> {
        if seen.is_kept {
            return Some("kept for an important job".to_owned());
        }
        let ask = capacity_on(self.group, seen.node);
        let (usable, taken) = (seen.node.spec.usable(), &seen.taken);
        let short = |used: u64, ask: u32, total: u32| u64::from(total) < used + u64::from(ask);
        if short(taken.cpu_mhz, ask.cpu_mhz, usable.cpu_mhz) {
            return Some("cpu".to_owned());
        }
        if short(taken.memory_mib, ask.memory_mib, usable.memory_mib) {
            return Some("memory".to_owned());
        }
        if short(taken.disk_mib, ask.disk_mib, usable.disk_mib) {
            return Some("disk".to_owned());
        }
        if !taken.may_have_more(seen.node) {
            return Some("max allocations exceeded".to_owned());
        }
        let fixed = self.group.network.ports.iter().filter_map(|port| Some((port, port.fixed?)));
        let mut clashes = fixed.filter(|(_, value)| taken.ports.contains(value));
        if let Some((port, value)) = clashes.next() {
            return Some(format!("network: reserved port collision {}={value}", port.label));
        }
        if free_cores(seen.node, taken).len() < self.group.core_count() as usize {
            return Some("cores".to_owned());
        }
        (!has_devices(self.group, seen.node, taken)).then(|| "devices".to_owned())
    }

    fn worth(&self, slot: NodeSlot, seen: &Seen<'_>) -> Option<(i64, Reverse<NodeSlot>)> {
        if !seen.is_feasible || self.is_crowded(seen) || self.lacking(seen).is_some() {
            return None;
        }
        let mut used = Amounts::from(capacity_on(self.group, seen.node));
        used.cpu_mhz += seen.taken.cpu_mhz;
        used.memory_mib += seen.taken.memory_mib;
        used.disk_mib += seen.taken.disk_mib;
        let (collisions, count) = (seen.crowd, self.group.count);
        let against = Against { collisions, count, failed_before: false };
        let mut terms = terms((self.spec, self.group), seen.node, &self.placed());
        for ask in self.group.device_asks().filter(|ask| !ask.affinities.is_empty()) {
            let (make, _) = free_devices(ask, seen.node, &seen.taken)[0];
            // One affinity: all of it, or nothing, which counts as well.
            terms = terms.of_devices(liking(ask, make).signum());
        }
        let mut fit = fit(self.algorithm, seen.node.spec.usable().into(), used);
        if self.algorithm == Algorithm::Pack {
            if let Some(ask) = self.group.device_asks().next() {
                fit = fit_with_devices(fit, left_after(ask, seen));
            }
            if self.leaves_devices_idle(seen) {
                terms = terms.with(DEVICES_KEPT);
            }
        }
        Some((score_with(fit, against, terms), Reverse(slot)))
    }

    /// Whether the node has devices of which the group asks for none.
    fn leaves_devices_idle(&self, seen: &Seen<'_>) -> bool {
        let mut makes = seen.node.spec.pieces.iter().flat_map(|pieces| &pieces.devices);
        let has_some = makes.any(|make| make.healthy().next().is_some());
        has_some && self.group.device_asks().next().is_none()
    }

    fn filtered_count(&self) -> usize {
        let out = |seen: &&Seen<'_>| !seen.is_feasible || self.is_crowded(seen);
        self.nodes.values().filter(out).count()
    }

    /// Compare one placement, and take it in.
    fn take(&mut self, placement: &Placement) {
        let best = self.nodes.iter().filter_map(|(&slot, seen)| self.worth(slot, seen)).max();
        let (worth, Reverse(slot)) = best.expect("something was placed, so there is room");
        assert_eq!(placement.slot, slot, "the best, and of the best the lowest");
        let note = placement.note;
        assert_eq!(note.score_permille, permille(worth));
        assert_eq!(note.nodes_evaluated as usize, self.nodes.len(), "every node is evaluated");
        assert_eq!(note.nodes_filtered as usize, self.filtered_count(), "what may not be is said");
        let room = note.nodes_evaluated - note.nodes_filtered;
        assert!(note.nodes_exhausted < room, "the one that was chosen had room");
        let seen = self.nodes.get_mut(&slot).expect("a node that was looked at");
        let mut lowest = free_cores(seen.node, &seen.taken);
        lowest.truncate(self.group.core_count() as usize);
        let mut given: Vec<u16> = placement.pieces.iter().flat_map(|has| has.cores()).collect();
        given.sort_unstable();
        assert_eq!(given, lowest, "the lowest that nobody has");
        for ask in self.group.device_asks() {
            let (make, ids) = &free_devices(ask, seen.node, &seen.taken)[0];
            let first: Vec<_> =
                ids.iter().take(ask.count as usize).map(|&id| (&make.name, id)).collect();
            let pieces = placement.pieces.as_ref().expect("it is given what it asks for");
            assert_eq!(pieces.devices().collect::<Vec<_>>(), first, "the first of the best");
        }
        seen.taken.add(claim_of(self.group, seen.node, placement), "placed");
        seen.crowd += 1;
    }

    fn check_failure(&self, failure: &PlacementFailure) {
        assert_eq!(failure.nodes_evaluated as usize, self.nodes.len());
        assert_eq!(failure.nodes_in_pool as usize, self.in_pool_count);
        assert_eq!(failure.filtered.values().sum::<u32>() as usize, self.filtered_count());
        let mut exhausted: BTreeMap<String, u32> = BTreeMap::new();
        for seen in self.nodes.values().filter(|seen| seen.is_feasible && !self.is_crowded(seen)) {
            let lacking = self.lacking(seen).expect("what has room is placed on");
            *exhausted.entry(lacking).or_default() += 1;
        }
        assert_eq!(failure.exhausted, exhausted, "each node is counted for what it lacks first");
    }
}

#[test]
fn each_alloc_goes_where_a_look_at_every_node_would_send_it() {
    let (mut placed, mut failed, mut beside) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (mut cluster, mut rng) = empty(seed);
        let all = [Algorithm::Pack, Algorithm::BinPack, Algorithm::Spread];
        let one_of_all = |rng: &mut Rng| all[usize::try_from(rng.between(0, 2)).expect("small")];
        let algorithm = one_of_all(&mut rng);
        let own = rng.chance(600).then(|| one_of_all(&mut rng));
        let scheduler = PoolScheduler { algorithm: own, memory_oversubscription: None };
        let name = PoolName::of("gpu");
        cluster.run(Command::UpsertNodePool {
            spec: PoolSpec { name, scheduler, ..PoolSpec::default() },
        });
        let config = SchedulerConfig { algorithm, ..SchedulerConfig::default() };
        cluster.run(Command::SetSchedulerConfig { config, check_index: None });
        for nth in 0..12_u64 {
            for _ in 0..3 {
                something_happens(&mut cluster, &mut rng);
                cluster.settle();
            }
            // One plan is under way while the next is made.
            let fresh = |rng: &mut Rng, name: &str| {
                // The types of which each alloc has a choice.
                let spec = a_job(rng, nth % 4);
                let mut spec = if rng.chance(600) { lean(rng, spec) } else { spec };
                spec.id = format!("{name}{nth}");
                spec.groups.truncate(1);
                spec.groups[0].count += 1;
                spec
            };
            let (other, job) = (fresh(&mut rng, "ahead"), fresh(&mut rng, "new"));
            let (other, job) = (cluster.register(&other), cluster.register(&job));
            let ahead = cluster.plan_of(other);
            cluster.in_flight.on_proposed(&cluster.state, &ahead);
            let plan = cluster.plan_of(job);
            let mut look = Look::at(&cluster.state, job, &ahead);
            plan.placements.iter().for_each(|placement| look.take(placement));
            if let Verdict::Done { failures, .. } = &plan.verdict {
                failures.values().for_each(|failure| look.check_failure(failure));
                failed += failures.len();
            }
            placed += plan.placements.len();
            beside += ahead.placements.len();
            cluster.in_flight.clear();
            cluster.settle();
        }
    }
    assert!(200 < placed && 200 < failed && 200 < beside, "{placed} {failed} {beside}");
}
