//! ∀ alloc a, entry e: desired(a) becomes stop by e ⇒ e is an operator's stop of a, or a plan that stops a
//! for a reason that was true when the plan was made; and ∀ task k of a that a client asks to end or kills:
//! a stop of a was committed before, or the servers have forgotten a, or an operator asked for a restart, or
//! another task of a had ended — issue "simulator", item 4: nothing is stopped without a reason in the log.
//!
//! A plan may be older than the state that it is applied to: what it says is judged by the rows that have
//! not changed since it was made. A row that has may have been otherwise then.
//!
//! Invariants
//! - what counts is the tables and the specifications, not what the scheduler thinks of them;
//! - only what an entry names or writes is looked at, so an entry costs what it changes.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::fsm::{Command, Entry};
use drover_core::state::{Change, State};
use drover_core::types::{
    AllocId, Allocation, ClientStatus, DeploymentStatus, DesiredStatus, Index, Job, JobSpec,
    Migration, NodeId, NodeStatus, Plan, StopReason, TaskChange, TaskKey,
};

use super::Verdict;

/// What has been committed, and what happened on clients.
#[derive(Debug, Default)]
pub struct StoppedForAReason {
    /// Allocs that were to stop at some time, or that a restored state did not know.
    stopped: BTreeSet<AllocId>,
    /// What the entry that is about to be applied says of each alloc that it stops.
    claims: BTreeMap<AllocId, Verdict>,
    /// All that were there before an entry that changes every row.
    known_before: BTreeSet<AllocId>,
    restart_asked: BTreeSet<AllocId>,
    ended: BTreeSet<TaskKey>,
}

impl StoppedForAReason {
    /// `entry` is about to be applied to `state`.
    pub fn on_entry(&mut self, state: &State, entry: &Entry) {
        self.claims.clear();
        match &entry.command {
            Command::StopAlloc { alloc } => {
                self.claims.insert(*alloc, Ok(()));
            }
            Command::ApplyPlan(plan) => self.hear_plan(state, plan),
            Command::Restore { .. } => {
                self.known_before = state.allocs().map(|alloc| alloc.id).collect();
            }
            _ => (),
        }
    }

    fn hear_plan(&mut self, state: &State, plan: &Plan) {
        let mut unneeded = Unneeded::default();
        for stop in &plan.stops {
            let Some(alloc) = state.alloc(stop.alloc).filter(|alloc| runs(alloc)) else { continue };
            let reason = match stop.reason {
                StopReason::NotNeeded => unneeded.check(state, plan, alloc),
                StopReason::Updated => check_updated(state, plan, alloc),
                StopReason::NodeLost => check_lost(state, plan, alloc),
                StopReason::Rescheduled => check_rescheduled(plan, alloc),
                StopReason::Migrating => check_migrating(plan, alloc),
                StopReason::Drained => check_drained(plan, alloc),
            };
            let reason = reason.map_err(|why| {
                format!(
                    "a plan of {:?} stops {:?} ({:?}), but {why}",
                    plan.eval, alloc.id, stop.reason
                )
            });
            self.claims.insert(alloc.id, reason);
        }
        for preempted in &plan.preempted {
            let reason = check_preempted(state, plan, preempted.alloc);
            self.claims.insert(preempted.alloc, reason);
        }
    }

    /// The entry was applied, and `change` is what it did.
    pub fn on_applied(&mut self, state: &State, index: Index, change: Change) -> Verdict {
        match change {
            Change::Alloc(id) => match state.alloc(id) {
                Some(alloc) if !runs(alloc) && self.stopped.insert(id) => {
                    self.claims.remove(&id).unwrap_or_else(|| {
                        let at = index.0;
                        Err(format!("entry {at} stops {id:?}, of which it says nothing"))
                    })
                }
                Some(_) | None => Ok(()),
            },
            Change::Restored => {
                let gone = std::mem::take(&mut self.known_before).into_iter();
                self.stopped.extend(gone.filter(|&id| state.alloc(id).is_none()));
                let of_old = state.allocs().filter(|alloc| !runs(alloc));
                self.stopped.extend(of_old.map(|alloc| alloc.id));
                Ok(())
            }
            Change::Node(_)
            | Change::Job(_)
            | Change::Eval(_)
            | Change::Deployment(_)
            | Change::Assigned(_)
            | Change::Room(_)
            | Change::Pools
            | Change::Operator => Ok(()),
        }
    }

