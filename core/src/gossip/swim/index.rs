//! Where in the table a member stands, found in a constant number of steps.
//!
//! Open addressing with linear steps, never more than half full. Nothing is ever read in its order.
//!
//! Invariants
//! - whoever was put in and not taken out is found.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::rng::mix;
use crate::types::ServerId;

const NOBODY: u32 = u32::MAX;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Index {
    places: Vec<u32>,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { places: vec![NOBODY; 8], used: 0 }
    }
}

impl Index {
    /// `id_at` says who stands at a place.
    pub(super) fn find(&self, id: ServerId, id_at: impl Fn(u32) -> ServerId) -> Option<u32> {
        let mut step = self.first(id);
        loop {
            match self.places[step] {
                NOBODY => return None,
                at if id_at(at) == id => return Some(at),
                _ => step = self.after(step),
            }
        }
    }

    pub(super) fn insert(&mut self, id: ServerId, at: u32, id_at: impl Fn(u32) -> ServerId) {
        if self.places.len() < 2 * (self.used + 1) {
            let old = core::mem::take(&mut self.places);
            self.places = vec![NOBODY; 2 * old.len()];
            for at in old.into_iter().filter(|at| *at != NOBODY) {
                self.put(id_at(at), at);
            }
        }
        self.put(id, at);
        self.used += 1;
    }

    pub(super) fn remove(&mut self, id: ServerId, id_at: impl Fn(u32) -> ServerId) {
        let mut hole = self.first(id);
        while self.places[hole] == NOBODY || id_at(self.places[hole]) != id {
            assert!(self.places[hole] != NOBODY, "only who is in is taken out");
            hole = self.after(hole);
        }
        self.places[hole] = NOBODY;
        self.used -= 1;
        // Who stands behind the hole and belongs before it moves up.
        let mut step = self.after(hole);
        while self.places[step] != NOBODY {
            let at = core::mem::replace(&mut self.places[step], NOBODY);
            self.put(id_at(at), at);
            step = self.after(step);
        }
    }

    fn put(&mut self, id: ServerId, at: u32) {
        let mut step = self.first(id);
        while self.places[step] != NOBODY {
            step = self.after(step);
        }
        self.places[step] = at;
    }

    fn first(&self, id: ServerId) -> usize {
        let mask = self.places.len() as u64 - 1;
        usize::try_from(mix(id.0) & mask).expect("invariant: a place of the index")
    }

    const fn after(&self, step: usize) -> usize {
        (step + 1) & (self.places.len() - 1)
    }
}
