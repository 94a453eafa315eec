//! Jobs that run on every node, beside the others.
//!
//! Invariants
//! - all other requests are what they were without it.
use drover_core::types::JobKind;

use super::{Size, draw_spread};
use crate::plan::entropy::Entropy;
use crate::plan::{Act, JobAsk, Line, PiecesAsk, Promotion, Spread, UpdateAsk};

/// In half of the clusters users run a system job and a sysbatch job, `job7` and `job8` after six others,
/// and change them; machines come, go and change as they do.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, jobs: u64, lines: &mut Vec<Line>) {
    if rng.chance(500) {
        return;
    }
    let gap_ms = rng.between(2_000, 30_000);
    let mut at_ms = 1_000 + rng.between(0, gap_ms);
    // Marks of their own, so that no two registrations are alike.
    let mut mark = 1_000_000;
    while at_ms < size.fault_ms {
        mark += 1;
        let number = jobs + rng.between(1, 2);
        lines.push(Line { at_ms, act: request(rng, (number, number == jobs + 2), mark) });
        at_ms += rng.between(1, 2 * gap_ms);
    }
}

fn request(rng: &mut Entropy<'_>, (number, ends): (u64, bool), mark: u64) -> Act {
    let job = format!("job{number}");
    match rng.between(0, 9) {
        0 => Act::StopJob { job, purge: rng.chance(300) },
        1 => Act::Evaluate { job },
        _ => Act::Register(JobAsk {
            job,
            kind: if ends { JobKind::Sysbatch } else { JobKind::System },
            spread: match draw_spread(rng) {
                // One on each node is as distinct, and as spread, as it gets.
                Spread::Anywhere
                | Spread::DistinctHosts
                | Spread::OverDatacenters
                | Spread::RatherSecond => Spread::Anywhere,
                Spread::OneDatacenter => Spread::OneDatacenter,
                Spread::OnePool => Spread::OnePool,
            },
            count: u64::from(rng.chance(900)),
            tasks: if rng.chance(250) { 2 } else { 1 },
            cpu_mhz: rng.between(50, 600),
            memory_mib: rng.between(32, 600),
            ports: rng.between(0, 1),
            // The new one cannot even run beside the old one.
            fixed_port: if rng.chance(300) { 8_083 } else { 0 },
            mark,
            build: mark,
            after: None,
            pieces: PiecesAsk::default(),
            volume: None,
            update: UpdateAsk {
                parallel: rng.between(0, 2),
                canaries: 0,
                promotion: Promotion::Operator,
            },
        }),
    }
}
