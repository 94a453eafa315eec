//! The leader's side of the log (Raft §5.3, §5.4.2).
//!
//! Appends are sent without waiting for answers, as far as the window of bytes allows. The commit
//! index rides on the next append; when none comes soon, it is told by itself.
//!
//! Invariants
//! - a frame is shared with every follower, never copied;
//! - only a frame of the own term is committed by counting; what lies before it is committed with it;
//! - the leader counts itself like any other: for what is durable.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::change::Transfer;
use super::frames::Frames;
use super::message::{Body, Frame, LogMark, Message, Payload, Position, SnapshotMark};
use super::progress::{Feed, PeerView, Peers, Progress, Stream, Transmission};
use super::read_index::Read;
use super::{Config, Configuration, Output, Raft, Standing};
use crate::emit::Emit;
use crate::limits;
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Term};

/// All that exists only while leading.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Leader {
    pub(super) peers: Peers,
    /// The first frame of this term: until it is committed, little is known.
    pub(super) first_index: Index,
    pub(super) is_ready: bool,
    /// The latest round that was sent.
    pub(super) round: u64,
    /// Rounds that no quorum has answered yet, and when they were sent.
    pub(super) rounds: VecDeque<(u64, MonoTime)>,
    /// Some of those that one has, for the answers of others that are slower.
    past: VecDeque<(u64, MonoTime)>,
    /// The latest round that a quorum has answered.
    pub(super) confirmed: u64,
    /// When that round was sent.
    pub(super) quorum_heard_at: MonoTime,
    pub(super) heartbeat_at: MonoTime,
    /// When followers hear of a commit that nothing else told them.
    pub(super) notice_at: Option<MonoTime>,
    pub(super) reads: VecDeque<Read>,
    pub(super) transfer: Option<Transfer>,
    /// It asked another server to campaign in this term. Whoever hears of that votes at once: what a
    /// quorum promised holds no longer, however late the campaign begins.
    pub(super) has_invited: bool,
}

impl Leader {
    pub(super) fn new(
        configuration: &Configuration,
        own: ServerId,
        next_index: Index,
        now: MonoTime,
    ) -> Self {
        Self {
            peers: Peers::new(configuration, own, next_index),
            first_index: next_index,
            is_ready: false,
            round: 0,
            rounds: VecDeque::new(),
            past: VecDeque::new(),
            confirmed: 0,
            quorum_heard_at: now,
            heartbeat_at: now,
            notice_at: None,
            reads: VecDeque::new(),
            transfer: None,
            has_invited: false,
        }
    }

    /// Whether a quorum, spoken to a moment ago, elects nobody else yet.
    pub(super) fn is_leased(&self, now: MonoTime, config: &Config) -> bool {
        let promised_ms = config.election_ms_min;
        let lease_ms =
            if planted!(LeaseIgnoresDrift) { promised_ms } else { limits::lease_ms(promised_ms) };
        let is_held = 0 < self.confirmed && now < self.quorum_heard_at.plus_ms(lease_ms);
        is_held && self.is_ready && (!self.has_invited || planted!(LeaseOutlivesInvitation))
    }

    /// None: it is alone, and waits for nobody's word.
    pub(super) fn next_deadline(&self, config: &Config) -> Option<MonoTime> {
        if self.peers.is_one() {
            return None;
        }
        let unheard_at = self.quorum_heard_at.plus_ms(config.election_ms_max);
        let given_up_at = self.transfer.as_ref().map(|transfer| transfer.deadline);
        let own = [Some(self.heartbeat_at), Some(unheard_at), given_up_at, self.notice_at];
        own.into_iter().flatten().min()
    }

    /// A quorum has answered `round`, which was sent at `at`.
    pub(super) fn pass_round(&mut self, round: u64, at: MonoTime) {
        self.quorum_heard_at = at;
        if self.past.back().is_none_or(|&(_, before)| before.plus_ms(limits::PAST_ROUND_MS) <= at) {
            self.past.push_back((round, at));
            if limits::PAST_ROUNDS_MAX < self.past.len() {
                self.past.pop_front();
            }
        }
    }

    /// When `round` was sent, or at the latest one that was sent before it and is remembered.
    pub(super) fn sent_at(&self, round: u64) -> Option<MonoTime> {
        if round == self.confirmed {
            return Some(self.quorum_heard_at);
        }
        let open = self.rounds.iter().find(|&&(sent, _)| sent == round);
        let past = || self.past.iter().rfind(|&&(sent, _)| sent <= round);
        open.or_else(past).map(|&(_, at)| at)
    }

