//! The world: hosts, the network between them, and one queue of what happens next.
//!
//! | file | what |
//! |---|---|
//! | `world/effects.rs` | what an agent wants done, done by the simulated machine |
//! | `world/acts.rs` | the plan's faults |
//! | `world/requests.rs` | whom the plan's requests are asked of, and what follows from answers |
//! | `world/restores.rs` | operators who go back to a saved state |
//! | `world/turns.rs` | hosts that are busy, and hosts that sleep |
//! | `world/marking.rs` | where named situations are reached |
//! | `world/recording.rs` | every agent's inputs, stepped again |
//! | `world/watching.rs` | what the ladder is told beside steps |
//! | `world/whereabouts.rs` | which host is meant |
//! | `world/settle.rs` | the end of all faults, and whether everything has come to rest |
//!
//! Invariants
//! - nothing here depends on anything but the plan: no clock, no entropy, no hash order;
//! - an agent learns nothing but its events, and is never looked into to decide what happens next,
//!   but where the plan says `leader`.
use std::collections::BTreeMap;

use drover_core::agent::{Effect, Effects, Event, Input};
use drover_core::client;
use drover_core::digest::Digest;
use drover_core::raft::{Configuration, SnapshotMark};
use drover_core::rng::Rng;
use drover_core::types::{Incarnation, TaskKey, Term};
use drover_core::wal::OpId;
use drover_core::wire::{Message, PeerId};

use crate::checkers::{Checkers, Looked, News, Violation};
use crate::clock::Moment;
use crate::compare::Stepped;
use crate::counters::Counters;
use crate::drivers::Turn;
use crate::host::Host;
use crate::ladder::Ladder;
use crate::marks::Marks;
use crate::network::{HostId, NetEvent, Network, Weather};
use crate::plan::Plan;
use crate::queue::Queue;
use crate::requests::Requests;
use crate::shadow::Shadow;
use crate::strikes::Strikes;
use crate::trace;

mod acts;
mod effects;
mod marking;
mod recording;
mod requests;
mod restores;
mod settle;
mod turns;
mod watching;
mod whereabouts;

pub use settle::SETTLE_MS_MAX;

use acts::End;
use restores::Copy;
use turns::Inbox;
use whereabouts::Whereabouts;

/// One in so many messages goes through its encoding and back.
const DECODE_ONE_IN: u64 = 16;
/// One in so many steps puts the agent's digest into the chain.
const CHAIN_AGENT_EVERY: u64 = 8;
/// How often the tables are looked at whole.
const TABLES_LOOK_MS: u64 = 1_000;

/// What can happen next.
#[derive(Debug)]
pub enum Happening {
    Net(NetEvent),
    Wake {
        host: HostId,
        at: Moment,
    },
    /// The host is done with its last step.
    Free {
        host: HostId,
        at: Moment,
    },
    Disk {
        host: HostId,
        incarnation: Incarnation,
        op: OpId,
    },
    Task {
        host: HostId,
        key: TaskKey,
        turn: Turn,
    },
    /// An event that the machine makes by itself.
    Tell {
        host: HostId,
        incarnation: Incarnation,
        event: Box<Event>,
    },
    /// A snapshot was written.
    Saved {
        host: HostId,
        incarnation: Incarnation,
        mark: Box<SnapshotMark>,
        bytes: std::sync::Arc<[u8]>,
    },
    /// A snapshot was received, verified and written.
    Load {
        host: HostId,
        incarnation: Incarnation,
        mark: Box<SnapshotMark>,
    },
    /// A host starts, unless it did since.
    Start {
        host: HostId,
        after: Incarnation,
    },
    /// The line of the plan at this position.
    Line(usize),
    /// A fault ends.
    End(End),
    /// The tables are looked at.
    Look,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub plan: Plan,
    pub queue: Queue<Happening>,
    pub hosts: Vec<Host>,
    /// Who is where now.
    whereabouts: Whereabouts,
    /// By host.
    inboxes: Vec<Inbox>,
    pub network: Network,
    pub checkers: Checkers,
    pub counters: Counters,
    pub marks: Marks,
    /// Of everything that happened, in order.
    pub chain: Digest,
    /// Inputs stepped.
    pub steps: u64,
    /// Who is being stepped: a panic is his.
    pub stepping: Option<HostId>,
    pub ladder: Option<Ladder>,
    /// The tables when they were last looked at.
    before: marking::Before,
    rng: Rng,
    effects: Effects,
    check_every: u64,
    /// What servers write at their cuts.
    shadow: Shadow,
    requests: Requests,
    /// What an operator saved last.
    saved: Option<Copy>,
    last_leader: Option<HostId>,
    has_healed: bool,
    strikes: Strikes,
    /// When a disk was last lost.
    wiped_at: Moment,
    /// The term and the configuration of the leader that last told of a commit by itself.
    told_by: Option<(Term, Configuration)>,
    /// By (end, other end): as whom it was greeted there.
    greeted: BTreeMap<(HostId, HostId), PeerId>,
    /// By host: its inputs since it started, if a run keeps them.
    recording: Option<Vec<Vec<Input>>>,
    /// Every step, if runs are compared.
    history: Option<Vec<Stepped>>,
}

