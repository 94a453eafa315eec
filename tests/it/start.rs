//! A real agent in this process: real disk, real QUIC, real tasks.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drover_core::agent::Guard;
use drover_core::api::{Request, Response};
use drover_core::types::{ClientStatus, Index, JobKind};
use drover_shell::config::{Resolved, Surroundings, Written};
use drover_shell::drivers::{Cgroups, DriversConfig};
use drover_shell::recorder::{self, Reader, Record, Start};
use drover_shell::run::AtStop;
use drover_shell::shadow::{Key, Shadow};
use drover_shell::start::{Running, start_with};
use drover_sim::replay::{Recorded, Tape, Turn};
use drover_tests::rig::agent::job_spec;

/// Longer than anything here takes on a busy machine; only a hang lasts so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn dev(data_dir: &Path) -> Running {
    let written = Written { ports_http: Some(0), ports_rpc: Some(0), ..Written::default() };
    let around = Surroundings::look(data_dir.to_owned());
    let resolved = Resolved::dev(&written, &around).expect("a dev configuration");
    let shim = env!("CARGO_BIN_EXE_shim").into();
    start_with(&resolved, DriversConfig { shim_executable: shim, cgroups: Cgroups::WherePossible })
        .expect("the agent starts")
}

/// Wait until the state is as wanted.
async fn until(shadow: &Shadow, wanted: impl Fn(&drover_core::state::State) -> bool) {
    let reached = async {
        loop {
            let watch = shadow.watch(&[Key::Everything]);
            if wanted(&shadow.read()) {
                return;
            }
            watch.changed().await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        let state = shadow.read();
        let evals: Vec<_> = state.evals().collect();
        let allocs: Vec<_> = state.allocs().collect();
        panic!("the state does not become as wanted: {evals:#?} {allocs:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_agent_runs_a_real_batch_job_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let running = dev(dir.path());
    let shadow = running.shadow.clone().expect("a server has a shadow");
    let spec = Arc::new(job_spec("true", JobKind::Batch, 3));
    let answer = running.core.request(Request::RegisterJob { spec, check_index: None }).await;
    let Ok(Response::Applied { index, .. }) = answer else { panic!("{answer:?}") };
    assert!(Index(0) < index);
    until(&shadow, |state| {
        let done =
            |alloc: &&drover_core::types::Allocation| alloc.client_status == ClientStatus::Complete;
        state.allocs().filter(done).count() == 3
    })
    .await;
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dev_agent_was_told_replays_to_the_same_agent() {
    let dir = tempfile::tempdir().unwrap();
    let running = dev(dir.path());
    let shadow = running.shadow.clone().expect("a server has a shadow");
    for name in ["one", "two"] {
        let spec = Arc::new(job_spec(name, JobKind::Batch, 2));
        let answer = running.core.request(Request::RegisterJob { spec, check_index: None }).await;
        assert!(matches!(answer, Ok(Response::Applied { .. })), "{answer:?}");
    }
    until(&shadow, |state| {
        state.allocs().count() == 4
            && state.allocs().all(|alloc| alloc.client_status == ClientStatus::Complete)
    })
    .await;
    let end = shadow.read().digest();
    running.stop(AtStop::KillTasks).await;

    let (_, newest) = recorder::segments(&dir.path().join("inputs")).unwrap().pop().expect("a log");
    let (mut reader, start) = Reader::open(&newest).unwrap();
    assert!(matches!(start, Start::Boot { .. }), "a fresh log starts with a boot");
    let records = std::iter::from_fn(|| reader.read_next::<Record>().unwrap()).collect();
    let recorded = Recorded { segments: vec![(start, records)] };
    let mut tape = Tape::begin(&recorded, Guard::default(), 0).expect("the log begins");
    let (mut digests, mut planned) = (0, 0);
    loop {
        match tape.turn().unwrap_or_else(|fault| panic!("{fault}")) {
            Turn::Stepped(stepped) => {
                planned += usize::from(stepped.planned.is_some());
                let sum = stepped.sum.expect("what came of each input is recorded");
                assert_eq!(sum, tape.effects().sum(), "input {}", stepped.number);
                assert_eq!(stepped.planned, tape.effects().planned, "input {}", stepped.number);
            }
            Turn::Digest { recorded, replayed } => {
                digests += 1;
                assert_eq!(recorded, replayed);
            }
            Turn::Begun(joint) => panic!("{joint:?}"),
            Turn::Over => break,
        }
    }
    assert!(1 <= digests, "the end at least was compared");
    assert!(2 <= planned, "each job was planned for");
    // How many there are depends on how busy the machine is; two registrations and four tasks are there.
    assert!(20 < tape.inputs(), "{} inputs are no day's work", tape.inputs());
    assert_eq!(tape.agent().state().expect("a server").digest(), end);
}
