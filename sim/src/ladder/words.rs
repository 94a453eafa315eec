//! Messages and events in words.
//!
//! Invariants
//! - what nobody would miss is dull: it is counted, not told.
use std::sync::Arc;

use drover_core::agent::{Recovered, TaskAsk};
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::gossip::{self, swim};
use drover_core::types::{Advert, AllocId, Assignment, TaskChange, Term};
use drover_core::wire::Message;

use super::command_words::{list, of_answer, of_request, of_updates};
use super::names::Names;
use super::raft_words;
use super::rung::Kind;

/// When something is not worth a line of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dull {
    Never,
    /// It says what the same one said to the same one before.
    IfSaid,
    /// The same one said something of this sort in this term before.
    IfTermWasSaid(Term),
    Always,
}

/// A thing in words.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) sort: &'static str,
    pub(super) text: String,
    pub(super) dull: Dull,
    pub(super) jobs: Vec<Arc<str>>,
    pub(super) allocs: Vec<AllocId>,
}

impl Said {
    pub(super) const fn new(kind: Kind, sort: &'static str, text: String, dull: Dull) -> Self {
        Self { kind, sort, text, dull, jobs: Vec::new(), allocs: Vec::new() }
    }

    pub(super) fn of_job(mut self, job: &str) -> Self {
        if self.jobs.iter().all(|known| &**known != job) {
            self.jobs.push(job.into());
        }
        self
    }

    pub(super) fn of_alloc(mut self, names: &Names, alloc: AllocId) -> Self {
        self.allocs.push(alloc);
        match names.known_alloc(alloc) {
            Some(known) => self.of_job(&known.job.clone()),
            None => self,
        }
    }
}

/// What one agent says to another.
pub(super) fn of_message(message: &Message, names: &Names) -> Said {
    match message {
        Message::Raft(message) => raft_words::of_message(message),
        Message::Gossip(message) | Message::Wan(message) => of_gossip(message, names),
        Message::Ask { seq, request, .. } => {
            let (text, job) = of_request(request, names);
            let said = Said::new(Kind::Request, "ask", format!("asks #{seq}: {text}"), Dull::Never);
            job.map_or(said.clone(), |job| said.of_job(&job))
        }
        Message::Answer { seq, answer, .. } => {
            let text = format!("answers #{seq}: {}", of_answer(answer, names));
            Said::new(Kind::Request, "answer", text, Dull::Never)
        }
        Message::Sighting { seen, .. } => {
            let text = format!("has heard from {} nodes", seen.len());
            Said::new(Kind::Heartbeat, "sighting", text, Dull::Always)
        }
        Message::LookFor { nodes, .. } => {
            let nodes = list(nodes.iter().map(|&node| names.node(node)).collect());
            Said::new(Kind::Heartbeat, "look for", format!("look for {nodes}"), Dull::Never)
        }
        Message::LookedFor { silent, .. } => {
            let text = if silent.is_empty() {
                "I can hear all of them".to_owned()
            } else {
                let nodes = silent.iter().map(|&node| names.node(node)).collect();
                format!("I cannot hear {}", list(nodes))
            };
            Said::new(Kind::Heartbeat, "looked for", text, Dull::Never)
        }
        Message::Cut { index, digest } => {
            let text = format!("state at {} is {digest}", index.0);
            Said::new(Kind::Snapshot, "cut", text, Dull::Always)
        }
        Message::FromNode(message) => of_node(message, names),
        Message::ToNode(message) => to_node(message, names),
    }
}

