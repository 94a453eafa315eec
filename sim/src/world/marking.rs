//! Where marks are reached: at messages, events and effects, and in the tables.
//!
//! Invariants
//! - it only looks.
use drover_core::agent::{Effect, Event};
use drover_core::api::Rejection;
use drover_core::client::{NodeMessage, ServerMessage};
use drover_core::gossip::Status;
use drover_core::raft::{self, Ballot, Body, Campaign, Proof, Role};
use drover_core::state::State;
use drover_core::types::{
    ClientStatus, DesiredStatus, DrainStatus, EvalStatus, Index, JobKind, Migration, NodeStatus,
    TaskChange, Trigger,
};
use drover_core::wal::Fault;
use drover_core::wire::Message;

use super::World;
use crate::checkers::News;
use crate::host::Host;
use crate::marks::{Mark, Marks};
use crate::network::HostId;

/// What the tables were when they were last looked at, as far as marks need it.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Whose they were, and after which entry.
    looked_at: Option<(HostId, Index)>,
    had_down: bool,
    had_lost: bool,
    had_blocked: bool,
    evals: usize,
}

impl World {
    pub(super) fn mark_event(&mut self, event: &Event) {
        let marks = &mut self.marks;
        match event {
            Event::Booted(recovered) => marks.reach_if(
                recovered.snapshot.is_some() && !recovered.records.is_empty(),
                Mark::StartedFromSnapshot,
            ),
            Event::ChunkMissing { .. } => marks.reach(Mark::ChunkMissing),
            Event::DiskFailed { fault, .. } => marks.reach(match fault {
                Fault::Full => Mark::DiskFull,
                Fault::Io => Mark::WriteFailed,
            }),
            Event::TaskChanged { change, .. } => match change {
                TaskChange::Exited { exit_code, .. } => {
                    marks.reach_if(*exit_code != 0, Mark::TaskEndedBadly);
                }
                TaskChange::StartFailed { .. } => marks.reach(Mark::StartFailed),
                TaskChange::Lost => marks.reach(Mark::TaskLost),
                TaskChange::Started { .. } => (),
            },
            Event::Received { .. }
            | Event::LinkChanged { .. }
            | Event::DiskDone { .. }
            | Event::Requested { .. }
            | Event::Abandoned { .. }
            | Event::TaskAsked { .. }
            | Event::Fingerprinted(_)
            | Event::SnapshotSaved(_)
            | Event::SnapshotRefused { .. }
            | Event::ChunkRead { .. }
            | Event::SnapshotLoaded { .. }
            | Event::LeaveAsked
            | Event::Woken => (),
            Event::ChecksChanged { alloc, pass, .. } if *pass => {
                self.checkers.checks_had_passed.on_passed(*alloc);
            }
            Event::ChecksChanged { .. } => (),
        }
    }

