//! Which nodes met which demands, kept from one evaluation to the next.
//!
//! Jobs come by the thousand and demand the same few things, and what nodes are changes seldom. So what
//! `feasible` found is kept until a node comes, goes, or changes in anything but its usage.
//!
//! Invariants
//! - an answer out of the memo is the answer that would be found without it;
//! - it keeps at most `ANSWERS_MAX` answers.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::feasible::{Feasibility, Suitable, constraints_of};
use super::strata::affinities_of;
use crate::rng::mix;
use crate::state::State;
use crate::types::{Group, JobSpec};

/// Different demands of the jobs of one moment; a set of nodes is a kibibyte.
const ANSWERS_MAX: usize = 1_024;

/// What one leader has found out about the nodes of its one state.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// The fleet's, when the answers were found.
    generation: u64,
    answers: BTreeMap<u64, Vec<Answer>>,
    answer_count: usize,
}

#[derive(Clone, Debug)]
struct Answer {
    spec: Arc<JobSpec>,
    /// The group's position.
    at: usize,
    suitable: Arc<Suitable>,
}

impl Memo {
    /// The nodes that meet the demands of the group at `at`.
    pub(super) fn suitable(
        &mut self,
        state: &State,
        spec: &Arc<JobSpec>,
        at: usize,
    ) -> Arc<Suitable> {
        let generation = state.fleet().generation();
        if self.generation != generation || ANSWERS_MAX <= self.answer_count {
            *self = Self { generation, ..Self::default() };
        }
        let group = &spec.groups[at];
        let answers = self.answers.entry(demands_hash(spec, group)).or_default();
        let known = answers.iter().find(|known| {
            Arc::ptr_eq(&known.spec, spec) && known.at == at
                || demands_equal((&known.spec, &known.spec.groups[known.at]), (spec, group))
        });
        if let Some(known) = known {
            return Arc::clone(&known.suitable);
        }
        let suitable = Arc::new(Feasibility::of(spec, group).suitable(state));
        answers.push(Answer { spec: Arc::clone(spec), at, suitable: Arc::clone(&suitable) });
        self.answer_count += 1;
        suitable
    }
}

/// Everything that `Feasibility` and `Strata` look at.
fn demands_hash(spec: &JobSpec, group: &Group) -> u64 {
    let mut hash = Fold::default();
    hash_demands(spec, group, &mut hash);
    affinities_of(spec, group).for_each(|affinity| affinity.hash(&mut hash));
    (&group.spreads, &spec.spreads).hash(&mut hash);
    hash.finish()
}

/// Everything that `Feasibility` looks at.
pub(super) fn hash_demands(spec: &JobSpec, group: &Group, hash: &mut Fold) {
    (&spec.region, &spec.node_pool, &spec.datacenters, &spec.constraints).hash(hash);
    drivers_of(group).for_each(|driver| driver.hash(hash));
    group.device_asks().for_each(|ask| ask.hash(hash));
    group.volumes.values().for_each(|ask| ask.hash(hash));
    group.has_services().hash(hash);
    constraints_of(group).for_each(|constraint| constraint.hash(hash));
}

fn demands_equal(one: (&JobSpec, &Group), other: (&JobSpec, &Group)) -> bool {
    let of_job = |spec: &JobSpec, other: &JobSpec| {
        spec.region == other.region
            && spec.node_pool == other.node_pool
            && spec.datacenters == other.datacenters
            && spec.constraints == other.constraints
    };
    of_job(one.0, other.0)
        && drivers_of(one.1).eq(drivers_of(other.1))
        && one.1.device_asks().eq(other.1.device_asks())
        && one.1.volumes.values().eq(other.1.volumes.values())
        && one.1.has_services() == other.1.has_services()
        && constraints_of(one.1).eq(constraints_of(other.1))
        && affinities_of(one.0, one.1).eq(affinities_of(other.0, other.1))
        && one.0.spreads == other.0.spreads
        && one.1.spreads == other.1.spreads
}

fn drivers_of(group: &Group) -> impl Iterator<Item = &str> {
    group.tasks.iter().map(|task| task.driver.as_str())
}

/// The same for the same bytes; who is found is compared whole.
#[derive(Default)]
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.0 = mix(self.0 ^ u64::from_le_bytes(padded)).wrapping_add(bytes.len() as u64);
        }
    }
}
