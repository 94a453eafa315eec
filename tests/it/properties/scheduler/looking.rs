//! What is told of where the next alloc goes is where it goes.
use drover_core::scheduler::{Asked, Look, Sought, look};
use drover_core::types::*;

use super::checker::is_feasible;
use super::generate::{a_job, lean, something_happens};
use super::rig::{Cluster, constraint, node, service};
use super::{SEEDS, empty};

/// What a node is asked before its room is.
const DEMANDS: &[Asked] = FOR_GOOD.split_at(7).0;

/// What can only become worse while a plan is made: other allocs of it may make way, room does not grow.
const FOR_GOOD: [Asked; 15] = [
    Asked::Pool,
    Asked::Datacenter,
    Asked::Driver,
    Asked::Device,
    Asked::Volume,
    Asked::Consul,
    Asked::Constraint,
    Asked::Node,
    Asked::Cpu,
    Asked::Memory,
    Asked::Disk,
    Asked::Allocs,
    Asked::Cores,
    Asked::Devices,
    Asked::Port,
];

/// How often each thing was seen.
#[derive(Debug, Default)]
struct Seen {
    first: u32,
    everywhere: u32,
    nowhere: u32,
    unmet: u32,
}

fn asked_about(cluster: &Cluster, job: JobId, sought: Sought) -> Look {
    let due = |eval: &&Evaluation| eval.wait_until.is_none_or(|at| at <= cluster.stamp);
    let eval = cluster.state.pending_evals_of_job(job).rfind(due).expect("a pending evaluation");
    look(&cluster.view(), eval, cluster.seed, sought).expect("a job that runs")
}

/// Hold what is told of the group against the plan.
fn check(cluster: &Cluster, plan: &Plan, group: usize, seen: &mut Seen) {
    let told = asked_about(cluster, plan.job, Sought { group, ..Sought::default() });
    let of_group = |placement: &&Placement| {
        usize::from(placement.group) == group && placement.version.is_none()
    };
    let placed: Vec<&Placement> = plan.placements.iter().filter(of_group).collect();
    if cluster.is_everywhere(plan.job) {
        let slots: Vec<NodeSlot> = placed.iter().map(|placement| placement.slot).collect();
        let candidates: Vec<NodeSlot> = told.candidates.iter().map(|one| one.slot).collect();
        assert_eq!(slots, candidates, "each candidate gets its own");
        seen.everywhere += u32::try_from(slots.len()).expect("a few");
    } else if let (0, Some(_)) = (told.missing_count, placed.first()) {
        panic!("nothing was missing, and something was placed");
    } else if let (Some(best), 1..) = (told.candidates.first(), told.missing_count) {
        let first = placed.first().expect("the next alloc has a candidate");
        assert_eq!(first.slot, best.slot, "the next alloc goes to the first candidate");
        let note = first.note;
        let fit_alone = ScoreParts { fit: note.score_permille, ..ScoreParts::default() };
        let parts = note.parts.unwrap_or(fit_alone);
        assert_eq!((best.score_permille, best.parts), (note.score_permille, parts));
        assert_eq!(note.nodes_evaluated, told.looked_at.nodes_evaluated);
        assert_eq!(note.nodes_filtered, told.looked_at.filtered.values().sum::<u32>());
        seen.first += 1;
    } else if told.candidates.is_empty() {
        seen.nowhere += 1;
    }
    let spec = &cluster.state.job(plan.job).expect("a job").newest().spec;
    for node in cluster.state.nodes() {
        let slot = cluster.state.slot_of(node.spec.id).expect("a node");
        let sought = Sought { group, node: Some(slot), without: None };
        let tried = asked_about(cluster, plan.job, sought).tried.expect("it was asked for");
        let mut demands = tried.iter().filter(|one| DEMANDS.contains(&one.asked));
        let is_fit = demands.all(|one| one.is_met);
        assert_eq!(is_fit, is_feasible(spec, &spec.groups[group], node));
        let unmet = tried.iter().find(|one| !one.is_met && FOR_GOOD.contains(&one.asked));
        if let Some(unmet) = unmet {
            let chosen = placed.iter().any(|placement| placement.slot == slot);
            assert!(!chosen, "it lacks {unmet:?} and was chosen");
            seen.unmet += 1;
        }
    }
}

