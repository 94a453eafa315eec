//! One host: an agent with its disk, its clocks and its tasks.
//!
//! Invariants
//! - the disk, the clocks and the tasks outlive the agent.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::agent::{Agent, ClientConfig, Config, LeadConfig, Recovered, ServerConfig};
use drover_core::planted;
use drover_core::raft::SnapshotMark;
use drover_core::rng::Rng;
use drover_core::types::{ClusterId, Incarnation, Index, NodeSpec, ServerId};
use drover_core::wire::PeerId;
use drover_core::{client, gossip, heartbeat, limits, raft, wal};

use crate::clock::{HostClock, Moment};
use crate::disk::Disk;
use crate::drivers::Drivers;
use crate::network::{HostId, Station};
use crate::plan::{Knobs, Plan, Who};
use crate::standing::Standing;
use crate::workload::{node_id, node_key_seed, node_of};

/// Of the servers of the other region, which never lose their disks.
const FOREIGN_IDS: u64 = 1_000_000;
/// Between the ids of servers that follow each other on one host.
const SERVERS_OF_ONE_HOST: u64 = 100;
const REGION: &str = "global";
const FOREIGN_REGION: &str = "abroad";
/// Snapshots that a server keeps.
const SNAPSHOTS_KEPT: usize = 2;

/// What a step costs, and each of its effects: about what they cost in production.
const STEP_NS: u64 = 2_000;
const EFFECT_NS: u64 = 500;

/// What a server that lost its log still has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    Nothing,
    /// Snapshots, and which cluster it belongs to.
    AllButTheLog,
}

/// The host.
#[derive(Debug)]
pub struct Host {
    pub id: HostId,
    pub name: String,
    pub peer: PeerId,
    pub config: Config,
    pub seed: u64,
    /// On a client: what its machine looks like.
    pub node: Option<Arc<NodeSpec>>,
    pub clock: HostClock,
    pub rng: Rng,
    /// `None` while it is down.
    pub agent: Option<Box<Agent>>,
    pub incarnation: Incarnation,
    pub has_lost_power: bool,
    pub disk: Disk,
    pub disk_is_slow: bool,
    /// How many times as long its steps take.
    pub cpu_slowness: u64,
    /// A disk fault was caused since it last started: it may halt.
    pub may_halt: bool,
    /// Operations on segments are done in order.
    pub segments_free_at: Moment,
    pub drivers: Drivers,
    pub snapshots: BTreeMap<Index, (SnapshotMark, Arc<[u8]>)>,
    /// A snapshot that is being received.
    pub incoming: Option<(SnapshotMark, Vec<u8>)>,
    pub cluster: ClusterId,
    /// It was told to go, and starts again so long after it has.
    pub leaving_for_ms: Option<u64>,
    pub paused_until: Moment,
    /// Until here its last step takes.
    pub busy_until: Moment,
    /// When the agent wants to be woken, and when it will be.
    pub wake_wanted: Option<Moment>,
    pub wake_planned: Option<Moment>,
}

impl Host {
    /// The host at `id` in the world of `plan`.
    #[must_use]
    pub fn new(plan: &Plan, id: HostId) -> Self {
        let who = place_of(plan, id);
        let name = who.to_string();
        let mut rng = Rng::from_seed(plan.seed).fork(&name);
        let clock = draw_clock(&plan.knobs, &mut rng.fork("clock"));
        let seed = rng.next_u64();
        let (peer, node) = match who {
            Who::Server(number) => (PeerId::Server(ServerId(number)), None),
            Who::Client(number) => {
                let node = node_of(number, &mut rng.fork("node"));
                (PeerId::Client(node_id(number)), Some(Arc::new(node)))
            }
            Who::Foreigner(number) => (PeerId::Foreign(ServerId(FOREIGN_IDS + number)), None),
            Who::Leader => unreachable!("invariant: a place has a name of its own"),
        };
        Self {
            id,
            peer,
            config: config_of(plan, peer, &name),
            name,
            seed,
            node,
            clock,
            rng,
            agent: None,
            incarnation: Incarnation(0),
            has_lost_power: false,
            disk: Disk::default(),
            disk_is_slow: false,
            cpu_slowness: 1,
            may_halt: false,
            segments_free_at: Moment::default(),
            drivers: Drivers::default(),
            snapshots: BTreeMap::new(),
            incoming: None,
            cluster: ClusterId::default(),
            leaving_for_ms: None,
            paused_until: Moment::default(),
            busy_until: Moment::default(),
            wake_wanted: None,
            wake_planned: None,
        }
    }

