//! Jobs that wait for others.
//!
//! Invariants
//! - all requests are what they were without it, but for what their jobs come after.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Line};

/// In a third of the clusters some jobs come after others: mostly after one with a smaller number, so that
/// few wait for themselves in the end and are refused.
pub(super) fn draw(rng: &mut Entropy<'_>, jobs: u64, lines: &mut [Line]) {
    if rng.chance(670) {
        return;
    }
    let number_of = |job: &str| job.strip_prefix("job").and_then(|number| number.parse().ok());
    for line in lines {
        let Act::Register(ask) = &mut line.act else { continue };
        let own: u64 = number_of(&ask.job).unwrap_or(1);
        let most = if rng.chance(850) { own - 1 } else { jobs };
        let target = rng.between(1, jobs.min(most).max(1));
        if rng.chance(500) && target != own {
            ask.after = Some(format!("job{target}"));
        }
    }
}
