//! What is missing and what is too much: the difference between what a job wants and what there is.
//!
//! Each group wants `count` allocs. Of those that speak for one of the count, what is too much goes
//! first (lost, then ended, then doubled names, then the highest ordinals); what ended or was lost is
//! replaced; what is missing gets the lowest free ordinals; what is of an older version is updated in
//! place or replaced, a service at most `parallel_max` at a time.
//!
//! An update goes on when its last step is healthy: running for `min_healthy_ms` of the replicated
//! clock. A group that has to wait for that asks for a delayed evaluation, noted on its last old alloc.
//!
//! Invariants
//! - what is kept, replaced and placed anew is never more than `count`;
//! - kept and placed allocs have different ordinals, unless two were kept that already shared one;
//! - reconciling again after the plan was applied changes nothing.
//!
//! It does not choose nodes.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::bucket::{Bucket, Buckets, Item, Standing};
use super::change::Change;
use super::retry::{Retry, SLACK_MS};
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, ClientStatus, Group, JobKind, Stop, StopReason, UpdatePolicy,
};

/// Why an alloc is to be placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// The group has fewer than its count.
    Missing,
    /// The alloc before it is out of the way already, or is stopped whether this one finds room or not.
    Replaces,
    /// The alloc before it failed, and is stopped once this one has room.
    Reschedules { delay_ms: u64 },
    /// The alloc before it is of an older version, and is stopped once this one has room.
    Updates,
}

/// One alloc to place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    pub(super) ordinal: u32,
    pub(super) previous: Option<&'a Allocation>,
    pub(super) cause: Cause,
}

/// What one group needs.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    pub(super) stops: Vec<Stop>,
    pub(super) in_place: Vec<AllocId>,
    pub(super) wants: Vec<Want<'a>>,
    /// Failed, and to be placed again at these moments.
    pub(super) later: Vec<(&'a Allocation, WallTime)>,
    /// When to go on with an update of which some allocs still wait.
    pub(super) next_step: Option<NextStep<'a>>,
    /// Run on and are not replaced by this plan.
    pub(super) kept: Vec<&'a Allocation>,
}

/// The wait for the next step of an update.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextStep<'a> {
    /// The last alloc to be replaced: the last in every step, so the moment is kept in one place.
    pub(super) carrier: &'a Allocation,
    pub(super) at: WallTime,
    /// Whether time alone brings the step nearer, or only what this plan will place.
    pub(super) pace: Pace,
}

/// What the next step of an update waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pace {
    /// Some allocs of the new version run and become healthy by waiting.
    Settling,
    /// Nothing of the new version is on its way yet.
    Idle,
}

/// What a group's reconciliation depends on.
pub(super) struct Goal<'a> {
    pub(super) group: &'a Group,
    pub(super) kind: JobKind,
    pub(super) version: u64,
    pub(super) now: WallTime,
}

/// Allocs that must not run are stopped, and those whose node died are lost.
pub(super) fn stop_strays(buckets: &Buckets<'_>) -> Vec<Stop> {
    let vanished = buckets.vanished.iter();
    let mut stops: Vec<Stop> =
        vanished.map(|&alloc| Stop { alloc, reason: StopReason::NodeLost }).collect();
    if !planted!(StraysKept) {
        stops.extend(buckets.strays.iter().map(stop_unneeded));
    }
    stops
}

fn stop_unneeded(item: &Item<'_>) -> Stop {
    let reason = match item.standing {
        Standing::Lost => StopReason::NodeLost,
        Standing::Live | Standing::Done | Standing::Ended | Standing::Failed(_) => {
            StopReason::NotNeeded
        }
    };
    Stop { alloc: item.alloc.id, reason }
}

impl<'a> Goal<'a> {
    /// What the group needs. `change` says what a step to the newest version asks of an alloc.
    pub(super) fn reconcile(
        &self,
        bucket: &Bucket<'a>,
        change: &mut dyn FnMut(&Allocation) -> Change,
    ) -> Outline<'a> {
        let mut outline = Outline::default();
        let (spare, mut staying) = self.split_spare(&bucket.items);
        if !planted!(SurplusKept) {
            outline.stops.extend(spare.iter().map(stop_unneeded));
        }
        staying.sort_by_key(|item| (item.alloc.ordinal, item.alloc.id));

