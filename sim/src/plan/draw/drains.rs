//! Operators who empty nodes, and who think better of it.
//!
//! Invariants
//! - every other line is what it was without it.
use drover_core::types::DrainDeadline;

use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line};

use super::Size;

/// In half of the clusters. Most drains have a deadline within the run, so that it comes.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(500) || size.clients == 0 {
        return;
    }
    let gap_ms = rng.between(4_000, 40_000);
    let mut at_ms = 5_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let client = rng.between(1, size.clients);
        let deadline = match rng.between(0, 9) {
            0..=5 => DrainDeadline::After { ms: rng.between(1_000, 60_000) },
            6 | 7 => DrainDeadline::Force,
            _ => DrainDeadline::Never,
        };
        lines.push(Line { at_ms, act: Act::Drain { client, deadline } });
        if rng.chance(700) {
            let at_ms = at_ms + rng.between(1_000, 30_000);
            let mark_eligible = rng.chance(700);
            lines.push(Line { at_ms, act: Act::Undrain { client, mark_eligible } });
        }
        at_ms += rng.between(1, 2 * gap_ms);
    }
}