    /// The server's log is lost with all that made it this server: another will start here.
    pub fn lose_log(&mut self, plan: &Plan, kept: Kept) {
        assert!(self.agent.is_none(), "a disk is lost while nobody uses it");
        let PeerId::Server(id) = self.peer else { return };
        let next = if planted!(BackAfterLoss) { 0 } else { SERVERS_OF_ONE_HOST };
        let id = ServerId(id.0 + next);
        self.peer = PeerId::Server(id);
        self.config = config_of(plan, self.peer, &self.name);
        self.seed = self.rng.next_u64();
        self.disk = Disk::default();
        match kept {
            Kept::Nothing => {
                self.cluster = ClusterId::default();
                self.snapshots.clear();
            }
            Kept::AllButTheLog => {
                if let Some(server) = &mut self.config.server {
                    server.gossip.own.cluster = self.cluster;
                }
            }
        }
    }

    /// A new agent, and what it finds on its disk. Answers also whether a write was torn.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn start(&mut self) -> Result<(Recovered, bool), wal::Corruption> {
        assert!(self.agent.is_none(), "a host runs one agent at a time");
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        let snapshot = self.snapshots.values().next_back().cloned();
        let found = self.disk.recover(snapshot.as_ref().map(|(mark, _)| mark))?;
        self.agent = Some(Box::new(Agent::new(self.config.clone(), self.seed)));
        self.may_halt = self.disk.is_full;
        let recovered = Recovered {
            incarnation: self.incarnation,
            rebooted: std::mem::take(&mut self.has_lost_power),
            records: found.records,
            tail: found.tail,
            snapshot,
        };
        Ok((recovered, found.torn))
    }

    /// The agent is gone, however that came.
    pub fn forget_agent(&mut self) {
        self.agent = None;
        self.incoming = None;
        self.leaving_for_ms = None;
        self.paused_until = Moment::default();
        self.busy_until = Moment::default();
        self.wake_wanted = None;
        self.wake_planned = None;
        let mut rng = self.rng.fork_number(self.incarnation.0);
        self.disk.crash(&mut rng);
    }

    /// When it can take the next input.
    #[must_use]
    pub fn free_at(&self) -> Moment {
        self.paused_until.max(self.busy_until)
    }

    /// A step has begun that leads to `effects` effects: it takes its time.
    pub const fn work(&mut self, now: Moment, effects: usize) {
        let ns = STEP_NS + EFFECT_NS * effects as u64;
        self.busy_until = Moment { ns: now.ns + ns * self.cpu_slowness };
    }

    /// A client's machine looks different from now on.
    pub fn refit(&mut self, mark: u64) -> Option<Arc<NodeSpec>> {
        let node = self.node.as_mut()?;
        Arc::make_mut(node).meta.insert("mark".into(), mark.to_string());
        Some(Arc::clone(node))
    }

    /// A part of a snapshot that is being received.
    pub fn store_chunk(&mut self, mark: SnapshotMark, offset: u64, bytes: &[u8]) {
        if offset == 0 {
            self.incoming = Some((mark, Vec::new()));
        }
        if let Some((_, stored)) = &mut self.incoming {
            stored.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
            stored.extend_from_slice(bytes);
        }
    }

    /// A snapshot is safe on disk.
    pub fn keep_snapshot(&mut self, mark: SnapshotMark, bytes: Arc<[u8]>) {
        self.disk.log.on_snapshot(mark.index);
        self.snapshots.insert(mark.index, (mark, bytes));
        while SNAPSHOTS_KEPT < self.snapshots.len() {
            self.snapshots.pop_first();
        }
    }

    /// How long the disk takes for something.
    pub fn draw_disk_us(&mut self, knobs: &Knobs) -> u64 {
        let max = if self.disk_is_slow { knobs.disk_slow_us_max } else { knobs.disk_us_max };
        self.rng.between(knobs.disk_us_min, max.max(knobs.disk_us_min))
    }

    /// How it stands, if it is a server that is up.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let (PeerId::Server(server) | PeerId::Foreign(server)) = self.peer else { return None };
        Standing::of(server, self.agent.as_ref()?)
    }

    /// What it is to those that dial it.
    #[must_use]
    pub const fn station(&self) -> Station {
        match self.peer {
            PeerId::Server(_) => Station::Server,
            PeerId::Client(_) => Station::Client,
            PeerId::Foreign(_) => Station::Foreigner,
        }
    }

    /// Whether it takes part in our region's consensus.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        matches!(self.peer, PeerId::Server(_))
    }
}

