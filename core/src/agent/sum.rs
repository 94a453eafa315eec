//! What came of a step in two bytes, so that every step of a log can be compared with what another
//! version does.
//!
//! Added up is what was decided (to whom, which kind of message, term, index, which write, which task),
//! not how it is encoded: a format that grows changes no sum. Frames and plans are not read; a plan is
//! recorded whole.
//!
//! Invariants
//! - the same effects in the same order have the same sum, on every machine and for ever.
use serde::{Deserialize, Serialize};

use super::{Effect, Effects};
use crate::client::{NodeMessage, ServerMessage};
use crate::gossip;
use crate::raft::{Ballot, Body, Campaign};
use crate::rng::mix;
use crate::types::{AllocId, ServerId, TaskKey};
use crate::wal::Operation;
use crate::wire::{Message, PeerId};

/// What came of one step. Two that differ may have the same sum, one time in 256.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sum {
    /// Of what was said to peers.
    pub messages: u8,
    /// Of all else.
    pub others: u8,
}

impl Effects {
    /// What came of the step.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let (mut messages, mut others) = (0, 0);
        for effect in &self.list {
            if let Effect::Send { to, message } = effect {
                messages = join(messages, &[peer(*to)]);
                messages = join(messages, &of_message(message));
            } else {
                others = join(others, &of_other(effect));
            }
        }
        let byte = |sum: u64| u8::try_from(sum >> 56).expect("invariant: eight bits remain");
        Sum { messages: byte(messages), others: byte(others) }
    }
}

fn join(sum: u64, words: &[u64]) -> u64 {
    words.iter().fold(sum, |sum, &word| mix(sum.rotate_left(9) ^ word))
}

/// Half of an id names it as well as the whole.
fn low(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).expect("invariant: 64 bits remain")
}

fn peer(peer: PeerId) -> u64 {
    match peer {
        PeerId::Server(ServerId(id)) => id,
        PeerId::Client(node) => low(node.0),
        PeerId::Foreign(ServerId(id)) => !id,
    }
}

fn text(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| sum.rotate_left(7) ^ u64::from(byte))
}

const fn key(kind: u64, key: &TaskKey) -> [u64; 4] {
    let TaskKey { alloc: AllocId(alloc), task, attempt } = *key;
    [kind, alloc, task as u64, attempt as u64]
}

fn of_other(effect: &Effect) -> [u64; 4] {
    match effect {
        // It is summed up with the messages.
        Effect::Send { .. } => [0; 4],
        Effect::Disk { op, operation } => match operation {
            Operation::Write { segment, offset, block } => {
                [1, op.0, segment.0 ^ offset.rotate_left(32), block.len() as u64]
            }
            Operation::Prepare { segment, bytes, .. } => [2, op.0, segment.0, *bytes],
            Operation::Remove { segment } => [3, op.0, segment.0, 0],
        },
        Effect::Reply { id, answer } => [4, id.0, u64::from(answer.is_ok()), 0],
        Effect::Dial { address } => [5, text(address), 0, 0],
        Effect::Forget { address } => [21, text(address), 0, 0],
        Effect::HangUp { peer: whom } => [6, peer(*whom), 0, 0],
        Effect::StartTask { key: task, .. } => key(7, task),
        Effect::ReattachTask { key: task, .. } => key(8, task),
        Effect::StopTask { key: task, signal } => key(9 ^ text(signal) << 8, task),
        Effect::SignalTask { key: task, signal } => key(10 ^ text(signal) << 8, task),
        Effect::KillTask { key: task } => key(11, task),
        Effect::DestroyAlloc { alloc, .. } => [12, alloc.0, 0, 0],
        Effect::Advertise { alloc, services, round, .. } => {
            [22, alloc.0, services.len() as u64, u64::from(*round)]
        }
        Effect::Joined { cluster } => [13, low(cluster.0), 0, 0],
        Effect::Committed { frame } => [14, frame.first.0, frame.term.0, u64::from(frame.count())],
        Effect::Cut { position, .. } => [15, position.index.0, position.term.0, 0],
        Effect::ReadChunk { to, snapshot, offset, .. } => [16, to.0, snapshot.0, *offset],
        Effect::StoreChunk { mark, offset, .. } => [17, mark.index.0, *offset, 0],
        Effect::LoadSnapshot { mark } => [18, mark.index.0, 0, 0],
        Effect::Halt { .. } => [19, 0, 0, 0],
        Effect::Departed { unfinished } => [20, u64::from(unfinished.is_some()), 0, 0],
    }
}

