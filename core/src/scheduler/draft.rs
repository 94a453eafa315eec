//! A plan while it is being made: outlines of groups turned into stops and placements.
//!
//! Invariants
//! - what is stopped for a successor is stopped by the plan that places it, or that will once the old
//!   one's room is free;
//! - `budget` bounds what the plan changes; only when it is used up does `Verdict::More` follow, so a plan
//!   that says so has changed something;
//! - the job's allocs of all groups are counted before the first one is placed.
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::View;
use super::bucket::Buckets;
use super::change::{self, Change};
use super::crowd::Crowd;
use super::feasible::{Feasibility, Suitable, count_of, distinct};
use super::look::{Look, Sought};
use super::memo::Memo;
use super::preempt::{self, Preemption};
use super::rank::field::Choice;
use super::rank::{Chosen, Ranking, Subject};
use super::reconcile::{Cause, Want};
use super::retry::{SLACK_MS, delay};
use super::room::{Ask, Room};
use super::strata::Leanings;
use crate::rng::mix;
use crate::state::fits::Shortage;
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, Capacity, ClientStatus, EvalStatus, Evaluation, Group, Job, JobSpec,
    NodeSlot, Placement, PlacementFailure, Plan, Stop, StopReason, Trigger, Verdict, WatchedGroup,
};

mod better;
mod gates;
mod preempts;
mod work;

use self::gates::Gates;
use self::work::Work;

/// Follow-ups of one plan, so that it stays within the rows of a command; the next one sees to the rest.
const LATER_MAX: usize = 1_024;

/// See the module.
pub(super) struct Draft<'a> {
    pub(super) memo: &'a mut Memo,
    pub(super) view: View<'a>,
    pub(super) eval: &'a Evaluation,
    pub(super) room: Room<'a>,
    pub(super) stops: Vec<Stop>,
    pub(super) in_place: Vec<AllocId>,
    pub(super) placements: Vec<Placement>,
    failures: BTreeMap<String, PlacementFailure>,
    queued: BTreeMap<String, u32>,
    watched: Vec<WatchedGroup>,
    later: Vec<(&'a Allocation, WallTime)>,
    pub(super) preemption: Preemption<'a>,
    /// Allocs that this plan may still change.
    pub(super) left: usize,
    progress: Progress,
    /// How the nodes compared at each placement, if somebody wants to know.
    pub(super) choices: Option<Vec<Choice>>,
    next_step: Option<WallTime>,
    gates: Gates,
}

/// Whether there was more to do than the budget allowed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Progress {
    Complete,
    CutShort,
}

impl<'a> Draft<'a> {
    pub(super) fn of(
        memo: &'a mut Memo,
        view: View<'a>,
        eval: &'a Evaluation,
        budget: usize,
    ) -> Self {
        assert!(0 < budget, "each plan gets some work done");
        let mut room = Room::of(view);
        preempt::keep_for_others(&mut room, view, eval.job);
        Self {
            memo,
            view,
            eval,
            room,
            stops: Vec::new(),
            in_place: Vec::new(),
            placements: Vec::new(),
            failures: BTreeMap::new(),
            queued: BTreeMap::new(),
            watched: Vec::new(),
            later: Vec::new(),
            preemption: Preemption::of(view, eval.job),
            left: budget,
            progress: Progress::Complete,
            choices: None,
            next_step: None,
            gates: Gates::of(view.state, view.state.job(eval.job)),
        }
    }

    /// Keep how the nodes compare.
    pub(super) fn explained(self) -> Self {
        Self { choices: Some(Vec::new()), ..self }
    }

    pub(super) fn take_choices(&mut self) -> Vec<Choice> {
        self.choices.take().unwrap_or_default()
    }

    /// How many of `wanted` changes the budget still allows, taken from it.
    pub(super) fn spend(&mut self, wanted: usize) -> usize {
        let granted = wanted.min(self.left);
        if granted < wanted {
            self.progress = Progress::CutShort;
        }
        self.left -= granted;
        granted
    }

    /// Stop these whatever else happens.
    pub(super) fn stop(&mut self, mut stops: Vec<Stop>) {
        stops.truncate(self.spend(stops.len()));
        self.stops.append(&mut stops);
    }

