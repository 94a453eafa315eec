//! Allocs for which there is no room, but will be: what a draft stops for them.
//!
//! Invariants
//! - as many as the budget allows, or, as the first change of a plan, as many as it takes.
use super::{Draft, Progress};
use crate::scheduler::crowd::Crowd;
use crate::scheduler::preempt::Made;
use crate::scheduler::rank::Ranking;
use crate::scheduler::room::Ask;
use crate::types::{Group, NodeSlot};

impl Draft<'_> {
    /// Whether nothing is changed yet.
    fn is_empty(&self) -> bool {
        let is_moved = self.stops.is_empty() && self.in_place.is_empty();
        is_moved && self.placements.is_empty() && self.preemption.is_empty()
    }

    /// There is no room, but there will be: on a node where less important allocs have been stopped
    /// for the job, or are now. The alloc is placed when they have ended.
    pub(super) fn preempts(&mut self, at: usize, ranking: &Ranking<'_>, crowd: &mut Crowd) -> bool {
        // What was spent on the alloc itself is not.
        self.left += 1;
        let may_follow = |slot: NodeSlot| ranking.may_follow(slot, &self.room, crowd);
        let most = self.victims_max();
        let made = self.preemption.make_room(ranking, &self.room, may_follow, most);
        if let Made::Room { slot, .. } = made {
            crowd.join(at, slot);
        }
        self.note_made(made, ranking.ask().group)
    }

    /// The same for an alloc that is meant for this node.
    pub(in crate::scheduler) fn preempts_on(&mut self, slot: NodeSlot, ask: &Ask<'_>) {
        let most = self.victims_max();
        let made = self.preemption.make_room_on(slot, ask, &self.room, most);
        self.note_made(made, ask.group);
    }

    /// The first change is made whatever it costs: there must be one.
    fn victims_max(&self) -> usize {
        if self.is_empty() { usize::MAX } else { self.left }
    }

    fn note_made(&mut self, made: Made, group: &Group) -> bool {
        match made {
            Made::Nothing => return false,
            Made::TooMuch => (self.left, self.progress) = (0, Progress::CutShort),
            Made::Room { victims, .. } => {
                self.left = self.left.saturating_sub(victims);
                let failure = self.failures.get_mut(&group.name);
                failure.expect("invariant: noted before").awaited += 1;
            }
        }
        true
    }
}
