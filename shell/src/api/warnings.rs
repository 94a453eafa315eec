//! What whoever registers a job should know, and what is no mistake.
//!
//! Invariants
//! - each line says what will not be as it is written, and what would change that.
use drover_core::state::State;
use drover_core::types::JobSpec;

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
    lines.join("\n")
}
