//! What users and operators ask of a cluster, and what they are told: the same for simulated cores and
//! for the real shell around them.
//!
//! Invariants
//! - an answer belongs to a request that waits for it, once;
//! - every request and every answer is known to the checkers, in the order in which they came.
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use drover_core::api::{Consistency, Heir, Order, Rejection, Request, Response};
use drover_core::digest::Digest;
use drover_core::raft::Raft;
use drover_core::state::State;
use drover_core::types::{
    AllocId, AutopilotConfig, DesiredStatus, DrainSpec, Index, RequestId, ServerId,
};

use crate::checkers::linearizable::Saved;
use crate::checkers::{Checkers, Violation, named};
use crate::counters::Counters;
use crate::launching;
use crate::network::HostId;
use crate::plan::{Act, Freshness, Subject, Who};
use crate::rebalancing;
use crate::steering::steer;
use crate::workload::{NAMESPACE, node_id, spec_of};

/// Callers that go away at once.
pub const ABANDONED_PERMILLE: u64 = 30;
/// Parts of one upload.
const PARTS: usize = 3;

/// Somebody asks a server.
#[derive(Clone, Debug)]
pub struct Ask {
    pub host: HostId,
    pub request: Arc<Request>,
    /// What is to be read, where the request is for a read point.
    pub read: Option<Subject>,
    /// What a restore would bring back.
    pub saved: Arc<Saved>,
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
struct Asked {
    host: HostId,
    request: Arc<Request>,
    /// What had been acknowledged to anyone when it was asked.
    floor: Index,
    /// The caller went away.
    is_abandoned: bool,
}

/// A read that was told from where on it sees every earlier write.
#[derive(Debug)]
struct Reading {
    host: HostId,
    id: RequestId,
    point: Index,
}

/// What follows from an answer.
#[derive(Clone, Debug)]
pub enum Told {
    /// Nothing.
    Over,
    /// The read can be done once its server is at this point.
    ReadAt(Index),
    /// The write was done.
    Written(Arc<Request>),
    /// The order was carried out.
    Ordered(Order, Index),
}

/// All that was asked, and has not been answered.
#[derive(Debug, Default)]
pub struct Requests {
    asked: BTreeMap<RequestId, Asked>,
    last: u64,
    reading: Vec<Reading>,
}

impl Requests {
    /// Somebody asks.
    pub fn ask(&mut self, ask: Ask, checkers: &mut Checkers, counters: &mut Counters) -> RequestId {
        self.last += 1;
        counters.requests_asked += 1;
        let id = RequestId(self.last);
        let floor = checkers.no_lost_write.last();
        match ask.read {
            Some(what) => checkers.linearizable.on_read_asked(id, what),
            None => checkers.linearizable.on_asked(id, &ask.request, &ask.saved),
        }
        let asked = Asked { host: ask.host, request: ask.request, floor, is_abandoned: false };
        self.asked.insert(id, asked);
        id
    }

    /// Whoever asked went away.
    ///
    /// # Errors
    /// What callers were told has no order.
    pub fn abandon(
        &mut self,
        id: RequestId,
        checkers: &mut Checkers,
        counters: &mut Counters,
    ) -> Result<(), Violation> {
        counters.requests_abandoned += 1;
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.is_abandoned = true;
        }
        named("linearizable", checkers.linearizable.on_gone(id))
    }

