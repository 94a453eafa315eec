//! What holds of every deployment, whatever happens to its job, its allocs and its nodes.
use drover_core::fsm::Command;
use drover_core::rng::Rng;
use drover_core::types::*;
use drover_sim::checkers::{deployments_end, max_parallel};

use super::rig::*;

const SEEDS: u64 = 60;

fn below(rng: &mut Rng, bound: u64) -> u64 {
    rng.between(0, bound - 1)
}

fn small(rng: &mut Rng, bound: u64) -> u32 {
    u32::try_from(below(rng, bound)).expect("a small number")
}

fn a_policy(rng: &mut Rng) -> UpdatePolicy {
    UpdatePolicy {
        parallel_max: small(rng, 4),
        canary: if rng.chance(400) { small(rng, 5) } else { 0 },
        auto_promote: rng.chance(500),
        auto_revert: rng.chance(500),
        progress_deadline_ms: if rng.chance(200) { 0 } else { 600_000 },
        ..UpdatePolicy::default()
    }
}

/// The job with another program, count or policy.
fn another(rng: &mut Rng, spec: &JobSpec) -> JobSpec {
    let mut spec = spec.clone();
    let group = &mut spec.groups[0];
    if rng.chance(800) {
        group.tasks[0].config_json = below(rng, 1_000).to_string();
    }
    if rng.chance(300) {
        group.count = small(rng, 7);
    }
    group.update = a_policy(rng);
    spec
}

fn steer(cluster: &mut Cluster, rng: &mut Rng, job: JobId) {
    let newest = cluster.state.deployments_of_job(job).last();
    let Some(deployment) = newest.map(|one| one.id) else { return };
    let spec = &cluster.state.job(job).expect("a known job").newest().spec;
    let (namespace, name) = (spec.namespace.clone(), spec.id.clone());
    cluster.run(match below(rng, 8) {
        0..=2 => Command::PromoteDeployment { deployment, groups: vec![] },
        3 => Command::PauseDeployment { deployment, pause: true },
        4 | 5 => Command::PauseDeployment { deployment, pause: false },
        6 => Command::FailDeployment { deployment },
        _ => {
            Command::RevertJob { namespace, job: name, version: below(rng, 4), enforce_prior: None }
        }
    });
}

fn touch_an_alloc(cluster: &mut Cluster, rng: &mut Rng, job: JobId) {
    let live: Vec<(u32, AllocId)> =
        cluster.live(job).into_iter().map(|alloc| (alloc.ordinal, alloc.id)).collect();
    if live.is_empty() {
        return;
    }
    let at = usize::try_from(below(rng, live.len() as u64)).expect("a position");
    let (ordinal, alloc) = live[at];
    match below(rng, 3) {
        0 => drop(cluster.end(job, ordinal, ClientStatus::Failed)),
        1 => drop(cluster.end(job, ordinal, ClientStatus::Complete)),
        _ => drop(cluster.run(Command::StopAlloc { alloc })),
    }
}

fn something_happens(cluster: &mut Cluster, rng: &mut Rng, job: JobId) {
    let newest = cluster.state.job(job).expect("a known job").newest().clone();
    match below(rng, 20) {
        0 | 1 => {
            let spec = another(rng, &newest.spec);
            cluster.register(&spec);
            if rng.chance(250) {
                let newest = cluster.state.job(job).expect("a known job").newest().version;
                cluster.sick.insert(newest);
            }
        }
        2..=4 => steer(cluster, rng, job),
        5 | 6 => touch_an_alloc(cluster, rng, job),
        7 => cluster.mark(u128::from(1 + below(rng, 5)), NodeStatus::Down),
        8 | 9 => cluster.mark(u128::from(1 + below(rng, 5)), NodeStatus::Ready),
        10 => {
            let count = small(rng, 12);
            cluster.budget = 1 + usize::try_from(count).expect("small");
        }
        11..=14 => cluster.wait_ms(below(rng, 30_000)),
        _ => cluster.clients_act(),
    }
}

fn begun(rng: &mut Rng) -> (Cluster, JobId) {
    let mut cluster = Cluster::with_nodes(5);
    let mut spec = service(1 + small(rng, 6));
    spec.groups[0].update = a_policy(rng);
    spec.groups[0].tasks[0].resources.cpu_mhz = 100 + small(rng, 900);
    spec.groups[0].reschedule.unlimited = true;
    let job = cluster.register(&spec);
    (cluster, job)
}

