//! What a client node and a server say to each other.
//!
//! Invariants
//! - a node acknowledges only what is durable on it.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::types::{AllocUpdate, Assignment, Index, NodeSpec};

/// From a client node to the server it has chosen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum NodeMessage {
    /// Answered by `Registered`, or by `Unavailable`.
    Register { spec: Arc<NodeSpec> },
    /// Answered by `HeartbeatAck`, `Unregistered` or `Unavailable`; itself the answer to `Probe`. `seq` is the last assignment
    /// that is durable on the node, `registered_at` what `Registered` said; `is_behind`: of its allocs something has changed
    /// that it could not report yet.
    Heartbeat { seq: Index, registered_at: Index, is_behind: bool },
    /// Assignments up to `seq` are durable on the node.
    Acknowledge { seq: Index },
    /// An assignment did not follow on what the node knows: send the full set.
    AskFullSet,
    /// Answered by `ReportAck` once the updates are committed. At most one is unanswered.
    Report { report: u64, updates: Vec<AllocUpdate> },
}

/// From a server to a client node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ServerMessage {
    /// The registration is the entry `index`, and committed.
    Registered {
        ttl_ms: u64,
        index: Index,
    },
    /// The node must be heard from again within `ttl_ms`. `servers`: where those are dialled that have not left.
    HeartbeatAck {
        ttl_ms: u64,
        servers: Arc<[String]>,
    },
    /// The node is not in the tables: register first.
    Unregistered,
    /// There is no leader, or too much to do: ask again.
    Unavailable,
    Assign(Assignment),
    ReportAck {
        report: u64,
    },
    /// Nobody has heard the node for too long: it is to send a heartbeat at once.
    Probe,
}
