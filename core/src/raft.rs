//! Consensus among servers: one log, agreed on by a majority (Ongaro, Ousterhout: In Search of an
//! Understandable Consensus Algorithm, 2014; Ongaro's thesis for pre-vote, joint consensus,
//! transfer and reads). The log's commands are opaque here.
//!
//! This file is the table of contents: what can happen to the machine, and what it can say.
//!
//! | file | what |
//! |---|---|
//! | `message`, `frames` | frames, positions, what servers say to each other |
//! | `log`, `durable`, `membership`, `progress`, `quorum` | the data and its arithmetic |
//! | `election` | votes, campaigns, who leads |
//! | `replicate` | the leader's side of the log |
//! | `follow` | the follower's side |
//! | `read_index` | reads that are true now, and hearing from a quorum |
//! | `change` | proposals: commands, configurations, handing over the lead |
//! | `view` | what others may ask about it |
//! | `snapshot` | cutting the log, sending and receiving what was cut |
//!
//! Invariants
//! - in one term at most one server leads;
//! - a vote, an acknowledgement and the leader's own count rest on what is durable;
//! - a leader commits by counting only what it appended in its own term (Raft §5.4.2);
//! - what is committed is never truncated, and is emitted once, in order, when durable here;
//! - terms, votes within a term and the commit index do not go backwards;
//! - the configuration in force is the last one in the snapshot and the log.
//!
//! It does not repair a damaged disk.
use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::limits;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Term, WriteSeq};

mod change;
mod durable;
mod election;
mod follow;
mod frames;
mod log;
mod membership;
mod message;
mod progress;
mod quorum;
mod read_index;
mod replicate;
mod snapshot;
mod view;

pub use change::{ProposalMark, Refused};
pub use durable::{Record, Recovered};
pub use frames::Frames;
pub use membership::Configuration;
pub use message::{
    Ballot, Body, Campaign, Frame, HardState, LogMark, Message, Payload, Position, Proof,
    SnapshotMark,
};
pub use progress::{Feed, PeerView};
pub use quorum::Tally;
pub use snapshot::Chunk;

/// How soon a server campaigns, beside the others.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Priority {
    /// When its patience ends.
    #[default]
    Normal,
    /// When the patience of all others has ended: it leads if nobody else can, or if the lead is handed to
    /// it.
    Low,
}

/// Who this server is, and its bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// Whether others should lead rather.
    pub priority: Priority,
    /// Shortest silence before an election.
    pub election_ms_min: u64,
    /// Longest silence before an election; also how long a leader leads unheard.
    pub election_ms_max: u64,
    /// How often an idle leader speaks.
    pub leader_heartbeat_ms: u64,
    /// How soon followers hear of a commit when no append carries it.
    pub commit_notice_ms: u64,
    /// Frames of one append together.
    pub append_bytes_max: u64,
    /// Sent to one follower and not acknowledged.
    pub inflight_bytes_max: u64,
    /// Proposed and not committed.
    pub uncommitted_bytes_max: u64,
    /// Body of one frame.
    pub frame_bytes_max: u64,
    /// One chunk of a snapshot.
    pub snapshot_chunk_bytes: u64,
    /// Frames that stay in the log below a snapshot, for followers that are not far behind.
    pub retained_bytes_max: u64,
}

impl Config {
    /// The bounds of `limits` for the server `id`.
    #[must_use]
    pub const fn new(id: ServerId) -> Self {
        Self {
            id,
            priority: Priority::Normal,
            election_ms_min: limits::ELECTION_MS_MIN,
            election_ms_max: limits::ELECTION_MS_MAX,
            leader_heartbeat_ms: limits::LEADER_HEARTBEAT_MS,
            commit_notice_ms: limits::COMMIT_NOTICE_MS,
            append_bytes_max: limits::APPEND_BYTES_MAX as u64,
            inflight_bytes_max: limits::INFLIGHT_BYTES_MAX as u64,
            uncommitted_bytes_max: limits::UNCOMMITTED_BYTES_MAX as u64,
            frame_bytes_max: limits::FRAME_BYTES_MAX as u64,
            snapshot_chunk_bytes: limits::SNAPSHOT_CHUNK_BYTES as u64,
            retained_bytes_max: limits::LOG_RETAINED_BYTES_MAX as u64,
        }
    }
}