fn of_gossip(message: &gossip::Message, names: &Names) -> Said {
    let said = |sort, text, dull| Said::new(Kind::Gossip, sort, text, dull);
    let word = |verb: &str, word: &gossip::Word| {
        let others = word.met.iter().filter(|id| **id != word.own.id);
        let mut met: Vec<String> = others.map(|id| names.server(*id)).collect();
        met.sort();
        let met = if met.is_empty() { "nobody".to_owned() } else { met.join(", ") };
        format!("{verb}: I have met {met}")
    };
    match message {
        gossip::Message::Push(told) => said("push", word("push", told), Dull::IfSaid),
        gossip::Message::Pull(told) => said("pull", word("pull", told), Dull::IfSaid),
        gossip::Message::Forget { id, .. } => {
            said("forget", format!("forget {}", names.server(*id)), Dull::Never)
        }
        gossip::Message::Datagram(packet) | gossip::Message::Stream(packet) => {
            let (sort, text) = of_matter(&packet.matter, names);
            let judged = packet.news.iter().filter(|record| record.state != swim::State::Alive);
            let judged: Vec<String> = judged.map(|record| of_record(record, names)).collect();
            if judged.is_empty() {
                said(sort, text, Dull::Always)
            } else {
                said(sort, format!("{text}; {}", judged.join(", ")), Dull::IfSaid)
            }
        }
    }
}

fn of_matter(matter: &swim::Matter, names: &Names) -> (&'static str, String) {
    use swim::Matter;
    match matter {
        Matter::Ping { .. } => ("ping", "ping".into()),
        Matter::Ack { .. } => ("pong", "pong".into()),
        Matter::PingReq { subject, .. } => {
            ("ping", format!("ping {} for me", names.server(*subject)))
        }
        Matter::Reached { .. } => ("pong", "it answers".into()),
        Matter::Nack { .. } => ("pong", "it does not answer".into()),
        Matter::Knock { .. } => ("ping", "ping, in order".into()),
        Matter::News => ("news", "news".into()),
        Matter::Tell { subject } => ("news", format!("tell {}", names.server(*subject))),
        Matter::Join { .. } => ("join", "who is there?".into()),
        Matter::Snapshot => ("join", "these are there".into()),
        Matter::Compare { .. } => ("compare", "we differ".into()),
        Matter::Outlines { .. } => ("compare", "this I know".into()),
        Matter::Want(_) => ("compare", "this I know better".into()),
    }
}

fn of_record(record: &swim::Record<gossip::Said>, names: &Names) -> String {
    let name = names.server(record.id);
    match record.state {
        swim::State::Alive => format!("{name} lives"),
        swim::State::Suspect => format!("{name} is suspect"),
        swim::State::Failed => format!("{name} has failed"),
        swim::State::Left => format!("{name} has left"),
    }
}

fn of_node(message: &NodeMessage, names: &Names) -> Said {
    match message {
        NodeMessage::Register { spec } => {
            let text = format!("registers as {}", spec.name);
            Said::new(Kind::Work, "register", text, Dull::IfSaid)
        }
        NodeMessage::Heartbeat { seq, is_behind, .. } => {
            let more = if *is_behind { ", has something to report" } else { "" };
            let text = format!("lives, has heard up to {}{more}", seq.0);
            Said::new(Kind::Heartbeat, "beat", text, Dull::Always)
        }
        NodeMessage::Acknowledge { seq } => {
            Said::new(Kind::Work, "heard", format!("has its work up to {}", seq.0), Dull::Always)
        }
        NodeMessage::AskFullSet => {
            Said::new(Kind::Work, "full set?", "asks for all its work".into(), Dull::Never)
        }
        NodeMessage::Report { updates, .. } => {
            let text = format!("reports {}", of_updates(updates, names));
            let said = Said::new(Kind::Work, "report", text, Dull::IfSaid);
            updates.iter().fold(said, |said, update| said.of_alloc(names, update.id))
        }
    }
}

