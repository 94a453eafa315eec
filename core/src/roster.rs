//! Who should vote: servers that join become voters, one after the other, and take the places of those
//! that failed.
//!
//! ```text
//!   new ── alive ──▶ learner ── holds the log ──▶ voter ── failed, and a learner waits ──▶ gone
//! ```
//!
//! A pure function of what the leader sees. A failed voter goes only when somebody takes its place, or
//! has taken it: what a cluster can bear never shrinks below what it was founded with, and a server
//! that is away for a while comes back as the voter it was. Whoever was promoted before the failure of
//! the one it replaces was noticed leaves one voter too many; that one goes as soon as it is noticed.
//!
//! Invariants
//! - one server is promoted at a time, and only one that holds the log;
//! - of its own accord the leader never leaves fewer voters than before, or than the cluster was
//!   founded with; an operator may, and removes nobody who lives.
//!
//! It does not know Raft: the change is made there, or refused and tried again.
use alloc::vec::Vec;

use crate::limits::SERVERS_MAX;
use crate::types::ServerId;

/// Whether a server answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    Alive,
    Failed,
}

/// Whether a server holds what was committed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Log {
    Behind,
    Whole,
}

/// A server of the region, as the leader sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    pub id: ServerId,
    pub life: Life,
    pub log: Log,
}

/// Voters and learners, each sorted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roster {
    pub voters: Vec<ServerId>,
    pub learners: Vec<ServerId>,
}

/// The roster that should follow `now`, if another should, in a cluster founded with `founded` voters.
#[must_use]
pub fn next(now: &Roster, candidates: &[Candidate], founded: usize) -> Option<Roster> {
    let found = |id: ServerId| candidates.iter().find(|candidate| candidate.id == id);
    let has_failed = |id: ServerId| found(id).is_some_and(|one| one.life == Life::Failed);
    let is_ready = |id: ServerId| found(id).is_some_and(|one| one.log == Log::Whole);
    let mut next = now.clone();
    next.learners.retain(|&id| !has_failed(id));
    let ready = next.learners.iter().copied().find(|&id| is_ready(id));
    if let Some(ready) = ready {
        let replaced = next.voters.iter().position(|&id| has_failed(id));
        replaced.map(|at| next.voters.remove(at));
        next.learners.retain(|&id| id != ready);
        next.voters.push(ready);
    } else if let Some(surplus) = next.voters.iter().position(|&id| has_failed(id))
        && founded < next.voters.len()
    {
        next.voters.remove(surplus);
    } else {
        let is_known = |id: ServerId| now.voters.contains(&id) || now.learners.contains(&id);
        let joins = |one: &&Candidate| one.life == Life::Alive && !is_known(one.id);
        let room = SERVERS_MAX.saturating_sub(next.voters.len() + next.learners.len());
        let new = candidates.iter().filter(joins).map(|candidate| candidate.id);
        next.learners.extend(new.take(room));
    }
    next.voters.sort_unstable();
    next.learners.sort_unstable();
    assert!(
        founded.min(now.voters.len()) <= next.voters.len(),
        "of its own accord the leader never leaves fewer voters than before, or than it was founded with"
    );
    (next != *now).then_some(next)
}

/// The roster without `gone`, because its operator says that it is gone for good.
///
/// Whoever lives is taken in again at the next look at the roster, so it cannot be removed: it must be
/// stopped first. A removed server that comes back is a new one to the others, and learns again.
///
/// # Errors
/// Why it stays, and what to do.
pub fn without(now: &Roster, gone: ServerId, life: Life) -> Result<Roster, &'static str> {
    if now.voters == [gone] {
        return Err("it is the only voter: without it nobody could decide anything");
    }
    match life {
        Life::Alive => {
            Err("it is alive and would be taken in again at once: stop its agent, and ask \
             again when it is listed as failed")
        }
        Life::Failed => {
            let mut next = now.clone();
            next.voters.retain(|&id| id != gone);
            next.learners.retain(|&id| id != gone);
            assert!(!next.voters.is_empty(), "a cluster has at least one voter");
            Ok(next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> Vec<ServerId> {
        numbers.iter().copied().map(ServerId).collect()
    }

    fn roster(voters: &[u64], learners: &[u64]) -> Roster {
        Roster { voters: ids(voters), learners: ids(learners) }
    }

    fn candidate(id: u64, life: Life, log: Log) -> Candidate {
        Candidate { id: ServerId(id), life, log }
    }

    #[test]
    fn who_joins_learns_first_and_votes_when_it_holds_the_log() {
        let now = roster(&[1, 2, 3], &[]);
        let joined = [candidate(4, Life::Alive, Log::Behind)];
        assert_eq!(next(&now, &joined, 3), Some(roster(&[1, 2, 3], &[4])));
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(next(&now, &joined, 3), None);
        let ready = [candidate(4, Life::Alive, Log::Whole)];
        assert_eq!(next(&now, &ready, 3), Some(roster(&[1, 2, 3, 4], &[])));
    }

    #[test]
    fn a_failed_voter_stays_until_somebody_takes_its_place() {
        let failed = candidate(2, Life::Failed, Log::Behind);
        assert_eq!(next(&roster(&[1, 2, 3], &[]), &[failed], 3), None);
        let candidates = [failed, candidate(4, Life::Alive, Log::Whole)];
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(next(&now, &candidates, 3), Some(roster(&[1, 3, 4], &[])));
    }

    #[test]
    fn a_voter_too_many_goes_once_it_has_failed() {
        let failed = [candidate(2, Life::Failed, Log::Behind)];
        let now = roster(&[1, 2, 3, 4], &[]);
        assert_eq!(next(&now, &failed, 3), Some(roster(&[1, 3, 4], &[])));
        assert_eq!(next(&now, &[], 3), None, "whoever lives stays");
        assert_eq!(next(&now, &failed, 5), None, "five were wanted");
    }

    #[test]
    fn a_learner_that_fails_is_let_go_and_a_full_cluster_takes_nobody() {
        let failed = [candidate(4, Life::Failed, Log::Behind)];
        assert_eq!(next(&roster(&[1], &[4]), &failed, 3), Some(roster(&[1], &[])));
        let many: Vec<u64> = (1..=SERVERS_MAX as u64).collect();
        let more = [candidate(99, Life::Alive, Log::Behind)];
        assert_eq!(next(&roster(&many, &[]), &more, 3), None);
    }

    #[test]
    fn an_operator_removes_who_has_failed_and_nobody_else() {
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(without(&now, ServerId(2), Life::Failed), Ok(roster(&[1, 3], &[4])));
        assert_eq!(without(&now, ServerId(4), Life::Failed), Ok(roster(&[1, 2, 3], &[])));
        let refused = without(&now, ServerId(2), Life::Alive).expect_err("it lives");
        assert!(refused.contains("stop its agent"), "{refused}");
        let refused = without(&roster(&[1], &[4]), ServerId(1), Life::Failed).expect_err("alone");
        assert!(refused.contains("only voter"), "{refused}");
    }
}