    /// Bring every group of the job's newest version to what it should be.
    pub(super) fn fill(&mut self, job: &'a Job, buckets: &Buckets<'a>, seed: u64) {
        let (works, mut crowd) = self.works(job, buckets);
        for work in works {
            self.fill_group(work, &mut crowd, seed);
        }
    }

    /// How the nodes compare for the next alloc of a group, once what comes before it is placed.
    pub(super) fn look(
        &mut self,
        (job, buckets): (&'a Job, &Buckets<'a>),
        sought: Sought,
        seed: u64,
    ) -> Look {
        let newest = &job.newest().spec;
        let (works, mut crowd) = self.works(job, buckets);
        for work in works {
            if work.at == sought.group && Arc::ptr_eq(work.spec, newest) {
                return self.look_at(&work, &mut crowd, sought.node);
            }
            self.fill_group(work, &mut crowd, seed);
        }
        unreachable!("each group of the newest version has its work");
    }

    fn look_at(&mut self, work: &Work<'a>, crowd: &mut Crowd, node: Option<NodeSlot>) -> Look {
        let (state, wants) = (self.view.state, &work.outline.wants);
        let subject = self.subject(work.at, work.spec, work.position, wants.len().max(1));
        let feasibility = Feasibility::of(work.spec, subject.ask.group);
        let mut ranking = Ranking::of(subject, &self.room, crowd);
        let next = wants.first();
        let old = next.and_then(|want| self.old_slot(want));
        if let Some(slot) = old {
            ranking.vacate(slot, &self.room, crowd);
        }
        let avoided = next.map_or_else(Vec::new, |want| self.avoided(want));
        let (looked_at, candidates) = ranking.candidates(&avoided, &self.room, crowd);
        let tried = |slot| {
            let mut tried = feasibility.tried(state, slot);
            tried.extend(ranking.tried(slot, &self.room, crowd));
            tried
        };
        let tried = node.map(tried);
        Look { missing_count: wants.len(), looked_at, candidates, tried, ..Look::outside(state) }
    }

    fn fill_group(&mut self, work: Work<'a>, crowd: &mut Crowd, seed: u64) {
        let Work { at, spec, position, outline } = work;
        let group = &spec.groups[usize::from(position)];
        self.later.extend(&outline.later);
        if self.is_held(at) {
            return self.hold_back(at, outline.wants.len());
        }
        let mut ranking = None;
        self.preemption.begin_group(position);
        for want in &outline.wants {
            if self.spend(1) == 0 {
                return;
            }
            let wanted = outline.wants.len().min(self.left + 1);
            let ranking = ranking.get_or_insert_with(|| {
                let subject = self.subject(at, spec, position, wanted);
                Ranking::of(subject, &self.room, crowd)
            });
            let old = self.old_slot(want);
            if let Some(slot) = old {
                ranking.vacate(slot, &self.room, crowd);
            }
            let avoided = self.avoided(want);
            let asked = self.choices.is_some();
            let field = asked.then(|| ranking.survey(&avoided, &self.room, crowd));
            let draw = seed ^ mix((at as u64) << 32 | u64::from(want.ordinal)) ^ self.eval.id.0;
            let chosen = match (want.cause, old) {
                (Cause::Improves { gain_permille_min }, Some(from)) => {
                    let least = gain_permille_min;
                    ranking.place_elsewhere((from, least), draw, &mut self.room, crowd)
                }
                _ => ranking.place(&avoided, draw, &mut self.room, crowd),
            };
            match chosen {
                Some(chosen) => {
                    if let (Some(choices), Some(field)) = (&mut self.choices, field) {
                        choices.push(field.without(chosen.slot));
                    }
                    self.place(position, group, want, chosen);
                }
                None if want.may_stay() => {
                    old.into_iter().for_each(|slot| ranking.restore(slot, &self.room, crowd));
                    // Nothing was changed.
                    self.left += 1;
                }
                None if self.makes_way(ranking, want, crowd) => {}
                None if self.preempts(at, ranking, crowd) => {
                    old.into_iter().for_each(|slot| crowd.join(at, slot));
                }
                None => {
                    // Nothing was changed; what runs on is in the way of others.
                    old.into_iter().for_each(|slot| ranking.restore(slot, &self.room, crowd));
                }
            }
        }
    }

