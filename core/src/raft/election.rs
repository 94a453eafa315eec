//! Who leads: votes and campaigns (Raft §5.2, §5.4.1; thesis §9.6 pre-vote, §6.4.1 and §4.2.3 for
//! refusing votes while a leader is heard).
//!
//! | from | on | to |
//! |---|---|---|
//! | follower | silence | pre-candidate |
//! | pre-candidate | a quorum would vote for it | candidate, one term later |
//! | candidate | a quorum voted for it | leader |
//! | any | a later term, or a leader of this term | follower |
//!
//! Invariants
//! - one vote a term, kept across crashes: it is durable before the candidate hears of it;
//! - a pre-vote changes nothing on the voter;
//! - who heard a leader, or was just restarted, votes for nobody for the shortest election, unless
//!   that leader asked for it.
use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::follow::Following;
use super::message::{Ballot, Body, Campaign, HardState, Message, Position};
use super::replicate::Leader;
use super::{Config, Output, Priority, Raft, Standing, Tally};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{ServerId, Term, WriteSeq};

/// When to stop waiting.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ElectionClock {
    /// This long without a leader's word. Drawn once per campaign, so that a busy leader costs
    /// no draws.
    pub(super) patience_ms: u64,
    pub(super) election_at: MonoTime,
    /// No vote before, whatever else is heard: a leader counts on it, and may still do so in a later
    /// term and after a restart of this server.
    votes_from: MonoTime,
}

impl ElectionClock {
    pub(super) const fn new(config: &Config, now: MonoTime, is_new: bool) -> Self {
        let votes_from = if is_new { now } else { now.plus_ms(config.election_ms_min) };
        Self { patience_ms: config.election_ms_max, election_at: now, votes_from }
    }

    /// A leader was heard: nobody else gets a vote for the shortest election (thesis §6.4.1).
    pub(super) fn promise(&mut self, now: MonoTime, election_ms_min: u64) {
        self.votes_from = self.votes_from.max(now.plus_ms(election_ms_min));
    }
}

/// All that exists only while campaigning.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Candidacy {
    pub(super) campaign: Campaign,
    /// The record of the own vote; it counts when this is durable.
    gate: WriteSeq,
    granted: Vec<ServerId>,
    refused: Vec<ServerId>,
}

/// A candidate's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plea {
    /// The candidate's term; a pre-vote asks about the next.
    pub(super) term: Term,
    pub(super) campaign: Campaign,
    pub(super) last: Position,
}

/// A voter's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) campaign: Campaign,
    pub(super) asked: Term,
    pub(super) ballot: Ballot,
}

impl Plea {
    const fn asked(&self) -> Term {
        match self.campaign {
            Campaign::PreVote => Term(self.term.0 + 1),
            Campaign::Election | Campaign::Transfer => self.term,
        }
    }
}

impl Raft {
    pub(super) fn on_request_vote(
        &mut self,
        now: MonoTime,
        from: ServerId,
        plea: Plea,
        out: &mut impl Emit<Output>,
    ) {
        // A candidate of the past learns the present term even from those who hear a leader.
        if plea.term < self.hard_state.term {
            self.answer(from, plea, Ballot::Refused, out);
            return;
        }
        let leads = matches!(self.standing, Standing::Leader(_));
        let has_promised =
            now < self.clock.votes_from && (self.leader().is_some() || !planted!(PromiseForgotten));
        let is_bound = leads || has_promised;
        if is_bound && !planted!(VoteBesideLeader) && plea.campaign != Campaign::Transfer {
            return;
        }
        match plea.campaign {
            Campaign::PreVote => {
                if planted!(PreVoteMovesTerm) && self.hard_state.term < plea.asked() {
                    self.adopt_term(now, plea.asked(), out);
                }
                let ballot = self.judge(plea.last);
                self.answer(from, plea, ballot, out);
            }
            Campaign::Election | Campaign::Transfer => self.vote(now, from, plea, out),
        }
    }

    fn vote(&mut self, now: MonoTime, from: ServerId, plea: Plea, out: &mut impl Emit<Output>) {
        let before = self.hard_state;
        if self.hard_state.term < plea.term {
            self.hard_state = HardState { term: plea.term, voted_for: None };
            self.become_follower(now, out);
        }
        let held = self.hard_state.voted_for;
        let mut is_free = held.is_none_or(|held| held == from) || planted!(VoteTwice);
        if planted!(LearnerRefusesVote) && !self.is_voter() {
            is_free = false;
        }
        let ballot = if is_free { self.judge(plea.last) } else { Ballot::Refused };
        if ballot == Ballot::Granted {
            self.hard_state.voted_for = Some(from);
        }
        let is_loyal = ballot == Ballot::Granted && !planted!(VoteLeavesPatience);
        if is_loyal || planted!(RefusalRenewsPatience) {
            self.arm_election(now);
        }
        assert!(before.term <= self.hard_state.term, "terms do not go backwards");
        let is_kept = before.term < self.hard_state.term || before.voted_for.is_none();
        assert!(is_kept || before == self.hard_state, "one vote a term");
        if before != self.hard_state {
            self.persist_hard_state(out);
        }
        self.answer(from, plea, ballot, out);
    }

