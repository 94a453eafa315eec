//! ∀ drain: when it is called complete, no process lives on the node of an alloc that the tables know,
//! unless the node was down and the alloc was given up as lost; after healing, ◇: no drain with a deadline
//! goes on — whoever is told that a node is empty switches it off (core/fsm/drain.rs).
//!
//! Invariants
//! - what lives is asked of the drivers, not of the tables;
//! - each completion is looked at once, when the first server applies it: later there may be new work.
use std::collections::BTreeSet;

use drover_core::fsm::DRAIN_GIVEN_UP;
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::{
    AllocId, ClientStatus, DesiredStatus, DrainStatus, Index, JobKind, Node, NodeId, NodeStatus,
    NodeSubsystem,
};

use super::Verdict;

/// Which completions were seen.
#[derive(Debug, Default)]
pub struct DrainsEnd {
    seen: BTreeSet<(NodeId, WallTime, WallTime)>,
    /// The last entry known to have changed a node.
    looked_at: Index,
}

impl DrainsEnd {
    /// A server has these tables now, whose nodes were last changed by the entry `changed`.
    pub fn on_state(
        &mut self,
        state: &State,
        changed: Index,
        live: impl Fn() -> BTreeSet<AllocId>,
    ) -> Verdict {
        if changed <= self.looked_at {
            return Ok(());
        }
        self.looked_at = changed;
        let drained =
            state.nodes().filter_map(|node| Some((node.spec.id, node.last_drain.as_ref()?)));
        for (node, last) in drained.filter(|(_, last)| last.status == DrainStatus::Complete) {
            if self.seen.insert((node, last.started_at, last.updated_at)) {
                check_empty(state, node, &live())?;
            }
        }
        Ok(())
    }

    /// How many drains were seen to be complete.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.len() as u64
    }
}

fn check_empty(state: &State, node: NodeId, live: &BTreeSet<AllocId>) -> Verdict {
    let is_down =
        state.node(node).is_some_and(|node| node.status == NodeStatus::Down || gave_up(node));
    let mut there = state.allocs_of_node(node);
    let runs = there.find(|alloc| {
        let is_given_up = is_down && alloc.client_status == ClientStatus::Lost;
        // What a drain ignores was never told to stop.
        let is_ignored = alloc.desired == DesiredStatus::Run
            && state.job(alloc.job).is_some_and(|job| job.newest().spec.kind == JobKind::System);
        live.contains(&alloc.id) && !is_given_up && !is_ignored
    });
    runs.map_or(Ok(()), |alloc| {
        let (id, status) = (alloc.id, alloc.client_status);
        Err(format!("{node:?} is called empty, and {id:?} runs there ({status:?})"))
    })
}

/// Whether the last drain ended because the node was down; it may be back since, within one batch of
/// entries.
fn gave_up(node: &Node) -> bool {
    let last = node.events.iter().rfind(|event| event.subsystem == NodeSubsystem::Drain);
    last.is_some_and(|event| event.message == DRAIN_GIVEN_UP)
}

/// Looks at every node when all faults are over.
pub fn check(state: &State) -> Verdict {
    let nodes = state.draining().filter_map(|id| state.node(id));
    let waits = nodes.filter_map(|node| Some((node, node.drain.as_ref()?.force_at?))).next();
    waits.map_or(Ok(()), |(node, until)| {
        let (name, clock) = (&node.spec.name, state.clock().unix_ms);
        let allocs = state.allocs_of_node(node.spec.id);
        let there = allocs.filter(|alloc| !alloc.client_status.is_terminal()).map(|alloc| {
            (alloc.id, alloc.desired, alloc.client_status, alloc.migration, alloc.assign_index)
        });
        let there: Vec<_> = there.collect();
        let until = until.unix_ms;
        Err(format!("{name} is still drained at {clock}, its deadline was {until}: {there:?}"))
    })
}
