//! Events and effects in words, for whoever tells of one agent alone (`replay`): without hosts, and
//! without what was under way between them.
//!
//! Invariants
//! - the words are those of the simulator's ladder.
use drover_core::agent::{Effect, Event};
use drover_core::types::ServerId;
use drover_core::wal::Operation;
use drover_core::wire::PeerId;

use super::command_words::{of_answer, of_request};
use super::names::Names;
use super::{raft_words, words};
use crate::durable;

/// What an agent was told; `None`: its name says nothing to a person.
pub(crate) fn of_event(event: &Event, names: &Names) -> Option<String> {
    Some(match event {
        Event::Booted(recovered) => words::of_start(recovered),
        Event::Received { from, message } => {
            format!("← {}  {}", peer(*from), words::of_message(message, names).text)
        }
        Event::LinkChanged { peer: whom, up } => {
            let word = if *up { "stands" } else { "is gone" };
            format!("link to {} {word}", peer(*whom))
        }
        Event::DiskDone { .. } | Event::Woken | Event::ChunkRead { .. } => return None,
        Event::DiskFailed { op, fault } => format!("DISK FAILS at write {} ({fault:?})", op.0),
        Event::Requested { id, request } => {
            format!("asks #{}: {}", id.0, of_request(request, names).0)
        }
        Event::Abandoned { id } => format!("whoever asked #{} goes away", id.0),
        Event::TaskChanged { key, change } => {
            format!("{} {}", names.task(*key), words::of_change(change))
        }
        Event::TaskAsked { alloc, ask, .. } => {
            format!("asked: {} {}", words::of_task_ask(ask), names.alloc(*alloc))
        }
        Event::Fingerprinted(spec) => format!("the machine {} is looked at", spec.name),
        Event::SnapshotSaved(mark) => {
            format!("snapshot {} is safe", raft_words::place(mark.position()))
        }
        Event::ChunkMissing { snapshot, .. } => {
            format!("snapshot {} is not there any more", snapshot.0)
        }
        Event::SnapshotLoaded { mark, .. } => {
            format!("goes on from snapshot {}", raft_words::place(mark.position()))
        }
        Event::SnapshotRefused { mark } => {
            format!("snapshot {} is not what it should be", mark.index.0)
        }
        Event::LeaveAsked => "it is told to go with grace".into(),
        Event::ChecksChanged { alloc, pass, .. } => words::of_checks(*alloc, *pass, names),
    })
}

/// What an agent wants; `None`: it says nothing to a person, or is told by its content.
pub(crate) fn of_effect(effect: &Effect, names: &Names) -> Option<String> {
    Some(match effect {
        Effect::Send { to, message } => {
            format!("→ {}  {}", peer(*to), words::of_message(message, names).text)
        }
        Effect::Disk { operation: Operation::Write { block, .. }, .. } => {
            let records = durable::raft_records(block);
            format!("writes {}", raft_words::of_records(&records, names)?)
        }
        Effect::Disk { operation: Operation::Prepare { segment, .. }, .. } => {
            format!("makes segment {}", segment.0)
        }
        Effect::Disk { operation: Operation::Remove { segment }, .. } => {
            format!("removes segment {}", segment.0)
        }
        Effect::Reply { id, answer } => format!("answers #{}: {}", id.0, of_answer(answer, names)),
        Effect::Dial { address } => format!("dials {address}"),
        Effect::Forget { address } => format!("does not look for {address} any more"),
        Effect::HangUp { peer: whom } => format!("hangs up on {}", peer(*whom)),
        Effect::StartTask { key, .. } => format!("start {}", names.task(*key)),
        Effect::ReattachTask { key, .. } => format!("reattach {}", names.task(*key)),
        Effect::StopTask { key, signal } => format!("stop {} ({signal})", names.task(*key)),
        Effect::SignalTask { key, signal } => format!("send {signal} to {}", names.task(*key)),
        Effect::KillTask { key } => format!("kill {}", names.task(*key)),
        Effect::DestroyAlloc { alloc, .. } => {
            format!("{}: its directory goes", names.alloc(*alloc))
        }
        Effect::Advertise { alloc, services, .. } => words::of_services(*alloc, services, names),
        Effect::Joined { cluster } => format!("belongs to cluster {:08x}", cluster.0 >> 96),
        Effect::Cut { position, .. } => {
            format!("snapshot {} begins", raft_words::place(*position))
        }
        Effect::LoadSnapshot { mark } => format!("snapshot {} is whole: load it", mark.index.0),
        Effect::Halt { reason } => format!("STOPS ITSELF: {reason}"),
        Effect::Departed { unfinished } => words::of_departure(unfinished.as_deref()),
        Effect::Committed { .. } | Effect::ReadChunk { .. } | Effect::StoreChunk { .. } => {
            return None;
        }
    })
}

/// Nobody has told what the others are called.
fn peer(peer: PeerId) -> String {
    match peer {
        PeerId::Server(ServerId(id)) | PeerId::Foreign(ServerId(id)) => format!("server {id:016x}"),
        PeerId::Client(node) => {
            let mut id = node.uuid().to_string();
            id.truncate(8);
            format!("node {id}")
        }
    }
}
