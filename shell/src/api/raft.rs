//! The consensus as an agent sees it, and what became of the lead.
//!
//! Invariants
//! - every server of the configuration and of gossip is listed once, in the order of the ids;
//! - how far the others are is there only when a leader is asked: nobody else knows.
use drover_core::agent::{ServerView, View};
use drover_core::gossip::Member;
use drover_core::raft::{Configuration, Feed, Role};
use drover_core::types::ServerId;
use serde::Serialize;

use super::agent::{full_name, id, status_word};

/// One server's standing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftInfo {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub role: &'static str,
    /// Empty while none is known.
    #[serde(rename = "LeaderID")]
    pub leader_id: String,
    /// Empty until the server belongs to one.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    pub term: u64,
    pub commit_index: u64,
    pub applied_index: u64,
    pub last_index: u64,
    /// The first entry that is still in the log.
    pub first_index: u64,
    /// The last entry that is in the newest snapshot; zero where there is none.
    pub snapshot_index: u64,
    /// A change of the voters is under way: two majorities are needed.
    pub joint: bool,
    pub servers: Vec<RaftPeer>,
}

/// One server, as the asked one sees it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftPeer {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub address: String,
    /// By gossip: `alive`, `failed`, `left`, or `unknown`.
    pub status: &'static str,
    /// `voter`, `leaving`, `learner`, or `none`.
    pub suffrage: &'static str,
    pub leader: bool,
    pub match_index: Option<u64>,
    pub next_index: Option<u64>,
    /// How it gets the log: `probe`, `replicate`, `snapshot`.
    pub feed: Option<&'static str>,
    /// How long ago the latest message that it answered was sent.
    pub last_contact_ms: Option<u64>,
}

/// The lead went from one server to another.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LeadTransferred {
    pub from: RaftAddress,
    pub to: RaftAddress,
    /// It was there already.
    pub noop: bool,
    pub err: Option<String>,
    pub index: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RaftAddress {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Address")]
    pub address: String,
}

impl RaftAddress {
    #[must_use]
    pub fn of(server: ServerId, view: &ServerView) -> Self {
        let address = member(view, server).map(|member| member.address.clone());
        Self { id: id(server), address: address.unwrap_or_default() }
    }
}

impl RaftInfo {
    /// `None` of an agent that is no server.
    #[must_use]
    pub fn of(view: &View) -> Option<Self> {
        let view = view.server.as_ref()?;
        let mut ids = view.configuration.members();
        ids.extend(view.members.iter().map(|member| member.id));
        ids.sort_unstable();
        ids.dedup();
        let cluster = view.cluster.0;
        Some(Self {
            id: id(view.id),
            node: name(view, view.id),
            role: match view.role {
                Role::Follower => "follower",
                Role::PreCandidate | Role::Candidate => "candidate",
                Role::Leader => "leader",
            },
            leader_id: view.leader.map(id).unwrap_or_default(),
            cluster_id: if cluster == 0 { String::new() } else { format!("{cluster:032x}") },
            term: view.term.0,
            commit_index: view.commit_index.0,
            applied_index: view.applied_index.0,
            last_index: view.last_index.0,
            first_index: view.base_index.next().0,
            snapshot_index: view.snapshot_index.0,
            joint: view.configuration.is_joint(),
            servers: ids.into_iter().map(|id| RaftPeer::of(id, view)).collect(),
        })
    }
}

impl RaftPeer {
    fn of(server: ServerId, view: &ServerView) -> Self {
        let member = member(view, server);
        let peer = view.peers.iter().find(|peer| peer.id == server);
        Self {
            id: id(server),
            node: name(view, server),
            address: member.map(|member| member.address.clone()).unwrap_or_default(),
            status: member.map_or("unknown", |member| status_word(member.status)),
            suffrage: suffrage(&view.configuration, server),
            leader: view.leader == Some(server),
            match_index: peer.map(|peer| peer.match_index.0),
            next_index: peer.map(|peer| peer.next_index.0),
            feed: peer.filter(|_| server != view.id).map(|peer| match peer.feed {
                Feed::Probe => "probe",
                Feed::Replicate => "replicate",
                Feed::Snapshot => "snapshot",
            }),
            last_contact_ms: peer.filter(|_| server != view.id).and_then(|peer| peer.heard_ms_ago),
        }
    }
}

fn suffrage(configuration: &Configuration, server: ServerId) -> &'static str {
    if configuration.voters.contains(&server) {
        "voter"
    } else if configuration.outgoing.contains(&server) {
        "leaving"
    } else if configuration.learners.contains(&server) {
        "learner"
    } else {
        "none"
    }
}

pub(super) fn member(view: &ServerView, server: ServerId) -> Option<&Member> {
    view.members.iter().find(|member| member.id == server)
}

/// `name.region`, or a word that says that nobody has heard of it.
fn name(view: &ServerView, server: ServerId) -> String {
    member(view, server).map_or_else(|| "(unknown)".to_owned(), full_name)
}
