//! How each node stands to a group of which it should have one: for people who ask.
//!
//! Invariants
//! - a node is a candidate if and only if an alloc would be placed there now.
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{
    Against, OnNode, Sight, Step, Terrain, asked_at, by_node, fill_group, permille, score,
};
use crate::scheduler::draft::Draft;
use crate::scheduler::feasible::{Feasibility, count_of};
use crate::scheduler::look::{Asked, Look, Sought, Standing, Tried};
use crate::scheduler::rank::trial::{of_node, of_room};
use crate::scheduler::room::{Ask, Room};
use crate::time::WallTime;
use crate::types::{Allocation, Group, Job, NodeSlot, PlacementFailure, ScoreParts};

/// The nodes once the groups before the one that is sought have got theirs.
pub(in crate::scheduler) fn look<'a>(
    draft: &mut Draft<'a>,
    (job, allocs): (&'a Job, impl Iterator<Item = &'a Allocation>),
    sought: Sought,
    (now, seed): (WallTime, u64),
) -> Look {
    let (state, spec, at) = (draft.view.state, &job.newest().spec, sought.group);
    let sight = Sight { state, job, asked_at: asked_at(draft.eval) };
    let (on_nodes, _) = by_node(sight, allocs);
    for (at, on_nodes) in on_nodes.iter().enumerate().take(at) {
        fill_group(draft, sight, at, on_nodes, (now, seed));
    }
    let (group, fleet) = (&spec.groups[at], state.fleet());
    let (suitable, ask) = (draft.memo.suitable(state, spec, at), Ask::of(group));
    let on = |slot| on_nodes[at].get(slot).copied().unwrap_or_default();
    let looked_at = PlacementFailure {
        nodes_evaluated: suitable.evaluated_count,
        nodes_available: suitable.available.clone(),
        filtered: suitable.filtered.clone(),
        ..PlacementFailure::default()
    };
    let mut look = Look { looked_at, ..Look::outside(state) };
    for slot in fleet.slots() {
        let terrain =
            Terrain { is_open: fleet.is_placeable(slot), is_suitable: suitable.nodes.has(slot) };
        match sight.step(&on(slot), group, at, terrain) {
            Step::Place(_) => {
                look.missing_count += 1;
                match draft.room.lacking(slot, &ask) {
                    None => look.candidates.push(standing(slot, &ask, &draft.room)),
                    Some(lacking) => {
                        *count_of(&mut look.looked_at.exhausted, &lacking.to_string()) += 1;
                    }
                }
            }
            Step::Nothing | Step::Stop(..) | Step::InPlace(_) | Step::Update(_) => {
                look.served_count += usize::from(terrain.is_open && terrain.is_suitable);
            }
        }
    }
    look.tried = sought.node.map(|slot| {
        let mut tried: Vec<Tried> = Feasibility::of(spec, group).tried(state, slot);
        tried.extend([of_node(slot, &draft.room), need(sight, &on(slot), group, at)]);
        tried.extend(of_room(slot, &ask, &draft.room));
        tried
    });
    look
}

/// Nobody is beaten: each node gets its own.
fn standing(slot: NodeSlot, ask: &Ask<'_>, room: &Room<'_>) -> Standing {
    let mut used = room.used(slot);
    used.add(ask.capacity_on(room.fleet(), slot).into());
    let fit = permille(score(room.usable(slot), used, Against::default()));
    let parts = ScoreParts { fit, ..ScoreParts::default() };
    Standing { slot, score_permille: fit, parts }
}

/// Whether the node would get one if nothing else were against it.
fn need(sight: Sight<'_>, on: &OnNode<'_>, group: &Group, at: usize) -> Tried {
    let terrain = Terrain { is_open: true, is_suitable: true };
    let step = sight.step(on, group, at, terrain);
    let found = match step {
        Step::Place(_) => "none",
        Step::Stop(..) => "one that is to stop",
        Step::InPlace(_) => "one that takes the new version in place",
        Step::Update(_) => "one of an older version",
        Step::Nothing if on.live.is_some() => "one",
        Step::Nothing if on.ending.is_some() => "one that has not ended yet",
        Step::Nothing if on.is_done => "one that is done",
        Step::Nothing => "none, and the group's count is 0",
    };
    let is_met = matches!(step, Step::Place(_));
    let demand = "has no alloc of the group".to_string();
    Tried { asked: Asked::Need, demand, found: Some(found.to_string()), is_met }
}
