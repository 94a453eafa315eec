//! Jobs that other jobs made, and which jobs are to make one next.
//!
//! Invariants
//! - a purged job is nobody's child;
//! - a child whose groups are those of a version of its parent has no copy of them;
//! - a job that makes children is running until it is stopped: it waits for the next one.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::indexes::shift;
use super::{JobRow, State};
use crate::cron::Calendar;
use crate::time::WallTime;
use crate::types::{Allocation, DesiredStatus, Evaluation, Groups, Job, JobId, JobSpec, Launch};

/// How a job as a whole stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JobStatus {
    /// Something of it is still to be placed.
    Pending,
    Running,
    /// Nothing runs, and nothing will unless somebody asks.
    Dead,
}

/// The children of one job's name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Family {
    children: BTreeSet<JobId>,
    tokens: BTreeMap<String, JobId>,
}

/// See the module. By namespace and the parent's name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Families {
    families: BTreeMap<String, BTreeMap<String, Family>>,
    launches: BTreeSet<(WallTime, JobId)>,
}

impl Families {
    /// A job's row went from `before` to `after`.
    pub(crate) fn on_job(&mut self, before: Option<&Job>, after: Option<&Job>) {
        let due = |job: &Job| job.lineage.next_launch.map(|at| (at, job.id));
        shift(&mut self.launches, before.and_then(due), after.and_then(due));
        let is_listed = |job: &&Job| !job.purged && job.lineage.child.is_some();
        let (before, after) = (before.filter(is_listed), after.filter(is_listed));
        // What a child is to its parent never changes.
        match (before, after) {
            (None, Some(job)) => self.add(job),
            (Some(job), None) => self.remove(job),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn add(&mut self, job: &Job) {
        let Some(child) = &job.lineage.child else { return };
        let namespace = self.families.entry(job.newest().spec.namespace.clone()).or_default();
        let family = namespace.entry(child.parent.clone()).or_default();
        family.children.insert(job.id);
        if !child.token().is_empty() {
            family.tokens.insert(child.token().into(), job.id);
        }
    }

    fn remove(&mut self, job: &Job) {
        let Some(child) = &job.lineage.child else { return };
        let name = &job.newest().spec.namespace;
        let namespace = self.families.get_mut(name);
        let namespace = namespace.expect("invariant: a child's namespace is indexed");
        let family = namespace.get_mut(&child.parent);
        let family = family.expect("invariant: a child's family is indexed");
        let removed = family.children.remove(&job.id);
        assert!(removed, "an index holds every row of its tables");
        if family.tokens.get(child.token()) == Some(&job.id) {
            family.tokens.remove(child.token());
        }
        if family.children.is_empty() {
            namespace.remove(&child.parent);
        }
        if namespace.is_empty() {
            self.families.remove(name);
        }
    }

    fn of(&self, namespace: &str, parent: &str) -> Option<&Family> {
        self.families.get(namespace)?.get(parent)
    }
}

/// When a job with this specification is next due after `after`.
pub(crate) fn next_launch(spec: &JobSpec, after: WallTime) -> Option<WallTime> {
    let Launch::Periodic(periodic) = &spec.launch else { return None };
    // What cannot be read is not registered.
    let calendar = Calendar::of(periodic).ok().filter(|_| periodic.enabled)?;
    calendar.next_after(after)
}

impl State {
    /// Bytes say nothing of what was shared in memory: children share their parent's groups again.
    pub(super) fn share_groups(&mut self) {
        let of_parent = |row: &JobRow| {
            let child = row.job.lineage.child.as_ref()?;
            let own = &row.job.newest().spec;
            let parent = self.job_named(&own.namespace, &child.parent)?;
            let mut versions = parent.versions.iter().rev().map(|version| &version.spec.groups);
            let same = versions.find(|groups| **groups == own.groups)?;
            (!same.is_shared_with(&own.groups)).then(|| same.clone())
        };
        let found = self.jobs.iter().filter_map(|(id, row)| Some((id, of_parent(row)?)));
        let found: Vec<(JobId, Groups)> = found.collect();
        for (id, groups) in found {
            let row = self.jobs.row(id).expect("invariant: just found");
            let mut row = row.clone();
            let newest = row.job.versions.last_mut().expect("invariant: a job has a version");
            newest.spec = Arc::new(JobSpec { groups, ..(*newest.spec).clone() });
            self.jobs.put(id, row);
        }
    }

    /// The jobs that the job of this name has made, oldest first, without purged ones.
    pub fn children_of(
        &self,
        namespace: &str,
        parent: &str,
    ) -> impl DoubleEndedIterator<Item = &Job> {
        let family = self.by.families.of(namespace, parent);
        let children = family.into_iter().flat_map(|family| &family.children);
        children.map(|&id| self.job(id).expect("invariant: an index names rows that exist"))
    }

    /// The child that was made by the dispatch with this token.
    #[must_use]
    pub fn child_by_token(&self, namespace: &str, parent: &str, token: &str) -> Option<&Job> {
        let id = *self.by.families.of(namespace, parent)?.tokens.get(token)?;
        self.job(id)
    }

    /// Periodic jobs by the moment of their next launch, soonest first.
    pub fn launches(&self) -> impl Iterator<Item = (WallTime, JobId)> {
        self.by.families.launches.iter().copied()
    }

    /// How `job` stands.
    #[must_use]
    pub fn job_status(&self, job: &Job) -> JobStatus {
        if job.newest().spec.launch.makes_children() {
            return if job.stopped { JobStatus::Dead } else { JobStatus::Running };
        }
        let is_live = |alloc: &Allocation| {
            alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
        };
        if self.allocs_of_job(job.id).any(is_live) {
            return JobStatus::Running;
        }
        if self.evals_of_job(job.id).any(|eval: &Evaluation| !eval.status.is_final()) {
            return JobStatus::Pending;
        }
        let is_untouched = self.evals_of_job(job.id).next().is_none()
            && self.allocs_of_job(job.id).next().is_none();
        let is_child = job.lineage.child.is_some();
        if is_untouched && !job.stopped && !is_child { JobStatus::Pending } else { JobStatus::Dead }
    }
}
