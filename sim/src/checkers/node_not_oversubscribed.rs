//! ∀ node n: Σ capacity of allocs on n that may still run ≤ usable(n), no port twice, no piece twice or that
//! n does not have, and no more allocs than n may have — planner's promise (core/state.rs: an alloc holds room until its client status is terminal).
//!
//! Invariants
//! - it adds up the rows themselves, not the columns that the scheduler reads.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{AllocId, Capacity, Claim, DeviceName, NodeId, NodePieces, NodeSpec};

use super::Verdict;

/// What an alloc holds.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub alloc: AllocId,
    pub claim: Claim<'a>,
}

/// Looks at every node.
pub fn check(state: &State) -> Verdict {
    let mut holdings: BTreeMap<NodeId, Vec<Holding<'_>>> = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| !alloc.client_status.is_terminal()) {
        let holding = Holding { alloc: alloc.id, claim: alloc.claim() };
        holdings.entry(alloc.node).or_default().push(holding);
    }
    for (id, holdings) in holdings {
        let node = state.node(id).ok_or_else(|| format!("allocs hold room on no node {id:?}"))?;
        check_node(&node.spec, &holdings)
            .map_err(|why| format!("node {}: {why}", node.spec.name))?;
    }
    Ok(())
}

fn check_node(node: &NodeSpec, holdings: &[Holding<'_>]) -> Verdict {
    let (most, count) = (node.allocs_max as usize, holdings.len());
    if 0 < most && most < count {
        return Err(format!("{count} allocs where {most} may be"));
    }
    let (usable, mut used) = (node.usable(), Capacity::default());
    let mut ports: BTreeMap<u16, AllocId> = BTreeMap::new();
    for holding in holdings {
        let sum = used.checked_add(holding.claim.capacity);
        used = sum.ok_or_else(|| format!("{:?} overflows the sum", holding.alloc))?;
        for port in holding.claim.ports {
            if let Some(other) = ports.insert(port.value, holding.alloc) {
                return Err(format!("{other:?} and {:?} hold port {}", holding.alloc, port.value));
            }
        }
    }
    check_cores(node.pieces.as_deref(), holdings)?;
    check_devices(node.pieces.as_deref(), holdings)?;
    if usable.holds(used) { Ok(()) } else { Err(format!("{used:?} of {usable:?} is used")) }
}

fn check_cores(offered: Option<&NodePieces>, holdings: &[Holding<'_>]) -> Verdict {
    let mut cores: BTreeMap<u16, AllocId> = BTreeMap::new();
    for holding in holdings {
        for core in holding.claim.pieces.into_iter().flat_map(|pieces| pieces.cores()) {
            if let Some(other) = cores.insert(core, holding.alloc) {
                return Err(format!("{other:?} and {:?} hold core {core}", holding.alloc));
            }
            if !offered.is_some_and(|offered| offered.cores.has(core)) {
                return Err(format!(
                    "{:?} holds core {core}, which is not to be had",
                    holding.alloc
                ));
            }
        }
    }
    Ok(())
}

fn check_devices(offered: Option<&NodePieces>, holdings: &[Holding<'_>]) -> Verdict {
    let mut devices: BTreeMap<(&DeviceName, &String), AllocId> = BTreeMap::new();
    for holding in holdings {
        for (name, id) in holding.claim.pieces.into_iter().flat_map(|pieces| pieces.devices()) {
            if let Some(other) = devices.insert((name, id), holding.alloc) {
                return Err(format!("{other:?} and {:?} hold {name} {id}", holding.alloc));
            }
            let mut groups = offered.into_iter().flat_map(|offered| &offered.devices);
            if !groups.any(|group| group.name == *name && group.healthy().any(|one| one == id)) {
                return Err(format!("{:?} holds {name} {id}, which is not there", holding.alloc));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use drover_core::types::{
        DeviceGrant, DeviceGroup, DeviceInstance, Pieces, PortGrant, TaskPieces,
    };

    use super::*;

    const HALF: Capacity = Capacity { cpu_mhz: 500, memory_mib: 512, disk_mib: 100 };
    const WHOLE: Capacity = Capacity { cpu_mhz: 1_000, memory_mib: 1_024, disk_mib: 1_000 };

    fn whole() -> NodeSpec {
        let instances = vec![
            DeviceInstance { id: "one".into(), healthy: true },
            DeviceInstance { id: "ill".into(), healthy: false },
        ];
        let devices = vec![DeviceGroup { instances, ..DeviceGroup::default() }];
        let pieces = NodePieces { cores: (0..2).collect(), devices, ..NodePieces::default() };
        NodeSpec { capacity: WHOLE, pieces: Some(pieces.into()), ..NodeSpec::default() }
    }

    fn holding(alloc: u64, ports: &[PortGrant]) -> Holding<'_> {
        Holding { alloc: AllocId(alloc), claim: Claim::of(HALF, ports) }
    }

    #[test]
    fn it_fires_when_allocs_hold_more_than_the_node_has() {
        assert_eq!(check_node(&whole(), &[holding(1, &[]), holding(2, &[])]), Ok(()));
        assert!(check_node(&whole(), &[1, 2, 3].map(|alloc| holding(alloc, &[]))).is_err());
    }

    #[test]
    fn it_fires_when_there_are_more_allocs_than_may_be() {
        let two = [holding(1, &[]), holding(2, &[])];
        assert_eq!(check_node(&NodeSpec { allocs_max: 2, ..whole() }, &two), Ok(()));
        assert!(check_node(&NodeSpec { allocs_max: 1, ..whole() }, &two).is_err());
    }

    #[test]
    fn it_fires_when_a_port_is_held_twice() {
        let port = [PortGrant { label: "http".into(), value: 8_080, to: 0 }];
        assert_eq!(check_node(&whole(), &[holding(1, &port), holding(2, &[])]), Ok(()));
        assert!(check_node(&whole(), &[holding(1, &port), holding(2, &port)]).is_err());
    }

    #[test]
    fn it_fires_when_a_core_is_held_twice_or_is_not_there() {
        let cores = |cores: [u16; 1]| Pieces {
            tasks: vec![TaskPieces { cores: cores.into_iter().collect(), ..TaskPieces::default() }],
        };
        let [first, second, third] = [[0], [1], [2]].map(cores);
        let with = |alloc, pieces| Holding {
            alloc: AllocId(alloc),
            claim: Claim { pieces: Some(pieces), ..Claim::of(HALF, &[]) },
        };
        assert_eq!(check_node(&whole(), &[with(1, &first), with(2, &second)]), Ok(()));
        assert!(check_node(&whole(), &[with(1, &first), with(2, &first)]).is_err());
        assert!(check_node(&whole(), &[with(1, &third)]).is_err());
    }

    #[test]
    fn it_fires_when_a_device_is_held_twice_or_is_not_there() {
        let device = |id: &str| {
            let grant = DeviceGrant { ids: vec![id.into()], ..DeviceGrant::default() };
            Pieces { tasks: vec![TaskPieces { devices: vec![grant], ..TaskPieces::default() }] }
        };
        let [one, ill, none] = ["one", "ill", "none"].map(device);
        let with = |alloc, pieces| Holding {
            alloc: AllocId(alloc),
            claim: Claim { pieces: Some(pieces), ..Claim::of(HALF, &[]) },
        };
        assert_eq!(check_node(&whole(), &[with(1, &one)]), Ok(()));
        assert!(check_node(&whole(), &[with(1, &one), with(2, &one)]).is_err());
        assert!(check_node(&whole(), &[with(1, &ill)]).is_err());
        assert!(check_node(&whole(), &[with(1, &none)]).is_err());
    }
}
