//! What outsiders may ask of an agent, and what they hear.
//!
//! Reads are not here: they are served by the shadow, after a `ReadPoint` where they must be
//! consistent. Every write that has been answered `Ok` is committed and applied.
//!
//! Invariants
//! - each variant of `Rejection` asks something different of the caller.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::types::{
    AllocId, AllocUpdate, AutopilotConfig, DeploymentId, DrainSpec, EvalId, Index, JobId, JobSpec,
    NodeId, NodeSpec, PoolName, PoolSpec, SchedulerConfig, ServerId,
};

/// Something a caller wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Request {
    /// Register a job or a new version of it. With `check_index`, only if its `spec_index` is that
    /// (zero: only if it does not exist).
    RegisterJob {
        spec: Arc<JobSpec>,
        check_index: Option<Index>,
    },
    DeregisterJob {
        namespace: String,
        job: String,
        purge: bool,
    },
    /// Look at the job again.
    EvaluateJob {
        namespace: String,
        job: String,
    },
    /// Stop the alloc and place it anew.
    StopAlloc {
        alloc: AllocId,
    },
    RegisterNode {
        spec: Arc<NodeSpec>,
    },
    SetNodeEligible {
        node: NodeId,
        eligible: bool,
    },
    UpdateAllocs {
        node: NodeId,
        updates: Vec<AllocUpdate>,
    },
    CollectGarbage,
    /// At which index a read that starts now must see the state.
    ReadPoint {
        consistency: Consistency,
    },
    /// Something about the servers themselves; the state knows nothing of it.
    Order(Order),
    /// The next part of the saved state whose bytes have this digest. The first one begins anew.
    RestorePart {
        of: Digest,
        nth: u32,
        #[serde(with = "crate::bytes")]
        bytes: Arc<[u8]>,
    },
    /// All parts have come: the saved state takes the place of the present one.
    Restore {
        of: Digest,
        parts: u32,
    },
    /// Let the canaries' version take over. No groups: all of them.
    PromoteDeployment {
        deployment: DeploymentId,
        groups: Vec<String>,
    },
    PauseDeployment {
        deployment: DeploymentId,
        pause: bool,
    },
    FailDeployment {
        deployment: DeploymentId,
    },
    /// What an operator says of a deployment's allocs.
    SetAllocHealth {
        deployment: DeploymentId,
        healthy: Vec<AllocId>,
        unhealthy: Vec<AllocId>,
    },
    /// Register an earlier version anew. With `enforce_prior`, only if the newest version is that.
    RevertJob {
        namespace: String,
        job: String,
        version: u64,
        enforce_prior: Option<u64>,
    },
    /// Whether a failed deployment may go back to the version.
    SetJobStable {
        namespace: String,
        job: String,
        version: u64,
        stable: bool,
    },
    /// Empty the node, or (`None`) stop that and, if asked for, let it have new allocs again.
    SetNodeDrain {
        node: NodeId,
        spec: Option<DrainSpec>,
        mark_eligible: bool,
        meta: BTreeMap<String, String>,
    },
    /// Launch a periodic job now.
    ForcePeriodic {
        namespace: String,
        job: String,
    },
    /// Make a child of a parameterized job.
    DispatchJob {
        namespace: String,
        job: String,
        #[serde(with = "crate::bytes")]
        payload: Arc<[u8]>,
        meta: BTreeMap<String, String>,
        /// Put into the child's name; may be empty.
        id_prefix: String,
        /// Whoever asks again with it gets the same child; may be empty.
        token: String,
    },
    /// Another count for a group. Without one, only what is said is kept.
    ScaleJob {
        namespace: String,
        job: String,
        group: String,
        count: Option<u32>,
        message: String,
        error: bool,
        meta_json: String,
    },
    /// How the servers schedule. With `check_index`, only if that is the last entry that set it.
    SetSchedulerConfig {
        config: SchedulerConfig,
        check_index: Option<Index>,
    },
    /// Make a node pool, or say something else of it.
    UpsertNodePool {
        spec: PoolSpec,
    },
    /// Forget a pool that nothing is in.
    DeleteNodePool {
        pool: PoolName,
    },
    /// Move these to better nodes, each if it gains so much. None: nothing that has not begun to moves.
    Rebalance {
        moves: Vec<AllocId>,
        gain_permille_min: u32,
    },
    /// A server that failed is not expected back, says an operator. Asked of the server that is to say so.
    ForceOut {
        server: ServerId,
        /// Nobody shall remember it either.
        prune: bool,
    },
    /// How the leader cares for who votes. With `check_index`, only if that is the last entry that set it.
    SetAutopilotConfig {
        config: AutopilotConfig,
        check_index: Option<Index>,
    },
}

/// What a read that sees every earlier write may rest on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Consistency {
    /// The word of a leader whose quorum promised a moment ago to elect nobody else yet. It is as good as
    /// the servers' monotonic clocks.
    #[default]
    Default,
    /// A quorum that is asked now, whatever the clocks show.
    Consistent,
}

/// What an operator, or a server that goes, wants of the consensus. Asked twice, it is done once: whoever leads finds it done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Order {
    /// A server that is gone for good is no part of the configuration any more.
    RemoveServer { server: ServerId },
    /// Another server leads.
    TransferLead { heir: Heir },
    /// The server that asks goes, and is no part of the configuration any more. If it leads, another does.
    Leave,
}

/// Who is to lead.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Heir {
    Server(ServerId),
    /// Whoever is ready soonest, but not this one.
    AnyBut(ServerId),
}

/// What a request came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Response {
    /// Applied at `index`; `eval` is the evaluation it made, if any.
    Applied { index: Index, eval: Option<EvalId>, job: Option<JobId> },
    /// Read once the state has been applied this far.
    ReadPoint { index: Index },
}

/// Why a request was turned down.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Rejection {
    /// Ask `leader`, or, if none is known, ask again later.
    NotLeader { leader: Option<ServerId> },
    /// Mend `field`: `why` says what would be right.
    Invalid { field: String, why: String },
    /// `what` does not exist: `job`, `alloc`, `node`, `eval`.
    NotFound { what: String },
    /// It changed meanwhile: read it again.
    Conflict { index: Index },
    /// Ask again after `retry_ms`.
    Overloaded { retry_ms: u64 },
    /// The leader was lost before it answered: it may or may not have been done. Look before asking again.
    Unknown,
}
