//! Whether what a group waits for has come, and who waits for whom.
//!
//! | gate | is open when |
//! |---|---|
//! | healthy | all that the target's newest version wants runs, is healthy where health is looked at, and no deployment of it is under way or has failed |
//! | complete | all that the target's newest version wants has succeeded |
//!
//! A target that is gone, stopped or wants nothing keeps its gates closed. That a gate was open once is
//! remembered in the job that waits (`Lineage::opened`), not here.
//!
//! Invariants
//! - the same tables give the same answer;
//! - whoever waits is found by the name of each job that it waits for.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::State;
use super::indexes::shift;
use crate::types::{
    Allocation, ClientStatus, DeploymentStatus, DesiredStatus, Gate, Group, Job, JobId, JobKind,
    JobSpec, Until,
};

/// How far what a gate waits for has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Approach {
    pub until: Until,
    /// `None`: it is open.
    pub bar: Option<Bar>,
    /// Allocs that are as they should be, of those that are wanted.
    pub good: u32,
    pub wanted: u32,
    /// Allocs that have failed and that none has followed yet.
    pub failed: u32,
}

/// What keeps a gate closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bar {
    NoJob,
    NoGroup,
    Stopped,
    /// It makes children, and runs nothing itself.
    MakesChildren,
    /// It runs until it is stopped.
    NeverEnds,
    NothingWanted,
    /// Not all are as they should be.
    TooFew,
    /// Some have not found their place, or nobody has looked yet.
    NotPlaced,
    /// The deployment of the newest version is not over.
    DeploymentOpen,
    DeploymentFailed,
}

/// By namespace and name of a job, the jobs that have still to wait for it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Waiters(BTreeSet<(String, String, JobId)>);

impl Waiters {
    /// A job's row went from `before` to `after`.
    pub(super) fn on_job(&mut self, before: Option<&Job>, after: Option<&Job>) {
        let (before, after) = (targets(before), targets(after));
        for gone in before.difference(&after) {
            shift(&mut self.0, Some(gone.clone()), None);
        }
        for new in after.difference(&before) {
            shift(&mut self.0, None, Some(new.clone()));
        }
    }
}

fn targets(job: Option<&Job>) -> BTreeSet<(String, String, JobId)> {
    let waits = |job: &&Job| !job.stopped && !job.purged && job.newest().spec.has_gates();
    let Some(job) = job.filter(waits) else { return BTreeSet::new() };
    let spec = &job.newest().spec;
    let closed = spec.groups.iter().filter(|group| !job.is_let_in(group));
    let gates = closed.flat_map(|group| spec.gates_of(group));
    gates.map(|gate| (spec.namespace.clone(), spec.target_of(gate).into(), job.id)).collect()
}

/// What is known of gates within one entry: many may wait for one job.
#[derive(Debug)]
pub struct Gatekeeper<'a> {
    state: &'a State,
    known: BTreeMap<(JobId, Option<&'a str>, Option<Until>), bool>,
}

impl<'a> Gatekeeper<'a> {
    #[must_use]
    pub const fn of(state: &'a State) -> Self {
        Self { state, known: BTreeMap::new() }
    }

    /// Whether a group of the job that had to wait need not any more.
    pub fn may_let_in(&mut self, job: &'a Job) -> bool {
        let spec = &job.newest().spec;
        let mut closed = spec.groups.iter().filter(|group| !job.is_let_in(group));
        closed.any(|group| spec.gates_of(group).all(|gate| self.is_open(spec, gate)))
    }

    fn is_open(&mut self, spec: &'a JobSpec, gate: &'a Gate) -> bool {
        let Some(target) = self.state.job_named(&spec.namespace, spec.target_of(gate)) else {
            return false;
        };
        let key = (target.id, gate.group.as_deref(), gate.until);
        let state = self.state;
        *self.known.entry(key).or_insert_with(|| state.approach(spec, gate).bar.is_none())
    }
}

