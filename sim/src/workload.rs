//! What the world's users ask for: jobs as a plan names them, and the machines that run them.
//!
//! Invariants
//! - policies are short, so that whatever fails is tried again within the time that healing may take.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::fsm::{self, Command, Entry};
use drover_core::rng::Rng;
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::{
    self, Access, Affinity, Capacity, Check, Constraint, DelayFunction, DeviceAsk, DeviceGroup,
    DeviceInstance, DeviceName, DriverInfo, Gate, Group, HostVolume, Index, JobKind, JobSpec,
    Launch, LogLimits, MemoryMax, MigratePolicy, Named, NetworkAsk, NodeId, NodePieces, NodeSpec,
    Operator, PoolName, PortAsk, ReschedulePolicy, RestartMode, RestartPolicy, Service, Task,
    TaskResources, UpdatePolicy, VolumeAsk,
};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::plan::{JobAsk, PiecesAsk, Promotion, Spread, UpdateAsk};

/// The namespace of all jobs.
pub const NAMESPACE: &str = "default";
/// The variable that makes two builds differ.
const BUILD: &str = "BUILD";
/// What machines call the volume that some of them have.
const VOLUME: &str = "data";
/// How long allocs of a new version must run before others follow.
const MIN_HEALTHY_MS: u64 = 1_000;
/// Between two steps of a system job's update.
const STAGGER_MS: u64 = 5_000;

/// The specification that a plan's line stands for.
#[must_use]
pub fn spec_of(ask: &JobAsk) -> Arc<JobSpec> {
    Arc::new(JobSpec {
        id: ask.job.clone(),
        name: ask.job.clone(),
        namespace: NAMESPACE.into(),
        region: "global".into(),
        kind: ask.kind,
        // What runs everywhere may have others make way.
        priority: if ask.kind == JobKind::System { 70 } else { 50 },
        datacenters: match ask.spread {
            Spread::OneDatacenter => vec!["dc1".into()],
            Spread::Anywhere
            | Spread::DistinctHosts
            | Spread::OverDatacenters
            | Spread::RatherSecond
            | Spread::OnePool => vec!["*".into()],
        },
        constraints: match ask.spread {
            Spread::DistinctHosts => vec![Constraint {
                left: String::new(),
                operator: Operator::DistinctHosts,
                right: "true".into(),
            }],
            Spread::Anywhere
            | Spread::OneDatacenter
            | Spread::OverDatacenters
            | Spread::RatherSecond
            | Spread::OnePool => Vec::new(),
        },
        groups: vec![group_of(ask)].into(),
        meta: BTreeMap::new(),
        launch: Launch::AtOnce,
        affinities: Vec::new(),
        spreads: Vec::new(),
        node_pool: match ask.spread {
            Spread::OnePool => PoolName::default(),
            Spread::Anywhere
            | Spread::OneDatacenter
            | Spread::DistinctHosts
            | Spread::OverDatacenters
            | Spread::RatherSecond => PoolName::of(PoolName::ALL),
        },
        after: ask.after.iter().map(|job| gate_of(job)).collect(),
    })
}

fn gate_of(job: &str) -> Gate {
    Gate { job: Some(job.to_owned()), group: None, until: None }
}

fn group_of(ask: &JobAsk) -> Group {
    let dynamic = (0..ask.ports).map(|at| PortAsk { label: format!("p{at}"), fixed: None, to: 0 });
    let fixed = u16::try_from(ask.fixed_port).ok().filter(|&port| port != 0);
    let fixed = fixed.map(|port| PortAsk { label: "fixed".into(), fixed: Some(port), to: 0 });
    Group {
        name: "group".into(),
        count: narrow(ask.count),
        constraints: Vec::new(),
        tasks: (0..ask.tasks.max(1)).map(|at| task_of(ask, at)).collect(),
        network: NetworkAsk { mode: "host".into(), ports: dynamic.chain(fixed).collect() },
        restart: RestartPolicy {
            attempts: 2,
            interval_ms: 60_000,
            delay_ms: 1_000,
            mode: RestartMode::Fail,
        },
        reschedule: ReschedulePolicy {
            attempts: 0,
            // The mark: without a limit nothing else looks at it, and it needs no restart.
            interval_ms: ask.mark,
            delay_ms: 2_000,
            delay_function: DelayFunction::Constant,
            delay_ms_max: 0,
            unlimited: true,
        },
        update: update_of(&ask.update),
        disk_mib: 100,
        meta: BTreeMap::new(),
        shutdown_delay_ms: 0,
        migrate: MigratePolicy {
            parallel_max: narrow(ask.update.parallel.max(1)),
            min_healthy_ms: MIN_HEALTHY_MS,
            healthy_deadline_ms: 18_000,
            ..MigratePolicy::default()
        },
        scaling: None,
        affinities: affinities_of(ask.spread),
        spreads: spreads_of(ask.spread),
        after: Vec::new(),
        services: if ask.mark.is_multiple_of(3) { Vec::new() } else { vec![service_of(ask)] },
        volumes: volumes_asked(ask),
    }
}