    /// An operator asks the node of `alloc` to restart its tasks.
    pub fn on_restart_asked(&mut self, alloc: AllocId) {
        self.restart_asked.insert(alloc);
    }

    /// A client hears this of one of its tasks.
    pub fn on_task_changed(&mut self, key: TaskKey, change: &TaskChange) {
        match change {
            TaskChange::Started { .. } => (),
            TaskChange::StartFailed { .. } | TaskChange::Exited { .. } | TaskChange::Lost => {
                self.ended.insert(key);
            }
        }
    }

    /// A client asks a task to end, or kills it. `state` is all that is committed.
    pub fn on_task_stopped(&self, state: &State, key: TaskKey) -> Verdict {
        let alloc = key.alloc;
        let others = TaskKey { alloc, task: 0, attempt: 0 }..=TaskKey {
            alloc,
            task: u16::MAX,
            attempt: u32::MAX,
        };
        let has_cause = self.stopped.contains(&alloc)
            || self.restart_asked.contains(&alloc)
            || state.alloc(alloc).is_none()
            || self.ended.range(others).any(|other| other.task != key.task);
        if has_cause {
            return Ok(());
        }
        Err(format!(
            "a client stops {key:?}, which is wanted to run, and nobody has asked for that"
        ))
    }
}

fn runs(alloc: &Allocation) -> bool {
    alloc.desired == DesiredStatus::Run
}

/// The allocs of one plan that are said to be surplus, by group.
#[derive(Default)]
struct Unneeded(BTreeMap<String, Surplus>);

/// One group's allocs, counted once.
struct Surplus {
    /// Those that are one of its count, or are in the place of one.
    speaking: usize,
    /// Whether something may have been otherwise when the plan was made.
    is_stale: bool,
    /// Those that the plan stops, so far.
    stopped: usize,
}

impl Unneeded {
    /// The job runs nothing, or not this group, or has more of it than it asks for.
    fn check(&mut self, state: &State, plan: &Plan, alloc: &Allocation) -> Verdict {
        let Some(job) = state.job(alloc.job).filter(|job| !job.stopped && !job.purged) else {
            return Ok(());
        };
        let Some(name) = group_of(job, alloc) else { return Ok(()) };
        let Some((_, group)) = job.newest().spec.group(name) else { return Ok(()) };
        if alloc.canary {
            return check_canary(state, plan, job, alloc);
        }
        if job.newest().spec.kind.is_on_every_node() {
            return check_on_node(state, plan, (job, name, group.count), alloc);
        }
        let surplus = self.0.entry(name.to_owned()).or_insert_with(|| {
            let of_job = || state.allocs_of_job(alloc.job);
            let is_of_group = |other: &&Allocation| group_of(job, other) == Some(name);
            Surplus {
                speaking: of_job().filter(is_of_group).filter(|other| speaks(job, other)).count(),
                is_stale: plan.based_on < job.modify_index
                    || of_job().any(|other| plan.based_on < other.modify_index),
                stopped: 0,
            }
        });
        surplus.stopped += 1;
        let (wanted, speaking, stopped) = (group.count as usize, surplus.speaking, surplus.stopped);
        if surplus.is_stale || wanted + stopped <= speaking {
            return Ok(());
        }
        Err(format!(
            "{} wants {wanted} × {name}, and {speaking} are there of which {stopped} are to stop",
            job.newest().spec.id
        ))
    }
}

