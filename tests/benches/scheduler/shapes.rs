//! The machines and what is asked of them, all out of fixed seeds.
use std::collections::BTreeMap;

use drover_core::rng::Rng;
use drover_core::time::WallTime;
use drover_core::types::*;

const RACKS: usize = 50;
/// Three kinds of machines, five to three to two.
const MACHINES: [(&str, Capacity); 3] = [
    ("small", Capacity { cpu_mhz: 16_000, memory_mib: 65_536, disk_mib: 500_000 }),
    ("middle", Capacity { cpu_mhz: 32_000, memory_mib: 131_072, disk_mib: 1_000_000 }),
    ("large", Capacity { cpu_mhz: 64_000, memory_mib: 262_144, disk_mib: 2_000_000 }),
];

/// CPU in MHz, memory and disk in MiB.
pub(crate) type Shape = (u32, u32, u32);

fn node(nth: usize, class: &str, capacity: Capacity) -> NodeSpec {
    let healthy = DriverInfo { detected: true, healthy: true, description: String::new() };
    let attributes = [
        ("kernel.name", "linux"),
        ("kernel.version", "6.12.9"),
        ("cpu.arch", "amd64"),
        ("os.name", "debian"),
        ("unique.hostname", &format!("host-{nth}")),
    ];
    let rack = nth % RACKS;
    let meta = [("rack", format!("r{rack}")), ("row", (rack % 4).to_string())];
    NodeSpec {
        id: NodeId((u128::from(Rng::from_seed(nth as u64).next_u64()) << 64) | nth as u128),
        name: format!("host-{nth}"),
        datacenter: "dc1".to_owned(),
        class: class.to_owned(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
        capacity,
        drivers: [("exec".to_owned(), healthy)].into(),
        ..NodeSpec::default()
    }
}

/// A machine of the kind that the reference measured Nomad's scheduler with.
pub(crate) fn mock_node(nth: usize) -> NodeSpec {
    node(nth, "mock", Capacity { cpu_mhz: 14_000, memory_mib: 32_000, disk_mib: 500_000 })
}

/// One of three kinds.
pub(crate) fn mixed_node(nth: usize) -> NodeSpec {
    let kind = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2][nth.wrapping_mul(7) % 10];
    let (class, capacity) = MACHINES[kind];
    node(nth, class, capacity)
}

/// The machine as the servers know it when they have heard from it.
pub(crate) fn ready(spec: NodeSpec) -> Node {
    Node {
        spec,
        status: NodeStatus::Ready,
        eligible: true,
        status_changed_at: WallTime::default(),
        events: vec![],
        create_index: Index(1),
        modify_index: Index(1),
        drain: None,
        last_drain: None,
    }
}

fn group(count: u32, (cpu_mhz, memory_mib, disk_mib): Shape) -> Group {
    Group {
        name: "work".to_owned(),
        count,
        constraints: vec![],
        tasks: vec![Task {
            name: "work".to_owned(),
            driver: "exec".to_owned(),
            user: String::new(),
            config_json: r#"{"command":"/bin/work"}"#.to_owned(),
            env: BTreeMap::new(),
            constraints: vec![],
            resources: TaskResources { cpu_mhz, memory_mib, ..TaskResources::default() },
            meta: BTreeMap::new(),
            kill_timeout_ms: 5_000,
            kill_signal: String::new(),
            leader: false,
            shutdown_delay_ms: 0,
            logs: LogLimits::default(),
            payload_file: String::new(),
            affinities: Vec::new(),
            services: Vec::new(),
            volume_mounts: Vec::new(),
        }],
        network: NetworkAsk::default(),
        restart: RestartPolicy::default_of(JobKind::Batch),
        reschedule: ReschedulePolicy::default_of(JobKind::Batch),
        update: UpdatePolicy::default(),
        disk_mib,
        meta: BTreeMap::new(),
        shutdown_delay_ms: 0,
        migrate: MigratePolicy::default(),
        scaling: None,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        services: Vec::new(),
        volumes: BTreeMap::new(),
    }
}

/// A batch job of one group, for Linux.
pub(crate) fn a_job(id: &str, count: u32, shape: Shape) -> JobSpec {
    JobSpec {
        id: id.to_owned(),
        name: id.to_owned(),
        namespace: "default".to_owned(),
        region: "global".to_owned(),
        kind: JobKind::Batch,
        priority: 50,
        datacenters: vec!["dc1".to_owned()],
        constraints: vec![Constraint {
            left: "${attr.kernel.name}".to_owned(),
            operator: Operator::Equal,
            right: "linux".to_owned(),
        }],
        groups: vec![group(count, shape)].into(),
        meta: BTreeMap::new(),
        launch: Launch::AtOnce,
        affinities: Vec::new(),
        spreads: Vec::new(),
        after: Vec::new(),
        node_pool: PoolName::default(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are positive and at most 60,000"
)]
const fn whole(amount: f64) -> u32 {
    amount as u32
}

/// Many shapes: CPU evenly over its logarithm, memory about 4 MiB for each MHz, and one in eight with a
/// port of its own; on all machines, or on three, two or one of four rows of racks.
pub(crate) fn many(count: usize) -> Vec<JobSpec> {
    let mut rng = Rng::from_seed(99);
    let mut share = || rng.between(0, 999_999) as f64 / 1e6;
    let shapes = (0..count).map(|nth| {
        let cpu = 100.0 * 80_f64.powf(share());
        // The sum of four has the shape of a bell.
        let bell = (share() + share() + share() + share() - 2.0) * 1.7;
        let memory = (cpu * 4.0 * (0.7 * bell).exp()).clamp(64.0, 60_000.0);
        let disk = 300.0 * 100_f64.powf(share());
        let [cpu, memory, disk] = [cpu, memory, disk].map(whole);
        let shape = (cpu / 50 * 50 + 50, memory / 64 * 64 + 64, disk);
        let mut spec = a_job("", 1, shape);
        let rows = [4, 4, 3, 3, 2, 2, 1, 1][nth % 8];
        if rows < 4 {
            spec.groups[0].constraints.push(Constraint {
                left: "${meta.row}".to_owned(),
                operator: Operator::Less,
                right: rows.to_string(),
            });
        }
        if nth % 8 == 3 {
            let port = PortAsk { label: "http".to_owned(), fixed: None, to: 0 };
            spec.groups[0].network.ports.push(port);
        }
        spec
    });
    shapes.collect()
}
