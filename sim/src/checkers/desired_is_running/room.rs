//! Whether a node has room for one more alloc of a group, as the rows themselves say.
//!
//! Invariants
//! - demands on devices are judged by the plain rules of `workload`: any card does.
use std::collections::BTreeSet;

use drover_core::state::State;
use drover_core::types::{
    Allocation, Capacity, DeviceGroup, DeviceName, Group, Node, NodePieces, NodeStatus,
};

use crate::checkers::volumes_are_kept;

/// What is taken of a node.
#[derive(Default)]
struct Taken<'a> {
    amounts: Capacity,
    ports: BTreeSet<u16>,
    cores: BTreeSet<u16>,
    devices: BTreeSet<(&'a DeviceName, &'a String)>,
    count: u32,
}

impl<'a> Taken<'a> {
    fn add(&mut self, node: &Node, alloc: &'a Allocation) {
        let claim = alloc.claim();
        let sum = self.amounts.checked_add(claim.capacity);
        self.amounts = sum.unwrap_or(node.spec.capacity);
        self.ports.extend(claim.ports.iter().map(|port| port.value));
        self.cores.extend(claim.pieces.into_iter().flat_map(|pieces| pieces.cores()));
        self.devices.extend(claim.pieces.into_iter().flat_map(|pieces| pieces.devices()));
        self.count += 1;
    }

    /// How many of the devices are left.
    fn left_of(&self, group: &DeviceGroup) -> usize {
        group.healthy().filter(|&id| !self.devices.contains(&(&group.name, id))).count()
    }

    fn leaves_pieces(&self, pieces: Option<&NodePieces>, group: &Group) -> bool {
        let Some(pieces) = pieces else { return !group.wants_pieces() };
        let cores = pieces.cores.iter().filter(|core| !self.cores.contains(core)).count();
        // Each task asks for as many as the others, and has all of one make.
        let asks = group.device_asks().map(|ask| ask.count as usize);
        let often = |each| pieces.devices.iter().map(|of| self.left_of(of) / each).sum::<usize>();
        group.core_count() as usize <= cores
            && asks.clone().all(|each| asks.clone().count() <= often(each))
    }
}

pub(super) fn has_room(state: &State, node: &Node, group: &Group) -> bool {
    if node.status != NodeStatus::Ready || !node.eligible {
        return false;
    }
    let holding = state.allocs_of_node(node.spec.id).filter(|a| !a.client_status.is_terminal());
    let mut taken = Taken::default();
    holding.for_each(|alloc| taken.add(node, alloc));
    let mut fixed = group.network.ports.iter().filter_map(|port| port.fixed);
    let ports_are_free = fixed.all(|port| !taken.ports.contains(&port));
    let free = node.spec.usable().checked_sub(taken.amounts).unwrap_or_default();
    let may_have_more = node.spec.allocs_max == 0 || taken.count < node.spec.allocs_max;
    let pieces = node.spec.pieces.as_deref();
    ports_are_free
        && may_have_more
        && taken.leaves_pieces(pieces, group)
        && group.capacity_on(pieces).is_some_and(|ask| free.holds(ask))
}

/// Whether the node has each volume that is asked for.
pub(super) fn has_volumes(node: &Node, group: &Group) -> bool {
    group.volumes.values().all(|ask| volumes_are_kept::has(&node.spec, ask))
}

/// Whether the node has as many devices of one make as are asked for, whoever has them.
pub(super) fn has_such_devices(node: &Node, group: &Group) -> bool {
    let makes = || node.spec.pieces.iter().flat_map(|pieces| &pieces.devices);
    let mut asks = group.device_asks().map(|ask| ask.count as usize);
    asks.all(|count| makes().any(|make| count <= make.healthy().count()))
}
