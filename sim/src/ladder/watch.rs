//! From steps to rungs: what an agent was told, what it then wanted, what came of that later.
//!
//! Invariants
//! - of everything that was begun it is known whether it ended: what arrived, was written, was answered.
use std::collections::VecDeque;
use std::sync::Arc;

use drover_core::agent::{Effect, Effects, Event};
use drover_core::fsm::record::decode_batch;
use drover_core::raft::{Frame, Payload};
use drover_core::types::{TaskKey, TaskStart};
use drover_core::wal::Operation;
use drover_core::wire::{Message, PeerId};

use super::command_words::{of_answer, of_command, of_configuration, of_request};
use super::rung::{Kind, Rung, RungId, Way};
use super::words::{self, Dull, Said};
use super::{Awaited, Ladder, UNDERWAY_MAX, raft_words};
use crate::clock::Moment;
use crate::durable;
use crate::host::Host;
use crate::network::HostId;

impl Ladder {
    /// An agent is about to be told of `event`.
    pub fn on_event(&mut self, at: Moment, host: &Host, event: &Event) {
        self.names.meet(host.id, &host.name, host.peer);
        let id = match event {
            Event::Received { from, message } => self.arrived(at, host.id, (*from, message)),
            Event::DiskDone { op } | Event::DiskFailed { op, .. } => {
                let begun = self.waiting.remove(&(host.id, Awaited::Disk(*op)));
                let fault =
                    if let Event::DiskFailed { fault, .. } = event { Some(fault) } else { None };
                let said = self.of_disk_end(begun, fault.map(|fault| format!("{fault:?}")));
                self.ended(at, host.id, begun, said)
            }
            Event::Requested { id, request } => {
                let (text, job) = of_request(request, &self.names);
                let mut said =
                    Said::new(Kind::Request, "request", format!("asked: {text}"), Dull::Never);
                if let Some(job) = job {
                    said = said.of_job(&job);
                }
                self.asked.insert(*id, text.into());
                let cause = self.planned_at(at);
                let rung = self.note(at, host.id, cause, said);
                self.waiting.insert((host.id, Awaited::Answer(*id)), rung);
                rung
            }
            Event::TaskChanged { key, change } => {
                let text = format!("{} {}", self.names.task(*key), words::of_change(change));
                let said = Said::new(Kind::Task, "task", text, Dull::Never);
                let said = said.of_alloc(&self.names, key.alloc);
                let cause = self.waiting.get(&(host.id, Awaited::Alloc(key.alloc))).copied();
                self.note(at, host.id, cause, said)
            }
            Event::SnapshotSaved(mark) => {
                let text = format!("snapshot {} is safe", raft_words::place(mark.position()));
                let said = Said::new(Kind::Snapshot, "snapshot", text, Dull::Never);
                let begun = self.waiting.remove(&(host.id, Awaited::Snapshot(mark.index)));
                self.note(at, host.id, begun, said)
            }
            Event::Booted(_)
            | Event::LinkChanged { .. }
            | Event::Abandoned { .. }
            | Event::TaskAsked { .. }
            | Event::Fingerprinted(_)
            | Event::ChunkRead { .. }
            | Event::ChunkMissing { .. }
            | Event::SnapshotLoaded { .. }
            | Event::SnapshotRefused { .. }
            | Event::LeaveAsked
            | Event::ChecksChanged { .. }
            | Event::Woken => {
                let said = self.of_event(host.id, event);
                let cause = self.planned_at(at);
                self.note(at, host.id, cause, said)
            }
        };
        self.stepping = Some(id);
    }

    /// An agent was told, and wants all this.
    pub fn on_effects(&mut self, at: Moment, host: &Host, effects: &Effects) {
        let before = self.next();
        self.look_at_standing(at, host, effects.wake.map(|wake| wake.why));
        for effect in &effects.list {
            self.on_effect(at, host, effect);
        }
        let has_followed =
            self.rungs().rev().take_while(|(id, _)| before <= *id).any(|(_, rung)| !rung.is_dull);
        if has_followed
            && let Some(stepping) = self.stepping
            && let Some(rung) = self.rung_mut(stepping)
        {
            rung.is_dull = false;
        }
    }

    /// A process of `key` lives, or has ended.
    pub fn on_task(&mut self, at: Moment, host: HostId, key: TaskKey, lives: bool) {
        let (sort, word) = if lives { ("begin", "BEGINS") } else { ("end", "ENDS") };
        let text = format!("{} {word}", self.names.task(key));
        let said = Said::new(Kind::Task, sort, text, Dull::Never).of_alloc(&self.names, key.alloc);
        let cause = self.waiting.get(&(host, Awaited::Alloc(key.alloc))).copied();
        let id = self.note(at, host, cause, said);
        self.waiting.insert((host, Awaited::Alloc(key.alloc)), id);
        self.mark_life(at, host, key, lives);
    }

