//! Jobs that run once on every node: what each node has of a group, and what it should have.
//!
//! | the node | has of the group | then |
//! |---|---|---|
//! | down, gone | one that may run | it is lost, and nothing replaces it elsewhere |
//! | ready, and does not meet the demands any more | one that runs | it is stopped |
//! | takes nothing new | one that runs | it runs on as it is |
//! | takes new ones | one of an older version | it takes the new one in place; or it is stopped, so many at a time |
//! | takes new ones | one that was stopped and has not ended | nothing yet: two never run side by side |
//! | takes new ones | one that is done | nothing, for this version |
//! | takes new ones, and meets the demands | nothing | one is placed |
//!
//! Done is what has failed, and of a job that ends by itself what has succeeded: the client has tried as
//! often as its policy says, and another node is no way out. A system job's failed alloc is replaced when
//! its node changes or a user asks for it.
//!
//! Invariants
//! - on a node live or end at most as many allocs of a group as before, or one;
//! - an update takes at most `max_parallel` nodes within `stagger`, those not back yet included;
//! - a node that has no room holds up no other.
mod held;
mod look;

use alloc::vec::Vec;

pub(super) use self::look::look;
use super::change::Change;
use super::draft::{Draft, position, step as step_between};
use super::feasible::Feasibility;
use super::rank::field::Choice;
use super::room::{Ask, Grants};
use super::score::{Against, permille, score};
use crate::rng::mix;
use crate::state::State;
use crate::state::by_slot::BySlot;
use crate::state::fits::Shortage;
use crate::time::WallTime;
use crate::types::{
    Allocation, ClientStatus, DesiredStatus, Evaluation, Group, Index, Job, JobId, NodeId,
    NodeSlot, NodeStatus, Placement, PlacementFailure, PlacementNote, Stop, StopReason, Trigger,
};

/// Between two looks at an update that waits for others to end.
const STEP_MS_MIN: u64 = 1_000;

/// How an alloc stands towards its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Live,
    /// Was told to stop, and has not ended.
    Ending,
    /// May run where nobody hears it.
    Lost,
    Done,
    /// Has ended, and another may follow.
    Ended,
    /// Another has followed.
    Past,
}

/// What standing depends on.
#[derive(Clone, Copy)]
struct Sight<'a> {
    state: &'a State,
    job: &'a Job,
    /// Since when a user wants what failed to be tried again.
    asked_at: Option<Index>,
}

/// What one node has of one group.
#[derive(Clone, Copy, Default)]
struct OnNode<'a> {
    live: Option<&'a Allocation>,
    ending: Option<&'a Allocation>,
    /// What a new one follows.
    last: Option<&'a Allocation>,
    is_done: bool,
}

