//! `drover agent`: from flags and files to a process that serves until it is told to end.
//!
//! Invariants
//! - what is wrong is said once, on standard error, before anything is started;
//! - a `-dev` agent leaves nothing behind: no task, no file;
//! - a signal stops the agent at once, unless it was configured to leave with grace; a second one does.
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drover_core::agent::Event;
use rustix::thread::disable_transparent_huge_pages;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, reload as exchange};

use crate::config::{Join, Mode, Resolved, Surroundings, Written};
use crate::consul::Consul;
use crate::http::{self, Api, LogTap, Me};
use crate::remembered;
use crate::run::{AtStop, End, Inbox};
use crate::services::Services;
use crate::start::{self, IdentityView, Running};

mod catalog;
mod join;
mod notify;
mod programs;
mod reload;

use notify::News;
use reload::LogLevel;

/// How long Consul may take to be told that the agent ends.
const CATALOG_PATIENCE: Duration = Duration::from_secs(1);
/// How long open HTTP requests may take after the agent was told to end.
const HTTP_PATIENCE: Duration = Duration::from_millis(500);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub mode: Option<Mode>,
    /// Files and directories, in the order they were given.
    pub config: Vec<PathBuf>,
    /// Laid over what the files say.
    pub overlay: Written,
}

/// Run an agent until a signal ends it.
///
/// # Errors
/// In words for the operator, when it cannot start.
pub fn run(flags: &Flags) -> Result<(), String> {
    // A huge page is cleared in one fault, in the middle of a step: that takes up to milliseconds.
    disable_transparent_huge_pages(true).ok();
    let scratch = Scratch::new(flags.mode);
    let resolved = resolve(flags, scratch.path())?;
    let (tap, level) = start_logging(&resolved)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|fault| format!("cannot start: {fault}"))?;
    let ending = runtime.block_on(serve(flags, resolved, (tap, level)));
    runtime.shutdown_timeout(HTTP_PATIENCE);
    drop(scratch);
    ending
}

fn resolve(flags: &Flags, scratch: PathBuf) -> Result<Resolved, String> {
    let written = Written::load(&flags.config).map_err(|found| found.to_string())?;
    let written = written.overlaid(flags.overlay.clone());
    let around = Surroundings::look(scratch);
    let resolved = match flags.mode {
        Some(Mode::Dev) => Resolved::dev(&written, &around),
        Some(Mode::Production) | None => Resolved::of(&written, &around),
    };
    resolved.map_err(|unusable| {
        format!("the configuration cannot be used:\n{unusable}\nTry `drover agent -dev` for a first look.")
    })
}

/// A directory that ends with the process: the data of `-dev`.
struct Scratch(Option<PathBuf>);

impl Scratch {
    fn new(mode: Option<Mode>) -> Self {
        let wanted = mode == Some(Mode::Dev);
        let name = format!("drover-dev-{}", std::process::id());
        Self(wanted.then(|| std::env::temp_dir().join(name)))
    }

    fn path(&self) -> PathBuf {
        self.0.clone().unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _it_may_never_have_been_made = std::fs::remove_dir_all(path);
        }
    }
}

fn start_logging(resolved: &Resolved) -> Result<(LogTap, LogLevel), String> {
    let (filter, level) = exchange::Layer::new(reload::filter(&resolved.log_level)?);
    let (tap, tap_layer) = LogTap::new();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stdout).with_target(false);
    let console = if resolved.log_json {
        lines.json().boxed()
    } else {
        lines.with_ansi(io::stdout().is_terminal()).boxed()
    };
    tracing_subscriber::registry()
        .with(console.with_filter(filter))
        .with(tap_layer)
        .try_init()
        .map_err(|fault| fault.to_string())?;
    Ok((tap, level))
}

