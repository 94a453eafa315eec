//! What others may ask about the machine, and what it checks about itself.
//!
//! Invariants
//! - nothing here changes anything.
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::election::Candidacy;
use super::{
    Body, Campaign, Configuration, Frame, HardState, PeerView, Position, Raft, Role, SnapshotMark,
    Standing,
};
use crate::limits::{ELECTION_MS_MAX, RECOVERY_LEAP};
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Term};

impl Raft {
    /// Panics if the machine contradicts itself.
    pub fn check_invariants(&self) {
        self.log.check_invariants();
        self.membership.check_invariants(self.log.last_index());
        self.durable.check_invariants(self.log.last_index());
        assert!(self.delivered <= self.commit_index, "only what is committed is emitted");
        assert!(self.commit_index <= self.log.last_index(), "only what is here is committed");
        assert!(self.log.base().index <= self.delivered, "what is not emitted is kept");
        let snapshot = self.snapshot.as_ref().map_or(Index(0), |mark| mark.index);
        assert!(self.log.base().index <= snapshot, "what is compacted is in the snapshot");
        assert!(self.log.last().term <= self.hard_state.term, "no term is forgotten");
        match &self.standing {
            Standing::Follower(following) => {
                assert!(following.matched <= self.log.last_index(), "matched lies in the log");
            }
            Standing::Candidate(_) => (),
            Standing::Leader(leader) => leader.check_invariants(self.log.last_index()),
        }
    }

    /// Who leads, as far as this server knows.
    #[must_use]
    pub const fn leader(&self) -> Option<ServerId> {
        match &self.standing {
            Standing::Follower(following) => following.leader,
            Standing::Candidate(_) => None,
            Standing::Leader(_) => Some(self.config.id),
        }
    }

    /// What this server is.
    #[must_use]
    pub const fn role(&self) -> Role {
        match &self.standing {
            Standing::Follower(_) => Role::Follower,
            Standing::Candidate(Candidacy { campaign: Campaign::PreVote, .. }) => {
                Role::PreCandidate
            }
            Standing::Candidate(_) => Role::Candidate,
            Standing::Leader(_) => Role::Leader,
        }
    }

    /// Whether this server leads and knows all that is committed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(&self.standing, Standing::Leader(leader) if leader.is_ready)
    }

    /// Whether this server leads and is handing the lead over.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        matches!(&self.standing, Standing::Leader(leader) if leader.transfer.is_some())
    }

    /// The latest term seen.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Term and vote, for whoever rewrites the records at the head of a new file.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// How far this server knows the log to be committed.
    #[must_use]
    pub const fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// Where the log ends.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The index at which the log ends.
    #[must_use]
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// The frames in memory, oldest first; all above the snapshot are among them.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.log.frames_from(self.log.base().index.next())
    }

    /// The frames in memory that hold `from` or lie above, oldest first.
    pub fn frames_from(&self, from: Index) -> impl Iterator<Item = &Arc<Frame>> {
        self.log.frames_from(from.max(self.log.base().index.next()))
    }

    /// Whether the log, or the snapshot below it, ends a frame exactly at `at`.
    #[must_use]
    pub fn holds(&self, at: Position) -> bool {
        self.log.holds(at)
    }

    /// What lies just below the first frame in memory.
    #[must_use]
    pub const fn base(&self) -> Position {
        self.log.base()
    }

    /// The newest snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&SnapshotMark> {
        self.snapshot.as_ref()
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.membership.current()
    }

    /// The configuration that was in force at `index`, for the mark of a snapshot made there.
    #[must_use]
    pub fn configuration_at(&self, index: Index) -> &Configuration {
        self.membership.at(index)
    }

    /// Whether the sender's log was given up: this server was made anew behind a leap of the indexes
    /// (`limits::RECOVERY_LEAP`), or follows one that was, and the sender knows nothing of it. Whoever
    /// leads or campaigns there is not heard, not even its term; it will hear us.
    pub(super) fn is_given_up(&self, body: &Body) -> bool {
        let end = match body {
            Body::RequestVote { last, .. } => last.index,
            Body::Append { prev, .. } => prev.index,
            Body::SnapshotChunk { mark, .. } => mark.index,
            Body::Commit { upto } => *upto,
            Body::Vote { .. }
            | Body::AppendAck { .. }
            | Body::AppendReject { .. }
            | Body::Stale
            | Body::SnapshotAck { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::TimeoutNow => return false,
        };
        end.0.saturating_add(RECOVERY_LEAP / 2) <= self.commit_index.0
    }

    /// Whether this server votes.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.configuration().is_voter(self.config.id)
    }

    /// How far every server is, if this one leads; empty otherwise.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        match &self.standing {
            Standing::Leader(leader) => leader.view(),
            Standing::Follower(_) | Standing::Candidate(_) => Vec::new(),
        }
    }

    /// Whoever has answered this leader within an election timeout; empty unless it leads.
    #[must_use]
    pub fn answering(&self, now: MonoTime) -> Vec<ServerId> {
        let answers =
            |peer: &PeerView| peer.heard_at.is_some_and(|at| now <= at.plus_ms(ELECTION_MS_MAX));
        self.peers().into_iter().filter(answers).map(|peer| peer.id).collect()
    }
}
