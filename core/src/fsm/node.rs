//! Nodes: they register, fall silent, return, and are told to take nothing new.
//!
//! A node's death marks the node and asks for evaluations; its allocs follow in plans.
//!
//! Invariants
//! - a node that registers, or returns, is not ready before it says that it has reported its allocs;
//! - every job with an alloc that may run on a node that goes down is evaluated;
//! - a job that runs on every node is evaluated when a node takes new allocs again and has something to
//!   do for it, and only then.
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::eval::{self, Cause};
use super::{Outcome, check_length, invalid, not_found, pool, shortened};
use crate::api::Rejection;
use crate::limits::NODE_EVENTS_MAX;
use crate::scheduler;
use crate::state::txn::{Txn, holds_room};
use crate::time::WallTime;
use crate::types::{
    EvalId, Index, JobId, Node, NodeEvent, NodeId, NodeSpec, NodeStatus, NodeSubsystem, Trigger,
};

pub(super) fn register(txn: &mut Txn<'_>, spec: &NodeSpec) -> Result<Outcome, Rejection> {
    if spec.id == NodeId(0) {
        return Err(invalid("id", "a node's id is the hash of its key and never zero"));
    }
    pool::join(txn, &spec.pool)?;
    let clock = txn.state().clock();
    let known = txn.state().node(spec.id).cloned();
    let mut node = known.unwrap_or_else(|| new_node(spec, clock));
    let is_new = node.events.is_empty();
    let message = if is_new { "Node registered" } else { "Node re-registered" };
    node.spec = spec.clone();
    if node.status != NodeStatus::Init {
        node.status = NodeStatus::Init;
        node.status_changed_at = clock;
    }
    note(&mut node, clock, NodeSubsystem::Cluster, message.to_string());
    txn.put_node(node);
    Ok(Outcome::DONE)
}

fn new_node(spec: &NodeSpec, clock: WallTime) -> Node {
    Node {
        spec: spec.clone(),
        status: NodeStatus::Init,
        eligible: true,
        status_changed_at: clock,
        events: Vec::new(),
        create_index: Index(0),
        modify_index: Index(0),
        drain: None,
        last_drain: None,
    }
}

/// Nodes are done one by one until the rows of one command are used up; the first one always is.
pub(super) fn set_status(
    txn: &mut Txn<'_>,
    nodes: &[NodeId],
    status: NodeStatus,
    reason: &str,
) -> Result<Outcome, Rejection> {
    check_length("nodes", nodes.len())?;
    let (mut first_eval, mut evaluated, mut more) = (None, BTreeSet::new(), false);
    for (nth, &id) in nodes.iter().enumerate() {
        let changes = txn.state().node(id).is_some_and(|node| node.status.may_be_found(status));
        if !changes {
            continue;
        }
        let jobs = match status {
            NodeStatus::Down => jobs_at_risk(txn, id, &evaluated),
            NodeStatus::Ready | NodeStatus::Init => BTreeSet::new(),
        };
        let rows = jobs.len().max(txn.state().jobs_everywhere().count());
        if 0 < nth && txn.rows_left() <= rows {
            more = true;
            break;
        }
        mark(txn, id, status, reason);
        first_eval = first_eval.or(wake_everywhere(txn, id, &mut evaluated));
        for job in jobs {
            let made = eval_of_node(txn, job, id);
            first_eval = first_eval.or(Some(made));
            evaluated.insert(job);
        }
    }
    Ok(Outcome::Applied { eval: first_eval, job: None, refused_placements: 0, more })
}

/// Jobs whose allocs may be running on the node and that have no evaluation of this command yet.
fn jobs_at_risk(txn: &Txn<'_>, node: NodeId, evaluated: &BTreeSet<JobId>) -> BTreeSet<JobId> {
    let allocs = txn.state().allocs_of_node(node).filter(|alloc| holds_room(alloc));
    allocs.map(|alloc| alloc.job).filter(|job| !evaluated.contains(job)).collect()
}

/// The node may have become one that takes new allocs, or one of which it can be said what is not meant to be
/// there: that is so for a node that takes no new ones, too. Jobs that run on every node and have an
/// evaluation of this command already need no other.
pub(super) fn wake_everywhere(
    txn: &mut Txn<'_>,
    id: NodeId,
    evaluated: &mut BTreeSet<JobId>,
) -> Option<EvalId> {
    let state = txn.state();
    let is_there = state.node(id).is_some_and(|node| node.status == NodeStatus::Ready);
    if !is_there || planted!(SystemNodeForgotten) {
        return None;
    }
    let awaiting = state
        .jobs_everywhere()
        .filter(|&job| !evaluated.contains(&job) && scheduler::awaits(state, job, id));
    let awaiting: Vec<JobId> = awaiting.collect();
    let mut first = None;
    for job in awaiting {
        let cause = Cause { node: Some(id), ..Cause::of(Trigger::NodeUpdate) };
        let made = eval::look_again(txn, job, cause);
        first = first.or(Some(made));
        evaluated.insert(job);
    }
    first
}

fn mark(txn: &mut Txn<'_>, id: NodeId, status: NodeStatus, reason: &str) {
    let clock = txn.state().clock();
    let mut node = txn.state().node(id).expect("invariant: looked up before").clone();
    node.status = status;
    node.status_changed_at = clock;
    note(&mut node, clock, NodeSubsystem::Cluster, shortened(reason));
    txn.put_node(node);
}

fn eval_of_node(txn: &mut Txn<'_>, job: JobId, node: NodeId) -> EvalId {
    let cause = Cause { node: Some(node), ..Cause::of(Trigger::NodeUpdate) };
    eval::create(txn, job, cause)
}

pub(super) fn set_eligible(
    txn: &mut Txn<'_>,
    id: NodeId,
    eligible: bool,
) -> Result<Outcome, Rejection> {
    let clock = txn.state().clock();
    let mut node = txn.state().node(id).ok_or_else(|| not_found("node"))?.clone();
    if node.eligible == eligible {
        return Ok(Outcome::DONE);
    }
    if eligible && node.drain.is_some() {
        return Err(invalid("eligible", "the node drains: stop its drain first"));
    }
    node.eligible = eligible;
    let word = if eligible { "eligible" } else { "ineligible" };
    note(
        &mut node,
        clock,
        NodeSubsystem::Cluster,
        alloc::format!("Node marked as {word} for scheduling"),
    );
    txn.put_node(node);
    let made = wake_everywhere(txn, id, &mut BTreeSet::new());
    Ok(Outcome::with_eval(made))
}

pub(super) fn acknowledge(txn: &mut Txn<'_>, id: NodeId, seq: Index) -> Result<Outcome, Rejection> {
    let known = txn.state().acknowledged(id).ok_or_else(|| not_found("node"))?;
    if txn.state().index() <= seq {
        return Err(invalid("seq", "no assignment is as new as this entry"));
    }
    if known < seq {
        txn.acknowledge(id, seq);
    }
    Ok(Outcome::DONE)
}

pub(super) fn note(node: &mut Node, at: WallTime, subsystem: NodeSubsystem, message: String) {
    if node.events.len() == NODE_EVENTS_MAX {
        node.events.remove(0);
    }
    node.events.push(NodeEvent { at, message, subsystem });
    assert!(node.events.len() <= NODE_EVENTS_MAX, "a node's history is bounded");
}