        let mut ordinals = Ordinals::default();
        for item in staying.iter().filter(|item| !is_replaced(item.standing)) {
            ordinals.taken.insert(item.alloc.ordinal);
        }
        let mut old = Vec::new();
        for item in &staying {
            match item.standing {
                Standing::Live | Standing::Failed(Retry::Later { .. } | Retry::Never)
                    if item.alloc.version < self.version =>
                {
                    self.sort_old(item, change(item.alloc), &mut old, &mut outline);
                }
                Standing::Live => outline.kept.push(item.alloc),
                Standing::Done | Standing::Failed(Retry::Never) => {}
                Standing::Failed(Retry::Later { .. }) if planted!(DelayForgotten) => {}
                Standing::Failed(Retry::Later { due }) => outline.later.push((item.alloc, due)),
                Standing::Lost | Standing::Ended | Standing::Failed(Retry::Now { .. }) => {
                    replace(item, &mut ordinals, &mut outline);
                }
            }
        }
        let missing = self.count().saturating_sub(staying.len());
        let mut resumed = 0;
        for _ in 0..missing {
            let ordinal = ordinals.lowest_free();
            let previous = bucket.stopped.get(&ordinal).copied();
            resumed += u32::from(previous.is_some());
            outline.wants.push(Want { ordinal, previous, cause: Cause::Missing });
        }
        self.update(&staying, old, resumed, &mut outline);
        assert!(outline.wants.len() <= self.count(), "no more is placed than the group's count");
        outline
    }

    fn count(&self) -> usize {
        usize::try_from(self.group.count).unwrap_or(usize::MAX)
    }

    /// What is too much, and what stays.
    fn split_spare(&self, items: &[Item<'a>]) -> (Vec<Item<'a>>, Vec<Item<'a>>) {
        let mut by_worth: Vec<Item<'a>> = items.to_vec();
        let mut named = BTreeSet::new();
        // Of two with one ordinal, the newer version is the one that is meant.
        by_worth
            .sort_by_key(|item| (item.alloc.ordinal, Reverse(item.alloc.version), item.alloc.id));
        let mut ranked: Vec<(u8, Reverse<u32>, Reverse<AllocId>, Item<'a>)> = by_worth
            .into_iter()
            .map(|item| {
                let rank = match item.standing {
                    Standing::Lost => 0,
                    Standing::Ended | Standing::Failed(_) => 1,
                    Standing::Live if !named.insert(item.alloc.ordinal) => 2,
                    Standing::Live => 3,
                    Standing::Done => 4,
                };
                (rank, Reverse(item.alloc.ordinal), Reverse(item.alloc.id), item)
            })
            .collect();
        ranked.sort_by_key(|&(rank, ordinal, id, _)| (rank, ordinal, id));
        let mut spare: Vec<Item<'a>> = ranked.into_iter().map(|(.., item)| item).collect();
        let staying = spare.split_off(items.len().saturating_sub(self.count()));
        (spare, staying)
    }

    /// An alloc of an older version takes the new one as it runs, or joins those to be replaced.
    fn sort_old(
        &self,
        item: &Item<'a>,
        change: Change,
        old: &mut Vec<&'a Allocation>,
        outline: &mut Outline<'a>,
    ) {
        let alloc = item.alloc;
        match (change, item.standing) {
            (Change::InPlace, Standing::Failed(Retry::Later { due })) => {
                outline.later.push((alloc, due));
            }
            (Change::InPlace, Standing::Failed(_)) => {}
            (Change::InPlace, _) => {
                outline.in_place.push(alloc.id);
                outline.kept.push(alloc);
            }
            // Nothing runs that waiting would spare.
            (Change::Destructive, Standing::Failed(_)) => outline.wants.push(Want {
                ordinal: alloc.ordinal,
                previous: Some(alloc),
                cause: Cause::Updates,
            }),
            (Change::Destructive, _) if planted!(OldVersionKept) => outline.kept.push(alloc),
            (Change::Destructive, _) => old.push(alloc),
        }
        assert!(alloc.version < self.version, "only an older version is updated");
    }

    /// Replace as many of the `old` as the policy allows now.
    fn update(
        &self,
        staying: &[Item<'a>],
        old: Vec<&'a Allocation>,
        resumed: u32,
        outline: &mut Outline<'a>,
    ) {
        let policy = &self.group.update;
        let allowed = if self.kind == JobKind::Batch || policy.parallel_max == 0 {
            old.len()
        } else {
            let replaced = outline.wants.iter().filter(|want| want.cause != Cause::Missing).count();
            let unsettled = staying.iter().filter(|item| self.is_unsettled(item)).count();
            let moving = replaced + unsettled + usize::try_from(resumed).unwrap_or(usize::MAX);
            usize::try_from(policy.parallel_max).unwrap_or(usize::MAX).saturating_sub(moving)
        };
        let (next, waiting) = old.split_at(allowed.min(old.len()));
        outline.wants.extend(next.iter().map(|alloc| Want {
            ordinal: alloc.ordinal,
            previous: Some(alloc),
            cause: Cause::Updates,
        }));
        outline.kept.extend(waiting);
        outline.next_step = waiting.last().map(|&carrier| self.next_step(carrier, staying));
    }

    /// Whether it is a step of the update that is not finished: of the new version, and not yet
    /// healthy. What will be replaced by this plan is counted there.
    fn is_unsettled(&self, item: &Item<'_>) -> bool {
        let newest = item.alloc.version == self.version;
        match item.standing {
            Standing::Live => {
                newest && self.now < healthy_at(&self.group.update, item.alloc, self.now)
            }
            Standing::Failed(Retry::Later { .. } | Retry::Never) => newest,
            Standing::Done | Standing::Lost | Standing::Ended => false,
            Standing::Failed(Retry::Now { .. }) => false,
        }
    }

    /// When the next step of the update may be possible.
    fn next_step(&self, carrier: &'a Allocation, staying: &[Item<'_>]) -> NextStep<'a> {
        let policy = &self.group.update;
        let newest = staying
            .iter()
            .filter(|item| item.alloc.version == self.version && item.standing == Standing::Live);
        let moments = newest.map(|item| healthy_at(policy, item.alloc, self.now));
        match moments.filter(|&moment| self.now < moment).min() {
            Some(at) => NextStep { carrier, at, pace: Pace::Settling },
            None => NextStep { carrier, at: self.now.plus_ms(patience(policy)), pace: Pace::Idle },
        }
    }
}

