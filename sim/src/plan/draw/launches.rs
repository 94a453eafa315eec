//! Jobs that make children, and other counts.
//!
//! Invariants
//! - other requests are what they were without it.
use crate::plan::entropy::Entropy;
use crate::plan::{Act, Launching, Line, Overlap};

use super::Size;

/// Seconds between two children of the calendar: all divide a minute.
const EVERY_S: [u64; 3] = [20, 30, 30];
/// Tokens that are used again and again.
const TOKENS: u64 = 4;

/// In a third of the clusters there are two jobs that make children, and somebody who asks them to: each
/// child is a job, and looked at like any other.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, jobs: u64, lines: &mut Vec<Line>) {
    if rng.chance(667) {
        return;
    }
    let overlap = if rng.chance(500) { Overlap::Prohibited } else { Overlap::Allowed };
    let every_s = EVERY_S[usize::try_from(rng.between(0, 2)).unwrap_or(0)];
    let periodic = Launching::Periodic { every_s, overlap };
    let mut ask = |at_ms, job: &str, what| {
        lines.push(Line { at_ms, act: Act::Launch { job: job.to_owned(), what } });
    };
    ask(1_500 + rng.between(0, 10_000), "cron1", periodic);
    ask(1_500 + rng.between(0, 10_000), "feed1", Launching::Parameterized);
    let gap_ms = rng.between(3_000, 20_000);
    let mut at_ms = 3_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        match rng.between(0, 99) {
            0..=44 => {
                let token = if rng.chance(700) { rng.between(1, TOKENS) } else { 0 };
                ask(at_ms, "feed1", Launching::Dispatch { token });
            }
            45..=59 => ask(at_ms, "cron1", Launching::Force),
            60..=89 => {
                let job = format!("job{}", rng.between(1, jobs));
                ask(at_ms, &job, Launching::Scale { count: rng.between(0, 6) });
            }
            90..=94 => ask(at_ms, "feed1", Launching::Parameterized),
            _ => ask(at_ms, "cron1", periodic),
        }
        at_ms += rng.between(1, 2 * gap_ms);
    }
}
