//! Agreement on the state at each cut: servers tell each other their digests.
//!
//! All servers cut at the same entries and must then have the same state, bit for bit. Who finds that a
//! quorum agrees on another digest than his own has been damaged, and stops before he does harm.
//!
//! Invariants
//! - only the newest `CUTS_KEPT` cuts are remembered.
use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::types::{Index, ServerId};

/// Cuts that are remembered: a server that is further behind has other worries.
const CUTS_KEPT: usize = 4;

/// What is known about the newest cuts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Cuts {
    digests: BTreeMap<Index, BTreeMap<ServerId, Digest>>,
    /// A digest came since they were last compared.
    has_news: bool,
}

/// A quorum has another state than this server at the same entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Divergence {
    pub index: Index,
    pub own: Digest,
    pub theirs: Digest,
}

impl Cuts {
    /// `server` had the state `digest` at the cut at `index`.
    pub fn on_digest(&mut self, server: ServerId, index: Index, digest: Digest) {
        self.digests.entry(index).or_default().insert(server, digest);
        self.has_news = true;
        while CUTS_KEPT < self.digests.len() {
            self.digests.pop_first();
        }
    }

    /// Whether `own` is in the minority at some cut, among `voters`, by a digest that is new.
    pub fn divergence(&mut self, own: ServerId, voters: &[ServerId]) -> Option<Divergence> {
        if !core::mem::take(&mut self.has_news) {
            return None;
        }
        let quorum = voters.len() / 2 + 1;
        self.digests.iter().find_map(|(&index, digests)| {
            let mine = *digests.get(&own)?;
            let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
            for (_, &digest) in digests.iter().filter(|(server, _)| voters.contains(server)) {
                *counts.entry(digest).or_default() += 1;
            }
            let agreed = counts.into_iter().find(|&(_, count)| quorum <= count)?;
            let theirs = Some(agreed.0).filter(|&theirs| theirs != mine)?;
            Some(Divergence { index, own: mine, theirs })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_minority_finds_itself_wrong() {
        let voters = [1, 2, 3].map(ServerId);
        let mut cuts = Cuts::default();
        cuts.on_digest(ServerId(1), Index(9), Digest(7));
        cuts.on_digest(ServerId(2), Index(9), Digest(8));
        assert_eq!(cuts.divergence(ServerId(1), &voters), None, "two may both be wrong");
        cuts.on_digest(ServerId(3), Index(9), Digest(8));
        let found = Divergence { index: Index(9), own: Digest(7), theirs: Digest(8) };
        assert_eq!(cuts.divergence(ServerId(1), &voters), Some(found));
        cuts.on_digest(ServerId(3), Index(9), Digest(8));
        assert_eq!(cuts.divergence(ServerId(2), &voters), None);
    }
}
