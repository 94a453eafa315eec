//! Who should vote: servers that join become voters, one after the other, and take the places of those
//! that failed.
//!
//! ```text
//!   new ── alive ──▶ learner ── proven ──▶ voter ── failed, and a learner waits ──▶ gone
//!                                                ── left ─────────────────────────▶
//! ```
//!
//! A pure function of what the leader sees. A failed voter goes only when somebody takes its place, or
//! has taken it: what a cluster can bear never shrinks below what it was founded with, and a server
//! that is away for a while comes back as the voter it was. Whoever was promoted before the failure of
//! the one it replaces was noticed leaves one voter too many; that one goes as soon as it is noticed.
//! Whoever left goes at once, and is new when it starts again. Operators may keep those that failed
//! (`Rules`).
//!
//! Invariants
//! - one server is promoted at a time, and only one that holds the log and has been healthy for a while;
//! - of its own accord the leader never leaves fewer voters than before, or than the cluster was
//!   founded with, but for those who left; an operator may, and removes nobody who lives;
//! - whoever is leaving is not taken in.
//!
//! It does not know Raft: the change is made there, or refused and tried again.
use alloc::vec::Vec;

use crate::limits::SERVERS_MAX;
use crate::types::ServerId;

/// Whether a server answers, and will.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    Alive,
    /// It answers, and is about to go.
    Leaving,
    Failed,
    /// It has gone because somebody wanted that.
    Left,
}

/// Whether a server may vote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trial {
    Open,
    /// It holds what was committed, and has been healthy for as long as operators want.
    Passed,
}

/// What operators want.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Fewer voters are never left, but for those who left.
    pub voters_min: usize,
    /// Voters that have failed go when others take their place.
    pub cleans_up: bool,
}

/// A server of the region, as the leader sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    pub id: ServerId,
    pub life: Life,
    pub trial: Trial,
}

/// Voters and learners, each sorted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roster {
    pub voters: Vec<ServerId>,
    pub learners: Vec<ServerId>,
}

/// The roster that should follow `now`, if another should.
#[must_use]
pub fn next(now: &Roster, candidates: &[Candidate], rules: Rules) -> Option<Roster> {
    let found = |id: ServerId| candidates.iter().find(|candidate| candidate.id == id);
    let has_failed =
        |id: ServerId| found(id).is_some_and(|one| matches!(one.life, Life::Failed | Life::Left));
    let is_ready = |id: ServerId| {
        found(id).is_some_and(|one| one.life == Life::Alive && one.trial == Trial::Passed)
    };
    let may_go = |id: ServerId| {
        found(id).is_some_and(|one| {
            one.life == Life::Left || one.life == Life::Failed && rules.cleans_up
        })
    };
    let mut next = now.clone();
    next.learners.retain(|&id| !has_failed(id));
    let ready = next.learners.iter().copied().find(|&id| is_ready(id));
    if let Some(ready) = ready {
        let replaced = next.voters.iter().position(|&id| may_go(id));
        replaced.map(|at| next.voters.remove(at));
        next.learners.retain(|&id| id != ready);
        next.voters.push(ready);
    } else if let Some(surplus) = next.voters.iter().position(|&id| may_go(id))
        && rules.voters_min < next.voters.len()
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
        rules.voters_min.min(now.voters.len()) <= next.voters.len(),
        "of its own accord the leader never leaves fewer voters than before, or than it was founded with"
    );
    (next != *now).then_some(next)
}

/// Whether `gone` may be removed, because its operator says that it is gone for good.
///
/// Whoever lives is taken in again at the next look at the roster, so it cannot be removed: it must be
/// stopped first. A removed server that comes back is a new one to the others, and learns again.
///
/// # Errors
/// Why it stays, and what to do.
pub fn may_remove(now: &Roster, gone: ServerId, life: Life) -> Result<(), &'static str> {
    if now.voters == [gone] {
        return Err("it is the only voter: without it nobody could decide anything");
    }
    match life {
        Life::Alive | Life::Leaving => {
            Err("it is alive and would be taken in again at once: stop its agent, and ask \
             again when it is listed as failed")
        }
        Life::Failed | Life::Left => Ok(()),
    }
}