/// What a registration changes without a restart: its tag says which one it is.
fn service_of(ask: &JobAsk) -> Service {
    let port = if ask.ports == 0 { String::new() } else { "p0".to_owned() };
    let tags = vec![format!("mark{}", ask.mark)];
    let checks = if ask.mark.is_multiple_of(4) { vec![Check::default()] } else { Vec::new() };
    Service { name: ask.job.clone(), port, tags, checks, ..Service::default() }
}

/// What the task at that position is called.
#[must_use]
pub fn task_name(at: u64) -> String {
    format!("work{at}")
}

fn affinities_of(spread: Spread) -> Vec<Affinity> {
    let affinity = Affinity {
        left: "${node.datacenter}".into(),
        operator: Operator::Equal,
        right: "dc2".into(),
        weight: 100,
    };
    if spread == Spread::RatherSecond { vec![affinity] } else { Vec::new() }
}

fn spreads_of(spread: Spread) -> Vec<types::Spread> {
    let even =
        types::Spread { attribute: "${node.datacenter}".into(), weight: 100, targets: Vec::new() };
    if spread == Spread::OverDatacenters { vec![even] } else { Vec::new() }
}

fn update_of(ask: &UpdateAsk) -> UpdatePolicy {
    UpdatePolicy {
        parallel_max: narrow(ask.parallel),
        min_healthy_ms: MIN_HEALTHY_MS,
        healthy_deadline_ms: 18_000,
        progress_deadline_ms: 20_000,
        canary: narrow(ask.canaries),
        auto_promote: ask.promotion == Promotion::Themselves,
        stagger_ms: STAGGER_MS,
        ..UpdatePolicy::default()
    }
}

fn task_of(ask: &JobAsk, at: u64) -> Task {
    Task {
        name: task_name(at),
        driver: "raw_exec".into(),
        user: String::new(),
        config_json: r#"{"command":"/bin/work"}"#.into(),
        env: BTreeMap::from([(BUILD.to_owned(), ask.build.to_string())]),
        constraints: Vec::new(),
        resources: TaskResources {
            cpu_mhz: if ask.pieces.cores == 0 { narrow(ask.cpu_mhz) } else { 0 },
            cores: narrow(ask.pieces.cores),
            memory_mib: narrow(ask.memory_mib),
            memory_max: match narrow(ask.pieces.memory_max_mib) {
                0 => MemoryMax::Asked,
                most => MemoryMax::Mib(most),
            },
            devices: devices_asked(ask),
        },
        meta: BTreeMap::new(),
        kill_timeout_ms: 3_000,
        kill_signal: String::new(),
        leader: false,
        shutdown_delay_ms: 0,
        logs: LogLimits::default(),
        payload_file: String::new(),
        affinities: Vec::new(),
        services: if ask.mark.is_multiple_of(2) { vec![service_of(ask)] } else { Vec::new() },
        volume_mounts: Vec::new(),
    }
}

fn volumes_asked(ask: &JobAsk) -> BTreeMap<String, VolumeAsk> {
    let asked = |access| ("own".to_owned(), VolumeAsk { source: VOLUME.into(), access });
    ask.volume.map(asked).into_iter().collect()
}

/// Cards of any make; jobs with an even mark would rather have the larger ones.
fn devices_asked(ask: &JobAsk) -> Vec<DeviceAsk> {
    let large = Affinity {
        left: "${device.attr.memory}".into(),
        operator: Operator::GreaterOrEqual,
        right: "16 GiB".into(),
        weight: 50,
    };
    let affinities = if ask.mark.is_multiple_of(2) { vec![large] } else { Vec::new() };
    let count = narrow(ask.pieces.devices);
    let asked = DeviceAsk { name: "gpu".into(), count, constraints: Vec::new(), affinities };
    if count == 0 { Vec::new() } else { vec![asked] }
}

/// What tells the registration of `spec` from others.
#[must_use]
pub fn mark_of(spec: &JobSpec) -> u64 {
    spec.groups.first().map_or(0, |group| group.reschedule.interval_ms)
}