/// What the rest of the core must do or learn.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// Write this, after everything asked before; report with `on_persisted`.
    Persist {
        /// Position in this machine's stream of writes; the first is 1.
        seq: WriteSeq,
        /// What to write.
        record: Record,
    },
    /// Give this to the network. What it rests on is durable.
    Send(ServerId, Message),
    /// This frame is committed and durable here; they come in order, each once since the start.
    Commit(Arc<Frame>),
    /// This server leads, but may not yet know all that is committed.
    LeadWon(Term),
    /// It does know now: the first frame of its term has been emitted.
    LeadReady(Term),
    /// It leads no longer.
    LeadLost,
    /// What is true now can be read once this server has applied up to `index`.
    ReadReady {
        /// The tag given to `on_read`.
        tag: u64,
        /// How far to apply first.
        index: Index,
    },
    /// Nobody could say; ask again.
    ReadFailed {
        /// The tag given to `on_read`.
        tag: u64,
    },
    /// Read a part of a stored snapshot and answer with `on_chunk_read` or `on_chunk_missing`.
    ReadChunk {
        /// Who will get it.
        to: ServerId,
        /// The snapshot's index.
        snapshot: Index,
        /// Where the part begins.
        offset: u64,
        /// How long it may be.
        bytes_max: u64,
    },
    /// Keep this part of a snapshot that is being received.
    StoreChunk {
        /// Which snapshot.
        mark: Box<SnapshotMark>,
        /// Where the part begins. Zero begins a new file.
        offset: u64,
        /// The part.
        bytes: Arc<[u8]>,
    },
    /// All parts are stored: make the snapshot safe, check its digest, load it in place of the
    /// state, then `on_snapshot_installed`; or `on_snapshot_refused`.
    InstallSnapshot(Box<SnapshotMark>),
    /// The log up to here is not needed on disk any more.
    Compacted {
        /// Up to and with this entry.
        upto: Index,
    },
    /// Another configuration is in force.
    Configured(Box<Configuration>),
}

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks whether it could win.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// A role, with all that exists only in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
enum Standing {
    Follower(follow::Following),
    Candidate(election::Candidacy),
    Leader(Box<replicate::Leader>),
}

/// The consensus machine of one server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Raft {
    config: Config,
    rng: Rng,
    hard_state: HardState,
    log: log::Log,
    membership: membership::Membership,
    durable: durable::Durable,
    snapshot: Option<SnapshotMark>,
    commit_index: Index,
    /// Emitted up to here.
    delivered: Index,
    standing: Standing,
    clock: election::ElectionClock,
    asked: read_index::Asked,
    incoming: Option<snapshot::Incoming>,
}

