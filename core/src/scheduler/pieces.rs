//! Which pieces of a node an alloc would get.
//!
//! Invariants
//! - tasks choose in their order, and each takes the lowest that are free: the same state gives the same pieces;
//! - what is chosen is free, by the fleet's word.
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::state::fits::{Overlay, Shortage};
use crate::state::fleet::Fleet;
use crate::types::{CoreSet, Group, NodeSlot, Pieces, TaskPieces};

/// What the node would give an alloc of `group` in pieces.
pub(super) fn choose(
    fleet: &Fleet,
    slot: NodeSlot,
    overlay: &Overlay,
    group: &Group,
) -> Result<Option<Box<Pieces>>, Shortage> {
    if !group.wants_pieces() {
        return Ok(None);
    }
    let offered = fleet.pieces(slot).ok_or(Shortage::Cores)?;
    let mut cores = offered.cores.iter().filter(|&core| fleet.core_is_free(slot, overlay, core));
    let mut tasks = Vec::new();
    for task in group.tasks.iter().filter(|task| task.resources.wants_pieces()) {
        let wanted = task.resources.cores;
        let taken: CoreSet = cores.by_ref().take(wanted as usize).collect();
        if taken.count() < wanted {
            return Err(Shortage::Cores);
        }
        tasks.push(TaskPieces { task: task.name.clone(), cores: taken });
    }
    Ok(Pieces::boxed(tasks))
}

/// How many cores nobody has, and how many there are.
pub(super) fn cores_free(fleet: &Fleet, slot: NodeSlot, overlay: &Overlay) -> (u32, u32) {
    let Some(offered) = fleet.pieces(slot) else { return (0, 0) };
    let free = offered.cores.iter().filter(|&core| fleet.core_is_free(slot, overlay, core)).count();
    (u32::try_from(free).expect("invariant: at most 65,536 cores"), offered.cores.count())
}
