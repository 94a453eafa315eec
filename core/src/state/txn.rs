//! The only writer of tables.
//!
//! A command checks first and writes then, so there is nothing to roll back: what is put here stays.
//!
//! Invariants
//! - a row's `create_index` is the entry that made it, its `modify_index` the last that wrote it;
//! - status moves only along the transition tables of the types;
//! - indexes, fleet and digest follow each write at once;
//! - every row written is named by a `Change`; a node whose duties or room changed by one as well.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::indexes::Indexes;
use super::session::{Remembered, SessionHead};
use super::table::{Table, Tag};
use super::upload::Part;
use super::{Change, JobRow, NodeRow, State, TableKind};
use crate::limits::ROWS_PER_COMMAND_MAX;
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, AutopilotConfig, ClusterId, Deployment, DeploymentGroup, DeploymentId,
    EvalId, Evaluation, Index, Job, JobId, Node, NodeId, NodePool, NodeSlot, NodeStatus, PoolName,
    SchedulerConfig, ServerId, object_id,
};

/// The writes of one entry.
pub(crate) struct Txn<'a> {
    state: &'a mut State,
    changes: &'a mut Vec<Change>,
    /// Nodes whose duties changed.
    assigned: BTreeSet<NodeId>,
    /// Nodes that may hold more than before.
    roomier: BTreeSet<NodeId>,
    /// Jobs for which allocs were preempted that have ended.
    awaited: BTreeSet<JobId>,
    objects: u32,
    rows: usize,
    /// Where the entry's own changes begin.
    first_change: usize,
}

impl<'a> Txn<'a> {
    /// Writes of the entry that `state` was last advanced to.
    pub(crate) const fn begin(state: &'a mut State, changes: &'a mut Vec<Change>) -> Self {
        let first_change = changes.len();
        Self {
            state,
            changes,
            assigned: BTreeSet::new(),
            roomier: BTreeSet::new(),
            awaited: BTreeSet::new(),
            objects: 0,
            rows: 0,
            first_change,
        }
    }

    /// The state with everything that was written so far.
    pub(crate) const fn state(&self) -> &State {
        self.state
    }