#[test]
fn no_update_moves_more_at_once_than_its_policy_says_whatever_happens() {
    let mut steps = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(seed);
        let (mut cluster, job) = begun(&mut rng);
        for _ in 0..80 {
            something_happens(&mut cluster, &mut rng, job);
            cluster.settle();
            max_parallel::check(&cluster.state).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        steps += cluster.story.iter().filter(|told| told.contains("updated")).count();
    }
    assert!(100 < steps, "{steps} steps of updates prove nothing");
}

#[test]
fn every_deployment_ends_or_waits_for_an_operator() {
    let (mut failed, mut done, mut waiting) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(seed);
        let (mut cluster, job) = begun(&mut rng);
        for _ in 0..40 {
            something_happens(&mut cluster, &mut rng, job);
            cluster.settle();
        }
        for id in 1..=5 {
            cluster.mark(id, NodeStatus::Ready);
        }
        // Without a deadline nobody ends what finds no room.
        let spec = cluster.state.job(job).expect("a known job").newest().spec.clone();
        let has_deadline = spec.groups[0].update.progress_deadline_ms != 0;
        for _ in 0..400 {
            cluster.settle();
            cluster.clients_act();
            cluster.wait_ms(20_000);
        }
        cluster.settle();
        let ended = deployments_end::check(&cluster.state);
        assert!(ended.is_ok() || !has_deadline, "seed {seed}: {ended:?}");
        let of = |status| {
            let all = cluster.state.deployments_of_job(job);
            all.filter(|one| one.status == status).count()
        };
        failed += of(DeploymentStatus::Failed);
        done += of(DeploymentStatus::Successful);
        waiting += of(DeploymentStatus::Running) + of(DeploymentStatus::Paused);
    }
    assert!(
        10 < failed && 10 < done && 2 < waiting,
        "{failed} failed, {done} done, {waiting} wait"
    );
}

#[test]
fn canaries_and_those_of_the_count_are_never_more_than_were_asked_for() {
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(1_000 + seed);
        let (mut cluster, job) = begun(&mut rng);
        for _ in 0..80 {
            something_happens(&mut cluster, &mut rng, job);
            cluster.settle();
            let newest = cluster.state.job(job).expect("a known job").newest().clone();
            let group = &newest.spec.groups[0];
            let live = cluster.live(job);
            let canaries = live.iter().filter(|alloc| alloc.canary).count();
            let others = live.len() - canaries;
            assert!(canaries <= group.update.canary as usize, "seed {seed}: {canaries} canaries");
            assert!(others <= group.count as usize, "seed {seed}: {others} of {}", group.count);
            let mut canaries = live.iter().filter(|alloc| alloc.canary);
            let are_new = canaries.all(|alloc| alloc.version == newest.version);
            assert!(are_new, "seed {seed}: canaries of a version that is not wanted go");
        }
    }
}

#[test]
fn a_paused_or_failed_deployment_gets_no_further_alloc_of_its_version() {
    let mut looked = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(2_000 + seed);
        let (mut cluster, job) = begun(&mut rng);
        for _ in 0..80 {
            let halted: Vec<(u64, u32)> = cluster
                .state
                .deployments_of_job(job)
                .filter(|one| {
                    matches!(one.status, DeploymentStatus::Paused | DeploymentStatus::Failed)
                })
                .map(|one| (one.version, cluster.state.uses_of_version(job, one.version)))
                .collect();
            something_happens(&mut cluster, &mut rng, job);
            cluster.settle();
            let chained = |version| {
                let all = cluster.state.allocs_of_job(job);
                let ours = all.filter(|alloc| alloc.version == version);
                let first = |alloc: &&Allocation| {
                    let previous = alloc.previous.and_then(|id| cluster.state.alloc(id));
                    previous.is_none_or(|previous| previous.version != version)
                };
                u32::try_from(ours.filter(first).count()).expect("a small number")
            };
            for (version, uses) in halted {
                let still = cluster.state.deployment_of_version(job, version).is_some_and(|one| {
                    matches!(one.status, DeploymentStatus::Paused | DeploymentStatus::Failed)
                });
                if still {
                    looked += 1;
                    assert!(chained(version) <= uses, "seed {seed}: version {version} goes on");
                }
            }
        }
    }
    assert!(100 < looked, "{looked} looks prove nothing");
}
