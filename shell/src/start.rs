//! From a configuration to a running agent: everything is made here, and linked.
//!
//! Invariants
//! - nothing listens before the disk is locked and read;
//! - whatever fails before the loop runs is said with the path or address and what to do.
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{env, fs, io, thread};

use drover_core::agent::{
    Agent, ClientConfig, Config, Event, Guard, Recovered, ServerConfig, snapshot,
};
use drover_core::state::State;
use drover_core::types::{Advert, HostVolume, NodeSpec};
use drover_core::{client, gossip, heartbeat, limits, raft, wal};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::{self, Resolved};
use crate::drivers::DriversConfig;
use crate::identity::{self, Identity};
use crate::node::{self, OwnNode};
use crate::open_files;
use crate::recorder::{InputLog, Recorder, Start};
use crate::remembered;
use crate::run::{Advertise, AtStop, Background, Core, End, Inbox, Loop, Parts};
use crate::services::{Nudges, Services};
use crate::shadow::{self, Shadow};
use crate::storage;
use crate::tasks::{Tasks, TasksConfig};
use crate::transport::introduction::{Gate, TOKEN_BYTES_MAX};
use crate::transport::{
    self, Certificates, HELLO_VERSION, Hello, PeerId, Transport, TransportEvent, tls,
};

mod found;

use found::Found;
pub use found::may_begin_anew;
pub(crate) use found::newest_snapshot;

/// Events of the network and of drivers that wait for the loop.
const EVENTS_MAX: usize = 4_096;
/// Tasks of the network that run between two turns of the loop at most. A handshake is the longest thing
/// that one does at once: a fraction of a millisecond.
const NETWORK_TURNS: u32 = 4;
/// Where a client finds the token by which it becomes a node, if no flag says it.
const INTRODUCTION_VARIABLE: &str = "DROVER_CLIENT_INTRO_TOKEN";
/// The same in the data directory.
const INTRODUCTION_FILE: &str = "intro_token";
/// How long the peers are told that this agent stops.
const FAREWELL: Duration = Duration::from_millis(300);

/// Why no agent runs.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Storage(#[from] storage::Failure),
    #[error(transparent)]
    Identity(#[from] identity::Failure),
    #[error(transparent)]
    Transport(#[from] transport::Failure),
    #[error(transparent)]
    Node(#[from] node::Failure),
    #[error(
        "client.host_volume[{name}].path: {path} {why}: make it a directory, name another, or take the \
             block out of the configuration"
    )]
    Volume { name: String, path: String, why: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error(
        "the snapshot at index {index} cannot be read: {why}. Restore this server from its peers: \
             move its data directory away and start it again"
    )]
    Snapshot { index: u64, why: String },
}

/// A running agent.
pub struct Running {
    pub core: Core,
    /// The tables, on a server.
    pub shadow: Option<Shadow>,
    pub transport: Transport,
    pub identity: IdentityView,
    /// On a client.
    pub node: Option<OwnNode>,
    /// On a client beside a Consul agent: what is to stand there.
    pub services: Option<(Services, Nudges)>,
    ended: oneshot::Receiver<End>,
}

/// Who the running agent is.
#[derive(Clone, Copy, Debug)]
pub struct IdentityView {
    pub server: Option<drover_core::types::ServerId>,
    pub node: Option<drover_core::types::NodeId>,
}

impl Running {
    /// Returns when the agent has ended by itself.
    pub async fn ended(&mut self) -> End {
        let gone = || End::Halted("the core's thread ended: see the log above".into());
        (&mut self.ended).await.unwrap_or_else(|_| gone())
    }

    /// End the agent.
    pub async fn stop(mut self, tasks: AtStop) -> End {
        self.core.tell(Inbox::Stop(tasks)).await;
        self.ended().await
    }
}

/// Start an agent, and `announce` it when nothing stands in its way any more, before it does
/// anything. Must be called inside a multi-threaded tokio runtime.
///
/// # Errors
/// The first thing that is in the way, and what to do about it.
pub fn start(
    resolved: &Resolved,
    announce: impl FnOnce(&IdentityView),
) -> Result<Running, Failure> {
    begin(resolved, DriversConfig::default(), announce)
}

/// As `start`, with drivers that are told where their shim is.
///
/// # Errors
/// As `start`.
pub fn start_with(resolved: &Resolved, drivers: DriversConfig) -> Result<Running, Failure> {
    begin(resolved, drivers, |_| ())
}

