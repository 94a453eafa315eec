//! What a leader is asked to add to the log, and handing over the lead (thesis §3.10, §4).
//!
//! Invariants
//! - at most one configuration in the log is uncommitted, and none follows a joint one but its end;
//! - no configuration is appended before a frame of the own term is committed;
//! - whoever leads ends a committed joint phase;
//! - what a leader may lose is bounded in bytes.
use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use super::message::{Body, FRAME_COST_BYTES, Payload};
use super::{Configuration, Output, Raft, Standing};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Term};

/// Where a proposal went. Committed if a frame of this term is emitted at this index.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProposalMark {
    /// The leader's term.
    pub term: Term,
    /// Index of its first command.
    pub first: Index,
}

/// Why a proposal was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refused {
    /// Ask the leader.
    NotLeader {
        /// Who that is, if known.
        leader: Option<ServerId>,
    },
    /// Too much is uncommitted: ask again soon.
    Full,
    /// The lead is being handed over: ask again soon.
    Transferring,
    /// The body is longer than a frame may be.
    TooLong,
    /// Another configuration is not settled yet, or this leader is too new: ask again soon.
    ChangePending,
    /// It makes no sense.
    Invalid {
        /// Why.
        why: &'static str,
    },
}

/// The lead on its way to another server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Transfer {
    pub(super) to: ServerId,
    /// When the leader goes on leading instead.
    pub(super) deadline: MonoTime,
}

impl Raft {
    /// Someone wants this in the log. A configuration names the voters and learners to end with.
    ///
    /// # Errors
    /// If it cannot be taken now, or here.
    pub fn on_propose(
        &mut self,
        now: MonoTime,
        payload: Payload,
        out: &mut impl Emit<Output>,
    ) -> Result<ProposalMark, Refused> {
        let Standing::Leader(leader) = &self.standing else {
            return Err(Refused::NotLeader { leader: self.leader() });
        };
        if leader.transfer.is_some() && !planted!(ProposalWhileTransferring) {
            return Err(Refused::Transferring);
        }
        let payload = self.admit(payload)?;
        // It may be about to have a follower, and was right to lead until now.
        self.hear_oneself(now);
        let first = self.append_own(payload, out);
        self.feed_all(now, out);
        Ok(ProposalMark { term: self.hard_state.term, first })
    }

    fn admit(&self, payload: Payload) -> Result<Payload, Refused> {
        let body_bytes = payload.body_bytes() as u64;
        match payload {
            Payload::Commands { count: 0, .. } => {
                return Err(Refused::Invalid { why: "a frame holds at least one command" });
            }
            Payload::Commands { .. } if self.config.frame_bytes_max < body_bytes => {
                return Err(Refused::TooLong);
            }
            Payload::Configuration(target) => {
                return self.admit_configuration(&target).map(Box::new).map(Payload::Configuration);
            }
            Payload::Noop | Payload::Commands { .. } => (),
        }
        let uncommitted = self.log.bytes_between(self.delivered, self.log.last_index());
        let total = uncommitted + body_bytes + FRAME_COST_BYTES;
        let is_full = 0 < uncommitted && self.config.uncommitted_bytes_max < total;
        if is_full && !planted!(ProposalsUnbounded) {
            return Err(Refused::Full);
        }
        Ok(payload)
    }

    fn admit_configuration(&self, target: &Configuration) -> Result<Configuration, Refused> {
        if let Some(why) = target.fault() {
            return Err(Refused::Invalid { why });
        }
        if target.is_joint() {
            return Err(Refused::Invalid { why: "the joint phase is not asked for by name" });
        }
        // Thesis §4.3 and the bug found in 2015: not before the own term has committed something.
        let is_ready = self.is_ready() || planted!(ChangeBeforeCommit);
        let is_settled =
            self.membership.current_index() <= self.commit_index || planted!(TwoChanges);
        if !is_ready || !is_settled || self.configuration().is_joint() {
            return Err(Refused::ChangePending);
        }
        let next = self.configuration().towards(target);
        match next.fault() {
            Some(why) => Err(Refused::Invalid { why }),
            None => Ok(next),
        }
    }

    /// What a committed configuration asks of its leader: end the joint phase, or go.
    pub(super) fn settle_membership(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if !self.is_ready() || self.commit_index < self.membership.current_index() {
            return;
        }
        let began_in = self.log.term_at(self.membership.current_index());
        if planted!(JointNotEnded) && began_in != Some(self.hard_state.term) {
            return;
        }
        if self.configuration().is_joint() {
            let settled = self.configuration().settled();
            self.append_own(Payload::Configuration(Box::new(settled)), out);
            self.feed_all(now, out);
        } else if !self.is_voter() && !planted!(RemovedLeaderStays) {
            self.retire(now, out);
        }
    }

    /// This leader is not a voter any more: someone who has its whole log takes over.
    fn retire(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let last = self.log.last_index();
        let Standing::Leader(leader) = &self.standing else { return };
        let configuration = self.membership.current();
        let heir = leader
            .peers
            .iter()
            .find(|peer| peer.match_index == last && configuration.is_voter(peer.id));
        if let Some(id) = heir.map(|peer| peer.id) {
            self.send(id, Body::TimeoutNow, out);
        }
        self.become_follower(now, out);
    }

    /// The operator, or a server that is about to stop, wants `to` to lead.
    ///
    /// # Errors
    /// If this server does not lead, or `to` cannot.
    pub fn on_transfer(
        &mut self,
        now: MonoTime,
        to: ServerId,
        out: &mut impl Emit<Output>,
    ) -> Result<(), Refused> {
        let patience_ms = if planted!(TransferNeverEnds) {
            u64::from(u32::MAX)
        } else {
            self.config.election_ms_max
        };
        let deadline = now.plus_ms(patience_ms);
        let is_possible = to != self.config.id && self.configuration().is_voter(to);
        let known_leader = self.leader();
        let Standing::Leader(leader) = &mut self.standing else {
            return Err(Refused::NotLeader { leader: known_leader });
        };
        if !is_possible {
            return Err(Refused::Invalid { why: "the lead goes to another voter" });
        }
        if leader.transfer.as_ref().is_none_or(|transfer| transfer.to != to) {
            leader.transfer = Some(Transfer { to, deadline });
            leader.has_invited = true;
            self.advance_transfer(out);
        }
        Ok(())
    }

    /// The successor campaigns once it holds all that this leader does.
    pub(super) fn advance_transfer(&mut self, out: &mut impl Emit<Output>) {
        let last = self.log.last_index();
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(to) = leader.transfer.as_ref().map(|transfer| transfer.to) else { return };
        match leader.peers.find(to).map(|peer| peer.match_index) {
            Some(index) if index == last || planted!(TransferTooEarly) => {
                self.send(to, Body::TimeoutNow, out);
            }
            Some(_) => (),
            None => leader.transfer = None,
        }
    }
}
