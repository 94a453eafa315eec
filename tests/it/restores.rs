//! Stories of whole agents whose cluster goes back to a saved state.
use std::sync::Arc;

use drover_core::api::{Rejection, Request, Response};
use drover_core::digest::Digest;
use drover_core::fsm::{Command, Entry, apply};
use drover_core::state::State;
use drover_core::types::{
    ClientStatus, DesiredStatus, EvalStatus, Index, JobKind, NodeStatus, ServerId,
};
use drover_tests::rig::agent::{DevAgent, job_spec};
use drover_tests::rig::cluster::Cluster;

/// The requests that bring these bytes back, in two parts.
fn requests(saved: &[u8]) -> Vec<Request> {
    let of = Digest::of(saved);
    let parts = saved.chunks(saved.len().div_ceil(2)).zip(0..);
    let mut requests: Vec<Request> =
        parts.map(|(bytes, nth)| Request::RestorePart { of, nth, bytes: bytes.into() }).collect();
    requests.push(Request::Restore { of, parts: 2 });
    requests
}

fn state(dev: &DevAgent) -> &State {
    dev.agent.state().expect("a server")
}

fn names(state: &State) -> Vec<String> {
    state.jobs().map(|job| job.newest().spec.id.clone()).collect()
}

fn restore(dev: &mut DevAgent, saved: &[u8]) -> Result<Response, Rejection> {
    let mut last = Err(Rejection::Unknown);
    for request in requests(saved) {
        let id = dev.ask(request);
        dev.pass_ms(5);
        last = dev.answers.remove(&id).expect("it was answered");
    }
    last
}

/// Names of the jobs whose tasks run.
fn running(dev: &DevAgent) -> Vec<String> {
    let job_of = |key: &drover_core::types::TaskKey| {
        let alloc = state(dev).alloc(key.alloc).expect("it is known");
        state(dev).job(alloc.job).expect("it exists").newest().spec.id.clone()
    };
    dev.running.keys().map(job_of).collect()
}

/// One alloc runs of each.
fn with_jobs(jobs: &[&str]) -> DevAgent {
    let mut dev = DevAgent::new();
    dev.pass_ms(3_000);
    for job in jobs {
        dev.run_job(job_spec(job, JobKind::Service, 1)).expect("registered");
    }
    dev.pass_ms(500);
    dev
}

#[test]
fn what_ran_goes_on_and_what_came_since_is_stopped() {
    let mut dev = with_jobs(&["kept"]);
    let (saved, before) = (state(&dev).encode(), dev.running.clone());
    dev.run_job(job_spec("new", JobKind::Service, 2)).expect("registered");
    dev.pass_ms(500);
    assert_eq!(dev.running.len(), 3);
    let index = state(&dev).index();
    let answer = restore(&mut dev, &saved).expect("it is restored");
    assert!(matches!(answer, Response::Applied { index: at, .. } if index < at), "{answer:?}");
    dev.pass_ms(2_000);
    assert_eq!(names(state(&dev)), ["kept"]);
    assert_eq!(dev.running, before, "the same attempts, and no others");
    let nodes: Vec<_> = state(&dev).nodes().map(|node| node.status).collect();
    assert_eq!(nodes, [NodeStatus::Ready], "its node was not disturbed");
    let settled = state(&dev).evals().all(|eval| eval.status == EvalStatus::Complete);
    assert!(settled, "nothing is left to be scheduled");
    dev.pass_ms(60_000);
    let node = state(&dev).nodes().next().expect("there is one");
    assert_eq!(node.status, NodeStatus::Ready, "nobody is called down");
    let owed = state(&dev).tombstones_of_node(node.spec.id).count();
    assert_eq!(owed, 0, "the node has heard all that it must not run");
}