fn to_node(message: &ServerMessage, names: &Names) -> Said {
    match message {
        ServerMessage::Registered { .. } => {
            Said::new(Kind::Work, "registered", "is registered".into(), Dull::IfSaid)
        }
        ServerMessage::HeartbeatAck { .. } => {
            Said::new(Kind::Heartbeat, "beat ack", "heard you".into(), Dull::Always)
        }
        ServerMessage::Unregistered => {
            Said::new(Kind::Work, "unregistered", "does not know you: register".into(), Dull::Never)
        }
        ServerMessage::Unavailable => {
            Said::new(Kind::Heartbeat, "unavailable", "cannot say: ask again".into(), Dull::IfSaid)
        }
        ServerMessage::Assign(assignment) => of_assignment(assignment, names),
        ServerMessage::ReportAck { .. } => {
            Said::new(Kind::Work, "report ack", "your report is committed".into(), Dull::Always)
        }
        ServerMessage::Probe => {
            Said::new(Kind::Heartbeat, "probe", "are you there?".into(), Dull::Never)
        }
    }
}

fn of_assignment(assignment: &Assignment, names: &Names) -> Said {
    let runs = list(assignment.runs.iter().map(|run| names.alloc(run.id)).collect());
    let stops = list(assignment.tombstones.iter().map(|&id| names.alloc(id)).collect());
    let mut text = match assignment.after {
        None => format!("all your work as of {}", assignment.seq.0),
        Some(_) => format!("work as of {}", assignment.seq.0),
    };
    for (verb, what) in [("run", runs), ("stop", stops)] {
        if !what.is_empty() {
            text = format!("{text}  {verb} {what}");
        }
    }
    let is_empty = assignment.runs.is_empty() && assignment.tombstones.is_empty();
    let dull = if is_empty { Dull::Always } else { Dull::IfSaid };
    let said = Said::new(Kind::Work, "assign", text, dull);
    let allocs = assignment.runs.iter().map(|run| run.id).chain(assignment.tombstones.clone());
    allocs.fold(said, |said, alloc| said.of_alloc(names, alloc))
}

/// An end with grace.
pub(super) fn of_departure(unfinished: Option<&str>) -> String {
    unfinished.map_or_else(|| "has left".into(), |why| format!("goes, but: {why}"))
}

/// What stands of an alloc in the catalog.
pub(super) fn of_services(alloc: AllocId, services: &[Advert], names: &Names) -> String {
    let alloc = names.alloc(alloc);
    match services {
        [] => format!("{alloc}: nothing of it is to be found any more"),
        [one] => format!("{alloc}: {} is to be found", one.name),
        [one, rest @ ..] => {
            format!("{alloc}: {} and {} more are to be found", one.name, rest.len())
        }
    }
}

/// What Consul thinks of an alloc.
pub(super) fn of_checks(alloc: AllocId, pass: bool, names: &Names) -> String {
    let word = if pass { "pass" } else { "do not pass" };
    format!("{}: its checks {word}", names.alloc(alloc))
}

/// A start: what the disk gave back.
pub(super) fn of_start(recovered: &Recovered) -> String {
    let snapshot = recovered.snapshot.as_ref().map_or_else(String::new, |(mark, _)| {
        format!(", snapshot {}", raft_words::place(mark.position()))
    });
    let machine = if recovered.rebooted { ", the machine rebooted" } else { "" };
    format!(
        "STARTS (no. {}): {} records{snapshot}{machine}",
        recovered.incarnation.0,
        recovered.records.len(),
    )
}

/// What became of a task.
pub(super) fn of_change(change: &TaskChange) -> String {
    match change {
        TaskChange::Started { .. } => "is running".into(),
        TaskChange::StartFailed { why, .. } => format!("could not start: {why}"),
        TaskChange::Exited { exit_code, signal: 0 } => format!("ended with {exit_code}"),
        TaskChange::Exited { signal, .. } => format!("ended by signal {signal}"),
        TaskChange::Lost => "is lost: nothing is known of it".into(),
    }
}

/// What an operator wants of a task.
pub(super) fn of_task_ask(ask: &TaskAsk) -> String {
    match ask {
        TaskAsk::Restart => "restart".into(),
        TaskAsk::Signal(signal) => format!("send {signal} to"),
    }
}