/// What is to be done about one group on one node.
#[derive(Clone, Copy)]
enum Step<'a> {
    Nothing,
    Stop(&'a Allocation, StopReason),
    InPlace(&'a Allocation),
    Update(&'a Allocation),
    Place(Option<&'a Allocation>),
}

/// What a node is to a group.
#[derive(Clone, Copy)]
struct Terrain {
    /// New allocs may go there.
    is_open: bool,
    /// It meets the group's demands.
    is_suitable: bool,
}

impl<'a> Sight<'a> {
    fn standing(self, alloc: &Allocation) -> Standing {
        let is_newest = alloc.version == self.job.newest().version;
        let ends = self.job.newest().spec.kind.ends();
        match (alloc.desired, alloc.client_status) {
            (_, ClientStatus::Pending | ClientStatus::Running) if self.is_lost(alloc.node) => {
                Standing::Lost
            }
            (DesiredStatus::Run, ClientStatus::Pending | ClientStatus::Running) => Standing::Live,
            (DesiredStatus::Stop, ClientStatus::Pending | ClientStatus::Running) => {
                Standing::Ending
            }
            _ if alloc.next.is_some() => Standing::Past,
            (DesiredStatus::Run, ClientStatus::Failed) if is_newest && !self.is_retried(alloc) => {
                Standing::Done
            }
            (DesiredStatus::Run, ClientStatus::Complete)
                if is_newest && ends && !planted!(SysbatchRunsAgain) =>
            {
                Standing::Done
            }
            (_, ClientStatus::Complete | ClientStatus::Failed | ClientStatus::Lost) => {
                Standing::Ended
            }
        }
    }

    fn is_lost(self, node: NodeId) -> bool {
        let fleet = self.state.fleet();
        let is_open = fleet.slot_of(node).is_some_and(|slot| fleet.is_placeable(slot));
        !is_open && self.state.node(node).is_none_or(|node| node.status == NodeStatus::Down)
    }

    /// Whether what failed gets another chance: only of a job that is to run until it is stopped.
    fn is_retried(self, alloc: &Allocation) -> bool {
        let node_changed = self.state.node(alloc.node).map(|node| node.modify_index);
        let since = node_changed.max(self.asked_at);
        !self.job.newest().spec.kind.ends() && since.is_some_and(|at| alloc.modify_index < at)
    }

    /// The position of the alloc's group in the newest version.
    fn group_of(self, alloc: &Allocation) -> Option<usize> {
        let newest = self.job.newest();
        if alloc.version == newest.version {
            return Some(usize::from(alloc.group));
        }
        let old = self.job.version(alloc.version)?.spec.groups.get(usize::from(alloc.group))?;
        newest.spec.group(&old.name).map(|(at, _)| at)
    }

    fn step(self, on: &OnNode<'a>, group: &Group, at: usize, terrain: Terrain) -> Step<'a> {
        let Terrain { is_open, is_suitable } = terrain;
        let newest = self.job.newest();
        let Some(alloc) = on.live else {
            let is_free = on.ending.is_none() || planted!(SystemRunsTwice);
            let is_missing = 0 < group.count && !on.is_done && is_free && is_open && is_suitable;
            return if is_missing { Step::Place(on.last) } else { Step::Nothing };
        };
        if alloc.migration.is_of_drain() {
            return Step::Stop(alloc, StopReason::Drained);
        }
        if group.count == 0 || !is_suitable && self.is_unwelcome(alloc, group) {
            return Step::Stop(alloc, StopReason::NotNeeded);
        }
        if !is_open || !is_suitable || alloc.version == newest.version {
            return Step::Nothing;
        }
        match step_between(self.job, alloc, &newest.spec.groups[at]) {
            Change::InPlace => Step::InPlace(alloc),
            Change::Destructive => Step::Update(alloc),
        }
    }

    /// Whether the node says by now that it is not meant. A driver that is missing says nothing: it may
    /// be on its way back, and what runs needs it no more.
    fn is_unwelcome(self, alloc: &Allocation, group: &Group) -> bool {
        let node = self.state.node(alloc.node).filter(|node| node.status == NodeStatus::Ready);
        let feasibility = Feasibility::of(&self.job.newest().spec, group);
        node.is_some_and(|node| !feasibility.still_admits(node))
    }
}

impl<'a> OnNode<'a> {
    /// Count an alloc in. Answers what must stop, whatever else is done.
    fn join(&mut self, alloc: &'a Allocation, standing: Standing) -> Option<Stop> {
        let stop = |alloc: &Allocation, reason| Some(Stop { alloc: alloc.id, reason });
        match standing {
            Standing::Lost => return stop(alloc, StopReason::NodeLost),
            Standing::Live => {
                let other = self.live.replace(alloc)?;
                // Of two, the newer version is the one that is meant, and then the older one.
                let (kept, spare) =
                    if other.version < alloc.version { (alloc, other) } else { (other, alloc) };
                self.live = Some(kept);
                return stop(spare, StopReason::NotNeeded);
            }
            Standing::Ending => self.ending = Some(alloc),
            Standing::Done => self.is_done = true,
            Standing::Ended => self.last = Some(alloc),
            Standing::Past => {}
        }
        None
    }
}

/// When a step of the update that has been taken makes room for the next.
#[derive(Default)]
struct Pace {
    /// Nodes that an update has taken and not given back.
    moving: usize,
    first_due: Option<WallTime>,
}

impl Pace {
    /// What the node has counts as a step for so long.
    fn note(&mut self, sight: Sight<'_>, on: &OnNode<'_>, group: &Group, now: WallTime) {
        let newest = sight.job.newest().version;
        if on.ending.is_some_and(|alloc| alloc.version < newest) {
            self.moving += 1;
        }
        let Some(alloc) = on.live.filter(|alloc| alloc.version == newest) else { return };
        let due = alloc.create_time.plus_ms(group.update.stagger_ms);
        let previous = alloc.previous.filter(|_| now < due);
        let previous = previous.and_then(|id| sight.state.alloc(id));
        if previous.is_some_and(|previous| previous.version < newest) {
            self.moving += 1;
            self.note_due(due);
        }
    }

    fn note_due(&mut self, due: WallTime) {
        self.first_due = Some(self.first_due.map_or(due, |first| first.min(due)));
    }

    fn allowed(&self, group: &Group) -> usize {
        match usize::try_from(group.update.parallel_max) {
            Ok(0) => usize::MAX,
            Ok(most) => most.saturating_sub(self.moving),
            Err(_) => usize::MAX,
        }
    }
}

/// Bring every group of the job to what it should be on every node.
pub(super) fn fill<'a>(draft: &mut Draft<'a>, job: &'a Job, now: WallTime, seed: u64) {
    let (state, eval) = (draft.view.state, draft.eval);
    let sight = Sight { state, job, asked_at: asked_at(eval) };
    let (on_nodes, stops) = by_node(sight, state.allocs_of_job(job.id));
    draft.stop(stops);
    for (at, on_nodes) in on_nodes.iter().enumerate() {
        if draft.is_held(at) {
            held::hold_group(draft, sight, at, on_nodes);
        } else {
            fill_group(draft, sight, at, on_nodes, (now, seed));
        }
    }
}

/// What each node has of each group, and what must stop whatever else is done.
fn by_node<'a>(
    sight: Sight<'a>,
    allocs: impl Iterator<Item = &'a Allocation>,
) -> (Vec<BySlot<OnNode<'a>>>, Vec<Stop>) {
    let (fleet, groups) = (sight.state.fleet(), &sight.job.newest().spec.groups);
    let mut on_nodes: Vec<BySlot<OnNode<'a>>> = Vec::new();
    on_nodes.resize_with(groups.len(), BySlot::new);
    let mut stops = Vec::new();
    for alloc in allocs {
        let standing = sight.standing(alloc);
        match (sight.group_of(alloc), fleet.slot_of(alloc.node)) {
            (Some(at), Some(slot)) => {
                let on = on_nodes[at].get_or_insert_with(slot, OnNode::default);
                stops.extend(on.join(alloc, standing));
            }
            // Of a group that is gone, or on a machine that is.
            (None, _) | (Some(_), None) => stops.extend(stop_stray(alloc, standing)),
        }
    }
    (on_nodes, stops)
}

/// A user who asks for a job to be looked at wants what failed to be tried again.
fn asked_at(eval: &Evaluation) -> Option<Index> {
    match eval.trigger {
        Trigger::JobRegister | Trigger::Manual => Some(eval.create_index),
        Trigger::JobDeregister
        | Trigger::NodeUpdate
        | Trigger::AllocFailure
        | Trigger::FailedFollowUp
        | Trigger::QueuedAllocs
        | Trigger::PlanRefused
        | Trigger::AllocStop
        | Trigger::DeploymentWatcher
        | Trigger::RollingUpdate
        | Trigger::NodeDrain
        | Trigger::PeriodicJob
        | Trigger::JobScaling
        | Trigger::Preemption
        | Trigger::Rebalance => None,
    }
}

fn stop_stray(alloc: &Allocation, standing: Standing) -> Option<Stop> {
    let reason = match standing {
        Standing::Lost => StopReason::NodeLost,
        Standing::Live | Standing::Done | Standing::Ended => StopReason::NotNeeded,
        Standing::Ending | Standing::Past => return None,
    };
    let is_news = alloc.desired == DesiredStatus::Run || standing == Standing::Lost;
    is_news.then_some(Stop { alloc: alloc.id, reason })
}

/// One group, node by node.
fn fill_group<'a>(
    draft: &mut Draft<'a>,
    sight: Sight<'a>,
    at: usize,
    on_nodes: &BySlot<OnNode<'a>>,
    (now, seed): (WallTime, u64),
) {
    let (state, spec) = (sight.state, &sight.job.newest().spec);
    let (group, fleet) = (&spec.groups[at], state.fleet());
    let suitable = draft.memo.suitable(state, spec, at);
    let evaluated = suitable.evaluated_count - suitable.filtered_count;
    let placing = Placing { at, ask: Ask::of(group), seed };
    let (mut pace, mut updates) = (Pace::default(), Vec::new());
    draft.preemption.begin_group(position(at));
    for slot in fleet.slots() {
        let on = on_nodes.get(slot).copied().unwrap_or_default();
        let terrain =
            Terrain { is_open: fleet.is_placeable(slot), is_suitable: suitable.nodes.has(slot) };
        pace.note(sight, &on, group, now);
        match sight.step(&on, group, at, terrain) {
            Step::Nothing => {}
            Step::Stop(alloc, reason) => {
                draft.stop(alloc::vec![Stop { alloc: alloc.id, reason }]);
            }
            Step::InPlace(alloc) if draft.spend(1) == 1 => draft.in_place.push(alloc.id),
            Step::InPlace(_) => return,
            Step::Update(alloc) => updates.push((slot, alloc)),
            Step::Place(last) => {
                if draft.spend(1) == 0 {
                    return;
                }
                if last.is_some_and(|last| last.version < sight.job.newest().version) {
                    pace.moving += 1;
                    pace.note_due(now.plus_ms(group.update.stagger_ms));
                }
                if let Err(lacking) = placing.place(draft, slot, last) {
                    draft.left += 1;
                    draft.note_lack(&placing.ask, (slot, &lacking), (&suitable, evaluated));
                    draft.preempts_on(slot, &placing.ask);
                }
            }
        }
    }
    let mut allowed = pace.allowed(group);
    for (slot, old) in updates {
        if allowed == 0 {
            // Whoever is ending may do so where nobody looks at the job again.
            let stagger_ms = group.update.stagger_ms.max(STEP_MS_MIN);
            draft.go_on_at(pace.first_due.unwrap_or_else(|| now.plus_ms(stagger_ms)));
            return;
        }
        if draft.spend(1) == 0 {
            return;
        }
        // Where the new one will not fit, the old one runs on.
        if draft.room.reserve_after(slot, &placing.ask, old) {
            draft.stops.push(Stop { alloc: old.id, reason: StopReason::Updated });
            allowed -= 1;
        } else {
            draft.left += 1;
            let lacking = draft.room.lacking(slot, &placing.ask).unwrap_or(Shortage::Cpu);
            draft.note_lack(&placing.ask, (slot, &lacking), (&suitable, evaluated));
        }
    }
}

/// Placing allocs of one group.
struct Placing<'a> {
    at: usize,
    ask: Ask<'a>,
    seed: u64,
}

