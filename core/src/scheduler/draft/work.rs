//! What is to be done about each group of a job.
//!
//! Invariants
//! - what is not yet of the newest version and may not become so is placed as its own version has it.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Draft, position, step};
use crate::scheduler::bucket::Buckets;
use crate::scheduler::change::Change;
use crate::scheduler::crowd::Crowd;
use crate::scheduler::reconcile::{Goal, Outline, Want};
use crate::scheduler::rollout::Stage;
use crate::types::{Allocation, Job, JobSpec, WatchedGroup};

/// One group on its way to being placed.
pub(super) struct Work<'a> {
    pub(super) at: usize,
    /// The version's.
    pub(super) spec: &'a Arc<JobSpec>,
    /// Where the group is in it.
    pub(super) position: u16,
    pub(super) outline: Outline<'a>,
}

impl<'a> Draft<'a> {
    /// What is to be done about each group, and where the job's allocs are that stay.
    pub(super) fn works(&mut self, job: &'a Job, buckets: &Buckets<'a>) -> (Vec<Work<'a>>, Crowd) {
        let (spec, fleet) = (&job.newest().spec, self.view.state.fleet());
        let mut crowd = Crowd::of(spec.groups.len());
        let mut works = Vec::with_capacity(spec.groups.len());
        for at in 0..spec.groups.len() {
            let mut work = self.outline(job, at, buckets);
            self.stop(core::mem::take(&mut work.outline.stops));
            let mut in_place = core::mem::take(&mut work.outline.in_place);
            in_place.truncate(self.spend(in_place.len()));
            self.in_place.append(&mut in_place);
            let begins = work.outline.begins_with;
            let watched = begins.map(|canaries| WatchedGroup { group: work.position, canaries });
            self.watched.extend(watched);
            let kept = work.outline.kept.iter().map(|alloc| fleet.slot_of(alloc.node));
            let old = work.outline.wants.iter().map(|want| self.old_slot(want));
            kept.chain(old).flatten().for_each(|slot| crowd.join(at, slot));
            works.extend(of_older(job, &mut work));
            works.push(work);
        }
        (works, crowd)
    }

    fn outline(&mut self, job: &'a Job, at: usize, buckets: &Buckets<'a>) -> Work<'a> {
        let newest = job.newest();
        let group = &newest.spec.groups[at];
        let (state, memo) = (self.view.state, &mut *self.memo);
        let stage = Stage::of(state, job, group);
        let goal = Goal { group, kind: newest.spec.kind, version: newest.version, stage };
        let mut known: BTreeMap<u64, Change> = BTreeMap::new();
        // Whether the new version may run where the alloc is.
        let mut is_suitable = |alloc: &Allocation| {
            let suitable = memo.suitable(state, &newest.spec, at);
            state.fleet().slot_of(alloc.node).is_some_and(|slot| suitable.nodes.has(slot))
        };
        let mut change = |alloc: &Allocation| {
            let step = known.entry(alloc.version).or_insert_with(|| step(job, alloc, group));
            match *step {
                Change::InPlace if is_suitable(alloc) => Change::InPlace,
                Change::InPlace | Change::Destructive => Change::Destructive,
            }
        };
        let outline = goal.reconcile(&buckets.groups[at], &mut change);
        Work { at, spec: &newest.spec, position: position(at), outline }
    }
}

/// What of the work is to be placed as older versions have it: one more work for each.
fn of_older<'a>(job: &'a Job, work: &mut Work<'a>) -> Vec<Work<'a>> {
    let mut by_version: BTreeMap<u64, Vec<Want<'a>>> = BTreeMap::new();
    work.outline.wants.retain(|want| {
        let Some(version) = want.version else { return true };
        by_version.entry(version).or_default().push(*want);
        false
    });
    let name = &work.spec.groups[usize::from(work.position)].name;
    let older = by_version.into_iter().filter_map(|(version, wants)| {
        let spec = &job.version(version)?.spec;
        let (at, _) = spec.group(name)?;
        let outline = Outline { wants, ..Outline::default() };
        Some(Work { at: work.at, spec, position: position(at), outline })
    });
    older.collect()
}