    pub(super) fn mark_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { message, .. } => mark_message(&mut self.marks, message),
            Effect::KillTask { .. } => self.marks.reach(Mark::TaskKilled),
            Effect::ReattachTask { .. } => self.marks.reach(Mark::TasksReattached),
            _ => (),
        }
    }

    pub(super) fn mark_news(&mut self, host: HostId, news: News) {
        self.marks.reach_if(news.has_truncated, Mark::LogTruncated);
        self.marks.reach_if(news.has_stood_down, Mark::StoodDown);
        if !news.has_won {
            return;
        }
        let leads =
            |other: &Host| other.agent.as_ref().and_then(|agent| agent.raft()).is_some_and(leads);
        let is_beside_another = self.servers_up().any(|other| other.id != host && leads(other));
        self.marks.reach_if(is_beside_another, Mark::TwoLeaders);
        let raft = self.hosts[host.0].agent.as_ref().and_then(|agent| agent.raft());
        let is_joint = raft.is_some_and(|raft| raft.configuration().is_joint());
        self.marks.reach_if(is_joint, Mark::LeaderChangedWhileJoint);
    }

    /// Once in a while what whoever leads knows of servers.
    pub(super) fn mark_servers(&mut self, leader: HostId) {
        let agent = self.hosts[leader.0].agent.as_ref();
        let Some((agent, raft)) = agent.and_then(|agent| Some(agent).zip(agent.raft())) else {
            return;
        };
        let marks = &mut self.marks;
        let has_failed = agent.foreigners().any(|member| member.status == Status::Failed);
        marks.reach_if(has_failed, Mark::ForeignerFailed);
        let configuration = raft.configuration();
        marks.reach_if(configuration.is_joint(), Mark::JointConfiguration);
        marks.reach_if(!configuration.learners.is_empty(), Mark::Learner);
    }

    /// The same of what it has in its tables. Answers whether that is what it was the last time.
    pub(super) fn mark_tables(&mut self, leader: HostId) -> bool {
        let agent = self.hosts[leader.0].agent.as_ref();
        let Some(state) = agent.and_then(|agent| agent.state()) else { return true };
        let looked_at = Some((leader, state.index()));
        if looked_at == self.before.looked_at {
            return true;
        }
        let marks = &mut self.marks;
        let evals = state.evals().count();
        marks.reach_if(evals < self.before.evals, Mark::GarbageCollected);
        let mut now = Before { looked_at, evals, ..Before::default() };
        mark_nodes(marks, state, &mut now);
        mark_jobs(marks, state);
        mark_allocs(marks, state, &mut now);
        mark_evals(marks, state, &mut now);
        marks.reach_if(self.before.had_down && !now.had_down, Mark::NodeReturned);
        marks.reach_if(self.before.had_lost && !now.had_lost, Mark::LostAllocEnded);
        marks.reach_if(self.before.had_blocked && !now.had_blocked, Mark::EvalUnblocked);
        self.before = now;
        false
    }
}

fn leads(raft: &raft::Raft) -> bool {
    raft.role() == Role::Leader
}

fn mark_message(marks: &mut Marks, message: &Message) {
    match message {
        Message::Raft(said) => mark_raft(marks, said),
        Message::Ask { .. } => marks.reach(Mark::RequestForwarded),
        Message::Answer { answer: Err(Rejection::NotLeader { .. }), .. } => {
            marks.reach(Mark::ForwardRefused);
        }
        Message::Answer { answer: Err(Rejection::Overloaded { .. }), .. } => {
            marks.reach(Mark::RequestTurnedAway);
        }
        Message::FromNode(NodeMessage::AskFullSet) => marks.reach(Mark::FullSetAsked),
        Message::FromNode(NodeMessage::Heartbeat { is_behind: true, .. }) => {
            marks.reach(Mark::NodeBehind);
        }
        Message::ToNode(ServerMessage::Unregistered) => marks.reach(Mark::NodeForgotten),
        Message::ToNode(ServerMessage::Unavailable) => marks.reach(Mark::NodeUnserved),
        Message::LookedFor { silent, .. } => {
            marks.reach_if(silent.is_empty(), Mark::MissedNodeFound);
        }
        Message::Wan(_) => marks.reach(Mark::RegionsSpoke),
        Message::Answer { .. }
        | Message::Gossip(_)
        | Message::LookFor { .. }
        | Message::Sighting { .. }
        | Message::Cut { .. }
        | Message::FromNode(_)
        | Message::ToNode(_) => (),
    }
}

fn mark_raft(marks: &mut Marks, said: &raft::Message) {
    match &said.body {
        Body::RequestVote { campaign: Campaign::Election, .. } => marks.reach(Mark::ElectionHeld),
        Body::RequestVote { campaign: Campaign::Transfer, .. } => {
            marks.reach(Mark::TransferCampaign);
        }
        Body::Vote { campaign, ballot: Ballot::Refused, .. } => {
            let mark = match campaign {
                Campaign::PreVote => Mark::PreVoteRefused,
                Campaign::Election | Campaign::Transfer => Mark::VoteRefused,
            };
            marks.reach(mark);
        }
        Body::Append { frames, .. } => {
            marks.reach_if(1 < frames.iter().count(), Mark::FramesBatched);
            let is_old = frames.iter().next().is_some_and(|frame| frame.term < said.term);
            marks.reach_if(is_old, Mark::OldEntriesSent);
        }
        Body::AppendReject { .. } => marks.reach(Mark::AppendRejected),
        Body::Stale => marks.reach(Mark::StaleTold),
        Body::SnapshotChunk { offset, .. } => marks.reach_if(0 < *offset, Mark::SnapshotInParts),
        Body::ReadIndex { proof: Proof::Lease, .. } => marks.reach(Mark::ReadByLease),
        Body::ReadIndex { proof: Proof::Round, .. } => marks.reach(Mark::ReadByRound),
        Body::ReadIndexReply { index, .. } => marks.reach_if(index.is_none(), Mark::ReadRefused),
        Body::Commit { .. } => marks.reach(Mark::CommitTold),
        Body::RequestVote { .. }
        | Body::Vote { .. }
        | Body::AppendAck { .. }
        | Body::SnapshotAck { .. }
        | Body::TimeoutNow => (),
    }
}