    fn next(&self) -> RungId {
        RungId(self.first.0 + self.rungs.len() as u64)
    }

    fn planned_at(&self, at: Moment) -> Option<RungId> {
        self.planned.filter(|(_, then)| *then == at).map(|(id, _)| id)
    }

    /// One rung about `host` alone.
    pub(super) fn note(
        &mut self,
        at: Moment,
        host: HostId,
        cause: Option<RungId>,
        said: Said,
    ) -> RungId {
        self.put((at, host, None), cause, said, Way::Whole)
    }

    fn put(
        &mut self,
        (at, host, peer): (Moment, HostId, Option<HostId>),
        cause: Option<RungId>,
        said: Said,
        way: Way,
    ) -> RungId {
        let Said { kind, sort, text, dull, jobs, allocs } = said;
        let text: Arc<str> = text.into();
        let key = (host, peer.unwrap_or(host), sort);
        let is_dull = match dull {
            Dull::Never => false,
            Dull::Always => true,
            Dull::IfSaid => self.said.insert(key, Arc::clone(&text)).is_some_and(|t| t == text),
            Dull::IfTermWasSaid(term) => {
                let of_term: Arc<str> = term.0.to_string().into();
                self.said.insert(key, Arc::clone(&of_term)).is_some_and(|known| known == of_term)
            }
        };
        let host = Some(host);
        self.push(Rung { at, host, peer, kind, sort, text, jobs, allocs, cause, way, is_dull })
    }

    fn ended(&mut self, at: Moment, host: HostId, begun: Option<RungId>, said: Said) -> RungId {
        let since = begun.and_then(|id| self.rung(id)).map_or(at, |rung| rung.at);
        let id = self.put((at, host, None), begun, said, Way::Ended { since });
        if let Some(rung) = begun.and_then(|begun| self.rung_mut(begun)) {
            rung.way = Way::Begun { end: Some(id) };
        }
        id
    }

    fn arrived(&mut self, at: Moment, to: HostId, (from, message): (PeerId, &Message)) -> RungId {
        let Some(from) = self.names.host_of(from) else {
            let said = words::of_message(message, &self.names);
            return self.note(at, to, None, said);
        };
        let lane = self.underway.entry((from, to)).or_default();
        let fresh = lane.iter().position(|(_, sent)| sent == message);
        let sent = fresh.and_then(|place| lane.remove(place)).map(|(id, _)| id);
        let Some(sent) = sent.and_then(|id| Some((id, self.rung(id)?.clone()))) else {
            let mut said = words::of_message(message, &self.names);
            said.text = format!("{}  (arrives again)", said.text);
            return self.put((at, from, Some(to)), None, said, Way::Ended { since: at });
        };
        let (sent, rung) = sent;
        let id =
            self.push(Rung { at, cause: Some(sent), way: Way::Ended { since: rung.at }, ..rung });
        if let Some(rung) = self.rung_mut(sent) {
            rung.way = Way::Begun { end: Some(id) };
        }
        id
    }

    fn sent(&mut self, at: Moment, from: HostId, (to, message): (PeerId, &Message)) {
        if let Message::ToNode(drover_core::client::ServerMessage::Assign(assignment)) = message {
            self.names.learn_assignment(assignment);
        }
        let mut said = words::of_message(message, &self.names);
        let cause = self.stepping;
        let Some(to) = self.names.host_of(to) else {
            said.text = format!("{}  (to nobody known)", said.text);
            self.note(at, from, cause, said);
            return;
        };
        let id = self.put((at, from, Some(to)), cause, said, Way::Begun { end: None });
        let lane: &mut VecDeque<_> = self.underway.entry((from, to)).or_default();
        lane.push_back((id, message.clone()));
        if UNDERWAY_MAX < lane.len() {
            lane.pop_front();
        }
    }

