//! Which allocs of a job would be better on other nodes, as things are.
//!
//! Invariants
//! - each is compared with all others where they are.
use alloc::vec::Vec;

use super::Draft;
use crate::scheduler::bucket::Buckets;
use crate::scheduler::rank::Ranking;
use crate::scheduler::rank::elsewhere::Gain;
use crate::scheduler::rebalance::Better;
use crate::types::{Allocation, Job};

impl<'a> Draft<'a> {
    /// The job's allocs that are meant and would be better on another node.
    pub(in crate::scheduler) fn better(
        &mut self,
        (job, buckets): (&'a Job, &Buckets<'a>),
        gain_permille_min: u32,
        is_meant: &dyn Fn(&Allocation) -> bool,
        compared: &mut usize,
    ) -> Vec<Better> {
        let (works, mut crowd) = self.works(job, buckets);
        let mut found = Vec::new();
        for work in &works {
            let meant = work.outline.kept.iter().filter(|alloc| is_meant(alloc));
            let meant: Vec<&Allocation> = meant.copied().collect();
            if meant.is_empty() {
                continue;
            }
            let subject = self.subject(work.at, work.spec, work.position, 1);
            let mut ranking = Ranking::of(subject, &self.room, &crowd);
            for alloc in meant {
                let Some(from) = self.view.state.fleet().slot_of(alloc.node) else { continue };
                *compared += 1;
                ranking.vacate(from, &self.room, &mut crowd);
                let gain = ranking.elsewhere(from, gain_permille_min, &self.room, &crowd);
                ranking.restore(from, &self.room, &mut crowd);
                let better = |Gain { here, there }| Better { alloc: alloc.id, here, there };
                found.extend(gain.map(better));
            }
        }
        found
    }
}
