//! What must hold between the machines, whatever happens (Raft, figure 3).
//!
//! - election safety: at most one leader a term;
//! - leader completeness: a new leader holds all that is committed;
//! - state machine safety: an index is committed with one content, for ever;
//! - committed is durable: when a frame is first emitted, a quorum of disks holds it;
//! - terms and commit indexes grow;
//! - a read sees all that was committed when it was asked.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::raft::{Frame, Raft};
use drover_core::types::{Index, ServerId, Term};

use super::raft::Host;

/// Remembers what was ever true.
#[derive(Debug, Default)]
pub struct Oracle {
    leaders: BTreeMap<Term, ServerId>,
    /// By index of the first entry.
    committed: BTreeMap<Index, Arc<Frame>>,
    seen: BTreeMap<ServerId, (Term, Index)>,
    reads: BTreeMap<(ServerId, u64), Index>,
    /// Whether a message made by hand may have claimed what never happened: no check holds then.
    pub is_blind: bool,
    /// Reads that were answered with an index.
    pub reads_answered: usize,
}

impl Oracle {
    /// The last index that was ever committed.
    #[must_use]
    pub fn committed_index(&self) -> Index {
        self.committed.values().next_back().map_or(Index(0), |frame| frame.last())
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn leaders_count(&self) -> usize {
        self.leaders.len()
    }

    /// A read is about to be asked.
    pub fn note_read(&mut self, id: ServerId, tag: u64) {
        self.reads.insert((id, tag), self.committed_index());
    }

    pub(super) fn forget(&mut self, id: ServerId) {
        if let Some((_, commit)) = self.seen.get_mut(&id) {
            *commit = Index(0);
        }
        self.reads.retain(|&(asker, _), _| asker != id);
    }

    pub(super) fn check_machine(&mut self, id: ServerId, raft: &Raft) {
        let (term, commit) = self.seen.entry(id).or_default();
        assert!(*commit <= raft.commit_index(), "s{}: the commit index went backwards", id.0);
        // A term that was not durable may be forgotten in a crash, so only within one life.
        assert!(*commit == Index(0) || *term <= raft.term(), "s{}: a term went backwards", id.0);
        (*term, *commit) = (raft.term(), raft.commit_index());
    }

    pub(super) fn check_leader(
        &mut self,
        id: ServerId,
        term: Term,
        hosts: &BTreeMap<ServerId, Host>,
    ) {
        let first = *self.leaders.entry(term).or_insert(id);
        assert_eq!(first, id, "election safety: two leaders in term {}", term.0);
        let raft = hosts[&id].running();
        let covered = raft.snapshot().map_or(Index(0), |mark| mark.index);
        let held: BTreeMap<Index, &Arc<Frame>> = raft.frames().map(|f| (f.first, f)).collect();
        for (first, frame) in &self.committed {
            assert!(
                frame.last() <= covered || held.get(first) == Some(&frame),
                "leader completeness: s{} leads term {} without committed {}@{}",
                id.0,
                term.0,
                frame.term.0,
                first.0
            );
        }
    }

    pub(super) fn check_commit(&mut self, frame: &Arc<Frame>, hosts: &BTreeMap<ServerId, Host>) {
        if self.is_blind {
            return;
        }
        if let Some(known) = self.committed.get(&frame.first) {
            assert_eq!(known, frame, "state machine safety: two contents at {}", frame.first.0);
            return;
        }
        let is_held_by = |voter: ServerId| {
            let Some(host) = hosts.get(&voter) else { return 0 };
            let recovered = host.recovered();
            let covered = recovered.snapshot.as_ref().map_or(Index(0), |mark| mark.index);
            let is_held = recovered.frames.iter().any(|held| held == frame);
            u64::from(is_held || frame.last() <= covered)
        };
        // It was counted under the configuration of its own place in the log, or under a later one
        // that its leader had already and the one who emits it may not.
        let counted = |raft: &Raft| {
            let configurations = [raft.configuration(), raft.configuration_at(frame.last())];
            configurations.iter().any(|config| config.quorum_reached(is_held_by) == 1)
        };
        let is_durable = hosts.values().filter_map(|host| host.raft.as_ref()).any(counted);
        assert!(is_durable, "committed is durable: {}@{}", frame.term.0, frame.first.0);
        assert_eq!(frame.first, self.committed_index().next(), "the log has no hole");
        self.committed.insert(frame.first, Arc::clone(frame));
    }

    pub(super) fn check_read(&mut self, id: ServerId, tag: u64, index: Option<Index>) {
        let asked_at = self.reads.remove(&(id, tag));
        let asked_at = asked_at.expect("every read is answered once");
        if let Some(index) = index {
            assert!(asked_at <= index, "a read at {} misses {}", index.0, asked_at.0);
            self.reads_answered += 1;
        }
    }
}
