//! The HTTP API: Nomad's v1, so that its clients, libraries and dashboards work unchanged.
//!
//! Reads come from the shadow, after a read point unless `stale` is asked for; writes go to the core
//! and are answered once the shadow has applied them, so that who wrote reads what was written. An
//! agent without a shadow passes on all that is not about itself.
//!
//! Invariants
//! - an error is a status and a bare line of text that says what to do; of a path that there is not, the
//!   status is all;
//! - nobody but the machine's own users is answered, unless the operator opened the agent to all;
//! - bodies, pages and streams are bounded; a list that is asked for without `per_page` is whole.
//!
//! It decides nothing about jobs: `jobspec` checks them, the core judges them.
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post, put};
use drover_core::types::NodeId;
use tokio::sync::Semaphore;

use crate::config::Introduction;
use crate::node::OwnNode;
use crate::run::Core;
use crate::shadow::Shadow;
use crate::transport::Transport;

mod agent;
mod allocs;
mod answer;
mod autopilot;
mod client;
mod deployments;
mod diff;
mod dress;
mod emptying;
mod evals;
mod explain;
mod fs;
mod guard;
mod host;
mod introduction;
mod job;
mod jobs;
mod launch;
mod membership;
mod metadata;
mod metrics;
mod misc;
pub mod monitor;
mod nodes;
mod operator;
pub mod past;
mod plan;
mod pools;
mod proxy;
mod query;
mod raft;
mod read;
mod rebalance;
mod region;
mod scheduler;
mod search;
mod snapshot;
mod write;

pub use emptying::empty_node;
pub use monitor::LogTap;

use self::answer::Answer;

/// The largest request body: a job file of the largest size as JSON, with room for escapes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Streams (logs, files, monitors) that are open at once.
const STREAMS_MAX: usize = 1_024;
/// Dry runs and explanations at once: each holds a state of its own.
const PLANS_MAX: usize = 2;
/// Snapshots made at once, for the same reason.
const SAVES_MAX: usize = 1;
/// Snapshots restored at once: there is one state.
const RESTORES_MAX: usize = 1;

/// What the API works with.
pub struct Api {
    pub core: Core,
    /// `None` on an agent that is only a client.
    pub shadow: Option<Shadow>,
    pub me: Me,
    /// On a client.
    pub node: Option<OwnNode>,
    pub logs: LogTap,
    /// HTTP addresses of servers, best first; asked where there is no shadow.
    pub servers: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// `None` where nobody can be dialled.
    pub joins: Option<Joins>,
    pub introduction: Introduction,
    /// The operator wants everyone on the network to be answered, without any check of who it is.
    pub unsafe_open: bool,
}

/// How other servers are reached.
#[derive(Clone)]
pub struct Joins {
    pub transport: Transport,
    /// Where none is named.
    pub port: u16,
}

/// What the agent says of itself.
#[derive(Clone, Debug, Default)]
pub struct Me {
    pub name: String,
    pub region: String,
    pub datacenter: String,
    pub version: String,
    pub server: bool,
    pub client: Option<NodeId>,
    /// Where the files of this node's allocs are.
    pub alloc_dir: Option<PathBuf>,
    /// Advertised, `host:port`.
    pub http_address: String,
    /// The whole configuration, secrets left out.
    pub config: serde_json::Value,
}

/// What handlers share.
struct Http {
    api: Arc<Api>,
    streams: Arc<Semaphore>,
    plans: Semaphore,
    saves: Semaphore,
    restores: Semaphore,
    proxy: proxy::Client,
    host: host::Host,
    metrics: metrics::Counters,
}

type Shared = Arc<Http>;

fn shared(api: Arc<Api>) -> Shared {
    Arc::new(Http {
        api,
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        plans: Semaphore::new(PLANS_MAX),
        saves: Semaphore::new(SAVES_MAX),
        restores: Semaphore::new(RESTORES_MAX),
        proxy: proxy::client(),
        host: host::Host::default(),
        metrics: metrics::Counters::default(),
    })
}

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    let http = shared(api);
    state_routes()
        .merge(client_routes())
        .merge(agent_routes())
        .merge(misc::routes())
        .fallback(misc::unknown)
        .method_not_allowed_fallback(misc::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&http), proxy::pass_on))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&http), dress::dress))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&http), guard::guard))
        .with_state(http)
}

/// Serve `router` until `shutdown`; answers that are under way are finished first.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

/// A handler for both methods that clients write with.
fn write<H, T>(handler: H) -> MethodRouter<Shared>
where
    H: axum::handler::Handler<T, Shared>,
    T: 'static,
{
    put(handler.clone()).merge(post(handler))
}

