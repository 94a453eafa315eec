//! How far each server is, as its leader knows.
//!
//! | state | what is sent | left when |
//! |---|---|---|
//! | probe | one append, then a heartbeat's worth | an ack shows where to go on |
//! | replicate | all that the window allows | an append is rejected |
//! | snapshot | one chunk at a time | an ack reaches into the log |
//!
//! Invariants
//! - `next_index` is above `match_index`;
//! - `match_index` only grows while the leader leads.
use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::membership::Configuration;
use super::message::SnapshotMark;
use crate::time::MonoTime;
use crate::types::{Index, ServerId};

/// What is being sent to a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Stream {
    /// Where its log meets ours is not known; one append is out at most.
    Probe { sent: bool },
    /// It follows; appends are sent without waiting.
    Replicate,
    /// What it needs is compacted: it gets a snapshot.
    Snapshot(Box<Transmission>),
}

/// A snapshot on its way to a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Transmission {
    pub(super) mark: SnapshotMark,
    /// The chunk that is out begins here.
    pub(super) offset: u64,
    pub(super) asked_at: MonoTime,
}

/// One server, as its leader sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Progress {
    pub(super) id: ServerId,
    /// Durable there up to here.
    pub(super) match_index: Index,
    /// What is sent next.
    pub(super) next_index: Index,
    /// The latest round it answered.
    pub(super) round: u64,
    /// When that was sent, or somewhat earlier; none if it answered none.
    pub(super) heard_at: Option<MonoTime>,
    /// The commit index it was last told.
    pub(super) commit_sent: Index,
    pub(super) stream: Stream,
}

impl Progress {
    pub(super) const fn new(id: ServerId, next_index: Index) -> Self {
        let stream = Stream::Probe { sent: false };
        Self {
            id,
            match_index: Index(0),
            next_index,
            round: 0,
            heard_at: None,
            commit_sent: Index(0),
            stream,
        }
    }

    /// What was sent last, or what is tried: everything before `next_index`.
    pub(super) const fn prev_index(&self) -> Index {
        Index(self.next_index.0 - 1)
    }

    pub(super) fn check_invariants(&self, last: Index) {
        assert!(self.match_index < self.next_index, "next is above match");
        assert!(self.match_index <= last, "nobody holds more of the leader's log than the leader");
        assert!(self.next_index <= last.next(), "nothing is sent that is not in the log");
    }
}

/// What operators see of a server's progress.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PeerView {
    /// The server.
    pub id: ServerId,
    /// Durable there up to here.
    pub match_index: Index,
    /// What is sent next.
    pub next_index: Index,
    /// How it is fed.
    pub feed: Feed,
    /// When the latest round that it answered was sent, or up to `PAST_ROUND_MS` earlier; none if it
    /// answered none.
    pub heard_at: Option<MonoTime>,
}

/// How a follower is fed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Feed {
    /// The leader looks for where the logs meet.
    Probe,
    /// Frames flow.
    Replicate,
    /// A snapshot is on its way.
    Snapshot,
}

/// Everyone the leader sends to, and itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Peers(Vec<Progress>);

impl Peers {
    pub(super) fn new(configuration: &Configuration, own: ServerId, next_index: Index) -> Self {
        let mut peers = Self(Vec::new());
        peers.follow(configuration, own, next_index);
        peers
    }

    /// Takes in who is new in the configuration and forgets who is not in it any more.
    pub(super) fn follow(&mut self, to: &Configuration, own: ServerId, next_index: Index) {
        let is_peer = |id: ServerId| id == own || to.is_member(id);
        self.0.retain(|peer| is_peer(peer.id));
        let members = to.members();
        for id in members.into_iter().chain([own]) {
            if let Err(slot) = self.0.binary_search_by_key(&id, |peer| peer.id) {
                self.0.insert(slot, Progress::new(id, next_index));
            }
        }
    }

    pub(super) fn find(&mut self, id: ServerId) -> Option<&mut Progress> {
        self.0.iter_mut().find(|peer| peer.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Progress> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Progress> {
        self.0.iter_mut()
    }

    /// Whether there is nobody but the leader itself.
    pub(super) const fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// The index that a quorum holds durably.
    pub(super) fn quorum_match(&self, configuration: &Configuration) -> Index {
        Index(configuration.quorum_reached(|id| self.value(id, |peer| peer.match_index.0)))
    }

    /// The round that a quorum has answered.
    pub(super) fn quorum_round(&self, configuration: &Configuration) -> u64 {
        configuration.quorum_reached(|id| self.value(id, |peer| peer.round))
    }

    fn value(&self, id: ServerId, of: impl Fn(&Progress) -> u64) -> u64 {
        self.0.iter().find(|peer| peer.id == id).map_or(0, of)
    }
}
