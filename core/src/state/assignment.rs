//! What a node must run and what it must stop, as the tables have it.
//!
//! Invariants
//! - whatever a node may still be running and must not is named by a tombstone, in every full set
//!   and in every difference that starts before the node was told;
//! - an alloc is never both run and stopped.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::State;
use crate::types::{
    AllocId, AllocSpec, Allocation, AssignedAlloc, Assignment, Child, ClientStatus, DesiredStatus,
    Index, JobId, NodeId,
};

impl State {
    /// What `node` must do: all of it, or what changed since the assignment numbered `after`.
    #[must_use]
    pub fn assignment(&self, node: NodeId, after: Option<Index>) -> Assignment {
        let mut built = Assignment { seq: self.index(), after, ..Assignment::default() };
        let mut specs = BTreeMap::new();
        let first = after.map_or(Index(0), Index::next);
        for id in self.assigned(node, first) {
            let alloc = self.alloc(id).expect("invariant: an index names rows that exist");
            match duty(alloc) {
                Duty::Run => self.assign(alloc, &mut built, &mut specs),
                Duty::Stop => built.tombstones.push(id),
                Duty::Nothing => {}
            }
        }
        for ((_, id), &told_at) in
            self.tombstones.range((node, AllocId(0))..=(node, AllocId(u64::MAX)))
        {
            if first <= told_at {
                built.tombstones.push(id);
            }
        }
        built
    }

    /// Collected allocs that `node` may not know to be stopped.
    pub fn tombstones_of_node(&self, node: NodeId) -> impl Iterator<Item = (AllocId, Index)> {
        let range = (node, AllocId(0))..=(node, AllocId(u64::MAX));
        self.tombstones.range(range).map(|((_, id), &told_at)| (id, told_at))
    }

    fn assign(
        &self,
        alloc: &Allocation,
        built: &mut Assignment,
        specs: &mut BTreeMap<(JobId, u64, u16), u32>,
    ) {
        let key = (alloc.job, alloc.version, alloc.group);
        let spec = *specs.entry(key).or_insert_with(|| {
            let position = u32::try_from(built.specs.len());
            built.specs.push(Arc::new(self.alloc_spec(alloc)));
            position.expect("invariant: a node has fewer allocs than 32 bits count")
        });
        built.runs.push(AssignedAlloc {
            id: alloc.id,
            uuid: self.uuid(alloc.id.0),
            ordinal: alloc.ordinal,
            spec,
            ports: alloc.ports.clone(),
            is_deployed: alloc.deployment.is_some(),
            is_canary: alloc.canary,
            may_exceed_memory: alloc.may_exceed_memory,
            pieces: alloc.pieces.clone(),
        });
    }

    /// What a client must know of the job to run this alloc.
    fn alloc_spec(&self, alloc: &Allocation) -> AllocSpec {
        let job = self.job(alloc.job).expect("invariant: an alloc's job exists");
        let version = job.version(alloc.version);
        let spec = &version.expect("invariant: a version that an alloc points at is kept").spec;
        let group = spec.groups.get(usize::from(alloc.group));
        let group = group.expect("invariant: an alloc's group is in its version");
        let is_wanted = group.tasks.iter().any(|task| !task.payload_file.is_empty());
        let child = job.lineage.child.as_ref().filter(|_| is_wanted);
        AllocSpec {
            job_id: spec.id.clone(),
            job_name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            region: spec.region.clone(),
            kind: spec.kind,
            version: alloc.version,
            job_meta: spec.meta.clone(),
            group: group.clone(),
            payload: child.and_then(Child::payload).cloned().unwrap_or_default(),
        }
    }
}

/// What an alloc asks of its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Duty {
    Run,
    /// It must not run, and the node has not said that it does not.
    Stop,
    Nothing,
}

pub(crate) fn duty(alloc: &Allocation) -> Duty {
    match (alloc.desired, alloc.client_status) {
        (DesiredStatus::Run, ClientStatus::Pending | ClientStatus::Running) => Duty::Run,
        // Lost is what the servers believe of a silent node: its tasks may run on.
        (
            DesiredStatus::Stop,
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Lost,
        ) => Duty::Stop,
        (_, ClientStatus::Complete | ClientStatus::Failed)
        | (DesiredStatus::Run, ClientStatus::Lost) => Duty::Nothing,
    }
}