    /// What the entry has changed so far.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes[self.first_change..]
    }

    /// Rows that the command may still write.
    pub(crate) const fn rows_left(&self) -> usize {
        ROWS_PER_COMMAND_MAX.saturating_sub(self.rows)
    }

    /// An id that no object has had. Ids of all kinds share the entry's ordinals.
    pub(crate) fn new_id(&mut self) -> u64 {
        let ordinal = self.objects;
        self.objects += 1;
        object_id(self.state.header.index, ordinal)
    }

    /// Jobs that waited for allocs which have ended by this entry.
    pub(crate) fn take_awaited(&mut self) -> BTreeSet<JobId> {
        core::mem::take(&mut self.awaited)
    }

    /// Say what the entry changed about nodes as a whole.
    pub(crate) fn finish(self) {
        self.changes.extend(self.assigned.into_iter().map(Change::Assigned));
        self.changes.extend(self.roomier.into_iter().map(Change::Room));
    }

    /// Give the cluster its identity, and with it every object its UUID.
    pub(crate) fn set_cluster(&mut self, cluster: ClusterId) {
        assert!(self.state.header.cluster == ClusterId(0), "a cluster is bootstrapped once");
        self.state.header.cluster = cluster;
        self.state.by = Indexes::of(self.state);
        self.changes.push(Change::Operator);
    }

    /// Cut after so many bytes of log from now on.
    pub(crate) fn set_scheduler(&mut self, config: SchedulerConfig) {
        self.state.header.scheduler.set(config, self.state.header.index);
        self.changes.push(Change::Operator);
    }

    pub(crate) fn set_autopilot(&mut self, config: AutopilotConfig) {
        self.state.header.autopilot.set(config, self.state.header.index);
        self.changes.push(Change::Operator);
    }

    pub(crate) fn set_cut_bytes(&mut self, bytes: u64) {
        assert!(0 < bytes, "a cut has something to cut");
        self.state.header.cut_bytes = bytes;
        self.changes.push(Change::Operator);
    }

    /// Let commands of this level be used.
    pub(crate) fn raise_feature_level(&mut self, level: u32) {
        assert!(self.state.header.feature_level < level, "the feature level only rises");
        self.state.header.feature_level = level;
        self.changes.push(Change::Operator);
    }

    pub(crate) fn put_node(&mut self, mut node: Node) {
        let (id, index) = (node.spec.id, self.state.header.index);
        let before = self.state.nodes.row(id);
        node.create_index = before.map_or(index, |row| row.node.create_index);
        node.modify_index = index;
        if let Some(row) = before {
            let (from, to) = (row.node.status, node.status);
            assert!(from == to || from.may_become(to), "a node's status moves along its table");
        }
        if is_placeable(&node) && before.is_none_or(|row| offers_less(&row.node, &node)) {
            self.roomier.insert(id);
        }
        let acknowledged = before.map_or(Index(0), |row| row.acknowledged);
        let slot_before = before.map(|row| row.slot);
        assert!(node.drain.is_none() || !node.eligible, "a node that drains is not eligible");
        assert!(self.state.has_pool(&node.spec.pool), "a node's pool exists");
        self.state.by.on_node(before.map(|row| &row.node), Some(&node));
        let slot = self.state.fleet.put_node(&node);
        assert!(slot_before.is_none_or(|kept| kept == slot), "a node keeps its slot");
        self.state.nodes.put(id, NodeRow { node, slot, acknowledged });
        self.touch(TableKind::Nodes, Change::Node(id));
    }

    /// Forget a node, and with it what it had still to be told.
    pub(crate) fn remove_node(&mut self, id: NodeId) {
        let before = self.state.nodes.remove(id);
        let before = before.expect("invariant: only a node that exists is removed");
        self.state.by.on_node(Some(&before.node), None);
        self.state.fleet.remove_node(id);
        self.drop_tombstones(id, Index(u64::MAX));
        self.touch(TableKind::Nodes, Change::Node(id));
    }

    /// The node has heard every assignment up to `seq`.
    pub(crate) fn acknowledge(&mut self, id: NodeId, seq: Index) {
        let row = self.state.nodes.row(id).expect("invariant: only a known node acknowledges");
        assert!(row.acknowledged < seq, "what a node has heard only grows");
        let row = NodeRow { acknowledged: seq, ..row.clone() };
        self.state.nodes.put(id, row);
        self.rows += 1;
        self.drop_tombstones(id, seq);
    }

    fn drop_tombstones(&mut self, node: NodeId, told_until: Index) {
        let heard = self.state.tombstones_of_node(node).filter(|&(_, at)| at <= told_until);
        let heard: Vec<AllocId> = heard.map(|(alloc, _)| alloc).collect();
        for alloc in heard {
            self.state.tombstones.remove((node, alloc));
        }
    }

    pub(crate) fn put_job(&mut self, mut job: Job) {
        let (id, index) = (job.id, self.state.header.index);
        let before = self.state.jobs.row(id);
        job.create_index = before.map_or(index, |row| row.job.create_index);
        job.modify_index = index;
        let has_pool = self.state.has_pool(&job.newest().spec.node_pool);
        assert!(job.stopped || has_pool, "the pool of a job that may run exists");
        let row = JobRow { job, modify_time: self.state.header.clock };
        self.state.by.on_job(before.map(|row| &row.job), Some(&row.job));
        self.state.jobs.put(id, row);
        self.touch(TableKind::Jobs, Change::Job(id));
        // What was kept for the job may be anybody's now.
        let nodes: Vec<_> = self.state.preempted_for(id).map(|alloc| alloc.node).collect();
        self.roomier.extend(nodes);
    }

    pub(crate) fn remove_job(&mut self, id: JobId) {
        assert!(self.state.evals_of_job(id).next().is_none(), "a job outlives its evaluations");
        assert!(self.state.allocs_of_job(id).next().is_none(), "a job outlives its allocs");
        let watched = self.state.deployments_of_job(id).next().is_some();
        assert!(!watched, "a job outlives its deployments");
        let row = self.state.jobs.remove(id);
        let row = row.expect("invariant: only a job that exists is removed");
        self.state.by.on_job(Some(&row.job), None);
        self.touch(TableKind::Jobs, Change::Job(id));
    }

    pub(crate) fn put_eval(&mut self, mut eval: Evaluation) {
        let (id, header) = (eval.id, &self.state.header);
        let before = self.state.evals.row(id);
        (eval.create_index, eval.create_time) = before
            .map_or((header.index, header.clock), |kept| (kept.create_index, kept.create_time));
        (eval.modify_index, eval.modify_time) = (header.index, header.clock);
        if let Some(kept) = before {
            let (from, to) = (kept.status, eval.status);
            assert!(from == to || from.may_become(to), "an evaluation moves along its table");
        }
        assert!(self.state.jobs.has(eval.job), "an evaluation's job exists");
        self.state.by.on_eval(before, Some(&eval));
        self.state.evals.put(id, eval);
        self.touch(TableKind::Evals, Change::Eval(id));
    }

    pub(crate) fn remove_eval(&mut self, id: EvalId) {
        let eval = self.state.evals.remove(id);
        let eval = eval.expect("invariant: only an evaluation that exists is removed");
        assert!(eval.status.is_final(), "only a final evaluation is collected");
        self.state.by.on_eval(Some(&eval), None);
        self.touch(TableKind::Evals, Change::Eval(id));
    }

    /// Take in a new alloc, on the node at `slot`.
    pub(crate) fn add_alloc(&mut self, mut alloc: Allocation, slot: NodeSlot) {
        let (id, node, header) = (alloc.id, alloc.node, &self.state.header);
        (alloc.create_index, alloc.create_time) = (header.index, header.clock);
        (alloc.modify_index, alloc.modify_time) = (header.index, header.clock);
        alloc.assign_index = header.index;
        self.assigned.insert(node);
        assert!(self.state.fleet.node_at(slot) == Some(node), "an alloc's node is at its slot");
        assert!(holds_room(&alloc), "a new alloc holds room");
        self.state.fleet.hold_at(slot, alloc.claim());
        self.state.by.on_alloc(None, Some(&alloc));
        let turn = HealthTurn::between(None, &alloc);
        let before = self.state.allocs.put(id, alloc);
        assert!(before.is_none(), "an id is given once");
        self.count_health(id, turn);
        self.touch(TableKind::Allocs, Change::Alloc(id));
    }

    /// Write an alloc that exists.
    pub(crate) fn put_alloc(&mut self, mut alloc: Allocation) {
        let (id, node, header) = (alloc.id, alloc.node, &self.state.header);
        let before = self.state.allocs.row(id);
        let before = before.expect("invariant: an alloc comes into being by `add_alloc`");
        (alloc.create_index, alloc.create_time) = (before.create_index, before.create_time);
        (alloc.modify_index, alloc.modify_time) = (header.index, header.clock);
        alloc.assign_index = before.assign_index;
        if asks_otherwise(before, &alloc) {
            alloc.assign_index = header.index;
            self.assigned.insert(node);
        }
        let (from, to) = (before.client_status, alloc.client_status);
        assert!(from == to || from.may_become(to), "an alloc moves along its table");
        assert!(before.node == node, "an alloc never moves");
        let (held, holds) = (holds_room(before), holds_room(&alloc));
        assert!(held || !holds, "room that was given up is not taken again");
        if held && !holds && !planted!(UsageNotReleased) {
            self.state.fleet.release(node, alloc.claim());
            self.roomier.insert(node);
            self.awaited.extend(alloc.preempted_by);
        }
        self.state.by.on_alloc(Some(before), Some(&alloc));
        let turn = HealthTurn::between(Some(before), &alloc);
        self.state.allocs.put(id, alloc);
        self.count_health(id, turn);
        self.touch(TableKind::Allocs, Change::Alloc(id));
    }

    /// An active deployment counts its healthy allocs, and each new one gives it more time.
    fn count_health(&mut self, alloc: AllocId, turn: Option<HealthTurn>) {
        let Some(turn) = turn else { return };
        let watching = self.state.deployment(turn.deployment).filter(|d| d.status.is_active());
        let alloc = self.state.allocs.row(alloc).expect("invariant: just written");
        let (Some(mut deployment), Some(name)) = (watching.cloned(), self.state.group_name(alloc))
        else {
            return;
        };
        let Some(group) = deployment.groups.get_mut(name) else { return };
        note_turn(group, turn, self.state.header.clock);
        self.put_deployment(deployment);
    }

    pub(crate) fn put_deployment(&mut self, mut deployment: Deployment) {
        let (id, header) = (deployment.id, &self.state.header);
        let before = self.state.deployments.row(id);
        (deployment.create_index, deployment.create_time) = before
            .map_or((header.index, header.clock), |kept| (kept.create_index, kept.create_time));
        (deployment.modify_index, deployment.modify_time) = (header.index, header.clock);
        if let Some(kept) = before {
            let (from, to) = (kept.status, deployment.status);
            assert!(from == to || from.may_become(to), "a deployment moves along its table");
        }
        assert!(self.state.jobs.has(deployment.job), "a deployment's job exists");
        self.state.by.on_deployment(before, Some(&deployment));
        self.state.deployments.put(id, deployment);
        self.touch(TableKind::Deployments, Change::Deployment(id));
    }

    pub(crate) fn remove_deployment(&mut self, id: DeploymentId) {
        let deployment = self.state.deployments.remove(id);
        let deployment = deployment.expect("invariant: only one that exists is removed");
        assert!(!deployment.status.is_active(), "only a final deployment is collected");
        self.state.by.on_deployment(Some(&deployment), None);
        self.touch(TableKind::Deployments, Change::Deployment(id));
    }

    /// Forget an alloc that has ended. With `told_at`, remember that its node must be told to stop it.
    pub(crate) fn remove_alloc(&mut self, id: AllocId, told_at: Option<Index>) {
        let alloc = self.state.allocs.remove(id);
        let alloc = alloc.expect("invariant: only an alloc that exists is removed");
        assert!(!holds_room(&alloc), "an alloc that may be running is not collected");
        self.state.by.on_alloc(Some(&alloc), None);
        if let Some(told_at) = told_at {
            self.state.tombstones.put((alloc.node, id), told_at);
        }
        self.touch(TableKind::Allocs, Change::Alloc(id));
    }

    /// The node runs an alloc that nobody knows any more, and must be told to stop it.
    pub(crate) fn bury(&mut self, node: NodeId, id: AllocId) {
        let index = self.state.header.index;
        assert!(self.state.nodes.has(node), "only a known node is told anything");
        assert!(!self.state.allocs.has(id), "an alloc that is known has no tombstone");
        assert!(id.made_by() < index, "an alloc that may come to be has no tombstone");
        self.state.tombstones.put((node, id), index);
        self.assigned.insert(node);
        self.rows += 1;
    }

    pub(crate) fn put_pool(&mut self, mut pool: NodePool) {
        let (name, index) = (pool.spec.name.clone(), self.state.header.index);
        assert!(!name.is_built_in(), "what is built in has no row");
        let before = self.state.pools.find(&name);
        pool.create_index = before.map_or(index, |kept| kept.create_index);
        pool.modify_index = index;
        self.state.pools.put(name, pool);
        self.touch(TableKind::Pools, Change::Pools);
    }

    pub(crate) fn remove_pool(&mut self, name: &PoolName) {
        let removed = self.state.pools.remove(name.clone());
        assert!(removed.is_some(), "only a pool that was made is removed");
        self.touch(TableKind::Pools, Change::Pools);
    }

    pub(super) fn write_part(&mut self, nth: u32, part: Part) {
        self.state.upload.put(nth, part);
    }

    /// Forget the parts of a saved state.
    pub(crate) fn drop_upload(&mut self) {
        self.state.upload = Table::new(Tag::Part);
    }

    /// For the one change that is larger than rows.
    pub(super) const fn state_mut(&mut self) -> &mut State {
        self.state
    }

    pub(super) fn note_restored(&mut self) {
        self.changes.push(Change::Restored);
    }

    pub(super) fn put_session(&mut self, origin: ServerId, head: SessionHead) {
        self.state.sessions.put(origin, head);
    }

    pub(super) fn remove_session(&mut self, origin: ServerId) {
        self.state.sessions.remove(origin);
    }

    pub(super) fn put_remembered(
        &mut self,
        origin: ServerId,
        seq: u64,
        what: Remembered,
    ) -> Option<Remembered> {
        self.state.remembered.put((origin, seq), what)
    }

    pub(super) fn remove_remembered(&mut self, origin: ServerId, seq: u64) {
        self.state.remembered.remove((origin, seq));
    }

    fn touch(&mut self, table: TableKind, change: Change) {
        self.state.header.table_indexes[table as usize] = self.state.header.index;
        self.rows += 1;
        self.changes.push(change);
    }
}

