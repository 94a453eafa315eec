//! ∀ plan p: every entry between the state that p was made from and p is a plan of the same term ⇒ nothing
//! that p places is refused — the leader knows its own plans (core/planner.rs).
//!
//! Invariants
//! - what a plan could not have known excuses it: any other entry, and plans of leaders before.
use drover_core::fsm::{Command, Entry, Outcome};
use drover_core::raft::Frame;
use drover_core::state::State;
use drover_core::types::{Index, Term};

use super::Verdict;

/// Since when nothing came but plans of one leader.
#[derive(Debug, Default)]
pub struct PlansHold {
    term: Term,
    known_since: Index,
}

impl PlansHold {
    /// `frame` was committed.
    pub fn on_frame(&mut self, frame: &Frame) {
        if self.term != frame.term {
            self.term = frame.term;
            self.known_since = frame.first;
        }
    }

    /// `entry` was applied at `index`, which made `state`.
    pub fn on_applied(
        &mut self,
        state: &State,
        (index, entry): (Index, &Entry),
        outcome: &Outcome,
    ) -> Verdict {
        let Command::ApplyPlan(plan) = &entry.command else {
            self.known_since = index;
            return Ok(());
        };
        match outcome {
            Outcome::Applied { refused_placements: refused @ 1.., .. }
                if self.known_since <= plan.based_on =>
            {
                let job = state.job(plan.job).map_or("?", |job| &job.newest().spec.id);
                let (at, made) = (index.0, plan.based_on.0);
                Err(format!(
                    "entry {at}, a plan for {job}, finds no room for {refused} of its placements. It was \
                     made when {made} was applied, and nothing came since but other plans of the same leader"
                ))
            }
            Outcome::Applied { .. } | Outcome::Refused(_) | Outcome::Repeated { .. } => Ok(()),
        }
    }
}
