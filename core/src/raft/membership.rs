//! Who counts: the configuration and its history (Raft thesis §4.3, joint consensus).
//!
//! A configuration is in force from the moment its frame is in the log, and no longer once that
//! frame is truncated. So it is always what the snapshot and the log say, and nothing else.
//!
//! Invariants
//! - there is at least one voter; no server is voter and learner at once;
//! - the lists are sorted and without duplicates;
//! - the history is ordered by index and lies above the snapshot.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::SERVERS_MAX;
use crate::types::{Index, ServerId};

/// The servers, by what they may do. Joint while `outgoing` is not empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Configuration {
    /// Who votes and counts.
    pub voters: Vec<ServerId>,
    /// Who voted before; while any is listed, a majority of them is needed as well.
    pub outgoing: Vec<ServerId>,
    /// Who only receives the log. May be in `outgoing`: then it stops voting when that ends.
    pub learners: Vec<ServerId>,
}

impl Configuration {
    /// A configuration that is not joint.
    #[must_use]
    pub fn new(voters: &[ServerId], learners: &[ServerId]) -> Self {
        let sorted = |ids: &[ServerId]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Self { voters: sorted(voters), outgoing: Vec::new(), learners: sorted(learners) }
    }

    /// Whether `id` votes, now or until the joint phase ends.
    #[must_use]
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether `id` votes, and nobody else.
    #[must_use]
    pub fn is_alone(&self, id: ServerId) -> bool {
        self.voters.iter().chain(&self.outgoing).all(|&voter| voter == id)
    }

    /// Whether `id` is part of the cluster in any way.
    #[must_use]
    pub fn is_member(&self, id: ServerId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Whether two majorities are needed.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Everyone, sorted, once each.
    #[must_use]
    pub fn members(&self) -> Vec<ServerId> {
        let lists = [&self.voters, &self.outgoing, &self.learners];
        let mut ids: Vec<ServerId> = lists.into_iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Why this cannot be a configuration, if so.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let is_sorted = |ids: &[ServerId]| ids.is_sorted_by(|a, b| a < b);
        if self.voters.is_empty() {
            return Some("a cluster has at least one voter");
        }
        if !is_sorted(&self.voters) || !is_sorted(&self.outgoing) || !is_sorted(&self.learners) {
            return Some("servers are listed in order and once");
        }
        if self.learners.iter().any(|id| self.voters.contains(id)) {
            return Some("a server is voter or learner, not both");
        }
        if SERVERS_MAX < self.members().len() {
            return Some("a cluster has at most fifteen servers");
        }
        None
    }

    /// The step from here towards `target`: joint if the voters differ, else `target` itself.
    pub(super) fn towards(&self, target: &Self) -> Self {
        assert!(!self.is_joint(), "one change at a time");
        let mut next = target.clone();
        if next.voters != self.voters {
            next.outgoing.clone_from(&self.voters);
        }
        next
    }

    /// What remains when the joint phase ends.
    pub(super) fn settled(&self) -> Self {
        Self { outgoing: Vec::new(), ..self.clone() }
    }
}

/// The configuration in force, and what it would be if the log were shorter.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Membership {
    /// In force at the snapshot, or nobody.
    base: Configuration,
    changes: Vec<(Index, Configuration)>,
}

impl Membership {
    pub(super) const fn new(base: Configuration) -> Self {
        Self { base, changes: Vec::new() }
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> &Configuration {
        self.changes.last().map_or(&self.base, |(_, configuration)| configuration)
    }

    /// Who counts: from the moment that a configuration is in the log, whatever `commit` is (Raft §6).
    pub(super) fn counting(&self, commit: Index) -> &Configuration {
        if planted!(ConfigurationOnCommit) { self.at(commit) } else { self.current() }
    }

    /// Index of the frame that brought it; zero if the snapshot did.
    pub(super) fn current_index(&self) -> Index {
        self.changes.last().map_or(Index(0), |&(index, _)| index)
    }

    /// The one before it.
    pub(super) fn former(&self) -> &Configuration {
        let mut newest_first = self.changes.iter().rev();
        newest_first.nth(1).map_or(&self.base, |(_, configuration)| configuration)
    }

    /// The configuration that was in force at `index`.
    pub(super) fn at(&self, index: Index) -> &Configuration {
        let known = self.changes.iter().rev().find(|&&(at, _)| at <= index);
        known.map_or(&self.base, |(_, configuration)| configuration)
    }

    pub(super) fn append(&mut self, index: Index, configuration: Configuration) {
        assert!(configuration.fault().is_none(), "a configuration in the log is sound");
        assert!(self.current_index() < index, "the history is ordered by index");
        self.changes.push((index, configuration));
    }

    /// The log lost everything from `from` on. Answers whether that changed the configuration.
    pub(super) fn truncate_from(&mut self, from: Index) -> bool {
        let before = self.changes.len();
        self.changes.retain(|&(index, _)| index < from);
        self.changes.len() < before
    }

    /// A snapshot at `index` covers what came before.
    pub(super) fn compact(&mut self, index: Index) {
        self.base = self.at(index).clone();
        self.changes.retain(|&(at, _)| index < at);
    }

    /// A snapshot from elsewhere replaces all that was known here.
    pub(super) fn replace(&mut self, base: Configuration) {
        *self = Self::new(base);
    }

    pub(super) fn check_invariants(&self, last: Index) {
        assert!(self.changes.is_sorted_by(|a, b| a.0 < b.0), "the history is ordered by index");
        assert!(self.current_index() <= last, "a configuration lies within the log");
        assert!(
            self.changes.iter().all(|(_, configuration)| configuration.fault().is_none()),
            "a configuration in the log is sound"
        );
    }
}
