//! The top machine: owns the others, and only carries what one of them says to another.
//!
//! | file | what is in it |
//! |---|---|
//! | `agent/event.rs`, `agent/effect.rs` | what comes in, what goes out |
//! | `agent/boot.rs` | from what the disk gave back to running machines |
//! | `agent/deliver.rs` | an event to the machine it is for |
//! | `agent/route.rs` | a machine's output to an effect or to another machine |
//! | `agent/apply.rs` | committed frames to the state, and what follows from that |
//! | `agent/lead.rs` | all that exists only while this server leads |
//! | `agent/serve.rs` | requests of callers and client nodes |
//! | `agent/roster.rs`, `agent/operate.rs` | who votes and who leads: the leader's care, operators' orders |
//! | `agent/depart.rs` | a server that goes with grace |
//! | `agent/wan.rs` | servers of other regions |
//! | `agent/journal.rs` | one disk log for two writers |
//! | `agent/view.rs` | what people may look at |
//! | `agent/recording.rs`, `agent/sum.rs` | the input log: what is in it, and what came of each input |
//!
//! Invariants
//! - `pending` is empty between two steps;
//! - `leader` is `Some` exactly while the consensus machine says this server leads;
//! - no effect is emitted before what it rests on has been reported back as an event.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::api::{Rejection, Response};
use crate::assign::{self, Assign};
use crate::broker;
use crate::client::{self, Client};
use crate::cuts::Cuts;
use crate::departure::{self, Departure};
use crate::digest::Digest;
use crate::emit::Emit;
use crate::gossip::{self, Gossip};
use crate::heartbeat;
use crate::intake::Intake;
use crate::prober::{self, Prober};
use crate::raft::{self, Raft};
use crate::requests::{self, Requests};
use crate::rng::Rng;
use crate::sightings::{self, Sightings};
use crate::state::State;
use crate::time::{MonoTime, WallTime};
use crate::types::{
    AutopilotConfig, Incarnation, NodeId, Plan, SchedulerConfig, ServerId, Session,
};
use crate::wal::{self, Wal};
use crate::wire::{Message, PeerId};

mod apply;
mod boot;
mod contacts;
mod deliver;
mod depart;
mod effect;
mod event;
mod journal;
mod lead;
mod moments;
mod operate;
pub mod queues;
pub mod recording;
mod roster;
mod route;
mod serve;
pub mod snapshot;
pub mod sum;
mod view;
mod wan;

pub use effect::{Effect, Effects, Wake};
pub use event::{Event, Input, Recovered, TaskAsk};
pub use view::{PeerStanding, ServerView, View};

use contacts::Contacts;
use journal::Journal;
pub use lead::LeadConfig;
use lead::Leader;
use wan::Wan;

/// What an agent is, for its whole life.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config {
    pub wal: wal::Config,
    /// `Some`: it takes part in consensus.
    pub server: Option<ServerConfig>,
    /// `Some`: it runs tasks.
    pub client: Option<ClientConfig>,
}

/// The server's part.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerConfig {
    pub raft: raft::Config,
    pub gossip: gossip::Config,
    pub heartbeat: heartbeat::Config,
    pub lead: LeadConfig,
    /// Bytes of log between two cuts, for the cluster that this server founds (`limits::CUT_BYTES`).
    pub cut_bytes: u64,
    /// How the cluster that this server founds schedules.
    pub scheduler: SchedulerConfig,
    /// And how it cares for who votes.
    pub autopilot: AutopilotConfig,
}

/// The client's part.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ClientConfig {
    pub client: client::Config,
    /// Where servers are (`client.servers`, `server_join`).
    pub servers: Vec<String>,
    /// Where they were, as one of them said when the agent ran last.
    pub remembered: Vec<String>,
}

/// The agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Agent {
    config: Config,
    rng: Rng,
    now: MonoTime,
    wall: WallTime,
    incarnation: Incarnation,
    /// `None` until `Booted`.
    disk: Option<Disk>,
    server: Option<Box<Server>>,
    client: Option<Box<Client>>,
    #[serde(skip)]
    pending: VecDeque<Output>,
    #[serde(skip)]
    guard: Guard,
    /// In a rehearsal: what was planned, in place of what this version plans.
    #[serde(skip)]
    follows: Option<Box<Plan>>,
}