    pub(super) fn view(&self) -> Vec<PeerView> {
        let view = |peer: &Progress| PeerView {
            id: peer.id,
            match_index: peer.match_index,
            next_index: peer.next_index,
            feed: match peer.stream {
                Stream::Probe { .. } => Feed::Probe,
                Stream::Replicate => Feed::Replicate,
                Stream::Snapshot(_) => Feed::Snapshot,
            },
            heard_at: peer.heard_at,
        };
        self.peers.iter().map(view).collect()
    }

    pub(super) fn check_invariants(&self, last: Index) {
        self.peers.iter().for_each(|peer| peer.check_invariants(last));
        assert!(self.confirmed <= self.round, "only what was sent is answered");
        assert!(self.rounds.iter().all(|&(round, _)| self.confirmed < round));
        assert!(
            self.past.len() <= limits::PAST_ROUNDS_MAX,
            "what is remembered of rounds is bounded"
        );
        assert!(self.reads.iter().all(|read| self.confirmed < read.round || !self.is_ready));
    }
}

/// What a follower holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) mark: LogMark,
    pub(super) matched: Index,
}

/// What a follower does not hold, and where to look next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rejected {
    pub(super) prev: Index,
    pub(super) hint: Position,
}

/// What is needed to send, borrowed beside the peer that is sent to.
struct Feeder<'a> {
    config: &'a Config,
    log: &'a super::log::Log,
    snapshot: Option<&'a SnapshotMark>,
    term: Term,
    commit: Index,
    round: u64,
    now: MonoTime,
}

impl Feeder<'_> {
    /// Sends all that may be sent now.
    fn feed(&self, peer: &mut Progress, out: &mut impl Emit<Output>) {
        match peer.stream {
            Stream::Probe { sent: true } if !planted!(ProbeNeverWaits) => (),
            Stream::Snapshot(_) => (),
            _ if peer.prev_index() < self.log.base().index => self.begin_snapshot(peer, out),
            Stream::Probe { .. } => {
                let frames = self.take_frames(peer.next_index);
                self.append(peer, frames, out);
                peer.stream = Stream::Probe { sent: true };
            }
            Stream::Replicate => {
                while peer.next_index <= self.log.last_index() && self.has_room(peer) {
                    let frames = self.take_frames(peer.next_index);
                    let last = frames.last().expect("invariant: there is more to send").last();
                    self.append(peer, frames, out);
                    peer.next_index = last.next();
                }
            }
        }
    }

    /// An append without frames: is the follower there, and does it hold what was sent?
    fn heartbeat(&self, peer: &mut Progress, out: &mut impl Emit<Output>) {
        if let Stream::Snapshot(transmission) = &mut peer.stream {
            let stalled_at = transmission.asked_at.plus_ms(self.config.election_ms_max);
            if stalled_at <= self.now && !planted!(SnapshotNotRetried) {
                transmission.asked_at = self.now;
                self.ask_chunk(peer.id, transmission, out);
            }
        }
        self.append(peer, Frames::default(), out);
    }

    fn append(&self, peer: &mut Progress, frames: Frames, out: &mut impl Emit<Output>) {
        let index = peer.prev_index().max(self.log.base().index);
        let term = self.log.term_at(index).expect("invariant: what precedes is in the log");
        let prev = Position { term, index };
        let body = Body::Append { prev, commit: self.commit, round: self.round, frames };
        peer.commit_sent = self.commit;
        out.emit(Output::Send(peer.id, Message { term: self.term, body }));
    }

    fn take_frames(&self, from: Index) -> Frames {
        let mut frames = Frames::default();
        let mut bytes = 0;
        for frame in self.log.frames_from(from) {
            bytes += frame.cost_bytes();
            if !frames.is_empty() && self.config.append_bytes_max < bytes {
                break;
            }
            frames.push(Arc::clone(frame));
        }
        frames
    }

    fn has_room(&self, peer: &Progress) -> bool {
        let inflight = self.log.bytes_between(peer.match_index, peer.prev_index());
        inflight < self.config.inflight_bytes_max || planted!(WindowIgnored)
    }

    fn begin_snapshot(&self, peer: &mut Progress, out: &mut impl Emit<Output>) {
        let mark = self.snapshot.expect("invariant: what is compacted is in the snapshot").clone();
        let transmission = Transmission { mark, offset: 0, asked_at: self.now };
        self.ask_chunk(peer.id, &transmission, out);
        peer.stream = Stream::Snapshot(Box::new(transmission));
    }

    fn ask_chunk(&self, to: ServerId, what: &Transmission, out: &mut impl Emit<Output>) {
        let (snapshot, offset) = (what.mark.index, what.offset);
        let bytes_max = self.config.snapshot_chunk_bytes;
        if offset < what.mark.bytes {
            out.emit(Output::ReadChunk { to, snapshot, offset, bytes_max });
            return;
        }
        // All is sent: an empty part asks whether it is there.
        let mark = Box::new(what.mark.clone());
        let body = Body::SnapshotChunk { mark, offset, bytes: [].into(), round: self.round };
        out.emit(Output::Send(to, Message { term: self.term, body }));
    }
}

