//! Another region, whose servers know those of ours: it is lost and comes back, as its servers do.
//!
//! Invariants
//! - every other line is what it was without it.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line, Way, Who};

use super::Size;

/// A quarter of the clusters know another region. Answers how many servers that has.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) -> u64 {
    if rng.chance(750) {
        return 0;
    }
    let servers = rng.between(1, 3);
    let all = || (1..=servers).map(Who::Foreigner);
    let gap_ms = rng.between(4_000, 60_000);
    let mut at_ms = 3_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let who = Who::Foreigner(rng.between(1, servers));
        let for_ms =
            if rng.chance(600) { rng.between(200, 8_000) } else { rng.between(200, 120_000) };
        let acts = match rng.between(0, 11) {
            // The way between the regions is gone.
            0..=2 => vec![Act::Split { side: all().collect(), for_ms }],
            // The region is.
            3 => all().map(|who| Act::Power { who, for_ms }).collect(),
            4 => vec![Act::Power { who, for_ms }],
            5 | 6 => vec![Act::Crash { who, for_ms }],
            7 => vec![Act::Leave { who, for_ms }],
            8 => vec![Act::Pause { who, for_ms }],
            9 => vec![Act::Isolate { who, way: Way::Deaf, for_ms }],
            10 => vec![Act::Isolate { who, way: Way::Mute, for_ms }],
            _ => vec![Act::LoseMessages { who, permille: rng.between(50, 700), for_ms }],
        };
        lines.extend(acts.into_iter().map(|act| Line { at_ms, act }));
        at_ms += rng.between(gap_ms / 4, 2 * gap_ms);
    }
    servers
}
