//! Passing requests on: to the node that an alloc is on, or, from an agent without tables, to a
//! server. Bodies of answers are passed through as they come.
//!
//! Invariants
//! - a request is passed on at most `HOPS_MAX` times, so that agents that disagree do not play ball;
//! - a request is tried again elsewhere only if it reached nobody.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drover_core::types::{AllocId, NodeId, Uuid};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::allocs::ALLOC_ID;
use super::answer::Failure;
use super::query::{self, Freshness};
use super::{BODY_BYTES_MAX, Http, Shared, region, snapshot};
use crate::api::agent::{full_name, id as server_id};
use crate::logs;

pub(super) type Client = Legacy<HttpConnector, Body>;

/// How often the request has been passed on.
const HOPS: HeaderName = HeaderName::from_static("x-drover-hops");
/// From a client to a server, from there to another region, and to who leads there.
const HOPS_MAX: u32 = 3;
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Headers that are about one connection only, and those that say who asks.
const OWN_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::HOST,
    header::CONTENT_LENGTH,
];

pub(super) fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_PATIENCE));
    Legacy::builder(TokioExecutor::new()).build(connector)
}

/// Said where a loopback address led nowhere: it is advertised by whoever listens on nothing else.
const ONLY_THERE: &str = "an agent on another machine answers that machine only, unless its \
                          configuration says unsafe_open = true";

/// Where a request is answered.
enum Place {
    Here,
    /// At the first of these addresses that can be reached.
    At(Vec<String>),
}

pub(super) async fn pass_on(State(http): State<Shared>, request: Request, next: Next) -> Response {
    let place = match http.place_of(request.uri()).await {
        Ok(place) => place,
        Err(failure) => return failure.into_response(),
    };
    match place {
        Place::Here => next.run(request).await,
        Place::At(addresses) => {
            http.forward(addresses, request).await.unwrap_or_else(IntoResponse::into_response)
        }
    }
}

impl Http {
    async fn place_of(&self, uri: &Uri) -> Result<Place, Failure> {
        let words: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        let is_server = self.api.shadow.is_some();
        if let Some(region) = region::named_by(uri, &self.api.me.region).filter(|_| is_server) {
            return Ok(Place::At(self.servers_of(&region).await?));
        }
        match words[..] {
            ["v1", "client", "fs", _, id] | ["v1", "client", "allocation", id, _] => {
                self.place_of_alloc(query::uuid(id)?).await
            }
            ["v1", "client", ..] | ["v1", "agent", "monitor" | "health" | "self"] => {
                self.place_of_agent(uri.query().unwrap_or_default()).await
            }
            ["v1", "operator", "raft", "info"] if is_server => {
                self.place_of_agent(uri.query().unwrap_or_default()).await
            }
            // Nobody else knows how far the others are.
            ["v1", "operator", "autopilot", "health"] if is_server => {
                let leader = self.place_of_server("leader").await;
                leader.map_err(|_| Failure::broken("No cluster leader"))
            }
            ["v1", "agent", "members"] if !is_server => Ok(self.any_server()),
            ["v1", "agent", ..] | ["v1", "metrics"] | [""] => Ok(Place::Here),
            _ if is_server => Ok(Place::Here),
            _ => Ok(self.any_server()),
        }
    }

    async fn place_of_alloc(&self, alloc: Uuid) -> Result<Place, Failure> {
        let has_files = |root: &Path| self.api.me.client.is_some() && logs::has_files(root, alloc);
        if self.api.me.alloc_dir.as_deref().is_some_and(has_files) {
            return Ok(Place::Here);
        }
        let Some(shadow) = &self.api.shadow else { return Ok(self.any_server()) };
        let look = || {
            let state = shadow.read();
            state.alloc_by_uuid(alloc).map(|alloc| alloc.node)
        };
        let found = match look() {
            Some(node) => Some(node),
            None => {
                self.fresh(Freshness::default()).await?;
                look()
            }
        };
        self.place_of_node(found.ok_or_else(|| Failure::missing("alloc"))?)
    }

    fn place_of_node(&self, node: NodeId) -> Result<Place, Failure> {
        if self.api.me.client == Some(node) {
            return Ok(Place::Here);
        }
        let Some(shadow) = &self.api.shadow else { return Ok(self.any_server()) };
        let state = shadow.read();
        let row = state.node(node).ok_or_else(|| Failure::missing("node"))?;
        if row.spec.http_address.is_empty() {
            let why = format!("no path to node {}: it advertises no address", row.spec.name);
            return Err(Failure::new(StatusCode::BAD_GATEWAY, why));
        }
        Ok(Place::At(vec![row.spec.http_address.clone()]))
    }

    /// The answer of another node to a request that names it in its body; `None`: it is this one.
    pub(super) async fn ask_node(
        &self,
        node: NodeId,
        request: Request,
    ) -> Result<Option<Response>, Failure> {
        match self.place_of_node(node)? {
            Place::Here => Ok(None),
            Place::At(addresses) => self.forward(addresses, request).await.map(Some),
        }
    }

