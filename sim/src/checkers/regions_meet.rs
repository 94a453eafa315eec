//! After all faults have ended: ∀ server s, foreign server f that is up: s says that f is there, and
//! ∀ foreign server that s says is there: it is up.
//!
//! Invariants
//! - servers that are gone for good may be remembered, but not as there.
use std::collections::BTreeSet;

use drover_core::agent::Agent;
use drover_core::gossip::Status;
use drover_core::types::ServerId;

use super::Verdict;
use crate::host::Host;

/// A server of one region, and whom it says is there of others.
#[derive(Debug)]
pub struct Side {
    name: String,
    id: Option<ServerId>,
    sees: BTreeSet<ServerId>,
}

impl Side {
    /// What the host's agent says, if it is up.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        let foreigners = host.agent.as_deref().map(Agent::foreigners);
        let there =
            foreigners.into_iter().flatten().filter(|member| member.status == Status::Alive);
        Self {
            name: host.name.clone(),
            id: host.standing().map(|standing| standing.server),
            sees: there.map(|member| member.id).collect(),
        }
    }
}

/// Whether all of `here` see those of `there`, and nobody else.
///
/// # Errors
/// Who does not.
pub fn check(here: &[Side], there: &[Side]) -> Verdict {
    let up: BTreeSet<ServerId> = there.iter().filter_map(|side| side.id).collect();
    here.iter().try_for_each(|side| {
        if side.sees == up {
            return Ok(());
        }
        Err(format!("{} sees {:?} of the other region, and {up:?} are up", side.name, side.sees))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, id: u64, sees: &[u64]) -> Side {
        let sees = sees.iter().copied().map(ServerId).collect();
        Side { name: name.to_owned(), id: Some(ServerId(id)), sees }
    }

    #[test]
    fn it_fires_when_a_server_does_not_see_who_is_up() {
        let there = [side("f1", 11, &[]), side("f2", 12, &[])];
        assert_eq!(check(&[side("s1", 1, &[11, 12])], &there), Ok(()));
        assert!(check(&[side("s1", 1, &[11, 12]), side("s2", 2, &[11])], &there).is_err());
    }

    #[test]
    fn it_fires_when_a_server_sees_who_is_gone() {
        assert!(check(&[side("s1", 1, &[11, 12])], &[side("f1", 11, &[])]).is_err());
    }
}