async fn serve(
    flags: &Flags,
    mut resolved: Resolved,
    (tap, level): (LogTap, LogLevel),
) -> Result<(), String> {
    let listener = listen(resolved.http_bind).await?;
    let mut running = start::start(&resolved, |identity| print_banner(&resolved, identity))
        .map_err(|failure| failure.to_string())?;
    let api = Arc::new(api_of(&resolved, &running, tap));
    let (close, closing) = oneshot::channel::<()>();
    let emptied = emptied_by(&resolved, &running, &api, &listener);
    let http = tokio::spawn(http::serve(listener, http::router(api), async {
        let _told_or_dropped = closing.await;
    }));
    let joins: Vec<Join> = resolved.joins().cloned().collect();
    let port = resolved.rpc_bind.port();
    let programs = programs::ask(joins.clone(), running.transport.clone(), port);
    let _ends_with_the_process = tokio::spawn(programs);
    let consul = Consul::of(&resolved, &name_of(&running.identity)).map(|consul| {
        let consul = Arc::new(consul);
        let keeping = catalog::keep(Arc::clone(&consul), running.transport.clone());
        let services = keep_services(&mut running, &consul);
        InCatalog { consul, keeping: tokio::spawn(keeping), services }
    });
    let remembering = remembered::keep(resolved.data_dir.clone(), running.core.clone());
    let _ends_with_the_core = tokio::spawn(remembering);
    let given_up = Box::pin(join::given_up(joins, running.transport.clone()));
    let end = wait(flags, &mut resolved, &mut running, (&level, emptied, given_up)).await;
    notify::tell(News::Stopping);
    if let Some(catalog) = consul {
        catalog.leave(resolved.mode).await;
    }
    let end = match end {
        Ok(end) => end,
        Err(why) => {
            running.stop(AtStop::LeaveTasks).await;
            return Err(why);
        }
    };
    drop(close);
    let _open_requests_are_cut = tokio::time::timeout(HTTP_PATIENCE, http).await;
    match end {
        Some(End::Halted(why)) => {
            tracing::error!("the agent halted: {why}");
            Err(format!("the agent halted: {why}"))
        }
        Some(End::Left { unfinished }) => {
            match unfinished {
                None => tracing::info!("the agent has left"),
                Some(why) => {
                    tracing::warn!("the agent goes, and not everything is as it should be: {why}");
                }
            }
            remembered::forget(&resolved.data_dir)
                .map_err(|why| format!("what it knew of servers stays in its data_dir: {why}"))
        }
        Some(End::Asked) | None => {
            let tasks = match resolved.mode {
                Mode::Dev => AtStop::KillTasks,
                Mode::Production => AtStop::LeaveTasks,
            };
            running.stop(tasks).await;
            Ok(())
        }
    }
}

/// What this agent has to do with Consul.
struct InCatalog {
    consul: Arc<Consul>,
    keeping: JoinHandle<()>,
    services: Option<(Services, JoinHandle<()>)>,
}

impl InCatalog {
    /// The agent ends. Its tasks do not, unless it was for a try: what they offer stays.
    async fn leave(self, mode: Mode) {
        self.keeping.abort();
        let taken_back = async {
            if let Some((services, keeping)) = self.services {
                keeping.abort();
                if mode == Mode::Dev {
                    services.clear();
                }
                services.withdraw(&self.consul).await?;
            }
            self.consul.deregister().await
        };
        if let Ok(Err(why)) = tokio::time::timeout(CATALOG_PATIENCE, taken_back).await {
            tracing::warn!("{why}: this agent still stands in its catalog");
        }
    }
}

/// On a client: what its allocs offer is kept in the catalog.
fn keep_services(
    running: &mut Running,
    consul: &Arc<Consul>,
) -> Option<(Services, JoinHandle<()>)> {
    let (services, nudges) = running.services.take()?;
    let seen = (running.core.clone(), running.node.clone()?);
    let keeping = services.clone().keep(Arc::clone(consul), nudges, seen);
    Some((services, tokio::spawn(keeping)))
}

/// What names this agent among all.
fn name_of(identity: &IdentityView) -> String {
    let node = identity.node.map(|node| node.uuid().to_string());
    node.or(identity.server.map(|server| format!("{:016x}", server.0))).unwrap_or_default()
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|fault| match fault.kind() {
        io::ErrorKind::AddrInUse => format!(
            "HTTP port {} on {} is in use: is another agent running? Stop it, or set `ports {{ http = ... }}`",
            address.port(),
            address.ip()
        ),
        _ => format!("cannot listen on {address} for HTTP: {fault}. Check `bind_addr` and `addresses.http`"),
    })
}

/// Resolves when the agent's node has been emptied, if it has one that is to be.
type Emptied = Pin<Box<dyn Future<Output = ()> + Send>>;

fn emptied_by(
    resolved: &Resolved,
    running: &Running,
    api: &Arc<Api>,
    listener: &TcpListener,
) -> Emptied {
    let how = resolved.client.as_ref().and_then(|client| client.drain_on_shutdown);
    let (Some(how), Some(node)) = (how, running.identity.node) else {
        return Box::pin(async {});
    };
    let (api, own) = (Arc::clone(api), listener.local_addr().unwrap_or(resolved.http_bind));
    Box::pin(async move {
        tracing::info!("the node is drained before the agent goes");
        match http::empty_node(api, own, node, how).await {
            Ok(()) => {
                tracing::info!("the node is empty, and stays ineligible until it is admitted");
            }
            Err(why) => tracing::warn!("the node may not be empty: {why}"),
        }
    })
}

/// Resolves when the agent has nobody to work with, with why.
type GivenUp = Pin<Box<dyn Future<Output = String> + Send>>;

