//! Requests that are for another region: a server there answers them.
//!
//! Invariants
//! - a request that names a region is answered there or not at all;
//! - an agent speaks of itself whatever region is named.
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use drover_core::gossip::Member;
use serde::Deserialize;

use super::answer::{self, Answer, Failure};
use super::membership::is_gone;
use super::{Http, Shared, query};

/// As much of a submitted job as says where it is to run.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Submitted {
    job: Destined,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destined {
    region: Option<String>,
}

/// The region that a request names, if it is not `own`.
pub(super) fn named_by(uri: &Uri, own: &str) -> Option<String> {
    let words: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    if let ["v1", "agent" | "metrics" | "regions", ..] | [""] = words[..] {
        return None;
    }
    let region = query::value(uri.query().unwrap_or_default(), "region")?;
    (region != own).then_some(region)
}

impl Http {
    /// The API of each server of `region` that lives.
    pub(super) async fn servers_of(&self, region: &str) -> Result<Vec<String>, Failure> {
        let server = self.view().await?.server;
        // In a replay nobody is asked: the addresses of the past lead somewhere else today.
        let server = server.filter(|_| self.api.joins.is_some());
        let foreigners = server.map(|server| server.foreigners).unwrap_or_default();
        let is_there = |member: &&Member| member.region == region && !is_gone(member);
        let servers = foreigners.iter().filter(is_there);
        let servers: Vec<String> = servers.map(|member| member.http_address.clone()).collect();
        if servers.is_empty() {
            let known = known(&self.api.me.region, &foreigners).join(", ");
            return Err(Failure::broken(format!(
                "No path to region {region:?}: known are {known}. Let a server meet one of that region with \
                 `drover server join`"
            )));
        }
        Ok(servers)
    }

    /// The answer of another region to a job that says it belongs there; `None`: it belongs here. Nomad's
    /// clients write `global` where nobody has said anything.
    pub(super) async fn submit_abroad(
        &self,
        parts: Parts,
        bytes: &Bytes,
    ) -> Result<Option<Response>, Failure> {
        if query::value(parts.uri.query().unwrap_or_default(), "region").is_some() {
            return Ok(None);
        }
        // Whatever else is wrong with it is said by whoever reads all of it.
        let submitted: Submitted = serde_json::from_slice(bytes).unwrap_or_default();
        let own = self.api.me.region.as_str();
        let is_abroad = |region: &String| !["", "global", own].contains(&region.as_str());
        let Some(region) = submitted.job.region.filter(is_abroad) else { return Ok(None) };
        let servers = self.servers_of(&region).await?;
        let request = Request::from_parts(parts, Body::from(bytes.clone()));
        self.forward(servers, request).await.map(Some)
    }
}

pub(super) async fn list(State(http): State<Shared>) -> Answer {
    let server = http.view().await?.server;
    let foreigners = server.map(|server| server.foreigners).unwrap_or_default();
    answer::json(&known(&http.api.me.region, &foreigners))
}

/// Regions of which a server lives, sorted.
pub(super) fn known(own: &str, foreigners: &[Member]) -> Vec<String> {
    let others = foreigners.iter().filter(|member| !is_gone(member));
    let mut regions: Vec<String> = others.map(|member| member.region.clone()).collect();
    regions.push(own.to_owned());
    regions.sort_unstable();
    regions.dedup();
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_named_by_what_is_asked_of_a_region() {
        let named = |text: &str| named_by(&text.parse().unwrap(), "global");
        assert_eq!(named("/v1/jobs?region=eu"), Some("eu".to_owned()));
        assert_eq!(named("/v1/jobs?prefix=a&region=e%75"), Some("eu".to_owned()));
        assert_eq!(named("/v1/jobs?region=global"), None);
        assert_eq!(named("/v1/jobs"), None);
        assert_eq!(named("/v1/status/leader?region=eu"), Some("eu".to_owned()));
        assert_eq!(named("/v1/agent/members?region=eu"), None);
    }
}
