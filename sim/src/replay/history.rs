//! What a log has to tell of evals, allocs and tasks, gathered while it is stepped.
//!
//! Invariants
//! - each fact is kept with the input that brought it, and the wall clock then;
//! - what was there before the log begins is kept as what it was when it was first seen.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::agent::{Agent, Effect, Effects, Event, TaskAsk};
use drover_core::api::Request;
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::fsm::Command;
use drover_core::raft::{Frame, Raft, Role};
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::{
    AllocId, Allocation, Assignment, EvalId, Evaluation, Index, NodeId, NodeStatus, ORDINAL_BITS,
    PlacementFailure, Plan, TaskChange, object_id,
};
use drover_core::wire::{Message, PeerId};

use super::tape::Stepped;
use super::{ladder, words};

/// When something happened.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct At {
    pub input: u64,
    pub wall: WallTime,
}

/// An alloc as it came into being, or as it was first seen.
#[derive(Clone, Debug)]
pub struct KnownAlloc {
    pub row: Allocation,
    pub name: String,
    pub job: String,
    pub node: String,
    pub uuid: String,
    pub at: Option<At>,
}

/// An eval as it came into being, or as it was first seen.
#[derive(Clone, Debug)]
pub struct KnownEval {
    pub row: Evaluation,
    pub uuid: String,
    pub at: Option<At>,
}

/// Something that happened to an alloc or its tasks on its node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Happened {
    pub at: At,
    pub alloc: AllocId,
    pub what: String,
}

/// An eval was scheduled here.
#[derive(Clone, Debug)]
pub struct Planned {
    pub at: At,
    /// Of each placement how the nodes compared, if that can be computed again.
    pub choices: Vec<Chosen>,
}

/// Why an alloc goes where it goes.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub group: u16,
    pub ordinal: u32,
    pub looked_at: PlacementFailure,
    /// The best of the other nodes, and its score in thousandths.
    pub runner_up: Option<(String, i32)>,
}

/// The input with which an entry came into this agent's log.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Logged {
    pub at: At,
    /// From whom it came, and what it was.
    pub what: String,
    pub by: LoggedBy,
}

/// Who put an entry into the log.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LoggedBy {
    /// This agent, which led: what it heard, or the time that had come, made it do so.
    Itself,
    /// Another, who led, or the disk at a start.
    Another,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    pub allocs: BTreeMap<AllocId, KnownAlloc>,
    pub evals: BTreeMap<EvalId, KnownEval>,
    /// Frames that were committed here, by their first index.
    pub frames: BTreeMap<Index, (At, Arc<Frame>)>,
    pub happened: Vec<Happened>,
    pub planned: BTreeMap<EvalId, Vec<Planned>>,
    /// By the last entry that came with it.
    logged: BTreeMap<Index, Logged>,
    log_end: Index,
    /// Names of nodes, as they were last called.
    pub nodes: BTreeMap<NodeId, String>,
    /// What callers of this agent asked for: the job's or the alloc's name.
    pub asked: Vec<(At, String)>,
    /// Of a node that was called down by the entry at this index: when it was last heard here.
    pub last_heard: BTreeMap<(Index, NodeId), At>,
    heard: BTreeMap<NodeId, At>,
}

impl History {
    /// A segment begins with this agent.
    pub fn on_begun(&mut self, agent: &Agent) {
        self.log_end = agent.raft().map(Raft::last_index).unwrap_or_default();
        if let Some(state) = agent.state() {
            self.see_all(state);
        }
    }

    /// An input was stepped.
    pub fn on_stepped(&mut self, stepped: &Stepped, effects: &Effects, agent: &Agent) {
        let at = At { input: stepped.number, wall: stepped.input.wall };
        self.note_event(at, &stepped.input.event);
        if let Some(plan) = &effects.planned {
            let planned = Planned { at, choices: choices_of(plan, agent) };
            self.planned.entry(plan.eval).or_default().push(planned);
        }
        self.note_log(at, stepped, effects, agent);
        for effect in &effects.list {
            self.note_effect(at, effect, agent);
        }
        let is_new = matches!(stepped.input.event, Event::Booted(_) | Event::SnapshotLoaded { .. });
        if let Some(state) = agent.state().filter(|_| is_new) {
            self.see_all(state);
        }
    }

