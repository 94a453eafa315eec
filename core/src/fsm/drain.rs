//! Drains: set and called off by operators, and followed entry by entry to their end.
//!
//! Which allocs must leave is marked in their rows (`Migration`); an evaluation then finds a place for
//! another, and stops the old one. Who is stopped for any other reason loses the mark: what comes after it is
//! no move.
//!
//! | job | its allocs leave |
//! |---|---|
//! | service | `migrate.max_parallel` of a group at a time, the next when the last one's successor is healthy |
//! | batch, sysbatch | when they have ended |
//! | system | when nothing else is on the node; not at all, if the drain ignores them |
//! | any, from the deadline on | at once |
//!
//! `follow` is called after every entry and looks at whatever the entry may have changed; only the
//! deadline needs an entry of its own, which the leader makes.
//!
//! Invariants
//! - a drain is complete when the node's client has said of every alloc that it has ended, or when the
//!   node is down: not when stops are wished for;
//! - of a group's `count` allocs no more than `max_parallel` are on their way or not healthy because of
//!   drains, on all nodes together, before a deadline has come;
//! - following again changes nothing.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::eval::{self, Cause};
use super::node::{note, wake_everywhere};
use super::{Outcome, TEXT_BYTES_MAX, check_length, invalid, not_found};
use crate::api::Rejection;
use crate::limits::DRAIN_META_MAX;
use crate::state::txn::{Txn, holds_room};
use crate::state::{Change, State};
use crate::types::{
    AllocId, Allocation, ClientStatus, DesiredStatus, Drain, DrainSpec, DrainStatus, JobId,
    JobKind, LastDrain, Migration, Node, NodeId, NodeStatus, NodeSubsystem, Trigger,
};

/// What a node's history says when its drain ended without the word of its client.
pub const DRAIN_GIVEN_UP: &str = "Node drain complete: the node is down and its allocs are lost";

/// When allocs of a job leave a node that drains.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Turn {
    /// A few at a time.
    Paced,
    /// When they have ended, or at the deadline.
    Ended,
    /// When nothing else is there any more.
    Last,
}

const fn turn_of(kind: JobKind) -> Turn {
    match kind {
        JobKind::Service => Turn::Paced,
        JobKind::Batch | JobKind::Sysbatch => Turn::Ended,
        JobKind::System => Turn::Last,
    }
}

/// Whether the drain leaves the job's allocs where they are.
const fn is_exempt(drain: &Drain, kind: JobKind) -> bool {
    match kind {
        JobKind::Service | JobKind::Batch | JobKind::Sysbatch => false,
        JobKind::System => drain.spec.ignore_system,
    }
}

/// An operator wants the node emptied (`spec`), or left as it is.
pub(super) fn set(
    txn: &mut Txn<'_>,
    id: NodeId,
    spec: Option<DrainSpec>,
    mark_eligible: bool,
    meta: &BTreeMap<String, String>,
) -> Result<Outcome, Rejection> {
    check_meta(meta)?;
    let node = txn.state().node(id).ok_or_else(|| not_found("node"))?.clone();
    match spec {
        Some(spec) => begin(txn, node, spec, meta),
        None => call_off(txn, node, mark_eligible, meta),
    }
    Ok(Outcome::with_eval(wake_everywhere(txn, id, &mut BTreeSet::new())))
}

fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if DRAIN_META_MAX < meta.len() {
        let why = alloc::format!("a drain has at most {DRAIN_META_MAX} keys of meta");
        return Err(invalid("meta", &why));
    }
    let is_long = |(key, value): (&String, &String)| TEXT_BYTES_MAX < key.len().max(value.len());
    if meta.iter().any(is_long) {
        let why = alloc::format!("a key or value of meta has at most {TEXT_BYTES_MAX} bytes");
        return Err(invalid("meta", &why));
    }
    Ok(())
}

