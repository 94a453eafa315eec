//! All that exists only while this server leads, and what it does of its own accord.
//!
//! Made when the lead is won, opened when the first entry of the own term has been applied (only then
//! does the state hold everything that earlier leaders promised), dropped whole when the lead is lost.
//!
//! Invariants
//! - nothing is scheduled before the office is open;
//! - one evaluation's quantum is scheduled per step, so that nothing else waits long;
//! - every plan in flight is proposed, and so will be settled.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

mod config;
mod gates;

pub use self::config::LeadConfig;
use super::moments::Moments;
use super::operate::Orders;
use super::{Agent, Effects, Output};
use crate::api::Rejection;
use crate::broker::{self, Broker};
use crate::emit::Emit;
use crate::fsm::record::encode_entry;
use crate::fsm::{Command, Entry, Outcome};
use crate::heartbeat::{self, Heartbeats};
use crate::limits::{CUT_BYTES, REQUEST_REPEAT_MS};
use crate::planner::{self, InFlight};
use crate::proposals::{Origin, Proposals};
use crate::raft::{Payload, Raft};
use crate::rng::Rng;
use crate::scheduler::{Choice, Memo, View, explain, free_on, may_go_on, need, schedule_with};
use crate::stamp::Stamper;
use crate::state::{Change, State};
use crate::time::{MonoTime, WallTime};
use crate::types::{
    AutopilotConfig, ClusterId, EvalId, NodeId, NodeStatus, Plan, SchedulerConfig, ServerId,
    Session, Term,
};

/// A leader's machines.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Leader {
    config: LeadConfig,
    term: Term,
    office: Office,
    pub(super) broker: Broker,
    pub(super) heartbeats: Heartbeats,
    pub(super) in_flight: InFlight,
    /// What can be found out again.
    #[serde(skip)]
    memo: Memo,
    pub(super) proposals: Proposals,
    pub(super) stamper: Stamper,
    pub(super) orders: Orders,
    /// When the lead was won.
    pub(super) since: MonoTime,
    /// When it is next looked at who should vote.
    pub(super) roster_at: MonoTime,
    /// Who was healthy when that was last looked at, and since when.
    pub(super) healthy: BTreeMap<ServerId, MonoTime>,
    /// When it is next looked for what can be forgotten.
    garbage_at: MonoTime,
    /// What an entry would be stamped with at this step.
    pub(super) clock: WallTime,
    pub(super) moments: Moments,
    /// An operator wants evaluations to wait.
    is_paused: bool,
}

/// What became of a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Settled {
    /// Every placement held.
    Whole,
    /// Some did not, or it never reached the log.
    Refused,
}

/// Whether the state is known to hold all that earlier leaders promised.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Office {
    Closed,
    Open,
}

impl Leader {
    fn new(
        term: Term,
        (config, heartbeat): (LeadConfig, heartbeat::Config),
        now: MonoTime,
        state: &State,
    ) -> Self {
        let nodes = state.nodes().map(|node| (node.spec.id, node.status));
        Self {
            config,
            term,
            office: Office::Closed,
            broker: Broker::default(),
            heartbeats: Heartbeats::new(heartbeat, now, nodes),
            in_flight: InFlight::default(),
            memo: Memo::default(),
            proposals: Proposals::new(config.asked_bytes_max),
            stamper: Stamper::new(state.clock()),
            orders: Orders::default(),
            since: now,
            roster_at: now,
            healthy: BTreeMap::new(),
            garbage_at: now.plus_ms(config.garbage_collect_ms),
            clock: state.clock(),
            moments: Moments::new(now),
            is_paused: state.scheduler().config.pause_eval_broker,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.office, Office::Open)
    }

    /// Plans that may be proposed and not yet applied at once.
    pub(super) const fn plans_in_flight_max(&self) -> usize {
        self.config.plans_in_flight_max
    }

    /// What an entry changed, to the machines that follow the state.
    pub(super) fn on_change(
        &mut self,
        now: MonoTime,
        state: &State,
        change: Change,
        out: &mut impl Emit<broker::Output>,
    ) {
        let yard = broker::Yard {
            fits: &|job, node| may_go_on(state, job, node),
            free: &|node| free_on(state, node),
            need: &|job| need(state, job),
        };
        match change {
            Change::Node(id) => match state.node(id) {
                Some(node) if node.status == NodeStatus::Init => {
                    self.heartbeats.on_registered(now, id, node.status);
                }
                Some(node) => self.heartbeats.on_status(now, id, node.status),
                None => self.heartbeats.on_node_removed(id),
            },
            Change::Eval(id) if self.is_open() => {
                if let Some(eval) = state.eval(id) {
                    self.broker.on_eval(eval, self.clock, &yard, out);
                }
            }
            Change::Room(node) if self.is_open() => {
                self.broker.on_room(node, state.index(), &yard, out);
            }
            Change::Restored if self.is_open() && !planted!(RestoreNotFollowed) => {
                self.take_stock(state, out);
            }
            // A closed office is filled from the whole state when it opens.
            Change::Eval(_) | Change::Room(_) | Change::Restored => (),
            Change::Job(_) | Change::Alloc(_) | Change::Deployment(_) | Change::Pools => (),
            Change::Operator => self.is_paused = state.scheduler().config.pause_eval_broker,
            Change::Assigned(_) => (),
        }
    }

