//! Who is answered at all.
//!
//! A browser on the operator's machine carries requests of any page it shows. So a request that a
//! page of another origin sent is refused, and one that names a host which is not this one: the page
//! may have bound its own name to our address (DNS rebinding).
//!
//! Invariants
//! - unless the operator opened the agent, only this machine is answered.
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Failure;
use super::{Me, Shared};
use crate::api::agent::split;
use crate::clock::Clock;

pub(super) async fn guard(State(http): State<Shared>, request: Request, next: Next) -> Response {
    http.metrics.on_request();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let judged = judge(&http.api.me, http.api.unsafe_open, peer, host, request.headers());
    if let Err(why) = judged {
        return Failure::new(StatusCode::FORBIDDEN, why).into_response();
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = Clock::new().mono();
    let response = next.run(request).await;
    let ms = Clock::new().mono().ms_since(began);
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, ms, "request complete");
    response
}

/// Why the request is refused, if it is.
fn judge(
    me: &Me,
    open: bool,
    peer: Option<IpAddr>,
    host: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), String> {
    // Without a peer the request came from within the process.
    if !open && peer.is_some_and(|peer| !peer.to_canonical().is_loopback()) {
        return Err("this agent answers its own machine only: configure TLS or ACLs, or set \
                    unsafe_open where every machine that can reach it may do everything"
            .into());
    }
    let host = host.unwrap_or_default();
    if !open && !host.is_empty() && !is_own(me, split_host(host)) {
        return Err(format!(
            "{host:?} is not a name of this agent: use localhost or its advertised address"
        ));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    match origin {
        Some(origin) if origin.split_once("://").map(|(_, rest)| rest) != Some(host) => {
            Err(format!("a page of {origin:?} may not use this agent"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The host without its port.
fn split_host(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn is_own(me: &Me, name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let named = |own: &str| !own.is_empty() && bare.eq_ignore_ascii_case(own);
    let hostname = rustix::system::uname();
    loopback
        || bare.eq_ignore_ascii_case("localhost")
        || named(split(&me.http_address).0)
        || named(&me.name)
        || hostname.nodename().to_str().is_ok_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(host: &str, origin: Option<&str>, peer: &str, open: bool) -> bool {
        let me = Me { name: "n1".into(), http_address: "10.0.0.7:4646".into(), ..Me::default() };
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        judge(&me, open, Some(peer.parse().unwrap()), Some(host), &headers).is_ok()
    }

    #[test]
    fn own_names_are_answered_and_foreign_ones_refused() {
        for host in ["localhost:4646", "127.0.0.1:4646", "[::1]:4646", "10.0.0.7", "N1:80"] {
            assert!(judged(host, None, "127.0.0.1", false), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:4646", "10.0.0.8:4646"] {
            assert!(!judged(host, None, "127.0.0.1", false), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused_even_by_an_open_agent() {
        let host = "localhost:4646";
        assert!(judged(host, Some("http://localhost:4646"), "127.0.0.1", false));
        for origin in ["http://evil.example", "http://localhost:8080", "null"] {
            assert!(!judged(host, Some(origin), "127.0.0.1", false), "{origin}");
            assert!(!judged(host, Some(origin), "127.0.0.1", true), "{origin}");
        }
    }

    #[test]
    fn other_machines_are_answered_only_by_an_open_agent() {
        assert!(!judged("10.0.0.7:4646", None, "10.0.0.9", false));
        assert!(judged("10.0.0.7:4646", None, "10.0.0.9", true));
        assert!(judged("localhost:4646", None, "::ffff:127.0.0.1", false));
    }
}
