//! Why a node is what it is: who registered it, when it was heard, and who called it down, and when.
//!
//! Invariants
//! - what happens to its allocs is told by their own chains; here stand the evals that it caused.
use drover_core::fsm::Command;
use drover_core::types::{NodeId, NodeStatus};

use super::super::history::made_at;
use super::super::words;
use super::{Chain, Link};

impl Chain<'_> {
    pub(super) fn of_node(mut self, id: NodeId) -> Vec<Link> {
        for (at, index, command) in self.all_entries() {
            let is_its = match &command {
                Command::RegisterNode { spec } => spec.id == id,
                Command::SetNodeStatus { nodes, status, .. } => {
                    if *status == NodeStatus::Down && nodes.contains(&id) {
                        self.last_heard(at, index, id);
                    }
                    nodes.contains(&id)
                }
                Command::SetNodeEligible { node, .. } => *node == id,
                _ => false,
            };
            if !is_its {
                continue;
            }
            self.push_entry(at, index, words::of_command(self.state, &command));
            let caused = self.history.evals.values();
            let caused = caused.filter(|eval| {
                made_at(eval.row.id.0) == index && eval.row.node.is_none_or(|node| node == id)
            });
            for eval in caused {
                let job = words::job(self.state, eval.row.job);
                let what = format!("so job {job} is looked at: eval {}", &eval.uuid[..8]);
                self.push(Some(at), Some(index), what);
            }
        }
        self.end_of_node(id);
        self.links
    }

    fn end_of_node(&mut self, id: NodeId) {
        let what = match self.state.node(id) {
            None => "the servers have forgotten it".to_owned(),
            Some(row) => {
                let status = format!("{:?}", row.status).to_lowercase();
                let eligible = if row.eligible { "" } else { ", not eligible" };
                let allocs = self.state.allocs().filter(|alloc| alloc.node == id);
                let running = allocs.filter(|alloc| !alloc.client_status.is_terminal()).count();
                format!("at the end: {status}{eligible}, with {running} allocs that have not ended")
            }
        };
        self.push(None, None, what);
    }
}
