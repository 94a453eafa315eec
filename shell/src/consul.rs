//! A Consul agent beside this one: we stand in its catalog, and find servers there.
//!
//! Of its HTTP API these are asked: `PUT /v1/agent/service/register`, `PUT
//! /v1/agent/service/deregister/ID`, `GET /v1/agent/services`, `GET /v1/agent/checks`, `GET /v1/agent/self`
//! and `GET /v1/catalog/service/NAME`.
//!
//! Invariants
//! - while Consul is away nothing of ours waits or fails, and that is said once;
//! - what was registered is taken back when the agent is stopped; Consul's own checks see to the rest.
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use drover_core::types::CONSUL_VERSION;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::config::{self, Resolved};

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const PATIENCE: Duration = Duration::from_secs(5);
/// A node's services are a thousand bytes each.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Servers bear it where they are dialled by agents.
const RPC_TAG: &str = "rpc";
const HTTP_TAG: &str = "http";

/// What stands in the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Service {
    id: String,
    name: String,
    tag: &'static str,
    address: SocketAddr,
    /// Asked by Consul whether we are well.
    health: String,
}

/// An entry of the catalog, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Entry {
    /// Of the node, where the service names none.
    address: String,
    service_address: String,
    service_port: u16,
}

/// What a Consul agent has of a service, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Known {
    meta: Option<BTreeMap<String, String>>,
}

/// What a Consul agent thinks, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct KnownCheck {
    #[serde(rename = "ServiceID")]
    service_id: String,
    status: String,
}

/// What a Consul agent has: by id, each service's metadata.
pub type Listed = BTreeMap<String, BTreeMap<String, String>>;

/// What a Consul agent says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Itself {
    config: ItsConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ItsConfig {
    version: String,
    datacenter: String,
    node_name: String,
}