fn begin(
    resolved: &Resolved,
    drivers: DriversConfig,
    announce: impl FnOnce(&IdentityView),
) -> Result<Running, Failure> {
    check_volumes(resolved)?;
    let _for_tasks = open_files::raise();
    let clock = Arc::new(Clock::new());
    let Found { storage, recovery, snapshot, identity } = found::open(resolved)?;
    let view = IdentityView {
        server: resolved.server.as_ref().map(|_| identity.server()),
        node: resolved.client.as_ref().map(|_| identity.node()),
    };
    let snapshots = storage.snapshots();
    let state = match &snapshot {
        Some((mark, bytes)) => decode_state(mark.index.0, bytes)?,
        None => State::new(),
    };
    let config = core_config(resolved, &identity, &remembered::read(&resolved.data_dir));
    let seed = identity::random_u64()
        .map_err(|source| Failure::Io { what: "cannot draw a seed".into(), source })?;
    let (core, inbox) = Core::channel();

    let tables = Arc::new(OnceLock::new());
    let thread = CoreThread::spawn()?;
    let (network, network_events) = mpsc::channel(EVENTS_MAX);
    let transport = {
        let _within = thread.runtime.enter();
        let transport = start_transport(resolved, &identity, &clock, (network, &tables))?;
        let _ends_with_the_transport = tokio::spawn(core.clone().hear(network_events));
        transport
    };
    let tasks = start_tasks(resolved, drivers, &core)?;
    let (shadow, shadow_work) = match resolved.server {
        Some(_) => {
            let core = core.clone();
            let news = move |news| core.tell_blocking(Inbox::Shadow(news));
            let (shadow, work) = shadow::spawn(state, snapshots.clone(), news)
                .map_err(|source| Failure::Io { what: "cannot start the shadow".into(), source })?;
            let _set_here_only = tables.set(shadow.clone());
            let tell = move |told| {
                let _the_shadow_outlives_the_loop = work.send(told);
            };
            (Some(shadow), Some(Box::new(tell) as Box<dyn FnMut(shadow::Work) + Send>))
        }
        None => (None, None),
    };
    let recovered = Recovered {
        incarnation: identity.incarnation(),
        rebooted: identity.rebooted,
        records: recovery.records,
        tail: recovery.tail,
        snapshot,
    };
    let recorder = start_recorder(resolved, &config, seed)?;
    let inputs = recorder.map(|recorder| Box::new(recorder) as Box<dyn InputLog>);
    let disk = {
        let core = core.clone();
        storage.spawn(move |completion| core.tell_blocking(Inbox::Disk(completion)))?
    };
    let mut first = vec![Event::Booted(Box::new(recovered))];
    let (node, spec) = start_node(resolved, &identity, &core)?.unzip();
    first.extend(spec.map(Event::Fingerprinted));
    let services = resolved.consul.as_ref().and(view.node).map(Services::new);
    let advertise = services.as_ref().map(|(services, _)| {
        let services = services.clone();
        let tell = move |told, uuid, adverts: &[Advert]| services.advertise(told, uuid, adverts);
        Box::new(tell) as Box<Advertise>
    });
    let identity = Mutex::new(identity);
    let joined = Box::new(move |cluster| {
        let mut identity = identity.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(failure) = identity.join(cluster) {
            tracing::error!("{failure}");
        }
    });
    let parts = Parts {
        runtime: Arc::new(quinn::TokioRuntime),
        clock,
        transport: transport.clone(),
        disk: Box::new(disk),
        snapshots: Box::new(Background::new(snapshots, core.clone())),
        tasks,
        shadow: shadow_work,
        inputs,
        joined,
        advertise,
    };
    let mut agent = Agent::new(config, seed);
    agent.set_guard(Guard(guard));
    announce(&view);
    let agent = Loop::new(agent, parts, inbox);
    let _it_waits = thread.begin.send((agent, transport.clone(), first));
    let ended = thread.ended;
    Ok(Running { core, shadow, transport, identity: view, node, services, ended })
}

/// Runs `work`; a panic in it becomes words, so that it fails one evaluation and not the server.
pub fn guard(work: &mut dyn FnMut()) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        format!("scheduling it failed: {}", text.unwrap_or("a panic without words"))
    })
}

