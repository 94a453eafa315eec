//! The replicated state: the tables, what follows from them, and how to look things up.
//!
//! | table | rows |
//! |---|---|
//! | nodes, jobs, evals, allocs, deployments, pools | the nouns that users see |
//! | tombstones | allocs that are collected but whose node may not know that they must not run |
//! | sessions, remembered | which forwarded writes have been applied already, and what they came to |
//! | upload | parts of a saved state that is on its way back |
//! | header | cluster id, feature level, index, clock, log bytes since the last cut, scheduler configuration |
//!
//! `by` and `fleet` are derived. They and the digest are kept true by `Txn`, the only writer.
//!
//! Invariants
//! - the same log gives the same digest on every machine;
//! - only `Txn` writes tables: indexes, fleet and digest are what they would be if made from nothing;
//! - every alloc's, evaluation's and deployment's job exists, with the version that the alloc points at;
//! - a deployment that is active is of its job's newest version, the only one, and counts its healthy
//!   allocs exactly;
//! - an alloc holds room on its node until its client status is terminal, and until then the node
//!   exists;
//! - the pool of each node, and of each job that is not stopped, exists;
//! - index and clock never go back.
//!
//! It does not decide anything: what a command means is in `fsm`.
mod assignment;
pub mod bits;
pub mod by_slot;
mod change;
pub(crate) mod children;
mod classes;
pub mod fits;
pub mod fleet;
mod gates;
mod grid;
pub(crate) mod indexes;
mod invariants;
mod lookup;
mod pieces;
mod restore;
pub(crate) mod session;
mod slots;
mod snapshot;
mod soundness;
pub(crate) mod table;
pub(crate) mod txn;
mod upload;

use serde::{Deserialize, Serialize};

use self::change::TABLES;
pub use self::change::{Change, TableKind};
pub use self::children::JobStatus;
use self::fleet::Fleet;
pub use self::gates::{Approach, Bar, Gatekeeper};
use self::indexes::Indexes;
pub use self::lookup::UuidPrefix;
pub use self::restore::Saved;
use self::session::{Remembered, SessionHead};
pub use self::session::{SESSION_WINDOW, SESSIONS_MAX};
pub use self::snapshot::SnapshotFault;
use self::table::{Table, Tag, row_digest};
use self::upload::Part;
pub(crate) use self::upload::Upload;
use crate::digest::Digest;
use crate::limits::CUT_BYTES;
use crate::rng::mix;
use crate::time::WallTime;
use crate::types::{
    AllocId, Allocation, AutopilotConfig, ClusterId, ConfigRow, Deployment, DeploymentId, EvalId,
    Evaluation, Index, Job, JobId, Node, NodeId, NodePool, NodeSlot, PoolName, SchedulerConfig,
    ServerId, Uuid,
};

/// All that the log says.
#[derive(Clone, Debug)]
pub struct State {
    header: Header,
    sessions: Table<ServerId, SessionHead>,
    remembered: Table<(ServerId, u64), Remembered>,
    nodes: Table<NodeId, NodeRow>,
    jobs: Table<JobId, JobRow>,
    evals: Table<EvalId, Evaluation>,
    allocs: Table<AllocId, Allocation>,
    deployments: Table<DeploymentId, Deployment>,
    /// Those that were made: what is built in has no row.
    pools: Table<PoolName, NodePool>,
    /// To the entry that last told the node to stop the alloc.
    tombstones: Table<(NodeId, AllocId), Index>,
    /// Parts of one saved state, by position.
    upload: Table<u32, Part>,
    by: Indexes,
    fleet: Fleet,
}

/// What there is one of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Header {
    cluster: ClusterId,
    feature_level: u32,
    index: Index,
    clock: WallTime,
    log_bytes_since_cut: u64,
    /// Bytes of frames between two cuts.
    cut_bytes: u64,
    /// The last entry that changed a table, in the order of `TableKind`.
    table_indexes: [Index; TABLES],
    scheduler: ConfigRow<SchedulerConfig>,
    autopilot: ConfigRow<AutopilotConfig>,
}

/// A node with what only the servers know of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct NodeRow {
    pub(crate) node: Node,
    pub(crate) slot: NodeSlot,
    /// Every assignment up to here has reached the node.
    pub(crate) acknowledged: Index,
}