impl Raft {
    /// The leader's state and, beside it, what feeding a peer needs.
    fn feeder(&mut self, now: MonoTime) -> Option<(&mut Leader, Feeder<'_>)> {
        let Standing::Leader(leader) = &mut self.standing else { return None };
        let feeder = Feeder {
            config: &self.config,
            log: &self.log,
            snapshot: self.snapshot.as_ref(),
            term: self.hard_state.term,
            commit: self.commit_index,
            round: leader.round,
            now,
        };
        Some((leader, feeder))
    }

    pub(super) fn feed_all(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let own = self.config.id;
        let Some((leader, feeder)) = self.feeder(now) else { return };
        leader.peers.iter_mut().filter(|p| p.id != own).for_each(|peer| feeder.feed(peer, out));
    }

    pub(super) fn feed(&mut self, now: MonoTime, to: ServerId, out: &mut impl Emit<Output>) {
        let Some((leader, feeder)) = self.feeder(now) else { return };
        if let Some(peer) = leader.peers.find(to) {
            feeder.feed(peer, out);
        }
    }

    pub(super) fn heartbeat_all(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let own = self.config.id;
        let Some((leader, feeder)) = self.feeder(now) else { return };
        leader.peers.iter_mut().filter(|p| p.id != own).for_each(|p| feeder.heartbeat(p, out));
    }

    /// Tells of the commit index whoever no append has told.
    fn notice_commit(&mut self, out: &mut impl Emit<Output>) {
        let (own, term, upto) = (self.config.id, self.hard_state.term, self.commit_index);
        let Standing::Leader(leader) = &mut self.standing else { return };
        leader.notice_at = None;
        for peer in leader.peers.iter_mut() {
            if peer.id != own && peer.commit_sent < upto {
                peer.commit_sent = upto;
                out.emit(Output::Send(peer.id, Message { term, body: Body::Commit { upto } }));
            }
        }
    }

    pub(super) fn send_chunk_again(
        &mut self,
        now: MonoTime,
        to: ServerId,
        out: &mut impl Emit<Output>,
    ) {
        let Some((leader, feeder)) = self.feeder(now) else { return };
        let Some(peer) = leader.peers.find(to) else { return };
        if let Stream::Snapshot(transmission) = &mut peer.stream {
            transmission.asked_at = now;
            feeder.ask_chunk(to, transmission, out);
        }
    }

    /// Appends a frame of the own term. Answers its first index.
    pub(super) fn append_own(&mut self, payload: Payload, out: &mut impl Emit<Output>) -> Index {
        let first = self.log.last_index().next();
        let is_configuration = matches!(payload, Payload::Configuration(_));
        self.append_frame(Frame { first, term: self.hard_state.term, payload }, out);
        let last = self.log.last_index();
        let own = self.config.id;
        if let Standing::Leader(leader) = &mut self.standing {
            if is_configuration {
                leader.peers.follow(self.membership.current(), own, first);
            }
            let progress = leader.peers.find(own).expect("invariant: a leader knows itself");
            progress.next_index = last.next();
            if planted!(LeaderCountsEarly) {
                progress.match_index = last;
            }
        }
        first
    }

    /// More of the leader's own log may be durable.
    pub(super) fn count_own_log(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        let (own, durable) = (self.config.id, self.durable.index());
        let Standing::Leader(leader) = &mut self.standing else { return };
        let progress = leader.peers.find(own).expect("invariant: a leader knows itself");
        progress.match_index = progress.match_index.max(durable);
        self.commit_by_count(now);
        // What was committed before it was durable here can be emitted now.
        self.go_on(now, out);
    }