#[test]
fn the_next_alloc_goes_to_the_first_candidate_and_never_where_something_is_unmet() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS / 2 {
        let (mut cluster, mut rng) = empty(seed);
        // Some are alike: which of them is first is told too.
        (50..53).for_each(|id| cluster.add_node(node(id)));
        for nth in 0..14 {
            something_happens(&mut cluster, &mut rng);
            let plain = a_job(&mut rng, nth);
            let spec = if rng.chance(600) { lean(&mut rng, plain) } else { plain };
            if rng.chance(500) && cluster.state.job_named("default", &spec.id).is_none() {
                cluster.register(&spec);
            }
            let runs = |job: &&Job| !job.stopped && !job.purged;
            let jobs: Vec<JobId> = cluster.state.jobs().filter(runs).map(|job| job.id).collect();
            for job in jobs {
                cluster.evaluate(job);
                let plan = cluster.plan_of(job);
                let groups = cluster.state.job(job).expect("a job").newest().spec.groups.len();
                (0..groups).for_each(|group| check(&cluster, &plan, group, &mut seen));
            }
            cluster.settle();
        }
    }
    let Seen { first, everywhere, nowhere, unmet } = seen;
    assert!(90 < first && 100 < everywhere && 100 < nowhere && 2_000 < unmet, "{seen:?}");
}

#[test]
fn a_node_says_what_it_has_of_each_thing_that_is_asked() {
    let mut cluster = Cluster::with_nodes(2);
    let mut spec = node(3);
    spec.attributes.insert("kernel.name".to_owned(), "darwin".to_owned());
    spec.capacity.memory_mib = 100;
    cluster.add_node(spec);
    let mut spec = service(2);
    spec.groups[0].constraints.push(constraint("", "distinct_hosts", ""));
    let job = cluster.register(&spec);
    let told = |cluster: &Cluster, id: u128| {
        let slot = cluster.state.slot_of(NodeId(id));
        let look = asked_about(cluster, job, Sought { node: slot, ..Sought::default() });
        let unmet = look.tried.expect("it was asked for").into_iter().filter(|one| !one.is_met);
        let said = unmet.map(|one| {
            format!("{}: {}", one.demand, one.found.unwrap_or_else(|| "nothing".to_owned()))
        });
        (said.collect::<Vec<_>>(), look.missing_count, look.candidates.len())
    };
    let darwin = "${attr.kernel.name} = linux: darwin";
    let small = "256 MiB: 100 MiB free of 100";
    assert_eq!(told(&cluster, 3), (vec![darwin.to_owned(), small.to_owned()], 2, 2));
    assert_eq!(told(&cluster, 1), (vec![], 2, 2));
    cluster.settle();
    cluster.evaluate(job);
    let taken = "distinct_hosts: 1 allocs of the group".to_owned();
    assert_eq!(told(&cluster, 1), (vec![taken], 0, 0));
    cluster.mark(2, NodeStatus::Down);
    let shut = "ready and eligible: down".to_owned();
    assert_eq!(told(&cluster, 2).0, [shut]);
}

#[test]
fn an_alloc_that_is_left_out_leaves_its_place_to_the_next() {
    let mut cluster = Cluster::with_nodes(3);
    let job = cluster.with_running(&service(3));
    let alloc = cluster.live(job)[1].clone();
    cluster.evaluate(job);
    let whole = asked_about(&cluster, job, Sought::default());
    let without = Sought { without: Some(alloc.id), ..Sought::default() };
    let without = asked_about(&cluster, job, without);
    assert_eq!((whole.missing_count, without.missing_count), (0, 1));
}
