//! What must always hold, and what must come to hold; one property a file.
//!
//! | file | property |
//! |---|---|
//! | `election_safety` | one leader a term |
//! | `log_matching` | equal places, equal prefixes |
//! | `leader_completeness` | a leader has all that was committed before |
//! | `leader_commits_own_term` | older entries are committed only with one of the leader's own |
//! | `committed_is_durable` | committed and acknowledged is on disks |
//! | `state_machine_safety` | equal index, equal entry and state |
//! | `terms_and_indexes_grow` | nothing goes back |
//! | `vote_is_kept` | one vote a term, on disk before it is said |
//! | `left_is_out` | who left with grace does not count, until it starts again |
//! | `alloc_runs_once` | no task runs twice at once |
//! | `node_not_oversubscribed` | no node is given more than it has |
//! | `stopped_for_a_reason` | nothing is stopped that nobody asked for |
//! | `advertised_is_running` | what stands in the catalog runs, and nobody has begun to stop it |
//! | `regions_meet` | servers of two regions know each other again after all faults |
//! | `queues_are_bounded` | what waits is no more than may wait |
//! | `linearizable` | what callers asked and were told has an order |
//! | `no_lost_write` | acknowledged is in the log and stays true, for stale reads too |
//! | `down_only_after_ttl` | no node is called down that was just heard |
//! | `down_only_if_sought` | no node is called down on its leader's word alone |
//! | `pools_are_kept` | allocs are on nodes of the pool that their job names |
//! | `volumes_are_kept` | allocs are on nodes that have the volumes they ask for |
//! | `gates_are_kept` | nothing new is placed before its gates were open |
//! | `leanings_counted` | affinities and spreads are in the scores of what they placed |
//! | `min_healthy` | whoever is called healthy has run for long enough |
//! | `checks_had_passed` | nor is anybody whose checks have never passed, where they are asked |
//! | `max_parallel` | an update replaces no more at once than its policy says |
//! | `one_on_each_node` | a system job has one alloc of a group on a node, and none after one that is done |
//! | `migrate` | drains and rebalances take no more away at once than the policy says |
//! | `children` | a moment of a calendar, and a token, makes one child; no child beside another that must not |
//! | `deployment_is_earned` | a version takes over when its allocs are healthy |
//! | `plans_hold` | a leader's plan does not collide with its own others |
//! | `at_rest` | after healing: one leads, all agree, everyone votes and is ready |
//! | `drains_end` | a drain that is called complete is, and every one with a deadline comes to be |
//! | `rebalances_end` | whoever was to move to a better node has, or stays |
//! | `desired_is_running`, `eval_is_settled`, `deployments_end` | and what is wanted runs, nothing waits |
//!
//! Beside them a run fails when an agent that is told to go does not (`leaves_end`), when some server does not become a voter (`everyone_votes`) or client ready (`everyone_is_ready`), or when an agent panics (`panic`), stops without a broken disk (`halt`), cannot
//! read its own log (`recovery`), or says something that its peers refuse (`wire`).
//!
//! Invariants
//! - a checker only looks: a run with and without it is the same.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::agent::Agent;
use drover_core::fsm::Command;
use drover_core::fsm::record::decode_batch;
use drover_core::raft::{Frame, Payload, Position, Raft, Role};
use drover_core::state::{State, TableKind};
use drover_core::types::{Incarnation, Index, NodeStatus, ServerId, Term};

use crate::clock::Moment;
use crate::counters::Counters;
use crate::plan::Plan;

pub mod advertised_is_running;
pub mod alloc_runs_once;
pub mod at_rest;
pub mod checks_had_passed;
pub mod children;
pub mod committed_is_durable;
pub mod deployment_is_earned;
pub mod deployments_end;
pub mod desired_is_running;
pub mod down_only_after_ttl;
pub mod down_only_if_sought;
pub mod drains_end;
pub mod election_safety;
pub mod eval_is_settled;
pub mod gates_are_kept;
pub mod leader_commits_own_term;
pub mod leader_completeness;
pub mod leanings_counted;
pub mod left_is_out;
pub mod linearizable;
pub mod log_matching;
pub mod max_parallel;
pub mod migrate;
pub mod min_healthy;
pub mod no_lost_write;
pub mod node_not_oversubscribed;
pub mod one_on_each_node;
pub mod plans_hold;
pub mod pools_are_kept;
pub mod queues_are_bounded;
pub mod rebalances_end;
pub mod regions_meet;
pub mod state_machine_safety;
pub mod stopped_for_a_reason;
pub mod terms_and_indexes_grow;
pub mod volumes_are_kept;
pub mod vote_is_kept;

