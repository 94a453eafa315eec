//! Requests: from callers and client nodes to the leader, and answers back.
//!
//! Invariants
//! - a client node changes nothing but its own row and its own allocs;
//! - an answer goes to whoever asked, by the way it came.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Agent, Effect, Effects, Output};
use crate::api::{Rejection, Request, Response};
use crate::client::{NodeMessage, ServerMessage};
use crate::fsm::Command;
use crate::intake::Before;
use crate::limits::{GROUP_COUNT_MAX, REQUEST_REPEAT_MS};
use crate::proposals::Origin;
use crate::requests::Caller;
use crate::sightings::{Heard, Urgency};
use crate::time::WallTime;
use crate::types::{Index, NodeId, NodeStatus, ServerId, Session};
use crate::wire::{Message, PeerId, Seen};

impl Agent {
    /// To another agent, or to the other half of this one.
    pub(super) fn send(&mut self, to: PeerId, message: Message, effects: &mut Effects) {
        let server = self.server.as_ref().map(|server| PeerId::Server(server.id));
        let client = self.config.client.as_ref().map(|config| PeerId::Client(config.client.node));
        match (server, client) {
            (Some(from), Some(own)) if own == to => {
                self.pending.push_back(Output::Local { from, message });
            }
            (Some(own), Some(from)) if own == to => {
                self.pending.push_back(Output::Local { from, message });
            }
            _ => effects.list.push(Effect::Send { to, message }),
        }
    }

