//! One start of one agent: as `start.rs` links the parts of production, so here those of a simulated machine.
//!
//! Invariants
//! - nothing of a life goes on after its last poll but what lies on the machine.
use std::path::PathBuf;
use std::sync::Arc;

use drover_core::agent::{Agent, Event, Recovered, snapshot};
use drover_core::rng::Rng;
use drover_core::state::State;
use drover_core::types::{AllocId, ClusterId, Incarnation};
use drover_core::wal;
use drover_shell::clock::Clock;
use drover_shell::config::RawExec;
use drover_shell::node_key::NodeKey;
use drover_shell::run::{Core, End, Inbox, Loop, Parts};
use drover_shell::shadow::{self, Shadow};
use drover_shell::start::may_begin_anew;
use drover_shell::tasks::{Tasks, TasksConfig};
use drover_shell::transport::{self, HELLO_VERSION, Hello, PeerId, Role, Transport};
use drover_sim::checkers::Violation;
use drover_sim::host::{Kept, address_of, node_key_seed_of};
use drover_sim::network::HostId;
use drover_sim::plan::Plan;
use tokio::sync::mpsc;

use crate::callers::Caller;
use crate::machine::{Life, LifeClock, LifeDisk, LifeSnapshots};
use crate::site::Site;
use crate::stage::{Machine, Stage, ToAgent, bytes_of};
use crate::tasks::LifeDriver;
use crate::tls::{REGION, certificates};
use crate::watch::Watch;

/// Events of the network that wait for the loop: as in production.
const EVENTS_MAX: usize = 4_096;
/// Names of starts that are remembered: as in production.
const STARTS_MAX: usize = 32;

/// Starts the agent of `host` on `site`, and returns when it has ended by itself.
pub async fn live(stage: Arc<Stage>, host: HostId, site: Site) {
    let (core, inbox) = Core::channel();
    let born = match begin(&stage.plan, &mut stage.machine(host)) {
        Ok(born) => born,
        Err(Violation { checker, message }) => return stage.fail(checker, message),
    };
    stage.book().counters.torn_writes += u64::from(born.is_torn);
    let life = Life { stage: Arc::clone(&stage), host, site: site.clone(), core: core.clone() };
    let clock = Arc::new(Clock::of(LifeClock::new(&stage, host, &site)));
    let transport = match start_transport(&site, &born, &core, &clock) {
        Ok(transport) => transport,
        Err(failure) => return stage.fail("transport", failure.to_string()),
    };
    let peer = born.hello.agent;
    let snapshots = LifeSnapshots::new(life.clone());
    let shadow = matches!(peer, PeerId::Server(_)).then(|| begin_shadow(&born, &snapshots));
    let (shadow, folder) = shadow.unzip();
    open_mailbox(&life, shadow);
    let tasks = matches!(peer, PeerId::Client(_)).then(|| {
        let driver = LifeDriver { stage: Arc::clone(&stage), host, site: site.clone() };
        let alloc_dir = PathBuf::from(format!("/simulated/{}", born.hello.name));
        Tasks::run_by(Box::new(driver), TasksConfig { alloc_dir, raw_exec: RawExec::On })
    });
    let watch =
        Watch::new(Arc::clone(&stage), host, (peer, born.hello.incarnation), Arc::clone(&site.now));
    let (joined, consul) = (Arc::clone(&stage), Arc::clone(&stage));
    let parts = Parts {
        runtime: Arc::clone(&site.env.runtime),
        clock,
        transport,
        disk: Box::new(LifeDisk(life)),
        snapshots: Box::new(snapshots),
        tasks,
        shadow: folder,
        inputs: Some(Box::new(watch)),
        joined: Box::new(move |cluster| join(&joined, host, cluster)),
        advertise: Some(Box::new(move |told, _, services| {
            let has_checks = services.iter().any(|service| !service.checks.is_empty());
            if has_checks {
                pass_checks(&consul, host, told);
            }
        })),
    };
    let mut first = vec![Event::Booted(Box::new(born.recovered))];
    first.extend(born.node.map(Event::Fingerprinted));
    let end = Loop::new(*born.agent, parts, inbox).run(first).await;
    stage.on_ended(host, end);
}

/// Consul likes whatever stands there, at once.
fn pass_checks(stage: &Stage, host: HostId, (alloc, round): (AllocId, u32)) {
    if let Some(inbox) = &stage.machine(host).inbox {
        let event = Event::ChecksChanged { alloc, round, pass: true };
        let _the_agent_may_have_ended = inbox.send(ToAgent::Tell(Box::new(Inbox::Event(event))));
    }
}

/// What a start finds on its machine.
struct Born {
    agent: Box<Agent>,
    recovered: Recovered,
    is_torn: bool,
    node: Option<Arc<drover_core::types::NodeSpec>>,
    hello: Hello,
    node_key: Option<Arc<NodeKey>>,
    reset_key: [u8; 32],
    rng: Rng,
}