/// Runs what it is given, and says why if it panicked. The core cannot catch a panic; its shell can.
#[derive(Clone, Copy, Debug)]
pub struct Guard(pub fn(&mut dyn FnMut()) -> Result<(), String>);

impl Default for Guard {
    /// Lets a panic through.
    fn default() -> Self {
        Self(|work| {
            work();
            Ok(())
        })
    }
}

/// The log on disk and who wrote what.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Disk {
    wal: Wal,
    journal: Journal,
    /// When the log has been quiet for long enough to be confirmed.
    quiet_at: Option<MonoTime>,
}

/// All that exists only on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Server {
    id: ServerId,
    raft: Raft,
    gossip: Gossip,
    #[serde(with = "snapshot::frozen")]
    state: State,
    assign: Assign,
    requests: Requests,
    intake: Intake,
    sightings: Sightings,
    prober: Prober,
    cuts: Cuts,
    leader: Option<Leader>,
    departure: Departure,
    contacts: Contacts,
    /// `None`: nobody has spoken of another region.
    wan: Option<Box<Wan>>,
}

/// What a machine said, and which one.
#[derive(Clone, Debug)]
enum Output {
    Wal(wal::Output),
    Raft(raft::Output),
    Gossip(gossip::Output),
    Wan(gossip::Output),
    Heartbeat(heartbeat::Output),
    Broker(broker::Output),
    Assign(assign::Output),
    Requests(requests::Output),
    Sightings(sightings::Output),
    Prober(prober::Output),
    Departure(departure::Output),
    Client(client::Output),
    /// A message of this agent to itself: server and client in one process.
    Local {
        from: PeerId,
        message: Message,
    },
    /// A word to a client node that is served here.
    ToNode {
        node: NodeId,
        message: client::ServerMessage,
    },
    /// An answer to the server that asked.
    Answer {
        asked: Session,
        answer: Result<Response, Rejection>,
    },
}

/// More than this from one input means that machines are talking in circles.
const OUTPUTS_PER_STEP_MAX: u32 = 1_000_000;

