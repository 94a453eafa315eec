//! Properties that can be judged from one agent alone.
//!
//! Those of the simulator that compare agents with each other are not here.
//!
//! Invariants
//! - a check only looks.
use std::panic::{AssertUnwindSafe, catch_unwind};

use drover_core::agent::Agent;
use drover_core::raft::Role;
use drover_core::state::Saved;
use drover_core::types::{ServerId, Term};

use super::tape::words_of;
use crate::checkers::{
    Verdict, eval_is_settled, leader_commits_own_term, node_not_oversubscribed, queues_are_bounded,
    terms_and_indexes_grow,
};

/// A property, and when it is judged.
pub struct Check<'c> {
    pub name: &'c str,
    pub rule: Rule<'c>,
}

/// When a property is judged.
pub enum Rule<'c> {
    /// After any input, whatever came before.
    Always(Box<dyn Fn(&Agent) -> Verdict + 'c>),
    /// After every input, by what came before.
    Along(Box<dyn FnMut(&Agent) -> Verdict + 'c>),
    /// At the end of the log; until then it may fail and hold again.
    AtEnd(Box<dyn Fn(&Agent) -> Verdict + 'c>),
}

/// A check that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    pub statement: &'static str,
    make: fn() -> Rule<'static>,
}

/// All that there are.
pub const ALL: [Known; 7] = [
    Known {
        name: "invariants",
        statement: "what every machine of the agent says of itself (Agent::check_invariants)",
        make: || Rule::Always(Box::new(invariants)),
    },
    Known {
        name: "soundness",
        statement: "the tables do not contradict themselves: they could be saved and restored",
        make: || Rule::Always(Box::new(soundness)),
    },
    Known {
        name: "node_not_oversubscribed",
        statement: "no node is given more than it has, and no port twice",
        make: || Rule::Always(Box::new(oversubscribed)),
    },
    Known {
        name: "queues_are_bounded",
        statement: "no queue of the agent is longer than its bound",
        make: || Rule::Always(Box::new(queues_are_bounded::check)),
    },
    Known {
        name: "terms_and_indexes_grow",
        statement: "term, commit index and applied index do not go back within one start",
        make: || Rule::Along(standing()),
    },
    Known {
        name: "leader_commits_own_term",
        statement: "a leader commits older entries only with one of its own term",
        make: || Rule::Along(own_term()),
    },
    Known {
        name: "eval_is_settled",
        statement: "at the end of the log no eval is pending whose moment has come",
        make: || Rule::AtEnd(Box::new(settled)),
    },
];

impl Known {
    /// The check of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|known| known.name == name)
    }

    #[must_use]
    pub fn check(&self) -> Check<'static> {
        Check { name: self.name, rule: (self.make)() }
    }
}

/// `look`, where a panic is a verdict, too.
pub(super) fn judged(look: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|payload| Err(words_of(&*payload)))
}

fn invariants(agent: &Agent) -> Verdict {
    agent.check_invariants();
    Ok(())
}

fn soundness(agent: &Agent) -> Verdict {
    let Some(state) = agent.state() else { return Ok(()) };
    Saved::read(&state.encode()).map(|_| ()).map_err(|fault| format!("{fault:?}"))
}

fn oversubscribed(agent: &Agent) -> Verdict {
    agent.state().map_or(Ok(()), node_not_oversubscribed::check)
}

fn settled(agent: &Agent) -> Verdict {
    agent.state().map_or(Ok(()), eval_is_settled::check)
}

fn standing() -> Box<dyn FnMut(&Agent) -> Verdict> {
    let mut checker = terms_and_indexes_grow::TermsAndIndexesGrow::default();
    Box::new(move |agent| {
        let Some((raft, state)) = agent.raft().zip(agent.state()) else { return Ok(()) };
        let standing = terms_and_indexes_grow::Standing {
            incarnation: agent.incarnation(),
            term: raft.term(),
            // Whether the term is on the disk is not known to the core's outside.
            durable_term: Term(0),
            commit: raft.commit_index(),
            applied: state.index(),
        };
        let id = agent.config().server.as_ref().map_or(ServerId(0), |server| server.raft.id);
        checker.on_standing(id, standing)
    })
}

fn own_term() -> Box<dyn FnMut(&Agent) -> Verdict> {
    let mut before = None;
    Box::new(move |agent| {
        let Some(raft) = agent.raft().filter(|raft| raft.role() == Role::Leader) else {
            before = None;
            return Ok(());
        };
        let now = (raft.term(), raft.commit_index());
        let earlier = before.replace(now);
        // What was committed when the lead was won was another leader's doing.
        if earlier.is_none_or(|(term, commit)| term != now.0 || commit == now.1) {
            return Ok(());
        }
        leader_commits_own_term::check(now.0, now.1, |at| raft.holds(at))
    })
}