pub(crate) fn decode_state(index: u64, bytes: &[u8]) -> Result<State, Failure> {
    let (_, state) = snapshot::unpack(bytes).map_err(|why| Failure::Snapshot { index, why })?;
    State::decode(state).map_err(|fault| Failure::Snapshot { index, why: format!("{fault:?}") })
}

/// The thread that the loop and the transport share: what arrives is stepped, and what comes of it is
/// sent, without waking another.
struct CoreThread {
    runtime: Handle,
    begin: oneshot::Sender<(Loop, Transport, Vec<Event>)>,
    ended: oneshot::Receiver<End>,
}

impl CoreThread {
    /// It waits for `begin`; dropping that ends it.
    fn spawn() -> Result<Self, Failure> {
        let failure =
            |source| Failure::Io { what: "cannot start the core's thread".into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(NETWORK_TURNS)
            .build()
            .map_err(failure)?;
        let handle = runtime.handle().clone();
        let (begin, begun) = oneshot::channel::<(Loop, Transport, Vec<Event>)>();
        let (tell, ended) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                let Ok((agent, transport, first)) = begun.await else { return };
                let end = agent.run(first).await;
                let _told_or_not = tokio::time::timeout(FAREWELL, transport.stop()).await;
                let _nobody_may_wait = tell.send(end);
            });
        };
        let _detached = thread::Builder::new().name("core".into()).spawn(body).map_err(failure)?;
        Ok(Self { runtime: handle, begin, ended })
    }
}

/// The token that a client was given: by its flag, in its surroundings, or in a file.
fn introduction_of(resolved: &Resolved) -> Option<String> {
    let client = resolved.client.as_ref().filter(|_| resolved.server.is_none())?;
    let given = client.introduction_token.clone();
    let given = given.or_else(|| env::var(INTRODUCTION_VARIABLE).ok());
    let file = || {
        let path = resolved.data_dir.join(INTRODUCTION_FILE);
        let read = fs::read_to_string(&path);
        if let Err(why) = &read
            && why.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {why}: the introduction token in it is left out", path.display());
        }
        read.ok()
    };
    let token = given.or_else(file)?.trim().to_owned();
    if TOKEN_BYTES_MAX < token.len() {
        tracing::warn!("the introduction token is too long to be one: it is left out");
        return None;
    }
    Some(token).filter(|token| !token.is_empty())
}

fn start_transport(
    resolved: &Resolved,
    identity: &Identity,
    clock: &Arc<Clock>,
    (events, tables): (mpsc::Sender<TransportEvent>, &Arc<OnceLock<Shadow>>),
) -> Result<Transport, Failure> {
    let certificates = match &resolved.certificates {
        config::Certificates::InMemory => Certificates::ephemeral(&resolved.region, clock.wall())?,
        config::Certificates::Files { ca, cert, key } => Certificates::load(&tls::Files {
            ca_file: ca.clone(),
            cert_file: cert.clone(),
            key_file: key.clone(),
        })?,
    };
    let agent = match resolved.server {
        Some(_) => PeerId::Server(identity.server()),
        None => PeerId::Client(identity.node()),
    };
    let hello = Hello {
        version: HELLO_VERSION,
        agent,
        cluster: identity.cluster(),
        incarnation: identity.incarnation(),
        starts: identity.starts(),
        name: resolved.name.clone(),
        region: resolved.region.clone(),
        address: resolved.rpc_advertise.to_string(),
        http_address: resolved.http_advertise.to_string(),
    };
    let wall = {
        let clock = Arc::clone(clock);
        Arc::new(move || clock.wall())
    };
    let mut config = transport::Config::new(resolved.rpc_bind, hello, identity.server().0, wall);
    config.node_key = matches!(agent, PeerId::Client(_)).then(|| Arc::clone(identity.node_key()));
    config.introduction = introduction_of(resolved);
    config.gate = resolved.server.as_ref().map(|server| Gate {
        enforcement: server.introduction.enforcement,
        knows: {
            let tables = Arc::clone(tables);
            Arc::new(move |node| {
                tables.get().is_some_and(|tables| tables.read().node(node).is_some())
            })
        },
    });
    config.reset_key = Some(identity.reset_key());
    for join in resolved.joins() {
        let most = &mut config.timings.redial_ms_max;
        *most = join.retry_interval_ms.clamp(config.timings.redial_ms_min, *most);
    }
    Ok(Transport::start(config, &certificates, events)?)
}