/// Who lies there: clients between the first servers and the later ones, the other region behind all.
fn place_of(plan: &Plan, id: HostId) -> Who {
    let number = id.0 as u64 + 1;
    let first_spare = plan.servers + plan.clients + 1;
    let first_foreigner = first_spare + plan.spares;
    if number <= plan.servers {
        Who::Server(number)
    } else if number < first_spare {
        Who::Client(number - plan.servers)
    } else if number < first_foreigner {
        Who::Server(number - plan.clients)
    } else {
        Who::Foreigner(number + 1 - first_foreigner)
    }
}

/// Where the server or client that is meant lies, whether or not it is up; `None` for whoever leads.
#[must_use]
pub fn position_of(plan: &Plan, who: Who) -> Option<HostId> {
    let ours = plan.servers + plan.clients + plan.spares;
    let (number, hosts) = match who {
        Who::Foreigner(number) => (ours + number.max(1), ours + plan.foreigners),
        _ => (number_of(plan, who)?, ours),
    };
    let position = (number <= hosts).then_some(number - 1)?;
    usize::try_from(position).ok().map(HostId)
}

fn number_of(plan: &Plan, who: Who) -> Option<u64> {
    Some(match who {
        Who::Leader | Who::Foreigner(_) => return None,
        Who::Server(number) if plan.servers < number => plan.clients + number,
        Who::Server(number) => number.max(1),
        Who::Client(number) => plan.servers + number.max(1),
    })
}

/// What the key of the node at `id` is made of; `None`: no client lies there.
#[must_use]
pub fn node_key_seed_of(plan: &Plan, id: HostId) -> Option<[u8; 32]> {
    match place_of(plan, id) {
        Who::Client(number) => Some(node_key_seed(number)),
        Who::Leader | Who::Server(_) | Who::Foreigner(_) => None,
    }
}

/// Where the host called `name` is reached.
#[must_use]
pub fn address_of(name: &str) -> String {
    format!("{name}:4647")
}

fn draw_clock(knobs: &Knobs, rng: &mut Rng) -> HostClock {
    let signed = |rng: &mut Rng, max: u64| {
        let drawn = i64::try_from(rng.between(0, 2 * max)).expect("invariant: knobs are small");
        drawn - i64::try_from(max).expect("invariant: knobs are small")
    };
    let drift_ppm = signed(rng, knobs.drift_ppm_max);
    let skew_ms = signed(rng, knobs.skew_ms_max);
    HostClock::new(rng.between(0, 1 << 50), drift_ppm, skew_ms)
}

