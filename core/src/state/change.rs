//! What an entry changed, told to whoever keeps something that follows from the tables.
//!
//! A change names a row and says nothing of its content: the listener looks it up, and a row that
//! is not there any more has been removed.
//!
//! Invariants
//! - every row that an entry writes or removes is named by a change of that entry.
use serde::{Deserialize, Serialize};

use super::State;
use crate::types::{AllocId, DeploymentId, EvalId, JobId, NodeId};

/// One thing that an entry changed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Change {
    Node(NodeId),
    Job(JobId),
    Eval(EvalId),
    Alloc(AllocId),
    Deployment(DeploymentId),
    /// Some rows of the table of node pools.
    Pools,
    /// What this node must run or stop is no longer what it was; once per entry.
    Assigned(NodeId),
    /// The node may hold something now that it did not before: blocked evaluations may go on; once
    /// per entry.
    Room(NodeId),
    /// Cluster id or feature level.
    Operator,
    /// A saved state took the place of this one: any row may be another.
    Restored,
}

impl Change {
    /// The job that the row is of, or belongs to, if it is still there.
    #[must_use]
    pub fn job(self, state: &State) -> Option<JobId> {
        match self {
            Self::Job(job) => Some(job),
            Self::Eval(id) => state.eval(id).map(|eval| eval.job),
            Self::Alloc(id) => state.alloc(id).map(|alloc| alloc.job),
            Self::Deployment(id) => state.deployment(id).map(|deployment| deployment.job),
            Self::Node(_) | Self::Pools | Self::Assigned(_) | Self::Room(_) => None,
            Self::Operator | Self::Restored => None,
        }
    }
}

/// The tables that outsiders can wait on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TableKind {
    Nodes,
    Jobs,
    Evals,
    Allocs,
    Deployments,
    Pools,
}

/// How many they are.
pub(super) const TABLES: usize = TableKind::Pools as usize + 1;