    pub(super) fn on_append_ack(
        &mut self,
        now: MonoTime,
        from: ServerId,
        ack: Acked,
        out: &mut impl Emit<Output>,
    ) {
        let Acked { mark, matched } = ack;
        let (last, base) = (self.log.last_index(), self.log.base().index);
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.find(from) else { return };
        if last < mark.index || last < matched {
            return;
        }
        peer.match_index = peer.match_index.max(mark.index);
        peer.next_index = peer.next_index.max(peer.match_index.next());
        let agreed = peer.match_index.max(matched);
        match &peer.stream {
            Stream::Replicate => (),
            Stream::Snapshot(transmission) if agreed < base => {
                // It has this one, but the log was cut further meanwhile: it needs a newer one.
                if transmission.mark.index <= agreed {
                    peer.stream = Stream::Probe { sent: false };
                }
            }
            Stream::Probe { .. } | Stream::Snapshot(_) => {
                peer.next_index = agreed.next();
                peer.stream = Stream::Replicate;
            }
        }
        // Whoever holds no more than is committed moves nothing.
        let may_move = self.commit_index < peer.match_index;
        if may_move && self.commit_by_count(now) {
            self.go_on(now, out);
        }
        self.feed(now, from, out);
        self.advance_transfer(out);
    }

    pub(super) fn on_append_reject(
        &mut self,
        now: MonoTime,
        from: ServerId,
        rejection: Rejected,
        out: &mut impl Emit<Output>,
    ) {
        let Rejected { prev, hint } = rejection;
        let (floor, base) = (self.log.floor(hint), self.log.base().index);
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.find(from) else { return };
        let is_news = match &peer.stream {
            Stream::Snapshot(_) => false,
            Stream::Probe { .. } => prev == peer.prev_index().max(base),
            Stream::Replicate => peer.match_index < prev || planted!(StaleRejectBelieved),
        };
        if !is_news {
            return;
        }
        // The floor is at or below the hint unless even the oldest frame here is too new.
        let is_reachable = floor.index <= hint.index && floor.term <= hint.term;
        if is_reachable || base <= peer.match_index {
            let agreed = if is_reachable { floor.index } else { Index(0) };
            let known = if planted!(StaleRejectBelieved) { agreed } else { peer.match_index };
            peer.next_index = agreed.max(known).next();
            peer.stream = Stream::Probe { sent: false };
            self.feed(now, from, out);
        } else if let Some((leader, feeder)) = self.feeder(now)
            && let Some(peer) = leader.peers.find(from)
        {
            feeder.begin_snapshot(peer, out);
        }
    }

    /// Commits what a quorum holds durably, if that is of the own term. Answers whether there was any.
    fn commit_by_count(&mut self, now: MonoTime) -> bool {
        let Standing::Leader(leader) = &mut self.standing else { return false };
        let current = self.membership.counting(self.commit_index);
        let voters = || [current.voters.as_slice(), &[self.config.id]].concat();
        let counts_itself = planted!(LeaderCountsItself) && !current.is_joint();
        let counted = counts_itself.then(|| Configuration::new(&voters(), &[]));
        let counted = counted.or_else(|| planted!(JointCommitByOne).then(|| current.settled()));
        let index = leader.peers.quorum_match(counted.as_ref().unwrap_or(current));
        if index <= self.commit_index {
            return false;
        }
        // Raft §5.4.2: an older term's frame on a majority may still be overwritten.
        let is_own = self.log.term_at(index) == Some(self.hard_state.term);
        if !is_own && !planted!(CommitOldTerm) {
            return false;
        }
        assert!(index <= self.log.last_index(), "only what is here is committed");
        self.commit_index = index;
        leader.notice_at.get_or_insert(now.plus_ms(self.config.commit_notice_ms));
        true
    }

    /// Does what waited for the commit index.
    fn go_on(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.deliver(out);
        self.answer_reads(out);
        self.settle_membership(now, out);
    }

    /// A leader that is alone hears itself at every moment, whenever it was last woken; its first
    /// follower is spoken to at once.
    pub(super) fn hear_oneself(&mut self, now: MonoTime) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        if leader.peers.is_one() {
            (leader.quorum_heard_at, leader.heartbeat_at) = (now, now);
            leader.notice_at = None;
        }
    }

    /// The leader's clock: heartbeats, and leading no longer than it is heard.
    pub(super) fn lead_on(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        self.hear_oneself(now);
        let Standing::Leader(leader) = &mut self.standing else { return };
        if leader.peers.is_one() {
            return;
        }
        if planted!(LeadUnheard) {
            leader.quorum_heard_at = now;
        }
        if leader.quorum_heard_at.plus_ms(self.config.election_ms_max) <= now {
            self.become_follower(now, out);
            return;
        }
        if leader.transfer.as_ref().is_some_and(|transfer| transfer.deadline <= now) {
            leader.transfer = None;
        }
        if leader.heartbeat_at <= now {
            self.begin_round(now, out);
            self.advance_transfer(out);
        } else if leader.notice_at.is_some_and(|at| at <= now) {
            self.notice_commit(out);
        }
    }
}
