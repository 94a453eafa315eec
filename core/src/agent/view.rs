//! What people may look at: the agent's own standing, beside the tables.
//!
//! Invariants
//! - looking changes nothing.
use alloc::string::String;
use alloc::vec::Vec;

use super::{Agent, Server};
use crate::gossip::Member;
use crate::raft::{Configuration, Feed, PeerView, Raft, Role};
use crate::time::MonoTime;
use crate::types::{AllocId, ClusterId, Incarnation, Index, ServerId, Term};
use crate::wal::Written;

/// An agent's standing at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub incarnation: Incarnation,
    pub log_written: Written,
    /// `None` on an agent that is only a client.
    pub server: Option<ServerView>,
    /// On a client: where servers are dialled, as one of them said.
    pub servers: Vec<String>,
}

/// A server's standing.
#[derive(Clone, Debug)]
pub struct ServerView {
    pub id: ServerId,
    pub role: Role,
    pub leader: Option<ServerId>,
    /// Leads, and has made sure of what it inherited.
    pub is_open: bool,
    pub term: Term,
    pub commit_index: Index,
    pub last_index: Index,
    pub applied_index: Index,
    /// The newest snapshot; zero: there is none.
    pub snapshot_index: Index,
    /// The log in memory begins above this index.
    pub base_index: Index,
    pub cluster: ClusterId,
    pub configuration: Configuration,
    pub members: Vec<Member>,
    /// Servers of other regions.
    pub foreigners: Vec<Member>,
    pub requests_waiting: usize,
    /// How far every server is; empty unless this one leads.
    pub peers: Vec<PeerStanding>,
}

/// A server's progress, as its leader knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerStanding {
    pub id: ServerId,
    /// Durable there up to here.
    pub match_index: Index,
    pub next_index: Index,
    pub feed: Feed,
    /// How long ago the latest message that it answered was sent.
    pub heard_ms_ago: Option<u64>,
    /// For how long it has been healthy; none: it was not when that was last looked at.
    pub healthy_ms: Option<u64>,
}

impl PeerStanding {
    fn of(peer: &PeerView, server: &Server, now: MonoTime) -> Self {
        let PeerView { id, match_index, next_index, feed, heard_at } = *peer;
        let heard_ms_ago = heard_at.map(|at| now.ms_since(at));
        let healthy = server.leader.as_ref().and_then(|leader| leader.healthy.get(&id));
        let healthy_ms = healthy.map(|&since| now.ms_since(since));
        Self { id, match_index, next_index, feed, heard_ms_ago, healthy_ms }
    }
}

impl Agent {
    /// The consensus machine, on a server: for checkers that must see more than a view shows.
    #[must_use]
    pub fn raft(&self) -> Option<&Raft> {
        self.server.as_ref().map(|server| &server.raft)
    }

    /// The servers of other regions, as far as this server has heard of them.
    pub fn foreigners(&self) -> impl Iterator<Item = Member> {
        self.server.iter().flat_map(|server| server.foreigners())
    }

    /// Which start of the agent this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The version as which this client runs an alloc; none if it does not know it.
    #[must_use]
    pub fn version_here(&self, alloc: AllocId) -> Option<u64> {
        self.client.as_ref().and_then(|client| client.version_of(alloc))
    }

    /// Whether this server leads and has made sure of what it inherited.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let leader = self.server.as_ref().and_then(|server| server.leader.as_ref());
        leader.is_some_and(|leader| leader.is_open())
    }

    /// The agent's standing.
    #[must_use]
    pub fn view(&self) -> View {
        let server = self.server.as_ref().map(|server| ServerView {
            id: server.id,
            role: server.raft.role(),
            leader: server.raft.leader(),
            is_open: server.leader.as_ref().is_some_and(|leader| leader.is_open()),
            term: server.raft.term(),
            commit_index: server.raft.commit_index(),
            last_index: server.raft.last_index(),
            applied_index: server.state.index(),
            snapshot_index: server.raft.snapshot().map_or(Index(0), |mark| mark.index),
            base_index: server.raft.base().index,
            cluster: server.state.cluster(),
            configuration: server.raft.configuration().clone(),
            members: server.gossip.members_to_show().collect(),
            foreigners: server.foreigners().collect(),
            requests_waiting: server.requests.waiting(),
            peers: server
                .raft
                .peers()
                .iter()
                .map(|peer| PeerStanding::of(peer, server, self.now))
                .collect(),
        });
        let log_written = self.disk.as_ref().map(|disk| disk.wal.written()).unwrap_or_default();
        let servers = self.client.iter().flat_map(|client| client.told()).cloned().collect();
        View { incarnation: self.incarnation, log_written, server, servers }
    }
}
