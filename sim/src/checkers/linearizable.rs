//! ∃ an order of all operations on a job, or on a node's eligibility, such that each lies between its
//! asking and its answer, and each came to what it would come to one after the other — linearizability
//! (Herlihy, Wing 1990). Whatever has not been answered, or with `Unknown`, may happen at any later time,
//! once, for ever. A refusal that names no reason in the tables says that nothing happened or ever will.
//!
//! | file | what |
//! |---|---|
//! | `linearizable/history.rs` | the search for the order, of one object |
//! | `linearizable/job.rs`, `node.rs` | the objects |
//!
//! Each job and each node is judged alone, which is the same as together (locality), but for a restore: it
//! changes all in one moment, and is judged as if it changed each in its own. Reads that may be stale are
//! judged by `no_lost_write`.
//!
//! Invariants
//! - nothing is known here but what callers asked, and what they were told.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::api::{Rejection, Request, Response};
use drover_core::state::State;
use drover_core::types::{NodeId, RequestId};

use self::history::{Fate, History, Object, Refusal};
use self::job::Job;
use self::node::Node;
use super::Verdict;
use crate::plan::{Act, Plan, Subject};
use crate::workload::node_id;

pub mod history;
pub mod job;
pub mod node;

/// Everything that was asked about jobs and nodes.
#[derive(Debug, Default)]
pub struct Linearizable {
    jobs: BTreeMap<String, History<Job>>,
    nodes: BTreeMap<NodeId, History<Node>>,
    open: BTreeMap<RequestId, Wish>,
    /// Histories that were given up.
    undecided: u64,
}

/// What a saved state shows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    jobs: BTreeMap<String, job::Shown>,
    /// Those that it has.
    nodes: BTreeMap<NodeId, bool>,
}

/// What somebody waits for.
#[derive(Clone, Debug)]
enum Wish {
    Job(String, job::Act),
    Node(NodeId, node::Act),
    ReadJob(String),
    ReadNode(NodeId),
    Restore(Arc<Saved>),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Done,
    /// There is no such thing.
    Missed,
    Lost,
    Undone,
}