fn start_tasks(
    resolved: &Resolved,
    drivers: DriversConfig,
    core: &Core,
) -> Result<Option<Tasks>, Failure> {
    let Some(client) = &resolved.client else { return Ok(None) };
    let (events, mut arriving) = mpsc::channel(EVENTS_MAX);
    let place = client.alloc_dir.display().to_string();
    let config = TasksConfig { alloc_dir: client.alloc_dir.clone(), raw_exec: client.raw_exec };
    let tasks = Tasks::new(config, drivers, events)
        .map_err(|source| Failure::Io { what: format!("no task can be run in {place}"), source })?;
    let core = core.clone();
    let _ends_with_the_drivers = tokio::spawn(async move {
        while let Some(event) = arriving.recv().await {
            core.tell(Inbox::Driver(event)).await;
        }
    });
    Ok(Some(tasks))
}

/// Jobs are placed by what the node says it has, so it is there.
fn check_volumes(resolved: &Resolved) -> Result<(), Failure> {
    let volumes = resolved.client.iter().flat_map(|client| &client.host_volumes);
    for (name, HostVolume { path, .. }) in volumes {
        let why = match fs::metadata(path) {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => "is no directory".to_owned(),
            Err(error) => format!("cannot be looked at ({error})"),
        };
        return Err(Failure::Volume { name: name.clone(), path: path.clone(), why });
    }
    Ok(())
}

fn start_node(
    resolved: &Resolved,
    identity: &Identity,
    core: &Core,
) -> Result<Option<(OwnNode, Arc<NodeSpec>)>, Failure> {
    let Some(client) = &resolved.client else { return Ok(None) };
    Ok(Some(OwnNode::watch(resolved, client, identity.node(), core.clone())?))
}

fn start_recorder(
    resolved: &Resolved,
    config: &Config,
    seed: u64,
) -> Result<Option<Recorder>, Failure> {
    let config::Recorder::On { bytes_max } = resolved.recorder else { return Ok(None) };
    let dir = recordings(resolved);
    let mut recorder = Recorder::start(&dir, bytes_max).map_err(|source| Failure::Io {
        what: format!("the input log cannot be kept in {}", dir.display()),
        source,
    })?;
    recorder.begin(&Start::Boot { config: Box::new(config.clone()), seed });
    Ok(Some(recorder))
}

/// Where the input log is.
#[must_use]
pub fn recordings(resolved: &Resolved) -> PathBuf {
    resolved.data_dir.join("inputs")
}

fn core_config(resolved: &Resolved, identity: &Identity, remembered: &[String]) -> Config {
    let server = resolved.server.as_ref().map(|server| {
        let own = gossip::Member {
            id: identity.server(),
            incarnation: identity.incarnation(),
            cluster: identity.cluster(),
            name: resolved.name.clone(),
            region: resolved.region.clone(),
            datacenter: resolved.datacenter.clone(),
            address: resolved.rpc_advertise.to_string(),
            http_address: resolved.http_advertise.to_string(),
            expect: server.bootstrap_expect,
            build: env!("CARGO_PKG_VERSION").into(),
            tags: server.tags.clone(),
            is_leaving: false,
            status: gossip::Status::Alive,
        };
        let (join, remembered) = (server.join.addresses(), remembered.to_vec());
        ServerConfig {
            raft: raft::Config {
                priority: server.election_priority,
                ..raft::Config::new(identity.server())
            },
            gossip: gossip::Config { own, join, remembered, timings: gossip::Timings::default() },
            heartbeat: heartbeat::Config {
                ttl_ms: server.heartbeat_ttl_ms,
                grace_ms: server.heartbeat_grace_ms,
            },
            lead: server.lead,
            cut_bytes: limits::CUT_BYTES,
            scheduler: server.scheduler,
            autopilot: server.autopilot,
        }
    });
    let client = resolved.client.as_ref().map(|client| {
        let mut config = client::Config::new(identity.node());
        config.kill_timeout_ms_max = client.kill_timeout_ms_max;
        let servers = match resolved.server {
            // Server and client in one process need no network between them.
            Some(_) => Vec::new(),
            None => client.join.addresses(),
        };
        ClientConfig { client: config, servers, remembered: remembered.to_vec() }
    });
    Config {
        wal: wal::Config {
            segment_bytes_first: limits::WAL_SEGMENT_BYTES_FIRST,
            segment_bytes: limits::WAL_SEGMENT_BYTES,
            write_bytes_max: limits::WAL_WRITE_BYTES_MAX,
        },
        server,
        client,
    }
}
