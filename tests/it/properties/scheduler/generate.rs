//! Nodes, jobs and events out of a seed.

use drover_core::fsm::Command;
use drover_core::rng::Rng;
use drover_core::types::*;

use super::rig::{Cluster, changed, constraint, job, node, with_count};

fn small(rng: &mut Rng, min: u64, max: u64) -> u32 {
    u32::try_from(rng.between(min, max)).expect("a small number")
}

fn one_of<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[usize::try_from(rng.between(0, from.len() as u64 - 1)).expect("a small number")].clone()
}

pub(crate) fn a_node(rng: &mut Rng, id: u128) -> NodeSpec {
    let mut spec = node(id);
    spec.capacity.cpu_mhz = small(rng, 500, 6_000);
    spec.capacity.memory_mib = small(rng, 500, 9_000);
    spec.capacity.disk_mib = small(rng, 500, 5_000);
    spec.reserved = Capacity { cpu_mhz: 100, memory_mib: 100, disk_mib: 0 };
    spec.datacenter = one_of(rng, &["dc1", "dc1", "dc2"]).to_owned();
    spec.class = one_of(rng, &["", "big"]).to_owned();
    spec.pool = PoolName::of(one_of(rng, &["default", "default", "gpu"]));
    spec.meta.insert("rack".to_owned(), rng.between(1, 3).to_string());
    if rng.chance(100) {
        spec.drivers = Named::default();
    }
    if rng.chance(200) {
        spec.reserved_ports = vec![8_080, 22];
    }
    // Apart, so that the rest of a seed's history is as it was without.
    in_pieces(&mut rng.fork("pieces"), &mut spec);
    if rng.fork("consul").chance(800) {
        spec.attributes.insert("consul.version".to_owned(), "1.20.1".to_owned());
    }
    with_volumes(&mut rng.fork("volumes"), &mut spec);
    spec
}

/// A volume somewhere, which not everybody may write to.
fn with_volumes(rng: &mut Rng, spec: &mut NodeSpec) {
    for name in ["data", "logs"] {
        let access = one_of(rng, &[Access::ReadWrite, Access::ReadWrite, Access::ReadOnly]);
        if rng.chance(850) {
            spec.host_volumes.insert(name.to_owned(), a_volume(access));
        }
    }
}

pub(crate) fn a_volume(access: Access) -> HostVolume {
    HostVolume { path: "/srv".to_owned(), access }
}

fn in_pieces(rng: &mut Rng, spec: &mut NodeSpec) {
    if rng.chance(150) {
        spec.allocs_max = small(rng, 1, 4);
    }
    if rng.chance(500) {
        let cores = (0..4_u16).filter(|_| rng.chance(700)).collect();
        let core_mhz = spec.capacity.cpu_mhz / 4;
        let devices = [("a", "8 GiB"), ("b", "16384 MiB")].into_iter();
        let devices =
            devices.filter(|_| rng.chance(600)).map(|(name, memory)| a_make(name, memory, 2));
        let devices = devices.collect();
        spec.pieces = Some(NodePieces { core_mhz, cores, devices, ..NodePieces::default() }.into());
    }
}

/// Cards of one make.
pub(crate) fn a_make(name: &str, memory: &str, count: u32) -> DeviceGroup {
    let name =
        DeviceName { vendor: "maker".to_owned(), kind: "gpu".to_owned(), name: name.to_owned() };
    let instance = |nth| DeviceInstance { id: format!("{}{nth}", name.name), healthy: true };
    let instances = (0..count).map(instance).collect();
    let attributes = [("memory".to_owned(), memory.to_owned())].into();
    DeviceGroup { name, attributes, instances }
}

/// Nodes that together meet every demand of `a_job`, with room for all.
pub(crate) fn add_large_nodes(cluster: &mut Cluster) {
    for (id, rack) in (101..=160).zip([1, 2, 3].into_iter().cycle()) {
        let mut spec = node(id);
        spec.capacity = Capacity { cpu_mhz: 100_000, memory_mib: 100_000, disk_mib: 1_000_000 };
        spec.class = "big".to_owned();
        spec.pool = PoolName::of(if id % 2 == 0 { "default" } else { "gpu" });
        spec.meta.insert("rack".to_owned(), rack.to_string());
        spec.attributes.insert("consul.version".to_owned(), "1.20.1".to_owned());
        let volumes = ["data", "logs"].map(|name| (name.to_owned(), a_volume(Access::ReadWrite)));
        spec.host_volumes = volumes.into();
        let cores = (0..40).collect();
        let devices = vec![a_make("a", "8 GiB", 20), a_make("b", "16384 MiB", 20)];
        let pieces = NodePieces { core_mhz: 2_500, cores, devices, ..NodePieces::default() };
        spec.pieces = Some(pieces.into());
        cluster.add_node(spec);
    }
}