impl Raft {
    /// A server that remembers `recovered`. No two starts may be given the same `rng`.
    ///
    /// # Panics
    /// If what was recovered contradicts itself: damage that a checksum did not catch.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng, recovered: Recovered, now: MonoTime) -> Self {
        assert!(config.election_ms_min < config.election_ms_max, "elections are spread");
        assert!(config.leader_heartbeat_ms < config.election_ms_min, "a leader speaks in time");
        let is_new = recovered.is_new();
        let start = recovered.snapshot.as_ref().map_or(Position::default(), SnapshotMark::position);
        let mut membership = membership::Membership::new(
            recovered
                .snapshot
                .as_ref()
                .map_or_else(Configuration::default, |mark| mark.configuration.clone()),
        );
        let had_frames = !recovered.frames.is_empty();
        let log = log::Log::recovered(start, recovered.frames, &mut membership);
        let mut hard_state = recovered.hard_state;
        if hard_state.term < log.last().term {
            // A snapshot from elsewhere became safe before the record of its leader's term did; or this
            // server began anew with one, and its frames are of the same term. Either way it gave no
            // vote in that term: a vote would have been written.
            let is_snapshots = log.is_empty() || log.last().term == start.term;
            assert!(is_snapshots, "a term is written before the frames of its leader");
            hard_state = HardState { term: log.last().term, voted_for: None };
        }
        let mut raft = Self {
            clock: election::ElectionClock::new(&config, now, is_new),
            config,
            hard_state,
            durable: durable::Durable::recovered(log.last_index(), had_frames && log.is_empty()),
            log,
            membership,
            snapshot: recovered.snapshot,
            commit_index: start.index,
            delivered: start.index,
            standing: Standing::Follower(follow::Following::default()),
            asked: read_index::Asked::beginning_at(rng.next_u64()),
            rng,
            incoming: None,
        };
        raft.redraw_patience(now);
        raft.hasten_lone_voter(now);
        raft
    }

    /// The first configuration of a new cluster. One server is told, or all are told the same.
    /// Ignored unless this server is new.
    pub fn on_bootstrap(
        &mut self,
        now: MonoTime,
        configuration: Configuration,
        out: &mut impl Emit<Output>,
    ) {
        assert!(configuration.fault().is_none(), "a first configuration is sound");
        if !self.is_new() {
            return;
        }
        self.hard_state.term = Term(1);
        self.persist_hard_state(out);
        let payload = Payload::Configuration(Box::new(configuration));
        self.append_frame(Frame { first: Index(1), term: Term(1), payload }, out);
        self.hasten_lone_voter(now);
    }

    /// Whether this server has no part in any cluster yet: no vote was given, and the log is empty.
    #[must_use]
    pub fn is_new(&self) -> bool {
        // Term 1 without a log is a founding that a crash cut short: elections begin at 2.
        let is_untouched = self.hard_state.term <= Term(1) && self.hard_state.voted_for.is_none();
        is_untouched && self.log.last_index() == Index(0)
    }

    /// A message came in. `wire` has refused what no correct server says (`Message::fault`).
    pub fn on_message(
        &mut self,
        now: MonoTime,
        from: ServerId,
        message: Message,
        out: &mut impl Emit<Output>,
    ) {
        if from == self.config.id || self.is_given_up(&message.body) {
            return;
        }
        let Message { term, body } = message;
        if let Body::RequestVote { campaign, last } = body {
            self.on_request_vote(now, from, election::Plea { term, campaign, last }, out);
            return;
        }
        if self.hard_state.term < term {
            self.adopt_term(now, term, out);
        }
        let is_ack = matches!(body, Body::AppendAck { .. });
        if term < self.hard_state.term && !(planted!(StaleAckCounts) && is_ack) {
            self.on_stale_message(now, from, &body, out);
        } else {
            self.on_current_message(now, from, body, out);
        }
    }

    fn on_current_message(
        &mut self,
        now: MonoTime,
        from: ServerId,
        body: Body,
        out: &mut impl Emit<Output>,
    ) {
        match body {
            Body::Append { prev, commit, round, frames } => {
                self.follow(now, from, round, out);
                self.on_append(now, follow::Appended { prev, commit, frames }, out);
            }
            Body::AppendAck { mark, matched, round } => {
                self.note_round(now, from, round, out);
                self.on_append_ack(now, from, replicate::Acked { mark, matched }, out);
            }
            Body::AppendReject { prev, hint, round } => {
                self.note_round(now, from, round, out);
                self.on_append_reject(now, from, replicate::Rejected { prev, hint }, out);
            }
            Body::Commit { upto } => {
                self.follow(now, from, 0, out);
                self.learn_commit(upto, out);
            }
            Body::SnapshotChunk { mark, offset, bytes, round } => {
                self.follow(now, from, round, out);
                self.on_snapshot_chunk(*mark, offset, bytes, out);
            }
            Body::SnapshotAck { index, digest, next_offset, round } => {
                self.note_round(now, from, round, out);
                let received = snapshot::Received { index, digest, next_offset };
                self.on_snapshot_ack(now, from, received, out);
            }
            Body::Vote { campaign, asked, ballot } => {
                self.on_ballot(now, from, election::Answer { campaign, asked, ballot }, out);
            }
            Body::ReadIndex { id, proof } => self.on_read_index(now, from, (id, proof), out),
            Body::ReadIndexReply { id, index } => self.on_read_index_reply(id, index, out),
            Body::TimeoutNow => self.on_timeout_now(now, from, out),
            // Adopting its term was all there was to learn; and pleas were answered above.
            Body::Stale | Body::RequestVote { .. } => (),
        }
    }

    /// Every write up to `upto` is durable.
    pub fn on_persisted(&mut self, now: MonoTime, upto: WriteSeq, out: &mut impl Emit<Output>) {
        let further = self.durable.advance(upto);
        while let Some((to, message)) = self.durable.pop_ready() {
            out.emit(Output::Send(to, message));
        }
        match &self.standing {
            Standing::Follower(_) if further => self.send_ack(out),
            Standing::Follower(_) => (),
            Standing::Candidate(_) => self.count_own_vote(now, out),
            // It delivers by itself, as soon as it has counted.
            Standing::Leader(_) => return self.count_own_log(now, out),
        }
        self.deliver(out);
    }

    /// Time passed.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.fail_old_reads(now, out);
        if let Standing::Leader(_) = self.standing {
            self.lead_on(now, out);
        } else if self.clock.election_at <= now {
            self.arm_election(now);
            self.begin_election(now, out);
        }
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let standing = match &self.standing {
            Standing::Leader(leader) => leader.next_deadline(&self.config),
            Standing::Candidate(_) => Some(self.clock.election_at),
            // One that cannot campaign still forgets a silent leader.
            Standing::Follower(following) => (self.is_electable() || following.leader.is_some())
                .then_some(self.clock.election_at),
        };
        [standing, self.asked.next_deadline()].into_iter().flatten().min()
    }

    /// Says `body` in this term, once the term is durable.
    fn send(&mut self, to: ServerId, body: Body, out: &mut impl Emit<Output>) {
        let message = Message { term: self.hard_state.term, body };
        let gate = self.durable.hard_state();
        if self.durable.has(gate) || planted!(TermSaidEarly) {
            out.emit(Output::Send(to, message));
        } else {
            self.durable.wait(gate, to, message);
        }
    }

    fn persist_hard_state(&mut self, out: &mut impl Emit<Output>) {
        let seq = self.durable.issue_hard_state();
        let mut hard_state = self.hard_state;
        if planted!(VoteNotPersisted) {
            hard_state.voted_for = None;
        }
        out.emit(Output::Persist { seq, record: Record::HardState(hard_state) });
    }

    /// Puts a frame at the end of the log and asks for it to be written.
    fn append_frame(&mut self, frame: Frame, out: &mut impl Emit<Output>) {
        self.append_shared(Arc::new(frame), None, out);
    }

    fn append_shared(
        &mut self,
        frame: Arc<Frame>,
        truncate_from: Option<Index>,
        out: &mut impl Emit<Output>,
    ) {
        if let Payload::Configuration(configuration) = &frame.payload {
            self.membership.append(frame.first, (**configuration).clone());
            out.emit(Output::Configured(configuration.clone()));
        }
        self.log.append(Arc::clone(&frame));
        let seq = self.durable.issue_frame(truncate_from, frame.last());
        let truncate_from = self.durable.truncation_on_disk(truncate_from);
        out.emit(Output::Persist { seq, record: Record::Frame { truncate_from, frame } });
    }

    /// Emits what is committed and durable here.
    fn deliver(&mut self, out: &mut impl Emit<Output>) {
        if self.is_installing() {
            return;
        }
        let mut upto = self.commit_index.min(self.durable.index());
        if planted!(ApplyBeforePersist) {
            upto = self.commit_index;
        }
        while self.delivered < upto {
            let frame = self.log.frame_at(self.delivered.next());
            let frame = Arc::clone(frame.expect("invariant: what is not emitted is kept"));
            assert!(frame.last() <= upto, "a frame is committed whole");
            self.delivered = frame.last();
            out.emit(Output::Commit(frame));
        }
        if let Standing::Leader(leader) = &mut self.standing
            && !leader.is_ready
            && leader.first_index <= self.delivered
        {
            leader.is_ready = true;
            out.emit(Output::LeadReady(self.hard_state.term));
        }
    }
}