    /// A request was answered.
    ///
    /// # Errors
    /// Nobody waits for it, or the answer cannot be true.
    pub fn on_answer(
        &mut self,
        id: RequestId,
        answer: &Result<Response, Rejection>,
        checkers: &mut Checkers,
        counters: &mut Counters,
    ) -> Result<Told, Violation> {
        let Some(asked) = self.asked.remove(&id) else {
            let message = format!("{id:?} is answered and nobody waits: {answer:?}");
            return Err(Violation { checker: "answered_once", message });
        };
        named("linearizable", checkers.linearizable.on_answered(id, answer))?;
        match answer {
            &Ok(Response::Applied { index, .. }) if let Request::Order(order) = *asked.request => {
                counters.orders_done += 1;
                Ok(Told::Ordered(order, index))
            }
            // It is written nowhere.
            Ok(_) if matches!(*asked.request, Request::ForceOut { .. }) => {
                counters.orders_done += 1;
                Ok(Told::Over)
            }
            &Ok(Response::Applied { index, .. }) => {
                counters.requests_done += 1;
                let entry = checkers.state_machine_safety.entry_at(index);
                let command = entry.as_ref().map(|entry| &entry.command);
                let kept = checkers.no_lost_write.on_acknowledged(&asked.request, index, command);
                named("no_lost_write", kept)?;
                Ok(Told::Written(asked.request))
            }
            &Ok(Response::ReadPoint { index }) => {
                let fresh = checkers.no_lost_write.on_read(asked.floor, index);
                named("no_lost_write", fresh)?;
                self.reading.push(Reading { host: asked.host, id, point: index });
                Ok(Told::ReadAt(index))
            }
            Err(Rejection::Unknown) => {
                counters.requests_unknown += 1;
                Ok(Told::Over)
            }
            Err(
                Rejection::NotLeader { .. }
                | Rejection::Invalid { .. }
                | Rejection::NotFound { .. }
                | Rejection::Conflict { .. }
                | Rejection::Overloaded { .. },
            ) => {
                counters.requests_refused += 1;
                Ok(Told::Over)
            }
        }
    }

    /// Whether somebody waits until a server has got to a read's point.
    #[must_use]
    pub const fn is_anyone_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// A server has these tables now: reads that waited for them are done.
    ///
    /// # Errors
    /// What callers were told has no order.
    pub fn read_on(
        &mut self,
        host: HostId,
        tables: &State,
        checkers: &mut Checkers,
        counters: &mut Counters,
    ) -> Result<(), Violation> {
        let is_there = |read: &mut Reading| read.host == host && read.point <= tables.index();
        for read in self.reading.extract_if(.., is_there) {
            counters.reads += 1;
            named("linearizable", checkers.linearizable.on_read(read.id, tables))?;
        }
        Ok(())
    }

    /// The server that was asked is gone: what became of it nobody will say.
    ///
    /// # Errors
    /// What callers were told has no order.
    pub fn forget(
        &mut self,
        host: HostId,
        checkers: &mut Checkers,
        counters: &mut Counters,
    ) -> Result<(), Violation> {
        let asked = self.asked.extract_if(.., |_, asked| asked.host == host).map(|(id, _)| id);
        let asked: Vec<RequestId> = asked.collect();
        counters.requests_unknown += asked.len() as u64;
        let reading = self.reading.extract_if(.., |read| read.host == host).map(|read| read.id);
        for id in asked.into_iter().chain(reading) {
            named("linearizable", checkers.linearizable.on_gone(id))?;
        }
        Ok(())
    }

    /// Everything has come to rest, and these are the leader's tables: they are what came of all that was
    /// asked.
    ///
    /// # Errors
    /// They cannot be.
    pub fn check_end(&self, tables: &State, checkers: &mut Checkers) -> Result<(), Violation> {
        let id = RequestId(self.last + 1);
        named("linearizable", checkers.linearizable.on_end(id, tables))
    }

    /// Requests that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.asked.values().filter(|asked| !asked.is_abandoned).count()
    }
}

