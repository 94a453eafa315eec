//! ∀ alloc: its node is of the pool that its version of the job names, or the job names all.
//!
//! Invariants
//! - only worlds are judged in which no node goes to another pool: a node's pool follows from its number.
use drover_core::state::State;

use super::Verdict;

/// Looks at every alloc.
pub fn check(state: &State) -> Verdict {
    for alloc in state.allocs() {
        let version = state.job(alloc.job).and_then(|job| job.version(alloc.version));
        let Some((node, version)) = state.node(alloc.node).zip(version) else { continue };
        let (is, wanted) = (&node.spec.pool, &version.spec.node_pool);
        if wanted.as_str() != "all" && wanted != is {
            let id = alloc.id;
            return Err(format!("{id:?} is on {}, of pool {is} and not {wanted}", node.spec.name));
        }
    }
    Ok(())
}