/// A drain that is under way keeps its beginning and gets the new terms.
fn begin(txn: &mut Txn<'_>, mut node: Node, spec: DrainSpec, meta: &BTreeMap<String, String>) {
    let clock = txn.state().clock();
    let before = node.drain;
    let started_at = before.map_or(clock, |drain| drain.started_at);
    let force_at = spec.force_at(clock);
    node.drain = Some(Drain { spec, started_at, force_at, due: force_at });
    node.eligible = false;
    let kept = node.last_drain.take().filter(|_| before.is_some() && meta.is_empty());
    let meta = kept.map_or_else(|| meta.clone(), |last| last.meta);
    let status = DrainStatus::Draining;
    node.last_drain = Some(LastDrain { started_at, updated_at: clock, status, meta });
    let word = if before.is_some() { "updated" } else { "set" };
    let message = alloc::format!("Node drain strategy {word}");
    note(&mut node, clock, NodeSubsystem::Drain, message);
    txn.put_node(node);
}

/// What has not left stays.
fn call_off(txn: &mut Txn<'_>, mut node: Node, eligible: bool, meta: &BTreeMap<String, String>) {
    let (id, clock) = (node.spec.id, txn.state().clock());
    let before = node.clone();
    if node.drain.take().is_some() {
        end(&mut node, DrainStatus::Canceled, clock);
        note(&mut node, clock, NodeSubsystem::Drain, "Node drain disabled".to_string());
        if let Some(last) = node.last_drain.as_mut().filter(|_| !meta.is_empty()) {
            last.meta.clone_from(meta);
        }
    }
    if eligible && !node.eligible {
        node.eligible = true;
        let message = "Node marked as eligible for scheduling".to_string();
        note(&mut node, clock, NodeSubsystem::Cluster, message);
    }
    if node == before {
        return;
    }
    txn.put_node(node);
    // No more than a node can hold.
    let marked = txn
        .state()
        .allocs_of_node(id)
        .filter(|alloc| is_wanted(alloc) && alloc.migration.is_of_drain());
    for alloc in marked.map(|alloc| alloc.id).collect::<Vec<_>>() {
        mark(txn, alloc, Migration::None);
    }
}

fn end(node: &mut Node, status: DrainStatus, at: crate::time::WallTime) {
    if let Some(last) = &mut node.last_drain {
        last.status = status;
        last.updated_at = at;
    }
}

pub(super) fn mark(txn: &mut Txn<'_>, id: AllocId, migration: Migration) {
    let mut alloc = txn.state().alloc(id).expect("invariant: looked up before").clone();
    alloc.migration = migration;
    txn.put_alloc(alloc);
}

/// Whether it runs, or will, and is not on its way out.
pub(super) fn is_wanted(alloc: &Allocation) -> bool {
    alloc.desired == DesiredStatus::Run && holds_room(alloc)
}

/// The moment of these nodes' deadlines has come, as the entry's stamp has it.
pub(super) fn review_all(txn: &mut Txn<'_>, nodes: &[NodeId]) -> Result<Outcome, Rejection> {
    check_length("nodes", nodes.len())?;
    for &node in nodes {
        review(txn, node, &Touched { is_all: true, ..Touched::default() });
    }
    Ok(Outcome::DONE)
}

/// What an entry has changed, as far as drains care.
#[derive(Default)]
struct Touched {
    is_all: bool,
    nodes: BTreeSet<NodeId>,
    jobs: BTreeSet<JobId>,
}

impl Touched {
    fn of(txn: &Txn<'_>) -> Self {
        let (mut touched, state) = (Self::default(), txn.state());
        for change in txn.changes() {
            match *change {
                Change::Alloc(id) => {
                    if let Some(alloc) = state.alloc(id) {
                        touched.nodes.insert(alloc.node);
                        touched.jobs.insert(alloc.job);
                    }
                }
                Change::Job(id) => drop(touched.jobs.insert(id)),
                Change::Node(id) => {
                    touched.nodes.insert(id);
                    let live = state.allocs_of_node(id).filter(|alloc| holds_room(alloc));
                    touched.jobs.extend(live.map(|alloc| alloc.job));
                }
                Change::Restored => touched.is_all = true,
                Change::Eval(_) | Change::Deployment(_) | Change::Pools => {}
                Change::Assigned(_) | Change::Room(_) | Change::Operator => {}
            }
        }
        touched
    }

    fn has_node(&self, node: NodeId) -> bool {
        self.is_all || self.nodes.contains(&node)
    }
}

/// Bring every drain to where it should be after what the entry has changed.
pub(super) fn follow(txn: &mut Txn<'_>) {
    if txn.state().draining().next().is_none() {
        return;
    }
    let touched = Touched::of(txn);
    let nodes: Vec<NodeId> = txn.state().draining().collect();
    for node in nodes {
        review(txn, node, &touched);
    }
}