const fn patience(policy: &UpdatePolicy) -> u64 {
    if policy.min_healthy_ms < SLACK_MS { SLACK_MS } else { policy.min_healthy_ms }
}

/// When an alloc has been running long enough; one that is not running yet needs at least that long.
fn healthy_at(policy: &UpdatePolicy, alloc: &Allocation, now: WallTime) -> WallTime {
    if alloc.client_status == ClientStatus::Running {
        alloc.modify_time.plus_ms(policy.min_healthy_ms)
    } else {
        now.plus_ms(patience(policy))
    }
}

const fn is_replaced(standing: Standing) -> bool {
    match standing {
        Standing::Lost | Standing::Ended | Standing::Failed(Retry::Now { .. }) => true,
        Standing::Live | Standing::Done | Standing::Failed(Retry::Later { .. } | Retry::Never) => {
            false
        }
    }
}

/// Place another for an alloc that is not there any more.
fn replace<'a>(item: &Item<'a>, ordinals: &mut Ordinals, outline: &mut Outline<'a>) {
    let alloc = item.alloc;
    let cause = match item.standing {
        Standing::Failed(Retry::Now { delay_ms }) => Cause::Reschedules { delay_ms },
        Standing::Lost => {
            outline.stops.push(Stop { alloc: alloc.id, reason: StopReason::NodeLost });
            if planted!(LostNotReplaced) {
                return;
            }
            Cause::Replaces
        }
        Standing::Live | Standing::Done | Standing::Ended | Standing::Failed(_) => Cause::Replaces,
    };
    let ordinal = ordinals.keep_or_move(alloc.ordinal);
    outline.wants.push(Want { ordinal, previous: Some(alloc), cause });
}

/// Which names of a group are in use.
#[derive(Default)]
struct Ordinals {
    taken: BTreeSet<u32>,
    /// Everything below is taken.
    floor: u32,
}

impl Ordinals {
    fn keep_or_move(&mut self, ordinal: u32) -> u32 {
        if self.taken.insert(ordinal) { ordinal } else { self.lowest_free() }
    }

    fn lowest_free(&mut self) -> u32 {
        while !self.taken.insert(self.floor) {
            self.floor += 1;
        }
        self.floor
    }
}