    /// What follows from the state, from nothing. Plans that are under way were made from another
    /// one: they will be refused, and nobody waits for them.
    fn take_stock(&mut self, state: &State, out: &mut impl Emit<broker::Output>) {
        self.in_flight.clear();
        self.is_paused = state.scheduler().config.pause_eval_broker;
        self.memo = Memo::default();
        self.proposals.forget_plans();
        let open = state.pending_evals().chain(state.blocked_evals());
        self.broker = Broker::restore(open, self.clock, out);
        self.let_in(state, state.waiters(), out);
    }

    pub(super) fn next_deadline(&self, now: MonoTime) -> Option<MonoTime> {
        if self.has_work() {
            return Some(now);
        }
        let at = |moment: WallTime| now.plus_ms(moment.ms_since(self.clock).max(1));
        let until = self.broker.next_deadline().map(at);
        let garbage = self.is_open().then_some(self.garbage_at);
        let moment = self.moments.next_deadline(at);
        until.into_iter().chain(garbage).chain(moment).min()
    }

    /// Call silent nodes down, if the log takes that at once: while a verdict waited, its node might be
    /// heard, and nobody could take it back.
    pub(super) fn look_for_silence(
        &mut self,
        now: MonoTime,
        (own, raft): (ServerId, &Raft),
        out: &mut impl Emit<heartbeat::Output>,
    ) {
        if self.silence_deadline().is_some_and(|at| at <= now) {
            let others = raft.answering(now);
            let is_alone = raft.configuration().is_alone(own);
            let vantage = heartbeat::Vantage { own, others, is_alone };
            self.heartbeats.on_time(now, &vantage, out);
        }
    }

    /// When there is next somebody to call down. Without a window whoever opens it looks again.
    pub(super) fn silence_deadline(&self) -> Option<MonoTime> {
        self.heartbeats.next_deadline().filter(|_| self.proposals.has_window())
    }

    fn has_work(&self) -> bool {
        let has_room = self.in_flight.len() < self.config.plans_in_flight_max;
        self.is_open() && !self.is_paused && has_room && self.broker.is_ready()
    }

    pub(super) fn check_invariants(&self) {
        self.broker.check_invariants();
        self.heartbeats.check_invariants();
        self.in_flight.check_invariants();
        let is_proposed = self.in_flight.evals().all(|eval| self.proposals.has_plan(eval));
        assert!(is_proposed, "what is in flight will be settled");
    }
}

/// An evaluation is scheduled in the same way whenever that is.
fn scheduling_seed(rng: &Rng, eval: EvalId) -> u64 {
    rng.fork("schedule").fork_number(eval.0).next_u64()
}

impl Agent {
    pub(super) fn take_office(&mut self, term: Term) {
        let config = self.config.server.as_ref().map(|config| (config.lead, config.heartbeat));
        let Some((server, config)) = self.server.as_mut().zip(config) else { return };
        assert!(server.leader.is_none(), "a server leads once at a time");
        server.leader = Some(Leader::new(term, config, self.now, &server.state));
        self.read_clocks();
    }

    pub(super) fn open_office(&mut self, term: Term) {
        let cluster = self.rng.fork("cluster").fork_number(self.wall.unix_ms);
        let Some(server) = &mut self.server else { return };
        let Some(leader) = &mut server.leader else { return };
        assert_eq!(leader.term, term, "an office is opened in its own term");
        leader.office = Office::Open;
        leader.take_stock(&server.state, &mut self.pending);
        if server.state.cluster() == ClusterId::default() {
            let cluster = draw_cluster(cluster);
            // First the habits, then the name: a cluster with a name has its habits too.
            let bytes = self.config.server.as_ref().map_or(CUT_BYTES, |config| config.cut_bytes);
            self.propose(Command::SetCutBytes { bytes }, None, Origin::Housekeeping);
            let config = self.config.server.as_ref().map(|own| (own.scheduler, own.autopilot));
            let (scheduler, autopilot) = config.expect("invariant: a server leads");
            if scheduler != SchedulerConfig::default() {
                let command = Command::SetSchedulerConfig { config: scheduler, check_index: None };
                self.propose(command, None, Origin::Housekeeping);
            }
            if autopilot != AutopilotConfig::default() {
                let command = Command::SetAutopilotConfig { config: autopilot, check_index: None };
                self.propose(command, None, Origin::Housekeeping);
            }
            self.propose(Command::Bootstrap { cluster }, None, Origin::Housekeeping);
        }
    }

