//! What each connected client node has been told of its work, and what is still to be told.
//!
//! It keeps no assignments: it says whom to tell, from which sequence number on. The agent answers
//! `Tell` with `State::assignment(node, after)` and says with `on_told` how far that reached.
//!
//! Invariants
//! - a node has at most one unacknowledged assignment on its way, so bursts of changes are one;
//! - a change is told, or waits for the acknowledgement or the retry of the one before it;
//! - what was not acknowledged within `RETRY_MS` is sent again as the full set;
//! - a connected node is known, with or without a row: its row may come while the connection stands.
use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{Index, NodeId};

/// How long an assignment may stay unacknowledged: longer than a slow disk's flush on the node.
const RETRY_MS: u64 = 5_000;

/// Whom to tell.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// Send the node what changed after `after`; `None`: the full set.
    Tell { node: NodeId, after: Option<Index> },
}

/// Whether a node's connection to this server stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Link {
    Up,
    Down,
}

/// Every client node that is, or was, connected to this server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Assign {
    nodes: BTreeMap<NodeId, Told>,
    by_retry: BTreeSet<(MonoTime, NodeId)>,
}

/// One node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Told {
    /// The last that the node said is durable there.
    acknowledged: Option<Index>,
    state: State,
}

/// Where a node is in hearing of its work.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum State {
    #[default]
    Disconnected,
    /// It has acknowledged all there is.
    UpToDate,
    /// Sent, not acknowledged. `seq` is how far it reached (once known); `changed`: more has come.
    InFlight { seq: Option<Index>, retry_at: MonoTime, changed: bool },
}

impl Assign {
    /// Nobody is connected.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: BTreeMap::new(), by_retry: BTreeSet::new() }
    }

    /// A node's connection came or went. One that came is told at once.
    pub fn on_node_link(
        &mut self,
        now: MonoTime,
        node: NodeId,
        link: Link,
        out: &mut impl Emit<Output>,
    ) {
        match link {
            Link::Up => {
                let after = self.nodes.entry(node).or_default().acknowledged;
                self.tell(now, node, after, out);
            }
            Link::Down => {
                if self.nodes.contains_key(&node) {
                    self.set(node, State::Disconnected);
                }
            }
        }
    }

    /// The state changed what the node must do.
    pub fn on_changed(&mut self, now: MonoTime, node: NodeId, out: &mut impl Emit<Output>) {
        let Some(told) = self.nodes.get(&node) else {
            return;
        };
        match told.state {
            State::Disconnected => {}
            State::UpToDate => self.tell(now, node, told.acknowledged, out),
            State::InFlight { seq, retry_at, .. } => {
                self.set(node, State::InFlight { seq, retry_at, changed: true });
            }
        }
    }

    /// The agent answered `Tell`: the assignment it sent reaches to `seq`.
    pub fn on_told(&mut self, node: NodeId, seq: Index) {
        let Some(Told { state: State::InFlight { retry_at, changed, .. }, .. }) =
            self.nodes.get(&node)
        else {
            return;
        };
        let (retry_at, changed) = (*retry_at, *changed);
        self.set(node, State::InFlight { seq: Some(seq), retry_at, changed });
    }

    /// The node said, by an acknowledgement or a heartbeat, that all up to `seq` is durable there.
    pub fn on_acknowledged(
        &mut self,
        now: MonoTime,
        node: NodeId,
        acknowledged: Index,
        out: &mut impl Emit<Output>,
    ) {
        let Some(told) = self.nodes.get_mut(&node) else {
            return;
        };
        let has_forgotten = told.acknowledged.is_some_and(|known| acknowledged < known);
        told.acknowledged = Some(acknowledged);
        match told.state {
            State::Disconnected => {}
            // A node that lost its disk knows less than it once said.
            State::UpToDate if has_forgotten => self.tell(now, node, None, out),
            State::UpToDate => {}
            State::InFlight { seq, changed, .. } => {
                let Some(seq) = seq else { return };
                if acknowledged < seq {
                    return;
                }
                self.set(node, State::UpToDate);
                if changed {
                    self.tell(now, node, Some(acknowledged), out);
                }
            }
        }
    }

    /// The node cannot use what it was sent: it needs the full set.
    pub fn on_full_set_asked(&mut self, now: MonoTime, node: NodeId, out: &mut impl Emit<Output>) {
        if self.nodes.get(&node).is_some_and(|told| told.state != State::Disconnected) {
            self.tell(now, node, None, out);
        }
    }

    /// The node has no row, or none any more. A connection that stands goes on: the node may register anew over it.
    pub fn on_node_unknown(&mut self, node: NodeId) {
        let Some(told) = self.nodes.get_mut(&node) else { return };
        told.acknowledged = None;
        match told.state {
            State::Disconnected => drop(self.nodes.remove(&node)),
            State::UpToDate | State::InFlight { .. } => self.set(node, State::UpToDate),
        }
    }

    /// Time passed: what was not acknowledged is sent again, whole.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        while let Some(&(retry_at, node)) = self.by_retry.first() {
            if now < retry_at {
                break;
            }
            if planted!(AssignmentNotRepeated) {
                self.set(node, State::UpToDate);
                continue;
            }
            self.tell(now, node, None, out);
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.by_retry.first().map(|&(retry_at, _)| retry_at)
    }

    /// Walks both indexes.
    pub fn check_invariants(&self) {
        let in_flight: BTreeSet<_> = self
            .nodes
            .iter()
            .filter_map(|(&node, told)| told.state.retry_at().map(|at| (at, node)))
            .collect();
        assert_eq!(in_flight, self.by_retry, "what is on its way has one retry");
    }

    fn tell(
        &mut self,
        now: MonoTime,
        node: NodeId,
        after: Option<Index>,
        out: &mut impl Emit<Output>,
    ) {
        let retry_at = now.plus_ms(RETRY_MS);
        self.set(node, State::InFlight { seq: None, retry_at, changed: false });
        out.emit(Output::Tell { node, after });
    }

    fn set(&mut self, node: NodeId, state: State) {
        let told = self.nodes.get_mut(&node).expect("invariant: only known nodes are told");
        if let Some(retry_at) = told.state.retry_at() {
            let was_there = self.by_retry.remove(&(retry_at, node));
            assert!(was_there, "what is on its way has one retry");
        }
        told.state = state;
        if let Some(retry_at) = state.retry_at() {
            self.by_retry.insert((retry_at, node));
        }
    }
}