/// A job with the moment of its last change, which garbage collection compares.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct JobRow {
    pub(crate) job: Job,
    pub(crate) modify_time: WallTime,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: Header { cut_bytes: CUT_BYTES, ..Header::default() },
            sessions: Table::new(Tag::Session),
            remembered: Table::new(Tag::Remembered),
            nodes: Table::new(Tag::Node),
            jobs: Table::new(Tag::Job),
            evals: Table::new(Tag::Eval),
            allocs: Table::new(Tag::Alloc),
            deployments: Table::new(Tag::Deployment),
            pools: Table::new(Tag::Pool),
            tombstones: Table::new(Tag::Tombstone),
            upload: Table::new(Tag::Part),
            by: Indexes::default(),
            fleet: Fleet::default(),
        }
    }

    /// The last entry that was applied.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.header.index
    }

    /// The replicated clock: the largest stamp applied.
    #[must_use]
    pub const fn clock(&self) -> WallTime {
        self.header.clock
    }

    /// Zero until the cluster is bootstrapped.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.header.cluster
    }

    #[must_use]
    pub const fn feature_level(&self) -> u32 {
        self.header.feature_level
    }

    /// Bytes of applied frames since the last cut.
    #[must_use]
    pub const fn log_bytes_since_cut(&self) -> u64 {
        self.header.log_bytes_since_cut
    }

    /// Bytes of frames between two cuts: replicated, so that all servers cut together.
    #[must_use]
    pub const fn cut_bytes(&self) -> u64 {
        self.header.cut_bytes
    }

    /// How the servers schedule.
    #[must_use]
    pub const fn scheduler(&self) -> &ConfigRow<SchedulerConfig> {
        &self.header.scheduler
    }

    /// How the leader cares for who votes.
    #[must_use]
    pub const fn autopilot(&self) -> &ConfigRow<AutopilotConfig> {
        &self.header.autopilot
    }

    /// The key under which this cluster's ids become UUIDs.
    #[must_use]
    pub fn uuid_key(&self) -> u64 {
        let cluster = self.header.cluster.0;
        let upper = u64::try_from(cluster >> 64).expect("invariant: 64 bits remain");
        let lower = u64::try_from(cluster & u128::from(u64::MAX)).expect("invariant: 64 bits");
        mix(upper ^ mix(lower))
    }

    /// How users see the evaluation, alloc or deployment with this id.
    #[must_use]
    pub fn uuid(&self, id: u64) -> Uuid {
        Uuid::of_object(id, self.uuid_key())
    }

    /// The last entry that wrote or removed a row of the table.
    #[must_use]
    pub const fn table_index(&self, kind: TableKind) -> Index {
        self.header.table_indexes[kind as usize]
    }

    /// The scheduler's columns.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A name for everything in here: equal on two servers exactly when their states are.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut sum = row_digest(Tag::Header, &(), &self.header);
        for digest in [
            self.sessions.digest(),
            self.remembered.digest(),
            self.nodes.digest(),
            self.jobs.digest(),
            self.evals.digest(),
            self.allocs.digest(),
            self.deployments.digest(),
            self.pools.digest(),
            self.tombstones.digest(),
            self.upload.digest(),
        ] {
            sum.add(digest);
        }
        sum
    }

    /// Count a frame of the log whose entries have been applied. True: this is a cut, here and on
    /// every server.
    #[must_use]
    pub fn note_log_bytes(&mut self, bytes: u64) -> bool {
        let sum = self.header.log_bytes_since_cut.saturating_add(bytes);
        let cut = self.header.cut_bytes <= sum;
        self.header.log_bytes_since_cut = if cut { 0 } else { sum };
        cut
    }

    /// An entry that holds no command was applied.
    pub fn pass(&mut self, index: Index) {
        assert!(self.header.index < index, "an entry is applied once, in the order of the log");
        self.header.index = index;
    }

    /// An entry with this stamp is being applied.
    pub(crate) fn advance(&mut self, index: Index, stamp: WallTime) {
        self.pass(index);
        // However far a stamp is ahead, a quorum of clocks agreed on it (see `stamp`): after a quiet
        // night the first entry brings the clock to the present.
        self.header.clock = self.header.clock.max(stamp);
    }
}
