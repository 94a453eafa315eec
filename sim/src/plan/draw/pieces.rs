//! Jobs that ask for more than quantities.
//!
//! Invariants
//! - all requests are what they were without it, but for that.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line};

/// In half of the clusters some jobs ask for more than quantities.
pub(super) fn draw(rng: &mut Entropy<'_>, lines: &mut [Line]) {
    if rng.chance(500) {
        return;
    }
    for line in lines {
        let Act::Register(ask) = &mut line.act else { continue };
        if rng.chance(300) {
            ask.pieces.memory_max_mib = ask.memory_mib + rng.between(0, 4_000);
        }
        if rng.chance(350) {
            ask.pieces.cores = rng.between(1, 2);
        }
        if rng.chance(350) {
            ask.pieces.devices = rng.between(1, 2);
        }
    }
}