fn begin(plan: &Plan, machine: &mut Machine) -> Result<Born, Violation> {
    let (recovered, is_torn) = recover(plan, machine)?;
    let (next, cluster) = (machine.host.incarnation, machine.host.cluster);
    let host = &mut machine.host;
    let mut rng = host.rng.fork("life").fork_number(next.0);
    machine.starts.insert(0, rng.next_u64());
    machine.starts.truncate(STARTS_MAX);
    let hello = Hello {
        version: HELLO_VERSION,
        agent: host.peer,
        cluster,
        incarnation: next,
        starts: machine.starts.clone(),
        name: host.name.clone(),
        region: REGION.into(),
        address: address_of(&host.name),
        http_address: String::new(),
    };
    // The loop owns it from now on.
    let agent = host.agent.take().expect("invariant: a start makes an agent");
    let seed = node_key_seed_of(plan, host.id);
    let node_key = seed.map(|seed| Arc::new(NodeKey::from_seed(&seed)));
    let (node, reset_key) = (host.node.clone(), machine.reset_key);
    Ok(Born { agent, recovered, is_torn, node, hello, node_key, reset_key, rng })
}

/// Reads the log; where it is damaged, a new server begins beside the others, as `start/found.rs` has it.
fn recover(plan: &Plan, machine: &mut Machine) -> Result<(Recovered, bool), Violation> {
    let damage = machine.damage.take();
    let corruption = match (read(machine), damage) {
        (Ok(found), None) => return Ok(found),
        (Err(corruption), Some(_)) if may_begin_anew(corruption) => corruption,
        (Ok(_), Some(damage)) => {
            let message = format!("{damage:?} was done to the log, and it reads");
            return Err(Violation { checker: "rot_is_noticed", message });
        }
        (Err(corruption), _) => {
            return Err(Violation { checker: "recovery", message: corruption.to_string() });
        }
    };
    machine.host.lose_log(plan, Kept::AllButTheLog);
    read(machine).map_err(|again| {
        let message = format!("{corruption}, and beginning anew: {again}");
        Violation { checker: "recovery", message }
    })
}

fn read(machine: &mut Machine) -> Result<(Recovered, bool), wal::Corruption> {
    let next = Incarnation(machine.host.incarnation.0 + 1);
    let cluster = machine.host.cluster;
    if let Some(server) = &mut machine.host.config.server {
        server.gossip.own.incarnation = next;
        server.gossip.own.cluster = cluster;
    }
    machine.host.start()
}

fn start_transport(
    site: &Site,
    born: &Born,
    core: &Core,
    clock: &Arc<Clock>,
) -> Result<Transport, transport::Failure> {
    let mut rng = born.rng.fork("transport");
    let wall = {
        let clock = Arc::clone(clock);
        Arc::new(move || clock.wall())
    };
    let bind = site.env.socket.local_addr().expect("invariant: a simulated socket has an address");
    let mut config = transport::Config::new(bind, born.hello.clone(), rng.next_u64(), wall);
    config.node_key = born.node_key.clone();
    config.reset_key = Some(born.reset_key);
    config.quinn_seed = Some(bytes_of(&mut rng));
    let (events, network) = mpsc::channel(EVENTS_MAX);
    let certificates = certificates(Role::of(born.hello.agent));
    let transport = Transport::start_on(site.env.clone(), config, &certificates, events)?;
    site.env.runtime.spawn(Box::pin(core.clone().hear(network)));
    Ok(transport)
}

type Fold = Box<dyn FnMut(shadow::Work) + Send>;

fn begin_shadow(born: &Born, snapshots: &LifeSnapshots) -> (Shadow, Fold) {
    let state = match &born.recovered.snapshot {
        Some((_, bytes)) => {
            let (_, state) = snapshot::unpack(bytes).expect("invariant: a server wrote it");
            State::decode(state).expect("invariant: a server wrote it")
        }
        None => State::new(),
    };
    let news = {
        let snapshots = snapshots.clone();
        move |news| snapshots.on_news(news)
    };
    let (shadow, mut folder) = shadow::begin(state, snapshots.clone(), news);
    (shadow, Box::new(move |work| folder.take([work])))
}

/// Passes on what comes from outside of the host; whoever calls is answered by a task of the host.
fn open_mailbox(life: &Life, shadow: Option<Shadow>) {
    let (sender, mut mailbox) = mpsc::unbounded_channel();
    let mut machine = life.stage.machine(life.host);
    machine.inbox = Some(sender);
    machine.shadow.clone_from(&shadow);
    drop(machine);
    let caller = shadow.map(|shadow| Caller::new(life.clone(), shadow));
    let core = life.core.clone();
    let runtime = Arc::clone(&life.site.env.runtime);
    life.site.env.runtime.spawn(Box::pin(async move {
        while let Some(letter) = mailbox.recv().await {
            match letter {
                ToAgent::Tell(item) => core.tell(*item).await,
                ToAgent::Call(call) => {
                    if let Some(caller) = caller.clone() {
                        runtime.spawn(Box::pin(caller.call(call)));
                    }
                }
            }
        }
    }));
}

fn join(stage: &Stage, host: HostId, cluster: ClusterId) {
    let mut machine = stage.machine(host);
    let before = std::mem::replace(&mut machine.host.cluster, cluster);
    if before != ClusterId::default() && before != cluster {
        let message = format!("{} left {before:?} for {cluster:?}", machine.host.name);
        stage.fail("one_cluster", message);
    }
}

/// Why the agent that ended by itself did so.
#[must_use]
pub fn words(end: &End) -> String {
    match end {
        End::Asked => "it was asked to".into(),
        End::Halted(why) => why.clone(),
        End::Left { .. } => "it has left".into(),
    }
}