#[test]
fn what_was_stopped_since_is_started_anew_and_an_old_version_comes_back() {
    let mut dev = with_jobs(&["gone", "changed"]);
    let saved = state(&dev).encode();
    let old = dev.running.values().next().expect("one runs").clone();
    dev.ask(Request::DeregisterJob {
        namespace: "default".into(),
        job: "gone".into(),
        purge: true,
    });
    let mut spec = job_spec("changed", JobKind::Service, 1);
    spec.groups[0].tasks[0].config_json = r#"{"command":"/bin/other"}"#.into();
    dev.run_job(spec).expect("registered");
    dev.pass_ms(30_000);
    assert_eq!(running(&dev), ["changed"]);
    restore(&mut dev, &saved).expect("it is restored");
    dev.pass_ms(30_000);
    let mut found = running(&dev);
    found.sort();
    assert_eq!(found, ["changed", "gone"]);
    assert!(dev.running.values().all(|config| *config == old), "{:?}", dev.running);
    let wanted = |alloc: &&drover_core::types::Allocation| alloc.desired == DesiredStatus::Run;
    let state = state(&dev);
    let wanted: Vec<_> = state.allocs().filter(wanted).map(|alloc| alloc.client_status).collect();
    assert_eq!(wanted, [ClientStatus::Running; 2]);
}

#[test]
fn an_evaluation_that_was_pending_is_scheduled_after_the_restore() {
    let mut dev = with_jobs(&["kept"]);
    // Saved a moment after a job was registered, before it was scheduled.
    let mut saved = State::decode(&state(&dev).encode()).expect("a snapshot of ours");
    let spec = Arc::new(job_spec("late", JobKind::Service, 1));
    let command = Command::RegisterJob { spec, check_index: None };
    let entry = Entry { stamp: saved.clock(), session: None, command };
    let index = saved.index().next();
    apply(&mut saved, index, &entry, &mut Vec::new());
    assert_eq!(saved.pending_evals().count(), 1);
    // The cluster's own next entry names nothing, so that no name is given twice.
    dev.ask(Request::CollectGarbage);
    dev.pass_ms(500);
    assert_eq!(index, state(&dev).index());
    dev.run_job(job_spec("new", JobKind::Service, 1)).expect("registered");
    dev.pass_ms(500);
    restore(&mut dev, &saved.encode()).expect("it is restored");
    dev.pass_ms(2_000);
    let mut found = running(&dev);
    found.sort();
    assert_eq!(found, ["kept", "late"]);
}

#[test]
fn a_job_that_waits_for_room_gets_what_the_restore_leaves() {
    let mut dev = with_jobs(&[]);
    let big = |name: &str| {
        let mut spec = job_spec(name, JobKind::Service, 1);
        spec.groups[0].tasks[0].resources.memory_mib = 6_000;
        spec
    };
    dev.run_job(big("first")).expect("registered");
    dev.pass_ms(500);
    let saved = state(&dev).encode();
    dev.ask(Request::DeregisterJob {
        namespace: "default".into(),
        job: "first".into(),
        purge: true,
    });
    dev.run_job(big("second")).expect("registered");
    dev.pass_ms(2_000);
    assert_eq!(running(&dev), ["second"]);
    restore(&mut dev, &saved).expect("it is restored");
    dev.pass_ms(2_000);
    assert_eq!(running(&dev), ["first"]);
}

#[test]
fn an_upload_outlives_the_leader_that_took_its_first_part() {
    let mut cluster = Cluster::founded(3);
    let register = |job: &str| {
        let spec = Arc::new(job_spec(job, JobKind::Service, 0));
        Request::RegisterJob { spec, check_index: None }
    };
    let old = cluster.leader().expect("one leads");
    cluster.ask(old, register("kept"));
    cluster.pass_ms(500);
    let saved = cluster.state(old).encode();
    cluster.ask(old, register("new"));
    let requests = requests(&saved);
    cluster.ask(old, requests[0].clone());
    cluster.pass_ms(500);
    cluster.stop(old);
    cluster.pass_ms(5_000);
    let leader = cluster.leader().expect("another leads");
    // Through the server that does not lead.
    let other = [1, 2, 3].map(ServerId).into_iter().find(|&id| id != old && id != leader);
    let other = other.expect("there are three");
    for request in &requests[1..] {
        let id = cluster.ask(other, request.clone());
        cluster.pass_ms(500);
        let answer = cluster.answers.remove(&id).expect("it was answered");
        assert!(matches!(answer, Ok(Response::Applied { .. })), "{answer:?}");
    }
    for server in [leader, other] {
        assert_eq!(names(cluster.state(server)), ["kept"]);
    }
    assert_eq!(cluster.state(leader).digest(), cluster.state(other).digest());
    assert!(Index(0) < cluster.state(leader).index());
}
