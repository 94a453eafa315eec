//! What is missing and what is too much: the difference between what a job wants and what there is.
//!
//! Each group wants `count` allocs. Of those that speak for one of the count, what is too much goes
//! first (lost, then ended, then what must leave its node, then doubled names, then the highest
//! ordinals); what ended or was lost or must leave is replaced; what is missing gets the lowest free ordinals; what is of an older version is updated in
//! place or replaced, a service at most `parallel_max` at a time: the next step comes when the last one
//! is healthy. What the newest version may do at all is its deployment's to say (`rollout`).
//!
//! Invariants
//! - what is kept, replaced and placed anew is never more than `count`, canaries apart;
//! - where the newest version may not take over, what is placed is of the version that it replaces;
//! - kept and placed allocs have different ordinals, unless two were kept that already shared one;
//! - reconciling again after the plan was applied changes nothing.
//!
//! It does not choose nodes.
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::bucket::{Bucket, Buckets, Item, Leave, Standing};
use super::change::Change;
use super::retry::Retry;
use super::rollout::Stage;
use crate::state::bits::Bits;
use crate::time::WallTime;
use crate::types::{AllocId, Allocation, Group, JobKind, Stop, StopReason};

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
    /// The alloc before it must leave its node, and is stopped once this one has room.
    Migrates,
    /// The alloc before it leaves its node for one that is better by so much, if there is one.
    Improves { gain_permille_min: u32 },
}

/// One alloc to place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    pub(super) ordinal: u32,
    pub(super) previous: Option<&'a Allocation>,
    pub(super) cause: Cause,
    /// Of an older version, to stand in for one that is gone while the newest may not.
    pub(super) version: Option<u64>,
    pub(super) canary: bool,
}

impl Want<'_> {
    /// Whether nothing is missing if it finds no place.
    pub(super) const fn may_stay(&self) -> bool {
        matches!(self.cause, Cause::Improves { .. })
    }
}

/// What one group needs.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    pub(super) stops: Vec<Stop>,
    pub(super) in_place: Vec<AllocId>,
    pub(super) wants: Vec<Want<'a>>,
    /// Failed, and to be placed again at these moments.
    pub(super) later: Vec<(&'a Allocation, WallTime)>,
    /// Run on and are not replaced by this plan.
    pub(super) kept: Vec<&'a Allocation>,
    /// The plan makes the deployment, and the group has so many canaries.
    pub(super) begins_with: Option<u32>,
}

