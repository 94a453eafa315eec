//! What may be asked of a client: for operators, checkers and tests.
//!
//! Invariants
//! - asking changes nothing.
use alloc::string::String;
use alloc::vec::Vec;

use super::Client;
use crate::types::AllocId;

impl Client {
    /// How many ended allocs have their files kept, and how many may.
    #[must_use]
    pub fn ended_allocs(&self) -> (usize, usize) {
        (self.ended.len(), self.ground.config.ended_allocs_max)
    }

    /// The version as which the alloc runs here.
    #[must_use]
    pub fn version_of(&self, alloc: AllocId) -> Option<u64> {
        self.allocs.get(&alloc).map(|alloc| alloc.spec.version)
    }

    /// Names of the alloc's tasks; none if it is not here.
    #[must_use]
    pub fn task_names(&self, alloc: AllocId) -> Vec<String> {
        let tasks = self.allocs.get(&alloc).map(|alloc| &alloc.spec.group.tasks);
        tasks.into_iter().flatten().map(|task| task.name.clone()).collect()
    }
}
