//! How new versions take over, and what operators do about it.
//!
//! Invariants
//! - requests are what they were without it, but for their update policies.
use drover_core::types::JobKind;
use std::collections::BTreeMap;

use crate::plan::entropy::Entropy;
use crate::plan::{Act, JobAsk, Line, Promotion, Steering, UpdateAsk};

use super::Size;

/// Give half of the services a policy of their own, and in half of the clusters an operator who steers.
pub(super) fn draw(rng: &mut Entropy<'_>, size: Size, jobs: u64, lines: &mut Vec<Line>) {
    for line in lines.iter_mut() {
        let Act::Register(ask) = &mut line.act else { continue };
        if ask.kind == JobKind::Service && rng.chance(500) {
            ask.update = policy(rng);
        }
    }
    if rng.chance(500) {
        return;
    }
    let gap_ms = rng.between(2_000, 20_000);
    let mut at_ms = 5_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let job = format!("job{}", rng.between(1, jobs));
        let how = match rng.between(0, 9) {
            0..=4 => Steering::Promote,
            5 | 6 => Steering::Pause,
            7 | 8 => Steering::Resume,
            _ => Steering::GiveUp,
        };
        lines.push(Line { at_ms, act: Act::Steer { job, how } });
        at_ms += rng.between(1, 2 * gap_ms);
    }
}

/// Some registrations change only what needs no restart: how many, where, and the policies.
pub(super) fn draw_builds(rng: &mut Entropy<'_>, lines: &mut [Line]) {
    let mut last: BTreeMap<String, JobAsk> = BTreeMap::new();
    for line in lines {
        let Act::Register(ask) = &mut line.act else { continue };
        if let Some(known) = last.get(&ask.job).filter(|_| rng.chance(300)) {
            let JobAsk { count, spread, mark, update, .. } = *ask;
            *ask = JobAsk { count, spread, mark, update, ..known.clone() };
        }
        last.insert(ask.job.clone(), ask.clone());
    }
}

fn policy(rng: &mut Entropy<'_>) -> UpdateAsk {
    UpdateAsk {
        parallel: rng.between(0, 3),
        canaries: if rng.chance(500) { rng.between(1, 4) } else { 0 },
        promotion: if rng.chance(500) { Promotion::Themselves } else { Promotion::Operator },
    }
}
