//! An event, to the machine it is for.
//!
//! Invariants
//! - an event for a part that this agent does not have changes nothing.

use super::{Agent, Effect, Effects, Event, TaskAsk};
use crate::api::{Consistency, Rejection, Request, Response};
use crate::client::{self, Moment};
use crate::raft::Proof;
use crate::requests::Caller;
use crate::types::{AllocId, RequestId, ServerId, Session};
use crate::wire::{Message, PeerId};
use crate::{assign, gossip};

impl Agent {
    pub(super) const fn moment(&self) -> Moment {
        Moment { now: self.now, wall: self.wall }
    }

    pub(super) fn deliver(&mut self, event: Event, effects: &mut Effects) {
        let at = self.moment();
        match event {
            Event::Booted(recovered) => self.boot(*recovered, effects),
            Event::Received { from, message } => self.receive(from, message),
            Event::LinkChanged { peer, up } => self.note_link(peer, up),
            Event::DiskDone { op } => {
                if let Some(disk) = &mut self.disk {
                    disk.wal.on_done(op, &mut self.pending);
                }
            }
            Event::DiskFailed { op, fault } => {
                if let Some(disk) = &mut self.disk {
                    disk.wal.on_failed(op, fault, &mut self.pending);
                }
            }
            Event::Requested { id, request } => self.take_request(id, request, effects),
            Event::Abandoned { id } => {
                if let Some(server) = &mut self.server {
                    server.requests.on_abandoned(id);
                }
            }
            Event::TaskChanged { key, change } => {
                if let Some(client) = &mut self.client {
                    client.on_task(at, key, &change, &mut self.pending);
                }
            }
            Event::TaskAsked { alloc, task, ask } => self.ask_task(alloc, task.as_deref(), ask),
            Event::Fingerprinted(spec) => {
                if let Some(client) = &mut self.client {
                    client.on_fingerprint(at, spec, &mut self.pending);
                }
            }
            Event::SnapshotSaved(mark) => {
                if let Some(server) = &mut self.server {
                    server.raft.on_snapshot_saved(self.now, mark, &mut self.pending);
                }
            }
            Event::ChunkRead { to, chunk } => {
                if let Some(server) = &mut self.server {
                    server.raft.on_chunk_read(self.now, to, chunk, &mut self.pending);
                }
            }
            Event::ChunkMissing { to, snapshot } => {
                if let Some(server) = &mut self.server {
                    server.raft.on_chunk_missing(self.now, to, snapshot, &mut self.pending);
                }
            }
            Event::SnapshotLoaded { mark, snapshot } => {
                self.adopt_snapshot(mark, snapshot, effects);
            }
            Event::SnapshotRefused { mark } => {
                if let Some(server) = &mut self.server {
                    server.raft.on_snapshot_refused(self.now, &mark);
                }
            }
            Event::LeaveAsked => self.leave(effects),
            Event::ChecksChanged { alloc, round, pass } => {
                if let Some(client) = &mut self.client {
                    client.on_checks(at, alloc, (round, pass), &mut self.pending);
                }
            }
            Event::Woken => (),
        }
    }

    /// A message that `wire` has let through.
    pub(super) fn receive(&mut self, from: PeerId, message: Message) {
        match (from, message) {
            (PeerId::Server(from), Message::ToNode(message)) => {
                let at = self.moment();
                if let Some(client) = &mut self.client {
                    client.on_message(at, from, message, &mut self.pending);
                }
            }
            (PeerId::Client(node), Message::FromNode(message)) => self.hear_node(node, message),
            (PeerId::Server(from) | PeerId::Foreign(from), Message::Wan(message)) => {
                self.hear_wan(from, message);
            }
            (PeerId::Server(from), message) => self.hear_server(from, message),
            // `wire` refuses all else that they might say.
            (PeerId::Client(_) | PeerId::Foreign(_), _) => (),
        }
    }

