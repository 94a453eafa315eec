//! Groups that wait, node by node.
//!
//! Invariants
//! - nothing begins and nothing is replaced; what must not run is stopped.
use super::{OnNode, Sight, Step, Terrain};
use crate::scheduler::draft::Draft;
use crate::state::by_slot::BySlot;
use crate::types::Stop;

/// One group that has to wait: what must stop does, and nothing new begins.
pub(super) fn hold_group<'a>(
    draft: &mut Draft<'a>,
    sight: Sight<'a>,
    at: usize,
    on_nodes: &BySlot<OnNode<'a>>,
) {
    let (spec, fleet) = (&sight.job.newest().spec, sight.state.fleet());
    let (suitable, mut held) = (draft.memo.suitable(sight.state, spec, at), 0);
    for slot in fleet.slots() {
        let on = on_nodes.get(slot).copied().unwrap_or_default();
        let (is_open, is_suitable) = (fleet.is_placeable(slot), suitable.nodes.has(slot));
        match sight.step(&on, &spec.groups[at], at, Terrain { is_open, is_suitable }) {
            Step::Stop(alloc, reason) => draft.stop(alloc::vec![Stop { alloc: alloc.id, reason }]),
            Step::Place(_) => held += 1,
            Step::Nothing | Step::InPlace(_) | Step::Update(_) => {}
        }
    }
    draft.hold_back(at, held);
}