impl Linearizable {
    /// Nothing was asked yet of what `plan` names.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let named = plan.lines.iter().filter_map(|line| match &line.act {
            Act::Register(ask) => Some(&ask.job),
            Act::StopJob { job, .. }
            | Act::Evaluate { job }
            | Act::Read { what: Subject::Job(job), .. } => Some(job),
            _ => None,
        });
        Self {
            jobs: named.map(|job| (job.clone(), History::default())).collect(),
            nodes: (1..=plan.clients).map(|n| (node_id(n), History::default())).collect(),
            open: BTreeMap::new(),
            undecided: 0,
        }
    }

    /// What `state` shows of everything that is judged here.
    #[must_use]
    pub fn saved(&self, state: &State) -> Saved {
        let jobs = self.jobs.keys().map(|job| (job.clone(), job::Shown::of(state, job)));
        let nodes = self.nodes.keys().filter_map(|&id| Some((id, state.node(id)?.eligible)));
        Saved { jobs: jobs.collect(), nodes: nodes.collect() }
    }

    /// How many histories were given up: each unanswered write may have happened or not, and where many
    /// are, the orders are too many to look through.
    #[must_use]
    pub const fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Somebody asks for a write; the operator's restore would bring back what `saved` shows.
    pub fn on_asked(&mut self, id: RequestId, request: &Request, saved: &Arc<Saved>) {
        let wish = match request {
            Request::RegisterJob { spec, .. } => {
                Wish::Job(spec.id.clone(), job::Act::registered(spec))
            }
            Request::DeregisterJob { job, purge, .. } => {
                let act = if *purge { job::Act::Purged } else { job::Act::Stopped };
                Wish::Job(job.clone(), act)
            }
            Request::EvaluateJob { job, .. } => Wish::Job(job.clone(), job::Act::Found),
            Request::SetNodeEligible { node, eligible } => {
                Wish::Node(*node, node::Act::Set { eligible: *eligible })
            }
            Request::SetNodeDrain { node, spec, mark_eligible, .. } => {
                if spec.is_none() && !mark_eligible {
                    return;
                }
                Wish::Node(*node, node::Act::Set { eligible: spec.is_none() })
            }
            Request::Restore { .. } => Wish::Restore(Arc::clone(saved)),
            _ => return,
        };
        self.begin(id, wish);
    }

    /// Somebody asks for a read that sees every earlier write.
    pub fn on_read_asked(&mut self, id: RequestId, what: Subject) {
        let wish = match what {
            Subject::Job(job) => Wish::ReadJob(job),
            Subject::Client(number) => Wish::ReadNode(node_id(number)),
        };
        self.begin(id, wish);
    }

    /// What was asked was answered. A read that was told its point goes on.
    ///
    /// # Errors
    /// There is no order any more.
    pub fn on_answered(&mut self, id: RequestId, answer: &Result<Response, Rejection>) -> Verdict {
        if let Ok(Response::ReadPoint { .. }) = answer {
            return Ok(());
        }
        let Some(wish) = self.open.remove(&id) else { return Ok(()) };
        let end = match answer {
            Ok(_) => End::Done,
            Err(Rejection::Unknown) => End::Lost,
            Err(Rejection::NotFound { .. }) => End::Missed,
            Err(
                Rejection::NotLeader { .. }
                | Rejection::Invalid { .. }
                | Rejection::Conflict { .. }
                | Rejection::Overloaded { .. },
            ) => End::Undone,
        };
        self.end(id, wish, end)
    }

    /// Nobody will say what became of it.
    ///
    /// # Errors
    /// There is no order any more.
    pub fn on_gone(&mut self, id: RequestId) -> Verdict {
        match self.open.remove(&id) {
            Some(wish) => self.end(id, wish, End::Lost),
            None => Ok(()),
        }
    }

    /// The read finds `state`.
    ///
    /// # Errors
    /// There is no order any more.
    pub fn on_read(&mut self, id: RequestId, state: &State) -> Verdict {
        match self.open.remove(&id) {
            Some(Wish::ReadJob(job)) => {
                let shown = job::Shown::of(state, &job);
                self.end_job(id, &job, Fate::Done(job::Act::Read(shown)))
            }
            Some(Wish::ReadNode(node)) => {
                let shown = node::Shown::of(state, node);
                self.end_node(id, node, Fate::Done(node::Act::Read(shown)))
            }
            Some(Wish::Job(..) | Wish::Node(..) | Wish::Restore(_)) | None => Ok(()),
        }
    }

    /// The run is over: who has not been answered by now never is, and `state` is what became of all.
    ///
    /// # Errors
    /// There is no order.
    pub fn on_end(&mut self, id: RequestId, state: &State) -> Verdict {
        while let Some((&open, _)) = self.open.first_key_value() {
            self.on_gone(open)?;
        }
        for job in self.jobs.keys().cloned().collect::<Vec<_>>() {
            self.begin(id, Wish::ReadJob(job));
            self.on_read(id, state)?;
        }
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.begin(id, Wish::ReadNode(node));
            self.on_read(id, state)?;
        }
        Ok(())
    }

    fn begin(&mut self, id: RequestId, wish: Wish) {
        match &wish {
            Wish::Job(job, _) | Wish::ReadJob(job) => begin_in(&mut self.jobs, job, id),
            Wish::Node(node, _) | Wish::ReadNode(node) => begin_in(&mut self.nodes, node, id),
            Wish::Restore(saved) => {
                saved.jobs.keys().for_each(|job| begin_in(&mut self.jobs, job, id));
                saved.nodes.keys().for_each(|node| begin_in(&mut self.nodes, node, id));
            }
        }
        self.open.insert(id, wish);
    }

    fn end(&mut self, id: RequestId, wish: Wish, end: End) -> Verdict {
        match wish {
            Wish::Job(job, act) => self.end_job(id, &job, fate(end, act, Some(job::Act::Missed))),
            Wish::Node(node, act) => {
                self.end_node(id, node, fate(end, act, Some(node::Act::Missed)))
            }
            Wish::ReadJob(job) => self.end_job(id, &job, Fate::Undone),
            Wish::ReadNode(node) => self.end_node(id, node, Fate::Undone),
            Wish::Restore(saved) => {
                for (job, &shown) in &saved.jobs {
                    self.end_job(id, job, fate(end, job::Act::Restored(shown), None))?;
                }
                for (&node, &eligible) in &saved.nodes {
                    self.end_node(id, node, fate(end, node::Act::Restored { eligible }, None))?;
                }
                Ok(())
            }
        }
    }

    fn end_job(&mut self, id: RequestId, job: &str, fate: Fate<job::Act>) -> Verdict {
        let Some(history) = self.jobs.get_mut(job) else { return Ok(()) };
        match history.on_fate(id.0, fate) {
            Ok(()) => Ok(()),
            Err(Refusal::NoOrder(why)) => Err(format!("{job}: {why}")),
            Err(Refusal::Undecided) => {
                self.jobs.remove(job);
                self.undecided += 1;
                Ok(())
            }
        }
    }

    fn end_node(&mut self, id: RequestId, node: NodeId, fate: Fate<node::Act>) -> Verdict {
        let Some(history) = self.nodes.get_mut(&node) else { return Ok(()) };
        match history.on_fate(id.0, fate) {
            Ok(()) => Ok(()),
            Err(Refusal::NoOrder(why)) => Err(format!("a node's eligibility: {why}")),
            Err(Refusal::Undecided) => {
                self.nodes.remove(&node);
                self.undecided += 1;
                Ok(())
            }
        }
    }
}

fn begin_in<K: Ord, O: Object>(histories: &mut BTreeMap<K, History<O>>, key: &K, id: RequestId) {
    if let Some(history) = histories.get_mut(key) {
        history.on_begun(id.0);
    }
}

fn fate<A>(end: End, act: A, missed: Option<A>) -> Fate<A> {
    match end {
        End::Done => Fate::Done(act),
        End::Missed => missed.map_or(Fate::Undone, Fate::Done),
        End::Lost => Fate::Lost(act),
        End::Undone => Fate::Undone,
    }
}

#[cfg(test)]
mod tests;