    /// Who waits here is asked again by the server that asked, of the next leader.
    pub(super) fn leave_office(&mut self) {
        if let Some(server) = &mut self.server {
            server.leader = None;
        }
    }

    /// Put a command on its way into the log. `false`: too much waits already.
    pub(super) fn propose(
        &mut self,
        command: Command,
        session: Option<Session>,
        origin: Origin,
    ) -> bool {
        let Some(server) = &mut self.server else { return false };
        let Some(leader) = &mut server.leader else { return false };
        let mut bytes = Vec::new();
        encode_entry(&Entry { stamp: leader.clock, session, command }, &mut bytes);
        leader.proposals.on_entry(bytes, origin)
    }

    /// The median of the voters' clocks, for the entries of this step: read before any of them is made. The
    /// step before may have been long ago.
    pub(super) fn read_clocks(&mut self) {
        let (now, wall) = (self.now, self.wall);
        let Some(server) = &mut self.server else { return };
        let own = server.id;
        let Some(leader) = &mut server.leader else { return };
        let voters = server.raft.configuration().voters.iter().copied();
        let others: Vec<ServerId> = voters.filter(|&id| id != own).collect();
        leader.stamper.on_applied(now, server.state.clock());
        leader.clock = leader.stamper.stamp(now, wall, &others);
    }

    /// What a leader does when everything else in a step is done: schedule, and fill the log.
    pub(super) fn lead_on(&mut self, effects: &mut Effects) {
        self.check_cuts(effects);
        if let Some(server) = &mut self.server {
            // Who has won the lead here is asked once it may answer.
            let is_open = server.leader.as_ref().is_some_and(Leader::is_open);
            let leader = server.raft.leader().filter(|&id| id != server.id || is_open);
            server.requests.on_leader(self.now, leader, &mut self.pending);
        }
        self.route_until_quiet(effects);
        self.wake_evaluations();
        self.route_until_quiet(effects);
        self.schedule_next(effects);
        self.fulfil_orders();
        self.review_roster();
        self.collect_garbage();
        self.look_out();
        self.fill_log();
        self.route_until_quiet(effects);
    }