    /// What came into the log with this input.
    fn note_log(&mut self, at: At, stepped: &Stepped, effects: &Effects, agent: &Agent) {
        let Some(raft) = agent.raft() else { return };
        let end = raft.last_index();
        if self.log_end < end {
            let what = ladder::told(stepped, &effects.list, agent);
            let leads = raft.role() == Role::Leader;
            let by = if leads { LoggedBy::Itself } else { LoggedBy::Another };
            self.logged.insert(end, Logged { at, what, by });
        } else if end < self.log_end {
            self.logged.split_off(&end.next());
        }
        self.log_end = end;
    }

    /// How the entry at `index` came into the log; `None`: before what is recorded here.
    #[must_use]
    pub fn logged(&self, index: Index) -> Option<&Logged> {
        self.logged.range(index..).next().map(|(_, logged)| logged)
    }

    fn see_all(&mut self, state: &State) {
        for node in state.nodes() {
            self.nodes.insert(node.spec.id, node.spec.name.clone());
        }
        for alloc in state.allocs() {
            self.see_alloc(state, alloc, None);
        }
        for eval in state.evals() {
            self.see_eval(state, eval, None);
        }
    }

    fn see_alloc(&mut self, state: &State, row: &Allocation, at: Option<At>) {
        self.allocs.entry(row.id).or_insert_with(|| KnownAlloc {
            name: words::alloc_name(state, row.job, row.version, row.group, row.ordinal),
            job: words::job(state, row.job),
            node: words::node(state, row.node),
            uuid: state.uuid(row.id.0).to_string(),
            row: row.clone(),
            at,
        });
    }

    fn see_eval(&mut self, state: &State, row: &Evaluation, at: Option<At>) {
        let uuid = state.uuid(row.id.0).to_string();
        self.evals.entry(row.id).or_insert_with(|| KnownEval { row: row.clone(), uuid, at });
    }

    fn note_event(&mut self, at: At, event: &Event) {
        match event {
            Event::Received { from: PeerId::Client(node), message: Message::FromNode(said) } => {
                if matches!(said, NodeMessage::Heartbeat { .. } | NodeMessage::Register { .. }) {
                    self.heard.insert(*node, at);
                }
            }
            Event::Received {
                from: PeerId::Server(_),
                message: Message::Sighting { seen, .. },
            } => {
                self.heard.extend(seen.iter().map(|seen| (seen.node, at)));
            }
            Event::Received {
                from: PeerId::Server(_),
                message: Message::ToNode(ServerMessage::Assign(work)),
            } => self.note_work(at, work, "hears that it must run here"),
            Event::Requested { request, .. } => self.note_request(at, request),
            Event::TaskChanged { key, change } => {
                let what =
                    format!("task {}, attempt {}: {}", key.task, key.attempt, change_of(change));
                self.happened.push(Happened { at, alloc: key.alloc, what });
            }
            Event::TaskAsked { alloc, ask, .. } => {
                let what = match ask {
                    TaskAsk::Restart => "an operator wants a restart".to_owned(),
                    TaskAsk::Signal(signal) => format!("an operator sends {signal}"),
                };
                self.happened.push(Happened { at, alloc: *alloc, what });
            }
            Event::ChecksChanged { alloc, pass, .. } => {
                let what = if *pass { "its checks pass" } else { "its checks do not pass" };
                self.happened.push(Happened { at, alloc: *alloc, what: what.to_owned() });
            }
            _ => (),
        }
    }

    fn note_request(&mut self, at: At, request: &Request) {
        match request {
            Request::RegisterJob { spec, .. } => self.asked.push((at, spec.id.clone())),
            Request::DeregisterJob { job, .. } | Request::EvaluateJob { job, .. } => {
                self.asked.push((at, job.clone()));
            }
            _ => (),
        }
    }

    fn note_work(&mut self, at: At, work: &Assignment, what: &str) {
        for run in &work.runs {
            let what = what.to_owned();
            self.happened.push(Happened { at, alloc: run.id, what });
        }
        for &alloc in &work.tombstones {
            let what = "its node is told to stop it".to_owned();
            self.happened.push(Happened { at, alloc, what });
        }
    }

