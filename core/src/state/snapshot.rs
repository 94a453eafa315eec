//! The whole state as bytes.
//!
//! Canonical: rows in the order of their keys and nothing derived, so that servers with the same
//! state write the same bytes. The digest at the end is compared before anything is derived.
//!
//! Invariants
//! - decoding what was encoded gives the same digest and the same behaviour;
//! - bytes that were not encoded by us are refused, never believed in part.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use super::indexes::Indexes;
use super::session::{Remembered, SessionHead};
use super::table::{Table, Tag};
use super::txn::holds_room;
use super::upload::Part;
use super::{Header, JobRow, NodeRow, State};
use crate::digest::Digest;
use crate::types::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, Index, JobId, NodeId,
    NodePool, PoolName, ServerId,
};

/// Why bytes are not a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotFault {
    /// They do not read as any version of the format.
    Malformed,
    /// They read, and then go on.
    TrailingBytes,
    /// The rows are not those that the digest names.
    DigestDiffers { named: Digest, found: Digest },
    /// Two nodes claim one slot.
    SlotTakenTwice,
    /// Rows say of each other what cannot be.
    Contradiction { rule: &'static str },
}

/// What is written. Variants are appended and never changed.
#[derive(Serialize)]
enum Written<'a> {
    V1(BodyWritten<'a>),
    /// With the parts of a saved state that is on its way back; there are some.
    V2(BodyWritten<'a>, &'a Table<u32, Part>),
}

#[derive(Serialize)]
struct BodyWritten<'a> {
    header: &'a Header,
    sessions: &'a Table<ServerId, SessionHead>,
    remembered: &'a Table<(ServerId, u64), Remembered>,
    nodes: &'a Table<NodeId, NodeRow>,
    jobs: &'a Table<JobId, JobRow>,
    evals: &'a Table<EvalId, Evaluation>,
    allocs: &'a Table<AllocId, Allocation>,
    deployments: &'a Table<DeploymentId, Deployment>,
    pools: &'a Table<PoolName, NodePool>,
    tombstones: &'a Table<(NodeId, AllocId), Index>,
    digest: Digest,
}

/// The same, as it is read.
#[derive(Deserialize)]
enum Read {
    V1(BodyRead),
    V2(BodyRead, Vec<(u32, Part)>),
}

#[derive(Deserialize)]
struct BodyRead {
    header: Header,
    sessions: Vec<(ServerId, SessionHead)>,
    remembered: Vec<((ServerId, u64), Remembered)>,
    nodes: Vec<(NodeId, NodeRow)>,
    jobs: Vec<(JobId, JobRow)>,
    evals: Vec<(EvalId, Evaluation)>,
    allocs: Vec<(AllocId, Allocation)>,
    deployments: Vec<(DeploymentId, Deployment)>,
    pools: Vec<(PoolName, NodePool)>,
    tombstones: Vec<((NodeId, AllocId), Index)>,
    digest: Digest,
}

impl State {
    /// The state as bytes: the same on every server that has applied the same log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = BodyWritten {
            header: &self.header,
            sessions: &self.sessions,
            remembered: &self.remembered,
            nodes: &self.nodes,
            jobs: &self.jobs,
            evals: &self.evals,
            allocs: &self.allocs,
            deployments: &self.deployments,
            pools: &self.pools,
            tombstones: &self.tombstones,
            digest: self.digest(),
        };
        let written = match self.upload() {
            None => Written::V1(body),
            Some(_) => Written::V2(body, &self.upload),
        };
        let bytes = postcard::to_allocvec(&written);
        bytes.expect("invariant: plain data can be written to memory")
    }

    /// The state that was encoded.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let mut state = Self::decode_rows(bytes)?;
        state.derive()?;
        Ok(state)
    }

    /// The tables, with nothing that follows from them.
    pub(super) fn decode_rows(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let (read, rest) =
            postcard::take_from_bytes(bytes).map_err(|_| SnapshotFault::Malformed)?;
        if !rest.is_empty() {
            return Err(SnapshotFault::TrailingBytes);
        }
        let (body, upload) = match read {
            Read::V1(body) => (body, Vec::new()),
            Read::V2(body, upload) => (body, upload),
        };
        let state = Self {
            header: body.header,
            sessions: table(Tag::Session, body.sessions),
            remembered: table(Tag::Remembered, body.remembered),
            nodes: table(Tag::Node, body.nodes),
            jobs: table(Tag::Job, body.jobs),
            evals: table(Tag::Eval, body.evals),
            allocs: table(Tag::Alloc, body.allocs),
            deployments: table(Tag::Deployment, body.deployments),
            pools: table(Tag::Pool, body.pools),
            tombstones: table(Tag::Tombstone, body.tombstones),
            upload: table(Tag::Part, upload),
            ..Self::new()
        };
        let (named, found) = (body.digest, state.digest());
        if named != found {
            return Err(SnapshotFault::DigestDiffers { named, found });
        }
        Ok(state)
    }

    /// Make indexes and fleet from the tables.
    fn derive(&mut self) -> Result<(), SnapshotFault> {
        let mut taken = BTreeSet::new();
        if !self.nodes.iter().all(|(_, row)| taken.insert(row.slot)) {
            return Err(SnapshotFault::SlotTakenTwice);
        }
        self.derive_anew();
        Ok(())
    }

    /// Indexes and fleet, as the tables make them; nodes keep their slots.
    pub(super) fn derive_anew(&mut self) {
        let mut fleet = Fleet::of(self);
        fleet.follow(&self.fleet);
        self.fleet = fleet;
        self.by = Indexes::of(self);
        self.share_groups();
    }
}

impl Fleet {
    /// The fleet of these tables, from nothing.
    pub(crate) fn of(state: &State) -> Self {
        let mut fleet = Self::default();
        for (_, row) in state.nodes.iter() {
            fleet.put_node_at(&row.node, row.slot);
        }
        for (_, alloc) in state.allocs.iter().filter(|(_, alloc)| holds_room(alloc)) {
            assert!(state.nodes.has(alloc.node), "an alloc that holds room has its node");
            fleet.hold(alloc.node, alloc.claim());
        }
        fleet
    }
}

impl Indexes {
    /// The indexes of these tables, from nothing.
    pub(crate) fn of(state: &State) -> Self {
        let mut by = Self::default();
        state.nodes.iter().for_each(|(_, row)| by.on_node(None, Some(&row.node)));
        state.jobs.iter().for_each(|(_, row)| by.on_job(None, Some(&row.job)));
        state.evals.iter().for_each(|(_, eval)| by.on_eval(None, Some(eval)));
        state.allocs.iter().for_each(|(_, alloc)| by.on_alloc(None, Some(alloc)));
        state.deployments.iter().for_each(|(_, row)| by.on_deployment(None, Some(row)));
        by
    }
}

fn table<K: Clone + Ord + Serialize, V: Serialize>(tag: Tag, rows: Vec<(K, V)>) -> Table<K, V> {
    let mut table = Table::new(tag);
    for (key, row) in rows {
        table.put(key, row);
    }
    table
}
