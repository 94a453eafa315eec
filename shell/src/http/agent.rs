//! What an agent says of itself.
//!
//! Invariants
//! - it answers from its own memory: an agent whose cluster is lost still says so.
use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use drover_core::agent::View;
use drover_core::gossip;
use drover_core::raft::Role;
use serde_json::{Value as Json, json};

use super::answer::{self, Answer};
use super::operator::leader_address;
use super::query::Query;
use super::{Http, Shared, region};
use crate::api::agent::{Member, Members, RaftConfiguration};

/// Groups of facts, as texts.
type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

pub(super) async fn myself(State(http): State<Shared>, _: Query) -> Answer {
    let view = http.view().await?;
    let own = view.server.as_ref().and_then(|server| {
        server.members.iter().find(|member| member.id == server.id).map(Member::of)
    });
    let none = json!({ "Name": "", "Addr": "", "Port": 0, "Tags": null, "Status": "none" });
    answer::json(&json!({
        "config": config(&http),
        "stats": stats(&http, &view),
        "member": own.map_or(Ok(none), serde_json::to_value).unwrap_or(Json::Null),
    }))
}

/// The configuration, with what clients look for filled in where it is missing.
fn config(http: &Http) -> Json {
    let me = &http.api.me;
    let mut config = match &me.config {
        Json::Object(map) => map.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            serde_json::Map::new()
        }
    };
    let facts = [
        ("Region", json!(me.region)),
        ("Datacenter", json!(me.datacenter)),
        ("NodeName", json!(me.name)),
        ("AdvertiseAddrs", json!({ "HTTP": me.http_address })),
        ("Server", json!({ "Enabled": me.server })),
        ("Client", json!({ "Enabled": me.client.is_some() })),
        ("ACL", json!({ "Enabled": false })),
        ("UI", json!({ "Enabled": false })),
        ("Telemetry", json!({ "PrometheusMetrics": true })),
        ("Version", json!({ "Version": me.version, "VersionPrerelease": "", "Revision": "" })),
    ];
    for (key, fact) in facts {
        config.entry(key).or_insert(fact);
    }
    Json::Object(config)
}

fn stats(http: &Http, view: &View) -> Stats {
    let text = |value: &dyn ToString| value.to_string();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut stats = Stats::from([(
        "runtime",
        BTreeMap::from([
            ("kernel.name", std::env::consts::OS.to_owned()),
            ("arch", std::env::consts::ARCH.to_owned()),
            ("cpu_count", text(&cpus)),
            ("version", format!("drover {}", http.api.me.version)),
        ]),
    )]);
    if let Some(node) = http.api.me.client {
        let servers = (http.api.servers)().join(",");
        let client = [("node_id", node.uuid().to_string()), ("known_servers", servers)];
        stats.insert("client", BTreeMap::from(client));
    }
    let Some(server) = &view.server else { return stats };
    let leads = server.role == Role::Leader;
    stats.insert(
        "nomad",
        BTreeMap::from([
            ("server", "true".to_owned()),
            ("leader", text(&leads)),
            ("leader_addr", leader_address(view)),
            ("bootstrap", "false".to_owned()),
            ("known_regions", text(&region::known(&http.api.me.region, &server.foreigners).len())),
        ]),
    );
    let state = match server.role {
        Role::Leader => "Leader",
        Role::Follower => "Follower",
        Role::Candidate | Role::PreCandidate => "Candidate",
    };
    let peers = RaftConfiguration::of(view).servers.len().saturating_sub(1);
    stats.insert(
        "raft",
        BTreeMap::from([
            ("state", state.to_owned()),
            ("term", text(&server.term.0)),
            ("commit_index", text(&server.commit_index.0)),
            ("last_log_index", text(&server.last_index.0)),
            ("applied_index", text(&server.applied_index.0)),
            ("num_peers", text(&peers)),
            ("protocol_version", "3".to_owned()),
        ]),
    );
    let failed = |member: &&gossip::Member| member.status == gossip::Status::Failed;
    stats.insert(
        "serf",
        BTreeMap::from([
            ("members", text(&server.members.len())),
            ("failed", text(&server.members.iter().filter(failed).count())),
        ]),
    );
    stats
}

pub(super) async fn members(State(http): State<Shared>, _: Query) -> Answer {
    let view = http.view().await?;
    let me = &http.api.me;
    let known =
        view.server.iter().flat_map(|server| server.members.iter().chain(&server.foreigners));
    answer::json(&Members {
        server_name: me.name.clone(),
        server_region: me.region.clone(),
        server_dc: me.datacenter.clone(),
        members: known.map(Member::of).collect(),
    })
}

pub(super) async fn health(State(http): State<Shared>, query: Query) -> Answer {
    let view = http.view().await?;
    let wants = |kind: &str| query.text("type").is_none_or(|asked| asked == kind);
    let mut healthy = true;
    let mut said = serde_json::Map::new();
    if let Some(server) = view.server.as_ref().filter(|_| wants("server")) {
        let ok = server.leader.is_some();
        healthy &= ok;
        let message = if ok { "ok" } else { "No cluster leader" };
        said.insert("server".into(), json!({ "ok": ok, "message": message }));
    }
    if http.api.me.client.is_some() && wants("client") {
        // A server reaches its own client always; a client alone needs servers.
        let ok = view.server.is_some() || !(http.api.servers)().is_empty();
        healthy &= ok;
        let message = if ok { "ok" } else { "no known servers" };
        said.insert("client".into(), json!({ "ok": ok, "message": message }));
    }
    let mut response = answer::json(&said)?;
    if !healthy {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response.into_response())
}

pub(super) async fn servers(State(http): State<Shared>, _: Query) -> Answer {
    let view = http.view().await?;
    let addresses: Vec<String> = match &view.server {
        Some(server) => server.members.iter().map(|member| member.address.clone()).collect(),
        None => (http.api.servers)(),
    };
    answer::json(&addresses)
}
