//! The plan's requests, asked of a server that happens to be up, and what is answered.
//!
//! Invariants
//! - an answer belongs to a request that waits for it, once.
use std::sync::Arc;

use drover_core::agent::Event;
use drover_core::api::{Consistency, Heir, Order, Rejection, Request, Response};
use drover_core::types::{AllocId, DesiredStatus, Index, RequestId};
use drover_core::wire::PeerId;

use super::World;
use crate::checkers::{Verdict, Violation, named};
use crate::network::HostId;
use crate::plan::{Act, Freshness, Subject, Who};
use crate::steering::steer;
use crate::workload::{NAMESPACE, node_id, spec_of};

/// Callers that go away at once.
const ABANDONED_PERMILLE: u64 = 30;

/// A read that was told from where on it sees every earlier write.
#[derive(Debug)]
pub(super) struct Reading {
    host: HostId,
    id: RequestId,
    point: Index,
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) host: HostId,
    request: Arc<Request>,
    /// What had been acknowledged to anyone when it was asked.
    floor: Index,
    /// The caller went away.
    is_abandoned: bool,
}

impl World {
    /// Ask some server for what the plan says.
    pub(super) fn ask(&mut self, act: &Act) -> Result<(), Violation> {
        let Some(host) = self.some_server() else { return Ok(()) };
        let Some(request) = self.request_of(host, act) else { return Ok(()) };
        self.ask_of(host, request)
    }

    /// One that is up, whichever.
    pub(super) fn some_server(&mut self) -> Option<HostId> {
        let up: Vec<HostId> = self.servers_up().map(|host| host.id).collect();
        let last = up.len().checked_sub(1)?;
        let at = usize::try_from(self.rng.between(0, last as u64)).unwrap_or(0);
        Some(up[at])
    }

    pub(super) fn ask_of(&mut self, host: HostId, request: Request) -> Result<(), Violation> {
        self.last_request += 1;
        self.counters.requests_asked += 1;
        let id = RequestId(self.last_request);
        let floor = self.checkers.no_lost_write.last();
        let is_abandoned = self.rng.chance(ABANDONED_PERMILLE);
        let asked = Asked { host, request: Arc::new(request.clone()), floor, is_abandoned };
        self.asked.insert(id, asked);
        self.checkers.linearizable.on_asked(id, &request, &self.saved_shown);
        self.step(host, Event::Requested { id, request })?;
        if is_abandoned {
            self.counters.requests_abandoned += 1;
            named("linearizable", self.checkers.linearizable.on_gone(id))?;
            return self.step(host, Event::Abandoned { id });
        }
        Ok(())
    }

    /// Read from some server: what it has, or what is true by now.
    pub(super) fn read(&mut self, what: Subject, how: Freshness) -> Result<(), Violation> {
        let Some(host) = self.some_server() else { return Ok(()) };
        let consistency = match how {
            Freshness::Stale => return self.read_stale(host, &what),
            Freshness::Default => Consistency::Default,
            Freshness::Consistent => Consistency::Consistent,
        };
        let id = RequestId(self.last_request + 1);
        self.checkers.linearizable.on_read_asked(id, what);
        self.ask_of(host, Request::ReadPoint { consistency })
    }

    fn read_stale(&mut self, host: HostId, what: &Subject) -> Result<(), Violation> {
        let agent = self.hosts[host.0].agent.as_ref();
        let Some(state) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        self.counters.reads_stale += 1;
        match what {
            Subject::Job(job) => {
                named("no_lost_write", self.checkers.no_lost_write.check_job(state, job))
            }
            Subject::Client(_) => Ok(()),
        }
    }

    /// The server may have got to the point of reads that wait for it.
    pub(super) fn read_on(&mut self, host: HostId) -> Result<(), Violation> {
        if self.reading.is_empty() {
            return Ok(());
        }
        let agent = self.hosts[host.0].agent.as_ref();
        let Some(state) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        let is_there = |read: &mut Reading| read.host == host && read.point <= state.index();
        for read in self.reading.extract_if(.., is_there) {
            self.counters.reads += 1;
            named("linearizable", self.checkers.linearizable.on_read(read.id, state))?;
        }
        Ok(())
    }

