//! What a machine said, to whom it concerns. An arm renames; it decides nothing.
//!
//! Invariants
//! - there is no branch, loop or arithmetic here: a decision belongs to a machine.
use alloc::sync::Arc;

use super::{Agent, Effect, Effects, Output};
use crate::types::ServerId;
use crate::wire::{Message, PeerId};
use crate::{assign, broker, client, gossip, heartbeat, prober, raft, requests, sightings, wal};

impl Agent {
    pub(super) fn route(&mut self, output: Output, effects: &mut Effects) {
        match output {
            Output::Wal(output) => self.route_wal(output, effects),
            Output::Raft(output) => self.route_raft(output, effects),
            Output::Gossip(output) => self.route_gossip(output, effects),
            Output::Wan(output) => self.route_wan(output, effects),
            Output::Heartbeat(output) => self.route_heartbeat(output, effects),
            Output::Broker(output) => self.route_broker(output),
            Output::Assign(output) => self.route_assign(output, effects),
            Output::Requests(output) => self.route_requests(output, effects),
            Output::Sightings(output) => self.route_sightings(output, effects),
            Output::Prober(output) => self.route_prober(output, effects),
            Output::Departure(output) => self.route_departure(output, effects),
            Output::Client(output) => self.route_client(output, effects),
            Output::Local { from, message } => self.receive(from, message),
            Output::ToNode { node, message } => {
                self.send(PeerId::Client(node), Message::ToNode(message), effects);
            }
            Output::Answer { asked, answer } => self.send_answer(asked, answer, effects),
        }
    }

    fn route_wal(&mut self, output: wal::Output, effects: &mut Effects) {
        match output {
            wal::Output::Operate { op, operation } => {
                effects.list.push(Effect::Disk { op, operation });
            }
            wal::Output::Durable { upto } => self.note_durable(upto),
            wal::Output::Failed { fault, .. } => self.halt_for_disk(fault, effects),
        }
    }

    fn route_raft(&mut self, output: raft::Output, effects: &mut Effects) {
        match output {
            raft::Output::Persist { seq, record } => self.persist_raft(seq, &record),
            raft::Output::Send(to, message) => {
                self.send(PeerId::Server(to), Message::Raft(message), effects);
            }
            raft::Output::Commit(frame) => self.apply_frame(frame, effects),
            raft::Output::LeadWon(term) => self.take_office(term),
            raft::Output::LeadReady(term) => self.open_office(term),
            raft::Output::LeadLost => self.leave_office(),
            raft::Output::ReadReady { tag, index } => Self::answer_read(tag, Ok(index), effects),
            raft::Output::ReadFailed { tag } => Self::answer_read(tag, Err(()), effects),
            raft::Output::ReadChunk { to, snapshot, offset, bytes_max } => {
                effects.list.push(Effect::ReadChunk { to, snapshot, offset, bytes_max });
            }
            raft::Output::StoreChunk { mark, offset, bytes } => {
                effects.list.push(Effect::StoreChunk { mark, offset, bytes });
            }
            raft::Output::InstallSnapshot(mark) => {
                effects.list.push(Effect::LoadSnapshot { mark });
            }
            raft::Output::Compacted { upto } => self.compact_raft(upto),
            raft::Output::Configured(_) => (),
        }
    }

    fn route_gossip(&mut self, output: gossip::Output, effects: &mut Effects) {
        match output {
            gossip::Output::Send(to, message) => {
                self.send(PeerId::Server(to), Message::Gossip(message), effects);
            }
            gossip::Output::Dial(address) => effects.list.push(Effect::Dial { address }),
            gossip::Output::Forget(address) => effects.list.push(Effect::Forget { address }),
            gossip::Output::Bootstrap(voters) => self.bootstrap(voters),
            gossip::Output::MemberAlive(_)
            | gossip::Output::MemberFailed(_)
            | gossip::Output::MemberLeft(_)
            | gossip::Output::Shift(_) => (),
        }
    }

    fn route_heartbeat(&mut self, output: heartbeat::Output, effects: &mut Effects) {
        match output {
            heartbeat::Output::LookFor { round, nodes, probers } => {
                self.ask_probers((round, &nodes), &probers, effects);
            }
            heartbeat::Output::NodesDown(nodes) => self.call_nodes_down(nodes),
            heartbeat::Output::NodeReady(node) => self.call_node_ready(node),
            heartbeat::Output::NodeReturned(node) => self.call_node_returned(node),
        }
    }

    fn route_broker(&mut self, output: broker::Output) {
        match output {
            broker::Output::Unblock(evals) => self.unblock(evals),
        }
    }

    fn route_assign(&mut self, output: assign::Output, effects: &mut Effects) {
        match output {
            assign::Output::Tell { node, after } => self.tell_node(node, after, effects),
        }
    }

    fn route_requests(&mut self, output: requests::Output, effects: &mut Effects) {
        match output {
            requests::Output::Ask { leader, seq, is_repeat, request } => {
                self.ask_leader(leader, (seq, is_repeat), request, effects);
            }
            requests::Output::Answer { caller, answer } => {
                self.answer_caller(caller, answer, effects);
            }
        }
    }

    fn route_sightings(&mut self, output: sightings::Output, effects: &mut Effects) {
        match output {
            sightings::Output::Tell { seen } => self.tell_sightings(&seen, effects),
        }
    }

    fn route_prober(&mut self, output: prober::Output, effects: &mut Effects) {
        match output {
            prober::Output::Probe(node) => {
                let message = Message::ToNode(client::ServerMessage::Probe);
                self.send(PeerId::Client(node), message, effects);
            }
            prober::Output::Report { to, round, silent } => {
                self.tell_silent(to, round, silent, effects);
            }
        }
    }

    fn route_client(&mut self, output: client::Output, effects: &mut Effects) {
        match output {
            client::Output::Send { to, message } => {
                self.send(PeerId::Server(to), Message::FromNode(message), effects);
            }
            client::Output::Dial { address } => self.dial_server(address, effects),
            client::Output::Forget { address } => self.forget_server(address, effects),
            client::Output::Persist { seq, record } => self.persist_client(seq, &record),
            client::Output::Compacted { before } => self.compact_client(before),
            client::Output::StartTask { key, start } => {
                effects.list.push(Effect::StartTask { key, start: Arc::new(start) });
            }
            client::Output::Reattach { key, uuid, spec } => {
                effects.list.push(Effect::ReattachTask { key, uuid, spec });
            }
            client::Output::StopTask { key, signal } => {
                effects.list.push(Effect::StopTask { key, signal });
            }
            client::Output::KillTask { key } => effects.list.push(Effect::KillTask { key }),
            client::Output::SignalTask { key, signal } => {
                effects.list.push(Effect::SignalTask { key, signal });
            }
            client::Output::DestroyAlloc { alloc, uuid } => {
                effects.list.push(Effect::DestroyAlloc { alloc, uuid });
            }
            client::Output::Advertise { alloc, uuid, round, services } => {
                effects.list.push(Effect::Advertise { alloc, uuid, round, services });
            }
        }
    }

    fn bootstrap(&mut self, voters: alloc::vec::Vec<ServerId>) {
        let server = self.server.as_mut().expect("invariant: gossip runs on servers");
        let configuration = raft::Configuration::new(&voters, &[]);
        server.raft.on_bootstrap(self.now, configuration, &mut self.pending);
    }
}
