//! The plan's requests, asked of a server that happens to be up, and what follows from the answers.
use std::sync::Arc;

use drover_core::agent::Event;
use drover_core::api::{Order, Rejection, Request, Response};
use drover_core::types::{Index, RequestId};
use drover_core::wire::PeerId;

use super::World;
use crate::checkers::{Verdict, Violation, named};
use crate::network::HostId;
use crate::plan::{Act, Freshness, Subject};
use crate::requests::{ABANDONED_PERMILLE, Ask, Told, is_struck_off, request_of};

impl World {
    /// Ask some server for what the plan says.
    pub(super) fn ask(&mut self, act: &Act) -> Result<(), Violation> {
        let Some(host) = self.some_server() else { return Ok(()) };
        if let Act::Read { what: Subject::Job(job), how: Freshness::Stale } = act {
            return self.read_stale(host, job);
        }
        let tables = self.hosts[host.0].agent.as_ref().and_then(|agent| agent.state());
        let server = |who| match self.hosts[self.find(who)?.0].peer {
            PeerId::Server(server) => Some(server),
            PeerId::Client(_) | PeerId::Foreign(_) => None,
        };
        let Some(request) = request_of(act, tables, server) else { return Ok(()) };
        let read = if let Act::Read { what, .. } = act { Some(what.clone()) } else { None };
        self.ask_of(host, request, read)
    }

    /// One that is up, whichever.
    pub(super) fn some_server(&mut self) -> Option<HostId> {
        let up: Vec<HostId> = self.servers_up().map(|host| host.id).collect();
        let last = up.len().checked_sub(1)?;
        let at = usize::try_from(self.rng.between(0, last as u64)).unwrap_or(0);
        Some(up[at])
    }

    pub(super) fn ask_of(
        &mut self,
        host: HostId,
        request: Request,
        read: Option<Subject>,
    ) -> Result<(), Violation> {
        let is_abandoned = self.rng.chance(ABANDONED_PERMILLE);
        let saved = self.saved.as_ref().map(|saved| Arc::clone(&saved.shown)).unwrap_or_default();
        let ask = Ask { host, request: Arc::new(request.clone()), read, saved };
        let id = self.requests.ask(ask, &mut self.checkers, &mut self.counters);
        self.step(host, Event::Requested { id, request })?;
        if is_abandoned {
            self.requests.abandon(id, &mut self.checkers, &mut self.counters)?;
            return self.step(host, Event::Abandoned { id });
        }
        Ok(())
    }

    fn read_stale(&mut self, host: HostId, job: &str) -> Result<(), Violation> {
        let agent = self.hosts[host.0].agent.as_ref();
        let Some(tables) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        self.counters.reads_stale += 1;
        named("no_lost_write", self.checkers.no_lost_write.check_job(tables, job))
    }

    /// The server may have got to the point of reads that wait for it.
    pub(super) fn read_on(&mut self, host: HostId) -> Result<(), Violation> {
        if !self.requests.is_anyone_reading() {
            return Ok(());
        }
        let agent = self.hosts[host.0].agent.as_ref();
        let Some(tables) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        self.requests.read_on(host, tables, &mut self.checkers, &mut self.counters)
    }

    pub(super) fn take_answer(
        &mut self,
        host: HostId,
        id: RequestId,
        answer: &Result<Response, Rejection>,
    ) -> Result<(), Violation> {
        let told = self.requests.on_answer(id, answer, &mut self.checkers, &mut self.counters)?;
        match told {
            Told::Over => Ok(()),
            Told::ReadAt(_) => self.read_on(host),
            Told::Written(request) => self.go_on_restoring(&request),
            Told::Ordered(order, index) => named("order_is_kept", self.check_order(order, index)),
        }
    }

    /// Whoever was struck off is no part of the configuration that was committed by `index`.
    fn check_order(&self, order: Order, index: Index) -> Verdict {
        let Order::RemoveServer { server } = order else { return Ok(()) };
        let mut rafts = self.servers_up().filter_map(|host| host.agent.as_ref()?.raft());
        let is_there = rafts.any(|raft| is_struck_off(raft, server, index) == Some(false));
        if is_there {
            Err(format!("{server:?} was struck off by {index:?} and is there"))
        } else {
            Ok(())
        }
    }

    /// The server that was asked is gone.
    pub(super) fn forget_asked(&mut self, host: HostId) -> Result<(), Violation> {
        self.requests.forget(host, &mut self.checkers, &mut self.counters)
    }

    /// Everything has come to rest: what the leader has is what came of all that was asked.
    pub(super) fn check_no_loss(&mut self) -> Result<(), Violation> {
        let leader = self.leader().and_then(|leader| self.hosts[leader.0].agent.as_ref());
        let Some(tables) = leader.and_then(|agent| agent.state()) else { return Ok(()) };
        self.requests.check_end(tables, &mut self.checkers)
    }
}