/// Why Consul has not done what it was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It does not answer, or cannot now.
    Away(String),
    /// It will not, however often it is asked.
    Refused(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Away(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

/// This agent in Consul.
pub struct Consul {
    config: config::Consul,
    services: Vec<Service>,
    joins: bool,
    /// That it does not do what it is asked was said.
    is_away: AtomicBool,
    http: Legacy<HttpConnector, Body>,
}

impl Consul {
    /// What `resolved` says of it; none if it says nothing. `id` names the agent among all.
    #[must_use]
    pub fn of(resolved: &Resolved, id: &str) -> Option<Self> {
        let config = resolved.consul.clone()?;
        let health =
            |part: &str| format!("http://{}/v1/agent/health?type={part}", resolved.http_advertise);
        let service = |part: &str, name: &String, tag, address| Service {
            id: format!("_drover-{part}-{id}-{tag}"),
            name: name.clone(),
            tag,
            address,
            health: health(part),
        };
        let mut services = Vec::new();
        if resolved.server.is_some() {
            let name = &config.server_service;
            services.push(service("server", name, RPC_TAG, resolved.rpc_advertise));
            services.push(service("server", name, HTTP_TAG, resolved.http_advertise));
        }
        if resolved.client.is_some() {
            let name = &config.client_service;
            services.push(service("client", name, HTTP_TAG, resolved.http_advertise));
        }
        if !config.advertises {
            services.clear();
        }
        let joins =
            if resolved.server.is_some() { config.server_joins } else { config.client_joins };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        let http = Legacy::builder(TokioExecutor::new()).build(connector);
        Some(Self { config, services, joins, is_away: AtomicBool::new(false), http })
    }

    /// Whether servers are looked for there.
    #[must_use]
    pub const fn joins(&self) -> bool {
        self.joins
    }

    /// Puts everything into the catalog; what is there stays.
    ///
    /// # Errors
    /// What Consul said, or why it did not.
    pub async fn register(&self) -> Result<(), Fault> {
        for service in &self.services {
            let tags: Vec<&str> =
                self.config.tags.iter().map(String::as_str).chain([service.tag]).collect();
            let body = json!({
                "ID": service.id,
                "Name": service.name,
                "Tags": tags,
                "Address": service.address.ip().to_string(),
                "Port": service.address.port(),
                "Check": {
                    "Name": "Drover's own opinion",
                    "HTTP": service.health,
                    "Interval": "10s",
                    "Timeout": "2s",
                },
            });
            self.register_service(&body).await?;
        }
        Ok(())
    }

    /// Puts one service into the catalog, or another in its place.
    ///
    /// # Errors
    /// As `register`.
    pub async fn register_service(&self, body: &Json) -> Result<(), Fault> {
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        self.ask(Method::PUT, path, body).await.map(drop)
    }

    /// Takes one service out.
    ///
    /// # Errors
    /// As `register`.
    pub async fn remove(&self, id: &str) -> Result<(), Fault> {
        let path = format!("/v1/agent/service/deregister/{}", escaped(id));
        self.ask(Method::PUT, &path, &Json::Null).await.map(drop)
    }

    /// What its agent has, whosever it is.
    ///
    /// # Errors
    /// As `register`.
    pub async fn services(&self) -> Result<Listed, Fault> {
        let path = "/v1/agent/services";
        let known: BTreeMap<String, Known> = self.read(path).await?;
        Ok(known.into_iter().map(|(id, one)| (id, one.meta.unwrap_or_default())).collect())
    }

    /// What it thinks of each service that is asked at all, by id: of each check, whether it passes.
    ///
    /// # Errors
    /// As `register`.
    pub async fn checks(&self) -> Result<BTreeMap<String, Vec<bool>>, Fault> {
        let known: BTreeMap<String, KnownCheck> = self.read("/v1/agent/checks").await?;
        let mut checks: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for check in known.into_values() {
            checks.entry(check.service_id).or_default().push(check.status == "passing");
        }
        Ok(checks)
    }

    /// What its agent is, as attributes of a node.
    ///
    /// # Errors
    /// As `register`.
    pub async fn attributes(&self) -> Result<BTreeMap<String, String>, Fault> {
        let ItsConfig { version, datacenter, node_name } =
            self.read::<Itself>("/v1/agent/self").await?.config;
        let named = [
            (CONSUL_VERSION, version),
            ("consul.datacenter", datacenter),
            ("unique.consul.name", node_name),
        ];
        let named = named.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(named.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What came of asking it: what changes is said, once, whoever asks.
    pub fn note(&self, fault: Option<&Fault>) {
        let was_away = self.is_away.swap(fault.is_some(), Ordering::Relaxed);
        match fault {
            Some(why) if !was_away => {
                tracing::warn!("{why}: all else goes on, and it is asked again");
            }
            None if was_away => tracing::info!("Consul answers again"),
            Some(_) | None => {}
        }
    }

    /// Takes everything back.
    ///
    /// # Errors
    /// As `register`.
    pub async fn deregister(&self) -> Result<(), Fault> {
        for service in &self.services {
            self.remove(&service.id).await?;
        }
        Ok(())
    }

    /// Where servers are dialled, `host:port`.
    ///
    /// # Errors
    /// As `register`.
    pub async fn servers(&self) -> Result<Vec<String>, Fault> {
        let path = format!("/v1/catalog/service/{}?tag={RPC_TAG}", self.config.server_service);
        let entries: Vec<Entry> = self.read(&path).await?;
        Ok(entries.into_iter().filter_map(Entry::address).collect())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let answer = self.ask(Method::GET, path, &Json::Null).await?;
        serde_json::from_slice(&answer).map_err(|why| {
            let address = &self.config.address;
            Fault::Away(format!("Consul at {address}: {path} was not answered as expected: {why}"))
        })
    }

    async fn ask(&self, method: Method, path: &str, body: &Json) -> Result<Vec<u8>, Fault> {
        let address = &self.config.address;
        let failed = |why: String| Fault::Away(format!("Consul at {address}: {why}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.config.token {
            request = request.header(TOKEN, token);
        }
        let request = request.body(body).map_err(|why| failed(why.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|why| why.to_string())?;
            let status = response.status();
            let read =
                axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
            Ok::<_, String>((status, read.map_err(|why| why.to_string())?))
        };
        let answered = timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned());
        let (status, bytes) = answered.and_then(|answered| answered).map_err(failed)?;
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&bytes);
            let why = format!("Consul at {address}: {status}: {}", said.trim_end());
            let is_final = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
            return Err(if is_final { Fault::Refused(why) } else { Fault::Away(why) });
        }
        Ok(bytes.to_vec())
    }
}

impl Entry {
    fn address(self) -> Option<String> {
        let host =
            if self.service_address.is_empty() { self.address } else { self.service_address };
        config::host_port(&host, self.service_port).filter(|_| self.service_port != 0)
    }
}

/// As a part of a path.
fn escaped(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _to_a_string = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_where_it_says_or_where_its_node_is() {
        let read = |text: &str| serde_json::from_str::<Entry>(text).unwrap().address();
        let own = r#"{"Address": "10.0.0.1", "ServiceAddress": "10.0.0.2", "ServicePort": 4647}"#;
        assert_eq!(read(own).as_deref(), Some("10.0.0.2:4647"));
        let of_node = r#"{"Address": "fd00::1", "ServiceAddress": "", "ServicePort": 4647}"#;
        assert_eq!(read(of_node).as_deref(), Some("[fd00::1]:4647"));
        assert_eq!(read(r#"{"Address": "10.0.0.1"}"#), None);
    }
}