    /// Raft §5.4.1: only a log at least as complete as ours may lead us.
    fn judge(&self, last: Position) -> Ballot {
        let own = self.log.last();
        let is_complete = if planted!(LogComparedByIndex) {
            own.index <= last.index
        } else {
            own <= last || planted!(VoteWithoutLog)
        };
        if is_complete { Ballot::Granted } else { Ballot::Refused }
    }

    fn answer(&mut self, to: ServerId, plea: Plea, ballot: Ballot, out: &mut impl Emit<Output>) {
        let body = Body::Vote { campaign: plea.campaign, asked: plea.asked(), ballot };
        if planted!(VoteBeforePersist) {
            out.emit(Output::Send(to, Message { term: self.hard_state.term, body }));
            return;
        }
        self.send(to, body, out);
    }

    /// A message of an earlier term: its sender must learn that time went on, if it acts on it.
    pub(super) fn on_stale_message(
        &mut self,
        now: MonoTime,
        from: ServerId,
        body: &Body,
        out: &mut impl Emit<Output>,
    ) {
        match *body {
            // A voter answers a pre-vote in its own term, which the candidate's may be ahead of.
            Body::Vote { campaign: Campaign::PreVote, asked, ballot } => {
                self.on_ballot(
                    now,
                    from,
                    Answer { campaign: Campaign::PreVote, asked, ballot },
                    out,
                );
            }
            Body::Append { .. }
            | Body::Commit { .. }
            | Body::SnapshotChunk { .. }
            | Body::ReadIndex { .. }
            | Body::TimeoutNow => self.send(from, Body::Stale, out),
            Body::Vote { .. }
            | Body::RequestVote { .. }
            | Body::AppendAck { .. }
            | Body::AppendReject { .. }
            | Body::SnapshotAck { .. }
            | Body::ReadIndexReply { .. }
            | Body::Stale => (),
        }
    }

    /// Silence for too long. A learner only forgets the leader.
    pub(super) fn begin_election(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if self.is_electable() {
            let is_hasty = planted!(NoPreVote);
            let campaign = if is_hasty { Campaign::Election } else { Campaign::PreVote };
            self.campaign(now, campaign, out);
        } else {
            self.become_follower(now, out);
        }
    }

    pub(super) fn on_timeout_now(
        &mut self,
        now: MonoTime,
        from: ServerId,
        out: &mut impl Emit<Output>,
    ) {
        if self.leader() == Some(from) && self.is_electable() {
            self.campaign(now, Campaign::Transfer, out);
        }
    }

    fn campaign(&mut self, now: MonoTime, campaign: Campaign, out: &mut impl Emit<Output>) {
        assert!(self.is_electable(), "only a voter, or one that may still be one, campaigns");
        self.become_follower(now, out);
        self.redraw_patience(now);
        if campaign != Campaign::PreVote {
            let term = Term(self.hard_state.term.0 + 1);
            self.hard_state = HardState { term, voted_for: Some(self.config.id) };
            self.persist_hard_state(out);
        }
        let gate = match campaign {
            Campaign::PreVote => WriteSeq(0),
            Campaign::Election | Campaign::Transfer if planted!(OwnVoteEarly) => WriteSeq(0),
            Campaign::Election | Campaign::Transfer => self.durable.hard_state(),
        };
        let (granted, refused) = (Vec::new(), Vec::new());
        self.standing = Standing::Candidate(Candidacy { campaign, gate, granted, refused });
        let plea = Body::RequestVote { campaign, last: self.log.last() };
        for id in self.configuration().members() {
            if id != self.config.id && self.configuration().is_voter(id) {
                self.send(id, plea.clone(), out);
            }
        }
        self.count_own_vote(now, out);
    }