/// What a group's reconciliation depends on.
pub(super) struct Goal<'a> {
    pub(super) group: &'a Group,
    pub(super) kind: JobKind,
    pub(super) version: u64,
    pub(super) stage: Stage,
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
        Standing::Live
        | Standing::Leaving(_)
        | Standing::Done
        | Standing::Ended
        | Standing::Failed(_) => StopReason::NotNeeded,
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
        let (canaries, items): (Vec<Item<'a>>, Vec<Item<'a>>) =
            bucket.items.iter().partition(|item| item.alloc.canary);
        let (spare, mut staying) = self.split_spare(&items);
        if !planted!(SurplusKept) {
            outline.stops.extend(spare.iter().map(stop_unneeded));
        }
        staying.sort_by_key(|item| (item.alloc.ordinal, item.alloc.id));
        let stage = self.begin(&staying, change, &mut outline);

        let mut ordinals = Ordinals::default();
        for item in staying.iter().filter(|item| !is_replaced(item.standing)) {
            ordinals.taken.insert(item.alloc.ordinal);
        }
        let mut old = Old::default();
        for item in &staying {
            if item.alloc.version < self.version && is_present(item.standing) {
                self.sort_old((item, stage), change(item.alloc), &mut old, &mut outline);
            } else {
                self.sort(item, stage, &mut ordinals, &mut outline);
            }
        }
        let missing = self.count().saturating_sub(staying.len());
        if stage.is_open() {
            let resumed = fill_up(bucket, missing, &mut ordinals, &mut outline);
            self.update((&staying, old), resumed, &mut ordinals, &mut outline);
        } else {
            self.stand_in(bucket, (&staying, missing), &mut ordinals, &mut outline);
            outline.kept.append(&mut old.live);
        }
        self.sort_canaries(&canaries, stage, &mut outline);
        let most = self.count().saturating_add(canaries.len()).saturating_add(canaries_of(stage));
        assert!(
            outline.wants.len() <= most,
            "no more is placed than the group's count and canaries"
        );
        outline
    }

    /// The stage at which the group is; a version that is looked at for the first time begins.
    fn begin(
        &self,
        staying: &[Item<'a>],
        change: &mut dyn FnMut(&Allocation) -> Change,
        outline: &mut Outline<'a>,
    ) -> Stage {
        let Stage::Fresh { .. } = self.stage else { return self.stage };
        let has_old = staying.iter().any(|item| {
            let is_old = runs(item.standing) && item.alloc.version < self.version;
            is_old && change(item.alloc) == Change::Destructive
        });
        let stage = self.stage.begun(has_old);
        outline.begins_with = u32::try_from(canaries_of(stage)).ok();
        stage
    }

    /// An alloc of the newest version, or one that does not run any more.
    fn sort(
        &self,
        item: &Item<'a>,
        stage: Stage,
        ordinals: &mut Ordinals,
        outline: &mut Outline<'a>,
    ) {
        let is_newest = item.alloc.version == self.version;
        let is_given_up = is_newest && stage == Stage::Failed;
        match item.standing {
            Standing::Live => outline.kept.push(item.alloc),
            Standing::Done | Standing::Failed(Retry::Never) => {}
            Standing::Failed(_) | Standing::Ended if is_given_up => {}
            Standing::Failed(Retry::Later { .. }) if planted!(DelayForgotten) => {}
            Standing::Failed(Retry::Later { due }) => outline.later.push((item.alloc, due)),
            Standing::Lost
            | Standing::Leaving(_)
            | Standing::Ended
            | Standing::Failed(Retry::Now { .. }) => {
                let version = (!is_newest && !stage.is_open()).then_some(item.alloc.version);
                replace(item, version, ordinals, outline);
            }
        }
    }

    /// Allocs that run beside those of the count until their version is promoted.
    fn sort_canaries(&self, canaries: &[Item<'a>], stage: Stage, outline: &mut Outline<'a>) {
        let (mut ordinals, mut present) = (Ordinals::default(), 0);
        for item in canaries {
            if item.alloc.version < self.version || stage == Stage::Failed {
                outline.stops.push(stop_unneeded(item));
                continue;
            }
            present += 1;
            ordinals.taken.insert(item.alloc.ordinal);
            match (item.standing, stage) {
                (Standing::Live, _) => outline.kept.push(item.alloc),
                (Standing::Failed(Retry::Later { due }), _) => {
                    outline.later.push((item.alloc, due));
                }
                (Standing::Done | Standing::Failed(Retry::Never), _) => {}
                (Standing::Lost, Stage::Paused) => outline.stops.push(stop_unneeded(item)),
                (Standing::Ended | Standing::Failed(_), Stage::Paused) => {}
                (
                    Standing::Lost
                    | Standing::Leaving(_)
                    | Standing::Ended
                    | Standing::Failed(Retry::Now { .. }),
                    _,
                ) => {
                    ordinals.taken.remove(item.alloc.ordinal);
                    replace(item, None, &mut ordinals, outline);
                    outline.wants.last_mut().into_iter().for_each(|want| want.canary = true);
                }
            }
        }
        for _ in present..canaries_of(stage) {
            let ordinal = ordinals.lowest_free();
            let (previous, cause, version) = (None, Cause::Missing, None);
            outline.wants.push(Want { ordinal, previous, cause, version, canary: true });
        }
    }

    /// What somebody stopped while the newest version may not take its place comes back as it was.
    fn stand_in(
        &self,
        bucket: &Bucket<'a>,
        (staying, missing): (&[Item<'a>], usize),
        ordinals: &mut Ordinals,
        outline: &mut Outline<'a>,
    ) {
        let runs_here = |version| {
            staying.iter().any(|item| runs(item.standing) && item.alloc.version == version)
        };
        let gone = bucket.stopped.iter().filter(|&(ordinal, alloc)| {
            let is_old = alloc.version < self.version && !alloc.canary;
            is_old && runs_here(alloc.version) && !ordinals.taken.has(*ordinal)
        });
        let gone: Vec<(u32, &'a Allocation)> =
            gone.map(|(&ordinal, &alloc)| (ordinal, alloc)).take(missing).collect();
        for (ordinal, alloc) in gone {
            ordinals.taken.insert(ordinal);
            let (previous, version) = (Some(alloc), Some(alloc.version));
            let cause = Cause::Missing;
            outline.wants.push(Want { ordinal, previous, cause, version, canary: false });
        }
    }

    fn count(&self) -> usize {
        usize::try_from(self.group.count).unwrap_or(usize::MAX)
    }

    /// What is too much, and what stays.
    fn split_spare(&self, items: &[Item<'a>]) -> (Vec<Item<'a>>, Vec<Item<'a>>) {
        let wanted = self.count() - usize::from(planted!(OneTooFewKept) && 1 < self.count());
        if items.len() <= wanted {
            return (Vec::new(), items.to_vec());
        }
        let mut by_worth: Vec<Item<'a>> = items.to_vec();
        let mut named = Bits::default();
        // Of two with one ordinal, the newer version is the one that is meant.
        by_worth
            .sort_by_key(|item| (item.alloc.ordinal, Reverse(item.alloc.version), item.alloc.id));
        let mut ranked: Vec<(u8, Reverse<u32>, Reverse<AllocId>, Item<'a>)> = by_worth
            .into_iter()
            .map(|item| {
                let rank = match item.standing {
                    Standing::Lost => 0,
                    Standing::Ended | Standing::Failed(_) => 1,
                    Standing::Leaving(_) => 2,
                    Standing::Live if !named.insert(item.alloc.ordinal) => 3,
                    Standing::Live => 4,
                    Standing::Done => 5,
                };
                (rank, Reverse(item.alloc.ordinal), Reverse(item.alloc.id), item)
            })
            .collect();
        ranked.sort_by_key(|&(rank, ordinal, id, _)| (rank, ordinal, id));
        let mut spare: Vec<Item<'a>> = ranked.into_iter().map(|(.., item)| item).collect();
        let staying = spare.split_off(items.len() - wanted);
        (spare, staying)
    }

    /// An alloc of an older version takes the new one as it runs, or joins those to be replaced.
    fn sort_old(
        &self,
        (item, stage): (&Item<'a>, Stage),
        change: Change,
        old: &mut Old<'a>,
        outline: &mut Outline<'a>,
    ) {
        let alloc = item.alloc;
        let is_halted = matches!(stage, Stage::Paused | Stage::Failed);
        match (change, item.standing) {
            (Change::InPlace, Standing::Live) if !is_halted => {
                outline.in_place.push(alloc.id);
                outline.kept.push(alloc);
            }
            (Change::Destructive, Standing::Live) if planted!(OldVersionKept) => {
                outline.kept.push(alloc);
            }
            (Change::InPlace | Change::Destructive, Standing::Live) => old.live.push(alloc),
            // Nothing runs that waiting would spare.
            (Change::Destructive, _) if stage.is_open() => old.ended.push(alloc),
            (_, Standing::Failed(Retry::Later { due })) => outline.later.push((alloc, due)),
            (Change::InPlace | Change::Destructive, _) => {}
        }
        assert!(alloc.version < self.version, "only an older version is updated");
    }

    /// Replace as many of the `old` as the policy allows now.
    fn update(
        &self,
        (staying, old): (&[Item<'a>], Old<'a>),
        resumed: usize,
        ordinals: &mut Ordinals,
        outline: &mut Outline<'a>,
    ) {
        if old.live.is_empty() && old.ended.is_empty() {
            return;
        }
        let is_named = |item: &&Item<'_>| item.alloc.version == self.version;
        let named = staying.iter().filter(is_named).map(|item| item.alloc.ordinal);
        let named = named.chain(outline.wants.iter().map(|want| want.ordinal));
        ordinals.passed_on = named.collect();
        for alloc in old.ended {
            outline.wants.push(update_of(alloc, ordinals));
        }
        let policy = &self.group.update;
        let allowed = if self.kind == JobKind::Batch || policy.parallel_max == 0 {
            old.live.len()
        } else if staying.iter().any(|item| self.is_ill(item)) {
            0
        } else {
            let replaced = outline.wants.iter().filter(|want| want.cause != Cause::Missing).count();
            let unsettled = staying.iter().filter(|item| self.is_unsettled(item)).count();
            let moving = replaced + unsettled + resumed;
            usize::try_from(policy.parallel_max).unwrap_or(usize::MAX).saturating_sub(moving)
        };
        let allowed = if planted!(MaxParallelIgnored) { old.live.len() } else { allowed };
        let (next, waiting) = old.live.split_at(allowed.min(old.live.len()));
        outline.wants.extend(next.iter().map(|alloc| update_of(alloc, ordinals)));
        outline.kept.extend(waiting);
    }

    /// Whether the newest version has shown here that it is not fit to go on with.
    fn is_ill(&self, item: &Item<'_>) -> bool {
        let is_newest = item.alloc.version == self.version;
        is_newest && item.standing == Standing::Live && item.alloc.is_unhealthy()
    }

    /// Whether it is a step of the update that is not finished: of the new version, and not yet
    /// healthy. What will be replaced by this plan is counted there.
    fn is_unsettled(&self, item: &Item<'_>) -> bool {
        let is_newest = item.alloc.version == self.version;
        match item.standing {
            Standing::Live => is_newest && !item.alloc.is_healthy(),
            Standing::Failed(Retry::Later { .. } | Retry::Never) => is_newest,
            Standing::Done | Standing::Lost | Standing::Leaving(_) | Standing::Ended => false,
            Standing::Failed(Retry::Now { .. }) => false,
        }
    }
}

const fn runs(standing: Standing) -> bool {
    matches!(standing, Standing::Live | Standing::Leaving(_))
}

/// Allocs of older versions that another takes the place of.
#[derive(Default)]
struct Old<'a> {
    live: Vec<&'a Allocation>,
    ended: Vec<&'a Allocation>,
}

fn update_of<'a>(alloc: &'a Allocation, ordinals: &mut Ordinals) -> Want<'a> {
    let ordinal = ordinals.pass_on(alloc.ordinal);
    let (previous, cause, version) = (Some(alloc), Cause::Updates, None);
    Want { ordinal, previous, cause, version, canary: false }
}

/// How many canaries the stage asks for.
fn canaries_of(stage: Stage) -> usize {
    match stage {
        Stage::Canary { canaries } => usize::try_from(canaries).unwrap_or(usize::MAX),
        Stage::Free | Stage::Fresh { .. } | Stage::Rolling | Stage::Paused | Stage::Failed => 0,
    }
}

/// Place what the group has too few of. Answers how many of them stand in for one that made way.
fn fill_up<'a>(
    bucket: &Bucket<'a>,
    missing: usize,
    ordinals: &mut Ordinals,
    outline: &mut Outline<'a>,
) -> usize {
    let mut resumed = 0;
    for _ in 0..missing {
        let ordinal = ordinals.lowest_free();
        let previous = bucket.stopped.get(&ordinal).copied();
        resumed += usize::from(previous.is_some());
        let (cause, version) = (Cause::Missing, None);
        outline.wants.push(Want { ordinal, previous, cause, version, canary: false });
    }
    resumed
}

/// Whether something of it may run or come back by itself.
const fn is_present(standing: Standing) -> bool {
    match standing {
        Standing::Live | Standing::Failed(Retry::Later { .. } | Retry::Never) => true,
        Standing::Done | Standing::Lost | Standing::Leaving(_) | Standing::Ended => false,
        Standing::Failed(Retry::Now { .. }) => false,
    }
}

const fn is_replaced(standing: Standing) -> bool {
    match standing {
        Standing::Lost | Standing::Leaving(_) | Standing::Ended => true,
        Standing::Failed(Retry::Now { .. }) => true,
        Standing::Live | Standing::Done | Standing::Failed(Retry::Later { .. } | Retry::Never) => {
            false
        }
    }
}

/// Place another for an alloc that is not there any more, or must not stay.
fn replace<'a>(
    item: &Item<'a>,
    version: Option<u64>,
    ordinals: &mut Ordinals,
    outline: &mut Outline<'a>,
) {
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
        Standing::Leaving(Leave::WhenReplaced) => Cause::Migrates,
        Standing::Leaving(Leave::IfBetter { gain_permille_min }) => {
            Cause::Improves { gain_permille_min }
        }
        Standing::Leaving(Leave::AtOnce) => {
            outline.stops.push(Stop { alloc: alloc.id, reason: StopReason::Drained });
            Cause::Replaces
        }
        Standing::Live | Standing::Done | Standing::Ended | Standing::Failed(_) => Cause::Replaces,
    };
    let ordinal = ordinals.keep_or_move(alloc.ordinal);
    outline.wants.push(Want { ordinal, previous: Some(alloc), cause, version, canary: false });
}

/// Which names of a group are in use.
#[derive(Default)]
struct Ordinals {
    taken: Bits<u32>,
    /// Everything below is taken.
    floor: u32,
    /// What the newest version has of them: of two that had one name, the second gets another.
    passed_on: Bits<u32>,
}

impl Ordinals {
    fn keep_or_move(&mut self, ordinal: u32) -> u32 {
        if self.taken.insert(ordinal) { ordinal } else { self.lowest_free() }
    }

    fn pass_on(&mut self, ordinal: u32) -> u32 {
        if self.passed_on.insert(ordinal) { ordinal } else { self.lowest_free() }
    }

    fn lowest_free(&mut self) -> u32 {
        while !self.taken.insert(self.floor) {
            self.floor += 1;
        }
        self.floor
    }
}