use children::Memory;
use down_only_if_sought::Grounds;
use state_machine_safety::Seen;
use terms_and_indexes_grow::Standing;

/// What a checker says: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// A property that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    pub checker: &'static str,
    pub message: String,
}

/// `verdict`, in the name of `checker`.
///
/// # Errors
/// The verdict's.
pub fn named(checker: &'static str, verdict: Verdict) -> Result<(), Violation> {
    verdict.map_err(|message| Violation { checker, message })
}

/// The tables of whoever leads, at any time.
///
/// # Errors
/// A property does not hold.
pub fn check_tables(tables: &State, counters: &Counters) -> Result<(), Violation> {
    // A saved state that comes back may know less of a step than was done of it.
    if counters.states_restored == 0 {
        named("max_parallel", max_parallel::check(tables))?;
        named("migrate", migrate::check(tables))?;
    }
    let memory = if counters.states_restored == 0 { Memory::Whole } else { Memory::Restored };
    named("children", children::check(tables, memory))?;
    if counters.clock_jumps == 0 {
        named("min_healthy", min_healthy::check(tables))?;
    }
    named("one_on_each_node", one_on_each_node::check(tables))?;
    named("leanings_counted", leanings_counted::check(tables))?;
    named("pools_are_kept", pools_are_kept::check(tables))?;
    named("volumes_are_kept", volumes_are_kept::check(tables))?;
    named("node_not_oversubscribed", node_not_oversubscribed::check(tables))
}

/// A server, when something has happened to it.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    pub at: Moment,
    pub server: ServerId,
    pub incarnation: Incarnation,
    pub agent: &'a Agent,
    /// The term on its disk.
    pub durable_term: Term,
}

/// Everything that is checked all the time.
#[derive(Debug, Default)]
pub struct Checkers {
    pub election_safety: election_safety::ElectionSafety,
    pub log_matching: log_matching::LogMatching,
    pub leader_completeness: leader_completeness::LeaderCompleteness,
    pub state_machine_safety: state_machine_safety::StateMachineSafety,
    pub terms_and_indexes_grow: terms_and_indexes_grow::TermsAndIndexesGrow,
    pub vote_is_kept: vote_is_kept::VoteIsKept,
    pub alloc_runs_once: alloc_runs_once::AllocRunsOnce,
    pub advertised_is_running: advertised_is_running::AdvertisedIsRunning,
    pub checks_had_passed: checks_had_passed::ChecksHadPassed,
    pub linearizable: linearizable::Linearizable,
    pub no_lost_write: no_lost_write::NoLostWrite,
    pub down_only_after_ttl: down_only_after_ttl::DownOnlyAfterTtl,
    pub down_only_if_sought: down_only_if_sought::DownOnlyIfSought,
    pub stopped_for_a_reason: stopped_for_a_reason::StoppedForAReason,
    pub drains_end: drains_end::DrainsEnd,
    pub left_is_out: left_is_out::LeftIsOut,
    /// How each server was last seen.
    seen: BTreeMap<ServerId, LastSeen>,
    /// How long a node may be silent.
    silence_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct LastSeen {
    standing: Standing,
    last: Position,
    leads_in: Option<Term>,
}

/// What has just come about on a server, beside what is checked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct News {
    pub has_won: bool,
    /// It led and does not any more, in the same term.
    pub has_stood_down: bool,
    /// Its log has become shorter.
    pub has_truncated: bool,
}

impl Checkers {
    /// Nothing was seen yet of what `plan` will do; nodes may be silent for `silence_ms`.
    #[must_use]
    pub fn new(plan: &Plan, silence_ms: u64) -> Self {
        let linearizable = linearizable::Linearizable::new(plan);
        Self { linearizable, silence_ms, ..Self::default() }
    }

