//! The follower's side of the log (Raft §5.3).
//!
//! A rejection names the last place that the leader may hold too, by index and by term, so one
//! rejection skips a whole conflicting term.
//!
//! Invariants
//! - what is committed is never truncated;
//! - a frame that is already held is left alone, however late its duplicate comes;
//! - only what is known to equal the leader's log is acknowledged or committed, and only what is
//!   durable is acknowledged.
use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frames::Frames;
use super::message::{Body, Frame, LogMark, Position};
use super::{Output, Raft, Standing};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Term};

/// All that exists only while following.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Following {
    pub(super) leader: Option<ServerId>,
    /// The latest round of the leader that was heard.
    pub(super) round: u64,
    /// Our log up to here is a prefix of the leader's.
    pub(super) matched: Index,
}

/// A leader's append.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) prev: Position,
    pub(super) commit: Index,
    pub(super) frames: Frames,
}

impl Raft {
    /// `from` proved to be this term's leader.
    pub(super) fn follow(
        &mut self,
        now: MonoTime,
        from: ServerId,
        round: u64,
        out: &mut impl Emit<Output>,
    ) {
        match &self.standing {
            Standing::Leader(_) => panic!("in one term at most one server leads"),
            Standing::Candidate(_) => self.become_follower(now, out),
            Standing::Follower(_) => (),
        }
        let commit_index = self.commit_index;
        let Standing::Follower(following) = &mut self.standing else { return };
        let is_same = following.leader.is_none_or(|leader| leader == from);
        assert!(is_same, "in one term at most one server leads");
        following.leader = Some(from);
        following.round = following.round.max(round);
        // Raft §5.4: a leader's log holds all that was committed before its term.
        following.matched = following.matched.max(commit_index);
        self.clock.promise(now, self.config.election_ms_min);
        self.arm_election(now);
    }

    pub(super) fn on_append(
        &mut self,
        _now: MonoTime,
        append: Appended,
        out: &mut impl Emit<Output>,
    ) {
        let Appended { prev, commit, frames } = append;
        if self.is_installing() {
            self.send_ack(out);
            return;
        }
        // What is committed here is in the leader's log too, so `prev` needs no look below that.
        if self.commit_index < prev.index && !self.log.holds(prev) {
            self.reject(prev, out);
            return;
        }
        let end = frames.last().map_or(prev.index, |frame| frame.last());
        let is_probe = frames.is_empty();
        for frame in frames {
            self.take_frame(frame, out);
        }
        let Standing::Follower(following) = &mut self.standing else { return };
        following.matched = following.matched.max(end);
        if planted!(AckBeyondMatch) {
            following.matched = self.log.last_index();
        }
        let matched = following.matched;
        assert!(matched <= self.log.last_index(), "matched lies in the log");
        self.learn_commit(commit, out);
        // Frames are acknowledged when they are durable.
        if is_probe || matched <= self.durable.index() {
            self.send_ack(out);
        }
    }

    fn take_frame(&mut self, frame: Arc<Frame>, out: &mut impl Emit<Output>) {
        let is_held = self.log.holds(frame.position()) && !planted!(TruncateOnDuplicate);
        if frame.last() <= self.commit_index || is_held {
            return;
        }
        assert!(self.commit_index < frame.first, "what is committed is never truncated");
        let truncate_from = (frame.first <= self.log.last_index()).then_some(frame.first);
        if let Some(from) = truncate_from {
            self.log.truncate_from(from);
            if !planted!(ConfigurationNotRolledBack) && self.membership.truncate_from(from) {
                out.emit(Output::Configured(Box::new(self.membership.current().clone())));
            }
        }
        self.append_shared(frame, truncate_from, out);
    }

    /// The leader has committed up to `commit`: so have we, as far as our logs are known to agree.
    pub(super) fn learn_commit(&mut self, commit: Index, out: &mut impl Emit<Output>) {
        let Standing::Follower(following) = &self.standing else { return };
        let agreed =
            if planted!(CommitBeyondMatch) { self.log.last_index() } else { following.matched };
        let upto = commit.min(agreed);
        if self.commit_index < upto {
            self.commit_index = upto;
            self.deliver(out);
        }
    }

    /// Tells the leader what is durable here, and which round was heard.
    pub(super) fn send_ack(&mut self, out: &mut impl Emit<Output>) {
        let Standing::Follower(following) = &self.standing else { return };
        let Following { leader: Some(leader), matched, round, .. } = *following else { return };
        let durable = if planted!(AckBeforePersist) { matched } else { self.durable.index() };
        let index = matched.min(durable);
        let mark = LogMark { leader_term: self.hard_state.term, index };
        self.send(leader, Body::AppendAck { mark, matched, round }, out);
    }

    fn reject(&mut self, prev: Position, out: &mut impl Emit<Output>) {
        let Standing::Follower(following) = &self.standing else { return };
        let Following { leader: Some(leader), round, .. } = *following else { return };
        let most = if planted!(SlowBacktracking) {
            Position { term: Term(u64::MAX), ..prev }
        } else {
            prev
        };
        let hint = self.log.floor(most);
        assert!(self.log.base().index <= hint.index, "a hint lies in the log");
        self.send(leader, Body::AppendReject { prev: prev.index, hint, round }, out);
    }
}
