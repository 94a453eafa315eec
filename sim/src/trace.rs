//! The ladder: what happened, line by line in the order of time, for a person to read.
//!
//! It is written only when a run is run again to show how it failed: a run that is watched is the same
//! run.
//!
//! Invariants
//! - only the newest lines are kept.
use std::collections::VecDeque;

use drover_core::agent::{Effect, Event};
use drover_core::raft;
use drover_core::wire::Message;

use crate::clock::Moment;

/// Longest text of one line.
const LINE_BYTES_MAX: usize = 240;

/// The newest lines.
#[derive(Debug)]
pub struct Ladder {
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Ladder {
    /// A ladder of at most `lines_max` rungs.
    #[must_use]
    pub const fn new(lines_max: usize) -> Self {
        Self { lines: VecDeque::new(), lines_max }
    }

    /// One more line about `who`.
    pub fn push(&mut self, at: Moment, who: &str, text: &str) {
        let mut line = format!("{:>12} {who:>4}  {text}", at.to_string());
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        self.lines.push_back(line);
        if self.lines_max < self.lines.len() {
            self.lines.pop_front();
        }
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

/// An event in a few words. `None`: not worth a line.
#[must_use]
pub fn of_event(event: &Event) -> Option<String> {
    match event {
        Event::Received { from, message } => {
            of_message(message).map(|said| format!("← {from}  {said}"))
        }
        Event::Booted(recovered) => Some(format!(
            "boots  start {}  {} records  snapshot {:?}",
            recovered.incarnation.0,
            recovered.records.len(),
            recovered.snapshot.as_ref().map(|(mark, _)| mark.index.0)
        )),
        Event::LinkChanged { peer, up } => {
            Some(format!("link to {peer} {}", if *up { "up" } else { "down" }))
        }
        Event::Woken => None,
        Event::SnapshotLoaded { mark, .. } => Some(format!("loads snapshot {}", mark.index.0)),
        Event::ChunkRead { .. } => None,
        Event::DiskDone { op } => Some(format!("disk done #{}", op.0)),
        Event::DiskFailed { .. }
        | Event::Requested { .. }
        | Event::Abandoned { .. }
        | Event::TaskChanged { .. }
        | Event::TaskAsked { .. }
        | Event::Fingerprinted(_)
        | Event::SnapshotSaved(_)
        | Event::ChunkMissing { .. }
        | Event::SnapshotRefused { .. } => Some(format!("{event:?}")),
    }
}

/// An effect in a few words. `None`: not worth a line.
#[must_use]
pub fn of_effect(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Send { to, message } => of_message(message).map(|said| format!("→ {to}  {said}")),
        Effect::Disk { op, operation } => match operation {
            drover_core::wal::Operation::Write { block, .. } => {
                Some(format!("write #{}  {} bytes", op.0, block.len()))
            }
            drover_core::wal::Operation::Prepare { .. }
            | drover_core::wal::Operation::Remove { .. } => Some(format!("{operation:?}")),
        },
        Effect::StartTask { key, .. } => Some(format!("start {key:?}")),
        Effect::ReattachTask { key, .. } => Some(format!("reattach {key:?}")),
        Effect::Committed { frame } => {
            Some(format!("commits {}/{} ({} entries)", frame.term.0, frame.last().0, frame.count()))
        }
        Effect::ReadChunk { .. } | Effect::StoreChunk { .. } => None,
        Effect::Reply { .. }
        | Effect::Dial { .. }
        | Effect::HangUp { .. }
        | Effect::StopTask { .. }
        | Effect::SignalTask { .. }
        | Effect::KillTask { .. }
        | Effect::DestroyAlloc { .. }
        | Effect::Joined { .. }
        | Effect::Cut { .. }
        | Effect::LoadSnapshot { .. }
        | Effect::Halt { .. } => Some(format!("{effect:?}")),
    }
}

fn of_message(message: &Message) -> Option<String> {
    match message {
        Message::Raft(raft::Message { term, body }) => {
            let term = term.0;
            match body {
                raft::Body::Append { prev, commit, frames, .. } => {
                    let last = frames.last().map_or(prev.index, |frame| frame.last());
                    Some(format!(
                        "append      term {term}  {}/{}..{}  commit {}",
                        prev.term.0, prev.index.0, last.0, commit.0
                    ))
                }
                raft::Body::AppendAck { mark, matched, .. } => Some(format!(
                    "ack         term {term}  durable {}  matched {}",
                    mark.index.0, matched.0
                )),
                raft::Body::SnapshotChunk { mark, offset, .. } => {
                    Some(format!("chunk       term {term}  snapshot {} at {offset}", mark.index.0))
                }
                raft::Body::RequestVote { .. }
                | raft::Body::Vote { .. }
                | raft::Body::AppendReject { .. }
                | raft::Body::Commit { .. }
                | raft::Body::Stale
                | raft::Body::SnapshotAck { .. }
                | raft::Body::ReadIndex { .. }
                | raft::Body::ReadIndexReply { .. }
                | raft::Body::TimeoutNow => Some(format!("term {term}  {body:?}")),
            }
        }
        Message::Gossip(_) => None,
        Message::Ask { .. }
        | Message::Answer { .. }
        | Message::Sighting { .. }
        | Message::Cut { .. }
        | Message::FromNode(_)
        | Message::ToNode(_) => Some(format!("{message:?}")),
    }
}

/// The event's kind, for the digest of a run.
#[must_use]
pub const fn kind_of(event: &Event) -> u8 {
    match event {
        Event::Booted(_) => 1,
        Event::Received { .. } => 2,
        Event::LinkChanged { .. } => 3,
        Event::DiskDone { .. } => 4,
        Event::DiskFailed { .. } => 5,
        Event::Requested { .. } => 6,
        Event::Abandoned { .. } => 7,
        Event::TaskChanged { .. } => 8,
        Event::TaskAsked { .. } => 9,
        Event::Fingerprinted(_) => 10,
        Event::SnapshotSaved(_) => 11,
        Event::ChunkRead { .. } => 12,
        Event::ChunkMissing { .. } => 13,
        Event::SnapshotLoaded { .. } => 14,
        Event::SnapshotRefused { .. } => 15,
        Event::Woken => 16,
    }
}
