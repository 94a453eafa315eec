//! Whether tables that came from outside can be believed: what follows from them is made without a
//! doubt, and a state that contradicts itself would end every server that applies it.
//!
//! Invariants
//! - tables that are sound are indexed, counted and looked up without a panic.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use super::State;
use crate::types::{
    Allocation, DeploymentGroup, DeploymentId, EvalStatus, Index, Job, Launch, Node, ORDINAL_BITS,
};

/// A rule that does not hold.
type Broken = Result<(), &'static str>;

fn holds(rule: bool, words: &'static str) -> Broken {
    rule.then_some(()).ok_or(words)
}

impl State {
    /// Jobs, evaluations and allocs, as whoever adopts them relies on them.
    pub(super) fn check_soundness(&self) -> Broken {
        self.check_pool_rows()?;
        self.check_node_rows()?;
        self.check_job_rows()?;
        self.check_alloc_rows()?;
        self.check_deployment_rows()?;
        self.check_eval_rows()
    }

    fn check_pool_rows(&self) -> Broken {
        for (name, pool) in self.pools.iter() {
            holds(name == pool.spec.name, "a row's key is its name")?;
            holds(!name.is_built_in(), "what is built in has no row")?;
            holds(name.check().is_ok(), "a pool has a name")?;
            self.check_moments(pool.create_index, pool.modify_index)?;
        }
        Ok(())
    }

    fn check_node_rows(&self) -> Broken {
        let pools = self.nodes.iter().map(|(_, row)| &row.node.spec.pool);
        let mut pools = pools.map(|pool| self.has_pool(pool) && !pool.is_all());
        holds(pools.all(|exists| exists), "a node's pool exists")?;
        let contradicts = |node: &Node| node.drain.is_some() && node.eligible;
        let mut nodes = self.nodes.iter();
        holds(!nodes.any(|(_, row)| contradicts(&row.node)), "a node that drains is not eligible")
    }

    fn check_job_rows(&self) -> Broken {
        holds(self.jobs.len() < 1 << ORDINAL_BITS, "one entry can evaluate every job")?;
        let mut names = BTreeSet::new();
        for (id, row) in self.jobs.iter() {
            let job = &row.job;
            holds(id == job.id, "a row's key is its id")?;
            let newest = job.versions.last().ok_or("a job has a version")?;
            let grows = job.versions.is_sorted_by(|older, newer| older.version < newer.version);
            holds(grows, "versions grow")?;
            holds(job.stopped || !job.purged, "a purged job is stopped")?;
            let has_pool = self.has_pool(&newest.spec.node_pool);
            holds(job.stopped || has_pool, "the pool of a job that may run exists")?;
            let is_periodic = matches!(newest.spec.launch, Launch::Periodic(_));
            let waits = job.lineage.next_launch.is_some();
            holds(is_periodic || !waits, "only a periodic job has a next launch")?;
            holds(!waits || !job.stopped, "a stopped job launches nothing")?;
            holds(job.spec_index <= job.modify_index, "a change of the spec is a change")?;
            let name = (newest.spec.namespace.as_str(), newest.spec.id.as_str());
            holds(job.purged || names.insert(name), "a name belongs to one job")?;
            self.check_row(id.0, job.create_index, job.modify_index)?;
        }
        Ok(())
    }

    fn check_alloc_rows(&self) -> Broken {
        for (id, alloc) in self.allocs.iter() {
            holds(id == alloc.id, "a row's key is its id")?;
            let job = self.job(alloc.job).ok_or("an alloc's job exists")?;
            holds(has_group(job, alloc), "an alloc's version and group exist")?;
            holds(alloc.next != Some(id), "an alloc does not replace itself")?;
            holds(alloc.assign_index <= alloc.modify_index, "a new duty is a change")?;
            self.check_row(id.0, alloc.create_index, alloc.modify_index)?;
        }
        Ok(())
    }

    fn check_deployment_rows(&self) -> Broken {
        let (mut active, mut versions) = (BTreeSet::new(), BTreeSet::new());
        let counts = self.healthy_by_deployment();
        for (id, deployment) in self.deployments.iter() {
            holds(id == deployment.id, "a row's key is its id")?;
            let job = self.job(deployment.job).ok_or("a deployment's job exists")?;
            let newest = job.newest().version;
            let is_first = versions.insert((job.id, deployment.version));
            holds(is_first, "a version has at most one deployment")?;
            if deployment.status.is_active() {
                holds(active.insert(job.id), "a job has at most one active deployment")?;
                let is_meant = deployment.version == newest && !job.stopped;
                holds(is_meant, "an active deployment is of the version that is wanted")?;
                let counted = |(name, group): (&String, &DeploymentGroup)| {
                    counts.get(&(id, name.as_str())).copied().unwrap_or(0) == group.healthy
                };
                let is_counted = deployment.groups.iter().all(counted);
                holds(is_counted, "an active deployment counts its healthy allocs")?;
            }
            self.check_row(id.0, deployment.create_index, deployment.modify_index)?;
        }
        Ok(())
    }

