//! Which rows belong together: everything here follows from the tables and could be rebuilt.
//!
//! Invariants
//! - each index holds exactly what its comment says of the tables, nothing more.
//!
//! It decides nothing; `Txn` tells it of every row that comes, changes or goes.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use super::children::Families;
use super::gates::Waiters;
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, Deployment, DeploymentId, DesiredStatus, EvalId, EvalStatus, Evaluation,
    Index, Job, JobId, Node, NodeId, NodeStatus,
};

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Indexes {
    /// Namespace and name of every job that is not purged.
    pub(crate) job_names: BTreeMap<String, BTreeMap<String, JobId>>,
    pub(crate) evals_of_job: BTreeSet<(JobId, EvalId)>,
    pub(crate) pending_evals: BTreeSet<EvalId>,
    pub(crate) pending_evals_of_job: BTreeSet<(JobId, EvalId)>,
    pub(crate) blocked_evals: BTreeMap<JobId, EvalId>,
    /// Final evaluations by their last change: what the garbage collector looks at.
    pub(crate) ended_evals: BTreeSet<(WallTime, EvalId)>,
    pub(crate) allocs_of_job: BTreeSet<(JobId, AllocId)>,
    /// By the entry that last changed what the node must do.
    pub(crate) allocs_of_node: BTreeSet<(NodeId, Index, AllocId)>,
    /// How many allocs point at a version of a job; never zero.
    pub(crate) version_uses: BTreeMap<(JobId, u64), u32>,
    /// Allocs that ended and that no scheduling will look at again, by their last change.
    pub(crate) ended_allocs: BTreeSet<(WallTime, AllocId)>,
    /// Allocs that were preempted and have still to end, by the job for which they were.
    pub(crate) preempted: BTreeSet<(JobId, AllocId)>,
    /// Allocs that a rebalance may still move.
    pub(crate) rebalancing: BTreeSet<(JobId, AllocId)>,
    pub(crate) deployments_of_job: BTreeSet<(JobId, DeploymentId)>,
    /// Running deployments that wait for progress, by the moment until which they do.
    pub(crate) deployment_deadlines: BTreeSet<(WallTime, DeploymentId)>,
    /// Jobs that want to run on every node.
    pub(crate) everywhere: BTreeSet<JobId>,
    pub(crate) draining: BTreeSet<NodeId>,
    pub(crate) down: BTreeSet<NodeId>,
    /// Drains by the moment at which the leader must look at them.
    pub(crate) drains_due: BTreeSet<(WallTime, NodeId)>,
    pub(crate) families: Families,
    pub(crate) waiters: Waiters,
}

/// Whether the alloc has ended and was stopped or replaced. One that ended without either still
/// speaks for its ordinal: a batch alloc that is complete must not run again.
pub(crate) fn is_spent(alloc: &Allocation) -> bool {
    let settled = alloc.desired == DesiredStatus::Stop || alloc.next.is_some();
    alloc.client_status.is_terminal() && settled
}

impl Indexes {
    /// A job's row went from `before` to `after`.
    pub(crate) fn on_job(&mut self, before: Option<&Job>, after: Option<&Job>) {
        self.families.on_job(before, after);
        self.waiters.on_job(before, after);
        let listed = |job: &&Job| !job.purged;
        if let Some(job) = before.filter(listed) {
            let spec = &job.newest().spec;
            let names = self.job_names.get_mut(&spec.namespace);
            let names = names.expect("invariant: a listed job's namespace is indexed");
            let removed = names.remove(&spec.id);
            assert!(removed == Some(job.id), "a name leads to its job");
            if names.is_empty() {
                self.job_names.remove(&spec.namespace);
            }
        }
        if let Some(job) = after.filter(listed) {
            let spec = &job.newest().spec;
            let names = self.job_names.entry(spec.namespace.clone()).or_default();
            let other = names.insert(spec.id.clone(), job.id);
            assert!(other.is_none(), "a name belongs to one job");
        }
        let everywhere = |job: &Job| {
            let runs = !job.stopped && !job.purged;
            (runs && job.newest().spec.kind.is_on_every_node()).then_some(job.id)
        };
        shift(&mut self.everywhere, before.and_then(everywhere), after.and_then(everywhere));
    }