    fn note_effect(&mut self, at: At, effect: &Effect, agent: &Agent) {
        let (alloc, what) = match effect {
            Effect::Committed { frame } => return self.note_frame(at, frame, agent),
            Effect::Send { to: PeerId::Client(_), message: Message::ToNode(said) } => {
                if let ServerMessage::Assign(work) = said {
                    self.note_work(at, work, "its node is told to run it");
                }
                return;
            }
            Effect::StartTask { key, start } => {
                let group = &start.spec.group;
                let task = group.tasks.get(usize::from(key.task)).map_or("?", |task| &task.name);
                let attempt = key.attempt;
                (
                    key.alloc,
                    format!("the client starts task {} ({task}), attempt {attempt}", key.task),
                )
            }
            Effect::ReattachTask { key, .. } => {
                (key.alloc, format!("the client looks for task {}, which it had started", key.task))
            }
            Effect::StopTask { key, signal } => {
                (key.alloc, format!("the client asks task {} to end ({signal})", key.task))
            }
            Effect::SignalTask { key, signal } => {
                (key.alloc, format!("the client sends {signal} to task {}", key.task))
            }
            Effect::KillTask { key } => (key.alloc, format!("the client kills task {}", key.task)),
            Effect::DestroyAlloc { alloc, .. } => (*alloc, "its files may go".to_owned()),
            Effect::Advertise { alloc, services, .. } => {
                (*alloc, format!("the client puts {} services into the catalog", services.len()))
            }
            _ => return,
        };
        self.happened.push(Happened { at, alloc, what });
    }

    fn note_frame(&mut self, at: At, frame: &Arc<Frame>, agent: &Agent) {
        self.frames.insert(frame.first, (at, Arc::clone(frame)));
        let Some(state) = agent.state() else { return };
        for (index, entry) in words::entries(frame) {
            if let Command::RegisterNode { spec } = &entry.command {
                self.nodes.insert(spec.id, spec.name.clone());
            }
            let rows = match &entry.command {
                Command::ApplyPlan(plan) => plan.placements.len() + 2,
                Command::SetNodeStatus { nodes, status: NodeStatus::Down, .. } => {
                    for node in nodes {
                        let heard = self.heard.get(node).map(|&heard| ((index, *node), heard));
                        self.last_heard.extend(heard);
                    }
                    state.jobs().count() + 1
                }
                Command::SetNodeStatus { .. } | Command::Restore { .. } => state.jobs().count() + 1,
                Command::UpdateAllocs { updates, .. } => updates.len() + 1,
                Command::ReviewDeployments { deployments } => 2 * deployments.len() + 1,
                _ => 2,
            };
            self.see_made(state, index, rows, at);
        }
    }

    /// What the entry at `index` made: ids are made from the index.
    fn see_made(&mut self, state: &State, index: Index, rows: usize, at: At) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX).min((1 << ORDINAL_BITS) - 1);
        for ordinal in 0..rows {
            let id = object_id(index, ordinal);
            if let Some(alloc) = state.alloc(AllocId(id)) {
                self.see_alloc(state, alloc, Some(at));
            }
            if let Some(eval) = state.eval(EvalId(id)) {
                self.see_eval(state, eval, Some(at));
            }
        }
    }

    /// The entry at `index`, and when it was applied here.
    #[must_use]
    pub fn entry_at(&self, index: Index) -> Option<(At, Command)> {
        let (_, (at, frame)) = self.frames.range(..=index).next_back()?;
        let entry = words::entries(frame).into_iter().find(|(found, _)| *found == index)?;
        Some((*at, entry.1.command))
    }
}

fn choices_of(plan: &Plan, agent: &Agent) -> Vec<Chosen> {
    let (Some(choices), Some(state)) = (agent.explain(plan), agent.state()) else {
        return Vec::new();
    };
    let placed = plan.placements.iter().zip(choices);
    placed
        .map(|(placement, choice)| Chosen {
            group: placement.group,
            ordinal: placement.ordinal,
            looked_at: choice.looked_at,
            runner_up: choice.runner_up.map(|(slot, score)| (words::slot(state, slot), score)),
        })
        .collect()
}

/// The entry that made an object.
#[must_use]
pub const fn made_at(id: u64) -> Index {
    Index(id >> ORDINAL_BITS)
}

fn change_of(change: &TaskChange) -> String {
    match change {
        TaskChange::Started { pid } => format!("runs as process {pid}"),
        TaskChange::StartFailed { why, .. } => format!("cannot be started: {why}"),
        TaskChange::Exited { exit_code, signal: 0 } => format!("exits with {exit_code}"),
        TaskChange::Exited { signal, .. } => format!("ends by signal {signal}"),
        TaskChange::Lost => "is gone without a word".to_owned(),
    }
}