fn mark_nodes(marks: &mut Marks, state: &State, now: &mut Before) {
    for node in state.nodes() {
        now.had_down |= node.status == NodeStatus::Down;
        marks.reach_if(!node.eligible, Mark::NodeIneligible);
        let last = node.last_drain.as_ref().map(|last| last.status);
        marks.reach_if(last == Some(DrainStatus::Complete), Mark::NodeDrained);
    }
    marks.reach_if(now.had_down, Mark::NodeDown);
}

fn mark_jobs(marks: &mut Marks, state: &State) {
    for job in state.jobs() {
        marks.reach_if(1 < job.versions.len(), Mark::SecondVersion);
        marks.reach_if(job.stopped, Mark::JobStopped);
        marks.reach_if(job.purged, Mark::JobPurged);
        let mut evals = state.evals_of_job(job.id).flat_map(|eval| eval.failures.values());
        let has_waited = evals.any(|failure| !failure.closed.is_empty());
        marks.reach_if(has_waited && !job.lineage.opened.is_empty(), Mark::GateOpened);
    }
}

fn mark_allocs(marks: &mut Marks, state: &State, now: &mut Before) {
    for alloc in state.allocs() {
        match alloc.client_status {
            ClientStatus::Lost => now.had_lost = true,
            ClientStatus::Failed => marks.reach(Mark::AllocFailed),
            ClientStatus::Complete => {
                let is_wanted = alloc.desired == DesiredStatus::Run;
                let job = state.job(alloc.job).filter(|_| is_wanted);
                let kind = job.map(|job| job.newest().spec.kind);
                marks.reach_if(kind == Some(JobKind::Batch), Mark::BatchComplete);
                marks.reach_if(kind == Some(JobKind::Sysbatch), Mark::SysbatchComplete);
            }
            ClientStatus::Pending | ClientStatus::Running => (),
        }
        marks.reach_if(!alloc.reschedules.is_empty(), Mark::AllocRescheduled);
        match alloc.migration {
            Migration::WhenReplaced => marks.reach_if(alloc.next.is_some(), Mark::AllocMigrated),
            Migration::AtOnce => marks.reach(Mark::AllocDrained),
            Migration::IfBetter { .. } => {
                marks.reach_if(alloc.next.is_some(), Mark::AllocRebalanced);
            }
            Migration::None | Migration::Chosen { .. } => {}
        }
        marks.reach_if(alloc.follow_up.is_some(), Mark::RescheduleDelayed);
        let is_wanted = alloc.desired == DesiredStatus::Run;
        let has_changed = alloc.create_index < alloc.assign_index;
        marks.reach_if(is_wanted && has_changed, Mark::UpdatedInPlace);
    }
    marks.reach_if(now.had_lost, Mark::AllocLost);
}

fn mark_evals(marks: &mut Marks, state: &State, now: &mut Before) {
    now.had_blocked = state.blocked_evals().next().is_some();
    marks.reach_if(now.had_blocked, Mark::EvalBlocked);
    for eval in state.evals() {
        marks.reach_if(eval.status == EvalStatus::Cancelled, Mark::EvalCancelled);
        marks.reach_if(eval.trigger == Trigger::PlanRefused, Mark::PlanRefused);
        marks.reach_if(eval.trigger == Trigger::Preemption, Mark::Preempted);
        marks.reach_if(eval.trigger == Trigger::RollingUpdate, Mark::UpdateStaggered);
        let is_of_node = eval.trigger == Trigger::NodeUpdate;
        let kind = state.job(eval.job).map(|job| job.newest().spec.kind);
        let is_everywhere = kind.is_some_and(JobKind::is_on_every_node);
        marks.reach_if(is_of_node && is_everywhere, Mark::SystemJobWoken);
    }
}
