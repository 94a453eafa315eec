//! ∀ agent, queue q of it, time t: |q| at t ≤ bound(q); ∀ row that an entry writes: what it keeps of the
//! past ≤ its bound — core/limits.rs: full means `Overloaded` or forgotten, never growth.
//!
//! Invariants
//! - a queue is looked at after every step, a row when it was written.
use drover_core::agent::Agent;
use drover_core::limits::{NODE_EVENTS_MAX, RESCHEDULE_EVENTS_MAX, TASK_EVENTS_MAX};
use drover_core::state::{Change, State};

use super::Verdict;

/// Looks at everything that waits in an agent.
pub fn check(agent: &Agent) -> Verdict {
    let mut too_long = None;
    agent.each_queue(|queue| {
        if queue.length_max < queue.length {
            too_long = Some(queue);
        }
    });
    too_long.map_or(Ok(()), |queue| check_one(queue.name, queue.length, queue.length_max))
}

/// Looks at the row that an entry wrote.
pub fn check_row(state: &State, change: Change) -> Verdict {
    match change {
        Change::Node(id) => state.node(id).map_or(Ok(()), |node| {
            check_one("events of a node", node.events.len(), NODE_EVENTS_MAX)
        }),
        Change::Alloc(id) => state.alloc(id).map_or(Ok(()), |alloc| {
            check_one("reschedulings", alloc.reschedules.len(), RESCHEDULE_EVENTS_MAX)?;
            let events = alloc.tasks.values().map(|task| task.events.len()).max();
            check_one("events of a task", events.unwrap_or(0), TASK_EVENTS_MAX)
        }),
        Change::Job(_)
        | Change::Eval(_)
        | Change::Deployment(_)
        | Change::Assigned(_)
        | Change::Room(_)
        | Change::Pools
        | Change::Operator
        | Change::Restored => Ok(()),
    }
}

fn check_one(name: &str, length: usize, length_max: usize) -> Verdict {
    if length <= length_max {
        return Ok(());
    }
    Err(format!("{name}: {length}, and {length_max} at most may be kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_above_the_bound_and_not_at_it() {
        assert_eq!(check_one("orders", 15, 15), Ok(()));
        let fired = check_one("orders", 16, 15).expect_err("one too many");
        assert!(fired.contains("orders: 16, and 15 at most"), "{fired}");
    }
}
