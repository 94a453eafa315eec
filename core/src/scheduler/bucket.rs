//! How each alloc of a job stands, sorted by group.
//!
//! | alloc | node | standing |
//! |---|---|---|
//! | stopped, or replaced | any | out: it speaks for nothing |
//! | pending, running | init, ready | live; leaving, if it must, or may for a better node |
//! | pending, running, lost | down or gone | lost |
//! | complete | any | service: ended; batch: done |
//! | failed | any | failed, with what its policy says |
//! | complete, failed, of an older version of a batch job | any | out: the new version runs anew |
//!
//! Invariants
//! - every alloc is in at most one bucket, with one standing;
//! - an alloc that has a successor is never replaced again.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::retry::{Retry, decide};
use crate::state::State;
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, ClientStatus, DesiredStatus, EvalId, Group, Job, JobKind, JobSpec,
    Migration, NodeId,
};

/// See the module's table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    Live,
    Done,
    Lost,
    Ended,
    Failed(Retry),
    Leaving(Leave),
}

/// Why it waits, or not, for whoever takes its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leave {
    WhenReplaced,
    AtOnce,
    /// As soon as another has a place that is better by so much.
    IfBetter {
        gain_permille_min: u32,
    },
}

/// An alloc and how it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) alloc: &'a Allocation,
    pub(super) standing: Standing,
}

/// The allocs of one group of the newest version.
#[derive(Debug, Default)]
pub(super) struct Bucket<'a> {
    /// Those that speak for one of the group's count.
    pub(super) items: Vec<Item<'a>>,
    /// By ordinal, the youngest that was stopped and has no successor.
    pub(super) stopped: BTreeMap<u32, &'a Allocation>,
}

/// All allocs of a job.
#[derive(Debug, Default)]
pub(super) struct Buckets<'a> {
    /// In the order of the newest version's groups.
    pub(super) groups: Vec<Bucket<'a>>,
    /// Must not run: of a group that is gone, or of a job that is stopped.
    pub(super) strays: Vec<Item<'a>>,
    /// Were told to stop, and their node died before it said that they had.
    pub(super) vanished: Vec<AllocId>,
}

/// What standing depends on beside the alloc.
#[derive(Clone, Copy)]
pub(super) struct Sorter<'a> {
    pub(super) state: &'a State,
    /// `None`: the job is gone.
    pub(super) job: Option<&'a Job>,
    pub(super) now: WallTime,
    /// The evaluation being scheduled: what waited for it is due.
    pub(super) eval: EvalId,
}

impl<'a> Sorter<'a> {
    /// The specification that should run; `None` when nothing should.
    pub(super) fn wanted(&self) -> Option<&'a JobSpec> {
        let job = self.job.filter(|job| !job.stopped && !job.purged)?;
        Some(&*job.newest().spec).filter(|spec| !spec.launch.makes_children())
    }

    /// Sort all of `allocs`.
    pub(super) fn sort(&self, allocs: impl Iterator<Item = &'a Allocation>) -> Buckets<'a> {
        let groups = self.wanted().map_or(0, |spec| spec.groups.len());
        let mut buckets = Buckets { groups: vec![], strays: vec![], vanished: vec![] };
        buckets.groups.resize_with(groups, Bucket::default);
        for alloc in allocs {
            let group = self.group_of(alloc);
            if alloc.desired == DesiredStatus::Stop {
                if !alloc.client_status.is_terminal() && self.is_lost(alloc.node) {
                    buckets.vanished.push(alloc.id);
                }
                if let (Some((at, _)), None) = (group, alloc.next) {
                    // Allocs come by age, so the last one stays.
                    buckets.groups[at].stopped.insert(alloc.ordinal, alloc);
                }
                continue;
            }
            let policy = group.map(|(_, group)| group);
            let Some(standing) = self.standing(alloc, policy) else {
                continue;
            };
            let item = Item { alloc, standing };
            match group {
                Some((at, _)) => buckets.groups[at].items.push(item),
                None => buckets.strays.push(item),
            }
        }
        buckets
    }

    /// The group of the newest version that the alloc belongs to.
    fn group_of(&self, alloc: &Allocation) -> Option<(usize, &'a Group)> {
        let old = &self.job?.version(alloc.version)?.spec;
        let name = &old.groups.get(usize::from(alloc.group))?.name;
        self.wanted()?.group(name)
    }

    fn standing(&self, alloc: &Allocation, group: Option<&Group>) -> Option<Standing> {
        if alloc.next.is_some() {
            return None;
        }
        let newest = self.job.map(Job::newest);
        let is_of = |kind| newest.is_some_and(|newest| newest.spec.kind == kind);
        let (batch, service) = (is_of(JobKind::Batch), is_of(JobKind::Service));
        let older = newest.is_some_and(|newest| alloc.version < newest.version);
        match alloc.client_status {
            ClientStatus::Complete | ClientStatus::Failed if batch && older => None,
            ClientStatus::Complete if batch => Some(Standing::Done),
            ClientStatus::Complete => Some(Standing::Ended),
            ClientStatus::Failed => {
                let retry = group.map_or(Retry::Never, |group| self.retry(alloc, group));
                Some(Standing::Failed(retry))
            }
            ClientStatus::Lost => Some(Standing::Lost),
            ClientStatus::Pending | ClientStatus::Running if self.is_lost(alloc.node) => {
                Some(Standing::Lost)
            }
            ClientStatus::Pending | ClientStatus::Running => Some(match alloc.migration {
                Migration::None | Migration::Chosen { .. } => Standing::Live,
                // What an update takes away, or what began anew as something else, need not move.
                Migration::IfBetter { .. } if older || !service => Standing::Live,
                Migration::IfBetter { gain_permille_min } => {
                    Standing::Leaving(Leave::IfBetter { gain_permille_min })
                }
                Migration::WhenReplaced => Standing::Leaving(Leave::WhenReplaced),
                Migration::AtOnce => Standing::Leaving(Leave::AtOnce),
            }),
        }
    }

    fn retry(&self, alloc: &Allocation, group: &Group) -> Retry {
        // The moment that it waited for was computed before its row was written again.
        let waited = alloc.follow_up == Some(self.eval);
        match decide(&group.reschedule, alloc, self.now) {
            Retry::Later { .. } if waited => Retry::Now {
                delay_ms: super::retry::delay(
                    &group.reschedule,
                    &alloc.reschedules,
                    alloc.modify_time,
                ),
            },
            decided @ (Retry::Now { .. } | Retry::Later { .. } | Retry::Never) => decided,
        }
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.state.is_down(node) || self.state.slot_of(node).is_none()
    }
}
