//! The API as it would have answered at a moment that is past: from the state of a replayed agent.
//!
//! Invariants
//! - nothing can be written, and nobody else is asked: what is not in the agent itself has no answer.
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drover_core::agent::{Agent, View};
use drover_core::api::{Rejection, Request as Asked, Response as Said};
use drover_core::types::Index;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::answer::Failure;
use super::{Api, LogTap, Me, region};
use crate::config::Introduction;
use crate::run::{Core, Inbox};
use crate::shadow::Shadow;

/// Paths that are written to in order to read.
const READS: [&str; 5] =
    ["/v1/search", "/v1/search/fuzzy", "/v1/jobs/parse", "/v1/validate/job", "/v1/agent/self"];

/// What an agent knew: as much as answers reads.
#[derive(Debug)]
pub struct Past {
    shadow: Shadow,
    view: View,
    me: Me,
}

impl Past {
    /// `None`: the agent is no server, or has not booted: it holds no state.
    #[must_use]
    pub fn of(agent: &Agent) -> Option<Self> {
        let state = agent.state()?.clone();
        let view = agent.view();
        let config = agent.config();
        let own = config.server.as_ref().map(|server| &server.gossip.own);
        let text = |of: fn(&drover_core::gossip::Member) -> &String| {
            own.map(|own| of(own).clone()).unwrap_or_default()
        };
        let me = Me {
            name: text(|own| &own.name),
            region: text(|own| &own.region),
            datacenter: text(|own| &own.datacenter),
            version: text(|own| &own.build),
            server: true,
            client: config.client.as_ref().map(|client| client.client.node),
            alloc_dir: None,
            http_address: text(|own| &own.http_address),
            config: serde_json::Value::Null,
        };
        Some(Self { shadow: Shadow::still(state), view, me })
    }

    /// Answer on `listener` until `shutdown`.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let (core, inbox) = Core::channel();
        let index = self.shadow.applied();
        let answering = tokio::spawn(answer(inbox, self.view, index));
        let (logs, _nobody_logs) = LogTap::new();
        let api = Api {
            core,
            shadow: Some(self.shadow),
            me: self.me,
            node: None,
            logs,
            servers: Arc::new(Vec::new),
            joins: None,
            introduction: Introduction::default(),
            unsafe_open: false,
        };
        let served = super::serve(listener, router(api), shutdown).await;
        answering.abort();
        served
    }
}

fn router(api: Api) -> Router {
    let region: Arc<str> = api.me.region.as_str().into();
    let only_known = axum::middleware::from_fn_with_state(region, only_what_is_known);
    super::router(Arc::new(api)).layer(only_known)
}

/// Refuses before anything is passed on to where the addresses of the past lead today.
async fn only_what_is_known(State(own): State<Arc<str>>, request: Request, next: Next) -> Response {
    if let Some(region) = region::named_by(request.uri(), &own) {
        let why =
            format!("this is a replay of region {own:?}: it knows nothing of region {region:?}");
        return Failure::new(StatusCode::FORBIDDEN, why).into_response();
    }
    let path = request.uri().path();
    let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let is_dry_run = path.ends_with("/plan") || READS.contains(&path);
    if !is_read && !is_dry_run {
        let why = "this is a replay: what is past cannot be changed. Ask the cluster itself for that, \
                   without `drover replay`";
        return Failure::new(StatusCode::FORBIDDEN, why).into_response();
    }
    if path.starts_with("/v1/client/") || path == "/v1/agent/monitor" {
        let why = "this is a replay: what tasks and agents wrote, and what a machine did, is not in an \
                   input log. Look at the node itself";
        return Failure::new(StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

/// In place of the loop: nothing is stepped any more.
async fn answer(mut inbox: mpsc::Receiver<Inbox>, view: View, index: Index) {
    while let Some(item) = inbox.recv().await {
        match item {
            Inbox::View(answer) => drop(answer.send(view.clone())),
            Inbox::Request { request, answer } => {
                let said = match request {
                    Asked::ReadPoint { .. } => Ok(Said::ReadPoint { index }),
                    // The layer above lets none of them through.
                    _ => Err(Rejection::Unknown),
                };
                drop(answer.send(said));
            }
            Inbox::Stats { answer, .. } => drop(answer.send(Vec::new())),
            Inbox::Event(_)
            | Inbox::Network(_)
            | Inbox::Driver(_)
            | Inbox::Disk(_)
            | Inbox::Shadow(_)
            | Inbox::Snapshot(_)
            | Inbox::Stop(_) => (),
        }
    }
}
