//! Cutting the log at a snapshot, sending a snapshot to who needs what was cut, and receiving one.
//!
//! Snapshots of one index are the same bytes on every server, so a transfer goes on at its first
//! missing byte even under another leader.
//!
//! Invariants
//! - a snapshot replaces the log only if the log does not hold the snapshot's last entry;
//! - a snapshot replaces every configuration that it covers;
//! - parts of two snapshots are never mixed;
//! - nothing is emitted between asking for an installation and its end.
use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::durable::Record;
use super::message::{Body, Message, SnapshotMark};
use super::progress::Stream;
use super::{Output, Raft, Standing};
use crate::digest::Digest;
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::{Index, ServerId};

/// A part of a stored snapshot.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Chunk {
    /// The snapshot's index.
    pub snapshot: Index,
    /// Where the part begins.
    pub offset: u64,
    /// The part.
    #[serde(with = "crate::bytes")]
    pub bytes: Arc<[u8]>,
}

/// A snapshot that is being received.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Incoming {
    mark: SnapshotMark,
    next_offset: u64,
    /// All parts are stored, and it is being loaded.
    is_installing: bool,
}

/// How much of a snapshot a follower has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) index: Index,
    pub(super) digest: Digest,
    pub(super) next_offset: u64,
}

impl Raft {
    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.is_installing)
    }

    /// A snapshot of the state after `mark.index` was written here: what lies below is not needed.
    pub fn on_snapshot_saved(
        &mut self,
        _now: MonoTime,
        mark: SnapshotMark,
        out: &mut impl Emit<Output>,
    ) {
        if self.snapshot.as_ref().is_some_and(|held| mark.index <= held.index) {
            return;
        }
        assert!(mark.index <= self.delivered, "a snapshot holds only what was emitted");
        assert!(self.log.holds(mark.position()), "a snapshot ends where a frame ends");
        assert!(
            mark.configuration == *self.membership.at(mark.index),
            "a snapshot knows who counts"
        );
        self.membership.compact(mark.index);
        let before = self.log.base();
        self.log.compact(mark.index, self.config.retained_bytes_max);
        self.snapshot = Some(mark);
        let upto = self.log.base().index;
        if before.index < upto {
            out.emit(Output::Compacted { upto });
        }
    }

    /// A part that `ReadChunk` asked for.
    pub fn on_chunk_read(
        &mut self,
        now: MonoTime,
        to: ServerId,
        chunk: Chunk,
        out: &mut impl Emit<Output>,
    ) {
        let term = self.hard_state.term;
        let Standing::Leader(leader) = &mut self.standing else { return };
        let round = leader.round;
        let Some(peer) = leader.peers.find(to) else { return };
        let Stream::Snapshot(transmission) = &mut peer.stream else { return };
        let Chunk { snapshot, offset, bytes } = chunk;
        if transmission.mark.index != snapshot || transmission.offset != offset {
            return;
        }
        transmission.asked_at = now;
        let mark = Box::new(transmission.mark.clone());
        let body = Body::SnapshotChunk { mark, offset, bytes, round };
        out.emit(Output::Send(to, Message { term, body }));
    }

    /// The snapshot that `ReadChunk` asked for is gone: begin again with the newest.
    pub fn on_chunk_missing(
        &mut self,
        now: MonoTime,
        to: ServerId,
        snapshot: Index,
        out: &mut impl Emit<Output>,
    ) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.find(to) else { return };
        let Stream::Snapshot(transmission) = &peer.stream else { return };
        if transmission.mark.index == snapshot {
            peer.stream = Stream::Probe { sent: false };
            self.feed(now, to, out);
        }
    }

    pub(super) fn on_snapshot_ack(
        &mut self,
        now: MonoTime,
        from: ServerId,
        received: Received,
        out: &mut impl Emit<Output>,
    ) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.find(from) else { return };
        let Stream::Snapshot(transmission) = &mut peer.stream else { return };
        let mark = &transmission.mark;
        let Received { index, digest, next_offset } = received;
        let is_same = mark.index == index && mark.digest == digest;
        if !is_same || next_offset == transmission.offset || mark.bytes < next_offset {
            return;
        }
        transmission.offset = next_offset;
        transmission.asked_at = now;
        if next_offset < transmission.mark.bytes {
            self.send_chunk_again(now, from, out);
        }
    }

    pub(super) fn on_snapshot_chunk(
        &mut self,
        mark: SnapshotMark,
        offset: u64,
        bytes: Arc<[u8]>,
        out: &mut impl Emit<Output>,
    ) {
        if self.is_needless(&mark, out) {
            self.send_ack(out);
            return;
        }
        let is_same = self.incoming.as_ref().is_some_and(|incoming| incoming.mark == mark);
        if !is_same && self.is_installing() {
            return;
        }
        if !is_same {
            self.incoming = Some(Incoming { mark, next_offset: 0, is_installing: false });
        }
        let incoming = self.incoming.as_mut().expect("invariant: it was just set");
        let is_next = incoming.next_offset == offset || planted!(ChunksInAnyOrder);
        if !incoming.is_installing && is_next {
            incoming.next_offset += bytes.len() as u64;
            let mark = Box::new(incoming.mark.clone());
            assert!(incoming.next_offset <= mark.bytes, "a chunk lies within its snapshot");
            incoming.is_installing = incoming.next_offset == mark.bytes;
            let is_whole = incoming.is_installing;
            out.emit(Output::StoreChunk { mark: mark.clone(), offset, bytes });
            if is_whole {
                out.emit(Output::InstallSnapshot(mark));
            }
        }
        self.send_snapshot_ack(out);
    }

    /// Whether we hold all that the snapshot does. If so, that much is committed.
    fn is_needless(&mut self, mark: &SnapshotMark, out: &mut impl Emit<Output>) -> bool {
        if self.is_installing() {
            return false;
        }
        if self.commit_index < mark.index && self.log.holds(mark.position()) {
            let Standing::Follower(following) = &mut self.standing else { return false };
            following.matched = following.matched.max(mark.index);
            self.learn_commit(mark.index, out);
        }
        mark.index <= self.commit_index && !planted!(OldSnapshotInstalled)
    }

    fn send_snapshot_ack(&mut self, out: &mut impl Emit<Output>) {
        let Standing::Follower(following) = &self.standing else { return };
        let (Some(leader), round) = (following.leader, following.round) else { return };
        let Some(incoming) = &self.incoming else { return };
        let (index, digest) = (incoming.mark.index, incoming.mark.digest);
        let body = Body::SnapshotAck { index, digest, next_offset: incoming.next_offset, round };
        self.send(leader, body, out);
    }

    /// The snapshot that `InstallSnapshot` named is safe and is the state now.
    pub fn on_snapshot_installed(
        &mut self,
        _now: MonoTime,
        mark: SnapshotMark,
        out: &mut impl Emit<Output>,
    ) {
        let incoming = self.incoming.take().expect("invariant: an installation was asked for");
        assert!(incoming.is_installing && incoming.mark == mark, "what was asked for is installed");
        assert!(self.commit_index < mark.index, "a snapshot moves the state forward");
        self.log.replace(mark.position());
        if !planted!(SnapshotKeepsConfiguration) {
            self.membership.replace(mark.configuration.clone());
        }
        self.commit_index = mark.index;
        self.delivered = mark.index;
        let seq = self.durable.issue_snapshot(mark.index);
        out.emit(Output::Persist {
            seq,
            record: Record::SnapshotInstalled(Box::new(mark.clone())),
        });
        out.emit(Output::Configured(Box::new(mark.configuration.clone())));
        out.emit(Output::Compacted { upto: mark.index });
        // A snapshot holds only what is committed: every leader from now on has it.
        if let Standing::Follower(following) = &mut self.standing {
            following.matched = mark.index;
        }
        self.snapshot = Some(mark);
    }

    /// The snapshot that `InstallSnapshot` named does not match its digest: forget it.
    pub fn on_snapshot_refused(&mut self, _now: MonoTime, mark: &SnapshotMark) {
        if self.incoming.as_ref().is_some_and(|incoming| incoming.mark == *mark) {
            self.incoming = None;
        }
    }
}