    fn request_of(&self, host: HostId, act: &Act) -> Option<Request> {
        let namespace = NAMESPACE.to_owned();
        Some(match act {
            Act::Register(ask) => Request::RegisterJob { spec: spec_of(ask), check_index: None },
            Act::StopJob { job, purge } => {
                Request::DeregisterJob { namespace, job: job.clone(), purge: *purge }
            }
            Act::Evaluate { job } => Request::EvaluateJob { namespace, job: job.clone() },
            Act::Steer { job, how } => {
                steer(self.hosts[host.0].agent.as_ref()?.state()?, job, *how)?
            }
            Act::StopAlloc { nth } => Request::StopAlloc { alloc: self.nth_alloc(host, *nth)? },
            Act::SetEligible { client, eligible } => {
                Request::SetNodeEligible { node: node_id(*client), eligible: *eligible }
            }
            Act::Collect => Request::CollectGarbage,
            Act::HandOver { to: Who::Leader } => {
                let PeerId::Server(former) = self.hosts[self.leader()?.0].peer else { return None };
                Request::Order(Order::TransferLead { heir: Heir::AnyBut(former) })
            }
            Act::HandOver { to } => {
                let PeerId::Server(heir) = self.hosts[self.find(*to)?.0].peer else { return None };
                Request::Order(Order::TransferLead { heir: Heir::Server(heir) })
            }
            Act::RemoveServer { who } => {
                let PeerId::Server(server) = self.hosts[self.find(*who)?.0].peer else {
                    return None;
                };
                Request::Order(Order::RemoveServer { server })
            }
            Act::Crash { .. }
            | Act::Power { .. }
            | Act::Pause { .. }
            | Act::Isolate { .. }
            | Act::Split { .. }
            | Act::Cut { .. }
            | Act::SlowLinks { .. }
            | Act::LoseMessages { .. }
            | Act::SlowCpu { .. }
            | Act::SlowDisk { .. }
            | Act::FillDisk { .. }
            | Act::BreakDisk { .. }
            | Act::JumpClock { .. }
            | Act::Wipe { .. }
            | Act::Rot { .. }
            | Act::RestartAlloc { .. }
            | Act::Refit { .. }
            | Act::Read { .. }
            | Act::Save
            | Act::Restore
            | Act::Join { .. } => return None,
        })
    }

    /// As a user would find it: in the tables of the server that is asked.
    fn nth_alloc(&self, host: HostId, nth: u64) -> Option<AllocId> {
        let state = self.hosts[host.0].agent.as_ref()?.state()?;
        let wanted = state.allocs().filter(|alloc| alloc.desired == DesiredStatus::Run);
        let wanted: Vec<AllocId> = wanted.map(|alloc| alloc.id).collect();
        let at = usize::try_from(nth).ok()?.checked_rem(wanted.len())?;
        wanted.get(at).copied()
    }

    pub(super) fn take_answer(
        &mut self,
        id: RequestId,
        answer: Result<Response, Rejection>,
    ) -> Result<(), Violation> {
        let Some(asked) = self.asked.remove(&id) else {
            let message = format!("{id:?} is answered and nobody waits: {answer:?}");
            return Err(Violation { checker: "answered_once", message });
        };
        named("linearizable", self.checkers.linearizable.on_answered(id, &answer))?;
        match answer {
            Ok(Response::Applied { index, .. }) if let Request::Order(order) = *asked.request => {
                self.counters.orders_done += 1;
                named("order_is_kept", self.check_order(order, index))
            }
            Ok(Response::Applied { index, .. }) => {
                self.counters.requests_done += 1;
                let entry = self.checkers.state_machine_safety.entry_at(index);
                let command = entry.as_ref().map(|entry| &entry.command);
                let kept =
                    self.checkers.no_lost_write.on_acknowledged(&asked.request, index, command);
                named("no_lost_write", kept)?;
                self.go_on_restoring(&asked.request)
            }
            Ok(Response::ReadPoint { index }) => {
                let fresh = self.checkers.no_lost_write.on_read(asked.floor, index);
                named("no_lost_write", fresh)?;
                self.reading.push(Reading { host: asked.host, id, point: index });
                self.read_on(asked.host)
            }
            Err(Rejection::Unknown) => {
                self.counters.requests_unknown += 1;
                Ok(())
            }
            Err(
                Rejection::NotLeader { .. }
                | Rejection::Invalid { .. }
                | Rejection::NotFound { .. }
                | Rejection::Conflict { .. }
                | Rejection::Overloaded { .. },
            ) => {
                self.counters.requests_refused += 1;
                Ok(())
            }
        }
    }

    /// Whoever was struck off is no part of the configuration that was committed by `index`.
    fn check_order(&self, order: Order, index: Index) -> Verdict {
        let Order::RemoveServer { server } = order else { return Ok(()) };
        let mut rafts = self.servers_up().filter_map(|host| host.agent.as_ref()?.raft());
        let is_there = rafts.any(|raft| {
            raft.base().index <= index
                && index <= raft.commit_index()
                && raft.configuration_at(index).is_member(server)
        });
        if is_there {
            Err(format!("{server:?} was struck off by {index:?} and is there"))
        } else {
            Ok(())
        }
    }

    /// The server that was asked is gone: what became of it nobody will say.
    pub(super) fn forget_asked(&mut self, host: HostId) -> Result<(), Violation> {
        let asked = self.asked.extract_if(.., |_, asked| asked.host == host).map(|(id, _)| id);
        let asked: Vec<RequestId> = asked.collect();
        self.counters.requests_unknown += asked.len() as u64;
        let reading = self.reading.extract_if(.., |read| read.host == host).map(|read| read.id);
        for id in asked.into_iter().chain(reading) {
            named("linearizable", self.checkers.linearizable.on_gone(id))?;
        }
        Ok(())
    }

    /// Everything has come to rest: what the leader has is what came of all that was asked.
    pub(super) fn check_no_loss(&mut self) -> Result<(), Violation> {
        let leader = self.leader().and_then(|leader| self.hosts[leader.0].agent.as_ref());
        let Some(state) = leader.and_then(|agent| agent.state()) else { return Ok(()) };
        let id = RequestId(self.last_request + 1);
        named("linearizable", self.checkers.linearizable.on_end(id, state))
    }

    /// Requests that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.asked.values().filter(|asked| !asked.is_abandoned).count()
    }
}
