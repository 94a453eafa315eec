//! The commands of the log, and the one function that applies them.
//!
//! `apply` is total: whatever bytes decode to, it answers, and a refusal is an answer. A command
//! checks, computes, and only then writes; each noun has its file.
//!
//! Invariants
//! - the same entries in the same order give the same state, outcome and changes everywhere;
//! - an entry that a server sends twice is applied once and answered twice;
//! - commands are appended to and never changed: a golden test holds their bytes.
//!
//! It does not know who proposed an entry, nor who waits for its outcome.
mod alloc;
mod deployment;
mod drain;
mod eval;
mod garbage;
mod gate;
mod job;
mod launch;
mod node;
mod operator;
mod plan;
mod pool;
mod preempt;
mod rebalance;
pub mod record;
mod restore;
mod scale;

use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::format;
use ::alloc::string::{String, ToString};
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::api::Rejection;
use crate::digest::Digest;
use crate::limits::ROWS_PER_COMMAND_MAX;
use crate::state::session::Standing;
use crate::state::txn::Txn;
use crate::state::{Change, State};
use crate::time::WallTime;
use crate::types::{
    AllocId, AllocUpdate, AutopilotConfig, ClusterId, DeploymentId, DrainSpec, EvalId, Index,
    JobId, JobSpec, NodeId, NodeSpec, NodeStatus, Plan, PoolName, PoolSpec, SchedulerConfig,
    Session,
};
pub use drain::DRAIN_GIVEN_UP;

/// Longest text for people (a reason, a description) that a row keeps: a few lines.
pub const TEXT_BYTES_MAX: usize = 512;

/// One entry of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// The leader's idea of the time.
    pub stamp: WallTime,
    /// Whose write it is, where it could reach the log twice.
    pub session: Option<Session>,
    pub command: Command,
}

/// What an entry asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Command {
    Bootstrap {
        cluster: ClusterId,
    },
    RegisterNode {
        spec: Arc<NodeSpec>,
    },
    /// Nodes were heard from, or not: `Ready` or `Down`.
    SetNodeStatus {
        nodes: Vec<NodeId>,
        status: NodeStatus,
        reason: String,
    },
    SetNodeEligible {
        node: NodeId,
        eligible: bool,
    },
    /// With `check_index`, only if the job's `spec_index` is that; zero: only if it does not exist.
    RegisterJob {
        spec: Arc<JobSpec>,
        check_index: Option<Index>,
    },
    DeregisterJob {
        namespace: String,
        job: String,
        purge: bool,
    },
    EvaluateJob {
        namespace: String,
        job: String,
    },
    /// Stop the alloc; the evaluation that follows replaces it.
    StopAlloc {
        alloc: AllocId,
    },
    ApplyPlan(Plan),
    /// Scheduling this evaluation does not work.
    FailEval {
        eval: EvalId,
        why: String,
    },
    UnblockEvals {
        evals: Vec<EvalId>,
        reason: String,
    },
    /// What a client reports of its allocs.
    UpdateAllocs {
        node: NodeId,
        updates: Vec<AllocUpdate>,
    },
    /// Remove what ended before these moments.
    CollectGarbage {
        eval_before: WallTime,
        job_before: WallTime,
        node_before: WallTime,
    },
    /// The node has heard every assignment up to `seq`.
    AcknowledgeAssignment {
        node: NodeId,
        seq: Index,
    },
    RaiseFeatureLevel {
        level: u32,
    },
    /// Bytes of log between two cuts.
    SetCutBytes {
        bytes: u64,
    },
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
    /// The moment has come until which these had to make progress, as the entry's stamp has it.
    ReviewDeployments {
        deployments: Vec<DeploymentId>,
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
    /// The moment has come at which these drains wait for nothing any more, as the entry's stamp has it.
    ReviewDrains {
        nodes: Vec<NodeId>,
    },
    /// A moment of these jobs' calendars has come, as the entry's stamp has it.
    LaunchPeriodic {
        jobs: Vec<JobId>,
    },
    ForcePeriodic {
        namespace: String,
        job: String,
    },
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
    /// Without a count, only what is said is kept.
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
    /// Move these to better nodes when their turn comes, each if it gains so much; those that were to move
    /// before and have not had their turn stay.
    Rebalance {
        moves: Vec<AllocId>,
        gain_permille_min: u32,
    },
    /// How the leader cares for who votes. With `check_index`, only if that is the last entry that set it.
    SetAutopilotConfig {
        config: AutopilotConfig,
        check_index: Option<Index>,
    },
}