    fn on_effect(&mut self, at: Moment, host: &Host, effect: &Effect) {
        let (id, cause) = (host.id, self.stepping);
        match effect {
            Effect::Send { to, message } => self.sent(at, id, (*to, message)),
            Effect::Disk { op, operation } => {
                let said = self.of_operation(host, operation);
                let begun = self.put((at, id, None), cause, said, Way::Begun { end: None });
                self.waiting.insert((id, Awaited::Disk(*op)), begun);
            }
            Effect::Reply { id: request, answer } => {
                let asked = self.asked.remove(request).unwrap_or_else(|| "it".into());
                let text = format!("{asked}: {}", of_answer(answer, &self.names));
                let said = Said::new(Kind::Request, "answer", text, Dull::Never);
                let asked = self.waiting.remove(&(id, Awaited::Answer(*request)));
                let rung = self.note(at, id, cause.or(asked), said);
                if let Ok(drover_core::api::Response::Applied { index, .. }) = answer {
                    self.acknowledged = Some((*index, rung));
                }
            }
            Effect::StartTask { key, start } => self.start(at, id, *key, start),
            Effect::ReattachTask { key, .. } => self.ask_task(at, id, (*key, "reattach")),
            Effect::StopTask { key, .. } => self.ask_task(at, id, (*key, "stop")),
            Effect::SignalTask { key, .. } => self.ask_task(at, id, (*key, "signal")),
            Effect::KillTask { key } => self.ask_task(at, id, (*key, "kill")),
            Effect::DestroyAlloc { alloc, .. } => {
                let text = format!("{}: its directory goes", self.names.alloc(*alloc));
                let said = Said::new(Kind::Task, "destroy", text, Dull::Always);
                self.note(at, id, cause, said.of_alloc(&self.names, *alloc));
            }
            Effect::Advertise { alloc, services, .. } => {
                let text = words::of_services(*alloc, services, &self.names);
                let said = Said::new(Kind::Task, "advertise", text, Dull::Always);
                self.note(at, id, cause, said.of_alloc(&self.names, *alloc));
            }
            Effect::Committed { frame } => self.commit(at, host, frame),
            Effect::Cut { position, .. } => {
                let text = format!("snapshot {} begins", raft_words::place(*position));
                let said = Said::new(Kind::Snapshot, "cut", text, Dull::Always);
                let cut = self.note(at, id, cause, said);
                self.waiting.insert((id, Awaited::Snapshot(position.index)), cut);
            }
            Effect::Joined { cluster } => {
                let text = format!("belongs to cluster {:08x}", cluster.0 >> 96);
                self.note(at, id, cause, Said::new(Kind::Gossip, "join", text, Dull::Never));
            }
            Effect::HangUp { peer } => {
                let text = format!("hangs up on {}", self.peer(*peer));
                self.note(at, id, cause, Said::new(Kind::Link, "hang up", text, Dull::Never));
            }
            Effect::Halt { reason } => {
                let text = format!("STOPS ITSELF: {reason}");
                self.note(at, id, cause, Said::new(Kind::Fault, "halt", text, Dull::Never));
            }
            Effect::Departed { unfinished } => {
                let text = words::of_departure(unfinished.as_deref());
                self.note(at, id, cause, Said::new(Kind::Fault, "leave", text, Dull::Never));
            }
            Effect::LoadSnapshot { mark } => {
                let text = format!("snapshot {} is whole: load it", mark.index.0);
                self.note(at, id, cause, Said::new(Kind::Snapshot, "load", text, Dull::Never));
            }
            Effect::Dial { .. }
            | Effect::Forget { .. }
            | Effect::ReadChunk { .. }
            | Effect::StoreChunk { .. } => (),
        }
    }

    fn start(&mut self, at: Moment, host: HostId, key: TaskKey, start: &TaskStart) {
        self.names.learn_start(key.alloc, start);
        self.ask_task(at, host, (key, "start"));
    }

