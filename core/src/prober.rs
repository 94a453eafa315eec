//! Asks silent client nodes whether they live, for the leader: as one of several who look from elsewhere.
//!
//! A node that hears a probe sends a heartbeat at once, to whoever probed it. It is probed twice; who is
//! silent then is reported. A heartbeat says all by itself, and is relayed as any other.
//!
//! Invariants
//! - a node that was heard since the errand began is not reported;
//! - a server that was held up in between reports nothing: its own silence is no evidence.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::limits::{PROBE_ANSWER_MS, PROBE_LAG_MS, PROBED_NODES_MAX};
use crate::time::MonoTime;
use crate::types::{NodeId, ServerId};

/// Probes sent to one node before it is called silent.
const ATTEMPTS: u8 = 2;

/// What the rest of the core must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Send it a probe.
    Probe(NodeId),
    /// Tell the leader who asked: these were not heard.
    Report { to: ServerId, round: u64, silent: Vec<NodeId> },
}

/// The errand of the leader who asked last.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Prober {
    errand: Option<Errand>,
}

/// Nodes that are to be heard.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Errand {
    leader: ServerId,
    round: u64,
    silent: BTreeSet<NodeId>,
    attempts: u8,
    /// When the silent are probed again, or reported.
    due: MonoTime,
}

impl Prober {
    /// Nobody is looked for.
    #[must_use]
    pub const fn new() -> Self {
        Self { errand: None }
    }

    /// A leader asks after `nodes`. What another asked before is of no use any more.
    pub fn on_asked(
        &mut self,
        now: MonoTime,
        (leader, round): (ServerId, u64),
        nodes: Vec<NodeId>,
        out: &mut impl Emit<Output>,
    ) {
        let silent: BTreeSet<NodeId> = nodes.into_iter().take(PROBED_NODES_MAX).collect();
        let due = now.plus_ms(PROBE_ANSWER_MS);
        silent.iter().for_each(|&node| out.emit(Output::Probe(node)));
        let is_vain = silent.is_empty();
        self.errand = Some(Errand { leader, round, silent, attempts: 1, due });
        if is_vain {
            self.report(out);
        }
    }

    /// A node was heard. Answers whether it was looked for.
    pub fn on_heard(&mut self, node: NodeId, out: &mut impl Emit<Output>) -> bool {
        let Some(errand) = &mut self.errand else { return false };
        let was_silent = errand.silent.remove(&node);
        if errand.silent.is_empty() {
            self.report(out);
        }
        was_silent
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let Some(errand) = self.errand.as_mut().filter(|errand| errand.due <= now) else { return };
        if errand.due.plus_ms(PROBE_LAG_MS) < now {
            self.errand = None;
        } else if errand.attempts < ATTEMPTS {
            errand.attempts += 1;
            errand.due = now.plus_ms(PROBE_ANSWER_MS);
            errand.silent.iter().for_each(|&node| out.emit(Output::Probe(node)));
        } else {
            self.report(out);
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.errand.as_ref().map(|errand| errand.due)
    }

    /// Walks the errand.
    pub fn check_invariants(&self) {
        let Some(errand) = &self.errand else { return };
        assert!(!errand.silent.is_empty(), "an errand looks for somebody");
        assert!(errand.silent.len() <= PROBED_NODES_MAX, "an errand is bounded");
    }

    fn report(&mut self, out: &mut impl Emit<Output>) {
        let Some(Errand { leader: to, round, silent, .. }) = self.errand.take() else { return };
        out.emit(Output::Report { to, round, silent: silent.into_iter().collect() });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const LEADER: ServerId = ServerId(1);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().plus_ms(ms)
    }

    fn asked() -> Prober {
        let (mut prober, mut out) = (Prober::new(), Vec::new());
        prober.on_asked(at(0), (LEADER, 7), vec![A, B], &mut out);
        assert_eq!(out, [Output::Probe(A), Output::Probe(B)]);
        prober
    }

    fn time(prober: &mut Prober, ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        prober.on_time(at(ms), &mut out);
        prober.check_invariants();
        out
    }

    fn report(silent: &[NodeId]) -> Output {
        Output::Report { to: LEADER, round: 7, silent: silent.to_vec() }
    }

    #[test]
    fn who_is_silent_after_two_probes_is_reported() {
        let mut prober = asked();
        assert!(prober.on_heard(A, &mut Vec::new()));
        assert!(!prober.on_heard(A, &mut Vec::new()), "it is looked for no more");
        assert_eq!(time(&mut prober, PROBE_ANSWER_MS - 1), []);
        assert_eq!(time(&mut prober, PROBE_ANSWER_MS), [Output::Probe(B)]);
        assert_eq!(time(&mut prober, 2 * PROBE_ANSWER_MS), [report(&[B])]);
        assert_eq!(prober.next_deadline(), None);
    }

    #[test]
    fn when_all_are_heard_the_leader_need_not_wait() {
        let (mut prober, mut out) = (asked(), Vec::new());
        prober.on_heard(A, &mut out);
        prober.on_heard(B, &mut out);
        assert_eq!(out, [report(&[])]);
    }

    #[test]
    fn of_nobody_there_is_nothing_to_find_out() {
        let (mut prober, mut out) = (Prober::new(), Vec::new());
        prober.on_asked(at(0), (LEADER, 7), vec![], &mut out);
        assert_eq!(out, [report(&[])]);
        prober.check_invariants();
    }

    #[test]
    fn whoever_was_held_up_has_nothing_to_say() {
        let mut prober = asked();
        assert_eq!(time(&mut prober, PROBE_ANSWER_MS + PROBE_LAG_MS + 1), []);
        assert_eq!(prober.next_deadline(), None);
    }
}