impl Agent {
    /// The same config, seed and inputs give the same effects, always.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::from_seed(seed),
            now: MonoTime::default(),
            wall: WallTime::default(),
            incarnation: Incarnation::default(),
            disk: None,
            server: None,
            client: None,
            pending: VecDeque::new(),
            guard: Guard::default(),
            follows: None,
        }
    }

    /// Scheduling runs inside `guard` from now on.
    pub const fn set_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// If the next step plans for the same evaluation, this plan goes into the log instead of its own;
    /// its own is told by the effects all the same. For rehearsals, which must stay on the path of
    /// what happened.
    pub fn follow(&mut self, plan: Option<Box<Plan>>) {
        self.follows = plan;
    }

    /// What the agent is.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Take one input to its end.
    pub fn step(&mut self, input: Input, effects: &mut Effects) {
        assert!(self.now < input.now, "time moves forward between inputs");
        assert!(self.pending.is_empty(), "`pending` is empty between two steps");
        self.now = input.now;
        self.wall = input.wall;
        effects.planned = None;
        self.read_clocks();
        self.deliver(input.event, effects);
        self.route_until_quiet(effects);
        self.advance_time();
        self.route_until_quiet(effects);
        self.lead_on(effects);
        self.look_for_goodbye();
        self.route_until_quiet(effects);
        effects.wake = self.next_wake();
        assert!(self.pending.is_empty(), "`pending` is empty between two steps");
    }

    /// The replicated tables, on a server.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.server.as_ref().map(|server| &server.state)
    }

    /// A name for what this agent is and knows: equal in a replay, or the replay has diverged.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let server = self.server.as_ref().map(|server| {
            let raft = (server.raft.term(), server.raft.commit_index(), server.raft.last_index());
            (server.state.digest(), raft, server.requests.waiting(), server.leader.is_some())
        });
        let client = self.client.as_ref().map(|client| client.seq());
        let disk = self.disk.as_ref().map(|disk| disk.journal.last());
        Digest::of_value(&(self.now, self.incarnation, server, client, disk))
    }

    /// The whole agent as bytes: a replay may start from here.
    #[must_use]
    pub fn freeze(&self) -> Vec<u8> {
        assert!(self.pending.is_empty(), "`pending` is empty between two steps");
        postcard::to_allocvec(self).expect("invariant: an agent is plain data and always encodes")
    }

    /// An agent as it was when it was frozen.
    ///
    /// # Errors
    /// When the bytes are not those of an agent of this version.
    pub fn thaw(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|fault| alloc::format!("{fault}"))
    }

    /// Walks every machine. For the simulator and after recovery; never in the loop.
    pub fn check_invariants(&self) {
        if let Some(disk) = &self.disk {
            disk.wal.check_invariants();
        }
        if let Some(server) = &self.server {
            server.raft.check_invariants();
            server.gossip.check_invariants();
            server.assign.check_invariants();
            server.requests.check_invariants();
            server.intake.check_invariants();
            server.prober.check_invariants();
            server.state.check_invariants();
            if let Some(leader) = &server.leader {
                leader.check_invariants();
            }
            if let Some(wan) = &server.wan {
                wan.check_invariants();
            }
        }
        if let Some(client) = &self.client {
            client.check_invariants();
        }
    }

    fn advance_time(&mut self) {
        let (now, out) = (self.now, &mut self.pending);
        if let Some(disk) = &mut self.disk {
            disk.on_time(now, out);
        }
        if let Some(server) = &mut self.server {
            server.raft.on_time(now, out);
            server.gossip.on_time(now, out);
            server.assign.on_time(now, out);
            server.requests.on_time(now, out);
            server.prober.on_time(now, out);
            server.sightings.on_time(now, out);
            server.departure.on_time(now, out);
            let takes_writes = !server.raft.is_transferring();
            if let Some(leader) = server.leader.as_mut().filter(|_| takes_writes) {
                leader.look_for_silence(now, (server.id, &server.raft), out);
            }
        }
        if let Some(client) = &mut self.client {
            client.on_time(client::Moment { now, wall: self.wall }, out);
        }
        self.pass_wan_time();
    }

    fn route_until_quiet(&mut self, effects: &mut Effects) {
        for _ in 0..OUTPUTS_PER_STEP_MAX {
            let Some(output) = self.pending.pop_front() else { return };
            self.route(output, effects);
        }
        panic!("machines did not come to rest");
    }

    fn next_wake(&self) -> Option<Wake> {
        let server = self.server.as_ref();
        let leader = server.and_then(|server| server.leader.as_ref());
        // A leader has nobody to tell of whom it heard.
        let follower = server.filter(|server| server.leader.is_none());
        let takes_writes = server.is_some_and(|server| !server.raft.is_transferring());
        let writer = leader.filter(|_| takes_writes);
        let deadlines = [
            ("wal", self.disk.as_ref().and_then(|disk| disk.quiet_at)),
            ("raft", server.and_then(|server| server.raft.next_deadline())),
            ("gossip", server.and_then(|server| server.gossip.next_deadline())),
            ("wan", server.and_then(|server| server.wan.as_ref()?.next_deadline())),
            ("assign", server.and_then(|server| server.assign.next_deadline())),
            ("requests", server.and_then(|server| server.requests.next_deadline())),
            ("prober", server.and_then(|server| server.prober.next_deadline())),
            ("sightings", follower.and_then(|server| server.sightings.next_deadline())),
            ("departure", server.and_then(|server| server.departure.next_deadline())),
            ("heartbeat", writer.and_then(Leader::silence_deadline)),
            ("broker", leader.and_then(|leader| leader.next_deadline(self.now))),
            ("client", self.client.as_ref().and_then(|client| client.next_deadline())),
        ];
        let soonest = MonoTime { ns: self.now.ns + 1 };
        let wakes = deadlines.into_iter().filter_map(|(why, at)| Some((at?, why)));
        wakes.min().map(|(at, why)| Wake { at: at.max(soonest), why })
    }
}

macro_rules! output {
    ($($variant:ident($machine:ident)),*) => {
        $(impl From<$machine::Output> for Output {
            fn from(output: $machine::Output) -> Self {
                Self::$variant(output)
            }
        })*
    };
}
output!(
    Wal(wal),
    Raft(raft),
    Gossip(gossip),
    Heartbeat(heartbeat),
    Broker(broker),
    Assign(assign),
    Requests(requests),
    Sightings(sightings),
    Prober(prober),
    Departure(departure),
    Client(client)
);

impl<T> Emit<T> for VecDeque<Output>
where
    Output: From<T>,
{
    fn emit(&mut self, output: T) {
        self.push_back(output.into());
    }
}
