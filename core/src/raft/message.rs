//! What the log holds and what servers say to each other about it.
//!
//! A frame is one proposal's commands in one body: the same bytes in memory, on the wire and on
//! disk, shared by reference. It is appended, sent, committed and truncated whole.
//!
//! Invariants
//! - a frame holds at least one command, and its commands have consecutive indexes;
//! - the frames of one append follow its `prev` without a gap, in terms that do not fall.
use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frames::Frames;
use super::membership::Configuration;
use crate::digest::Digest;
use crate::types::{Index, ServerId, Term};

/// A place in a log. Ordered as Raft §5.4.1 compares logs: by term, then by index.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Position {
    /// Term of the entry there.
    pub term: Term,
    /// Its index.
    pub index: Index,
}

/// "My durable log up to `index` is a prefix of the log of the leader of `leader_term`."
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogMark {
    /// Whose log.
    pub leader_term: Term,
    /// Up to where.
    pub index: Index,
}

/// What a server must not forget: written in one record, so it cannot be torn.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HardState {
    /// Latest term seen.
    pub term: Term,
    /// Who has this term's vote.
    pub voted_for: Option<ServerId>,
}

/// Names a snapshot: the state after the entry at `index`, byte for byte.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SnapshotMark {
    /// Last entry the snapshot holds; the end of a frame.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// Hash of the snapshot's bytes.
    pub digest: Digest,
    /// How many bytes there are.
    pub bytes: u64,
    /// The configuration in force at `index`.
    pub configuration: Configuration,
}

impl SnapshotMark {
    /// The log position that the snapshot stands for.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }
}

/// The body of a frame.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Payload {
    /// What a new leader appends so that it can commit what it inherited.
    Noop,
    /// Commands for the state machine, opaque here.
    Commands {
        /// How many; each has an index.
        count: u32,
        /// Their encoding.
        #[serde(with = "crate::bytes")]
        bytes: Arc<[u8]>,
    },
    /// A configuration, in force from the moment it is in the log.
    Configuration(Box<Configuration>),
}

impl Payload {
    /// How many indexes the frame takes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        match self {
            Self::Commands { count, .. } => *count,
            Self::Noop | Self::Configuration(_) => 1,
        }
    }

    /// Length of the commands' encoding.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Commands { bytes, .. } => bytes.len(),
            Self::Noop | Self::Configuration(_) => 0,
        }
    }
}

/// Consecutive log entries that are appended, sent and committed as one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Frame {
    /// Index of the first entry.
    pub first: Index,
    /// Term of the leader that made it.
    pub term: Term,
    /// The entries.
    pub payload: Payload,
}

impl Frame {
    /// How many entries.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.payload.count()
    }

    /// Index of the last entry.
    #[must_use]
    pub const fn last(&self) -> Index {
        Index(self.first.0 + self.payload.count() as u64 - 1)
    }

    /// Where the frame ends.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { term: self.term, index: self.last() }
    }

    /// What the frame costs in windows and limits: its body and a little for itself.
    #[must_use]
    pub fn cost_bytes(&self) -> u64 {
        FRAME_COST_BYTES + self.payload.body_bytes() as u64
    }
}

/// What a frame costs beside its body: header on the wire and bookkeeping in memory.
pub(super) const FRAME_COST_BYTES: u64 = 64;

/// Why votes are asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Campaign {
    /// "Would you?": changes nothing anywhere (Raft thesis §9.6).
    PreVote,
    /// An election after silence: refused by those who still hear a leader.
    Election,
    /// The leader asked for it (Raft thesis §3.10).
    Transfer,
}

/// An answer to a candidate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Ballot {
    /// The candidate has the vote.
    Granted,
    /// It has not.
    Refused,
}

/// What the truth of a read rests on (thesis §6.4).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Proof {
    /// A quorum that was spoken to a moment ago elects nobody else yet, if no clock drifts more than
    /// `limits::CLOCK_DRIFT_PERMILLE_MAX`. A leader that cannot trust in that asks the quorum.
    Lease,
    /// A quorum that is asked now.
    Round,
}

