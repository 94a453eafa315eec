//! Everything about a state that can be recomputed, recomputed and compared.
//!
//! Invariants
//! - those of `State`, one function each.
use super::State;
use super::fleet::Fleet;
use super::indexes::Indexes;
use super::txn::holds_room;
use crate::types::Index;

impl State {
    /// Recompute what is derived, and look at what rows say of each other. O(everything).
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        self.check_digest();
        self.check_indexes();
        self.check_fleet();
        self.check_jobs();
        self.check_allocs();
        self.check_evals();
        self.check_sessions();
        self.check_upload();
    }

    fn check_digest(&self) {
        let why = "a table's digest is the sum of its rows' hashes";
        assert!(self.sessions.digest() == self.sessions.digest_recomputed(), "{why}");
        assert!(self.remembered.digest() == self.remembered.digest_recomputed(), "{why}");
        assert!(self.nodes.digest() == self.nodes.digest_recomputed(), "{why}");
        assert!(self.jobs.digest() == self.jobs.digest_recomputed(), "{why}");
        assert!(self.evals.digest() == self.evals.digest_recomputed(), "{why}");
        assert!(self.allocs.digest() == self.allocs.digest_recomputed(), "{why}");
        assert!(self.tombstones.digest() == self.tombstones.digest_recomputed(), "{why}");
        assert!(self.upload.digest() == self.upload.digest_recomputed(), "{why}");
    }

    fn check_indexes(&self) {
        assert!(self.by == Indexes::of(self), "indexes are what the tables make them");
    }

    fn check_fleet(&self) {
        self.fleet.check_invariants();
        let mut fleet = Fleet::default();
        for (id, row) in self.nodes.iter() {
            assert!(id == row.node.spec.id, "a row's key is its id");
            assert!(self.fleet.slot_of(id) == Some(row.slot), "a node's row names its slot");
            fleet.put_node_at(&row.node, row.slot);
        }
        for alloc in self.allocs().filter(|alloc| holds_room(alloc)) {
            assert!(self.nodes.has(alloc.node), "an alloc that holds room has its node");
            fleet.hold(alloc.node, alloc.capacity, &alloc.ports);
        }
        assert!(self.fleet == fleet, "usage is the sum of what allocs hold");
    }

    fn check_jobs(&self) {
        for (id, row) in self.jobs.iter() {
            let job = &row.job;
            assert!(id == job.id, "a row's key is its id");
            assert!(!job.versions.is_empty(), "a job has a version");
            let grows = job.versions.is_sorted_by(|older, newer| older.version < newer.version);
            assert!(grows, "versions grow");
            assert!(job.stopped || !job.purged, "a purged job is stopped");
            self.check_indexes_of_row(job.create_index, job.modify_index);
            assert!(job.spec_index <= job.modify_index, "a change of the spec is a change");
        }
    }

    fn check_allocs(&self) {
        for (id, alloc) in self.allocs.iter() {
            assert!(id == alloc.id, "a row's key is its id");
            let job = self.job(alloc.job).expect("invariant: an alloc's job exists");
            let version = job.version(alloc.version).map(|version| &version.spec);
            let spec = version.expect("invariant: a version that an alloc points at is kept");
            assert!(usize::from(alloc.group) < spec.groups.len(), "an alloc's group exists");
            assert!(alloc.next != Some(id), "an alloc does not replace itself");
            self.check_indexes_of_row(alloc.create_index, alloc.modify_index);
            assert!(alloc.assign_index <= alloc.modify_index, "a new duty is a change");
        }
        for ((node, alloc), told_at) in self.tombstones.iter() {
            let row = self.nodes.row(node).expect("invariant: a tombstone is for a known node");
            assert!(row.acknowledged < *told_at, "a tombstone goes when its node has heard it");
            assert!(!self.allocs.has(alloc), "a tombstone stands for a collected alloc");
        }
    }

    fn check_evals(&self) {
        for (id, eval) in self.evals.iter() {
            assert!(id == eval.id, "a row's key is its id");
            assert!(self.jobs.has(eval.job), "an evaluation's job exists");
            self.check_indexes_of_row(eval.create_index, eval.modify_index);
        }
    }

    fn check_indexes_of_row(&self, created: Index, modified: Index) {
        assert!(created <= modified, "a row is made before it is changed");
        assert!(modified <= self.index(), "a row was last changed by an applied entry");
    }
}
