//! Committed frames to the state, and what follows from that; records to the disk, and back.
//!
//! Invariants
//! - entries are applied in the order of the log, each once;
//! - whoever waits for an entry is answered only when it has been applied.
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::boot::{raft_record_end, raft_record_room};
use super::lead::Settled;
use super::snapshot::Loaded;
use super::{Agent, Effect, Effects};
use crate::api::{Rejection, Response};
use crate::assign::{self, Assign};
use crate::client::ClientRecord;
use crate::emit::Emit;
use crate::fsm::record::decode_batch;
use crate::fsm::{self, Outcome};
use crate::proposals::Origin;
use crate::raft::{self, Frame, Payload, Position, SnapshotMark};
use crate::state::{Change, State};
use crate::time::MonoTime;
use crate::types::{Index, WriteSeq};
use crate::wal::{Fault, Lane};
use crate::wire::{Message, PeerId};

impl Agent {
    pub(super) fn apply_frame(&mut self, frame: Arc<Frame>, effects: &mut Effects) {
        let Some(server) = &mut self.server else { return };
        let mut changes = Vec::new();
        let cluster_before = server.state.cluster();
        match &frame.payload {
            Payload::Noop | Payload::Configuration(_) => server.state.pass(frame.first),
            Payload::Commands { .. } => self.apply_entries(&frame, &mut changes, effects),
        }
        self.spread(changes);
        let Some(server) = &mut self.server else { return };
        let cluster = server.state.cluster();
        if cluster != cluster_before {
            server.gossip.on_cluster(self.now, cluster);
            self.tell_wan(|now, wan, _| wan.on_cluster(now, cluster));
            effects.list.push(Effect::Joined { cluster });
        }
        let Some(server) = &mut self.server else { return };
        let is_cut = server.state.note_log_bytes(frame.cost_bytes());
        let position = frame.position();
        effects.list.push(Effect::Committed { frame });
        if is_cut {
            self.cut(position, effects);
        }
    }

    fn apply_entries(&mut self, frame: &Frame, changes: &mut Vec<Change>, effects: &mut Effects) {
        let Payload::Commands { count, bytes } = &frame.payload else { return };
        let mut index = frame.first;
        for entry in decode_batch(bytes, *count) {
            let Some(server) = &mut self.server else { return };
            let outcome = match entry {
                Ok(entry) => fsm::apply(&mut server.state, index, &entry, changes),
                // A newer version wrote it: to skip it would be to have another state than the others.
                Err(fault) => {
                    let reason = alloc::format!(
                        "entry {} of the log is not known to this version ({fault:?}): upgrade it",
                        index.0
                    );
                    return effects.list.push(Effect::Halt { reason });
                }
            };
            let leader = server.leader.as_mut();
            let origin = leader.and_then(|leader| leader.proposals.on_applied(index));
            if let Some(origin) = origin {
                self.settle(origin, index, outcome, effects);
            }
            index = index.next();
        }
    }

    /// Tell whoever waits for the entry what it came to.
    fn settle(&mut self, origin: Origin, index: Index, outcome: Outcome, effects: &mut Effects) {
        match origin {
            Origin::Request(asked) => {
                self.send_answer(asked, answer_of(index, outcome), effects);
            }
            Origin::Plan(eval) => {
                let whole = matches!(outcome, Outcome::Applied { refused_placements: 0, .. });
                self.end_plan(eval, if whole { Settled::Whole } else { Settled::Refused });
            }
            Origin::Housekeeping => (),
            Origin::Garbage => self.note_garbage(&outcome),
        }
    }

