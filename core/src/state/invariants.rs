//! Everything about a state that can be recomputed, recomputed and compared.
//!
//! Invariants
//! - those of `State`, one function each.
use super::State;
use super::fleet::Fleet;
use super::indexes::Indexes;

impl State {
    /// Recompute what is derived, and look at what rows say of each other. O(everything).
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        self.check_digest();
        self.check_indexes();
        self.check_fleet();
        self.check_rows();
        self.check_tombstones();
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
        assert!(self.deployments.digest() == self.deployments.digest_recomputed(), "{why}");
        assert!(self.pools.digest() == self.pools.digest_recomputed(), "{why}");
        assert!(self.tombstones.digest() == self.tombstones.digest_recomputed(), "{why}");
        assert!(self.upload.digest() == self.upload.digest_recomputed(), "{why}");
    }

    fn check_indexes(&self) {
        assert!(self.by == Indexes::of(self), "indexes are what the tables make them");
    }

    fn check_fleet(&self) {
        self.fleet.check_invariants();
        for (id, row) in self.nodes.iter() {
            assert!(id == row.node.spec.id, "a row's key is its id");
            assert!(self.fleet.slot_of(id) == Some(row.slot), "a node's row names its slot");
        }
        assert!(self.fleet == Fleet::of(self), "usage is the sum of what allocs hold");
    }

    fn check_rows(&self) {
        if let Err(rule) = self.check_soundness() {
            panic!("{rule}");
        }
    }

    fn check_tombstones(&self) {
        for ((node, alloc), told_at) in self.tombstones.iter() {
            let row = self.nodes.row(node).expect("invariant: a tombstone is for a known node");
            assert!(row.acknowledged < *told_at, "a tombstone goes when its node has heard it");
            assert!(!self.allocs.has(alloc), "a tombstone stands for a collected alloc");
        }
    }
}