    fn any_server(&self) -> Place {
        Place::At((self.api.servers)())
    }

    /// The agent that the query names, if it names one.
    async fn place_of_agent(&self, text: &str) -> Result<Place, Failure> {
        let named = |name| query::value(text, name);
        if let Some(id) = named("node_id").or_else(|| named("client_id")) {
            return self.place_of_node(NodeId(query::uuid(&id)?.0));
        }
        match named("server_id") {
            Some(name) => self.place_of_server(&name).await,
            None => Ok(Place::Here),
        }
    }

    /// The server called `name`: `leader`, an id, a name, or `name.region`.
    async fn place_of_server(&self, name: &str) -> Result<Place, Failure> {
        let Some(server) = self.view().await?.server else { return Ok(self.any_server()) };
        let found = server.members.iter().find(|member| match name {
            "leader" => Some(member.id) == server.leader,
            _ => {
                let full = full_name(member);
                name == member.name || name == full || name == server_id(member.id)
            }
        });
        let found = found.ok_or_else(|| Failure::missing("server"))?;
        if found.id == server.id {
            return Ok(Place::Here);
        }
        Ok(Place::At(vec![found.http_address.clone()]))
    }

    /// Ask the first of `addresses` that can be reached.
    pub(super) async fn forward(
        &self,
        addresses: Vec<String>,
        request: Request,
    ) -> Result<Response, Failure> {
        let (parts, body) = request.into_parts();
        let hops = parts.headers.get(&HOPS).and_then(|hops| hops.to_str().ok());
        let hops: u32 = hops.and_then(|hops| hops.parse().ok()).unwrap_or(0);
        if HOPS_MAX <= hops {
            let mut why = "no path to the agent: the agents disagree on who it is".to_owned();
            if addresses.iter().any(|address| is_loopback(address)) {
                why = format!("{why}; {ONLY_THERE}");
            }
            return Err(Failure::new(StatusCode::BAD_GATEWAY, why));
        }
        let is_snapshot = parts.uri.path() == snapshot::PATH;
        let bytes_max = if is_snapshot { snapshot::BODY_BYTES_MAX } else { BODY_BYTES_MAX };
        let body = axum::body::to_bytes(body, bytes_max).await;
        let body = body.map_err(|why| {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: {why}"))
        })?;
        let mut headers = parts.headers;
        for name in OWN_HEADERS {
            headers.remove(name);
        }
        headers.remove(header::ORIGIN);
        headers.insert(HOPS, HeaderValue::from(hops + 1));
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut unreachable = Vec::new();
        let remedy = addresses.iter().all(|address| is_loopback(address)).then_some(ONLY_THERE);
        for address in addresses {
            match self.ask_at(&address, path, &parts.method, &headers, body.clone()).await {
                Ok(response) => return Ok(response),
                Err(Lost::NotReached(why)) => unreachable.push(format!("{address}: {why}")),
                Err(Lost::Broken(failure)) => return Err(failure),
            }
        }
        let why = if unreachable.is_empty() {
            "No servers are known".to_owned()
        } else {
            unreachable.extend(remedy.map(str::to_owned));
            unreachable.join("; ")
        };
        Err(Failure::new(StatusCode::BAD_GATEWAY, format!("no path to the agent: {why}")))
    }

    async fn ask_at(
        &self,
        address: &str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, Lost> {
        let uri = format!("http://{address}{path}").parse::<Uri>();
        let uri = uri.map_err(|why| Lost::NotReached(why.to_string()))?;
        let mut request = Request::new(Body::from(body));
        (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri);
        *request.headers_mut() = headers.clone();
        match self.proxy.request(request).await {
            Ok(response) => {
                let mut response = response.map(Body::new);
                response.headers_mut().remove(header::CONNECTION);
                response.headers_mut().remove(header::TRANSFER_ENCODING);
                Ok(response)
            }
            Err(why) if why.is_connect() => Err(Lost::NotReached(why.to_string())),
            Err(why) => Err(Lost::Broken(Failure::new(
                StatusCode::BAD_GATEWAY,
                format!("{address} did not answer: {why}"),
            ))),
        }
    }

    /// The id of an alloc of this node. An agent without tables asks a server for it.
    pub(super) async fn own_alloc(&self, id: &str) -> Result<AllocId, Failure> {
        if self.api.shadow.is_some() {
            return self.alloc_id(id);
        }
        let uuid = query::uuid(id)?;
        let mut request = Request::new(Body::empty());
        let path = format!("/v1/allocation/{uuid}?stale&namespace=*");
        *request.uri_mut() = path.parse().map_err(|_| Failure::missing("alloc"))?;
        let answer = self.forward((self.api.servers)(), request).await?;
        let known = answer.headers().get(ALLOC_ID).and_then(|id| id.to_str().ok()?.parse().ok());
        known.map(AllocId).ok_or_else(|| Failure::missing("alloc"))
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback())
}

/// Why there is no answer.
enum Lost {
    NotReached(String),
    Broken(Failure),
}