impl World {
    /// The world of `plan` before anything happened. Agents' whole invariants are checked every
    /// `check_every` steps (zero: never).
    #[must_use]
    pub fn new(plan: Plan, check_every: u64, ladder: Option<Ladder>) -> Self {
        let hosts = plan.servers + plan.clients + plan.spares + plan.foreigners;
        let hosts = usize::try_from(hosts).expect("invariant: few hosts");
        let rng = Rng::from_seed(plan.seed).fork("world");
        let knobs = &plan.knobs;
        let weather = Weather {
            delay_us_min: knobs.delay_us_min,
            delay_us_max: knobs.delay_us_max,
            loss_permille: knobs.loss_permille,
            duplicate_permille: knobs.duplicate_permille,
            reorder_permille: knobs.reorder_permille,
            bytes_per_ms: knobs.link_bytes_per_ms,
        };
        let silence_ms = knobs.heartbeat_ttl_ms + knobs.heartbeat_grace_ms;
        let hosts: Vec<Host> = (0..hosts).map(|at| Host::new(&plan, HostId(at))).collect();
        let stations = hosts.iter().map(Host::station).collect();
        let network = Network::new(stations, weather, rng.fork("network"));
        let mut world = Self {
            queue: Queue::default(),
            whereabouts: Whereabouts::of(&hosts, &network),
            inboxes: hosts.iter().map(|_| Inbox::default()).collect(),
            network,
            hosts,
            checkers: Checkers::new(&plan, silence_ms),
            counters: Counters::default(),
            marks: Marks::default(),
            before: marking::Before::default(),
            chain: Digest::default(),
            steps: 0,
            stepping: None,
            ladder,
            rng,
            effects: Effects::default(),
            check_every,
            shadow: Shadow::default(),
            requests: Requests::default(),
            saved: None,
            last_leader: None,
            has_healed: false,
            strikes: Strikes::default(),
            wiped_at: Moment::default(),
            told_by: None,
            greeted: BTreeMap::new(),
            recording: None,
            history: None,
            plan,
        };
        if let Some(ladder) = &mut world.ladder {
            ladder.on_world(&world.hosts);
        }
        world.plan_everything();
        world
    }

    fn plan_everything(&mut self) {
        let joins = self.plan.lines.iter().filter_map(|line| line.joins());
        let late: Vec<HostId> = joins.filter_map(|who| self.find(who)).collect();
        for host in (0..self.hosts.len()).map(HostId).filter(|host| !late.contains(host)) {
            let at = Moment::default().plus_us(self.rng.between(1_000, 300_000));
            self.queue.push(at, Happening::Start { host, after: Incarnation(0) });
        }
        for (at, line) in self.plan.lines.iter().enumerate() {
            self.queue.push(Moment::at_ms(line.at_ms), Happening::Line(at));
        }
        self.queue.push(Moment::at_ms(TABLES_LOOK_MS), Happening::Look);
    }