pub(crate) fn a_job(rng: &mut Rng, nth: u64) -> JobSpec {
    // A job keeps its type.
    let kind = match nth % 6 {
        1 | 3 => JobKind::Batch,
        4 => JobKind::System,
        5 => JobKind::Sysbatch,
        _ => JobKind::Service,
    };
    let mut spec = job(kind, small(rng, 0, 6));
    spec.id = format!("job{nth}");
    spec.priority = u8::try_from(rng.between(1, 100)).expect("a small number");
    spec.datacenters = one_of(rng, &[vec!["*".to_owned()], vec!["dc1".to_owned()]]);
    spec.node_pool = PoolName::of(one_of(rng, &["default", "default", "gpu", "all"]));
    if rng.chance(300) {
        spec.constraints.push(one_of(
            rng,
            &[
                constraint("${meta.rack}", "=", "2"),
                constraint("${meta.rack}", "<", "3"),
                constraint("${node.class}", "!=", ""),
                constraint("${node.unique.name}", "!=", "n3"),
                constraint("${attr.none}", "is_not_set", ""),
                constraint("${node.pool}", "=", "gpu"),
            ],
        ));
    }
    for (at, name) in ["web", "api"].into_iter().enumerate() {
        let mut group = spec.groups[0].clone();
        name.clone_into(&mut group.name);
        fit_out(rng, &mut group);
        if kind.is_on_every_node() {
            group.count = group.count.min(1);
            group.reschedule = ReschedulePolicy::default_of(kind);
            group.update.parallel_max = one_of(rng, &[0, 5]);
            group.update.stagger_ms = 5_000;
            // A port that it has everywhere is nobody else's.
            group.network.ports.iter_mut().for_each(|port| port.fixed = None);
        }
        if at == 0 {
            spec.groups[0] = group;
        } else if rng.chance(400) {
            spec.groups.push(group);
        }
    }
    spec
}

/// What it would rather have.
pub(crate) fn lean(rng: &mut Rng, mut spec: JobSpec) -> JobSpec {
    let attributes = [
        "${node.datacenter}",
        "${node.class}",
        "${meta.rack}",
        "${node.unique.name}",
        "${meta.rack}",
    ];
    let spreads = |rng: &mut Rng| -> Vec<Spread> {
        let count = one_of(rng, &[0, 0, 1, 1, 2]);
        let one = |rng: &mut Rng| {
            let attribute = one_of(rng, &attributes).to_owned();
            let weight = u8::try_from(small(rng, 0, 100)).expect("a small number");
            let values =
                one_of(rng, &[vec![], vec![], vec!["dc1", "1"], vec!["big", "2", "3", "n1"]]);
            let target = |value: &str| SpreadTarget {
                value: value.to_owned(),
                percent: one_of(rng, &[0, 10, 25, 25]),
            };
            let targets = values.into_iter().map(target).collect();
            Spread { attribute, weight, targets }
        };
        (0..count).map(|_| one(rng)).collect()
    };
    let affinities = |rng: &mut Rng| -> Vec<Affinity> {
        let count = one_of(rng, &[0, 0, 1, 2]);
        let one = |rng: &mut Rng| {
            let Constraint { left, operator, right } = one_of(
                rng,
                &[
                    constraint("${meta.rack}", "=", "2"),
                    constraint("${meta.rack}", "<", "3"),
                    constraint("${node.datacenter}", "!=", "dc1"),
                    constraint("${node.unique.name}", "=", "n3"),
                    constraint("${node.class}", "=", "big"),
                ],
            );
            Affinity { left, operator, right, weight: one_of(rng, &[100, 50, 7, -20, -100]) }
        };
        (0..count).map(|_| one(rng)).collect()
    };
    (spec.affinities, spec.spreads) = (affinities(rng), spreads(rng));
    for group in &mut spec.groups {
        (group.affinities, group.spreads) = (affinities(rng), spreads(rng));
        if rng.chance(200) {
            let limit = one_of(rng, &[constraint("${meta.rack}", "distinct_property", "2")]);
            group.constraints.push(limit);
        }
    }
    spec
}

fn a_device(rng: &mut Rng) -> DeviceAsk {
    let large = constraint("${device.attr.memory}", ">", "9 GiB");
    let Constraint { left, operator, right } = large.clone();
    let liked = Affinity { left, operator, right, weight: one_of(rng, &[50, -50]) };
    let name = one_of(rng, &["gpu", "maker/gpu", "maker/gpu/a"]);
    // Those are small.
    let may_be_large = name != "maker/gpu/a";
    DeviceAsk {
        name: name.to_owned(),
        count: small(rng, 1, 2),
        constraints: if may_be_large && rng.chance(200) { vec![large] } else { vec![] },
        affinities: if rng.chance(500) { vec![liked] } else { vec![] },
    }
}