/// What a line of the plan asks of a server that has these `tables`; `None` where it asks for nothing.
/// `server` knows which server is meant.
#[must_use]
pub fn request_of(
    act: &Act,
    tables: Option<&State>,
    server: impl Fn(Who) -> Option<ServerId>,
) -> Option<Request> {
    let namespace = NAMESPACE.to_owned();
    Some(match act {
        Act::Register(ask) => Request::RegisterJob { spec: spec_of(ask), check_index: None },
        Act::StopJob { job, purge } => {
            Request::DeregisterJob { namespace, job: job.clone(), purge: *purge }
        }
        Act::Evaluate { job } => Request::EvaluateJob { namespace, job: job.clone() },
        Act::Steer { job, how } => steer(tables?, job, *how)?,
        Act::Launch { job, what } => launching::request_of(job, *what),
        Act::StopAlloc { nth } => Request::StopAlloc { alloc: nth_wanted(tables?, *nth)? },
        Act::SetEligible { client, eligible } => {
            Request::SetNodeEligible { node: node_id(*client), eligible: *eligible }
        }
        Act::Drain { client, deadline } => {
            drain(*client, Some(DrainSpec { deadline: *deadline, ignore_system: false }), false)
        }
        Act::Undrain { client, mark_eligible } => drain(*client, None, *mark_eligible),
        Act::Rebalance { budget, gain_permille, nth } => {
            rebalancing::request_of(tables?, *budget, *gain_permille, *nth)
        }
        Act::Collect => Request::CollectGarbage,
        Act::HandOver { to: Who::Leader } => {
            Request::Order(Order::TransferLead { heir: Heir::AnyBut(server(Who::Leader)?) })
        }
        Act::HandOver { to } => {
            Request::Order(Order::TransferLead { heir: Heir::Server(server(*to)?) })
        }
        Act::RemoveServer { who } => Request::Order(Order::RemoveServer { server: server(*who)? }),
        Act::ForceOut { who, prune } => Request::ForceOut { server: server(*who)?, prune: *prune },
        Act::Care { cleanup, min_quorum, stable_ms } => Request::SetAutopilotConfig {
            config: AutopilotConfig {
                cleanup_dead_servers: *cleanup,
                min_quorum: *min_quorum,
                stabilization_ms: *stable_ms,
                // Disks and links may be slow for good.
                last_contact_ms_max: 1_000,
                ..AutopilotConfig::default()
            },
            check_index: None,
        },
        Act::Read { how: Freshness::Default, .. } => {
            Request::ReadPoint { consistency: Consistency::Default }
        }
        Act::Read { how: Freshness::Consistent, .. } => {
            Request::ReadPoint { consistency: Consistency::Consistent }
        }
        Act::Crash { .. }
        | Act::Move { .. }
        | Act::Leave { .. }
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
        | Act::Read { how: Freshness::Stale, .. }
        | Act::Save
        | Act::Restore
        | Act::Join { .. } => return None,
    })
}

fn drain(client: u64, spec: Option<DrainSpec>, mark_eligible: bool) -> Request {
    let (node, meta) = (node_id(client), BTreeMap::new());
    Request::SetNodeDrain { node, spec, mark_eligible, meta }
}

/// Whether a server that was struck off is no part of the configuration that was committed by `index`;
/// `None` where `raft` does not know that one.
#[must_use]
pub fn is_struck_off(raft: &Raft, server: ServerId, index: Index) -> Option<bool> {
    let is_known = raft.base().index <= index && index <= raft.commit_index();
    is_known.then(|| !raft.configuration_at(index).is_member(server))
}

/// As a user would find it: in the tables of the server that is asked.
fn nth_wanted(tables: &State, nth: u64) -> Option<AllocId> {
    let wanted = tables.allocs().filter(|alloc| alloc.desired == DesiredStatus::Run);
    let wanted: Vec<AllocId> = wanted.map(|alloc| alloc.id).collect();
    let at = usize::try_from(nth).ok()?.checked_rem(wanted.len())?;
    wanted.get(at).copied()
}

/// What brings a saved state back: each is asked when the one before it was answered.
pub fn restoring(state: &[u8]) -> impl Iterator<Item = Request> {
    let of = Digest::of(state);
    let parts = state.chunks(state.len().div_ceil(PARTS).max(1));
    let count = u32::try_from(parts.len()).expect("invariant: few parts");
    let parts =
        parts.zip(0..).map(move |(part, nth)| Request::RestorePart { of, nth, bytes: part.into() });
    parts.chain(iter::once(Request::Restore { of, parts: count }))
}
