//! Jobs for the client's tests: one group `web`, whose tasks are given by name.
use std::sync::Arc;

use drover_core::types::{
    AllocId, AllocSpec, AssignedAlloc, Assignment, Group, HealthCheck, Index, JobKind, LogLimits,
    MigratePolicy, NetworkAsk, NodeId, NodeSpec, ORDINAL_BITS, ReschedulePolicy, RestartPolicy,
    Service, Task, TaskResources, UpdatePolicy, Uuid,
};

pub(super) fn task(name: &str) -> Task {
    Task {
        name: name.into(),
        driver: "raw_exec".into(),
        user: String::new(),
        config_json: "{}".into(),
        env: [].into(),
        constraints: vec![],
        resources: TaskResources::default(),
        meta: [].into(),
        kill_timeout_ms: 5_000,
        kill_signal: String::new(),
        leader: false,
        shutdown_delay_ms: 0,
        logs: LogLimits::default(),
        payload_file: String::new(),
        affinities: Vec::new(),
        services: Vec::new(),
        volume_mounts: Vec::new(),
    }
}

pub(super) fn service(name: &str) -> Service {
    Service { name: name.into(), ..Service::default() }
}

pub(super) fn spec(kind: JobKind, tasks: Vec<Task>) -> AllocSpec {
    let restart = RestartPolicy { delay_ms: 1_000, ..RestartPolicy::default_of(kind) };
    let group = Group {
        name: "web".into(),
        count: 1,
        constraints: vec![],
        tasks,
        network: NetworkAsk::default(),
        restart,
        reschedule: ReschedulePolicy::default_of(kind),
        // Nobody watches, unless a story is about that.
        update: UpdatePolicy { parallel_max: 0, ..UpdatePolicy::default() },
        disk_mib: 300,
        meta: [].into(),
        shutdown_delay_ms: 0,
        migrate: MigratePolicy { health_check: HealthCheck::Manual, ..MigratePolicy::default() },
        scaling: None,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        services: Vec::new(),
        volumes: [].into(),
    };
    AllocSpec {
        job_id: "shop".into(),
        job_name: "shop".into(),
        namespace: "default".into(),
        region: "global".into(),
        kind,
        version: 0,
        job_meta: [].into(),
        group,
        payload: [].into(),
    }
}

/// The first alloc that the log's entry at `index` made.
pub(super) fn alloc(index: u64) -> AllocId {
    AllocId(index << ORDINAL_BITS)
}

pub(super) fn run(id: AllocId) -> AssignedAlloc {
    let uuid = Uuid::of_object(id.0, 7);
    AssignedAlloc {
        id,
        uuid,
        ordinal: 0,
        spec: 0,
        ports: vec![],
        pieces: None,
        is_deployed: true,
        is_canary: false,
        may_exceed_memory: false,
    }
}

pub(super) fn assignment(
    (seq, after): (u64, Option<u64>),
    spec: &Arc<AllocSpec>,
    runs: &[AllocId],
    tombstones: &[AllocId],
) -> Assignment {
    Assignment {
        seq: Index(seq),
        after: after.map(Index),
        specs: vec![Arc::clone(spec)],
        runs: runs.iter().map(|&id| run(id)).collect(),
        tombstones: tombstones.to_vec(),
    }
}

pub(super) fn node_spec() -> NodeSpec {
    NodeSpec {
        id: NodeId(9),
        name: "n1".into(),
        datacenter: "dc1".into(),
        attributes: [
            ("kernel.name".into(), "linux".into()),
            ("unique.network.ip-address".into(), "10.0.0.1".into()),
        ]
        .into(),
        meta: [("rack".into(), "r1".into())].into(),
        ..NodeSpec::default()
    }
}
