//! Reading the tables: by id, by what they belong to, by name, and by the start of a UUID.
//!
//! Invariants
//! - every list comes in the order of ids, which is the order of age, but that of a node's allocs;
//! - a prefix finds exactly the objects whose UUID begins with it.
use alloc::vec::Vec;

use super::{JobRow, State};
use crate::time::WallTime;
use crate::types::{
    Algorithm, AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, Index, Job,
    JobId, Node, NodeId, NodePool, NodeSlot, PoolName, Uuid,
};

impl State {
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.row(id).map(|row| &row.node)
    }

    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.nodes.iter().map(|(_, row)| &row.node)
    }

    /// The node that has this slot of the scheduler's columns.
    #[must_use]
    pub fn node_at(&self, slot: NodeSlot) -> Option<&Node> {
        self.fleet.node_at(slot).and_then(|id| self.node(id))
    }

    /// The node's slot in the scheduler's columns.
    #[must_use]
    pub fn slot_of(&self, id: NodeId) -> Option<NodeSlot> {
        self.fleet.slot_of(id)
    }

    /// The last assignment that the node is known to have heard.
    #[must_use]
    pub fn acknowledged(&self, id: NodeId) -> Option<Index> {
        self.nodes.row(id).map(|row| row.acknowledged)
    }

    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.row(id).map(|row| &row.job)
    }

    /// Every job, purged ones that still have allocs included.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.iter().map(|(_, row)| &row.job)
    }

    /// The job that users know by this name. A purged job has none.
    #[must_use]
    pub fn job_named(&self, namespace: &str, job: &str) -> Option<&Job> {
        let id = *self.by.job_names.get(namespace)?.get(job)?;
        self.job(id)
    }

    /// Jobs that want to run on every node.
    pub fn jobs_everywhere(&self) -> impl Iterator<Item = JobId> {
        self.by.everywhere.iter().copied()
    }

    #[must_use]
    pub fn eval(&self, id: EvalId) -> Option<&Evaluation> {
        self.evals.row(id)
    }

    pub fn evals(&self) -> impl DoubleEndedIterator<Item = &Evaluation> {
        self.evals.iter().map(|(_, eval)| eval)
    }

    pub fn evals_of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Evaluation> {
        let range = (job, EvalId(0))..=(job, EvalId(u64::MAX));
        self.by.evals_of_job.range(range).map(|&(_, id)| self.known_eval(id))
    }

    pub fn pending_evals(&self) -> impl DoubleEndedIterator<Item = &Evaluation> {
        self.by.pending_evals.iter().map(|&id| self.known_eval(id))
    }

    pub fn pending_evals_of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Evaluation> {
        let range = (job, EvalId(0))..=(job, EvalId(u64::MAX));
        self.by.pending_evals_of_job.range(range).map(|&(_, id)| self.known_eval(id))
    }

    pub fn blocked_evals(&self) -> impl DoubleEndedIterator<Item = &Evaluation> {
        self.by.blocked_evals.values().map(|&id| self.known_eval(id))
    }

    #[must_use]
    pub fn blocked_eval_of_job(&self, job: JobId) -> Option<&Evaluation> {
        self.by.blocked_evals.get(&job).map(|&id| self.known_eval(id))
    }

    #[must_use]
    pub fn alloc(&self, id: AllocId) -> Option<&Allocation> {
        self.allocs.row(id)
    }

    pub fn allocs(&self) -> impl DoubleEndedIterator<Item = &Allocation> {
        self.allocs.iter().map(|(_, alloc)| alloc)
    }

    pub fn allocs_of_job(&self, job: JobId) -> impl Iterator<Item = &Allocation> {
        let range = (job, AllocId(0))..=(job, AllocId(u64::MAX));
        self.allocs.rows_of(self.by.allocs_of_job.range(range).map(|&(_, id)| id))
    }

    /// By the entry that last changed what the node must do.
    pub fn allocs_of_node(&self, node: NodeId) -> impl DoubleEndedIterator<Item = &Allocation> {
        self.assigned(node, Index(0)).map(|id| self.known_alloc(id))
    }

    /// Allocs of the node for which what it must do changed at `first` or later.
    pub(super) fn assigned(
        &self,
        node: NodeId,
        first: Index,
    ) -> impl DoubleEndedIterator<Item = AllocId> {
        let range = (node, first, AllocId(0))..=(node, Index(u64::MAX), AllocId(u64::MAX));
        self.by.allocs_of_node.range(range).map(|&(_, _, id)| id)
    }

    /// Allocs that were preempted and have still to end, with the job for which they were.
    pub fn preempted(&self) -> impl Iterator<Item = (JobId, &Allocation)> {
        self.by.preempted.iter().map(|&(job, id)| (job, self.known_alloc(id)))
    }

    /// Allocs that were preempted for the job and have still to end.
    pub fn preempted_for(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Allocation> {
        let range = (job, AllocId(0))..=(job, AllocId(u64::MAX));
        self.by.preempted.range(range).map(|&(_, id)| self.known_alloc(id))
    }

    /// Allocs that a rebalance may still move.
    pub fn rebalancing(&self) -> impl Iterator<Item = &Allocation> {
        self.by.rebalancing.iter().map(|&(_, id)| self.known_alloc(id))
    }

    /// Those of them that are the job's.
    pub fn rebalancing_of_job(&self, job: JobId) -> impl Iterator<Item = &Allocation> {
        let range = (job, AllocId(0))..=(job, AllocId(u64::MAX));
        self.by.rebalancing.range(range).map(|&(_, id)| self.known_alloc(id))
    }

    /// How many allocs point at the version.
    #[must_use]
    pub fn uses_of_version(&self, job: JobId, version: u64) -> u32 {
        self.by.version_uses.get(&(job, version)).copied().unwrap_or(0)
    }

    /// The alloc with this UUID.
    #[must_use]
    pub fn alloc_by_uuid(&self, uuid: Uuid) -> Option<&Allocation> {
        self.alloc(AllocId(uuid.object(self.uuid_key())?))
    }

    /// The evaluation with this UUID.
    #[must_use]
    pub fn eval_by_uuid(&self, uuid: Uuid) -> Option<&Evaluation> {
        self.eval(EvalId(uuid.object(self.uuid_key())?))
    }

    /// Looks at all rows: people ask so, and seldom, while an index would cost every row something.
    fn with_prefix<'a, T: 'a>(
        &self,
        prefix: UuidPrefix,
        rows: impl Iterator<Item = (u64, &'a T)>,
    ) -> impl Iterator<Item = &'a T> {
        let with_uuids = rows.map(|(id, row)| (self.uuid(id), row));
        let mut matching: Vec<_> = with_uuids.filter(|&(uuid, _)| prefix.begins(uuid)).collect();
        matching.sort_unstable_by_key(|&(uuid, _)| uuid);
        matching.into_iter().map(|(_, row)| row)
    }

    /// The allocs whose UUID begins with `prefix`, in the order of UUIDs.
    pub fn allocs_with_prefix(&self, prefix: UuidPrefix) -> impl Iterator<Item = &Allocation> {
        let rows = self.allocs.iter().map(|(id, alloc)| (id.0, alloc));
        self.with_prefix(prefix, rows)
    }

    /// The evaluations whose UUID begins with `prefix`, in the order of UUIDs.
    pub fn evals_with_prefix(&self, prefix: UuidPrefix) -> impl Iterator<Item = &Evaluation> {
        let rows = self.evals.iter().map(|(id, eval)| (id.0, eval));
        self.with_prefix(prefix, rows)
    }

    #[must_use]
    pub fn deployment(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.row(id)
    }

    pub fn deployments(&self) -> impl DoubleEndedIterator<Item = &Deployment> {
        self.deployments.iter().map(|(_, deployment)| deployment)
    }

    pub fn deployments_of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Deployment> {
        let range = (job, DeploymentId(0))..=(job, DeploymentId(u64::MAX));
        self.by.deployments_of_job.range(range).map(|&(_, id)| self.known_deployment(id))
    }

    /// The deployment that watches, or has watched, over this version.
    #[must_use]
    pub fn deployment_of_version(&self, job: JobId, version: u64) -> Option<&Deployment> {
        self.deployments_of_job(job).rfind(|deployment| deployment.version == version)
    }

    /// The job's deployment of which something can still come.
    #[must_use]
    pub fn active_deployment(&self, job: JobId) -> Option<&Deployment> {
        self.deployments_of_job(job).next_back().filter(|newest| newest.status.is_active())
    }

    /// The deployment with this UUID.
    #[must_use]
    pub fn deployment_by_uuid(&self, uuid: Uuid) -> Option<&Deployment> {
        self.deployment(DeploymentId(uuid.object(self.uuid_key())?))
    }

    /// The deployments whose UUID begins with `prefix`, in the order of UUIDs.
    pub fn deployments_with_prefix(&self, prefix: UuidPrefix) -> impl Iterator<Item = &Deployment> {
        let rows = self.deployments.iter().map(|(id, deployment)| (id.0, deployment));
        self.with_prefix(prefix, rows)
    }

    /// Running deployments by the moment until which they wait for progress, soonest first.
    pub fn deployment_deadlines(&self) -> impl Iterator<Item = (WallTime, DeploymentId)> {
        self.by.deployment_deadlines.iter().copied()
    }

    /// Whether there is such a pool, made or built in.
    #[must_use]
    pub fn has_pool(&self, name: &PoolName) -> bool {
        name.is_built_in() || self.made_pool(name.as_str()).is_some()
    }

    #[must_use]
    pub fn made_pool(&self, name: &str) -> Option<&NodePool> {
        self.pools.find(name)
    }

    /// The pools that were made, by name.
    pub fn made_pools(&self) -> impl DoubleEndedIterator<Item = &NodePool> {
        self.pools.iter().map(|(_, pool)| pool)
    }

    /// Which nodes are the best ones for jobs of the pool: its own word, or the cluster's.
    #[must_use]
    pub fn algorithm_of(&self, pool: &PoolName) -> Algorithm {
        let own = self.made_pool(pool.as_str()).and_then(|pool| pool.spec.scheduler.algorithm);
        own.unwrap_or(self.header.scheduler.config.algorithm)
    }

    /// Whether tasks of jobs of the pool may use more memory than they ask for: its own word, or the
    /// cluster's.
    #[must_use]
    pub fn oversubscribes_memory(&self, pool: &PoolName) -> bool {
        let pool = self.made_pool(pool.as_str());
        let own = pool.and_then(|pool| pool.spec.scheduler.memory_oversubscription);
        own.unwrap_or(self.header.scheduler.config.memory_oversubscription)
    }

    /// Whether the servers do not hear from the node.
    #[must_use]
    pub fn is_down(&self, node: NodeId) -> bool {
        self.by.down.contains(&node)
    }

    /// Nodes that drain.
    pub fn draining(&self) -> impl Iterator<Item = NodeId> {
        self.by.draining.iter().copied()
    }

    /// Drains by the moment at which they must be looked at, soonest first.
    pub fn drains_due(&self) -> impl Iterator<Item = (WallTime, NodeId)> {
        self.by.drains_due.iter().copied()
    }

    /// The nodes whose UUID begins with `prefix`. A node's id is its UUID.
    pub fn nodes_with_prefix(&self, prefix: UuidPrefix) -> impl Iterator<Item = &Node> {
        let range = NodeId(prefix.first)..=NodeId(prefix.last);
        self.nodes.range(range).map(|(_, row)| &row.node)
    }

    pub(crate) fn job_row(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.row(id)
    }

    /// Spent allocs whose last change was before `before`, oldest first.
    pub(crate) fn spent_allocs(&self, before: WallTime) -> impl Iterator<Item = &Allocation> {
        let ended = self.by.ended_allocs.range(..(before, AllocId(0)));
        ended.map(|&(_, id)| self.known_alloc(id))
    }

    /// Final evaluations whose last change was before `before`, oldest first.
    pub(crate) fn final_evals(&self, before: WallTime) -> impl Iterator<Item = EvalId> {
        self.by.ended_evals.range(..(before, EvalId(0))).map(|&(_, id)| id)
    }

    fn known_eval(&self, id: EvalId) -> &Evaluation {
        self.evals.row(id).expect("invariant: an index names rows that exist")
    }

    fn known_deployment(&self, id: DeploymentId) -> &Deployment {
        self.deployments.row(id).expect("invariant: an index names rows that exist")
    }

    fn known_alloc(&self, id: AllocId) -> &Allocation {
        self.allocs.row(id).expect("invariant: an index names rows that exist")
    }
}

/// The first digits of a UUID, and so a range of UUIDs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UuidPrefix {
    first: u128,
    last: u128,
}

impl UuidPrefix {
    /// Reads up to 32 hex digits, with or without dashes. No digits at all begin every UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut first, mut digits) = (0_u128, 0_u32);
        for c in text.chars().filter(|&c| c != '-') {
            if digits == 32 {
                return None;
            }
            first = (first << 4) | u128::from(c.to_digit(16)?);
            digits += 1;
        }
        let open_bits = 128 - 4 * digits;
        let first = first.checked_shl(open_bits).unwrap_or(0);
        let open = u128::MAX.checked_shr(128 - open_bits).unwrap_or(0);
        Some(Self { first, last: first | open })
    }

    const fn begins(self, uuid: Uuid) -> bool {
        self.first <= uuid.0 && uuid.0 <= self.last
    }
}