/// What the health of an alloc became, within one deployment.
#[derive(Clone, Copy)]
struct HealthTurn {
    deployment: DeploymentId,
    was_healthy: bool,
    is_healthy: bool,
    is_found_ill: bool,
}

impl HealthTurn {
    /// `None`: nothing that a deployment counts.
    fn between(before: Option<&Allocation>, after: &Allocation) -> Option<Self> {
        let before = before.filter(|before| before.deployment == after.deployment);
        let turn = Self {
            deployment: after.deployment?,
            was_healthy: before.is_some_and(Allocation::is_healthy),
            is_healthy: after.is_healthy(),
            is_found_ill: after.is_unhealthy() && !before.is_some_and(Allocation::is_unhealthy),
        };
        (turn.was_healthy != turn.is_healthy || turn.is_found_ill).then_some(turn)
    }
}

/// An alloc more that is healthy gives the group more time, if so many never were; so does one that
/// is not any more, if the group had come to where it should be.
fn note_turn(group: &mut DeploymentGroup, turn: HealthTurn, clock: WallTime) {
    let had_arrived = group.deadline().is_none();
    let until = clock.plus_ms(group.progress_deadline_ms);
    if turn.is_healthy && !turn.was_healthy {
        group.healthy = group.healthy.saturating_add(1);
        if group.healthy_most < group.healthy {
            group.healthy_most = group.healthy;
            group.require_progress_by = group.require_progress_by.max(until);
        }
    }
    if turn.was_healthy && !turn.is_healthy {
        group.healthy = group.healthy.saturating_sub(1);
        if had_arrived {
            group.require_progress_by = group.require_progress_by.max(until);
        }
    }
    group.unhealthy = group.unhealthy.saturating_add(u32::from(turn.is_found_ill));
}

/// Whether the alloc's resources are taken on its node.
pub(crate) const fn holds_room(alloc: &Allocation) -> bool {
    !alloc.client_status.is_terminal()
}

fn is_placeable(node: &Node) -> bool {
    node.status == NodeStatus::Ready && node.eligible
}

/// Whether something may fit on the node as it is `after` that did not `before`.
fn offers_less(before: &Node, after: &Node) -> bool {
    !is_placeable(before) || before.spec != after.spec
}

/// Whether the node has something else to do for the alloc than it had.
fn asks_otherwise(before: &Allocation, after: &Allocation) -> bool {
    let is_other_version = before.version != after.version && !planted!(UpdateNotTold);
    let is_promoted = before.canary && !after.canary;
    before.desired != after.desired || is_other_version || is_promoted
}