fn review(txn: &mut Txn<'_>, id: NodeId, touched: &Touched) {
    let state = txn.state();
    let Some(drain) = state.node(id).and_then(|node| node.drain) else { return };
    if is_empty(state, id, &drain) {
        return complete(txn, id);
    }
    let is_forced = drain.is_forced(state.clock());
    let meant = state.allocs_of_node(id).filter(|alloc| {
        is_wanted(alloc) && (touched.has_node(id) || touched.jobs.contains(&alloc.job))
    });
    let jobs: BTreeSet<JobId> = meant.map(|alloc| alloc.job).collect();
    let mut due = drain.due.filter(|_| !(is_forced && touched.has_node(id)));
    for job in jobs {
        let mut marks = marks_of(txn.state(), id, &drain, job);
        // Each is a row, and so is the evaluation. Whoever has no room in this entry has it in the next.
        let room = txn.rows_left().saturating_sub(1);
        if room < marks.len() {
            marks.truncate(room);
            due = Some(txn.state().clock());
        }
        send_off(txn, id, job, &marks);
    }
    if drain.due != due {
        let mut node = txn.state().node(id).expect("invariant: looked up before").clone();
        node.drain = Some(Drain { due, ..drain });
        txn.put_node(node);
    }
}

/// Whether nothing that must leave the node is there any more.
fn is_empty(state: &State, id: NodeId, drain: &Drain) -> bool {
    let is_down = state.node(id).is_none_or(|node| node.status == NodeStatus::Down);
    let is_there = |alloc: &Allocation| {
        if planted!(DrainCompleteEarly) {
            return is_wanted(alloc);
        }
        // What was called lost may run yet on a node that has come back, until it says otherwise.
        let is_lost = alloc.client_status == ClientStatus::Lost;
        holds_room(alloc) || (is_lost && !is_down)
    };
    let mut there = state.allocs_of_node(id).filter(|alloc| is_there(alloc));
    there.all(|alloc| is_exempt(drain, kind_of(state, alloc.job)))
}

fn kind_of(state: &State, job: JobId) -> JobKind {
    state.job(job).expect("invariant: an alloc's job exists").newest().spec.kind
}

fn complete(txn: &mut Txn<'_>, id: NodeId) {
    let clock = txn.state().clock();
    let mut node = txn.state().node(id).expect("invariant: looked up before").clone();
    node.drain = None;
    end(&mut node, DrainStatus::Complete, clock);
    let is_lost = |alloc: &Allocation| alloc.client_status == ClientStatus::Lost;
    let has_lost = txn.state().allocs_of_node(id).any(is_lost);
    let words = if node.status == NodeStatus::Down && has_lost {
        DRAIN_GIVEN_UP
    } else {
        "Node drain complete"
    };
    note(&mut node, clock, NodeSubsystem::Drain, words.to_string());
    txn.put_node(node);
}

/// The job's allocs on the node that must leave now, and did not have to before.
fn marks_of(state: &State, node: NodeId, drain: &Drain, job: JobId) -> Vec<(AllocId, Migration)> {
    let kind = kind_of(state, job);
    if is_exempt(drain, kind) {
        return Vec::new();
    }
    if drain.is_forced(state.clock()) {
        let wanted = state.allocs_of_node(node).filter(|alloc| {
            is_wanted(alloc) && alloc.job == job && alloc.migration != Migration::AtOnce
        });
        return wanted.map(|alloc| (alloc.id, Migration::AtOnce)).collect();
    }
    match turn_of(kind) {
        Turn::Paced => {
            let is_staying =
                |alloc: &Allocation| alloc.node == node && !alloc.migration.is_leaving();
            let turns = turns_of(state, job, is_staying);
            turns.next.into_iter().map(|alloc| (alloc, Migration::WhenReplaced)).collect()
        }
        Turn::Ended => Vec::new(),
        Turn::Last if has_others(state, node) => Vec::new(),
        Turn::Last => {
            let staying = state.allocs_of_node(node).filter(|alloc| {
                is_wanted(alloc) && alloc.job == job && alloc.migration == Migration::None
            });
            staying.map(|alloc| (alloc.id, Migration::AtOnce)).collect()
        }
    }
}

