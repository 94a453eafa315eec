//! The bytes of every command that was ever released, and of a snapshot.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::fsm::record::{decode_batch, encode_batch};
use drover_core::fsm::{Command, Entry, apply};
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::*;

use super::rig::{World, node_spec, placement, service};
use crate::golden::{compare_with, hex};

/// Every variant by name; a new one does not compile before it has a sample.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Bootstrap { .. } => "bootstrap",
        Command::RegisterNode { .. } => "register_node",
        Command::SetNodeStatus { .. } => "set_node_status",
        Command::SetNodeEligible { .. } => "set_node_eligible",
        Command::RegisterJob { .. } => "register_job",
        Command::DeregisterJob { .. } => "deregister_job",
        Command::EvaluateJob { .. } => "evaluate_job",
        Command::StopAlloc { .. } => "stop_alloc",
        Command::ApplyPlan(_) => "apply_plan",
        Command::FailEval { .. } => "fail_eval",
        Command::UnblockEvals { .. } => "unblock_evals",
        Command::UpdateAllocs { .. } => "update_allocs",
        Command::CollectGarbage { .. } => "collect_garbage",
        Command::AcknowledgeAssignment { .. } => "acknowledge_assignment",
        Command::RaiseFeatureLevel { .. } => "raise_feature_level",
        Command::SetCutBytes { .. } => "set_cut_bytes",
        Command::RestorePart { .. } => "restore_part",
        Command::Restore { .. } => "restore",
        Command::PromoteDeployment { .. } => "promote_deployment",
        Command::PauseDeployment { .. } => "pause_deployment",
        Command::FailDeployment { .. } => "fail_deployment",
        Command::SetAllocHealth { .. } => "set_alloc_health",
        Command::ReviewDeployments { .. } => "review_deployments",
        Command::RevertJob { .. } => "revert_job",
        Command::SetJobStable { .. } => "set_job_stable",
        Command::SetNodeDrain { .. } => "set_node_drain",
        Command::ReviewDrains { .. } => "review_drains",
        Command::LaunchPeriodic { .. } => "launch_periodic",
        Command::ForcePeriodic { .. } => "force_periodic",
        Command::DispatchJob { .. } => "dispatch_job",
        Command::ScaleJob { .. } => "scale_job",
        Command::SetSchedulerConfig { .. } => "set_scheduler_config",
        Command::UpsertNodePool { .. } => "upsert_node_pool",
        Command::DeleteNodePool { .. } => "delete_node_pool",
        Command::Rebalance { .. } => "rebalance",
        Command::SetAutopilotConfig { .. } => "set_autopilot_config",
    }
}
const VARIANTS: usize = 36;

