//! Agents that are told to go with grace: one now and then, one after the other, or all at once.
//!
//! Invariants
//! - every other line is what it was without it.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line, Who};

use super::Size;

/// In half of the clusters.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(500) {
        return;
    }
    let gap_ms = rng.between(8_000, 60_000);
    let mut at_ms = 5_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let for_ms =
            if rng.chance(700) { rng.between(200, 5_000) } else { rng.between(200, 60_000) };
        let one = |at_ms, who| Line { at_ms, act: Act::Leave { who, for_ms } };
        match rng.between(0, 9) {
            // Every server of a cluster that is updated, or switched off.
            0 | 1 => {
                let apart_ms = if rng.chance(500) { rng.between(0, 50) } else { for_ms + 5_000 };
                let each = (1..=size.servers)
                    .map(|number| one(at_ms + number * apart_ms, Who::Server(number)));
                // Nobody leaves when all faults are over.
                lines.extend(each.filter(|line| line.at_ms < size.fault_ms));
            }
            2..=4 => lines.push(one(at_ms, Who::Leader)),
            5 | 6 if 0 < size.clients => {
                lines.push(one(at_ms, Who::Client(rng.between(1, size.clients))));
            }
            _ => lines.push(one(at_ms, Who::Server(rng.between(1, size.servers)))),
        }
        at_ms += rng.between(gap_ms / 4, 2 * gap_ms);
    }
}
