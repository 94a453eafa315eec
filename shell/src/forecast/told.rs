//! The difference between two states, as far as allocs and those who wait for room are concerned.
//!
//! Invariants
//! - an alloc is at most one of: moved, placed, ended.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{
    AllocId, Allocation, DesiredStatus, JobId, NodeId, NodeStatus, PlacementFailure,
};

/// What would be different.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// On another node than before.
    pub moves: Vec<Move>,
    /// Run that did not before, by job and group.
    pub placed: BTreeMap<(JobId, String), u32>,
    /// Run no more and are not replaced, by job and group.
    pub ended: BTreeMap<(JobId, String), u32>,
    /// More would wait for room than before.
    pub unplaced: Vec<Unplaced>,
}

/// One alloc that would be elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move {
    pub alloc: AllocId,
    pub job: JobId,
    pub group: String,
    pub ordinal: u32,
    pub from: NodeId,
    pub to: NodeId,
}

/// Allocs of a group that would wait for room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unplaced {
    pub job: JobId,
    pub group: String,
    pub queued: u32,
    pub queued_before: u32,
    pub why: PlacementFailure,
}

/// What an alloc stands for, whichever row it has.
type Place = (JobId, String, u32);

impl Told {
    pub(super) fn between(before: &State, after: &State) -> Self {
        let mut told = Self { unplaced: unplaced(before, after), ..Self::default() };
        let mut fresh: BTreeMap<Place, Vec<&Allocation>> = BTreeMap::new();
        let is_new = |alloc: &&Allocation| before.alloc(alloc.id).is_none();
        for alloc in after.allocs().filter(is_new).filter(|alloc| is_live(after, alloc)) {
            fresh.entry(place(after, alloc)).or_default().push(alloc);
        }
        for alloc in before.allocs().filter(|alloc| is_live(before, alloc)) {
            if after.alloc(alloc.id).is_some_and(|now| is_live(after, now)) {
                continue;
            }
            let place = place(before, alloc);
            match fresh.get_mut(&place).and_then(Vec::pop) {
                Some(next) => told.moves.push(Move {
                    alloc: alloc.id,
                    job: alloc.job,
                    group: place.1,
                    ordinal: alloc.ordinal,
                    from: alloc.node,
                    to: next.node,
                }),
                None => *told.ended.entry((place.0, place.1)).or_default() += 1,
            }
        }
        for ((job, group, _), allocs) in fresh {
            let count = u32::try_from(allocs.len()).unwrap_or(u32::MAX);
            if 0 < count {
                *told.placed.entry((job, group)).or_default() += count;
            }
        }
        told
    }
}

/// Whether it should run, and can.
fn is_live(state: &State, alloc: &Allocation) -> bool {
    let node = state.node(alloc.node);
    let is_up = node.is_some_and(|node| node.status != NodeStatus::Down);
    is_up && alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
}

fn place(state: &State, alloc: &Allocation) -> Place {
    let group = state.group_name(alloc).map(str::to_owned).unwrap_or_default();
    (alloc.job, group, alloc.ordinal)
}

fn unplaced(before: &State, after: &State) -> Vec<Unplaced> {
    let mut unplaced = Vec::new();
    for eval in after.blocked_evals() {
        let known = before.blocked_eval_of_job(eval.job);
        for (group, &queued) in &eval.queued {
            let queued_before = known.and_then(|eval| eval.queued.get(group)).copied();
            let queued_before = queued_before.unwrap_or(0);
            if queued_before < queued {
                let why = eval.failures.get(group).cloned().unwrap_or_default();
                let (job, group) = (eval.job, group.clone());
                unplaced.push(Unplaced { job, group, queued, queued_before, why });
            }
        }
    }
    unplaced
}