/// Until the agent is to stop at once (`None`) or has ended by itself.
async fn wait(
    flags: &Flags,
    resolved: &mut Resolved,
    running: &mut Running,
    (level, mut emptied, mut given_up): (&LogLevel, Emptied, GivenUp),
) -> Result<Option<End>, String> {
    let failed = |fault: io::Error| format!("cannot listen for signals: {fault}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let (mut is_leaving, mut is_emptying) = (false, false);
    notify::tell(News::Ready);
    loop {
        let (what, may_leave) = tokio::select! {
            biased;
            end = running.ended() => return Ok(Some(end)),
            why = &mut given_up => return Err(why),
            () = &mut emptied, if is_emptying => {
                is_emptying = false;
                running.core.tell(Inbox::Event(Event::LeaveAsked)).await;
                continue;
            }
            _ = interrupt.recv() => ("interrupted", resolved.leave_on_interrupt),
            _ = terminate.recv() => ("told to terminate", resolved.leave_on_terminate),
            _ = hang_up.recv() => {
                notify::tell(News::Reloading);
                reload::reload(flags, resolved, &running.transport, level);
                notify::tell(News::Ready);
                continue;
            }
        };
        if is_leaving {
            tracing::warn!("{what} again: stopping at once, without having left");
            return Ok(None);
        }
        // What was started for a try leaves nothing behind: there is nothing to hand over.
        if !may_leave || resolved.mode == Mode::Dev {
            tracing::info!("{what}: stopping");
            return Ok(None);
        }
        tracing::info!("{what}: leaving with grace; a second signal stops at once");
        notify::tell(News::Stopping);
        (is_leaving, is_emptying) = (true, true);
    }
}

fn api_of(resolved: &Resolved, running: &Running, logs: LogTap) -> Api {
    let transport = running.transport.clone();
    let me = Me {
        name: resolved.name.clone(),
        region: resolved.region.clone(),
        datacenter: resolved.datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        server: resolved.server.is_some(),
        client: running.identity.node,
        alloc_dir: resolved.client.as_ref().map(|client| client.alloc_dir.clone()),
        http_address: resolved.http_advertise.to_string(),
        config: config_of(resolved),
    };
    Api {
        core: running.core.clone(),
        shadow: running.shadow.clone(),
        me,
        node: running.node.clone(),
        logs,
        servers: Arc::new(move || {
            transport.peers().into_iter().map(|peer| peer.hello.http_address).collect()
        }),
        joins: Some(http::Joins {
            transport: running.transport.clone(),
            port: resolved.rpc_bind.port(),
        }),
        introduction: resolved
            .server
            .as_ref()
            .map(|server| server.introduction)
            .unwrap_or_default(),
        unsafe_open: resolved.unsafe_open,
    }
}

/// The configuration in the words of `/v1/agent/self`. No secret is among them.
fn config_of(resolved: &Resolved) -> serde_json::Value {
    let expect = resolved.server.as_ref().map_or(0, |server| server.bootstrap_expect);
    serde_json::json!({
        "AdvertiseAddrs": {
            "HTTP": resolved.http_advertise.to_string(),
            "RPC": resolved.rpc_advertise.to_string(),
        },
        "BindAddr": resolved.rpc_bind.ip().to_string(),
        "DataDir": resolved.data_dir,
        "DevMode": resolved.mode == Mode::Dev,
        "Files": resolved.files,
        "LeaveOnInt": resolved.leave_on_interrupt,
        "LeaveOnTerm": resolved.leave_on_terminate,
        "LogJson": resolved.log_json,
        "LogLevel": resolved.log_level.to_uppercase(),
        "Ports": { "HTTP": resolved.http_bind.port(), "RPC": resolved.rpc_bind.port() },
        "Server": { "Enabled": resolved.server.is_some(), "BootstrapExpect": expect },
    })
}

fn print_banner(resolved: &Resolved, identity: &IdentityView) {
    let mut rows: Vec<(&str, String)> = vec![
        (
            "Advertise Addrs",
            format!("HTTP: {}; RPC: {}", resolved.http_advertise, resolved.rpc_advertise),
        ),
        ("Bind Addrs", format!("HTTP: {}; RPC: {}", resolved.http_bind, resolved.rpc_bind)),
        ("Client", resolved.client.is_some().to_string()),
        ("Data Dir", resolved.data_dir.display().to_string()),
        ("Log Level", resolved.log_level.to_uppercase()),
    ];
    if let Some(node) = identity.node {
        rows.push(("Node Id", node.uuid().to_string()));
    }
    rows.push(("Region", format!("{} (DC: {})", resolved.region, resolved.datacenter)));
    rows.push(("Server", resolved.server.is_some().to_string()));
    rows.push(("Version", env!("CARGO_PKG_VERSION").into()));
    let mut text = String::new();
    for note in &resolved.notes {
        let _to_a_string = writeln!(text, "==> {note}");
    }
    match resolved.files.as_slice() {
        [] => text.push_str("==> No configuration files loaded\n"),
        files => {
            let _to_a_string = writeln!(text, "==> Loaded configuration from {}", files.join(", "));
        }
    }
    text.push_str("==> Starting Drover agent...\n==> Drover agent configuration:\n\n");
    for (name, value) in rows {
        let _to_a_string = writeln!(text, "{name:>22}: {value}");
    }
    text.push_str("\n==> Drover agent started! Log data will stream in below:\n\n");
    let _standard_output_may_be_closed = io::stdout().write_all(text.as_bytes());
}