/// The machine of the client `number`.
#[must_use]
pub fn node_of(number: u64, rng: &mut Rng) -> NodeSpec {
    let healthy = DriverInfo { detected: true, healthy: true, description: "Healthy".into() };
    let attributes =
        [("kernel.name", "linux"), ("driver.raw_exec", "1"), ("consul.version", "1.20.1")];
    let capacity = Capacity {
        cpu_mhz: narrow(rng.between(1_000, 8_000)),
        memory_mib: narrow(rng.between(1_024, 8_192)),
        disk_mib: 50_000,
    };
    NodeSpec {
        id: node_id(number),
        name: format!("c{number}"),
        datacenter: if number.is_multiple_of(2) { "dc2".into() } else { "dc1".into() },
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        pool: if number.is_multiple_of(3) { PoolName::of("third") } else { PoolName::default() },
        capacity,
        reserved: Capacity { cpu_mhz: 100, memory_mib: 64, disk_mib: 0 },
        drivers: [("raw_exec".to_owned(), healthy)].into(),
        pieces: pieces_of(number, capacity.cpu_mhz),
        allocs_max: if number.is_multiple_of(4) { 6 } else { 0 },
        host_volumes: volumes_of(number),
        ..NodeSpec::default()
    }
}

/// Most machines have the one volume that there is, and some only to be read.
fn volumes_of(number: u64) -> Named<HostVolume> {
    let access = match number {
        n if n.is_multiple_of(2) => Some(Access::ReadWrite),
        n if n.is_multiple_of(3) => Some(Access::ReadOnly),
        n if n.is_multiple_of(5) => Some(Access::ReadWrite),
        _ => None,
    };
    let volume = |access| (VOLUME.to_owned(), HostVolume { path: "/srv/data".into(), access });
    access.map(volume).into_iter().collect()
}

/// Machines of two to four cores, and every fifth one without any to give.
fn pieces_of(number: u64, cpu_mhz: u32) -> Option<Arc<NodePieces>> {
    let core_count = 2 + u16::try_from(number % 3).unwrap_or_default();
    let pieces = NodePieces {
        core_mhz: cpu_mhz / u32::from(core_count),
        cores: (0..core_count).collect(),
        devices: cards_of(number),
        ..NodePieces::default()
    };
    (!number.is_multiple_of(5)).then(|| pieces.into())
}

/// Two small cards in most machines, and a large one beside them in some.
fn cards_of(number: u64) -> Vec<DeviceGroup> {
    let group = |name: &str, memory: &str, count: u64| DeviceGroup {
        name: DeviceName { vendor: "maker".into(), kind: "gpu".into(), name: name.into() },
        attributes: [("memory".to_owned(), memory.to_owned())].into(),
        instances: (0..count)
            .map(|nth| DeviceInstance { id: format!("{name}-{nth}"), healthy: true })
            .collect(),
    };
    let large = number.is_multiple_of(2).then(|| group("large", "24 GiB", 1));
    let small = (!number.is_multiple_of(7)).then(|| group("small", "8192 MiB", 2));
    large.into_iter().chain(small).collect()
}

/// What the key of the client `number` is made of.
#[must_use]
pub fn node_key_seed(number: u64) -> [u8; 32] {
    let mut seed = *b"a client of the simulator's ....";
    seed[24..].copy_from_slice(&number.to_be_bytes());
    seed
}

/// The id of the client `number`: the hash of its key, as everywhere.
///
/// # Panics
/// Never: every seed makes a key.
#[must_use]
pub fn node_id(number: u64) -> NodeId {
    let pair = Ed25519KeyPair::from_seed_unchecked(&node_key_seed(number));
    let pair = pair.expect("invariant: every seed of 32 bytes makes a key");
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, pair.public_key().as_ref()).as_ref());
    NodeId::of_hash(&hash)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Registers a small service at `index`: for tests of checkers.
pub fn register_in(state: &mut State, index: u64, count: u64) {
    let spec = spec_of(&JobAsk {
        job: "job1".into(),
        kind: JobKind::Service,
        count,
        tasks: 1,
        cpu_mhz: 100,
        memory_mib: 100,
        ports: 0,
        fixed_port: 0,
        spread: Spread::Anywhere,
        mark: 1,
        update: UpdateAsk::default(),
        build: 1,
        after: None,
        pieces: PiecesAsk::default(),
        volume: None,
    });
    let command = Command::RegisterJob { spec, check_index: None };
    let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
    let _registered = fsm::apply(state, Index(index), &entry, &mut Vec::new());
}