/// What runs on every node goes where the job does not mean the node, or when there is another.
fn check_on_node(
    state: &State,
    plan: &Plan,
    (job, name, count): (&Job, &str, u32),
    alloc: &Allocation,
) -> Verdict {
    let Some(node) = state.node(alloc.node) else { return Ok(()) };
    let is_stale = plan.based_on < job.modify_index.max(node.modify_index);
    let JobSpec { datacenters, node_pool, .. } = &*job.newest().spec;
    let is_there = datacenters.iter().any(|dc| *dc == "*" || *dc == node.spec.datacenter);
    let is_meant = is_there && node_pool.covers(&node.spec.pool);
    let has_twin = state.allocs_of_node(alloc.node).any(|other| {
        let is_ours = other.job == job.id && group_of(job, other) == Some(name);
        is_ours && other.id != alloc.id && !other.client_status.is_terminal()
    });
    if is_stale || !is_meant || has_twin || count == 0 {
        return Ok(());
    }
    Err(format!("{} wants one on {}", job.newest().spec.id, node.spec.name))
}

/// A canary goes when a newer version has come, or its own has failed.
fn check_canary(state: &State, plan: &Plan, job: &Job, alloc: &Allocation) -> Verdict {
    let newest = job.newest().version;
    let deployment = state.deployment_of_version(job.id, newest);
    let has_failed = deployment.is_some_and(|found| found.status == DeploymentStatus::Failed);
    let changed = deployment.map_or(job.modify_index, |found| found.modify_index);
    let is_stale = plan.based_on < changed.max(job.modify_index);
    if alloc.version < newest || has_failed || is_stale {
        return Ok(());
    }
    Err("it is a canary of the newest version, whose deployment has not failed".to_owned())
}

/// Whether the alloc is one of its group's count, or is in the place of one.
fn speaks(job: &Job, alloc: &Allocation) -> bool {
    let newest = job.newest();
    let is_of_old_run = newest.spec.kind.ends() && alloc.version < newest.version;
    let has_ended = matches!(alloc.client_status, ClientStatus::Complete | ClientStatus::Failed);
    runs(alloc) && !alloc.canary && alloc.next.is_none() && !(is_of_old_run && has_ended)
}

fn group_of<'j>(job: &'j Job, alloc: &Allocation) -> Option<&'j str> {
    let spec = &job.version(alloc.version)?.spec;
    spec.groups.get(usize::from(alloc.group)).map(|group| group.name.as_str())
}

fn check_updated(state: &State, plan: &Plan, alloc: &Allocation) -> Verdict {
    let newest = state.job(alloc.job).map_or(plan.version, |job| job.newest().version);
    if alloc.version < plan.version && plan.version <= newest {
        return Ok(());
    }
    Err(format!("it is of version {} and the newest is {newest}", alloc.version))
}

fn check_lost(state: &State, plan: &Plan, alloc: &Allocation) -> Verdict {
    let is_lost = alloc.client_status == ClientStatus::Lost;
    if is_lost || is_down(state, plan, alloc.node) {
        return Ok(());
    }
    Err("its node is not down".to_owned())
}

/// It has to leave its node, and another takes its place.
fn check_migrating(plan: &Plan, alloc: &Allocation) -> Verdict {
    let is_stale = plan.based_on < alloc.modify_index;
    if !alloc.migration.is_leaving() && !is_stale {
        return Err("nobody has asked it to leave its node".to_owned());
    }
    if plan.placements.iter().any(|placement| placement.previous == Some(alloc.id)) {
        return Ok(());
    }
    Err("nothing takes its place".to_owned())
}

/// Only for a job whose priority is higher by ten.
fn check_preempted(state: &State, plan: &Plan, id: AllocId) -> Verdict {
    let priority = |job: &Job, version: u64| job.version(version).map(|kept| kept.spec.priority);
    let own = state.job(plan.job).and_then(|job| priority(job, job.newest().version));
    let alloc = state.alloc(id).filter(|alloc| alloc.job != plan.job);
    let other = alloc.and_then(|alloc| priority(state.job(alloc.job)?, alloc.version));
    match (own, other) {
        (Some(own), Some(other)) if other.saturating_add(10) <= own => Ok(()),
        (own, other) => Err(format!(
            "a plan of {:?}, of priority {own:?}, preempts {id:?}, of priority {other:?}",
            plan.eval
        )),
    }
}

fn check_drained(plan: &Plan, alloc: &Allocation) -> Verdict {
    if alloc.migration == Migration::AtOnce || plan.based_on < alloc.modify_index {
        return Ok(());
    }
    Err("no deadline of a drain has come for it".to_owned())
}