    fn ask_task(&mut self, at: Moment, host: HostId, (key, verb): (TaskKey, &'static str)) {
        let text = format!("{verb} {}", self.names.task(key));
        let said = Said::new(Kind::Task, verb, text, Dull::Never).of_alloc(&self.names, key.alloc);
        let id = self.note(at, host, self.stepping, said);
        self.waiting.insert((host, Awaited::Alloc(key.alloc)), id);
    }

    fn commit(&mut self, at: Moment, host: &Host, frame: &Frame) {
        let (id, cause) = (host.id, self.stepping);
        let what = raft_words::range(frame.first.0, frame.last().0);
        if frame.last() <= self.committed {
            let said = Said::new(Kind::Commit, "apply", format!("applies {what}"), Dull::Always);
            self.note(at, id, cause, said);
            return;
        }
        self.committed = frame.last();
        let of_term = frame.term.0;
        match &frame.payload {
            Payload::Noop => {
                let text = format!("commits {what}@{of_term}: the term begins");
                self.note(at, id, cause, Said::new(Kind::Commit, "commit", text, Dull::Never));
            }
            Payload::Configuration(configuration) => {
                let of = of_configuration(configuration, &self.names);
                let text = format!("commits {what}@{of_term}: {of}");
                self.note(at, id, cause, Said::new(Kind::Commit, "commit", text, Dull::Never));
            }
            Payload::Commands { count, bytes } => {
                let state = host.agent.as_ref().and_then(|agent| agent.state());
                for (entry, index) in decode_batch(bytes, *count).flatten().zip(frame.first.0..) {
                    let index = drover_core::types::Index(index);
                    let mut said = of_command(&entry.command, index, (state, &mut self.names));
                    said.text = format!("commits {}@{of_term}: {}", index.0, said.text);
                    self.note(at, id, cause, said);
                }
            }
        }
    }

    fn of_operation(&self, host: &Host, operation: &Operation) -> Said {
        match operation {
            Operation::Write { block, .. } => {
                let records = durable::raft_records(block);
                match raft_words::of_records(&records, &self.names) {
                    Some(text) => {
                        Said::new(Kind::Disk, "write", format!("writes {text}"), Dull::Never)
                    }
                    None => {
                        let text = "writes what it must not forget".to_owned();
                        Said::new(Kind::Disk, "write", text, Dull::Always)
                    }
                }
            }
            Operation::Prepare { segment, .. } => {
                let text = format!("makes segment {} of {}", segment.0, host.name);
                Said::new(Kind::Disk, "segment", text, Dull::Always)
            }
            Operation::Remove { segment } => {
                let text = format!("removes segment {}", segment.0);
                Said::new(Kind::Disk, "segment", text, Dull::Always)
            }
        }
    }

    fn of_disk_end(&self, begun: Option<RungId>, fault: Option<String>) -> Said {
        let rung = begun.and_then(|id| self.rung(id));
        let what = rung.map_or("writes something", |rung| &rung.text);
        let is_dull = rung.is_none_or(|rung| rung.is_dull);
        let on_disk =
            |what: &str| what.strip_prefix("writes ").map(|what| format!("on disk: {what}"));
        match fault {
            Some(fault) => Said::new(
                Kind::Disk,
                "disk fault",
                format!("DISK FAILS ({fault}): {what}"),
                Dull::Never,
            ),
            None => {
                let dull = if is_dull { Dull::Always } else { Dull::Never };
                let text = on_disk(what).unwrap_or_else(|| format!("done: {what}"));
                Said::new(Kind::Disk, "written", text, dull)
            }
        }
    }

    fn of_event(&self, host: HostId, event: &Event) -> Said {
        let said = |kind, sort, text: String, dull| Said::new(kind, sort, text, dull);
        match event {
            Event::Booted(recovered) => {
                said(Kind::Fault, "start", words::of_start(recovered), Dull::Never)
            }
            Event::LinkChanged { peer, up } => {
                let word = if *up { "stands" } else { "is gone" };
                let hosts = [Some(host), self.names.host_of(*peer)];
                let clients = hosts.into_iter().flatten().any(|host| self.names.is_client(host));
                let dull = if clients { Dull::Always } else { Dull::Never };
                said(Kind::Link, "link", format!("link to {} {word}", self.peer(*peer)), dull)
            }
            Event::LeaveAsked => {
                said(Kind::Fault, "leave", "it is told to go with grace".into(), Dull::Never)
            }
            Event::ChecksChanged { alloc, pass, .. } => {
                let text = words::of_checks(*alloc, *pass, &self.names);
                said(Kind::Task, "checks", text, Dull::Always).of_alloc(&self.names, *alloc)
            }
            Event::Woken => {
                let why = self.wake_of(host);
                said(Kind::Timer, "timer", format!("timer: {why}"), Dull::Always)
            }
            Event::Abandoned { .. } => {
                said(Kind::Request, "abandon", "the caller goes away".into(), Dull::Never)
            }
            Event::TaskAsked { alloc, ask, .. } => {
                let text =
                    format!("asked: {} {}", words::of_task_ask(ask), self.names.alloc(*alloc));
                said(Kind::Request, "request", text, Dull::Never).of_alloc(&self.names, *alloc)
            }
            Event::Fingerprinted(_) => {
                said(Kind::Work, "machine", "the machine is looked at".into(), Dull::Always)
            }
            Event::ChunkRead { .. } => {
                said(Kind::Snapshot, "part read", "a part is read".into(), Dull::Always)
            }
            Event::ChunkMissing { snapshot, .. } => {
                let text = format!("snapshot {} is not there any more", snapshot.0);
                said(Kind::Snapshot, "snapshot", text, Dull::Never)
            }
            Event::SnapshotLoaded { mark, .. } => {
                let text = format!("goes on from snapshot {}", raft_words::place(mark.position()));
                said(Kind::Snapshot, "snapshot", text, Dull::Never)
            }
            Event::SnapshotRefused { mark } => {
                let text = format!("snapshot {} is not what it should be", mark.index.0);
                said(Kind::Snapshot, "snapshot", text, Dull::Never)
            }
            Event::Received { .. }
            | Event::DiskDone { .. }
            | Event::DiskFailed { .. }
            | Event::Requested { .. }
            | Event::TaskChanged { .. }
            | Event::SnapshotSaved(_) => {
                unreachable!("invariant: events with a cause of their own were told before")
            }
        }
    }

    fn peer(&self, peer: PeerId) -> String {
        match peer {
            PeerId::Server(server) | PeerId::Foreign(server) => self.names.server(server),
            PeerId::Client(node) => self.names.node(node),
        }
    }
}