    /// An evaluation's row went from `before` to `after`.
    pub(crate) fn on_eval(&mut self, before: Option<&Evaluation>, after: Option<&Evaluation>) {
        let of_job = |eval: &Evaluation| (eval.job, eval.id);
        shift(&mut self.evals_of_job, before.map(of_job), after.map(of_job));
        let pending = |eval: &Evaluation| (eval.status == EvalStatus::Pending).then_some(eval.id);
        shift(&mut self.pending_evals, before.and_then(pending), after.and_then(pending));
        let of_job = |eval: &Evaluation| pending(eval).map(|id| (eval.job, id));
        shift(&mut self.pending_evals_of_job, before.and_then(of_job), after.and_then(of_job));
        let ended =
            |eval: &Evaluation| eval.status.is_final().then_some((eval.modify_time, eval.id));
        shift(&mut self.ended_evals, before.and_then(ended), after.and_then(ended));

        let is_blocked = |eval: &&Evaluation| eval.status == EvalStatus::Blocked;
        if let Some(eval) = before.filter(is_blocked) {
            let removed = self.blocked_evals.remove(&eval.job);
            assert!(removed == Some(eval.id), "a job's blocked evaluation is indexed");
        }
        if let Some(eval) = after.filter(is_blocked) {
            let other = self.blocked_evals.insert(eval.job, eval.id);
            assert!(other.is_none(), "a job has at most one blocked evaluation");
        }
    }

    /// An alloc's row went from `before` to `after`.
    pub(crate) fn on_alloc(&mut self, before: Option<&Allocation>, after: Option<&Allocation>) {
        let of_job = |alloc: &Allocation| (alloc.job, alloc.id);
        shift(&mut self.allocs_of_job, before.map(of_job), after.map(of_job));
        let of_node = |alloc: &Allocation| (alloc.node, alloc.assign_index, alloc.id);
        shift(&mut self.allocs_of_node, before.map(of_node), after.map(of_node));
        let ended = |alloc: &Allocation| is_spent(alloc).then_some((alloc.modify_time, alloc.id));
        shift(&mut self.ended_allocs, before.and_then(ended), after.and_then(ended));

        let preempted = |alloc: &Allocation| {
            let by = alloc.preempted_by.filter(|_| !alloc.client_status.is_terminal())?;
            Some((by, alloc.id))
        };
        shift(&mut self.preempted, before.and_then(preempted), after.and_then(preempted));

        let rebalancing = |alloc: &Allocation| {
            let is_wanted = alloc.desired == DesiredStatus::Run && alloc.next.is_none();
            (is_wanted && alloc.migration.is_of_rebalance()).then_some((alloc.job, alloc.id))
        };
        let (from, to) = (before.and_then(rebalancing), after.and_then(rebalancing));
        shift(&mut self.rebalancing, from, to);

        let version = |alloc: &Allocation| (alloc.job, alloc.version);
        let (from, to) = (before.map(version), after.map(version));
        if from != to {
            self.count_version(from, to);
        }
    }

    /// A deployment's row went from `before` to `after`.
    pub(crate) fn on_deployment(
        &mut self,
        before: Option<&Deployment>,
        after: Option<&Deployment>,
    ) {
        let of_job = |deployment: &Deployment| (deployment.job, deployment.id);
        shift(&mut self.deployments_of_job, before.map(of_job), after.map(of_job));
        let due = |deployment: &Deployment| deployment.deadline().map(|at| (at, deployment.id));
        shift(&mut self.deployment_deadlines, before.and_then(due), after.and_then(due));
    }

    /// A node's row went from `before` to `after`.
    pub(crate) fn on_node(&mut self, before: Option<&Node>, after: Option<&Node>) {
        let drains = |node: &Node| node.drain.map(|_| node.spec.id);
        shift(&mut self.draining, before.and_then(drains), after.and_then(drains));
        let down = |node: &Node| (node.status == NodeStatus::Down).then_some(node.spec.id);
        shift(&mut self.down, before.and_then(down), after.and_then(down));
        let due = |node: &Node| node.drain.and_then(|drain| Some((drain.due?, node.spec.id)));
        shift(&mut self.drains_due, before.and_then(due), after.and_then(due));
    }

    fn count_version(&mut self, from: Option<(JobId, u64)>, to: Option<(JobId, u64)>) {
        if let Some(version) = from {
            let uses = self.version_uses.get_mut(&version);
            let uses = uses.expect("invariant: a version that an alloc points at is counted");
            *uses -= 1;
            if *uses == 0 {
                self.version_uses.remove(&version);
            }
        }
        if let Some(version) = to {
            *self.version_uses.entry(version).or_default() += 1;
        }
    }
}

/// Replace one entry of an ordered set by another, doing nothing when they are the same.
pub(super) fn shift<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, after: Option<T>) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        let removed = set.remove(&before);
        assert!(removed, "an index holds every row of its tables");
    }
    if let Some(after) = after {
        let added = set.insert(after);
        assert!(added, "an index holds a row once");
    }
}
