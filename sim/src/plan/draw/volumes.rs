//! Jobs that ask for a volume that only some machines have.
//!
//! Invariants
//! - all requests are what they were without it, but for that;
//! - a job reads or writes by its name, so that a new version of it asks for what the old one did.
use drover_core::types::Access;

use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line};

/// In a third of the clusters some jobs ask for one.
pub(super) fn draw(rng: &mut Entropy<'_>, lines: &mut [Line]) {
    if !rng.chance(330) {
        return;
    }
    let (readers, writers) = (rng.between(0, 3), rng.between(0, 3));
    for line in lines {
        let Act::Register(ask) = &mut line.act else { continue };
        let number = ask.job.trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
        let number: u64 = number.unwrap_or_default();
        if number % 4 == readers {
            ask.volume = Some(Access::ReadOnly);
        } else if number % 4 == writers {
            ask.volume = Some(Access::ReadWrite);
        }
    }
}