impl State {
    /// Who has still to wait for one of these jobs, which have changed; and they themselves, which may
    /// have begun to wait.
    #[must_use]
    pub fn waiters_of(&self, changed: &BTreeSet<JobId>) -> BTreeSet<JobId> {
        let specs = changed.iter().filter_map(|&id| self.job(id)).map(|job| &job.newest().spec);
        let waiting = specs.flat_map(|spec| {
            let (namespace, name) = (spec.namespace.clone(), spec.id.clone());
            let first = (namespace.clone(), name.clone(), JobId(0));
            self.by.waiters.0.range(first..=(namespace, name, JobId(u64::MAX)))
        });
        waiting.map(|&(.., id)| id).chain(changed.iter().copied()).collect()
    }

    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.by.waiters.0.is_empty()
    }

    /// Jobs with a group that has still to wait.
    #[must_use]
    pub fn waiters(&self) -> BTreeSet<JobId> {
        self.by.waiters.0.iter().map(|&(.., id)| id).collect()
    }

    /// The gates of a group of the job's newest version that are closed, unless it waits no more.
    #[must_use]
    pub fn closed_gates<'a>(&self, job: &'a Job, group: &'a Group) -> Vec<(&'a Gate, Approach)> {
        if job.is_let_in(group) {
            return Vec::new();
        }
        let spec = &job.newest().spec;
        let gates = spec.gates_of(group).map(|gate| (gate, self.approach(spec, gate)));
        gates.filter(|(_, approach)| approach.bar.is_some()).collect()
    }

    /// How far what a gate of `spec` waits for has come.
    #[must_use]
    pub fn approach(&self, spec: &JobSpec, gate: &Gate) -> Approach {
        let target = self.job_named(&spec.namespace, spec.target_of(gate));
        let usual = target.map_or(Until::Healthy, |job| Until::usual(job.newest().spec.kind));
        let until = gate.until.unwrap_or(usual);
        let unseen = Approach { until, bar: None, good: 0, wanted: 0, failed: 0 };
        let closed = |bar| Approach { bar: Some(bar), ..unseen };
        let Some(target) = target else { return closed(Bar::NoJob) };
        if target.stopped {
            return closed(Bar::Stopped);
        }
        let of_target = &target.newest().spec;
        let position = match &gate.group {
            None => None,
            Some(name) => match of_target.group(name) {
                None => return closed(Bar::NoGroup),
                Some((at, _)) => Some(at),
            },
        };
        if of_target.launch.makes_children() {
            return closed(Bar::MakesChildren);
        }
        if until == Until::Complete && !of_target.kind.ends() {
            return closed(Bar::NeverEnds);
        }
        let counted = self.count(target, position, unseen);
        Approach { bar: self.bar_of(target, position, &counted), ..counted }
    }

    /// Allocs of the newest version that nobody has stopped or replaced.
    fn count(&self, target: &Job, position: Option<usize>, unseen: Approach) -> Approach {
        let newest = target.newest();
        let is_meant = |at: usize| position.is_none_or(|wanted| wanted == at);
        let speaks = |alloc: &&Allocation| {
            let is_current = alloc.version == newest.version && !alloc.canary;
            let stays = alloc.desired == DesiredStatus::Run && alloc.next.is_none();
            is_current && stays && is_meant(usize::from(alloc.group))
        };
        let mut found = unseen;
        for alloc in self.allocs_of_job(target.id).filter(speaks) {
            found.good += u32::from(is_good(newest.spec.kind, found.until, alloc));
            found.failed += u32::from(alloc.client_status == ClientStatus::Failed);
            found.wanted += u32::from(newest.spec.kind.is_on_every_node());
        }
        if !newest.spec.kind.is_on_every_node() {
            let groups = newest.spec.groups.iter().enumerate().filter(|&(at, _)| is_meant(at));
            found.wanted = groups.fold(0, |sum, (_, group)| sum.saturating_add(group.count));
        }
        found
    }

    fn bar_of(&self, target: &Job, position: Option<usize>, counted: &Approach) -> Option<Bar> {
        let spec = &target.newest().spec;
        if spec.kind.is_on_every_node() && self.is_unplaced(target, position) {
            return Some(Bar::NotPlaced);
        }
        if counted.wanted == 0 {
            return Some(Bar::NothingWanted);
        }
        if counted.good < counted.wanted {
            return Some(Bar::TooFew);
        }
        let deployment = self.deployment_of_version(target.id, target.newest().version)?;
        match (deployment.status, position) {
            (DeploymentStatus::Successful, _) => None,
            // A group may be waited for by another one of the same deployment.
            (DeploymentStatus::Running | DeploymentStatus::Paused, Some(_)) => None,
            (DeploymentStatus::Running | DeploymentStatus::Paused, None) => {
                Some(Bar::DeploymentOpen)
            }
            (DeploymentStatus::Failed | DeploymentStatus::Cancelled, _) => {
                Some(Bar::DeploymentFailed)
            }
        }
    }

    /// Of a job that runs on every node: whether a node may lack its alloc.
    fn is_unplaced(&self, target: &Job, position: Option<usize>) -> bool {
        let mut pending = self.pending_evals_of_job(target.id);
        if pending.any(|eval| eval.wait_until.is_none()) {
            return true;
        }
        let Some(blocked) = self.blocked_eval_of_job(target.id) else { return false };
        let groups = &target.newest().spec.groups;
        let name = position.and_then(|at| groups.get(at)).map(|group| group.name.as_str());
        let mut lacking = blocked.queued.iter().filter(|&(_, &count)| 0 < count);
        lacking.any(|(group, _)| name.is_none_or(|name| name == group))
    }
}

fn is_good(kind: JobKind, until: Until, alloc: &Allocation) -> bool {
    let is_done = alloc.client_status == ClientStatus::Complete;
    let runs = alloc.client_status == ClientStatus::Running;
    match (until, kind) {
        (Until::Complete, _) => is_done,
        (Until::Healthy, JobKind::Service) => runs && alloc.is_healthy(),
        (Until::Healthy, JobKind::Batch | JobKind::Sysbatch) => runs || is_done,
        (Until::Healthy, JobKind::System) => runs,
    }
}
