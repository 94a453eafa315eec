//! How a new version takes over, and what happens when there is no room beside the old one.
use drover_core::fsm::Command;
use drover_core::types::*;

use super::rig::*;

fn rolling(count: u32, parallel_max: u32) -> JobSpec {
    let mut spec = service(count);
    spec.groups[0].update = UpdatePolicy { parallel_max, ..UpdatePolicy::default() };
    spec
}

/// Allocs of the newest version that run.
fn renewed(cluster: &Cluster, job: JobId) -> usize {
    let newest = cluster.state.job(job).expect("a known job").newest().version;
    let live = cluster.live(job);
    live.iter().filter(|a| a.version == newest && a.client_status == ClientStatus::Running).count()
}

#[test]
fn a_service_is_replaced_as_many_at_a_time_as_its_policy_says_and_comes_to_an_end() {
    let mut cluster = Cluster::with_nodes(5);
    let spec = rolling(7, 2);
    let job = cluster.with_running(&spec);
    cluster.register(&changed(&spec));
    let mut steps = Vec::new();
    for _ in 0..40 {
        cluster.settle();
        let moving =
            cluster.live(job).iter().filter(|a| a.client_status != ClientStatus::Running).count();
        assert!(moving <= 2, "{moving} are moving at once");
        assert_eq!(cluster.live(job).len(), 7, "each that is stopped has a successor");
        cluster.clients_act();
        let now = renewed(&cluster, job);
        if steps.last() != Some(&now) {
            steps.push(now);
        }
        cluster.wait_ms(3_000);
    }
    assert_eq!(steps, [2, 4, 6, 7]);
    cluster.settle();
    let open = cluster.state.evals().filter(|eval| !eval.status.is_final()).count();
    assert_eq!(open, 0, "nothing is left to look at when the update has ended");
}

#[test]
fn the_next_step_waits_until_the_last_one_is_healthy() {
    let mut cluster = Cluster::with_nodes(5);
    let spec = rolling(4, 1);
    let job = cluster.with_running(&spec);
    cluster.register(&changed(&spec));
    cluster.settle();
    cluster.clients_act();
    cluster.wait_ms(9_000);
    cluster.evaluate(job);
    cluster.settle();
    assert_eq!(renewed(&cluster, job), 1);
    assert!(cluster.live(job).iter().all(|a| a.client_status == ClientStatus::Running));
    cluster.wait_ms(12_000);
    cluster.clients_act();
    cluster.settle();
    cluster.clients_act();
    assert_eq!(renewed(&cluster, job), 2);
}

#[test]
fn a_version_that_fails_stops_its_own_update() {
    let mut cluster = Cluster::with_nodes(5);
    let mut spec = rolling(4, 1);
    spec.groups[0].reschedule.attempts = 0;
    let job = cluster.with_running(&spec);
    cluster.register(&changed(&spec));
    cluster.settle();
    cluster.clients_act();
    cluster.end(job, 0, ClientStatus::Failed);
    for _ in 0..10 {
        cluster.settle();
        cluster.clients_act();
        cluster.wait_ms(20_000);
    }
    assert_eq!((cluster.live(job).len(), renewed(&cluster, job)), (3, 0), "the old ones run on");
    cluster.settle();
    let open = cluster.state.evals().filter(|eval| !eval.status.is_final()).count();
    assert_eq!(open, 0, "nobody looks again and again at what only a user can mend");
}

#[test]
fn a_new_version_that_is_mended_replaces_the_failed_one() {
    let mut cluster = Cluster::with_nodes(5);
    let mut spec = rolling(2, 1);
    spec.groups[0].reschedule.attempts = 0;
    let job = cluster.with_running(&spec);
    let broken = changed(&spec);
    cluster.register(&broken);
    cluster.settle();
    cluster.clients_act();
    cluster.end(job, 0, ClientStatus::Failed);
    cluster.settle();
    cluster.register(&changed(&broken));
    for _ in 0..10 {
        cluster.settle();
        cluster.clients_act();
        cluster.wait_ms(20_000);
    }
    assert_eq!((cluster.live(job).len(), renewed(&cluster, job)), (2, 2));
}

