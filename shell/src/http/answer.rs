//! How handlers answer: JSON, or a status with a line of text.
//!
//! Invariants
//! - the text of an error has no line end and is not JSON;
//! - every rejection of the core has one status.
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use drover_core::api::Rejection;
use drover_core::types::Index;
use serde::Serialize;

pub(super) const INDEX: HeaderName = HeaderName::from_static("x-nomad-index");
pub(super) const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-nomad-knownleader");
pub(super) const LAST_CONTACT: HeaderName = HeaderName::from_static("x-nomad-lastcontact");
pub(super) const NEXT_TOKEN: HeaderName = HeaderName::from_static("x-nomad-nexttoken");

/// What a handler comes to.
pub(super) type Answer = Result<Response, Failure>;

/// A status with a reason.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) why: String,
    /// After how many seconds to ask again.
    retry_s: Option<u64>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), retry_s: None }
    }

    /// The caller must mend something.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// `what` does not exist.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    /// Too much at once.
    pub(super) fn busy(why: impl Into<String>, retry_s: u64) -> Self {
        Self { retry_s: Some(retry_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, why) }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotLeader { .. } => Self::broken("No cluster leader"),
            Rejection::Invalid { field, why } if field.is_empty() => Self::bad(why),
            Rejection::Invalid { field, why } => Self::bad(format!("{field}: {why}")),
            Rejection::NotFound { what } => Self::missing(&what),
            Rejection::Conflict { index } => Self::broken(format!(
                "it was changed meanwhile, at index {}: read it again",
                index.0
            )),
            Rejection::Overloaded { retry_ms } => {
                let why = format!("too many requests are waiting: ask again in {retry_ms} ms");
                Self::busy(why, retry_ms.div_ceil(1_000).max(1))
            }
            Rejection::Unknown => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the leader was lost before it answered: the request may or may not have been \
                 carried out. Look at the result before asking again",
            ),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = text(self.status, self.why);
        if let Some(seconds) = self.retry_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A bare text.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `value` as JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value)
        .map_err(|why| Failure::broken(format!("the answer cannot be written: {why}")))?;
    let mut response = Response::new(Body::from(bytes));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Says which state the answer is of. Zero means "do not wait" to clients, so it is never said.
pub(super) fn set_index(response: &mut Response, index: Index) {
    response.headers_mut().insert(INDEX, HeaderValue::from(index.0.max(1)));
}