/// Whether the node is down, or may have been when the plan was made.
fn is_down(state: &State, plan: &Plan, node: NodeId) -> bool {
    state
        .node(node)
        .is_none_or(|node| node.status == NodeStatus::Down || plan.based_on < node.modify_index)
}

fn check_rescheduled(plan: &Plan, alloc: &Allocation) -> Verdict {
    if alloc.client_status != ClientStatus::Failed {
        return Err(format!("it is {:?}", alloc.client_status));
    }
    if plan.placements.iter().any(|placement| placement.previous == Some(alloc.id)) {
        return Ok(());
    }
    Err("nothing takes its place".to_owned())
}

#[cfg(test)]
mod tests {
    use drover_core::fsm;
    use drover_core::rng::Rng;
    use drover_core::time::WallTime;
    use drover_core::types::{
        EvalId, JobId, NodeSlot, Placement, PlacementNote, Stop, Verdict as Fate,
    };

    use super::*;
    use crate::workload::{node_of, register_in};

    /// A job of two allocs on one node, and all that has been committed.
    struct Rig {
        state: State,
        checker: StoppedForAReason,
    }

    impl Rig {
        fn new() -> Self {
            let (state, checker) = (State::new(), StoppedForAReason::default());
            let mut rig = Self { state, checker };
            let spec = node_of(1, &mut Rng::from_seed(1));
            let (nodes, status, reason) = (vec![spec.id], NodeStatus::Ready, String::new());
            rig.enter(Command::RegisterNode { spec: spec.into() }).expect("it stops nothing");
            rig.enter(Command::SetNodeStatus { nodes, status, reason }).expect("nor does this");
            register_in(&mut rig.state, 3, 2);
            let place = |ordinal| Placement {
                slot: NodeSlot(0),
                group: 0,
                ordinal,
                ports: Vec::new(),
                pieces: None,
                previous: None,
                rescheduled_after_ms: None,
                version: None,
                canary: false,
                note: PlacementNote::default(),
            };
            let placements = vec![place(0), place(1)];
            rig.plan(|plan| plan.placements = placements).expect("it stops nothing");
            assert_eq!(rig.state.allocs().count(), 2, "both have room");
            rig
        }

        fn enter(&mut self, command: Command) -> Verdict {
            let index = self.state.index().next();
            let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
            self.checker.on_entry(&self.state, &entry);
            let mut changes = Vec::new();
            let _outcome = fsm::apply(&mut self.state, index, &entry, &mut changes);
            changes
                .into_iter()
                .try_for_each(|change| self.checker.on_applied(&self.state, index, change))
        }

        /// A plan of the newest evaluation, made from the state as it is.
        fn plan(&mut self, fill: impl FnOnce(&mut Plan)) -> Verdict {
            let job = self.job();
            let eval = self.state.evals().last().map_or(EvalId(0), |eval| eval.id);
            let version = self.state.job(job).map_or(0, |job| job.newest().version);
            let based_on = self.state.index();
            let (stops, placements, in_place) = (Vec::new(), Vec::new(), Vec::new());
            let (watched, verdict) = (Vec::new(), Fate::More);
            let mut plan = Plan {
                eval,
                job,
                version,
                based_on,
                stops,
                placements,
                in_place,
                verdict,
                watched,
                preempted: Vec::new(),
                next_step: None,
                opened: vec![],
            };
            fill(&mut plan);
            self.enter(Command::ApplyPlan(plan))
        }

        fn job(&self) -> JobId {
            self.state.jobs().next().expect("it was registered").id
        }

        fn first(&self) -> AllocId {
            self.state.allocs().next().expect("there are two").id
        }

        fn stop(&mut self, reason: StopReason) -> Verdict {
            let alloc = self.first();
            self.plan(|plan| plan.stops.push(Stop { alloc, reason }))
        }

        fn task(&self) -> TaskKey {
            TaskKey { alloc: self.first(), task: 0, attempt: 0 }
        }

        fn stop_task(&self) -> Verdict {
            self.checker.on_task_stopped(&self.state, self.task())
        }
    }

