//! Why an alloc is what it is: the chain from what made the servers look to its end.
//!
//! Invariants
//! - every link says when, and where in the log; nothing is guessed where the log does not tell.
use std::collections::BTreeSet;

use drover_core::agent::Guard;
use drover_core::fsm::Command;
use drover_core::state::State;
use drover_core::types::{AllocId, EvalId, Index, NodeId, NodeStatus, Plan};

use super::history::{At, History, KnownAlloc, made_at};
use super::source::Source;
use super::tape::{Fault, Tape, Turn};
use super::until::Until;
use super::words;

/// Evals that are followed back at most: each was made by the plan of the one before.
const EVALS_BACK_MAX: usize = 8;
/// Digits of an id that a person must type at least.
pub const PREFIX_CHARS_MIN: usize = 2;

/// One thing that happened, because of the one before.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Link {
    /// Not known if it happened before the log begins.
    pub at: Option<At>,
    /// Where in the replicated log, if it is an entry.
    pub index: Option<Index>,
    pub what: String,
}

/// What was asked about.
#[derive(Debug)]
pub struct Why {
    pub alloc: String,
    pub name: String,
    pub links: Vec<Link>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unknown {
    Fault(Fault),
    /// There is no such alloc in the log.
    None,
    /// There are several: their ids and names.
    Several(Vec<(String, String)>),
}

/// The chain of the alloc whose id begins with `prefix`, as far as `until`.
///
/// # Errors
/// See `Unknown`.
pub fn why(source: &dyn Source, guard: Guard, until: Until, prefix: &str) -> Result<Why, Unknown> {
    let (history, tape) = gather(source, guard, until).map_err(Unknown::Fault)?;
    let typed = prefix.to_lowercase();
    let found: Vec<&KnownAlloc> =
        history.allocs.values().filter(|alloc| alloc.uuid.starts_with(&typed)).collect();
    match found[..] {
        [] => Err(Unknown::None),
        [only] => {
            let none = State::new();
            let state = tape.agent().state().unwrap_or(&none);
            let links = Chain { history: &history, state, links: Vec::new() }.of(only);
            Ok(Why { alloc: only.uuid.clone(), name: only.name.clone(), links })
        }
        _ => {
            let names = found.iter().map(|alloc| (alloc.uuid.clone(), alloc.name.clone()));
            Err(Unknown::Several(names.collect()))
        }
    }
}

/// Everything from the first input on.
fn gather(source: &dyn Source, guard: Guard, until: Until) -> Result<(History, Tape<'_>), Fault> {
    let mut history = History::default();
    let mut tape = Tape::begin(source, guard, 0)?;
    history.on_begun(tape.agent());
    while !until.is_reached(&mut tape, source)? {
        match tape.turn()? {
            Turn::Stepped(stepped) => {
                history.on_stepped(&stepped, tape.effects(), tape.agent());
            }
            Turn::Begun(_) => history.on_begun(tape.agent()),
            Turn::Digest { .. } => (),
            Turn::Over => break,
        }
    }
    Ok((history, tape))
}

/// A chain in the making.
struct Chain<'h> {
    history: &'h History,
    state: &'h State,
    links: Vec<Link>,
}