impl<'a> Placing<'a> {
    fn place(
        &self,
        draft: &mut Draft<'a>,
        slot: NodeSlot,
        last: Option<&Allocation>,
    ) -> Result<(), Shortage> {
        let draw = self.seed ^ mix((self.at as u64) << 32 | u64::from(slot.0)) ^ draft.eval.id.0;
        let Grants { ports, pieces } = draft.room.take(slot, &self.ask, draw)?;
        let fit = score(draft.room.usable(slot), draft.room.used(slot), Against::default());
        if let Some(choices) = &mut draft.choices {
            // There was nothing to compare.
            let looked_at = PlacementFailure { nodes_evaluated: 1, ..PlacementFailure::default() };
            choices.push(Choice { looked_at, runner_up: None });
        }
        draft.placements.push(Placement {
            slot,
            group: position(self.at),
            ordinal: 0,
            ports,
            pieces,
            previous: last.map(|last| last.id),
            version: None,
            canary: false,
            rescheduled_after_ms: None,
            // Nobody was beaten: each node gets its own.
            note: PlacementNote {
                nodes_evaluated: 1,
                nodes_filtered: 0,
                nodes_exhausted: 0,
                score_permille: permille(fit),
                parts: None,
            },
        });
        Ok(())
    }
}

/// What a scheduling of a job would do about one node.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Outlook {
    Idle,
    /// It would place something, if there is room.
    Place,
    Change,
}