    /// Let everything happen that happens before `end`.
    ///
    /// # Errors
    /// A property does not hold.
    pub fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
        while let Some(happening) = self.queue.pop_before(end) {
            self.happen(happening)?;
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening.host() {
            Some(host) if !self.is_free(host) => {
                self.wait(host, happening);
                Ok(())
            }
            Some(_) | None => self.happen_now(happening),
        }
    }

    fn happen_now(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Net(event) => self.happen_on_network(event),
            Happening::Wake { host, at } => self.wake(host, at),
            Happening::Free { host, at } => self.take_next(host, at),
            Happening::Disk { host, incarnation, op } => self.finish_disk(host, incarnation, op),
            Happening::Task { host, key, turn } => self.turn_task(host, key, turn),
            Happening::Tell { host, incarnation, event } => {
                if self.is_current(host, incarnation) {
                    self.step(host, *event)
                } else {
                    Ok(())
                }
            }
            Happening::Saved { host, incarnation, mark, bytes } => {
                if !self.is_current(host, incarnation) {
                    return Ok(());
                }
                self.counters.snapshots_saved += 1;
                self.hosts[host.0].keep_snapshot((*mark).clone(), bytes);
                self.step(host, Event::SnapshotSaved(*mark))
            }
            Happening::Load { host, incarnation, mark } => self.load(host, incarnation, *mark),
            Happening::Start { host, after } => self.start(host, after),
            Happening::Line(at) => self.act(at),
            Happening::End(end) => {
                self.end(end);
                Ok(())
            }
            Happening::Look => {
                self.queue.push(self.queue.now().plus_ms(TABLES_LOOK_MS), Happening::Look);
                self.look_at_tables()
            }
        }
    }

    fn happen_on_network(&mut self, event: NetEvent) -> Result<(), Violation> {
        match event {
            NetEvent::Dial { from, to } => self.network.on_dial(&mut self.queue, from, to),
            NetEvent::Idle { from, to, generation } => {
                self.network.on_idle(&mut self.queue, (from, to), generation);
            }
            NetEvent::Told { end, peer, generation, up } => {
                if self.network.on_told(end, peer, generation, up) {
                    let present = self.seen_from(end, peer);
                    let greeted = if up {
                        self.greeted.insert((end, peer), present);
                        present
                    } else {
                        self.greeted.remove(&(end, peer)).unwrap_or(present)
                    };
                    return self.step(end, Event::LinkChanged { peer: greeted, up });
                }
            }
            NetEvent::Arrive { from, to, generation } => {
                let now = self.queue.now();
                while let Some(message) = self.network.pop_arrived(now, (from, to), generation) {
                    self.arrive(from, to, *message)?;
                    if !self.is_free(to) {
                        // A message that is still on its way comes by itself.
                        if self.network.has_arrived(now, (from, to)) {
                            let arrive = NetEvent::Arrive { from, to, generation };
                            self.wait(to, Happening::Net(arrive));
                        }
                        break;
                    }
                }
            }
            NetEvent::Stray { from, to, generation, message } => {
                if self.network.lets_in(from, to, generation) {
                    return self.arrive(from, to, *message);
                }
            }
        }
        Ok(())
    }

    /// A message reaches an agent, now and then as bytes.
    fn arrive(&mut self, from: HostId, to: HostId, message: Message) -> Result<(), Violation> {
        self.counters.messages_delivered += 1;
        let from = self.seen_from(to, from);
        if self.rng.between(1, DECODE_ONE_IN) == 1 {
            self.counters.messages_decoded += 1;
            let decoded = Message::decode(from, &message.encode());
            if decoded.as_ref() != Ok(&message) {
                let message = format!("{message:?} of {from} is read as {decoded:?}");
                return Err(Violation { checker: "wire", message });
            }
        }
        if let (PeerId::Client(node), Message::FromNode(client::NodeMessage::Heartbeat { .. })) =
            (from, &message)
        {
            let now = self.queue.now();
            if let PeerId::Server(server) = self.hosts[to.0].peer {
                self.checkers.down_only_after_ttl.on_heartbeat(now, server, node);
            }
        }
        self.step(to, Event::Received { from, message })
    }

    /// One input to an agent, and all that follows from it at once.
    fn step(&mut self, host: HostId, event: Event) -> Result<(), Violation> {
        let now = self.queue.now();
        let kind = trace::kind_of(&event);
        self.mark_event(&event);
        let stepped = &mut self.hosts[host.0];
        if stepped.agent.is_some()
            && let Some(ladder) = &mut self.ladder
        {
            ladder.on_event(now, stepped, &event);
        }
        let Some(agent) = &mut stepped.agent else { return Ok(()) };
        self.stepping = Some(host);
        let input =
            Input { now: stepped.clock.read_mono(now), wall: stepped.clock.wall(now), event };
        if let Some(recording) = &mut self.recording {
            recording[host.0].push(input.clone());
        }
        let told = self.history.is_some().then(|| format!("{:?}", input.event));
        agent.step(input, &mut self.effects);
        if let (Some(history), Some(event)) = (&mut self.history, told) {
            let (host, agent) = (stepped.name.clone(), agent.digest());
            history.push(Stepped { at: now, host, event, agent });
        }
        self.steps += 1;
        if self.check_every != 0 && self.steps.is_multiple_of(self.check_every) {
            agent.check_invariants();
        }
        self.stepping = None;
        // Agents differ for long once they differ; what they do at each step is in the chain.
        let digest = self.steps.is_multiple_of(CHAIN_AGENT_EVERY).then(|| agent.digest());
        if let Some(ladder) = &mut self.ladder {
            ladder.on_effects(now, stepped, &self.effects);
        }
        self.chain = trace::chained(self.chain, now, (host, kind), digest.unwrap_or_default());
        stepped.work(now, self.effects.list.len());
        let wake = self.effects.wake.map(|wake| stepped.clock.moment_of(wake.at));
        match wake {
            Some(at) => {
                let free_at = stepped.free_at();
                self.plan_wake(host, at.max(free_at));
            }
            None => stepped.wake_wanted = None,
        }
        let mut effects = std::mem::take(&mut self.effects.list);
        let done = self.follow_up(host, &mut effects);
        effects.clear();
        self.effects.list = effects;
        done
    }

    fn follow_up(&mut self, host: HostId, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        self.look_at_commits(host, effects)?;
        self.look(host)?;
        self.read_on(host)?;
        for effect in effects.drain(..) {
            self.mark_effect(&effect);
            self.carry_out(host, effect)?;
        }
        Ok(())
    }

    fn look(&mut self, host: HostId) -> Result<(), Violation> {
        let looked_at = &self.hosts[host.0];
        let (Some(agent), PeerId::Server(server)) = (looked_at.agent.as_deref(), looked_at.peer)
        else {
            return Ok(());
        };
        let incarnation = looked_at.incarnation;
        let durable_term = looked_at.disk.log.hard_state.term;
        let looked = Looked { at: self.queue.now(), server, incarnation, agent, durable_term };
        let news = self.checkers.look(looked)?;
        if news != News::default() {
            self.mark_news(host, news);
        }
        if news.has_won && self.last_leader.replace(host).is_some_and(|last| last != host) {
            self.counters.leader_changes += 1;
        }
        Ok(())
    }

    fn is_current(&self, host: HostId, incarnation: Incarnation) -> bool {
        let host = &self.hosts[host.0];
        host.agent.is_some() && host.incarnation == incarnation
    }
}

impl Happening {
    /// Whose it is, if it waits for a host that stands still.
    const fn host(&self) -> Option<HostId> {
        match self {
            Self::Wake { host, .. }
            | Self::Disk { host, .. }
            | Self::Tell { host, .. }
            | Self::Saved { host, .. }
            | Self::Load { host, .. }
            | Self::Net(
                NetEvent::Told { end: host, .. }
                | NetEvent::Arrive { to: host, .. }
                | NetEvent::Stray { to: host, .. },
            ) => Some(*host),
            Self::Net(NetEvent::Dial { .. } | NetEvent::Idle { .. })
            | Self::Free { .. }
            | Self::Task { .. }
            | Self::Start { .. }
            | Self::Line(_)
            | Self::End(_)
            | Self::Look => None,
        }
    }
}