impl Chain<'_> {
    fn of(mut self, alloc: &KnownAlloc) -> Vec<Link> {
        self.eval(alloc.row.eval, EVALS_BACK_MAX);
        self.placement(alloc);
        // What followed comes from two places: the log, and what the client did.
        let until_placed = self.links.len();
        self.entries_about(alloc);
        let mut said = BTreeSet::new();
        for one in self.history.happened.iter().filter(|one| one.alloc == alloc.row.id) {
            // Work is told again until it is acknowledged.
            if said.insert(&one.what) {
                self.links.push(Link { at: Some(one.at), index: None, what: one.what.clone() });
            }
        }
        self.links[until_placed..].sort_by_key(|link| link.at);
        self.end(alloc);
        self.links
    }

    fn push(&mut self, at: Option<At>, index: Option<Index>, what: impl Into<String>) {
        self.links.push(Link { at, index, what: what.into() });
    }

    /// Why there was an eval: what made it, and what made that.
    fn eval(&mut self, id: EvalId, back: usize) {
        let Some(known) = self.history.evals.get(&id) else {
            return self.push(None, None, "its eval was forgotten before the log begins");
        };
        let index = made_at(id.0);
        let made = self.history.entry_at(index);
        match (&made, known.row.previous.filter(|_| 0 < back)) {
            (Some((_, Command::ApplyPlan(_))), Some(previous)) => {
                self.eval(previous, back - 1);
                self.plan_that_left(previous, index);
            }
            (Some((at, command)), _) => self.cause(*at, index, command),
            (None, _) => {
                self.push(None, Some(index), "what made its eval lies before the log begins");
            }
        }
        let trigger = words::of_trigger(known.row.trigger);
        let mut what = format!("eval {}: {trigger}", &known.uuid[..8]);
        if let Some(node) = known.row.node {
            what.push_str(&format!(" ({})", words::node(self.state, node)));
        }
        if let Some(until) = known.row.wait_until {
            let ms = until.ms_since(known.row.create_time);
            what.push_str(&format!("; not before {ms} ms later"));
        }
        self.push(known.at, Some(index), what);
        for (at, index, command) in self.all_entries() {
            if let Command::UnblockEvals { evals, reason } = &command
                && evals.contains(&id)
            {
                self.push(Some(at), Some(index), format!("the eval goes on: {reason}"));
            }
        }
    }

    /// The entry that made an eval.
    fn cause(&mut self, at: At, index: Index, command: &Command) {
        match command {
            Command::RegisterJob { spec, .. } => self.asked(at, &spec.id),
            Command::DeregisterJob { job, .. } | Command::EvaluateJob { job, .. } => {
                self.asked(at, job);
            }
            Command::SetNodeStatus { nodes, status: NodeStatus::Down, .. } => {
                for &node in nodes {
                    self.last_heard(at, index, node);
                }
            }
            _ => (),
        }
        self.push(Some(at), Some(index), words::of_command(self.state, command));
    }

    /// A node was called down by the entry at `index`.
    fn last_heard(&mut self, at: At, index: Index, node: NodeId) {
        if let Some(&heard) = self.history.last_heard.get(&(index, node)) {
            let silent_ms = at.wall.ms_since(heard.wall);
            let name = words::node(self.state, node);
            let what =
                format!("{name} is heard for the last time, {silent_ms} ms before it is down");
            self.push(Some(heard), None, what);
        }
    }

    fn asked(&mut self, at: At, job: &str) {
        let asked = self.history.asked.iter().rev();
        let asked = asked.filter(|(when, name)| name == job && when.input <= at.input);
        if let Some((when, _)) = asked.clone().next() {
            self.push(Some(*when), None, format!("a caller of this agent asks for it: job {job}"));
        }
    }

    /// The plan of the eval before, which left work for later.
    fn plan_that_left(&mut self, eval: EvalId, index: Index) {
        if let Some((at, Command::ApplyPlan(plan))) = self.history.entry_at(index) {
            self.planned(eval, at);
            self.push(Some(at), Some(index), words::of_plan(self.state, &plan));
        }
    }

    fn planned(&mut self, eval: EvalId, applied: At) {
        let mut planned = self.history.planned.get(&eval).into_iter().flatten();
        if let Some(&at) = planned.rfind(|at| at.input <= applied.input) {
            self.push(Some(at), None, "the leader (this agent) schedules the eval");
        }
    }

    fn placement(&mut self, alloc: &KnownAlloc) {
        let index = made_at(alloc.row.id.0);
        let Some((at, Command::ApplyPlan(plan))) = self.history.entry_at(index) else {
            return self.push(alloc.at, Some(index), format!("placed on {}", alloc.node));
        };
        self.planned(alloc.row.eval, at);
        let note = alloc.row.placed;
        let mut what = format!(
            "plan: {} goes to {}, score {} of 1000; the best of {} nodes, {} of them filtered out; {} seen without room",
            alloc.name,
            alloc.node,
            note.score_permille,
            note.nodes_evaluated,
            note.nodes_filtered,
            note.nodes_exhausted,
        );
        if let Some(previous) = alloc.row.previous {
            let stop = plan.stops.iter().find(|stop| stop.alloc == previous);
            let why = stop.map_or("it had ended", |stop| words::of_reason(stop.reason));
            what.push_str(&format!("; in place of {} ({why})", self.name_of(previous)));
        }
        self.push(Some(at), Some(index), what);
        self.failures(at, &plan);
    }

    /// Why other allocs of the plan found no room.
    fn failures(&mut self, at: At, plan: &Plan) {
        let drover_core::types::Verdict::Done { failures, .. } = &plan.verdict else { return };
        for (group, failure) in failures {
            let reasons = failure.filtered.iter().chain(&failure.exhausted);
            let reasons: Vec<String> =
                reasons.map(|(why, nodes)| format!("{why}: {nodes}")).collect();
            let count = u64::from(failure.coalesced) + 1;
            let what = format!("{count} more × {group} found no room: {}", reasons.join(", "));
            self.push(Some(at), None, what);
        }
    }

    fn name_of(&self, id: AllocId) -> String {
        let known = self.history.allocs.get(&id);
        known.map_or_else(|| words::alloc(self.state, id), |known| known.uuid[..8].to_owned())
    }

    fn all_entries(&self) -> Vec<(At, Index, Command)> {
        let frames = self.history.frames.values();
        let entries = frames.flat_map(|(at, frame)| {
            words::entries(frame).into_iter().map(|(index, entry)| (*at, index, entry.command))
        });
        entries.collect()
    }

    /// What the log says of it after it was placed. What happens to its job or node is told until the
    /// last thing that happens to the alloc itself.
    fn entries_about(&mut self, alloc: &KnownAlloc) {
        let id = alloc.row.id;
        let mut around = Vec::new();
        let mut reported = String::new();
        for (at, index, command) in self.all_entries() {
            if index <= made_at(id.0) {
                continue;
            }
            if let Some(what) = self.around(alloc, &command) {
                around.push((at, index, what));
            }
            let Some(what) = self.about(id, &command) else { continue };
            // A client says again how all its tasks are when one event is added.
            let is_news = what != reported;
            if matches!(command, Command::UpdateAllocs { .. }) {
                reported.clone_from(&what);
            }
            if !is_news {
                continue;
            }
            for (at, index, what) in around.drain(..) {
                self.last_heard(at, index, alloc.row.node);
                self.push(Some(at), Some(index), what);
            }
            self.push(Some(at), Some(index), what);
        }
    }

    /// What an entry does to the alloc.
    fn about(&self, id: AllocId, command: &Command) -> Option<String> {
        match command {
            Command::UpdateAllocs { updates, .. } => {
                let update = updates.iter().find(|update| update.id == id)?;
                let status = format!("{:?}", update.status).to_lowercase();
                let why = match update.description.as_str() {
                    "" => String::new(),
                    why => format!(": {}", why.to_lowercase()),
                };
                Some(format!("the servers learn that it is {status}{why}"))
            }
            Command::StopAlloc { alloc } => {
                (*alloc == id).then(|| "an operator stops it".to_owned())
            }
            Command::ApplyPlan(plan) => self.in_plan(id, plan),
            _ => None,
        }
    }

    /// What an entry does to its job or its node.
    fn around(&self, alloc: &KnownAlloc, command: &Command) -> Option<String> {
        let is_its = match command {
            Command::DeregisterJob { job, .. } => *job == alloc.job,
            Command::RegisterJob { spec, .. } => spec.id == alloc.job,
            Command::SetNodeStatus { nodes, .. } => nodes.contains(&alloc.row.node),
            _ => false,
        };
        is_its.then(|| words::of_command(self.state, command))
    }

    fn in_plan(&self, id: AllocId, plan: &Plan) -> Option<String> {
        let eval = words::eval(self.state, plan.eval);
        if let Some(stop) = plan.stops.iter().find(|stop| stop.alloc == id) {
            let why = words::of_reason(stop.reason);
            return Some(format!("a plan stops it, eval {eval}: {why}"));
        }
        let successor = plan.placements.iter().find(|placed| placed.previous == Some(id))?;
        Some(format!(
            "another takes its place, eval {eval}: {}",
            words::of_placement(self.state, plan, successor)
        ))
    }

    /// What it is at the end.
    fn end(&mut self, alloc: &KnownAlloc) {
        let what = match self.state.alloc(alloc.row.id) {
            None => "the servers have forgotten it".to_owned(),
            Some(row) => {
                let about = if row.desired_description.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", row.desired_description)
                };
                let (desired, status) = (row.desired, row.client_status);
                format!("at the end: wanted to {desired:?}{about}, {status:?}").to_lowercase()
            }
        };
        self.push(None, None, what);
    }
}