    pub(super) fn on_ballot(
        &mut self,
        now: MonoTime,
        from: ServerId,
        answer: Answer,
        out: &mut impl Emit<Output>,
    ) {
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        let wanted = match candidacy.campaign {
            Campaign::PreVote => Term(self.hard_state.term.0 + 1),
            Campaign::Election | Campaign::Transfer => self.hard_state.term,
        };
        if candidacy.campaign != answer.campaign || answer.asked != wanted {
            return;
        }
        let voices = match answer.ballot {
            Ballot::Granted => &mut candidacy.granted,
            Ballot::Refused => &mut candidacy.refused,
        };
        if !voices.contains(&from) {
            voices.push(from);
        }
        self.conclude(now, out);
    }

    /// The own vote is a promise too: it counts when it is durable.
    pub(super) fn count_own_vote(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        if self.durable.has(candidacy.gate) && !candidacy.granted.contains(&self.config.id) {
            candidacy.granted.push(self.config.id);
            self.conclude(now, out);
        }
    }

    fn conclude(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let Standing::Candidate(candidacy) = &self.standing else { return };
        let current = self.membership.counting(self.commit_index);
        let settled = planted!(JointVoteByOne).then(|| current.settled());
        let tally = settled.as_ref().unwrap_or(current).tally(|id| {
            let said = [(&candidacy.granted, true), (&candidacy.refused, false)];
            said.into_iter().find_map(|(voices, yes)| voices.contains(&id).then_some(yes))
        });
        match (tally, candidacy.campaign) {
            (Tally::Open, _) => (),
            (Tally::Lost, _) => self.become_follower(now, out),
            (Tally::Won, Campaign::PreVote) => self.campaign(now, Campaign::Election, out),
            (Tally::Won, Campaign::Election | Campaign::Transfer) => self.become_leader(now, out),
        }
    }

    fn become_leader(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        assert!(self.hard_state.voted_for == Some(self.config.id), "a leader voted for itself");
        assert!(self.durable.has(self.durable.hard_state()), "a leader's term is durable");
        let next_index = self.log.last_index().next();
        let leader = Leader::new(self.membership.current(), self.config.id, next_index, now);
        self.standing = Standing::Leader(Box::new(leader));
        out.emit(Output::LeadWon(self.hard_state.term));
        // Raft §8: what was inherited is committed by committing something of the own term.
        self.append_own(super::Payload::Noop, out);
        self.open_round(now);
        self.feed_all(now, out);
        self.confirm_rounds(now, out);
        self.count_own_log(now, out);
    }

    pub(super) fn adopt_term(&mut self, now: MonoTime, term: Term, out: &mut impl Emit<Output>) {
        assert!(self.hard_state.term < term, "terms do not go backwards");
        self.hard_state = HardState { term, voted_for: None };
        if !planted!(TermNotPersisted) {
            self.persist_hard_state(out);
        }
        self.become_follower(now, out);
    }

    /// Follows nobody yet. What rested on leading, or on the former leader, fails.
    pub(super) fn become_follower(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let before = core::mem::replace(
            &mut self.standing,
            Standing::Follower(Following { matched: self.commit_index, ..Following::default() }),
        );
        self.fail_asked(out);
        if let Standing::Leader(leader) = before {
            self.fail_reads(*leader, out);
            out.emit(Output::LeadLost);
            self.redraw_patience(now);
        }
    }

    pub(super) fn arm_election(&mut self, now: MonoTime) {
        self.clock.election_at = now.plus_ms(self.clock.patience_ms);
    }

    pub(super) fn redraw_patience(&mut self, now: MonoTime) {
        let (min, max) = (self.config.election_ms_min, self.config.election_ms_max);
        // No vote depends on it: whoever can win at all does so before long, wherever the network is cut.
        let deference_ms = match self.config.priority {
            Priority::Normal => 0,
            Priority::Low => max,
        };
        self.clock.patience_ms = deference_ms + self.rng.between(min, max);
        self.arm_election(now);
    }

    /// It should lead as soon as this says, from its next patience on.
    pub const fn on_priority(&mut self, priority: Priority) {
        self.config.priority = priority;
    }

    /// A voter that needs nobody else's vote has nobody to wait for.
    pub(super) fn hasten_lone_voter(&mut self, now: MonoTime) {
        let configuration = self.membership.current();
        if configuration.voters == [self.config.id] && !configuration.is_joint() {
            self.clock.election_at = now;
        }
    }

    /// Whether this server may campaign. Thesis §4.2.2: one whose removal is in its log but not
    /// known to be committed must, because it may be the only one with a log that can win. If it
    /// wins, it commits its removal and goes.
    pub(super) fn is_electable(&self) -> bool {
        let is_open = self.commit_index < self.membership.current_index();
        let was_voter = is_open && self.membership.former().is_voter(self.config.id);
        (self.is_voter() || was_voter) && !self.is_installing()
    }
}
