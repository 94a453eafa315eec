//! Why an alloc, an eval or a node is what it is: the chain from what made the servers look to its end.
//!
//! Each entry of the replicated log is told with the input that made the leader write it, if that is
//! recorded here; each placement with how the nodes compared, which is computed again.
//!
//! Invariants
//! - every link says when, and where in the log; nothing is guessed where the log does not tell.
use drover_core::agent::Guard;
use drover_core::fsm::Command;
use drover_core::state::State;
use drover_core::types::{AllocId, EvalId, Index, NodeId, NodeStatus};

use super::history::{At, History, LoggedBy, Planned, made_at};
use super::source::Source;
use super::tape::{Fault, Tape, Turn};
use super::until::Until;
use super::words;

mod alloc;
mod eval;
mod node;
mod placed;

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
    /// The input that made the leader write the entry, if this agent led, or that brought it.
    pub cause: Option<Cause>,
}

/// An input, and what it was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cause {
    pub at: At,
    pub what: String,
}

/// What can be asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Alloc,
    Eval,
    Node,
}

impl Kind {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::Eval => "eval",
            Self::Node => "node",
        }
    }
}

/// What was asked about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    pub kind: Kind,
    pub id: String,
    pub name: String,
}

/// The answer.
#[derive(Debug)]
pub struct Why {
    pub subject: Subject,
    pub links: Vec<Link>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unknown {
    Fault(Fault),
    /// There is no such thing in the log.
    None,
    /// There are several.
    Several(Vec<Subject>),
}

/// What an id stands for here.
#[derive(Clone, Copy)]
enum Found {
    Alloc(AllocId),
    Eval(EvalId),
    Node(NodeId),
}

/// The chain of the alloc, eval or node whose id begins with `typed`, or of the node that is called so, as
/// far as `until`.
///
/// # Errors
/// See `Unknown`.
pub fn why(source: &dyn Source, guard: Guard, until: Until, typed: &str) -> Result<Why, Unknown> {
    let (history, tape) = gather(source, guard, until).map_err(Unknown::Fault)?;
    let none = State::new();
    let state = tape.agent().state().unwrap_or(&none);
    let mut found = find(&history, state, typed);
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Unknown::None),
        (Some((found, subject)), true) => {
            let chain = Chain { history: &history, state, links: Vec::new() };
            let links = match found {
                Found::Alloc(id) => chain.of_alloc(&history.allocs[&id]),
                Found::Eval(id) => chain.of_eval(id),
                Found::Node(id) => chain.of_node(id),
            };
            Ok(Why { subject, links })
        }
        (Some(last), false) => {
            found.push(last);
            Err(Unknown::Several(found.into_iter().map(|(_, subject)| subject).collect()))
        }
    }
}

fn find(history: &History, state: &State, typed: &str) -> Vec<(Found, Subject)> {
    let prefix = typed.to_lowercase();
    let subject = |kind, id: &str, name: &str| Subject { kind, id: id.into(), name: name.into() };
    let allocs = history.allocs.values().filter(|alloc| alloc.uuid.starts_with(&prefix));
    let allocs = allocs
        .map(|alloc| (Found::Alloc(alloc.row.id), subject(Kind::Alloc, &alloc.uuid, &alloc.name)));
    let evals = history.evals.values().filter(|eval| eval.uuid.starts_with(&prefix));
    let evals = evals.map(|eval| {
        let job = words::job(state, eval.row.job);
        (Found::Eval(eval.row.id), subject(Kind::Eval, &eval.uuid, &job))
    });
    let nodes = history.nodes.iter().filter_map(|(&id, name)| {
        let uuid = id.uuid().to_string();
        let is_it = uuid.starts_with(&prefix) || name == typed;
        is_it.then(|| (Found::Node(id), subject(Kind::Node, &uuid, name)))
    });
    allocs.chain(evals).chain(nodes).collect()
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

impl<'h> Chain<'h> {
    fn push(&mut self, at: Option<At>, index: Option<Index>, what: impl Into<String>) {
        self.links.push(Link { at, index, what: what.into(), cause: None });
    }

    /// An entry that was applied, and the input because of which it was written.
    fn push_entry(&mut self, at: At, index: Index, what: impl Into<String>) {
        let logged = self.history.logged(index).filter(|logged| logged.at.input < at.input);
        let cause = logged.map(|logged| {
            let does = match logged.by {
                LoggedBy::Itself => "this agent leads, and writes",
                LoggedBy::Another => "brings",
            };
            Cause { at: logged.at, what: format!("{}; {does} entry {}", logged.what, index.0) }
        });
        self.links.push(Link { at: Some(at), index: Some(index), what: what.into(), cause });
    }

    fn all_entries(&self) -> Vec<(At, Index, Command)> {
        let frames = self.history.frames.values();
        let entries = frames.flat_map(|(at, frame)| {
            words::entries(frame).into_iter().map(|(index, entry)| (*at, index, entry.command))
        });
        entries.collect()
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
                self.push_entry(at, index, format!("the eval goes on: {reason}"));
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
        self.push_entry(at, index, words::of_command(self.state, command));
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
            self.push_entry(at, index, words::of_plan(self.state, &plan));
        }
    }

    /// The scheduling whose plan was `applied`, if this agent did it.
    fn planned(&mut self, eval: EvalId, applied: At) -> Option<&'h Planned> {
        let planned = self.history.planned.get(&eval).into_iter().flatten();
        let found = planned.rev().find(|planned| planned.at.input <= applied.input)?;
        self.push(Some(found.at), None, "the leader (this agent) schedules the eval");
        Some(found)
    }
}
