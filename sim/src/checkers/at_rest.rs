//! After all faults have ended: ∃ one server that leads and that all follow; ∀ servers a, b: a's state =
//! b's state; voters = servers (⊇ where autopilot keeps those that failed); ∀ client c: c's node is ready; no request waits, no eval is open, no
//! deployment, no drain and no rebalance goes on, and what is wanted runs.
use std::collections::BTreeSet;

use drover_core::digest::Digest;
use drover_core::raft::Role;
use drover_core::state::State;
use drover_core::types::{Index, NodeId, NodeStatus, ServerId};

use super::{
    Checkers, Verdict, Violation, children, deployments_end, desired_is_running, drains_end,
    eval_is_settled, named, rebalances_end,
};
use crate::standing::Standing;

/// Answers who leads. `servers` are all there are by their names, and how those stand that are up.
///
/// # Errors
/// What is not right yet.
pub fn check_servers<'a>(
    servers: impl Iterator<Item = (&'a str, Option<Standing>)>,
) -> Result<Standing, Violation> {
    let fail = |checker, message| Err(Violation { checker, message });
    let (mut leaders, mut states) = (BTreeSet::new(), BTreeSet::<(Index, Digest)>::new());
    let (mut ids, mut leading) = (BTreeSet::new(), None::<Standing>);
    for (name, standing) in servers {
        let Some(standing) = standing else {
            return fail("one_leader", format!("{name} is down"));
        };
        leaders.insert(standing.leader);
        states.insert(standing.applied);
        ids.insert(standing.server);
        if standing.role == Role::Leader
            && leading.as_ref().is_none_or(|other| other.term < standing.term)
        {
            leading = Some(standing);
        }
    }
    let leader = leading.filter(|leader| leader.is_open && leaders.len() == 1);
    let Some(leader) = leader.filter(|leader| leaders.contains(&Some(leader.server))) else {
        return fail("one_leader", format!("servers follow {leaders:?}"));
    };
    if states.len() != 1 {
        return fail("states_equal", format!("servers have states {states:?}"));
    }
    let voters: BTreeSet<ServerId> = leader.configuration.voters.iter().copied().collect();
    // Operators may want whoever failed to count until they say that it does not.
    let least = usize::try_from(leader.autopilot.min_quorum).unwrap_or(usize::MAX);
    let may_keep = !leader.autopilot.cleanup_dead_servers || voters.len() <= least;
    let is_right = if may_keep { ids.is_subset(&voters) } else { ids == voters };
    if leader.configuration.is_joint() || !is_right {
        return fail("everyone_votes", format!("{ids:?} are there, {voters:?} vote"));
    }
    Ok(leader)
}

/// Agents that were told to go, and are there.
///
/// # Errors
/// There are some.
pub fn check_leaving<'a>(leaving: impl Iterator<Item = &'a str>) -> Result<(), Violation> {
    let names: Vec<&str> = leaving.collect();
    let told = (!names.is_empty()).then(|| format!("{} should have gone", names.join(", ")));
    named("leaves_end", told.map_or(Ok(()), Err))
}

/// Requests that wait.
///
/// # Errors
/// There are some.
pub fn check_waiting(waiting: usize) -> Result<(), Violation> {
    let told = (waiting != 0).then(|| format!("{waiting} requests are unanswered"));
    named("answered_once", told.map_or(Ok(()), Err))
}

/// The leader's tables. `clients` are all there are.
///
/// # Errors
/// What is not right yet.
pub fn check_tables<'a>(
    tables: &State,
    clients: impl Iterator<Item = (&'a str, NodeId)>,
    checkers: &Checkers,
) -> Result<(), Violation> {
    named("everyone_is_ready", check_nodes(tables, clients))?;
    named("eval_is_settled", eval_is_settled::check(tables))?;
    named("deployments_end", deployments_end::check(tables))?;
    named("drains_end", drains_end::check(tables))?;
    named("rebalances_end", rebalances_end::check(tables))?;
    named("children", children::check_late(tables))?;
    let live = checkers.alloc_runs_once.live().map(|key| key.alloc).collect();
    named("desired_is_running", desired_is_running::check(tables, &live))
}

/// Every client is there by now, and its node must be ready.
fn check_nodes<'a>(
    tables: &State,
    mut clients: impl Iterator<Item = (&'a str, NodeId)>,
) -> Verdict {
    clients.try_for_each(|(name, id)| {
        let status = tables.node(id).map(|node| node.status);
        if status == Some(NodeStatus::Ready) {
            return Ok(());
        }
        Err(format!("{name} is there, and its node's status is {status:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_when_somebody_who_should_have_gone_is_there() {
        assert_eq!(check_leaving(std::iter::empty()), Ok(()));
        let fired = check_leaving(["s1", "c2"].into_iter()).expect_err("two are there");
        assert_eq!((fired.checker, &*fired.message), ("leaves_end", "s1, c2 should have gone"));
    }
}