    fn hear_server(&mut self, from: ServerId, message: Message) {
        let Some(server) = &mut self.server else { return };
        let (now, out) = (self.now, &mut self.pending);
        match message {
            Message::Raft(message) => server.raft.on_message(now, from, message, out),
            Message::Gossip(message) => server.gossip.on_message(now, from, message, out),
            Message::Ask { incarnation, seq, is_repeat, request } => {
                let session = Session { origin: from, incarnation, seq };
                self.take_ask(session, is_repeat, request);
            }
            Message::Answer { incarnation, seq, answer } if incarnation == self.incarnation => {
                server.requests.on_answer(now, seq, answer, out);
            }
            // To what it asked before it was started again.
            Message::Answer { .. } => (),
            Message::Sighting { wall, seen } => {
                if let Some(leader) = &mut server.leader {
                    leader.stamper.on_reading(now, from, wall);
                    for seen in seen {
                        let word = (seen.age_ms, seen.is_behind);
                        leader.heartbeats.on_relayed(now, seen.node, word, out);
                    }
                }
            }
            Message::LookFor { round, nodes } => {
                server.prober.on_asked(now, (from, round), nodes, out);
            }
            Message::LookedFor { round, silent } => self.hear_report(from, round, &silent),
            Message::Cut { index, digest } => server.cuts.on_digest(from, index, digest),
            Message::FromNode(_) | Message::ToNode(_) | Message::Wan(_) => (),
        }
    }

    fn note_link(&mut self, peer: PeerId, up: bool) {
        let at = self.moment();
        let met = if up { gossip::Link::Up } else { gossip::Link::Down };
        match peer {
            PeerId::Foreign(id) => self.note_foreign_link(id, met),
            PeerId::Server(id) => {
                if let Some(server) = &mut self.server {
                    server.gossip.on_link(self.now, id, met, &mut self.pending);
                } else if let Some(client) = &mut self.client {
                    // A client beside a server speaks through that one: to others its words would be
                    // a server's.
                    let link = if up { client::Link::Up } else { client::Link::Down };
                    client.on_link(at, id, link, &mut self.pending);
                }
                self.note_wan_link(id, met);
            }
            PeerId::Client(node) => {
                if let Some(server) = &mut self.server {
                    let link = if up { assign::Link::Up } else { assign::Link::Down };
                    server.assign.on_node_link(self.now, node, link, &mut self.pending);
                    if !up && server.state.node(node).is_none() {
                        server.assign.on_node_unknown(node);
                    }
                }
            }
        }
    }

    fn take_request(&mut self, id: RequestId, request: Request, effects: &mut Effects) {
        let Some(server) = &mut self.server else {
            let answer = Err(Rejection::NotLeader { leader: None });
            return effects.list.push(Effect::Reply { id, answer });
        };
        if let Request::ForceOut { server: gone, prune } = request {
            let memory = if prune { gossip::Memory::Gone } else { gossip::Memory::Kept };
            let answer = self.force_out((gone, memory));
            return effects.list.push(Effect::Reply { id, answer });
        }
        if let Request::ReadPoint { consistency } = request {
            let proof = match consistency {
                Consistency::Default => Proof::Lease,
                Consistency::Consistent => Proof::Round,
            };
            server.raft.on_read(self.now, id.0, proof, &mut self.pending);
        } else {
            let caller = Caller::Outside(id);
            server.requests.on_requested(self.now, caller, request, &mut self.pending);
        }
    }

    fn force_out(&mut self, gone: (ServerId, gossip::Memory)) -> Result<Response, Rejection> {
        let server = self.server.as_mut().expect("invariant: a server was asked");
        let index = server.state.index();
        let done = if server.gossip.knows(gone.0) {
            let done = server.gossip.on_forced_out(self.now, gone, &mut self.pending);
            // Other regions are slower to see that somebody failed, and to be told.
            let _later = self.force_out_of_wan(gone);
            done
        } else {
            self.force_out_of_wan(gone).unwrap_or(Err("no server knows of it any more"))
        };
        match done {
            Ok(()) => Ok(Response::Applied { index, eval: None, job: None }),
            Err(why) => Err(Rejection::Invalid { field: "node".into(), why: why.into() }),
        }
    }

    /// What an operator asks of a task that is not here, or does not run, was refused by the shell;
    /// if it ended meanwhile there is nothing left to do.
    fn ask_task(&mut self, alloc: AllocId, task: Option<&str>, ask: TaskAsk) {
        let at = self.moment();
        let Some(client) = &mut self.client else { return };
        let out = &mut self.pending;
        let _too_late = match (ask, task) {
            (TaskAsk::Restart, task) => client.on_restart_asked(at, (alloc, task), out),
            (TaskAsk::Signal(signal), Some(task)) => {
                client.on_signal_asked(at, (alloc, task), signal, out)
            }
            (TaskAsk::Signal(signal), None) => {
                let mut answer = Ok(());
                for task in client.task_names(alloc) {
                    answer = client.on_signal_asked(at, (alloc, &task), signal.clone(), out);
                }
                answer
            }
        };
    }
}