    /// Delayed evaluations that are due.
    fn wake_evaluations(&mut self) {
        let Some(server) = &mut self.server else { return };
        if let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) {
            leader.broker.on_time(leader.clock, &mut self.pending);
        }
    }

    pub(super) fn unblock(&mut self, evals: Vec<EvalId>) {
        let reason = String::from("there may be room now, or what it waited for has come");
        let command = Command::UnblockEvals { evals: evals.clone(), reason };
        if !self.propose(command, None, Origin::Housekeeping)
            && let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut())
        {
            leader.broker.on_unblock_lost(&evals);
        }
    }

    fn schedule_next(&mut self, effects: &mut Effects) {
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.has_work()) else {
            return;
        };
        let Some(id) = leader.broker.next(server.state.index()) else { return };
        let eval = server.state.eval(id).expect("invariant: the broker follows the state");
        let seed = scheduling_seed(&self.rng, id);
        let view = View { state: &server.state, in_flight: &leader.in_flight };
        let placements_max = leader.config.placements_per_step_max;
        let mut plan = None;
        let guarded = (self.guard.0)(&mut || {
            let proposed = schedule_with(&mut leader.memo, &view, eval, seed, placements_max);
            plan = Some(planner::check(&view, proposed));
        });
        let command = match (guarded, plan) {
            (Ok(()), Some(own)) => {
                effects.planned = Some(Box::new(own.clone()));
                let followed = self.follows.take().filter(|followed| followed.eval == id);
                let plan = followed.map_or(own, |followed| *followed);
                leader.in_flight.on_proposed(&server.state, &plan);
                Command::ApplyPlan(plan)
            }
            // One evaluation that cannot be scheduled must not take the others with it.
            (Ok(()), None) => return,
            (Err(why), _) => Command::FailEval { eval: id, why },
        };
        if !self.propose(command, None, Origin::Plan(id)) {
            self.end_plan(id, Settled::Refused);
        }
    }

    /// How the nodes compared at each placement of `plan`, which was made in the last step. `None`: this
    /// agent does not lead, or would make another plan.
    #[must_use]
    pub fn explain(&self, plan: &Plan) -> Option<Vec<Choice>> {
        let server = self.server.as_ref()?;
        let leader = server.leader.as_ref()?;
        let eval = server.state.eval(plan.eval)?;
        let mut in_flight = leader.in_flight.clone();
        in_flight.on_applied(plan.eval);
        let view = View { state: &server.state, in_flight: &in_flight };
        let seed = scheduling_seed(&self.rng, plan.eval);
        let budget = leader.config.placements_per_step_max;
        let (again, choices) = explain(&view, eval, seed, budget);
        (again.placements == plan.placements).then_some(choices)
    }

    /// A plan was applied, or never will be.
    pub(super) fn end_plan(&mut self, id: EvalId, settled: Settled) {
        let Some(server) = &mut self.server else { return };
        let Some(leader) = &mut server.leader else { return };
        leader.in_flight.on_applied(id);
        match settled {
            Settled::Whole => (),
            // The room it held comes back, and nothing in the state says so.
            Settled::Refused => {
                leader.broker.on_plan_refused(server.state.index(), &mut self.pending);
            }
        }
        leader.broker.on_settled(id);
    }

    fn fill_log(&mut self) {
        let Some(server) = &mut self.server else { return };
        // What waits goes on when the transfer fails, and is asked of the heir when it succeeds.
        if server.raft.is_transferring() {
            return;
        }
        while let Some(leader) =
            server.leader.as_mut().filter(|leader| leader.proposals.has_batch())
        {
            let batch = leader.proposals.take_batch();
            let count = u32::try_from(batch.origins.len()).expect("invariant: bounded");
            let payload = Payload::Commands { count, bytes: Arc::from(batch.bytes) };
            match server.raft.on_propose(self.now, payload, &mut self.pending) {
                Ok(mark) => leader.proposals.on_proposed(mark.first, batch.origins),
                Err(_) => {
                    let (own, leader) =
                        (server.id, server.raft.leader().filter(|&l| l != server.id));
                    return self.refuse(own, leader, batch.origins);
                }
            }
        }
    }

    fn refuse(&mut self, own: ServerId, leader: Option<ServerId>, origins: Vec<Origin>) {
        for origin in origins {
            match origin {
                Origin::Request(asked) => {
                    let rejection = if asked.origin == own && leader.is_none() {
                        Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS }
                    } else {
                        Rejection::NotLeader { leader }
                    };
                    self.pending.push_back(Output::Answer { asked, answer: Err(rejection) });
                }
                Origin::Plan(eval) => self.end_plan(eval, Settled::Refused),
                Origin::Housekeeping | Origin::Garbage => (),
            }
        }
    }

    /// What ended long enough ago is forgotten.
    fn collect_garbage(&mut self) {
        let now = self.now;
        let leader = self.server.as_mut().and_then(|server| server.leader.as_mut());
        let Some(leader) = leader.filter(|l| l.is_open() && l.garbage_at <= now) else { return };
        let config = leader.config;
        leader.garbage_at = now.plus_ms(config.garbage_collect_ms);
        let clock = leader.clock.unix_ms;
        let before = |kept_ms| WallTime { unix_ms: clock.saturating_sub(kept_ms) };
        let command = Command::CollectGarbage {
            eval_before: before(config.evals_kept_ms),
            job_before: before(config.jobs_kept_ms),
            node_before: before(config.nodes_kept_ms),
        };
        self.propose(command, None, Origin::Garbage);
    }

    /// One command's rows were collected; if more is left, the next one follows at once.
    pub(super) fn note_garbage(&mut self, outcome: &Outcome) {
        let now = self.now;
        let leader = self.server.as_mut().and_then(|server| server.leader.as_mut());
        if let (Some(leader), Outcome::Applied { more: true, .. }) = (leader, outcome) {
            leader.garbage_at = now;
        }
    }

    pub(super) fn call_nodes_down(&mut self, nodes: Vec<NodeId>) {
        let reason = String::from("Node heartbeat missed");
        let command = Command::SetNodeStatus { nodes, status: NodeStatus::Down, reason };
        self.propose(command, None, Origin::Housekeeping);
    }

    pub(super) fn call_node_returned(&mut self, node: NodeId) {
        let reason = String::from(
            "Node heartbeat received; what became of its allocations is not reported yet",
        );
        let status = NodeStatus::Init;
        let command = Command::SetNodeStatus { nodes: alloc::vec![node], status, reason };
        self.propose(command, None, Origin::Housekeeping);
    }

    pub(super) fn call_node_ready(&mut self, node: NodeId) {
        let reason = String::from("Node heartbeat received");
        let status = NodeStatus::Ready;
        let command = Command::SetNodeStatus { nodes: alloc::vec![node], status, reason };
        self.propose(command, None, Origin::Housekeeping);
    }
}

fn draw_cluster(mut rng: Rng) -> ClusterId {
    ClusterId((u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64() | 1))
}