    pub(super) fn hear_node(&mut self, node: NodeId, message: NodeMessage) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        match message {
            NodeMessage::Register { spec } => {
                // What a node says of another node is not heard: its certificate is its own.
                if spec.id == node {
                    let caller = Caller::Node { node, report: 0 };
                    let request = Request::RegisterNode { spec };
                    server.requests.on_requested(now, caller, request, &mut self.pending);
                }
            }
            NodeMessage::Heartbeat { seq, registered_at, is_behind } => {
                server.assign.on_acknowledged(now, node, seq, &mut self.pending);
                self.hear_heartbeat(node, Heard { at: now, is_behind }, seq.max(registered_at));
            }
            NodeMessage::Acknowledge { seq } => {
                server.assign.on_acknowledged(now, node, seq, &mut self.pending);
                self.note_acknowledged(node, seq);
            }
            NodeMessage::AskFullSet => {
                server.assign.on_full_set_asked(now, node, &mut self.pending);
            }
            NodeMessage::Report { report, updates } => {
                let caller = Caller::Node { node, report };
                let request = Request::UpdateAllocs { node, updates };
                server.requests.on_requested(now, caller, request, &mut self.pending);
            }
        }
    }

    /// `seen`: the last entry that the node has been told of.
    fn hear_heartbeat(&mut self, node: NodeId, heard: Heard, seen: Index) {
        let now = self.now;
        let ttl_ms = self.heartbeat_ttl_ms();
        let Some(server) = &mut self.server else { return };
        let status = server.state.node(node).map(|row| row.status);
        // Who has seen less than the node cannot say that it is unknown; the leader can.
        let is_behind = server.leader.is_none() && server.state.index() < seen;
        let answer = match status {
            None if !is_behind => ServerMessage::Unregistered,
            None | Some(NodeStatus::Ready | NodeStatus::Init | NodeStatus::Down) => {
                ServerMessage::HeartbeatAck { ttl_ms, servers: server.contacts(now) }
            }
        };
        let is_missed = server.prober.on_heard(node, &mut self.pending);
        if let Some(leader) = &mut server.leader {
            leader.heartbeats.on_heartbeat(now, node, heard.is_behind, &mut self.pending);
        } else {
            let is_ready = status == Some(NodeStatus::Ready);
            let urgency = if is_ready && !is_missed { Urgency::Soon } else { Urgency::Now };
            server.sightings.on_heard(node, heard, urgency);
        }
        self.pending.push_back(Output::ToNode { node, message: answer });
    }

    /// An old acknowledgement lets the servers forget tombstones; nobody waits for it.
    fn note_acknowledged(&mut self, node: NodeId, seq: Index) {
        let Some(server) = &mut self.server else { return };
        let has_tombstones = server.state.tombstones_of_node(node).any(|(_, since)| since <= seq);
        if has_tombstones && server.leader.is_some() {
            self.propose(Command::AcknowledgeAssignment { node, seq }, None, Origin::Housekeeping);
        }
    }

    pub(super) fn heartbeat_ttl_ms(&self) -> u64 {
        self.config.server.as_ref().map_or(0, |config| config.heartbeat.ttl_ms)
    }

    pub(super) fn tell_node(&mut self, node: NodeId, after: Option<Index>, effects: &mut Effects) {
        let Some(server) = &mut self.server else { return };
        let assignment = server.state.assignment(node, after);
        server.assign.on_told(node, assignment.seq);
        let message = Message::ToNode(ServerMessage::Assign(assignment));
        self.send(PeerId::Client(node), message, effects);
    }

    pub(super) fn tell_sightings(&mut self, seen: &[(NodeId, Heard)], effects: &mut Effects) {
        let (now, wall) = (self.now, self.wall);
        let Some(server) = &self.server else { return };
        let leader = server.raft.leader().filter(|&leader| leader != server.id);
        let Some(leader) = leader else { return };
        let seen = seen.iter().map(|&(node, Heard { at, is_behind })| {
            let age_ms = now.ms_since(at);
            Seen { node, age_ms, is_behind }
        });
        let seen: Vec<Seen> = seen.collect();
        self.send(PeerId::Server(leader), Message::Sighting { wall, seen }, effects);
    }

    pub(super) fn ask_probers(
        &mut self,
        (round, nodes): (u64, &[NodeId]),
        probers: &[ServerId],
        effects: &mut Effects,
    ) {
        let Some(server) = &mut self.server else { return };
        let own = server.id;
        for &prober in probers {
            let nodes = nodes.to_vec();
            if prober == own {
                let Some(server) = &mut self.server else { return };
                server.prober.on_asked(self.now, (own, round), nodes, &mut self.pending);
            } else {
                self.send(PeerId::Server(prober), Message::LookFor { round, nodes }, effects);
            }
        }
    }

    pub(super) fn tell_silent(
        &mut self,
        to: ServerId,
        round: u64,
        silent: Vec<NodeId>,
        effects: &mut Effects,
    ) {
        let Some(server) = &self.server else { return };
        if to == server.id {
            self.hear_report(to, round, &silent);
        } else {
            self.send(PeerId::Server(to), Message::LookedFor { round, silent }, effects);
        }
    }

    pub(super) fn hear_report(&mut self, from: ServerId, round: u64, silent: &[NodeId]) {
        let leader = self.server.as_mut().and_then(|server| server.leader.as_mut());
        if let Some(leader) = leader {
            leader.heartbeats.on_report(from, round, silent);
        }
    }

    pub(super) fn ask_leader(
        &mut self,
        leader: ServerId,
        (seq, is_repeat): (u64, bool),
        request: Request,
        effects: &mut Effects,
    ) {
        let Some(server) = &self.server else { return };
        let (own, incarnation) = (server.id, self.incarnation);
        if leader == own {
            let session = Session { origin: own, incarnation, seq };
            self.take_ask(session, is_repeat, request);
        } else {
            let message = Message::Ask { incarnation, seq, is_repeat, request };
            self.send(PeerId::Server(leader), message, effects);
        }
    }

    /// A server, maybe this one, asks the leader, who may not be this one any more.
    pub(super) fn take_ask(&mut self, session: Session, is_repeat: bool, request: Request) {
        let Some(server) = &self.server else { return };
        let leads = server.leader.as_ref().is_some_and(|leader| leader.is_open());
        let taken = if !leads {
            Err(Rejection::NotLeader { leader: server.raft.leader() })
        } else {
            self.take_in(session, is_repeat, request)
        };
        if let Err(rejection) = taken {
            self.pending.push_back(Output::Answer { asked: session, answer: Err(rejection) });
        }
    }

    /// What a leader is asked, if there is room. A copy of it fares as the first did, or is not answered.
    fn take_in(
        &mut self,
        session: Session,
        is_repeat: bool,
        request: Request,
    ) -> Result<(), Rejection> {
        let server = self.server.as_ref().expect("invariant: a leader was asked");
        let before = if is_repeat { Before::New } else { server.intake.before(session) };
        match before {
            Before::TurnedAway => {
                return Err(Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS });
            }
            Before::Forgotten => return Ok(()),
            Before::New | Before::MaybeTaken => (),
        }
        let taken = if let Request::Order(order) = request {
            self.take_order(session, order)
        } else {
            let command = command_of(request, server.state.clock());
            command.and_then(|command| self.take_write(session, command))
        };
        let server = self.server.as_mut().expect("invariant: a leader was asked");
        match &taken {
            Err(Rejection::Overloaded { .. }) => {
                let may_be_done =
                    before == Before::MaybeTaken || server.state.has_answered(session);
                if is_repeat || may_be_done {
                    return Ok(());
                }
                server.intake.on_turned_away(session);
            }
            Err(_) => (),
            Ok(()) => server.intake.on_taken(session),
        }
        taken
    }

    fn take_write(&mut self, session: Session, command: Command) -> Result<(), Rejection> {
        let is_taken = self.propose(command, Some(session), Origin::Request(session));
        is_taken.then_some(()).ok_or(Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS })
    }

    pub(super) fn send_answer(
        &mut self,
        asked: Session,
        answer: Result<Response, Rejection>,
        effects: &mut Effects,
    ) {
        let Some(server) = &mut self.server else { return };
        let Session { origin, incarnation, seq } = asked;
        if origin != server.id {
            let message = Message::Answer { incarnation, seq, answer };
            self.send(PeerId::Server(origin), message, effects);
        } else if incarnation == self.incarnation {
            server.requests.on_answer(self.now, seq, answer, &mut self.pending);
        }
    }

    pub(super) fn answer_caller(
        &mut self,
        caller: Caller,
        answer: Result<Response, Rejection>,
        effects: &mut Effects,
    ) {
        let (node, report) = match caller {
            Caller::Outside(id) => return effects.list.push(Effect::Reply { id, answer }),
            Caller::Itself => return self.hear_of_departure(answer),
            Caller::Node { node, report } => (node, report),
        };
        let ttl_ms = self.heartbeat_ttl_ms();
        let message = match answer {
            Ok(Response::Applied { index, .. }) if report == 0 => {
                ServerMessage::Registered { ttl_ms, index }
            }
            Ok(_) => ServerMessage::ReportAck { report },
            Err(Rejection::NotFound { .. }) => ServerMessage::Unregistered,
            Err(_) => ServerMessage::Unavailable,
        };
        self.send(PeerId::Client(node), Message::ToNode(message), effects);
    }
}