fn samples() -> Vec<Command> {
    let (namespace, job) = ("default".to_owned(), "web".to_owned());
    let moment = WallTime { unix_ms: 1_700_000_000_000 };
    vec![
        Command::Bootstrap { cluster: ClusterId(7) },
        Command::RegisterNode { spec: node_spec(1).into() },
        Command::SetNodeStatus {
            nodes: vec![NodeId(1)],
            status: NodeStatus::Ready,
            reason: "heard".to_owned(),
        },
        Command::SetNodeEligible { node: NodeId(1), eligible: false },
        Command::RegisterJob { spec: Arc::new(service("web", 3)), check_index: Some(Index(5)) },
        Command::DeregisterJob { namespace: namespace.clone(), job: job.clone(), purge: true },
        Command::EvaluateJob { namespace: namespace.clone(), job: job.clone() },
        Command::StopAlloc { alloc: AllocId(9) },
        Command::ApplyPlan(sample_plan(moment)),
        Command::FailEval { eval: EvalId(4), why: "panicked".to_owned() },
        Command::UnblockEvals { evals: vec![EvalId(4)], reason: "room".to_owned() },
        Command::UpdateAllocs { node: NodeId(1), updates: vec![sample_update(moment)] },
        Command::CollectGarbage { eval_before: moment, job_before: moment, node_before: moment },
        Command::AcknowledgeAssignment { node: NodeId(1), seq: Index(12) },
        Command::RaiseFeatureLevel { level: 2 },
        Command::SetCutBytes { bytes: 1 << 20 },
        Command::RestorePart { of: Digest(5), nth: 1, bytes: [1, 2, 3].into() },
        Command::Restore { of: Digest(5), parts: 2 },
        Command::PromoteDeployment { deployment: DeploymentId(6), groups: vec!["web".to_owned()] },
        Command::PauseDeployment { deployment: DeploymentId(6), pause: true },
        Command::FailDeployment { deployment: DeploymentId(6) },
        Command::SetAllocHealth {
            deployment: DeploymentId(6),
            healthy: vec![AllocId(8)],
            unhealthy: vec![AllocId(9)],
        },
        Command::ReviewDeployments { deployments: vec![DeploymentId(6)] },
        Command::RevertJob {
            namespace: namespace.clone(),
            job: job.clone(),
            version: 1,
            enforce_prior: Some(2),
        },
        Command::SetNodeDrain {
            node: NodeId(1),
            spec: Some(DrainSpec {
                deadline: DrainDeadline::After { ms: 3_600_000 },
                ignore_system: true,
            }),
            mark_eligible: false,
            meta: BTreeMap::from([("message".to_owned(), "new disks".to_owned())]),
        },
        Command::ReviewDrains { nodes: vec![NodeId(1)] },
        Command::SetJobStable {
            namespace: namespace.clone(),
            job: job.clone(),
            version: 1,
            stable: true,
        },
        Command::LaunchPeriodic { jobs: vec![JobId(3)] },
        Command::ForcePeriodic { namespace: namespace.clone(), job: job.clone() },
        Command::DispatchJob {
            namespace: namespace.clone(),
            job: job.clone(),
            payload: [1, 2].into(),
            meta: BTreeMap::from([("input".to_owned(), "a".to_owned())]),
            id_prefix: "night".to_owned(),
            token: "t1".to_owned(),
        },
        Command::ScaleJob {
            namespace,
            job,
            group: "web".to_owned(),
            count: Some(4),
            message: "more".to_owned(),
            error: false,
            meta_json: "{}".to_owned(),
        },
        Command::SetSchedulerConfig {
            config: SchedulerConfig { algorithm: Algorithm::Spread, ..SchedulerConfig::default() },
            check_index: Some(Index(3)),
        },
        Command::UpsertNodePool { spec: gpu_pool() },
        Command::DeleteNodePool { pool: PoolName::of("gpu") },
        Command::Rebalance { moves: vec![AllocId(8), AllocId(9)], gain_permille_min: 50 },
        Command::SetAutopilotConfig {
            config: AutopilotConfig { min_quorum: 3, ..AutopilotConfig::default() },
            check_index: Some(Index(3)),
        },
    ]
}

fn gpu_pool() -> PoolSpec {
    PoolSpec {
        name: PoolName::of("gpu"),
        description: "with cards".to_owned(),
        meta: BTreeMap::from([("owner".to_owned(), "vision".to_owned())]),
        scheduler: PoolScheduler {
            algorithm: Some(Algorithm::Spread),
            memory_oversubscription: Some(false),
        },
    }
}

fn sample_plan(moment: WallTime) -> Plan {
    let port = PortGrant { label: "http".to_owned(), value: 20_000, to: 80 };
    let failure = PlacementFailure { nodes_evaluated: 3, coalesced: 1, ..Default::default() };
    Plan {
        eval: EvalId(4),
        job: JobId(3),
        version: 1,
        based_on: Index(10),
        stops: vec![Stop { alloc: AllocId(9), reason: StopReason::NodeLost }],
        placements: vec![Placement {
            ports: vec![port],
            pieces: None,
            previous: Some(AllocId(9)),
            version: Some(0),
            canary: true,
            rescheduled_after_ms: Some(30_000),
            ..placement(2, 1)
        }],
        in_place: vec![AllocId(8)],
        watched: vec![WatchedGroup { group: 0, canaries: 1 }],
        preempted: vec![Preempted { alloc: AllocId(7), group: 0 }],
        verdict: Verdict::Done {
            failures: BTreeMap::from([("web".to_owned(), failure)]),
            queued: BTreeMap::from([("web".to_owned(), 2)]),
            later: vec![(AllocId(7), moment)],
        },
        next_step: Some(moment),
        opened: vec![],
    }
}

