//! Who is to vote and how well the servers are, as Nomad's clients write and expect it.
//!
//! Invariants
//! - durations and moments are written as Go reads them: one that is not known is no empty moment;
//! - every server of the configuration is listed once, and every other that lives.
use drover_core::agent::{PeerStanding, ServerView};
use drover_core::gossip::Status;
use drover_core::time::{WallTime, go_duration};
use drover_core::types::{AutopilotConfig, ConfigRow, ServerId};
use serde::{Deserialize, Serialize};

use super::agent::{full_name, id, status_word};
use super::raft::member;
use super::time::rfc3339;
use crate::jobspec::duration;

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Configuration {
    pub cleanup_dead_servers: bool,
    pub last_contact_threshold: Option<String>,
    pub max_trailing_logs: u64,
    pub min_quorum: u32,
    pub server_stabilization_time: Option<String>,
    pub enable_redundancy_zones: bool,
    pub disable_upgrade_migration: bool,
    pub enable_custom_upgrades: bool,
    pub create_index: Option<u64>,
    pub modify_index: Option<u64>,
}

impl Configuration {
    #[must_use]
    pub fn of(row: &ConfigRow<AutopilotConfig>) -> Self {
        let config = row.config;
        Self {
            cleanup_dead_servers: config.cleanup_dead_servers,
            last_contact_threshold: Some(go_duration(config.last_contact_ms_max)),
            max_trailing_logs: config.trailing_logs_max,
            min_quorum: config.min_quorum,
            server_stabilization_time: Some(go_duration(config.stabilization_ms)),
            enable_redundancy_zones: false,
            disable_upgrade_migration: false,
            enable_custom_upgrades: false,
            // Nomad's clients take zero for a cluster without a configuration.
            create_index: Some(row.create_index.0.max(1)),
            modify_index: Some(row.modify_index.0.max(1)),
        }
    }

    /// The configuration; durations that are not said are as Nomad has them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn converted(&self) -> Result<AutopilotConfig, String> {
        let usual = AutopilotConfig::default();
        for (key, is_on) in [
            ("EnableRedundancyZones", self.enable_redundancy_zones),
            ("DisableUpgradeMigration", self.disable_upgrade_migration),
            ("EnableCustomUpgrades", self.enable_custom_upgrades),
        ] {
            if is_on {
                return Err(format!("{key}: Drover has no such thing; leave it false"));
            }
        }
        let ms = |key: &str, text: &Option<String>, usual: u64| {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
                return Ok(usual);
            };
            let ns = duration::parse_ns(text).and_then(|ns| u64::try_from(ns).ok());
            ns.map(|ns| ns.div_ceil(1_000_000)).ok_or_else(|| {
                format!("{key}: \"{text}\" is no duration: write 200ms, 10s or 1m30s")
            })
        };
        Ok(AutopilotConfig {
            cleanup_dead_servers: self.cleanup_dead_servers,
            last_contact_ms_max: ms(
                "LastContactThreshold",
                &self.last_contact_threshold,
                usual.last_contact_ms_max,
            )?,
            trailing_logs_max: self.max_trailing_logs,
            min_quorum: self.min_quorum,
            stabilization_ms: ms(
                "ServerStabilizationTime",
                &self.server_stabilization_time,
                usual.stabilization_ms,
            )?,
        })
    }
}

/// How well the servers are, as their leader sees it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// All of them.
    pub healthy: bool,
    /// How many more voters may fail before nobody can decide any more.
    pub failure_tolerance: usize,
    pub servers: Vec<ServerHealth>,
    pub leader: String,
    pub voters: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerHealth {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub address: String,
    pub serf_status: &'static str,
    pub version: String,
    pub leader: bool,
    /// How long ago the latest message that it answered was sent; empty if it answered none.
    pub last_contact: String,
    pub last_term: u64,
    pub last_index: u64,
    pub healthy: bool,
    pub voter: bool,
    /// Since when it has been healthy; Go's zero time while it is not.
    pub stable_since: String,
}

impl Health {
    /// `None`: this server does not lead.
    #[must_use]
    pub fn of(view: &ServerView, now: WallTime) -> Option<Self> {
        if view.leader != Some(view.id) || view.peers.is_empty() {
            return None;
        }
        let mut ids = view.configuration.members();
        let alive = view.members.iter().filter(|member| member.status == Status::Alive);
        ids.extend(alive.map(|member| member.id));
        ids.sort_unstable();
        ids.dedup();
        let servers: Vec<ServerHealth> =
            ids.into_iter().map(|id| ServerHealth::of(id, view, now)).collect();
        let voters = &view.configuration.voters;
        let healthy = servers.iter().filter(|server| server.voter && server.healthy).count();
        Some(Self {
            healthy: servers.iter().all(|server| server.healthy),
            failure_tolerance: healthy.saturating_sub(voters.len() / 2 + 1),
            servers,
            leader: id(view.id),
            voters: voters.iter().copied().map(id).collect(),
        })
    }
}

impl ServerHealth {
    fn of(server: ServerId, view: &ServerView, now: WallTime) -> Self {
        let member = member(view, server);
        let peer: Option<&PeerStanding> = view.peers.iter().find(|peer| peer.id == server);
        let healthy_ms = peer.and_then(|peer| peer.healthy_ms);
        let is_own = server == view.id;
        let heard_ms = if is_own { Some(0) } else { peer.and_then(|peer| peer.heard_ms_ago) };
        Self {
            id: id(server),
            name: member.map(full_name).unwrap_or_default(),
            address: member.map(|member| member.address.clone()).unwrap_or_default(),
            serf_status: member.map_or("none", |member| status_word(member.status)),
            version: member.map(|member| member.build.clone()).unwrap_or_default(),
            leader: is_own,
            last_contact: heard_ms.map(go_duration).unwrap_or_default(),
            last_term: if peer.is_some() { view.term.0 } else { 0 },
            last_index: if is_own {
                view.last_index.0
            } else {
                peer.map_or(0, |peer| peer.match_index.0)
            },
            healthy: healthy_ms.is_some(),
            voter: view.configuration.voters.contains(&server),
            stable_since: healthy_ms.map_or_else(
                || NEVER.to_owned(),
                |ms| rfc3339(WallTime { unix_ms: now.unix_ms.saturating_sub(ms) }),
            ),
        }
    }
}