fn config_of(plan: &Plan, peer: PeerId, name: &str) -> Config {
    let addresses = |letter: char, count: u64| -> Vec<String> {
        (1..=count).map(|number| address_of(&format!("{letter}{number}"))).collect()
    };
    // Small segments, so that a run goes through many; but the largest frame fits into a block.
    let wal = wal::Config {
        segment_bytes_first: 256 << 10,
        segment_bytes: 1_280 << 10,
        write_bytes_max: limits::WAL_WRITE_BYTES_MAX,
    };
    match peer {
        PeerId::Server(id) => {
            let server = server_config(plan, id, name, addresses('s', plan.servers));
            Config { wal, server: Some(server), client: None }
        }
        PeerId::Foreign(id) => {
            let mut join = addresses('f', plan.foreigners);
            join.push(address_of(&format!("s{}", 1 + id.0 % plan.servers)));
            let mut server = server_config(plan, id, name, join);
            server.gossip.own.region = FOREIGN_REGION.into();
            server.gossip.own.expect =
                u32::try_from(plan.foreigners).expect("invariant: few servers");
            // Nobody asks for anything there, and nobody keeps its snapshots.
            server.cut_bytes = u64::MAX;
            Config { wal, server: Some(server), client: None }
        }
        PeerId::Client(node) => Config {
            wal,
            server: None,
            // It was told of one, which tells it of the others.
            client: Some(ClientConfig {
                client: client::Config::new(node),
                servers: vec![address_of(&format!("s{}", 1 + node.0 % u128::from(plan.servers)))],
                remembered: Vec::new(),
            }),
        },
    }
}

fn server_config(plan: &Plan, id: ServerId, name: &str, join: Vec<String>) -> ServerConfig {
    let own = gossip::Member {
        id,
        incarnation: Incarnation(0),
        cluster: ClusterId(0),
        name: name.into(),
        region: REGION.into(),
        datacenter: "dc1".into(),
        address: address_of(name),
        http_address: String::new(),
        expect: if id.0 % SERVERS_OF_ONE_HOST <= plan.servers {
            u32::try_from(plan.servers).expect("invariant: few servers")
        } else {
            // Whoever is added later must found no cluster with those who were added with it.
            0
        },
        build: String::new(),
        tags: BTreeMap::new(),
        is_leaving: false,
        status: gossip::Status::Alive,
    };
    ServerConfig {
        raft: raft::Config {
            priority: if id.0 % SERVERS_OF_ONE_HOST <= plan.knobs.low_priority_servers {
                raft::Priority::Low
            } else {
                raft::Priority::Normal
            },
            retained_bytes_max: plan.knobs.retained_bytes,
            snapshot_chunk_bytes: plan.knobs.snapshot_chunk_bytes,
            append_bytes_max: plan.knobs.append_bytes,
            inflight_bytes_max: plan.knobs.inflight_bytes,
            ..raft::Config::new(id)
        },
        gossip: gossip::Config {
            own,
            join,
            remembered: Vec::new(),
            timings: gossip::Timings::default(),
        },
        heartbeat: heartbeat::Config {
            ttl_ms: plan.knobs.heartbeat_ttl_ms,
            grace_ms: plan.knobs.heartbeat_grace_ms,
        },
        lead: lead_config(&plan.knobs),
        cut_bytes: plan.knobs.cut_bytes,
        scheduler: drover_core::types::SchedulerConfig {
            memory_oversubscription: true,
            ..drover_core::types::SchedulerConfig::default()
        },
        autopilot: drover_core::types::AutopilotConfig {
            // Disks and links may be slow for good.
            last_contact_ms_max: 1_000,
            trailing_logs_max: plan.knobs.trailing_logs,
            stabilization_ms: plan.knobs.stabilization_ms,
            ..drover_core::types::AutopilotConfig::default()
        },
    }
}

fn lead_config(knobs: &Knobs) -> LeadConfig {
    let few = |knob: u64| usize::try_from(knob).unwrap_or(usize::MAX);
    LeadConfig {
        asked_bytes_max: few(knobs.asked_bytes),
        plans_in_flight_max: few(knobs.plans_in_flight),
        placements_per_step_max: few(knobs.placements_per_step),
        garbage_collect_ms: knobs.garbage_collect_ms,
        evals_kept_ms: knobs.ended_kept_ms,
        jobs_kept_ms: knobs.ended_kept_ms,
        nodes_kept_ms: knobs.ended_kept_ms,
    }
}