fn state_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/jobs", get(jobs::list).merge(write(jobs::register)))
        .route("/v1/jobs/parse", write(jobs::parse))
        .route("/v1/validate/job", write(jobs::validate))
        .route("/v1/job/{*rest}", get(job::read).merge(write(job::write)).merge(delete(job::stop)))
        .route("/v1/acl/identity/client-introduction-token", write(introduction::create))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/node/{id}", get(nodes::one))
        .route("/v1/node/pools", get(pools::list).merge(write(pools::apply)))
        .route(
            "/v1/node/pool/{name}",
            get(pools::one).merge(write(pools::apply_named)).merge(delete(pools::delete)),
        )
        .route("/v1/node/pool/{name}/nodes", get(pools::nodes))
        .route("/v1/node/pool/{name}/jobs", get(pools::jobs))
        .route("/v1/node/{id}/allocations", get(nodes::allocations))
        .route("/v1/node/{id}/eligibility", write(nodes::eligibility))
        .route("/v1/node/{id}/drain", write(nodes::drain))
        .route("/v1/allocations", get(allocs::list))
        .route("/v1/allocation/{id}", get(allocs::one))
        .route("/v1/allocation/{id}/explain", get(explain::alloc))
        .route("/v1/allocation/{id}/stop", write(allocs::stop))
        .route("/v1/evaluations", get(evals::list))
        .route("/v1/evaluation/{id}", get(evals::one))
        .route("/v1/evaluation/{id}/allocations", get(evals::allocations))
        .route("/v1/deployments", get(deployments::list))
        .route("/v1/deployment/{id}", get(deployments::one))
        .route("/v1/deployment/allocations/{id}", get(deployments::allocations))
        .route("/v1/deployment/promote/{id}", write(deployments::promote))
        .route("/v1/deployment/pause/{id}", write(deployments::pause))
        .route("/v1/deployment/fail/{id}", write(deployments::fail))
        .route("/v1/deployment/unblock/{id}", write(deployments::unblock))
        .route("/v1/deployment/allocation-health/{id}", write(deployments::set_health))
        .route("/v1/search", write(search::by_prefix))
        .route("/v1/search/fuzzy", write(search::by_part))
        .route("/v1/status/leader", get(operator::leader))
        .route("/v1/status/peers", get(operator::peers))
        .route("/v1/regions", get(region::list))
        .route("/v1/operator/raft/configuration", get(raft::configuration))
        .route("/v1/operator/raft/info", get(raft::info))
        .route("/v1/operator/raft/peer", delete(raft::remove_peer))
        .route("/v1/operator/raft/transfer-leadership", write(raft::transfer_leadership))
        .route("/v1/operator/snapshot", get(snapshot::save).merge(write(snapshot::restore)))
        .route(
            "/v1/operator/scheduler/configuration",
            get(scheduler::read).merge(write(scheduler::set)),
        )
        .route("/v1/operator/rebalance", get(rebalance::under_way).merge(delete(rebalance::stop)))
        .route("/v1/operator/rebalance/plan", write(rebalance::plan))
        .route("/v1/operator/rebalance/apply", write(rebalance::apply))
        .route(
            "/v1/operator/autopilot/configuration",
            get(autopilot::read).merge(write(autopilot::set)),
        )
        .route("/v1/operator/autopilot/health", get(autopilot::health))
        .route("/v1/system/gc", write(operator::collect))
        .route("/v1/system/reconcile/summaries", write(misc::nothing_to_do))
}

fn client_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/client/fs/logs/{id}", get(fs::logs))
        .route("/v1/client/fs/stream/{id}", get(fs::stream))
        .route("/v1/client/fs/ls/{id}", get(fs::list))
        .route("/v1/client/fs/stat/{id}", get(fs::stat))
        .route("/v1/client/fs/cat/{id}", get(fs::cat))
        .route("/v1/client/fs/readat/{id}", get(fs::read_at))
        .route("/v1/client/allocation/{id}/stats", get(client::stats))
        .route("/v1/client/allocation/{id}/restart", write(client::restart))
        .route("/v1/client/allocation/{id}/signal", write(client::signal))
        .route("/v1/client/allocation/{id}/exec", get(client::exec))
        .route("/v1/client/stats", get(client::host_stats))
        .route("/v1/client/metadata", get(metadata::read).merge(write(metadata::apply)))
}

fn agent_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/agent/self", get(agent::myself))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/agent/health", get(agent::health))
        .route("/v1/agent/servers", get(agent::servers))
        .route("/v1/agent/join", write(membership::join))
        .route("/v1/agent/force-leave", write(membership::force_leave))
        .route("/v1/agent/monitor", get(monitor::monitor))
        .route("/v1/metrics", get(metrics::metrics))
}
