//! A saved state takes the place of the present one, in one entry.
//!
//! What operators asked for goes back: jobs, evaluations, allocs, and which nodes may get new allocs.
//! What was seen of the machines does not: nodes say themselves what they are and what runs on them,
//! and what a client has once been told to stop it does not start again. So nodes stay as they are,
//! and an alloc that is in both states goes on from where it is by now.
//!
//! Invariants
//! - whatever a node may be running that the saved state does not know has a tombstone;
//! - an alloc that may have been told to stop is not asked to run;
//! - a row that is not what it was, or that a node must hear of again, was changed by this entry;
//! - cluster, index, clock, sessions and nodes' acknowledgements stay.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::assignment::{Duty, duty};
use super::change::TABLES;
use super::children::next_launch;
use super::table::{Table, Tag};
use super::txn::Txn;
use super::{Header, JobRow, NodeRow, SnapshotFault, State};
use crate::types::{
    AllocId, Allocation, ClientStatus, ClusterId, ConfigRow, Deployment, DeploymentId,
    DesiredStatus, EvalId, EvalStatus, Evaluation, Index, JobId, Node, NodeId, NodePool, PoolName,
};

/// A state that was saved, read and found sound.
#[derive(Clone, Debug)]
pub struct Saved(Box<State>);

impl Saved {
    /// The saved state that these bytes are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let state = State::decode_rows(bytes)?;
        state.check_soundness().map_err(|rule| SnapshotFault::Contradiction { rule })?;
        Ok(Self(Box::new(state)))
    }

    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.0.cluster()
    }

    #[must_use]
    pub const fn index(&self) -> Index {
        self.0.index()
    }

    /// A state of another cluster, or of a later moment, has ids that are given out here once more.
    ///
    /// # Errors
    /// Why it is not taken, and what can be done with it.
    pub fn check_origin(&self, present: &State) -> Result<(), String> {
        const OFFLINE: &str = "with drover operator snapshot restore -data-dir it becomes the first \
                               server of a cluster of its own";
        if self.cluster() != present.cluster() {
            return Err(format!(
                "the saved state is of cluster {:032x}, and this is cluster {:032x}; {OFFLINE}",
                self.cluster().0,
                present.cluster().0
            ));
        }
        if present.index() < self.index() {
            return Err(format!(
                "the saved state is at index {}, and this cluster only at {}: it knows of things \
                 that happened elsewhere; {OFFLINE}",
                self.index().0,
                present.index().0
            ));
        }
        if self.0.contradicts(present) {
            return Err(format!(
                "the saved state is of another history of this cluster, which was restored offline \
                 from something older meanwhile: the same ids name other things now; {OFFLINE}"
            ));
        }
        Ok(())
    }
}

impl Txn<'_> {
    /// Put `saved` in the place of the present tables.
    pub(crate) fn restore(&mut self, saved: Saved) {
        let saved = *saved.0;
        let state = self.state_mut();
        assert!(saved.cluster() == state.cluster(), "a cluster gets back what is its own");
        assert!(saved.index() <= state.index(), "no index, and so no id, is used twice");
        let level = state.header.feature_level.max(saved.header.feature_level);
        state.header.feature_level = level;
        state.header.table_indexes = [state.header.index; TABLES];
        state.take_configs(&saved.header);
        state.bury_what_is_unknown(&saved);
        state.take_eligibility(&saved.nodes);
        state.take_allocs(&saved.allocs);
        state.take_pools(saved.pools);
        state.take_jobs(saved.jobs);
        state.take_deployments(saved.deployments);
        state.take_evals(saved.evals);
        state.derive_anew();
        self.note_restored();
    }
}

