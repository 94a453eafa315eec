//! ∀ alloc: its node has each volume that its version of the group asks for, and lends it to who writes if
//! the group may write.
//!
//! Invariants
//! - only worlds are judged in which no node's volumes change: they follow from its number.
use drover_core::state::State;
use drover_core::types::{Access, NodeSpec, VolumeAsk};

use super::Verdict;

/// Looks at every alloc.
pub fn check(state: &State) -> Verdict {
    for alloc in state.allocs() {
        let version = state.job(alloc.job).and_then(|job| job.version(alloc.version));
        let Some((node, version)) = state.node(alloc.node).zip(version) else { continue };
        let group = version.spec.groups.get(usize::from(alloc.group));
        for ask in group.into_iter().flat_map(|group| group.volumes.values()) {
            if !has(&node.spec, ask) {
                let (id, name) = (alloc.id, &node.spec.name);
                return Err(format!(
                    "{id:?} is on {name}, which has not what it asks for: {ask:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Whether the node has what is asked for.
pub(in crate::checkers) fn has(node: &NodeSpec, ask: &VolumeAsk) -> bool {
    let volume = node.host_volumes.get(&ask.source);
    volume.is_some_and(|volume| match (volume.access, ask.access) {
        (Access::ReadOnly, Access::ReadWrite) => false,
        (Access::ReadWrite, _) | (_, Access::ReadOnly) => true,
    })
}

#[cfg(test)]
mod tests {
    use drover_core::types::HostVolume;

    use super::*;

    #[test]
    fn what_is_only_to_be_read_is_not_for_who_writes() {
        let ask = |access| VolumeAsk { source: "data".into(), access };
        let volume = |access| [("data".to_owned(), HostVolume { path: "/srv".into(), access })];
        let node = |access| NodeSpec { host_volumes: volume(access).into(), ..NodeSpec::default() };
        for asked in [Access::ReadOnly, Access::ReadWrite] {
            assert!(!has(&NodeSpec::default(), &ask(asked)));
            assert!(has(&node(Access::ReadWrite), &ask(asked)));
        }
        assert!(has(&node(Access::ReadOnly), &ask(Access::ReadOnly)));
        assert!(!has(&node(Access::ReadOnly), &ask(Access::ReadWrite)));
    }
}