/// Whether something may run on the node whose turn comes before the last.
fn has_others(state: &State, node: NodeId) -> bool {
    let mut there = state.allocs_of_node(node).filter(|alloc| holds_room(alloc));
    there.any(|alloc| turn_of(kind_of(state, alloc.job)) != Turn::Last)
}

fn send_off(txn: &mut Txn<'_>, node: NodeId, job: JobId, marks: &[(AllocId, Migration)]) {
    if marks.is_empty() {
        return;
    }
    for &(alloc, migration) in marks {
        mark(txn, alloc, migration);
    }
    let cause = Cause { node: Some(node), ..Cause::of(Trigger::NodeDrain) };
    eval::create(txn, job, cause);
}

/// How the allocs of a group stand to moves, on all nodes.
#[derive(Default)]
struct Tally<'a> {
    /// Can be relied on and need not leave.
    healthy: usize,
    /// Must leave, or have come for one that had to and are not healthy yet.
    moving: usize,
    /// Are meant to leave, and need not yet.
    staying: Vec<&'a Allocation>,
}

/// Of the allocs of a service that are meant to leave their nodes.
#[derive(Default)]
pub(super) struct Turns {
    /// Their turn has come.
    pub(super) next: Vec<AllocId>,
    /// None of their group may leave, and nothing is on its way after which one might.
    pub(super) stuck: Vec<AllocId>,
}

/// Whose turn it is of those that are meant to leave.
pub(super) fn turns_of(state: &State, job: JobId, is_meant: impl Fn(&Allocation) -> bool) -> Turns {
    let row = state.job(job).expect("invariant: an alloc's job exists");
    let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
    for alloc in state.allocs_of_job(job).filter(|alloc| is_wanted(alloc)) {
        let Some(name) = state.group_name(alloc) else { continue };
        let tally = tallies.entry(name).or_default();
        let is_marked = alloc.migration.is_leaving();
        if is_marked || is_successor(state, alloc) && !alloc.is_healthy() {
            tally.moving += 1;
        } else if alloc.is_healthy() && !alloc.canary && is_reachable(state, alloc) {
            tally.healthy += 1;
        }
        if is_meant(alloc) {
            tally.staying.push(alloc);
        }
    }
    let groups = if row.stopped { &[][..] } else { &row.newest().spec.groups };
    let mut turns = Turns::default();
    for group in groups {
        if let Some(tally) = tallies.remove(group.name.as_str()) {
            tally.take_turns(group.count, group.migrate.parallel_max, &mut turns);
        }
    }
    turns
}

impl Tally<'_> {
    /// Whoever cannot be relied on goes first: nobody misses it.
    fn take_turns(mut self, count: u32, parallel_max: u32, turns: &mut Turns) {
        let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let (count, parallel_max) = (number(count), number(parallel_max));
        let mut free = parallel_max.saturating_sub(self.moving);
        let mut spare = self.healthy.saturating_sub(count.saturating_sub(parallel_max));
        if planted!(MigrateUnpaced) {
            (free, spare) = (usize::MAX, usize::MAX);
        }
        self.staying.sort_by_key(|alloc| (alloc.is_healthy(), alloc.ordinal, alloc.id));
        let leaves = |alloc: &&Allocation| {
            let is_relied_on = alloc.is_healthy() && !alloc.canary;
            let goes = 0 < free && (!is_relied_on || 0 < spare);
            free -= usize::from(goes);
            spare -= usize::from(goes && is_relied_on);
            goes
        };
        let (next, rest): (Vec<&Allocation>, Vec<&Allocation>) =
            self.staying.iter().copied().partition(leaves);
        if self.moving == 0 && next.is_empty() {
            turns.stuck.extend(rest.iter().map(|alloc| alloc.id));
        }
        turns.next.extend(next.iter().map(|alloc| alloc.id));
    }
}

/// Whether it took the place of one that had to leave.
fn is_successor(state: &State, alloc: &Allocation) -> bool {
    let previous = alloc.previous.and_then(|id| state.alloc(id));
    previous.is_some_and(|previous| previous.migration.is_leaving())
}

fn is_reachable(state: &State, alloc: &Allocation) -> bool {
    state.node(alloc.node).is_some_and(|node| node.status != NodeStatus::Down)
}