pub(super) fn outlook(state: &State, job: JobId, node: NodeId) -> Outlook {
    let job = state.job(job).filter(|job| !job.stopped && !job.purged);
    let (Some(job), Some(slot)) = (job, state.slot_of(node)) else { return Outlook::Idle };
    let spec = &job.newest().spec;
    let sight = Sight { state, job, asked_at: None };
    let of_job = state.allocs_of_node(node).filter(|alloc| alloc.job == job.id);
    let mut of_job: Vec<&Allocation> = of_job.collect();
    of_job.sort_unstable_by_key(|alloc| alloc.id);
    let mut outlook = Outlook::Idle;
    for (at, group) in spec.groups.iter().enumerate() {
        let mut on = OnNode::default();
        let mut ours = of_job.iter().filter(|alloc| sight.group_of(alloc) == Some(at));
        if ours.any(|alloc| on.join(alloc, sight.standing(alloc)).is_some()) {
            return Outlook::Change;
        }
        let is_open = state.fleet().is_placeable(slot);
        let is_suitable = Feasibility::of(spec, group).admits(state, slot);
        match sight.step(&on, group, at, Terrain { is_open, is_suitable }) {
            Step::Nothing => {}
            // Nodes wake nobody who waits for something else.
            Step::Place(_) if waits_already(state, job, group) => {}
            Step::InPlace(_) | Step::Update(_) if !job.is_let_in(group) => {}
            Step::Place(_) => outlook = Outlook::Place,
            Step::Stop(..) | Step::InPlace(_) | Step::Update(_) => return Outlook::Change,
        }
    }
    outlook
}

/// Whether the group has to wait, and an evaluation does so for it. None does if no node was open to it, or
/// if one that may be planned already takes its place.
fn waits_already(state: &State, job: &Job, group: &Group) -> bool {
    let waits = state.blocked_eval_of_job(job.id).and_then(|eval| eval.failures.get(&group.name));
    let stays = state.pending_evals_of_job(job.id).all(|eval| eval.wait_until.is_some());
    !job.is_let_in(group) && stays && waits.is_some_and(|failure| !failure.closed.is_empty())
}

/// Whether a scheduling of the job, which runs on every node, would change anything on this one, room
/// and pace aside.
#[must_use]
pub fn awaits(state: &State, job: JobId, node: NodeId) -> bool {
    outlook(state, job, node) != Outlook::Idle
}