    /// What an entry changed, to the machines that keep something that follows from it.
    fn spread(&mut self, changes: Vec<Change>) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let (state, mut touched) = (&server.state, BTreeSet::new());
        for change in changes {
            if state.has_waiters() {
                touched.extend(change.job(state));
            }
            match change {
                Change::Assigned(node) => server.assign.on_changed(now, node, &mut self.pending),
                Change::Node(node) if state.node(node).is_none() => {
                    server.assign.on_node_unknown(node);
                }
                Change::Node(_)
                | Change::Job(_)
                | Change::Eval(_)
                | Change::Alloc(_)
                | Change::Deployment(_)
                | Change::Pools
                | Change::Room(_)
                | Change::Operator => (),
                Change::Restored => assign_anew(now, state, &mut server.assign, &mut self.pending),
            }
            if let Some(leader) = &mut server.leader {
                leader.on_change(now, state, change, &mut self.pending);
            }
        }
        if let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) {
            leader.let_in(state, state.waiters_of(&touched), &mut self.pending);
        }
    }

    /// All servers cut after the same entry: the shadow writes the snapshot, the digests are compared.
    fn cut(&mut self, position: Position, effects: &mut Effects) {
        let Some(server) = &mut self.server else { return };
        let (index, digest) = (position.index, server.state.digest());
        server.cuts.on_digest(server.id, index, digest);
        let configuration = server.raft.configuration_at(index).clone();
        effects.list.push(Effect::Cut { position, configuration, digest });
        let message = Message::Cut { index, digest };
        for voter in server.raft.configuration().voters.clone() {
            if self.server.as_ref().is_some_and(|server| server.id != voter) {
                self.send(PeerId::Server(voter), message.clone(), effects);
            }
        }
    }

    /// Stops this server if a quorum says that its state is wrong.
    pub(super) fn check_cuts(&mut self, effects: &mut Effects) {
        let Some(server) = &mut self.server else { return };
        let voters = &server.raft.configuration().voters;
        if let Some(found) = server.cuts.divergence(server.id, voters) {
            let reason = alloc::format!(
                "this server's state at index {} is {}, a quorum's is {}: it is damaged. \
                 Move its data directory away and start it again; it will be restored from the others",
                found.index.0,
                found.own,
                found.theirs
            );
            effects.list.push(Effect::Halt { reason });
        }
    }

    /// A snapshot from another server takes the place of everything before its index.
    pub(super) fn adopt_snapshot(
        &mut self,
        mark: SnapshotMark,
        snapshot: Loaded,
        effects: &mut Effects,
    ) {
        let Some(server) = &mut self.server else { return };
        if server.state.index() < mark.index {
            assert_eq!(snapshot.state().index(), mark.index, "it holds what its name says");
            server.state = snapshot.into_state();
            let cluster = server.state.cluster();
            server.gossip.on_cluster(self.now, cluster);
            effects.list.push(Effect::Joined { cluster });
            assign_anew(self.now, &server.state, &mut server.assign, &mut self.pending);
            self.tell_wan(|now, wan, _| wan.on_cluster(now, cluster));
        }
        let Some(server) = &mut self.server else { return };
        server.raft.on_snapshot_installed(self.now, mark, &mut self.pending);
    }

    pub(super) fn persist_raft(&mut self, own: WriteSeq, record: &raft::Record) {
        let Some(disk) = &mut self.disk else { return };
        let seq = disk.journal.on_record(Lane::Raft, own);
        disk.journal.on_frame(seq, raft_record_end(record));
        let room = Vec::with_capacity(raft_record_room(record));
        let bytes = postcard::to_extend(record, room).expect("invariant: records always encode");
        disk.wal.append(seq, Lane::Raft, &bytes, &mut self.pending);
        if let Some(server) = self.server.as_mut().filter(|server| !server.raft.is_new()) {
            server.gossip.on_log_begun();
        }
    }

    pub(super) fn persist_client(&mut self, own: WriteSeq, record: &ClientRecord) {
        let Some(disk) = &mut self.disk else { return };
        let seq = disk.journal.on_record(Lane::Client, own);
        let bytes = postcard::to_allocvec(record).expect("invariant: records always encode");
        disk.wal.append(seq, Lane::Client, &bytes, &mut self.pending);
    }

    pub(super) fn note_durable(&mut self, upto: WriteSeq) {
        let at = self.moment();
        let Some(disk) = &mut self.disk else { return };
        let durable = disk.journal.on_durable(upto);
        disk.on_durable(at.now);
        if let (Some(server), Some(upto)) = (&mut self.server, durable.raft) {
            server.raft.on_persisted(self.now, upto, &mut self.pending);
        }
        if let (Some(client), Some(upto)) = (&mut self.client, durable.client) {
            client.on_persisted(at, upto, &mut self.pending);
        }
        disk.compact(&mut self.pending);
    }

    /// The records that may go now may hold the latest term and vote: these are written down again
    /// first. Blocks become durable in order, so the copy is safe before the original is given up.
    pub(super) fn compact_raft(&mut self, upto: Index) {
        let (Some(disk), Some(server)) = (&mut self.disk, &self.server) else { return };
        let seq = disk.journal.on_copy();
        let mut hard_state = server.raft.hard_state();
        if planted!(CompactionForgetsVote) {
            hard_state = raft::HardState::default();
        }
        let record = raft::Record::HardState(hard_state);
        let bytes = postcard::to_allocvec(&record).expect("invariant: records always encode");
        disk.wal.append(seq, Lane::Raft, &bytes, &mut self.pending);
        disk.journal.on_raft_compacted(upto);
        disk.compact(&mut self.pending);
    }

    pub(super) fn compact_client(&mut self, before: WriteSeq) {
        if let Some(disk) = &mut self.disk {
            disk.journal.on_client_compacted(before);
            disk.compact(&mut self.pending);
        }
    }

    pub(super) fn halt_for_disk(&self, fault: Fault, effects: &mut Effects) {
        let reason = match fault {
            Fault::Full => {
                "the disk is full: nothing more can be promised. Make room in the data directory's \
                 file system and start the agent again; nothing that was acknowledged is lost"
            }
            Fault::Io => {
                "the disk failed a write: what it holds is unknown, so nothing more can be promised. \
                 Look at the system's log, replace the disk if it is broken, and start the agent again"
            }
        };
        effects.list.push(Effect::Halt { reason: reason.into() });
    }

    pub(super) fn answer_read(tag: u64, read: Result<Index, ()>, effects: &mut Effects) {
        let id = crate::types::RequestId(tag);
        let answer = match read {
            Ok(index) => Ok(Response::ReadPoint { index }),
            Err(()) => Err(Rejection::NotLeader { leader: None }),
        };
        effects.list.push(Effect::Reply { id, answer });
    }
}

/// Another state has taken the place of the one that nodes were told of.
fn assign_anew(
    now: MonoTime,
    state: &State,
    assign: &mut Assign,
    out: &mut impl Emit<assign::Output>,
) {
    for node in state.nodes() {
        assign.on_changed(now, node.spec.id, out);
    }
}

/// What the caller hears. A repeated entry is answered as the first one was.
fn answer_of(index: Index, outcome: Outcome) -> Result<Response, Rejection> {
    match outcome {
        Outcome::Applied { eval, job, .. } => Ok(Response::Applied { index, eval, job }),
        Outcome::Refused(rejection) => Err(rejection),
        Outcome::Repeated { index, first } => answer_of(index, *first),
    }
}