    fn subject(
        &mut self,
        at: usize,
        spec: &'a Arc<JobSpec>,
        position: u16,
        wanted: usize,
    ) -> Subject<'a> {
        let (state, position) = (self.view.state, usize::from(position));
        let group = &spec.groups[position];
        Subject {
            at,
            ask: Ask::of(group),
            distinct: distinct(spec, group),
            suitable: self.memo.suitable(state, spec, position),
            leanings: Leanings::of(spec, group),
            algorithm: state.algorithm_of(&spec.node_pool),
            wanted,
        }
    }

    /// Nodes where the chain of allocs failed before.
    fn avoided(&self, want: &Want<'_>) -> Vec<NodeSlot> {
        let (Cause::Reschedules { .. }, Some(previous)) = (want.cause, want.previous) else {
            return Vec::new();
        };
        let earlier = previous.reschedules.iter().map(|event| event.from_node);
        let nodes = core::iter::once(previous.node).chain(earlier);
        nodes.filter_map(|node| self.view.state.fleet().slot_of(node)).collect()
    }

    fn place(&mut self, position: u16, group: &Group, want: &Want<'_>, chosen: Chosen) {
        let rescheduled_after_ms = match (want.cause, want.previous) {
            (Cause::Reschedules { delay_ms }, _) => Some(delay_ms),
            // A rescheduling whose placement was refused when its plan was applied.
            (Cause::Missing, Some(failed)) if failed.client_status == ClientStatus::Failed => {
                Some(delay(&group.reschedule, &failed.reschedules, failed.modify_time))
            }
            (Cause::Missing | Cause::Replaces | Cause::Updates, _) => None,
            (Cause::Migrates | Cause::Improves { .. }, _) => None,
        };
        let reason = match want.cause {
            Cause::Missing | Cause::Replaces => None,
            Cause::Reschedules { .. } => Some(StopReason::Rescheduled),
            Cause::Updates => Some(StopReason::Updated),
            Cause::Migrates | Cause::Improves { .. } => Some(StopReason::Migrating),
        };
        if let (Some(reason), Some(previous)) = (reason, want.previous) {
            self.stops.push(Stop { alloc: previous.id, reason });
        }
        self.placements.push(Placement {
            slot: chosen.slot,
            group: position,
            ordinal: want.ordinal,
            ports: chosen.grants.ports,
            pieces: chosen.grants.pieces,
            previous: want.previous.map(|previous| previous.id),
            version: want.version,
            canary: want.canary,
            rescheduled_after_ms,
            note: chosen.note,
        });
    }

    /// Where the alloc runs that is to be replaced by an update, or may move to a better node.
    fn old_slot(&self, want: &Want<'_>) -> Option<NodeSlot> {
        let (Cause::Updates | Cause::Improves { .. }, Some(old)) = (want.cause, want.previous)
        else {
            return None;
        };
        let running = Some(old).filter(|old| !old.client_status.is_terminal());
        running.and_then(|old| self.view.state.fleet().slot_of(old.node))
    }

    /// There is no room. Whether an old alloc that holds the room its successor needs is stopped for
    /// it now, so that the successor can be placed when it has ended.
    fn makes_way(&mut self, ranking: &Ranking<'_>, want: &Want<'_>, crowd: &Crowd) -> bool {
        let group = ranking.ask().group;
        *self.queued.entry(group.name.clone()).or_default() += 1;
        match self.failures.get_mut(&group.name) {
            Some(known) => known.coalesced += 1,
            None => {
                let failure = ranking.failure(&self.room, crowd);
                self.failures.insert(group.name.clone(), failure);
            }
        }
        let slot = self.old_slot(want).filter(|&slot| ranking.may_follow(slot, &self.room, crowd));
        let (Some(slot), Some(old)) = (slot, want.previous) else {
            return false;
        };
        let enough = self.room.reserve_after(slot, ranking.ask(), old);
        if enough {
            self.stops.push(Stop { alloc: old.id, reason: StopReason::Updated });
        }
        enough
    }

    /// A node lacks room for its alloc of the group. `nodes` are all that meet the group's demands, and
    /// how many of them may be placed on.
    pub(super) fn note_lack(
        &mut self,
        ask: &Ask<'_>,
        (slot, lacking): (NodeSlot, &Shortage),
        (nodes, evaluated): (&Suitable, u32),
    ) {
        let group = ask.group;
        *self.queued.entry(group.name.clone()).or_default() += 1;
        let free = self.room.free(slot).to_capacity();
        let failure = match self.failures.get_mut(&group.name) {
            Some(known) => {
                known.coalesced += 1;
                known
            }
            None => self.failures.entry(group.name.clone()).or_insert_with(|| PlacementFailure {
                nodes_evaluated: evaluated,
                nodes_available: nodes.available.clone(),
                nodes_in_pool: nodes.in_pool_count,
                ..PlacementFailure::default()
            }),
        };
        let rank = |free: Capacity| (free.memory_mib, free.cpu_mhz, free.disk_mib);
        if failure.nearest.is_none_or(|known| rank(known.free) < rank(free)) {
            failure.nearest = self.room.near_miss(slot, ask);
        }
        *count_of(&mut failure.exhausted, &lacking.to_string()) += 1;
    }

    /// The job is to be looked at again at that moment, unless somebody does so before.
    pub(super) fn go_on_at(&mut self, due: WallTime) {
        let is_waited_for = self.view.state.pending_evals_of_job(self.eval.job).any(|other| {
            let is_step = other.trigger == Trigger::RollingUpdate && other.id != self.eval.id;
            is_step && other.wait_until.is_some_and(|at| at <= due.plus_ms(SLACK_MS))
        });
        if !is_waited_for {
            self.next_step = Some(self.next_step.map_or(due, |known| known.min(due)));
        }
    }

    pub(super) fn into_plan(self) -> Plan {
        let later = self.follow_ups();
        let verdict = match self.progress {
            Progress::CutShort => Verdict::More,
            Progress::Complete => {
                Verdict::Done { failures: self.failures, queued: self.queued, later }
            }
        };
        let job = self.view.state.job(self.eval.job);
        Plan {
            eval: self.eval.id,
            job: self.eval.job,
            version: job.map_or(0, |job| job.newest().version),
            based_on: self.view.state.index(),
            stops: self.stops,
            placements: self.placements,
            in_place: self.in_place,
            watched: self.watched,
            preempted: self.preemption.into_victims(),
            verdict,
            next_step: self.next_step,
            opened: self.gates.opened,
        }
    }

    /// The earliest moments to look again, of allocs that no other evaluation waits for. Later ones
    /// are seen to when the earliest has come.
    fn follow_ups(&self) -> Vec<(AllocId, WallTime)> {
        let unattended = self.later.iter().filter(|(alloc, _)| !self.is_waited_for(alloc));
        let unattended: Vec<(AllocId, WallTime)> =
            unattended.map(|&(alloc, at)| (alloc.id, at)).collect();
        let Some(first) = unattended.iter().map(|&(_, at)| at).min() else {
            return Vec::new();
        };
        let together = unattended.into_iter().filter(|&(_, at)| at <= first.plus_ms(SLACK_MS));
        together.take(LATER_MAX).collect()
    }

    fn is_waited_for(&self, alloc: &Allocation) -> bool {
        let follow_up = alloc.follow_up.filter(|&id| id != self.eval.id);
        let follow_up = follow_up.and_then(|id| self.view.state.eval(id));
        follow_up.is_some_and(|eval| eval.status == EvalStatus::Pending)
    }
}

pub(super) fn position(at: usize) -> u16 {
    u16::try_from(at).expect("invariant: a job has fewer than 65,536 groups")
}

/// What the step from the alloc's version to the newest means for allocs of `group`.
pub(super) fn step(job: &Job, alloc: &Allocation, group: &Group) -> Change {
    let Some(old) = job.version(alloc.version) else {
        return Change::Destructive;
    };
    match old.spec.groups.get(usize::from(alloc.group)) {
        Some(before) => change::between(&old.spec, before, &job.newest().spec, group),
        None => Change::Destructive,
    }
}