impl State {
    const fn retry_at(self) -> Option<MonoTime> {
        match self {
            Self::InFlight { retry_at, .. } => Some(retry_at),
            Self::Disconnected | Self::UpToDate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const A: NodeId = NodeId(1);

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().plus_ms(ms)
    }

    fn tell(after: Option<u64>) -> Output {
        Output::Tell { node: A, after: after.map(Index) }
    }

    /// Connected at 0, told the full set up to 7, which it acknowledged.
    fn up_to_date() -> Assign {
        let mut assign = Assign::new();
        let mut out = Vec::new();
        assign.on_node_link(at(0), A, Link::Up, &mut out);
        assert_eq!(out, [tell(None)], "a node that comes is told at once");
        assign.on_told(A, Index(7));
        out.clear();
        assign.on_acknowledged(at(1), A, Index(7), &mut out);
        assert_eq!(out, []);
        assign
    }

    #[test]
    fn a_burst_of_changes_is_one_assignment_and_one_more() {
        let mut assign = up_to_date();
        let mut out = Vec::new();
        assign.on_changed(at(2), A, &mut out);
        assign.on_told(A, Index(8));
        assign.on_changed(at(3), A, &mut out);
        assign.on_changed(at(4), A, &mut out);
        assert_eq!(out, [tell(Some(7))], "one is on its way");
        assign.on_acknowledged(at(5), A, Index(7), &mut out);
        assert_eq!(out.len(), 1, "a heartbeat that crossed it acknowledges nothing new");
        assign.on_acknowledged(at(6), A, Index(8), &mut out);
        assert_eq!(out[1..], [tell(Some(8))]);
        assign.check_invariants();
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_whole() {
        let mut assign = up_to_date();
        let mut out = Vec::new();
        assign.on_changed(at(100), A, &mut out);
        assign.on_told(A, Index(8));
        out.clear();
        assert_eq!(assign.next_deadline(), Some(at(5_100)));
        assign.on_time(at(5_099), &mut out);
        assert_eq!(out, []);
        assign.on_time(at(5_100), &mut out);
        assert_eq!(out, [tell(None)]);
        assert_eq!(assign.next_deadline(), Some(at(10_100)));
        assign.check_invariants();
    }

    #[test]
    fn a_node_that_returns_is_told_from_where_it_was() {
        let mut assign = up_to_date();
        let mut out = Vec::new();
        assign.on_node_link(at(10), A, Link::Down, &mut out);
        assign.on_changed(at(11), A, &mut out);
        assert_eq!(out, [], "nobody is there to be told");
        assert_eq!(assign.next_deadline(), None);
        assign.on_node_link(at(12), A, Link::Up, &mut out);
        assert_eq!(out, [tell(Some(7))]);
        assign.check_invariants();
    }

    #[test]
    fn a_node_that_knows_less_than_it_did_is_told_everything() {
        let mut assign = up_to_date();
        let mut out = Vec::new();
        assign.on_acknowledged(at(10), A, Index(3), &mut out);
        assert_eq!(out, [tell(None)], "it lost its disk");
        out.clear();
        assign.on_full_set_asked(at(11), A, &mut out);
        assert_eq!(out, [tell(None)], "it saw a gap");
    }

    #[test]
    fn a_node_that_registers_anew_over_the_same_connection_is_told_all_its_work() {
        let mut assign = up_to_date();
        let mut out = Vec::new();
        assign.on_changed(at(10), A, &mut out);
        assign.on_told(A, Index(8));
        assign.on_node_unknown(A);
        assert_eq!(assign.next_deadline(), None, "nothing is wanted of it");
        out.clear();
        assign.on_changed(at(11), A, &mut out);
        assert_eq!(out, [tell(None)], "it is another node to the tables");
        assign.check_invariants();
    }

    #[test]
    fn nothing_is_kept_of_a_node_without_a_row_that_has_left() {
        let mut assign = up_to_date();
        assign.on_node_link(at(10), A, Link::Down, &mut Vec::new());
        assign.on_node_unknown(A);
        assert!(assign.nodes.is_empty());
    }
}