impl State {
    /// Whether a row of one name was made twice: ids follow from indexes, and two histories share them.
    fn contradicts(&self, other: &Self) -> bool {
        let jobs = self.jobs.iter().any(|(id, row)| {
            let name = |row: &JobRow| {
                let spec = &row.job.newest().spec;
                (spec.namespace.clone(), spec.id.clone())
            };
            other.jobs.row(id).is_some_and(|known| name(known) != name(row))
        });
        let evals = self.evals.iter().any(|(id, eval)| {
            let made = |eval: &Evaluation| (eval.job, eval.trigger, eval.create_time);
            other.evals.row(id).is_some_and(|known| made(known) != made(eval))
        });
        let allocs = self.allocs.iter().any(|(id, alloc)| {
            let made = |alloc: &Allocation| (alloc.job, alloc.eval, alloc.create_time);
            other.allocs.row(id).is_some_and(|known| made(known) != made(alloc))
        });
        let deployments = self.deployments.iter().any(|(id, deployment)| {
            let made = |one: &Deployment| (one.job, one.version, one.create_time);
            other.deployments.row(id).is_some_and(|known| made(known) != made(deployment))
        });
        jobs || evals || allocs || deployments
    }

    /// Nodes are told to stop what may run on them and is not in `saved`.
    fn bury_what_is_unknown(&mut self, saved: &Self) {
        let known = self.tombstones.iter().map(|(key, _)| key);
        let known = known.filter(|&(_, alloc)| saved.allocs.has(alloc));
        let known: Vec<(NodeId, AllocId)> = known.collect();
        for key in known {
            self.tombstones.remove(key);
        }
        for (id, alloc) in self.allocs.iter() {
            let is_unknown = !saved.allocs.has(id) && !planted!(RestoreBuriesNothing);
            if may_run(alloc) && is_unknown && self.nodes.has(alloc.node) {
                self.tombstones.put((alloc.node, id), self.header.index);
            }
        }
    }

    fn take_configs(&mut self, saved: &Header) {
        let index = self.header.index;
        if self.header.scheduler.config != saved.scheduler.config {
            self.header.scheduler = ConfigRow { modify_index: index, ..saved.scheduler };
        }
        if self.header.autopilot.config != saved.autopilot.config {
            self.header.autopilot = ConfigRow { modify_index: index, ..saved.autopilot };
        }
    }

    /// A pool with nodes stays, as nodes do.
    fn take_pools(&mut self, saved: Table<PoolName, NodePool>) {
        let present = core::mem::replace(&mut self.pools, saved);
        let specs = |pool: &NodePool| (pool.spec.clone(), pool.create_index);
        let changed = self.pools.iter().filter(|(name, pool)| {
            present.find(name).is_none_or(|known| specs(known) != specs(pool))
        });
        let changed: Vec<_> = changed.map(|(name, pool)| (name, pool.clone())).collect();
        for (name, mut pool) in changed {
            pool.modify_index = self.header.index;
            self.pools.put(name, pool);
        }
        for (_, row) in self.nodes.iter() {
            let name = &row.node.spec.pool;
            if let Some(pool) = present.find(name).filter(|_| self.pools.find(name).is_none()) {
                self.pools.put(name.clone(), pool.clone());
            }
        }
    }

    fn take_allocs(&mut self, saved: &Table<AllocId, Allocation>) {
        let present = core::mem::replace(&mut self.allocs, Table::new(Tag::Alloc));
        for (id, alloc) in saved.iter() {
            let mut row = continued(alloc, present.row(id));
            if duty(&row) != Duty::Nothing {
                row.assign_index = self.header.index;
            }
            if present.row(id) != Some(&row) {
                row.modify_index = self.header.index;
                row.modify_time = self.header.clock;
            }
            self.allocs.put(id, row);
        }
    }

    fn take_jobs(&mut self, saved: Table<JobId, JobRow>) {
        let present = core::mem::replace(&mut self.jobs, saved);
        self.go_on_with_calendars(&present);
        let differs = |id, row: &JobRow| present.row(id).is_none_or(|known| known.job != row.job);
        let changed = self.jobs.iter().filter(|&(id, row)| differs(id, row));
        let changed: Vec<_> = changed.map(|(id, row)| (id, row.clone())).collect();
        for (id, mut row) in changed {
            row.job.modify_index = self.header.index;
            row.modify_time = self.header.clock;
            self.jobs.put(id, row);
        }
    }

