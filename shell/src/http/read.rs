//! Reads: at a read point, of the shadow, and again and again while somebody waits for a change.
//!
//! Invariants
//! - a read that is not stale sees every write that was answered before it began;
//! - who waits is woken by a change of what they look at, or hears after their time that there was none;
//! - the state is not held while anything is awaited.
use std::time::Duration;

use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use drover_core::api::{Request, Response as Said};
use drover_core::state::State;
use drover_core::types::Index;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::{self, Failure, KNOWN_LEADER, LAST_CONTACT, NEXT_TOKEN};
use super::query::{Freshness, Page, Query};
use super::{Answer, Http};
use crate::clock::Clock;
use crate::shadow::{Key, Shadow};

/// How long the shadow may need to reach a read point.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen.
pub(super) struct Seen<T> {
    /// The last change of what was looked at.
    pub(super) index: Index,
    pub(super) body: Result<T, Failure>,
    /// The first row of the next page.
    pub(super) next: Option<String>,
}

impl<T> Seen<T> {
    pub(super) const fn of(index: Index, body: T) -> Self {
        Self { index, body: Ok(body), next: None }
    }

    /// `what` is not in the table whose last change was at `index`.
    pub(super) fn missing(index: Index, what: &str) -> Self {
        Self { index, body: Err(Failure::missing(what)), next: None }
    }
}

impl<T> Seen<Vec<T>> {
    /// The page of `rows` that was asked for. `token` names a row; rows come in its order.
    pub(super) fn page<R>(
        index: Index,
        rows: impl Iterator<Item = R>,
        page: &Page,
        token: impl Fn(&R) -> String,
        show: impl Fn(R) -> T,
    ) -> Self {
        let from = page.from.as_deref();
        let mut rows = rows.skip_while(|row| from.is_some_and(|from| token(row).as_str() != from));
        let shown = rows.by_ref().take(page.rows_max.unwrap_or(usize::MAX)).map(show).collect();
        Self { index, body: Ok(shown), next: rows.next().map(|row| token(&row)) }
    }
}

impl Http {
    pub(super) fn shadow(&self) -> Result<&Shadow, Failure> {
        self.api.shadow.as_ref().ok_or_else(|| Failure::broken("this agent is not a server"))
    }

    /// The state, at least as new as the query demands; and whether a leader is known.
    pub(super) async fn fresh(&self, freshness: Freshness) -> Result<(&Shadow, bool), Failure> {
        let shadow = self.shadow()?;
        match freshness {
            Freshness::Stale => {
                let view = self.api.core.view().await;
                let leader = view.and_then(|view| view.server).and_then(|server| server.leader);
                Ok((shadow, leader.is_some()))
            }
            Freshness::Fresh(consistency) => {
                let index = match self.ask(Request::ReadPoint { consistency }).await? {
                    Said::ReadPoint { index } | Said::Applied { index, .. } => index,
                };
                if !shadow.wait_for(index, PATIENCE).await {
                    let why = "this server is behind: ask again, or ask another server";
                    return Err(Failure::new(axum::http::StatusCode::GATEWAY_TIMEOUT, why));
                }
                Ok((shadow, true))
            }
        }
    }

    /// What `look` sees; if the query waits for a change, once there is one. `keys` says what it
    /// looks at.
    pub(super) async fn read<T: Serialize>(
        &self,
        query: &Query,
        keys: impl Fn(&State) -> Vec<Key>,
        look: impl Fn(&State) -> Seen<T>,
    ) -> Answer {
        if query.has("filter") {
            let why = "filter expressions are not supported: filter what this lists";
            return Err(Failure::bad(why));
        }
        let (shadow, known_leader) = self.fresh(query.freshness).await?;
        let Some(wait) = query.wait else {
            let seen = look(&shadow.read());
            return dressed(seen, known_leader);
        };
        let deadline = Instant::now() + wait.most + jitter(wait.most);
        loop {
            let watched = keys(&shadow.read());
            let watch = shadow.watch(&watched);
            let seen = look(&shadow.read());
            if wait.index < seen.index {
                return dressed(seen, known_leader);
            }
            if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                let seen = look(&shadow.read());
                return dressed(seen, known_leader);
            }
        }
    }
}

/// Up to a sixteenth of `most`, so that clients who began together do not come back together.
fn jitter(most: Duration) -> Duration {
    let share = u32::try_from(Clock::new().mono().ns % 1_000).unwrap_or(0);
    most / 16 * share / 1_000
}

fn dressed<T: Serialize>(seen: Seen<T>, known_leader: bool) -> Answer {
    let answered = seen.body.and_then(|body| answer::json(&body));
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    if let Some(next) = seen.next
        && let Ok(next) = HeaderValue::from_str(&next)
    {
        response.headers_mut().insert(NEXT_TOKEN, next);
    }
    mark_read(&mut response, seen.index, known_leader);
    Ok(response)
}

/// The three headers of every read.
pub(super) fn mark_read(response: &mut Response, index: Index, known_leader: bool) {
    answer::set_index(response, index);
    let known = HeaderValue::from_static(if known_leader { "true" } else { "false" });
    response.headers_mut().insert(KNOWN_LEADER, known);
    response.headers_mut().insert(LAST_CONTACT, HeaderValue::from_static("0"));
}
