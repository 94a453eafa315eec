//! ∀ node n: Σ capacity of allocs on n that may still run ≤ usable(n), and no port twice — planner's
//! promise (core/state.rs: an alloc holds room until its client status is terminal).
//!
//! Invariants
//! - it adds up the rows themselves, not the columns that the scheduler reads.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{AllocId, Capacity, NodeId, PortGrant};

use super::Verdict;

/// What an alloc holds.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub alloc: AllocId,
    pub capacity: Capacity,
    pub ports: &'a [PortGrant],
}

/// Looks at every node.
pub fn check(state: &State) -> Verdict {
    let mut holdings: BTreeMap<NodeId, Vec<Holding<'_>>> = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| !alloc.client_status.is_terminal()) {
        let holding = Holding { alloc: alloc.id, capacity: alloc.capacity, ports: &alloc.ports };
        holdings.entry(alloc.node).or_default().push(holding);
    }
    for (id, holdings) in holdings {
        let node = state.node(id).ok_or_else(|| format!("allocs hold room on no node {id:?}"))?;
        check_node(node.spec.usable(), &holdings)
            .map_err(|why| format!("node {}: {why}", node.spec.name))?;
    }
    Ok(())
}

fn check_node(usable: Capacity, holdings: &[Holding<'_>]) -> Verdict {
    let mut used = Capacity::default();
    let mut ports: BTreeMap<u16, AllocId> = BTreeMap::new();
    for holding in holdings {
        let sum = used.checked_add(holding.capacity);
        used = sum.ok_or_else(|| format!("{:?} overflows the sum", holding.alloc))?;
        for port in holding.ports {
            if let Some(other) = ports.insert(port.value, holding.alloc) {
                return Err(format!("{other:?} and {:?} hold port {}", holding.alloc, port.value));
            }
        }
    }
    if usable.holds(used) { Ok(()) } else { Err(format!("{used:?} of {usable:?} is used")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Capacity = Capacity { cpu_mhz: 500, memory_mib: 512, disk_mib: 100 };
    const WHOLE: Capacity = Capacity { cpu_mhz: 1_000, memory_mib: 1_024, disk_mib: 1_000 };

    fn holding(alloc: u64, ports: &[PortGrant]) -> Holding<'_> {
        Holding { alloc: AllocId(alloc), capacity: HALF, ports }
    }

    #[test]
    fn it_fires_when_allocs_hold_more_than_the_node_has() {
        assert_eq!(check_node(WHOLE, &[holding(1, &[]), holding(2, &[])]), Ok(()));
        assert!(check_node(WHOLE, &[1, 2, 3].map(|alloc| holding(alloc, &[]))).is_err());
    }

    #[test]
    fn it_fires_when_a_port_is_held_twice() {
        let port = [PortGrant { label: "http".into(), value: 8_080, to: 0 }];
        assert_eq!(check_node(WHOLE, &[holding(1, &port), holding(2, &[])]), Ok(()));
        assert!(check_node(WHOLE, &[holding(1, &port), holding(2, &port)]).is_err());
    }
}
