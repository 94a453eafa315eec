//! What Drover has only one of, or none: answered so that Nomad's clients and dashboards go on.
//!
//! Invariants
//! - a list of what does not exist is empty, not an error; a thing that does not exist is not found;
//! - a write that would do nothing is refused.
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use drover_core::types::Index;

use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::read::mark_read;
use super::{Http, Shared, write};
use crate::api::misc::Namespace;

/// Of what never changes.
const NEVER: Index = Index(1);

pub(super) fn routes() -> Router<Shared> {
    let mut routes = Router::new()
        .route("/", get(front))
        .route("/v1/namespaces", get(namespaces))
        .route("/v1/namespace/{name}", get(namespace).merge(write(not_supported)))
        .route("/v1/namespace", write(not_supported))
        .route("/v1/operator/license", get(|| async { StatusCode::NO_CONTENT }))
        .route("/v1/acl/token/self", get(no_acls))
        .route("/v1/acl/tokens", get(no_acls))
        .route("/v1/acl/policies", get(no_acls));
    for path in ["plugins", "volumes", "services", "vars", "scaling/policies"] {
        routes = routes.route(&format!("/v1/{path}"), get(empty));
    }
    for path in ["quotas", "sentinel/policies", "recommendations"] {
        routes = routes.route(&format!("/v1/{path}"), any(enterprise));
    }
    routes.route("/v1/event/stream", any(not_supported))
}

/// Nothing is served here: as Nomad says it, by the status alone.
pub(super) async fn unknown() -> StatusCode {
    StatusCode::NOT_FOUND
}

pub(super) fn wrong() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "Invalid method")
}

pub(super) async fn wrong_method() -> Failure {
    wrong()
}

/// The index of such a read never grows, so a blocking query waits its time.
async fn constant(http: &Http, query: &Query, body: Answer) -> Answer {
    if let Some(wait) = query.wait
        && NEVER <= wait.index
    {
        tokio::time::sleep(wait.most).await;
    }
    let (_, known_leader) = http.fresh(query.freshness).await?;
    let mut response = body.unwrap_or_else(IntoResponse::into_response);
    mark_read(&mut response, NEVER, known_leader);
    Ok(response)
}

async fn empty(State(http): State<Shared>, query: Query) -> Answer {
    constant(&http, &query, answer::json(&[(); 0])).await
}

async fn namespaces(State(http): State<Shared>, query: Query) -> Answer {
    let all = [Namespace::DEFAULT];
    let found: Vec<_> = all.iter().filter(|one| one.name.starts_with(&query.prefix)).collect();
    constant(&http, &query, answer::json(&found)).await
}

async fn namespace(State(http): State<Shared>, Path(name): Path<String>, query: Query) -> Answer {
    let body = match name.as_str() {
        "default" => answer::json(&Namespace::DEFAULT),
        _ => Err(Failure::missing("Namespace")),
    };
    constant(&http, &query, body).await
}

async fn no_acls() -> Failure {
    Failure::bad("ACL support disabled")
}

async fn enterprise() -> Failure {
    Failure::new(StatusCode::NOT_IMPLEMENTED, "Nomad Enterprise only endpoint")
}

async fn not_supported() -> Failure {
    Failure::new(StatusCode::NOT_IMPLEMENTED, "Drover does not support this yet")
}

/// Something that Nomad's servers must be told to do and Drover's do by themselves.
pub(super) async fn nothing_to_do(_: Query) -> StatusCode {
    StatusCode::OK
}

async fn front(State(http): State<Shared>) -> Response {
    let me = &http.api.me;
    let text = format!("Drover {} ({}.{}): the API is at /v1/\n", me.version, me.name, me.region);
    answer::text(StatusCode::OK, text)
}