fn of_gossip(said: &gossip::Message) -> [u64; 4] {
    match said {
        gossip::Message::Push(word) => [32, word.met.len() as u64, 0, 0],
        gossip::Message::Pull(word) => [33, word.met.len() as u64, 0, 0],
        gossip::Message::Datagram(packet) => [34, packet.news.len() as u64, 0, 0],
        gossip::Message::Forget { id, incarnation } => [51, id.0, incarnation.0, 0],
        gossip::Message::Stream(packet) => [35, packet.news.len() as u64, 0, 0],
    }
}

fn of_message(message: &Message) -> [u64; 4] {
    match message {
        Message::Raft(message) => of_raft(message.term.0, &message.body),
        Message::Gossip(said) => of_gossip(said),
        Message::Wan(said) => of_gossip(said).map(|part| part ^ 1 << 32),
        Message::Ask { seq, .. } => [36, *seq, 0, 0],
        Message::Answer { incarnation, seq, answer } => {
            [37, *seq, u64::from(answer.is_ok()), incarnation.0]
        }
        Message::Sighting { seen, .. } => [38, seen.len() as u64, 0, 0],
        Message::LookFor { round, nodes } => [52, *round, nodes.len() as u64, 0],
        Message::LookedFor { round, silent } => [53, *round, silent.len() as u64, 0],
        Message::Cut { index, digest } => [39, index.0, low(digest.0), 0],
        Message::FromNode(said) => match said {
            NodeMessage::Register { .. } => [40, 0, 0, 0],
            NodeMessage::Heartbeat { seq, registered_at, is_behind } => {
                [41, seq.0, registered_at.0, u64::from(*is_behind)]
            }
            NodeMessage::Acknowledge { seq } => [42, seq.0, 0, 0],
            NodeMessage::AskFullSet => [43, 0, 0, 0],
            NodeMessage::Report { report, updates } => [44, *report, updates.len() as u64, 0],
        },
        Message::ToNode(said) => match said {
            ServerMessage::Registered { ttl_ms, index } => [45, *ttl_ms, index.0, 0],
            ServerMessage::HeartbeatAck { ttl_ms, servers } => {
                [46, *ttl_ms, servers.len() as u64, 0]
            }
            ServerMessage::Unregistered => [47, 0, 0, 0],
            ServerMessage::Unavailable => [48, 0, 0, 0],
            ServerMessage::Assign(work) => {
                [49, work.seq.0, work.runs.len() as u64, work.tombstones.len() as u64]
            }
            ServerMessage::ReportAck { report } => [50, *report, 0, 0],
            ServerMessage::Probe => [51, 0, 0, 0],
        },
    }
}

fn of_raft(term: u64, body: &Body) -> [u64; 4] {
    match body {
        Body::RequestVote { campaign, last } => [term, of_campaign(*campaign), last.index.0, 1],
        Body::Vote { campaign, asked, ballot } => {
            let ballot = match ballot {
                Ballot::Granted => 2,
                Ballot::Refused => 3,
            };
            [term, of_campaign(*campaign), asked.0, ballot]
        }
        Body::Append { prev, commit, frames, .. } => {
            let last = frames.last().map_or(prev.index, |frame| frame.last());
            [term, prev.index.0, last.0 ^ commit.0.rotate_left(32), 4]
        }
        Body::AppendAck { mark, matched, .. } => [term, mark.index.0, matched.0, 5],
        Body::AppendReject { prev, hint, .. } => [term, prev.0, hint.index.0, 6],
        Body::Stale => [term, 0, 0, 7],
        Body::SnapshotChunk { mark, offset, .. } => [term, mark.index.0, *offset, 8],
        Body::SnapshotAck { index, next_offset, .. } => [term, index.0, *next_offset, 9],
        Body::ReadIndex { id, .. } => [term, *id, 0, 10],
        Body::ReadIndexReply { id, index } => [term, *id, index.map_or(0, |index| index.0), 11],
        Body::TimeoutNow => [term, 0, 0, 12],
        Body::Commit { upto } => [term, upto.0, 0, 13],
    }
}

const fn of_campaign(campaign: Campaign) -> u64 {
    match campaign {
        Campaign::PreVote => 0,
        Campaign::Election => 1,
        Campaign::Transfer => 2,
    }
}