    /// Something happened to a server.
    ///
    /// # Errors
    /// A property does not hold any more.
    pub fn look(&mut self, looked: Looked<'_>) -> Result<News, Violation> {
        let Some((raft, state)) = looked.agent.raft().zip(looked.agent.state()) else {
            return Ok(News::default());
        };
        let now = LastSeen {
            standing: Standing {
                incarnation: looked.incarnation,
                term: raft.term(),
                durable_term: looked.durable_term,
                commit: raft.commit_index(),
                applied: state.index(),
            },
            last: raft.last(),
            leads_in: (raft.role() == Role::Leader).then(|| raft.term()),
        };
        let before = self.seen.insert(looked.server, now).unwrap_or_default();
        if before == now {
            return Ok(News::default());
        }
        let grows = self.terms_and_indexes_grow.on_standing(looked.server, now.standing);
        named("terms_and_indexes_grow", grows)?;
        self.left_is_out.on_known(now.standing.commit);
        if now.last != before.last {
            self.look_at_log(looked, raft, before.last)?;
        }
        if now.standing.applied != before.standing.applied {
            let same = self.state_machine_safety.on_state(state.index(), state.digest());
            named("state_machine_safety", same)?;
            let live = || self.alloc_runs_once.live().map(|key| key.alloc).collect();
            let changed = state.table_index(TableKind::Nodes);
            named("drains_end", self.drains_end.on_state(state, changed, live))?;
        }
        if let Some(term) = now.leads_in
            && now.leads_in == before.leads_in
            && now.standing.commit != before.standing.commit
        {
            let holds = |at: Position| raft.holds(at);
            let own = leader_commits_own_term::check(term, now.standing.commit, holds);
            named("leader_commits_own_term", own)?;
        }
        let won = now.leads_in.filter(|_| now.leads_in != before.leads_in);
        if let Some(term) = won {
            named("election_safety", self.election_safety.on_leader(term, looked.server))?;
            let holds = |at: Position| at.index <= raft.base().index || raft.holds(at);
            let complete = self.leader_completeness.on_leader(term, holds);
            named("leader_completeness", complete)?;
        }
        let is_same_start = before.standing.incarnation == now.standing.incarnation;
        Ok(News {
            has_won: won.is_some(),
            has_stood_down: is_same_start
                && before.leads_in == Some(now.standing.term)
                && now.leads_in.is_none(),
            has_truncated: is_same_start && now.last.index < before.last.index,
        })
    }

    /// A server in `term` said that `frame` is committed.
    ///
    /// # Errors
    /// Another frame is.
    pub fn on_committed(&mut self, term: Term, frame: &Arc<Frame>) -> Result<Seen, Violation> {
        let safe = self.state_machine_safety.on_committed(frame);
        let seen =
            safe.map_err(|message| Violation { checker: "state_machine_safety", message })?;
        if seen == Seen::First {
            self.leader_completeness.on_committed(frame.position(), term);
            named("left_is_out", self.left_is_out.on_committed(frame))?;
        }
        Ok(seen)
    }

    fn look_at_log(
        &mut self,
        looked: Looked<'_>,
        raft: &Raft,
        before: Position,
    ) -> Result<(), Violation> {
        let is_longer = raft.holds(before) && before.index <= raft.last_index();
        let mut prev = if is_longer { before } else { raft.base() };
        let from = Index(prev.index.0 + 1);
        let leads = raft.role() == Role::Leader;
        for frame in raft.frames_from(from) {
            named("log_matching", self.log_matching.on_frame(prev, frame))?;
            if leads && frame.term == raft.term() {
                self.look_for_down(looked, raft.configuration().is_alone(looked.server), frame)?;
            }
            prev = frame.position();
        }
        Ok(())
    }

    fn look_for_down(
        &self,
        looked: Looked<'_>,
        is_alone: bool,
        frame: &Frame,
    ) -> Result<(), Violation> {
        let (at, leader, silence_ms) = (looked.at, looked.server, self.silence_ms);
        let Payload::Commands { count, bytes } = &frame.payload else { return Ok(()) };
        for entry in decode_batch(bytes, *count).flatten() {
            let Command::SetNodeStatus { nodes, status: NodeStatus::Down, .. } = &entry.command
            else {
                continue;
            };
            for &node in nodes {
                let heard = &self.down_only_after_ttl;
                named("down_only_after_ttl", heard.on_down(at, leader, node, silence_ms))?;
                let silent_ms = heard.silent_ms(at, leader, node);
                let grounds = Grounds { leader, is_alone, silent_ms, silence_ms };
                let sought = self.down_only_if_sought.on_down(at, node, grounds);
                named("down_only_if_sought", sought)?;
            }
        }
        Ok(())
    }
}