    /// What was launched since the state was saved was launched, and what was missed meanwhile is not
    /// made up for.
    fn go_on_with_calendars(&mut self, present: &Table<JobId, JobRow>) {
        let clock = self.header.clock;
        let periodic = self.jobs.iter().filter(|(_, row)| row.job.lineage.next_launch.is_some());
        let periodic: Vec<_> = periodic.map(|(id, row)| (id, row.clone())).collect();
        for (id, mut row) in periodic {
            let newest = row.job.newest();
            let known = present.row(id).map(|row| &row.job);
            let known = known.filter(|job| job.newest().version == newest.version);
            let next = known.and_then(|job| job.lineage.next_launch);
            row.job.lineage.next_launch = next.or_else(|| next_launch(&newest.spec, clock));
            self.jobs.put(id, row);
        }
    }

    /// Allocs have gone on since: what is active counts them anew.
    fn take_deployments(&mut self, saved: Table<DeploymentId, Deployment>) {
        let present = core::mem::replace(&mut self.deployments, saved);
        let (mut changed, counts) = (Vec::new(), self.healthy_by_deployment());
        for (id, deployment) in self.deployments.iter() {
            let mut row = deployment.clone();
            if row.status.is_active() {
                for (name, group) in &mut row.groups {
                    group.healthy = counts.get(&(id, name.as_str())).copied().unwrap_or(0);
                }
            }
            if present.row(id) != Some(&row) {
                row.modify_index = self.header.index;
                row.modify_time = self.header.clock;
                changed.push((id, row));
            }
        }
        for (id, row) in changed {
            self.deployments.put(id, row);
        }
    }

    /// A pending evaluation is changed even where it is the same: plans that were made of it before
    /// looked at another state.
    fn take_evals(&mut self, saved: Table<EvalId, Evaluation>) {
        let present = core::mem::replace(&mut self.evals, saved);
        let changed = self.evals.iter().filter(|&(id, eval)| {
            eval.status == EvalStatus::Pending || present.row(id) != Some(eval)
        });
        let changed: Vec<_> = changed.map(|(id, eval)| (id, eval.clone())).collect();
        for (id, mut eval) in changed {
            eval.modify_index = self.header.index;
            eval.modify_time = self.header.clock;
            self.evals.put(id, eval);
        }
    }

    fn take_eligibility(&mut self, saved: &Table<NodeId, NodeRow>) {
        for (id, row) in saved.iter() {
            let Some(known) = self.nodes.row(id) else { continue };
            let wishes = |node: &Node| (node.eligible, node.drain, node.last_drain.clone());
            if wishes(&known.node) != wishes(&row.node) {
                let mut known = known.clone();
                let node = &mut known.node;
                (node.eligible, node.drain, node.last_drain) = wishes(&row.node);
                known.node.modify_index = self.header.index;
                self.nodes.put(id, known);
            }
        }
    }
}

/// Whether its client has not said that it ended. Lost is only what the servers believe.
const fn may_run(alloc: &Allocation) -> bool {
    match alloc.client_status {
        ClientStatus::Pending | ClientStatus::Running | ClientStatus::Lost => true,
        ClientStatus::Complete | ClientStatus::Failed => false,
    }
}

/// The saved alloc with what has become of it since.
fn continued(saved: &Allocation, present: Option<&Allocation>) -> Allocation {
    let mut alloc = saved.clone();
    match present {
        Some(present) => {
            alloc.node = present.node;
            alloc.client_status = present.client_status;
            alloc.client_description.clone_from(&present.client_description);
            alloc.tasks.clone_from(&present.tasks);
            if alloc.version == present.version {
                alloc.health = present.health;
            }
            alloc.modify_index = present.modify_index;
            alloc.modify_time = present.modify_time;
            alloc.assign_index = present.assign_index;
            if present.desired == DesiredStatus::Stop {
                alloc.desired = DesiredStatus::Stop;
                alloc.desired_description.clone_from(&present.desired_description);
            }
        }
        // It was collected since, so it has ended; how is forgotten.
        None if may_run(saved) => {
            alloc.desired = DesiredStatus::Stop;
            alloc.desired_description = "alloc had ended before the restore".to_string();
            alloc.client_status = ClientStatus::Lost;
            alloc.client_description = String::new();
        }
        None => {}
    }
    alloc
}
