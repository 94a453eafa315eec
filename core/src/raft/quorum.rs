//! Majorities, of one set of voters or of two (Raft thesis §4.3).
//!
//! Invariants
//! - two quorums of the same configuration share a server;
//! - while joint, what is decided is decided by both majorities.
use super::membership::Configuration;
use crate::limits::SERVERS_MAX;
use crate::types::ServerId;

/// How an election stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tally {
    /// A quorum said yes.
    Won,
    /// No quorum can say yes any more.
    Lost,
    /// Neither yet.
    Open,
}

impl Configuration {
    /// The largest number that a quorum has reached, if `reached` says how far each server is.
    #[must_use]
    pub fn quorum_reached(&self, reached: impl Fn(ServerId) -> u64) -> u64 {
        let incoming = if planted!(LearnersCount) {
            majority_reached(&[self.voters.as_slice(), &self.learners].concat(), &reached)
        } else {
            majority_reached(&self.voters, &reached)
        };
        if self.is_joint() {
            incoming.min(majority_reached(&self.outgoing, &reached))
        } else {
            incoming
        }
    }

    /// How an election stands, if `granted` says who answered what.
    #[must_use]
    pub fn tally(&self, granted: impl Fn(ServerId) -> Option<bool>) -> Tally {
        let yes = self.quorum_reached(|id| u64::from(granted(id) == Some(true)));
        let still = self.quorum_reached(|id| u64::from(granted(id) != Some(false)));
        match (yes, still) {
            (1, _) => Tally::Won,
            (_, 0) => Tally::Lost,
            (_, _) => Tally::Open,
        }
    }
}

fn majority_reached(voters: &[ServerId], reached: &impl Fn(ServerId) -> u64) -> u64 {
    assert!(voters.len() <= SERVERS_MAX, "a cluster has at most fifteen servers");
    let mut values = [0; SERVERS_MAX];
    for (value, &id) in values.iter_mut().zip(voters) {
        *value = reached(id);
    }
    let values = &mut values[..voters.len()];
    values.sort_unstable();
    // With n sorted ascending, those from position (n - 1) / 2 on are a majority.
    let mut at = voters.len().saturating_sub(1) / 2;
    if planted!(MinorityDecides) && 1 < voters.len() {
        at += 1;
    }
    values.get(at).copied().unwrap_or(0)
}