/// What one server says to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Message {
    /// The sender's term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The part of a message after its term.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Body {
    /// Candidate: vote for me. A pre-vote asks about the term after the header's.
    RequestVote {
        /// Why.
        campaign: Campaign,
        /// Where the candidate's log ends.
        last: Position,
    },
    /// Voter: my answer.
    Vote {
        /// What was asked.
        campaign: Campaign,
        /// The term the candidate would lead.
        asked: Term,
        /// The answer.
        ballot: Ballot,
    },
    /// Leader: these frames follow `prev`. Without frames: a heartbeat or a probe.
    Append {
        /// What the follower must hold already.
        prev: Position,
        /// How far the leader has committed.
        commit: Index,
        /// Number of the leader's round; grows within a term.
        round: u64,
        /// The frames.
        frames: Frames,
    },
    /// Follower: I hold this.
    AppendAck {
        /// What is durable here.
        mark: LogMark,
        /// What was received, durable or not: where to go on sending.
        matched: Index,
        /// The latest round heard of.
        round: u64,
    },
    /// Follower: I do not hold `prev`.
    AppendReject {
        /// The index that was tried.
        prev: Index,
        /// The last place at or before it that the leader's log may hold too.
        hint: Position,
        /// The latest round heard of.
        round: u64,
    },
    /// To a sender whose term is over: the header says which it is now.
    Stale,
    /// Leader: a part of a snapshot.
    SnapshotChunk {
        /// Which snapshot.
        mark: Box<SnapshotMark>,
        /// Where in it.
        offset: u64,
        /// The part.
        #[serde(with = "crate::bytes")]
        bytes: Arc<[u8]>,
        /// The leader's round.
        round: u64,
    },
    /// Follower: go on here.
    SnapshotAck {
        /// The snapshot's index.
        index: Index,
        /// Its digest.
        digest: Digest,
        /// The first byte that is missing.
        next_offset: u64,
        /// The latest round heard of.
        round: u64,
    },
    /// To the leader: how far must I have applied to read what is true now?
    ReadIndex {
        /// The asker's number for it.
        id: u64,
        /// What the answer may rest on.
        proof: Proof,
    },
    /// The leader's answer.
    ReadIndexReply {
        /// The asker's number for it.
        id: u64,
        /// How far; none if the leader cannot say.
        index: Option<Index>,
    },
    /// Leader: campaign now, it is your turn.
    TimeoutNow,
    /// Leader: I have committed this much. Not answered: a heartbeat says it again.
    Commit {
        /// Up to and with this entry.
        upto: Index,
    },
}

impl Message {
    /// Why the message cannot come from a correct server, if so. `wire` refuses it by this name.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        match &self.body {
            Body::Append { prev, frames, .. } => append_fault(self.term, *prev, frames),
            Body::AppendAck { mark, .. } => {
                (mark.leader_term != self.term).then_some("an ack is about its own term")
            }
            Body::SnapshotChunk { mark, offset, bytes, .. } => {
                let end = offset.checked_add(bytes.len() as u64);
                if end.is_none_or(|end| mark.bytes < end) {
                    return Some("a chunk lies within its snapshot");
                }
                mark.configuration.fault()
            }
            Body::RequestVote { .. }
            | Body::Vote { .. }
            | Body::AppendReject { .. }
            | Body::Commit { .. }
            | Body::Stale
            | Body::SnapshotAck { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::TimeoutNow => None,
        }
    }
}

fn append_fault(term: Term, prev: Position, frames: &Frames) -> Option<&'static str> {
    let mut at = prev;
    if term < prev.term {
        return Some("a leader's log holds no later term");
    }
    for frame in frames {
        if frame.count() == 0 || frame.first != at.index.next() {
            return Some("frames follow each other without a gap");
        }
        if frame.term < at.term || term < frame.term {
            return Some("terms in a log do not fall");
        }
        if let Payload::Configuration(configuration) = &frame.payload
            && configuration.fault().is_some()
        {
            return configuration.fault();
        }
        at = frame.position();
    }
    None
}