#[test]
fn on_a_full_node_the_old_one_makes_way_and_the_new_one_follows() {
    let mut cluster = Cluster::with_nodes(1);
    let mut spec = rolling(1, 1);
    spec.groups[0].tasks[0].resources.cpu_mhz = 3_000;
    let job = cluster.with_running(&spec);
    cluster.register(&changed(&spec));
    assert_eq!(cluster.told(&cluster.plan_of(job)), "stop 0 updated; queued 1");
    cluster.settle();
    assert!(cluster.blocked(job).is_some());
    cluster.clients_act();
    cluster.settle();
    cluster.clients_act();
    assert_eq!(renewed(&cluster, job), 1);
    assert!(cluster.blocked(job).is_none());
}

#[test]
fn an_old_one_runs_on_when_the_new_one_fits_nowhere() {
    let mut cluster = Cluster::with_nodes(2);
    let spec = rolling(1, 0);
    let job = cluster.with_running(&spec);
    let mut huge = changed(&spec);
    huge.groups[0].tasks[0].resources.cpu_mhz = 5_000;
    cluster.register(&huge);
    cluster.settle();
    cluster.clients_act();
    assert_eq!(cluster.live(job).len(), 1, "better the old one than none");
    let failure = &cluster.blocked(job).expect("it waits").failures["web"];
    assert_eq!(failure.exhausted["cpu"], 2);
    let nearest = failure.nearest.expect("nodes met every constraint");
    assert_eq!(nearest.free.cpu_mhz, 4_000, "the emptiest node is the nearest");
}

#[test]
fn a_fixed_port_on_the_only_node_passes_from_the_old_to_the_new() {
    let mut cluster = Cluster::with_nodes(1);
    let mut spec = rolling(1, 1);
    let http = PortAsk { label: "http".to_owned(), fixed: Some(8_080), to: 0 };
    let rpc = PortAsk { label: "rpc".to_owned(), fixed: None, to: 9_000 };
    spec.groups[0].network.ports = vec![http, rpc];
    let job = cluster.with_running(&spec);
    cluster.register(&changed(&spec));
    cluster.settle();
    let failure = &cluster.blocked(job).expect("the port is taken").failures["web"];
    assert_eq!(failure.exhausted["network: reserved port collision http=8080"], 1);
    cluster.clients_act();
    cluster.settle();
    cluster.clients_act();
    assert_eq!(renewed(&cluster, job), 1);
}

#[test]
fn a_big_job_is_placed_in_quanta_and_stopped_in_quanta() {
    let mut cluster = Cluster::with_nodes(6);
    cluster.budget = 7;
    let mut spec = service(30);
    spec.groups[0].tasks[0].resources.cpu_mhz = 100;
    let job = cluster.register(&spec);
    assert_eq!(cluster.told(&cluster.plan_of(job)), "place 0-6; more");
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 30);
    cluster.deregister(&spec);
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 0);
    let evals = cluster.state.evals_of_job(job).filter(|e| e.status == EvalStatus::Complete);
    assert_eq!(evals.count(), 2, "however many plans, an evaluation is one");
}

#[test]
fn a_blocked_evaluation_goes_on_when_a_node_becomes_eligible() {
    let mut cluster = Cluster::with_nodes(1);
    let (node, eligible) = (NodeId(1), false);
    cluster.run(Command::SetNodeEligible { node, eligible });
    let job = cluster.register(&service(2));
    cluster.settle();
    assert!(cluster.blocked(job).is_some() && cluster.live(job).is_empty());
    cluster.run(Command::SetNodeEligible { node, eligible: true });
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 2);
    cluster.run(Command::SetNodeEligible { node, eligible });
    cluster.evaluate(job);
    cluster.settle();
    assert_eq!(cluster.live(job).len(), 2, "what runs on an ineligible node stays there");
}