    /// By deployment and group, how many allocs are healthy now. One walk over all allocs.
    pub(super) fn healthy_by_deployment(&self) -> BTreeMap<(DeploymentId, &str), u32> {
        let mut counts = BTreeMap::new();
        for (_, alloc) in self.allocs.iter().filter(|(_, alloc)| alloc.is_healthy()) {
            if let Some((id, name)) = alloc.deployment.zip(self.group_name(alloc)) {
                *counts.entry((id, name)).or_default() += 1;
            }
        }
        counts
    }

    /// What the alloc's group is called.
    #[must_use]
    pub fn group_name(&self, alloc: &Allocation) -> Option<&str> {
        let version = self.job(alloc.job)?.version(alloc.version)?;
        Some(&version.spec.groups.get(usize::from(alloc.group))?.name)
    }

    fn check_eval_rows(&self) -> Broken {
        let mut blocked = BTreeSet::new();
        for (id, eval) in self.evals.iter() {
            holds(id == eval.id, "a row's key is its id")?;
            holds(self.jobs.has(eval.job), "an evaluation's job exists")?;
            let is_first = eval.status != EvalStatus::Blocked || blocked.insert(eval.job);
            holds(is_first, "a job has at most one blocked evaluation")?;
            self.check_row(id.0, eval.create_index, eval.modify_index)?;
        }
        Ok(())
    }

    fn check_moments(&self, created: Index, modified: Index) -> Broken {
        holds(created <= modified, "a row is made before it is changed")?;
        holds(modified <= self.index(), "a row was last changed by an applied entry")
    }

    fn check_row(&self, id: u64, created: Index, modified: Index) -> Broken {
        self.check_moments(created, modified)?;
        holds(id >> ORDINAL_BITS <= self.index().0, "an id was given out by an applied entry")
    }
}

fn has_group(job: &Job, alloc: &Allocation) -> bool {
    let version = job.version(alloc.version);
    version.is_some_and(|version| usize::from(alloc.group) < version.spec.groups.len())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use alloc::sync::Arc;
    use alloc::vec;

    use super::*;
    use crate::state::{JobRow, Saved, SnapshotFault};
    use crate::time::WallTime;
    use crate::types::{JobId, JobKind, JobSpec, JobVersion, Lineage, PoolName, object_id};

    fn job(id: JobId, name: &str) -> JobRow {
        let spec = JobSpec {
            id: name.to_string(),
            name: name.to_string(),
            namespace: "default".to_string(),
            region: String::new(),
            kind: JobKind::Batch,
            priority: 50,
            datacenters: vec![],
            constraints: vec![],
            groups: vec![].into(),
            meta: BTreeMap::new(),
            launch: Launch::AtOnce,
            affinities: vec![],
            spreads: vec![],
            node_pool: PoolName::default(),
            after: vec![],
        };
        let (index, submitted_at) = (Index(1), WallTime::default());
        let version = JobVersion {
            version: 0,
            spec: Arc::new(spec),
            submitted_at,
            stable: false,
            create_index: index,
        };
        let job = Job {
            id,
            versions: vec![version],
            stopped: false,
            purged: false,
            create_index: index,
            modify_index: index,
            spec_index: index,
            lineage: Lineage::default(),
        };
        JobRow { job, modify_time: WallTime::default() }
    }

    /// What is said of a state at index 1 with two jobs, after `spoil` has had the second.
    fn judged(spoil: impl FnOnce(&mut JobId, &mut Job)) -> Option<&'static str> {
        let mut state = State::new();
        state.pass(Index(1));
        let (first, mut second) = (JobId(object_id(Index(1), 0)), JobId(object_id(Index(1), 1)));
        state.jobs.put(first, job(first, "a"));
        let mut row = job(second, "b");
        spoil(&mut second, &mut row.job);
        state.jobs.put(second, row);
        match Saved::read(&state.encode()) {
            Ok(_) => None,
            Err(SnapshotFault::Contradiction { rule }) => Some(rule),
            Err(other) => panic!("its sums are right: {other:?}"),
        }
    }

    /// Sums speak of damage, not of who made them: such bytes must not end a server.
    #[test]
    fn a_state_that_contradicts_itself_is_not_believed() {
        assert_eq!(judged(|_, _| ()), None);
        let found = judged(|_, job| job.versions.clear());
        assert_eq!(found, Some("a job has a version"));
        let found = judged(|key, _| *key = JobId(7));
        assert_eq!(found, Some("a row's key is its id"));
        let found = judged(|_, row| row.versions = job(row.id, "a").job.versions);
        assert_eq!(found, Some("a name belongs to one job"));
        let found = judged(|_, job| job.purged = true);
        assert_eq!(found, Some("a purged job is stopped"));
        let found = judged(|_, job| job.modify_index = Index(2));
        assert_eq!(found, Some("a row was last changed by an applied entry"));
        let found = judged(|key, job| {
            *key = JobId(object_id(Index(2), 0));
            job.id = *key;
        });
        assert_eq!(found, Some("an id was given out by an applied entry"));
    }
}
