//! What a substrate gives an agent to live on.
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use drover_shell::transport::Env;
use drover_sim::clock::Moment;
use drover_sim::host;
use quinn::{AsyncUdpSocket, Runtime};

use crate::executor::Executor;
use crate::runtime::HostRuntime;
use crate::stage::Stage;
use crate::tls;

/// A function that answers a moment.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Where an agent lives, for one life.
#[derive(Clone)]
pub struct Site {
    pub env: Env,
    /// The moment that it is, which the agent cannot know.
    pub now: Now,
    /// The same as the host's clock shows it, where clocks of hosts drift.
    pub local: Now,
}

/// An environment on this runtime and socket, with `names` that are found.
#[must_use]
pub fn env_of(
    runtime: Arc<dyn Runtime>,
    socket: Arc<dyn AsyncUdpSocket>,
    names: Arc<BTreeMap<String, SocketAddr>>,
) -> Env {
    let resolve = move |name: String| -> drover_shell::transport::Resolving {
        let found = names.get(&name).map(|&address| vec![address]);
        Box::pin(async move { found.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    };
    Env { runtime, socket, provider: tls::seeded_provider(), resolve: Arc::new(resolve) }
}

/// Every host's name, as peers dial it.
#[must_use]
pub fn names_of(
    stage: &Stage,
    address_of: impl Fn(usize) -> SocketAddr,
) -> Arc<BTreeMap<String, SocketAddr>> {
    let named = |host: drover_sim::network::HostId| {
        (host::address_of(&stage.machine(host).host.name), address_of(host.0))
    };
    Arc::new(stage.hosts().map(named).collect())
}

/// The site of a host on our own substrate: a new life begins.
#[must_use]
pub fn on_executor(
    executor: &Executor,
    host: usize,
    names: &Arc<BTreeMap<String, SocketAddr>>,
) -> Site {
    let life = executor.begin(host);
    let runtime = HostRuntime::new(executor, host, life);
    let socket = Arc::new(runtime.socket());
    let (now, local) = (runtime.clone(), runtime.clone());
    let env = env_of(Arc::new(runtime), socket, Arc::clone(names));
    let now: Now = Arc::new(move || now.moment());
    let local: Now = Arc::new(move || local.local());
    Site { env, now, local }
}
