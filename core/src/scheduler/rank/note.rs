//! What is kept with a placement: what it was chosen from, and what its score is the mean of.
//!
//! Invariants
//! - what is noted is what was compared: nothing is scored for it.
use super::{Best, Ranking};
use crate::scheduler::crowd::Crowd;
use crate::scheduler::room::Room;
use crate::scheduler::score::{Against, Leaned, parts, permille};
use crate::types::PlacementNote;

impl Ranking<'_> {
    pub(super) fn note(
        &self,
        lane: usize,
        (best, devices): (&Best, i64),
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> PlacementNote {
        let Best { top, failed_before } = best;
        let suitable = &self.subject.suitable;
        let against = Against { failed_before: *failed_before, ..self.against(top.slot, crowd) };
        let is_fit_alone = against.terms().is_empty() && self.lanes[lane].terms.is_empty();
        let parts = (!is_fit_alone).then(|| {
            let affinity = suitable.strata.list[lane].affinity;
            let spread = self.wanted.spread_of_lane(lane, &suitable.strata);
            let kept = self.wanted.kept_of_lane(lane, &suitable.strata);
            let leaned = Leaned { affinity, spread, devices: devices + kept };
            parts(top.sum - against.terms().total() - devices, against, leaned)
        });
        let nodes_filtered = suitable.filtered_count + self.kept_out_count(room, crowd);
        // Some of those that lack room may be kept out by now, and the one that is chosen has room.
        let others = suitable.evaluated_count.saturating_sub(nodes_filtered + 1);
        PlacementNote {
            nodes_evaluated: suitable.evaluated_count,
            nodes_filtered,
            nodes_exhausted: (self.lacking_count + self.lacking_others_count).min(others),
            score_permille: permille(top.score),
            parts,
        }
    }

    /// Nodes that meet every demand and are kept from it by other allocs.
    fn kept_out_count(&self, room: &Room<'_>, crowd: &Crowd) -> u32 {
        if !self.wanted.has_limits() {
            return self.crowded_count;
        }
        let strata = &self.subject.suitable.strata;
        let is_closed = |lane| self.wanted.of_lane(lane, strata).1;
        let in_closed = (0..self.lanes.len()).filter(|&lane| is_closed(lane));
        let in_closed: u32 = in_closed.map(|lane| strata.list[lane].placeable_count).sum();
        let crowded = self.apart.iter().filter(|&slot| {
            let is_open = self.lane_of(slot).is_some_and(|lane| !is_closed(lane));
            is_open && self.is_suitable(slot, room) && self.is_crowded(slot, crowd)
        });
        let crowded = if self.crowded_count == 0 { 0 } else { crowded.count() };
        in_closed + u32::try_from(crowded).expect("invariant: fewer than 2^32 nodes")
    }
}