fn ask_for_pieces(rng: &mut Rng, group: &mut Group) {
    if rng.chance(150) {
        (group.tasks[0].resources.cpu_mhz, group.tasks[0].resources.cores) = (0, small(rng, 1, 2));
    }
    if rng.chance(150) {
        group.tasks[0].resources.devices = vec![a_device(rng)];
    }
}

fn ask_for_volumes(rng: &mut Rng, group: &mut Group) {
    let access = one_of(rng, &[Access::ReadWrite, Access::ReadOnly]);
    let source = one_of(rng, &["data", "logs"]).to_owned();
    if rng.chance(60) {
        group.volumes = [("v".to_owned(), VolumeAsk { source, access })].into();
    }
}

fn fit_out(rng: &mut Rng, group: &mut Group) {
    group.count = small(rng, 0, 6);
    group.disk_mib = small(rng, 0, 500);
    group.tasks[0].resources.cpu_mhz = small(rng, 1, 1_500);
    group.tasks[0].resources.memory_mib = small(rng, 1, 1_500);
    group.update.parallel_max = small(rng, 0, 2);
    group.reschedule.unlimited = true;
    ask_for_pieces(&mut rng.fork("pieces"), group);
    if rng.fork("services").chance(100) {
        group.services = vec![Service { name: "web".to_owned(), ..Service::default() }];
    }
    ask_for_volumes(&mut rng.fork("volumes"), group);
    if rng.chance(200) {
        group.constraints.push(constraint("", "distinct_hosts", ""));
    }
    if rng.chance(300) {
        let fixed = rng.chance(400).then_some(8_080);
        let dynamic = PortAsk { label: "rpc".to_owned(), fixed: None, to: 0 };
        group.network.ports = vec![PortAsk { label: "http".to_owned(), fixed, to: 80 }, dynamic];
    }
}

/// One thing that a user, a client or a machine does.
pub(crate) fn something_happens(cluster: &mut Cluster, rng: &mut Rng) {
    let nodes: Vec<u128> = cluster.state.nodes().map(|node| node.spec.id.0).collect();
    let id = one_of(rng, &nodes);
    match rng.between(0, 11) {
        0 | 1 => {
            let nth = rng.between(0, 5);
            let plain = a_job(rng, nth);
            let spec = if rng.chance(500) { lean(rng, plain) } else { plain };
            // Another version of a running job keeps its shape, as a user's edit would.
            match cluster.state.job_named("default", &spec.id) {
                Some(known) if !known.stopped => {
                    let old = known.newest().spec.clone();
                    let new = if rng.chance(500) {
                        changed(&old)
                    } else {
                        let most = if old.kind.is_on_every_node() { 1 } else { 6 };
                        with_count(&old, small(rng, 0, most))
                    };
                    cluster.register(&new);
                }
                _ => {
                    cluster.register(&spec);
                }
            }
        }
        2 => {
            let spec = a_job(rng, rng.clone().between(0, 5));
            if cluster.state.job_named("default", &spec.id).is_some() {
                cluster.deregister(&spec);
            }
        }
        3 => cluster.mark(id, NodeStatus::Down),
        4 | 5 => cluster.mark(id, NodeStatus::Ready),
        6 => {
            let eligible = rng.chance(700);
            cluster.run(Command::SetNodeEligible { node: NodeId(id), eligible });
        }
        7 => {
            let spec = a_node(rng, id);
            cluster.add_node(spec);
        }
        8 => an_alloc_ends(cluster, rng),
        9 => {
            let live: Vec<AllocId> = cluster.state.allocs().map(|alloc| alloc.id).collect();
            if !live.is_empty() {
                let alloc = one_of(rng, &live);
                cluster.run(Command::StopAlloc { alloc });
            }
        }
        10 => cluster.wait_ms(rng.between(1, 50_000)),
        _ => cluster.clients_act(),
    }
}

fn an_alloc_ends(cluster: &mut Cluster, rng: &mut Rng) {
    let jobs: Vec<JobId> = cluster.state.jobs().map(|job| job.id).collect();
    let live: Vec<(JobId, u32)> = jobs
        .into_iter()
        .flat_map(|job| cluster.live(job).into_iter().map(move |alloc| (job, alloc.ordinal)))
        .collect();
    if !live.is_empty() {
        let (job, ordinal) = one_of(rng, &live);
        let status = one_of(rng, &[ClientStatus::Failed, ClientStatus::Complete]);
        cluster.end(job, ordinal, status);
    }
}