    #[test]
    fn it_fires_when_a_plan_stops_for_what_is_not_true() {
        for (reason, words) in [
            (StopReason::NotNeeded, "wants 2 × group, and 2 are there of which 1"),
            (StopReason::Updated, "it is of version 0"),
            (StopReason::NodeLost, "its node is not down"),
            (StopReason::Rescheduled, "it is Pending"),
            (StopReason::Migrating, "nobody has asked it to leave its node"),
            (StopReason::Drained, "no deadline of a drain has come for it"),
        ] {
            let fired = Rig::new().stop(reason).expect_err("there is no such reason");
            assert!(fired.contains(words), "{reason:?}: {fired}");
        }
    }

    #[test]
    fn nobody_makes_way_for_a_job_that_is_not_more_important() {
        let rig = Rig::new();
        let (mut state, job, alloc) = (rig.state.clone(), rig.job(), rig.first());
        let plan_of = |state: &State, job: JobId| Plan {
            eval: EvalId(0),
            job,
            version: 0,
            based_on: state.index(),
            stops: Vec::new(),
            placements: Vec::new(),
            in_place: Vec::new(),
            verdict: Fate::More,
            watched: Vec::new(),
            preempted: Vec::new(),
            next_step: None,
            opened: vec![],
        };
        assert!(check_preempted(&state, &plan_of(&state, job), alloc).is_err(), "its own job");
        for (name, priority, may) in [("equal", 50, false), ("nine", 59, false), ("ten", 60, true)]
        {
            let mut spec = (*state.job(job).expect("registered").newest().spec).clone();
            let namespace = spec.namespace.clone();
            (spec.id, spec.priority) = (name.to_owned(), priority);
            let command = Command::RegisterJob { spec: spec.into(), check_index: None };
            let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
            let index = state.index().next();
            let _outcome = fsm::apply(&mut state, index, &entry, &mut Vec::new());
            let other = state.job_named(&namespace, name).expect("just registered").id;
            let verdict = check_preempted(&state, &plan_of(&state, other), alloc);
            assert_eq!(verdict.is_ok(), may, "{name}");
        }
    }

    #[test]
    fn it_is_still_when_what_the_plan_says_is_true() {
        let mut rig = Rig::new();
        let nodes = vec![rig.state.nodes().next().expect("there is one").spec.id];
        let (status, reason) = (NodeStatus::Down, "silent".to_owned());
        assert_eq!(rig.enter(Command::SetNodeStatus { nodes, status, reason }), Ok(()));
        assert_eq!(rig.stop(StopReason::NodeLost), Ok(()));
        let mut rig = Rig::new();
        let (namespace, job) = ("default".to_owned(), "job1".to_owned());
        assert_eq!(rig.enter(Command::DeregisterJob { namespace, job, purge: false }), Ok(()));
        assert_eq!(rig.stop(StopReason::NotNeeded), Ok(()));
        let mut rig = Rig::new();
        let at = rig.state.index().next().0;
        register_in(&mut rig.state, at, 1);
        assert_eq!(rig.stop(StopReason::NotNeeded), Ok(()), "one is enough now");
    }

    #[test]
    fn it_fires_when_a_client_stops_what_is_wanted() {
        let mut rig = Rig::new();
        let fired = rig.stop_task().expect_err("nobody asked for it");
        assert!(fired.contains("wanted to run"), "{fired}");
        rig.checker.on_task_changed(rig.task(), &TaskChange::Lost);
        assert!(rig.stop_task().is_err(), "its own end is no reason");
        let sibling = TaskKey { task: 1, ..rig.task() };
        rig.checker.on_task_changed(sibling, &TaskChange::Exited { exit_code: 1, signal: 0 });
        assert_eq!(rig.stop_task(), Ok(()), "another task has ended");
        let mut rig = Rig::new();
        assert_eq!(rig.enter(Command::StopAlloc { alloc: rig.first() }), Ok(()));
        assert_eq!(rig.stop_task(), Ok(()), "an operator stopped the alloc");
        let mut rig = Rig::new();
        rig.checker.on_restart_asked(rig.first());
        assert_eq!(rig.stop_task(), Ok(()), "an operator asked for a restart");
    }
}
