//! ∀ alloc a, time t: live attempts of one task of a at t ≤ 1, and all of them on one host — an alloc
//! never moves (core/types/alloc.rs), no two processes share a key (core/types/client.rs).
//!
//! Invariants
//! - what counts is the processes themselves, not what anyone says of them.
use std::collections::BTreeMap;

use drover_core::types::{AllocId, TaskKey};

use super::Verdict;
use crate::network::HostId;

/// Where allocs run, and which attempts live.
#[derive(Debug, Default)]
pub struct AllocRunsOnce {
    homes: BTreeMap<AllocId, HostId>,
    live: BTreeMap<(AllocId, u16), TaskKey>,
    begun: BTreeMap<(AllocId, u16), u32>,
}

impl AllocRunsOnce {
    /// A process of `key` begins on `host`.
    pub fn on_begun(&mut self, host: HostId, key: TaskKey) -> Verdict {
        let home = *self.homes.entry(key.alloc).or_insert(host);
        if home != host {
            return Err(format!("{key:?} runs on host {} and on host {}", home.0, host.0));
        }
        let task = (key.alloc, key.task);
        if let Some(other) = self.live.insert(task, key) {
            return Err(format!("{other:?} still runs when {key:?} begins on host {}", host.0));
        }
        if self.begun.insert(task, key.attempt).is_some_and(|before| key.attempt <= before) {
            return Err(format!("{key:?} begins after a later attempt, or again"));
        }
        Ok(())
    }

    /// The process of `key` ended.
    pub fn on_ended(&mut self, key: TaskKey) {
        self.live.remove(&(key.alloc, key.task));
    }

    /// Where an alloc runs, or ran.
    #[must_use]
    pub fn home(&self, alloc: AllocId) -> Option<HostId> {
        self.homes.get(&alloc).copied()
    }

    /// One of the allocs that run, and where it does.
    #[must_use]
    pub fn nth(&self, nth: u64) -> Option<(AllocId, HostId)> {
        let at = usize::try_from(nth).ok()?.checked_rem(self.live.len())?;
        let alloc = self.live().nth(at)?.alloc;
        Some((alloc, self.home(alloc)?))
    }

    /// Every live attempt.
    pub fn live(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.live.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(alloc: u64, attempt: u32) -> TaskKey {
        TaskKey { alloc: AllocId(alloc), task: 0, attempt }
    }

    #[test]
    fn it_fires_when_two_attempts_live_at_once() {
        let mut checker = AllocRunsOnce::default();
        assert_eq!(checker.on_begun(HostId(1), key(1, 0)), Ok(()));
        assert!(checker.on_begun(HostId(1), key(1, 1)).is_err());
    }

    #[test]
    fn it_fires_when_an_alloc_runs_on_a_second_host() {
        let mut checker = AllocRunsOnce::default();
        assert_eq!(checker.on_begun(HostId(1), key(1, 0)), Ok(()));
        checker.on_ended(key(1, 0));
        assert_eq!(checker.on_begun(HostId(1), key(1, 1)), Ok(()));
        checker.on_ended(key(1, 1));
        assert!(checker.on_begun(HostId(2), key(1, 2)).is_err());
    }

    #[test]
    fn it_fires_when_an_attempt_begins_twice() {
        let mut checker = AllocRunsOnce::default();
        assert_eq!(checker.on_begun(HostId(1), key(1, 3)), Ok(()));
        checker.on_ended(key(1, 3));
        assert!(checker.on_begun(HostId(1), key(1, 3)).is_err());
    }
}
