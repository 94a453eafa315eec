//! What whoever registers a job should know, and what is no mistake.
//!
//! Invariants
//! - each line says what will not be as it is written, and what would change that.
use drover_core::state::State;
use drover_core::types::{CONSUL_VERSION, JobSpec};

use super::gate;

/// One line each; empty: nothing.
#[must_use]
pub fn warnings(state: &State, spec: &JobSpec) -> String {
    let mut lines = gate::warnings(state, spec);
    if !state.oversubscribes_memory(&spec.node_pool) {
        for group in &spec.groups {
            for task in group.tasks.iter().filter(|task| task.resources.memory_limit().is_some()) {
                lines.push(format!(
                    "memory_max of task {} in group {} has no effect while memory oversubscription is \
                     not enabled: drover operator scheduler set-config -memory-oversubscription=true",
                    task.name, group.name
                ));
            }
        }
    }
    let of_services = spec.groups.iter().filter(|group| group.has_services());
    let names: Vec<&str> = of_services.map(|group| group.name.as_str()).collect();
    if !names.is_empty() && !is_beside_consul(state, spec) {
        lines.push(format!(
            "services of {} stand in Consul's catalog, and no node of the pool {} has a Consul agent beside \
             it: set consul {{ address = \"127.0.0.1:8500\" }} in the configuration of clients",
            names.join(", "),
            spec.node_pool
        ));
    }
    lines.join("\n")
}

/// Whether a node that the job may run on has a Consul agent.
fn is_beside_consul(state: &State, spec: &JobSpec) -> bool {
    state.nodes().any(|node| {
        spec.node_pool.covers(&node.spec.pool) && node.spec.attributes.contains_key(CONSUL_VERSION)
    })
}