fn sample_update(moment: WallTime) -> AllocUpdate {
    let event = TaskEvent {
        at: moment,
        kind: TaskEventKind::Terminated { exit_code: 1, signal: 0 },
        message: "Exit Code: 1".to_owned(),
    };
    let task = TaskState {
        phase: TaskPhase::Dead,
        failed: true,
        restarts: 2,
        last_restart: Some(moment),
        started_at: Some(moment),
        finished_at: Some(moment),
        events: vec![event],
    };
    AllocUpdate {
        id: AllocId(9),
        status: ClientStatus::Failed,
        description: "Failed tasks".to_owned(),
        tasks: BTreeMap::from([("server".to_owned(), task)]),
        health: Some(AllocHealth { version: 1, healthy: false, at: moment }),
    }
}

/// A state with a row in every table.
fn sample_state() -> State {
    let mut world = World::with_nodes(2);
    world.place(service("web", 2), &[0, 1]);
    world.run(Command::UpsertNodePool { spec: gpu_pool() });
    let session = Session { origin: ServerId(1), incarnation: Incarnation(1), seq: 1 };
    let command = Command::EvaluateJob { namespace: "default".to_owned(), job: "web".to_owned() };
    world.enter(Entry { stamp: world.stamp, session: Some(session), command });
    world.state
}

#[test]
fn a_status_moves_only_along_these_arrows() {
    let mut found = String::new();
    for (from, to) in ClientStatus::TRANSITIONS {
        writeln!(found, "alloc {from:?} -> {to:?}").expect("text");
    }
    for (from, to) in EvalStatus::TRANSITIONS {
        writeln!(found, "eval {from:?} -> {to:?}").expect("text");
    }
    for (from, to) in DeploymentStatus::TRANSITIONS {
        writeln!(found, "deployment {from:?} -> {to:?}").expect("text");
    }
    for (from, to) in NodeStatus::TRANSITIONS {
        writeln!(found, "node {from:?} -> {to:?}").expect("text");
    }
    compare_with("transitions.txt", &found);
}

#[test]
fn bytes_of_every_command_and_of_a_snapshot_are_what_they_were() {
    let mut found = String::new();
    let mut names = Vec::new();
    for command in samples() {
        names.push(name(&command));
        let session = Session { origin: ServerId(1), incarnation: Incarnation(2), seq: 3 };
        let stamp = WallTime { unix_ms: 1_700_000_000_000 };
        let entry = Entry { stamp, session: Some(session), command };
        let bytes = encode_batch(std::slice::from_ref(&entry));
        let read: Vec<_> = decode_batch(&bytes, 1).collect();
        assert_eq!(read, [Ok(entry)]);
        writeln!(found, "{} {}", names.last().expect("just pushed"), hex(&bytes)).expect("text");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), VARIANTS, "every command has a sample");
    let snapshot = sample_state().encode();
    writeln!(found, "snapshot {} bytes {}", snapshot.len(), Digest::of(&snapshot)).expect("text");
    let mut state = sample_state();
    let command = Command::RestorePart { of: Digest(5), nth: 0, bytes: [1, 2, 3].into() };
    let entry = Entry { stamp: state.clock(), session: None, command };
    let index = state.index().next();
    apply(&mut state, index, &entry, &mut Vec::new());
    let snapshot = state.encode();
    let (length, name) = (snapshot.len(), Digest::of(&snapshot));
    writeln!(found, "snapshot_with_upload {length} bytes {name}").expect("text");
    compare_with("commands.txt", &found);
}
