//! Servers that come back at another address, now and then at one where another server was.
//!
//! Invariants
//! - every other line is what it was without it.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line, Who};

use super::Size;

/// In a third of the clusters; `foreigners`: how many servers another region has.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, foreigners: u64, lines: &mut Vec<Line>) {
    if rng.chance(667) {
        return;
    }
    let gap_ms = rng.between(5_000, 60_000);
    let mut at_ms = 4_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let for_ms =
            if rng.chance(700) { rng.between(200, 5_000) } else { rng.between(200, 90_000) };
        let who = match rng.between(0, 9) {
            0 | 1 => Who::Leader,
            2 if 0 < foreigners => Who::Foreigner(rng.between(1, foreigners)),
            _ => Who::Server(rng.between(1, size.servers)),
        };
        lines.push(Line { at_ms, act: Act::Move { who, for_ms } });
        at_ms += rng.between(gap_ms / 4, 2 * gap_ms);
    }
}