/// What an entry came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outcome {
    Applied {
        /// The evaluation that was made; of several, the first.
        eval: Option<EvalId>,
        job: Option<JobId>,
        /// Placements of a plan that did not hold any more; the job is evaluated again.
        refused_placements: u32,
        /// The command reached `ROWS_PER_COMMAND_MAX` with work left: propose it again.
        more: bool,
    },
    Refused(Rejection),
    /// It had been applied at `index` already.
    Repeated {
        index: Index,
        first: Box<Self>,
    },
}

impl Outcome {
    /// Applied, with nothing to tell.
    pub(crate) const DONE: Self =
        Self::Applied { eval: None, job: None, refused_placements: 0, more: false };

    /// Applied, and an evaluation of `job` was made.
    pub(crate) const fn evaluated(job: JobId, eval: EvalId) -> Self {
        Self::Applied { eval: Some(eval), job: Some(job), refused_placements: 0, more: false }
    }

    /// Applied, with `eval` made on the way.
    pub(crate) const fn with_eval(eval: Option<EvalId>) -> Self {
        Self::Applied { eval, job: None, refused_placements: 0, more: false }
    }
}

/// Apply the entry at `index`, which is later than any applied before; say what changed.
pub fn apply(state: &mut State, index: Index, entry: &Entry, changes: &mut Vec<Change>) -> Outcome {
    state.advance(index, entry.stamp);
    if let Some(answer) = entry.session.and_then(|session| earlier_answer(state, session)) {
        return answer;
    }
    let mut txn = Txn::begin(state, changes);
    let outcome = run(&mut txn, &entry.command).unwrap_or_else(Outcome::Refused);
    drain::follow(&mut txn);
    rebalance::follow(&mut txn);
    preempt::wake(&mut txn);
    if let Some(session) = entry.session {
        txn.remember(session, to_bytes(&outcome));
    }
    txn.finish();
    outcome
}

/// How a write that need not or must not be applied is answered.
fn earlier_answer(state: &State, session: Session) -> Option<Outcome> {
    match state.standing(session) {
        Standing::New => None,
        Standing::Applied(earlier) => match postcard::from_bytes(&earlier.answer) {
            Ok(first) => Some(Outcome::Repeated { index: earlier.index, first: Box::new(first) }),
            Err(_) => Some(Outcome::Refused(Rejection::Unknown)),
        },
        // Whoever sent it has given it up by now, and so have we.
        Standing::Forgotten => Some(Outcome::Refused(Rejection::Unknown)),
    }
}

fn to_bytes(outcome: &Outcome) -> Vec<u8> {
    postcard::to_allocvec(outcome).expect("invariant: plain data can be written to memory")
}

