//! The JSON types of the HTTP API, apart from the domain's: the shapes of Nomad's v1.
//!
//! Invariants
//! - nothing in the core knows these shapes; they are converted at the edge;
//! - a key that Nomad's clients look for is there, null where Drover has nothing to say.
pub mod agent;
pub mod alloc;
pub mod autopilot;
pub mod deployment;
pub mod devices;
pub mod eval;
pub mod explain;
pub mod gate;
pub mod job;
pub mod jobs;
pub mod misc;
pub mod node;
pub mod pool;
pub mod raft;
pub mod rebalance;
pub mod resources;
pub mod scheduler;
pub mod task;
pub mod time;
pub mod warnings;
pub mod what_if;

/// A key that is always null: something that Drover does not have.
pub type Absent = ();

/// `map`, or null where it is empty.
fn some<K: Ord + Clone, V: Clone>(
    map: &std::collections::BTreeMap<K, V>,
) -> Option<std::collections::BTreeMap<K, V>> {
    (!map.is_empty()).then(|| map.clone())
}
