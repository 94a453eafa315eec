//! What an operator reads in the agent's log about the cluster: who leads, and which nodes came and went.
//!
//! Invariants
//! - a line is written when something became different, never because it was looked at.
//!
//! It decides nothing: it is told what the core has already done.
use std::collections::BTreeMap;

use drover_core::agent::Agent;
use drover_core::raft::Raft;
use drover_core::state::{Change, State};
use drover_core::types::{NodeId, NodeStatus, ServerId};

/// The last status of every node that a line was written about, or that was there at the start.
#[derive(Debug)]
pub struct NodeLog {
    known: BTreeMap<NodeId, NodeStatus>,
}

impl NodeLog {
    /// What is in `state` is no news.
    #[must_use]
    pub fn new(state: &State) -> Self {
        Self { known: state.nodes().map(|node| (node.spec.id, node.status)).collect() }
    }

    /// `state` has just become so by `changes`.
    pub fn on_changes(&mut self, state: &State, changes: &[Change]) {
        for change in changes {
            let Change::Node(id) = *change else { continue };
            let Some(node) = state.node(id) else {
                if self.known.remove(&id).is_some() {
                    tracing::info!("node {} was forgotten", id.uuid());
                }
                continue;
            };
            if self.known.insert(id, node.status) == Some(node.status) {
                continue;
            }
            let (name, id) = (&node.spec.name, id.uuid());
            match node.status {
                NodeStatus::Init => tracing::info!("node {name} ({id}) is registering"),
                NodeStatus::Ready => tracing::info!("node {name} ({id}) is ready"),
                NodeStatus::Down => tracing::warn!("node {name} ({id}) is down"),
            }
        }
    }
}

/// Whom this server follows.
#[derive(Debug, Default)]
pub struct LeaderLog {
    known: Option<ServerId>,
}

impl LeaderLog {
    /// `agent` has just made a step.
    pub fn on_step(&mut self, agent: &Agent) {
        let leader = agent.raft().and_then(Raft::leader);
        if leader == self.known {
            return;
        }
        self.known = leader;
        let Some(server) = agent.view().server else { return };
        let name = server.members.iter().find(|member| Some(member.id) == leader);
        match (leader, name) {
            (None, _) => tracing::warn!("no server leads: an election is under way"),
            (Some(id), _) if id == server.id => tracing::info!("this server leads now"),
            (Some(_), Some(member)) => tracing::info!("{} leads now", member.name),
            (Some(id), None) => tracing::info!("server {:016x} leads now", id.0),
        }
    }
}
