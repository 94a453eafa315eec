//! Operators who have allocs moved to better nodes.
//!
//! Invariants
//! - every other line is what it was without it.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line};

use super::Size;

/// In half of the clusters, and in some of them all the time.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(500) {
        return;
    }
    let gap_ms = rng.between(1_000, 40_000);
    let mut at_ms = 8_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let act = Act::Rebalance {
            budget: if rng.chance(100) { 0 } else { rng.between(1, 12) },
            gain_permille: if rng.chance(500) { 1 } else { rng.between(1, 300) },
            nth: rng.between(0, 20),
        };
        lines.push(Line { at_ms, act });
        at_ms += rng.between(1, 2 * gap_ms);
    }
}