/// The command that a request asks for, or what is wrong with it.
fn command_of(request: Request, clock: WallTime) -> Result<Command, Rejection> {
    match request {
        Request::RegisterJob { spec, check_index } => {
            check_spec(&spec)?;
            Ok(Command::RegisterJob { spec, check_index })
        }
        Request::DeregisterJob { namespace, job, purge } => {
            Ok(Command::DeregisterJob { namespace, job, purge })
        }
        Request::EvaluateJob { namespace, job } => Ok(Command::EvaluateJob { namespace, job }),
        Request::StopAlloc { alloc } => Ok(Command::StopAlloc { alloc }),
        Request::RegisterNode { spec } => Ok(Command::RegisterNode { spec }),
        Request::SetNodeEligible { node, eligible } => {
            Ok(Command::SetNodeEligible { node, eligible })
        }
        Request::UpdateAllocs { node, updates } => Ok(Command::UpdateAllocs { node, updates }),
        Request::CollectGarbage => Ok(Command::CollectGarbage {
            eval_before: clock,
            job_before: clock,
            node_before: clock,
        }),
        Request::RestorePart { of, nth, bytes } => Ok(Command::RestorePart { of, nth, bytes }),
        Request::Restore { of, parts } => Ok(Command::Restore { of, parts }),
        Request::PromoteDeployment { deployment, groups } => {
            Ok(Command::PromoteDeployment { deployment, groups })
        }
        Request::PauseDeployment { deployment, pause } => {
            Ok(Command::PauseDeployment { deployment, pause })
        }
        Request::FailDeployment { deployment } => Ok(Command::FailDeployment { deployment }),
        Request::SetAllocHealth { deployment, healthy, unhealthy } => {
            Ok(Command::SetAllocHealth { deployment, healthy, unhealthy })
        }
        Request::RevertJob { namespace, job, version, enforce_prior } => {
            Ok(Command::RevertJob { namespace, job, version, enforce_prior })
        }
        Request::SetJobStable { namespace, job, version, stable } => {
            Ok(Command::SetJobStable { namespace, job, version, stable })
        }
        Request::SetNodeDrain { node, spec, mark_eligible, meta } => {
            Ok(Command::SetNodeDrain { node, spec, mark_eligible, meta })
        }
        Request::ForcePeriodic { namespace, job } => Ok(Command::ForcePeriodic { namespace, job }),
        Request::DispatchJob { namespace, job, payload, meta, id_prefix, token } => {
            Ok(Command::DispatchJob { namespace, job, payload, meta, id_prefix, token })
        }
        Request::ScaleJob { namespace, job, group, count, message, error, meta_json } => {
            Ok(Command::ScaleJob { namespace, job, group, count, message, error, meta_json })
        }
        Request::SetSchedulerConfig { config, check_index } => {
            Ok(Command::SetSchedulerConfig { config, check_index })
        }
        Request::UpsertNodePool { spec } => Ok(Command::UpsertNodePool { spec }),
        Request::DeleteNodePool { pool } => Ok(Command::DeleteNodePool { pool }),
        Request::Rebalance { moves, gain_permille_min } => {
            Ok(Command::Rebalance { moves, gain_permille_min })
        }
        Request::SetAutopilotConfig { config, check_index } => {
            Ok(Command::SetAutopilotConfig { config, check_index })
        }
        Request::ReadPoint { .. } => Err(invalid("request", "a read point is not a write")),
        Request::Order(_) => Err(invalid("request", "an order is not a write")),
        Request::ForceOut { .. } => Err(invalid("request", "gossip is not a write")),
    }
}

/// What every specification must meet, whoever decoded it; the shell says more, and earlier.
fn check_spec(spec: &Arc<crate::types::JobSpec>) -> Result<(), Rejection> {
    if spec.id.is_empty() {
        return Err(invalid("id", "a job has a name"));
    }
    if spec.groups.is_empty() {
        return Err(invalid("group", "a job has at least one group"));
    }
    for group in &spec.groups {
        if GROUP_COUNT_MAX < group.count {
            let why = alloc::format!("a group runs at most {GROUP_COUNT_MAX} allocs");
            return Err(Rejection::Invalid { field: "count".into(), why });
        }
        if group.tasks.is_empty() {
            return Err(invalid("task", "a group has at least one task"));
        }
        if group.capacity().is_none() {
            return Err(invalid(
                "resources",
                "the sum of a group's resources is beyond any machine",
            ));
        }
    }
    Ok(())
}

fn invalid(field: &str, why: &str) -> Rejection {
    Rejection::Invalid { field: String::from(field), why: String::from(why) }
}
