//! The plan's requests, asked of a server that happens to be up, and what is answered.
//!
//! Invariants
//! - an answer belongs to a request that waits for it, once.
use drover_core::api::{Consistency, Heir, Order, Rejection, Request, Response};
use drover_core::types::{AllocId, Index};
use drover_core::wire::PeerId;
use drover_sim::checkers::{Violation, named};
use drover_sim::network::HostId;
use drover_sim::plan::{Act, Freshness, Who};
use drover_sim::workload::{NAMESPACE, node_id, spec_of};

use crate::scenario::Scenario;
use crate::stage::{Answer, ToAgent};

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    host: HostId,
    request: Request,
    /// What had been acknowledged to anyone when it was asked.
    floor: Index,
}

impl Scenario {
    /// Ask some server for what the plan says.
    pub(crate) fn ask(&mut self, act: &Act) {
        let servers: Vec<HostId> = {
            let is_up = |host: &HostId| {
                let machine = self.stage.machine(*host);
                machine.host.is_server() && machine.inbox.is_some()
            };
            self.stage.hosts().filter(is_up).collect()
        };
        let Some(last) = servers.len().checked_sub(1) else { return };
        let host = servers[usize::try_from(self.rng.between(0, last as u64)).unwrap_or(0)];
        let Some(request) = self.request_of(act) else { return };
        self.last_request += 1;
        let id = self.last_request;
        let floor = {
            let mut book = self.stage.book();
            book.counters.requests_asked += 1;
            book.checkers.no_lost_write.last()
        };
        self.asked.insert(id, Asked { host, request: request.clone(), floor });
        if let Some(inbox) = &self.stage.machine(host).inbox {
            let _the_agent_may_have_ended = inbox.send(ToAgent::Ask(id, request));
        }
    }

    fn request_of(&self, act: &Act) -> Option<Request> {
        let namespace = NAMESPACE.to_owned();
        let server = |host: HostId| match self.stage.machine(host).host.peer {
            PeerId::Server(server) => Some(server),
            PeerId::Client(_) => None,
        };
        Some(match act {
            Act::Register(ask) => Request::RegisterJob { spec: spec_of(ask), check_index: None },
            Act::StopJob { job, purge } => {
                Request::DeregisterJob { namespace, job: job.clone(), purge: *purge }
            }
            Act::Evaluate { job } => Request::EvaluateJob { namespace, job: job.clone() },
            Act::StopAlloc { nth } => Request::StopAlloc { alloc: self.nth_alloc(*nth)? },
            Act::SetEligible { client, eligible } => {
                Request::SetNodeEligible { node: node_id(*client), eligible: *eligible }
            }
            Act::Collect => Request::CollectGarbage,
            Act::Read { how: Freshness::Stale, .. } => return None,
            Act::Read { how: Freshness::Default, .. } => {
                Request::ReadPoint { consistency: Consistency::Default }
            }
            Act::Read { how: Freshness::Consistent, .. } => {
                Request::ReadPoint { consistency: Consistency::Consistent }
            }
            Act::HandOver { to: Who::Leader } => {
                let former = server(self.find(Who::Leader)?)?;
                Request::Order(Order::TransferLead { heir: Heir::AnyBut(former) })
            }
            Act::HandOver { to } => {
                let heir = server(self.find(*to)?)?;
                Request::Order(Order::TransferLead { heir: Heir::Server(heir) })
            }
            Act::RemoveServer { who } => {
                Request::Order(Order::RemoveServer { server: server(self.find(*who)?)? })
            }
            _ => return None,
        })
    }

    /// As a user would find it: among those that run.
    fn nth_alloc(&self, nth: u64) -> Option<AllocId> {
        let book = self.stage.book();
        let live: Vec<AllocId> =
            book.checkers.alloc_runs_once.live().map(|key| key.alloc).collect();
        let at = usize::try_from(nth).ok()?.checked_rem(live.len())?;
        live.get(at).copied()
    }

    pub(crate) fn take_answer(&mut self, (id, answer): Answer) -> Result<(), Violation> {
        // Whoever crashed had answered before it did.
        let Some(asked) = self.asked.remove(&id) else { return Ok(()) };
        let mut book = self.stage.book();
        match answer {
            Ok(Response::Applied { index, .. }) => {
                if matches!(asked.request, Request::Order(_)) {
                    book.counters.orders_done += 1;
                    return Ok(());
                }
                book.counters.requests_done += 1;
                let entry = book.checkers.state_machine_safety.entry_at(index);
                let command = entry.as_ref().map(|entry| &entry.command);
                let writes = &mut book.checkers.no_lost_write;
                named("no_lost_write", writes.on_acknowledged(&asked.request, index, command))
            }
            Ok(Response::ReadPoint { index }) => {
                book.counters.reads += 1;
                let writes = &book.checkers.no_lost_write;
                named("no_lost_write", writes.on_read(asked.floor, index))
            }
            Err(Rejection::Unknown) => {
                book.counters.requests_unknown += 1;
                Ok(())
            }
            Err(
                Rejection::NotLeader { .. }
                | Rejection::Invalid { .. }
                | Rejection::NotFound { .. }
                | Rejection::Conflict { .. }
                | Rejection::Overloaded { .. },
            ) => {
                book.counters.requests_refused += 1;
                Ok(())
            }
        }
    }

    /// The server that was asked is gone: what became of it nobody will say.
    pub(crate) fn forget_asked(&mut self, host: HostId) {
        let before = self.asked.len();
        self.asked.retain(|_, asked| asked.host != host);
        self.stage.book().counters.requests_unknown += (before - self.asked.len()) as u64;
    }
}