fn run(txn: &mut Txn<'_>, command: &Command) -> Result<Outcome, Rejection> {
    match command {
        Command::Bootstrap { cluster } => operator::bootstrap(txn, *cluster),
        Command::RegisterNode { spec } => node::register(txn, spec),
        Command::SetNodeStatus { nodes, status, reason } => {
            node::set_status(txn, nodes, *status, reason)
        }
        Command::SetNodeEligible { node, eligible } => node::set_eligible(txn, *node, *eligible),
        Command::RegisterJob { spec, check_index } => job::register(txn, spec, *check_index),
        Command::DeregisterJob { namespace, job, purge } => {
            let fate = if *purge { job::Fate::Purged } else { job::Fate::Stopped };
            job::deregister(txn, namespace, job, fate)
        }
        Command::EvaluateJob { namespace, job } => job::evaluate(txn, namespace, job),
        Command::StopAlloc { alloc } => alloc::stop(txn, *alloc),
        Command::ApplyPlan(plan) => plan::apply(txn, plan),
        Command::FailEval { eval, why } => eval::fail(txn, *eval, why),
        Command::UnblockEvals { evals, reason } => eval::unblock(txn, evals, reason),
        Command::UpdateAllocs { node, updates } => alloc::update(txn, *node, updates),
        Command::CollectGarbage { eval_before, job_before, node_before } => {
            garbage::collect(txn, *eval_before, *job_before, *node_before)
        }
        Command::AcknowledgeAssignment { node, seq } => node::acknowledge(txn, *node, *seq),
        Command::RaiseFeatureLevel { level } => operator::raise_feature_level(txn, *level),
        Command::SetCutBytes { bytes } => operator::set_cut_bytes(txn, *bytes),
        Command::RestorePart { of, nth, bytes } => restore::take_part(txn, *of, *nth, bytes),
        Command::Restore { of, parts } => restore::put_in_force(txn, *of, *parts),
        Command::PromoteDeployment { deployment, groups } => {
            deployment::promote(txn, *deployment, groups)
        }
        Command::PauseDeployment { deployment, pause } => {
            deployment::set_paused(txn, *deployment, *pause)
        }
        Command::FailDeployment { deployment } => deployment::fail_by_hand(txn, *deployment),
        Command::SetAllocHealth { deployment, healthy, unhealthy } => {
            deployment::set_health(txn, *deployment, healthy, unhealthy)
        }
        Command::ReviewDeployments { deployments } => deployment::review_all(txn, deployments),
        Command::RevertJob { namespace, job, version, enforce_prior } => {
            job::revert(txn, (namespace, job), *version, *enforce_prior)
        }
        Command::SetJobStable { namespace, job, version, stable } => {
            job::set_stable(txn, (namespace, job), *version, *stable)
        }
        Command::SetNodeDrain { node, spec, mark_eligible, meta } => {
            drain::set(txn, *node, *spec, *mark_eligible, meta)
        }
        Command::ReviewDrains { nodes } => drain::review_all(txn, nodes),
        Command::LaunchPeriodic { jobs } => launch::launch_due(txn, jobs),
        Command::ForcePeriodic { namespace, job } => launch::force(txn, namespace, job),
        Command::DispatchJob { namespace, job, payload, meta, id_prefix, token } => {
            let asked = launch::Dispatch { payload, meta, id_prefix, token };
            launch::dispatch(txn, (namespace, job), &asked)
        }
        Command::ScaleJob { namespace, job, group, count, message, error, meta_json } => {
            let asked = scale::Scale { group, count: *count, message, error: *error, meta_json };
            scale::scale(txn, (namespace, job), &asked)
        }
        Command::SetSchedulerConfig { config, check_index } => {
            operator::set_scheduler(txn, *config, *check_index)
        }
        Command::UpsertNodePool { spec } => pool::upsert(txn, spec),
        Command::DeleteNodePool { pool } => pool::delete(txn, pool),
        Command::Rebalance { moves, gain_permille_min: min } => rebalance::choose(txn, moves, *min),
        Command::SetAutopilotConfig { config, check_index } => {
            operator::set_autopilot(txn, *config, *check_index)
        }
    }
}

/// As much of a text for people as a row keeps. One text may be written to many rows.
fn shortened(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_string();
    }
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_string()
}

fn not_found(what: &str) -> Rejection {
    Rejection::NotFound { what: what.to_string() }
}

fn invalid(field: &str, why: &str) -> Rejection {
    Rejection::Invalid { field: field.to_string(), why: why.to_string() }
}

/// Refuse a list that would change more rows than one command may.
fn check_length(field: &str, length: usize) -> Result<(), Rejection> {
    if ROWS_PER_COMMAND_MAX < length {
        let why = format!("one command changes at most {ROWS_PER_COMMAND_MAX} rows");
        return Err(invalid(field, &why));
    }
    Ok(())
}
