//! How a placement came to its node: what was looked at, what was left out and why, and who was next.
//!
//! Invariants
//! - what was left out and why is computed again, and told only if this agent made the plan; otherwise the
//!   counts are those that the servers keep, and those without room are only the ones that were seen.
use std::collections::BTreeMap;

use drover_core::types::{PlacementNote, Plan, ScoreParts, Verdict};

use super::super::history::{At, Chosen, Planned};
use super::super::words::gates;
use super::Chain;

impl Chain<'_> {
    /// Why other allocs of the plan found no room.
    pub(super) fn failures(&mut self, at: At, plan: &Plan) {
        let Verdict::Done { failures, .. } = &plan.verdict else { return };
        for (group, failure) in failures {
            let count = u64::from(failure.coalesced) + 1;
            if !failure.closed.is_empty() {
                let waits = gates(&failure.closed);
                self.push(Some(at), None, format!("{count} × {group} wait for {waits}"));
                continue;
            }
            let mut what = format!(
                "{count} more × {group} found no room: {} nodes looked at",
                failure.nodes_evaluated
            );
            what.push_str(&left_out("filtered out", all(&failure.filtered), &failure.filtered));
            what.push_str(&left_out("without room", all(&failure.exhausted), &failure.exhausted));
            self.push(Some(at), None, what);
        }
    }
}

/// What was chosen for one alloc of a plan.
pub(super) fn choice_of(planned: Option<&Planned>, group: u16, ordinal: u32) -> Option<&Chosen> {
    let mut choices = planned?.choices.iter();
    choices.find(|chosen| (chosen.group, chosen.ordinal) == (group, ordinal))
}

/// The score, and how the nodes compared.
pub(super) fn compared(note: PlacementNote, choice: Option<&Chosen>) -> String {
    let (score, nodes) = (note.score_permille, note.nodes_evaluated);
    let parts = note.parts.map(|parts| mean_of(&parts)).unwrap_or_default();
    let mut what = format!("score {score} of 1000{parts}; the best of {nodes} nodes");
    let Some(Chosen { looked_at, runner_up, .. }) = choice else {
        let none = BTreeMap::new();
        what.push_str(&left_out("filtered out", note.nodes_filtered, &none));
        what.push_str(&left_out("seen without room", note.nodes_exhausted, &none));
        what.push_str("; how others compared only the leader's own log tells");
        return what;
    };
    what.push_str(&left_out("filtered out", all(&looked_at.filtered), &looked_at.filtered));
    what.push_str(&left_out("without room", all(&looked_at.exhausted), &looked_at.exhausted));
    match runner_up {
        Some((node, score)) => what.push_str(&format!("; the next best is {node}, score {score}")),
        None => what.push_str("; no other could take it"),
    }
    what
}

/// ` (the mean of fit 700, spread 500)`.
fn mean_of(parts: &ScoreParts) -> String {
    let terms = [
        ("crowd", parts.crowd),
        ("failed before", parts.failed_before),
        ("affinity", parts.affinity),
        ("spread", parts.spread),
    ];
    let present = terms.into_iter().filter(|(_, term)| *term != 0);
    let words: Vec<String> = present.map(|(name, term)| format!(", {name} {term}")).collect();
    format!(" (the mean of fit {}{})", parts.fit, words.concat())
}

fn all(counts: &BTreeMap<String, u32>) -> u32 {
    counts.values().sum()
}

/// `, 2 filtered out (missing drivers: 1, ${attr.cpu.arch} = arm64: 1)`.
fn left_out(how: &str, nodes: u32, why: &BTreeMap<String, u32>) -> String {
    let reasons: Vec<String> = why.iter().map(|(why, nodes)| format!("{why}: {nodes}")).collect();
    if reasons.is_empty() {
        return format!(", {nodes} {how}");
    }
    format!(", {nodes} {how} ({})", reasons.join(", "))
}
