//! Reads that are true now, without writing (thesis §6.4), and whether a quorum still listens.
//!
//! The leader numbers its rounds. Every append carries the latest number and every answer returns
//! it. A round that a quorum answered proves that nobody else led when it was sent: so a read that
//! was registered before is safe, and the leader was heard at that time. Numbers are made by the
//! leader and are never reused, so no duplicate of an old question or answer proves anything.
//!
//! A round proves a little more: whoever answered it elects nobody else for the shortest election after.
//! So for a lease counted from when it was sent, and shortened by what clocks drift, a leader answers
//! alone (thesis §6.4.1), until it invites another server to campaign.
//!
//! Invariants
//! - a read is answered only by a round that was sent after it was registered, or within a lease;
//! - no read is answered before a frame of the leader's own term is committed;
//! - every read is answered once, with an index or with a failure.
use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::message::{Body, Proof};
use super::replicate::Leader;
use super::{Output, Raft, Standing};
use crate::emit::Emit;
use crate::limits::REQUESTS_PENDING_MAX;
use crate::time::MonoTime;
use crate::types::{Index, ServerId};

/// A read on the leader that waits for its round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Read {
    asker: Asker,
    pub(super) round: u64,
    /// What was committed when it was registered.
    index: Index,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Asker {
    Own { tag: u64 },
    Peer { id: ServerId, number: u64 },
}

/// Reads that were sent on to the leader.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Asked {
    last_number: u64,
    /// Number, tag, and when to give up; oldest first.
    pending: VecDeque<(u64, u64, MonoTime)>,
}

impl Asked {
    /// Numbers are never reused, not even by a later start: a late answer to a question of a former
    /// life must not answer a new one. So they begin at a random place.
    pub(super) fn beginning_at(number: u64) -> Self {
        Self { last_number: number / 2, pending: VecDeque::new() }
    }

    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.pending.front().map(|&(_, _, deadline)| deadline)
    }
}

impl Raft {
    /// Someone wants to read what is true now. Answered by `ReadReady` or `ReadFailed` with `tag`.
    pub fn on_read(&mut self, now: MonoTime, tag: u64, proof: Proof, out: &mut impl Emit<Output>) {
        match (&self.standing, self.leader()) {
            (Standing::Leader(_), _) => self.register(now, Asker::Own { tag }, proof, out),
            (Standing::Follower(_), Some(leader)) => {
                if let Some(id) = self.note_asked(now, tag, out) {
                    self.send(leader, Body::ReadIndex { id, proof }, out);
                }
            }
            (Standing::Follower(_) | Standing::Candidate(_), _) => {
                out.emit(Output::ReadFailed { tag });
            }
        }
    }

    /// The number of a question to the leader; none if there are too many.
    fn note_asked(&mut self, now: MonoTime, tag: u64, out: &mut impl Emit<Output>) -> Option<u64> {
        if self.asked.pending.len() == REQUESTS_PENDING_MAX {
            out.emit(Output::ReadFailed { tag });
            return None;
        }
        self.asked.last_number += 1;
        let id = self.asked.last_number;
        self.asked.pending.push_back((id, tag, now.plus_ms(self.config.election_ms_max)));
        Some(id)
    }

    pub(super) fn on_read_index(
        &mut self,
        now: MonoTime,
        from: ServerId,
        (id, proof): (u64, Proof),
        out: &mut impl Emit<Output>,
    ) {
        if let Standing::Leader(_) = self.standing {
            self.register(now, Asker::Peer { id: from, number: id }, proof, out);
        } else {
            self.send(from, Body::ReadIndexReply { id, index: None }, out);
        }
    }

    pub(super) fn on_read_index_reply(
        &mut self,
        id: u64,
        index: Option<Index>,
        out: &mut impl Emit<Output>,
    ) {
        let slot = self.asked.pending.iter().position(|&(number, _, _)| number == id);
        let Some((_, tag, _)) = slot.and_then(|slot| self.asked.pending.remove(slot)) else {
            return;
        };
        match index {
            Some(index) => {
                self.learn_commit(index, out);
                out.emit(Output::ReadReady { tag, index });
            }
            None => out.emit(Output::ReadFailed { tag }),
        }
    }

    fn register(&mut self, now: MonoTime, asker: Asker, proof: Proof, out: &mut impl Emit<Output>) {
        let index = self.commit_index;
        let Standing::Leader(leader) = &mut self.standing else { return };
        let is_leased = proof == Proof::Lease && leader.is_leased(now, &self.config);
        if is_leased || planted!(ReadUnproven) {
            self.answer_read(asker, Some(index), out);
            return;
        }
        if leader.reads.len() == REQUESTS_PENDING_MAX {
            self.answer_read(asker, None, out);
            return;
        }
        let round = if planted!(ReadByOldRound) { leader.round } else { leader.round + 1 };
        leader.reads.push_back(Read { asker, round, index });
        // Reads that come while a round is out share the next one.
        if leader.confirmed == leader.round {
            self.begin_round(now, out);
        }
    }