/// The roster without `leaver`, which goes or has gone. Those who answer must be a majority of those who
/// count then: whoever has failed goes with it where it would be in the way.
///
/// `None`: it is the only voter, or somebody who is needed does not answer, and has not failed either.
/// Without the leaver nobody could decide, maybe for ever; with it they can once it is back.
#[must_use]
pub fn after_departure(
    now: &Roster,
    leaver: ServerId,
    answers: impl Fn(ServerId) -> bool,
    has_failed: impl Fn(ServerId) -> bool,
) -> Option<Roster> {
    let mut next = now.clone();
    next.voters.retain(|&id| id != leaver);
    next.learners.retain(|&id| id != leaver);
    loop {
        let answering = next.voters.iter().filter(|&&id| answers(id)).count();
        if next.voters.len() < 2 * answering || planted!(LeaverLetGoBlindly) {
            return Some(next);
        }
        let in_the_way = next.voters.iter().position(|&id| has_failed(id) && !answers(id))?;
        next.voters.remove(in_the_way);
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

    fn candidate(id: u64, life: Life, trial: Trial) -> Candidate {
        Candidate { id: ServerId(id), life, trial }
    }

    /// What operators want who have said nothing, of a cluster founded with so many.
    const fn founded(voters_min: usize) -> Rules {
        Rules { voters_min, cleans_up: true }
    }

    #[test]
    fn who_joins_learns_first_and_votes_when_it_holds_the_log() {
        let now = roster(&[1, 2, 3], &[]);
        let joined = [candidate(4, Life::Alive, Trial::Open)];
        assert_eq!(next(&now, &joined, founded(3)), Some(roster(&[1, 2, 3], &[4])));
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(next(&now, &joined, founded(3)), None);
        let ready = [candidate(4, Life::Alive, Trial::Passed)];
        assert_eq!(next(&now, &ready, founded(3)), Some(roster(&[1, 2, 3, 4], &[])));
    }

    #[test]
    fn a_failed_voter_stays_until_somebody_takes_its_place() {
        let failed = candidate(2, Life::Failed, Trial::Open);
        assert_eq!(next(&roster(&[1, 2, 3], &[]), &[failed], founded(3)), None);
        let candidates = [failed, candidate(4, Life::Alive, Trial::Passed)];
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(next(&now, &candidates, founded(3)), Some(roster(&[1, 3, 4], &[])));
    }

    #[test]
    fn a_voter_too_many_goes_once_it_has_failed() {
        let failed = [candidate(2, Life::Failed, Trial::Open)];
        let now = roster(&[1, 2, 3, 4], &[]);
        assert_eq!(next(&now, &failed, founded(3)), Some(roster(&[1, 3, 4], &[])));
        assert_eq!(next(&now, &[], founded(3)), None, "whoever lives stays");
        assert_eq!(next(&now, &failed, founded(5)), None, "five were wanted");
    }

    #[test]
    fn a_learner_that_fails_is_let_go_and_a_full_cluster_takes_nobody() {
        let failed = [candidate(4, Life::Failed, Trial::Open)];
        assert_eq!(next(&roster(&[1], &[4]), &failed, founded(3)), Some(roster(&[1], &[])));
        let many: Vec<u64> = (1..=SERVERS_MAX as u64).collect();
        let more = [candidate(99, Life::Alive, Trial::Open)];
        assert_eq!(next(&roster(&many, &[]), &more, founded(3)), None);
    }

    #[test]
    fn whoever_failed_stays_where_operators_want_that() {
        let keeps = Rules { voters_min: 3, cleans_up: false };
        let candidates =
            [candidate(2, Life::Failed, Trial::Open), candidate(4, Life::Alive, Trial::Passed)];
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(next(&now, &candidates, keeps), Some(roster(&[1, 2, 3, 4], &[])));
        assert_eq!(next(&roster(&[1, 2, 3, 4], &[]), &candidates[..1], keeps), None);
        let left = [candidate(2, Life::Left, Trial::Open)];
        let then = Some(roster(&[1, 3, 4], &[]));
        assert_eq!(next(&roster(&[1, 2, 3, 4], &[]), &left, keeps), then, "it did not fail");
    }

    #[test]
    fn who_left_or_is_leaving_is_not_taken_in() {
        let left = [candidate(2, Life::Left, Trial::Open)];
        assert_eq!(next(&roster(&[1, 3], &[2]), &left, founded(3)), Some(roster(&[1, 3], &[])));
        assert_eq!(
            next(&roster(&[1, 3], &[]), &left, founded(3)),
            None,
            "it is not taken in again"
        );
        let leaving = [candidate(2, Life::Leaving, Trial::Passed)];
        assert_eq!(next(&roster(&[1, 3], &[]), &leaving, founded(3)), None);
        assert_eq!(next(&roster(&[1, 3], &[2]), &leaving, founded(3)), None, "nor made a voter");
        assert_eq!(
            next(&roster(&[1, 2, 3], &[]), &leaving, founded(3)),
            None,
            "it asks when it goes"
        );
    }

    #[test]
    fn those_who_stay_can_decide() {
        let leaves = |voters: &[u64], silent: &[u64], failed: &[u64]| {
            let (silent, failed) = (ids(silent), ids(failed));
            let answers = |id: ServerId| !silent.contains(&id);
            after_departure(&roster(voters, &[9]), ServerId(1), answers, |id| failed.contains(&id))
        };
        assert_eq!(leaves(&[1, 2, 3], &[], &[]), Some(roster(&[2, 3], &[9])));
        assert_eq!(leaves(&[1, 2], &[], &[]), Some(roster(&[2], &[9])));
        assert_eq!(
            leaves(&[1], &[], &[]),
            None,
            "a leader that does not count any more waits for its heir"
        );
        assert_eq!(leaves(&[1, 2, 3], &[3], &[]), None, "with two, both must answer");
        assert_eq!(leaves(&[1, 2, 3], &[3], &[3]), Some(roster(&[2], &[9])));
        assert_eq!(leaves(&[1, 2, 3], &[], &[3]), Some(roster(&[2, 3], &[9])), "it answers again");
        let five = [1, 2, 3, 4, 5];
        assert_eq!(leaves(&five, &[5], &[5]), Some(roster(&[2, 3, 4, 5], &[9])), "three decide");
        assert_eq!(leaves(&five, &[4, 5], &[4, 5]), Some(roster(&[2, 3, 5], &[9])));
    }

    #[test]
    fn an_operator_removes_who_has_failed_and_nobody_else() {
        let now = roster(&[1, 2, 3], &[4]);
        assert_eq!(may_remove(&now, ServerId(2), Life::Failed), Ok(()));
        assert_eq!(may_remove(&now, ServerId(4), Life::Failed), Ok(()));
        let refused = may_remove(&now, ServerId(2), Life::Alive).expect_err("it lives");
        assert!(refused.contains("stop its agent"), "{refused}");
        let alone = roster(&[1], &[4]);
        let refused = may_remove(&alone, ServerId(1), Life::Failed).expect_err("alone");
        assert!(refused.contains("only voter"), "{refused}");
    }
}
