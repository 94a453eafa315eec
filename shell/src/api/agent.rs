//! Agents, servers and the machine they run on.
//!
//! Invariants
//! - every server is listed once, under `name.region`.
use std::collections::BTreeMap;

use drover_core::agent::View;
use drover_core::gossip;
use drover_core::types::ServerId;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Members {
    pub server_name: String,
    pub server_region: String,
    #[serde(rename = "ServerDC")]
    pub server_dc: String,
    pub members: Vec<Member>,
}

/// A tag's name, and what it says of a server.
type OwnTag = (&'static str, fn(&gossip::Member) -> String);

/// What every server says of itself, in Nomad's names; the other tags are its operator's.
const OWN_TAGS: [OwnTag; 11] = [
    ("role", |_| "nomad".to_owned()),
    ("region", |member| member.region.clone()),
    ("dc", |member| member.datacenter.clone()),
    ("id", |member| id(member.id)),
    ("build", |member| member.build.clone()),
    ("expect", |member| member.expect.to_string()),
    ("rpc_addr", |member| split(&member.address).0.to_owned()),
    ("port", |member| split(&member.address).1.to_string()),
    ("vsn", |_| "1".to_owned()),
    ("mvn", |_| "1".to_owned()),
    ("raft_vsn", |_| "3".to_owned()),
];

/// Whether every server has a tag of this name.
#[must_use]
pub fn is_own_tag(name: &str) -> bool {
    OWN_TAGS.iter().any(|&(own, _)| own == name)
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    pub name: String,
    pub addr: String,
    pub port: u16,
    pub tags: BTreeMap<String, String>,
    pub status: &'static str,
    pub protocol_min: u8,
    pub protocol_max: u8,
    pub protocol_cur: u8,
    pub delegate_min: u8,
    pub delegate_max: u8,
    pub delegate_cur: u8,
}

impl Member {
    #[must_use]
    pub fn of(member: &gossip::Member) -> Self {
        let (host, port) = split(&member.address);
        let mut tags = member.tags.clone();
        tags.extend(OWN_TAGS.map(|(name, of)| (name.to_owned(), of(member))));
        Self {
            name: full_name(member),
            addr: host.to_owned(),
            port,
            tags,
            status: status_word(member.status),
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

/// The servers of the consensus.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftConfiguration {
    pub servers: Vec<RaftServer>,
    pub index: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RaftServer {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub address: String,
    pub leader: bool,
    pub voter: bool,
    pub raft_protocol: &'static str,
}

impl RaftConfiguration {
    #[must_use]
    pub fn of(view: &View) -> Self {
        let Some(view) = &view.server else { return Self { servers: Vec::new(), index: 0 } };
        let server = |server: ServerId| {
            let member = view.members.iter().find(|member| member.id == server);
            RaftServer {
                id: id(server),
                node: member.map_or_else(|| "(unknown)".to_owned(), full_name),
                address: member.map(|member| member.address.clone()).unwrap_or_default(),
                leader: view.leader == Some(server),
                voter: view.configuration.is_voter(server),
                raft_protocol: "3",
            }
        };
        Self { servers: view.configuration.members().into_iter().map(server).collect(), index: 0 }
    }
}

/// `name.region`.
#[must_use]
pub fn full_name(member: &gossip::Member) -> String {
    format!("{}.{}", member.name, member.region)
}

/// How a member's status is called.
#[must_use]
pub const fn status_word(status: gossip::Status) -> &'static str {
    match status {
        gossip::Status::Alive => "alive",
        gossip::Status::Leaving => "leaving",
        gossip::Status::Failed => "failed",
        gossip::Status::Left => "left",
    }
}

/// A server's id in the form of a UUID, which Nomad's clients expect.
#[must_use]
pub fn id(server: ServerId) -> String {
    drover_core::types::Uuid(u128::from(server.0)).to_string()
}

/// The server whose id in that form is `text`.
#[must_use]
pub fn server_of(text: &str) -> Option<ServerId> {
    let uuid = drover_core::types::Uuid::parse(text).filter(|_| text.len() == 36)?;
    u64::try_from(uuid.0).ok().map(ServerId)
}

/// Host and port of `host:port`; zero where there is none.
#[must_use]
pub fn split(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(0))
}