    /// A new round: everyone is asked whether this server still leads.
    pub(super) fn begin_round(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.open_round(now);
        self.heartbeat_all(now, out);
        self.confirm_rounds(now, out);
    }

    /// Counts a new round; what is sent from now on carries its number.
    pub(super) fn open_round(&mut self, now: MonoTime) {
        let own = self.config.id;
        let Standing::Leader(leader) = &mut self.standing else { return };
        leader.round += 1;
        leader.rounds.push_back((leader.round, now));
        leader.heartbeat_at = now.plus_ms(self.config.leader_heartbeat_ms);
        let progress = leader.peers.find(own).expect("invariant: a leader knows itself");
        progress.round = leader.round;
        progress.heard_at = Some(now);
    }

    /// `from` heard the leader's `round`.
    pub(super) fn note_round(
        &mut self,
        now: MonoTime,
        from: ServerId,
        round: u64,
        out: &mut impl Emit<Output>,
    ) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.find(from) else { return };
        if peer.round < round && round <= leader.round {
            peer.round = round;
            self.confirm_rounds(now, out);
            self.note_heard(from, round);
        }
    }

    /// Whoever answers a round late was there when it was sent.
    fn note_heard(&mut self, from: ServerId, round: u64) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let sent_at = leader.sent_at(round);
        if let Some(peer) = leader.peers.find(from) {
            peer.heard_at = peer.heard_at.max(sent_at);
        }
    }

    pub(super) fn confirm_rounds(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let current = self.membership.current();
        let settled = planted!(JointReadByOne).then(|| current.settled());
        let confirmed = leader.peers.quorum_round(settled.as_ref().unwrap_or(current));
        if confirmed <= leader.confirmed {
            return;
        }
        leader.confirmed = confirmed;
        while let Some(&(round, sent_at)) = leader.rounds.front() {
            if confirmed < round {
                break;
            }
            leader.pass_round(round, if planted!(LeaseFromAnswer) { now } else { sent_at });
            leader.rounds.pop_front();
        }
        let is_asked_again = leader.reads.back().is_some_and(|read| leader.round < read.round);
        let is_idle = leader.confirmed == leader.round;
        self.answer_reads(out);
        if is_idle && is_asked_again {
            self.begin_round(now, out);
        }
    }

    /// Answers every read whose round is confirmed, once this server knows all that is committed.
    pub(super) fn answer_reads(&mut self, out: &mut impl Emit<Output>) {
        loop {
            let Standing::Leader(leader) = &mut self.standing else { return };
            let is_due = leader.reads.front().is_some_and(|read| read.round <= leader.confirmed);
            if !is_due || (!leader.is_ready && !planted!(ReadBeforeCommit)) {
                return;
            }
            let read = leader.reads.pop_front().expect("invariant: front was just seen");
            let floor = if planted!(ReadBeforeCommit) { Index(0) } else { leader.first_index };
            let index = read.index.max(floor);
            self.answer_read(read.asker, Some(index), out);
        }
    }

    fn answer_read(&mut self, asker: Asker, index: Option<Index>, out: &mut impl Emit<Output>) {
        match (asker, index) {
            (Asker::Own { tag }, Some(index)) => out.emit(Output::ReadReady { tag, index }),
            (Asker::Own { tag }, None) => out.emit(Output::ReadFailed { tag }),
            (Asker::Peer { id, number }, index) => {
                self.send(id, Body::ReadIndexReply { id: number, index }, out);
            }
        }
    }

    /// The lead is lost: nobody here can answer these.
    pub(super) fn fail_reads(&mut self, leader: Leader, out: &mut impl Emit<Output>) {
        for read in leader.reads {
            if planted!(ReadsForgotten) {
                break;
            }
            self.answer_read(read.asker, None, out);
        }
    }

    /// The leader that was asked is not ours any more.
    pub(super) fn fail_asked(&mut self, out: &mut impl Emit<Output>) {
        for (_, tag, _) in self.asked.pending.drain(..) {
            out.emit(Output::ReadFailed { tag });
        }
    }

    pub(super) fn fail_old_reads(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        while let Some(&(_, tag, deadline)) = self.asked.pending.front() {
            if now < deadline {
                break;
            }
            self.asked.pending.pop_front();
            out.emit(Output::ReadFailed { tag });
        }
    }
}
