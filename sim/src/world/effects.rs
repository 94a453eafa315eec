//! What an agent wants done, done by the simulated machine.
//!
//! Invariants
//! - effects of different kinds finish in any order; operations on segments and on one task keep theirs.
use std::sync::Arc;

use drover_core::agent::snapshot::Loaded;
use drover_core::agent::{Effect, Event};
use drover_core::client::ServerMessage;
use drover_core::digest::Digest;
use drover_core::raft::{
    Ballot, Body, Campaign, Chunk, Configuration, Frame, Payload, Position, SnapshotMark,
};
use drover_core::types::{
    AllocId, ClientStatus, ClusterId, Incarnation, Index, NodeStatus, ServerId, TaskKey, TaskStart,
};
use drover_core::wal::{OpId, Operation};
use drover_core::wire::{Message, PeerId};

use super::{Happening, World};
use crate::checkers::state_machine_safety::Seen;
use crate::checkers::{
    Verdict, Violation, check_tables, committed_is_durable, named, queues_are_bounded,
};
use crate::clock::Moment;
use crate::drivers::{Behaviour, Turn};
use crate::network::HostId;

/// A server that lost its disk may have been counted this long before.
const WIPE_EXCUSED_MS: u64 = 2_000;

impl World {
    pub(super) fn carry_out(&mut self, host: HostId, effect: Effect) -> Result<(), Violation> {
        if self.hosts[host.0].agent.is_none() {
            return Ok(());
        }
        match effect {
            Effect::Send { to, message } => return self.send(host, to, message),
            Effect::Disk { op, operation } => self.write_disk(host, op, operation),
            Effect::Reply { id, answer } => return self.take_answer(host, id, &answer),
            Effect::Dial { address } => {
                if let Some(to) = self.place_at(&address) {
                    self.network.dial(&mut self.queue, host, to);
                }
            }
            Effect::Forget { address } => {
                if let Some(to) = self.place_at(&address) {
                    self.network.forget(host, to);
                }
            }
            Effect::HangUp { peer } => {
                if let Some(peer) = self.host_of(peer) {
                    self.network.break_link(&mut self.queue, host, peer);
                }
            }
            Effect::StartTask { key, start } => return self.start_task(host, key, &start),
            Effect::ReattachTask { key, .. } => {
                self.counters.tasks_reattached += 1;
                let change = self.hosts[host.0].drivers.reattach(key);
                self.checkers.stopped_for_a_reason.on_task_changed(key, &change);
                self.tell_task(host, Event::TaskChanged { key, change });
            }
            Effect::StopTask { key, .. } => {
                self.look_at_stop(key)?;
                let turn = self.hosts[host.0].drivers.stop(key);
                self.plan_turn(host, key, turn);
            }
            Effect::KillTask { key } => {
                self.look_at_stop(key)?;
                let turn = self.hosts[host.0].drivers.kill(key);
                self.plan_turn(host, key, turn);
            }
            // Nobody asks for signals here.
            Effect::SignalTask { .. } => (),
            Effect::DestroyAlloc { alloc, .. } => {
                let destroyed = self.hosts[host.0].drivers.destroy(alloc);
                return named("alloc_runs_once", destroyed);
            }
            Effect::Advertise { alloc, round, services, .. } => {
                self.checkers.advertised_is_running.on_advertised(host, alloc, &services);
                if services.iter().any(|service| !service.checks.is_empty()) {
                    self.check_services(host, alloc, round);
                }
            }
            Effect::Joined { cluster } => return self.join(host, cluster),
            // Looked at before anything was carried out.
            Effect::Committed { .. } => (),
            Effect::Cut { position, configuration, digest } => {
                return self.write_snapshot(host, position, (&configuration, digest));
            }
            Effect::ReadChunk { to, snapshot, offset, bytes_max } => {
                let event = self.read_chunk(host, to, (snapshot, offset, bytes_max));
                self.tell(host, event);
            }
            Effect::StoreChunk { mark, offset, bytes } => {
                self.hosts[host.0].store_chunk(*mark, offset, &bytes);
            }
            Effect::LoadSnapshot { mark } => {
                let (at, incarnation) = self.when_disk_is_done(host);
                self.queue.push(at, Happening::Load { host, incarnation, mark });
            }
            Effect::Halt { reason } => return self.halt(host, reason),
            Effect::Departed { unfinished } => return self.depart(host, unfinished.is_some()),
        }
        Ok(())
    }

    fn send(&mut self, host: HostId, to: PeerId, message: Message) -> Result<(), Violation> {
        let sender = &self.hosts[host.0];
        if let (true, PeerId::Server(to), Message::Raft(said)) = (sender.is_server(), to, &message)
        {
            if let Body::Vote { campaign, asked, ballot: Ballot::Granted } = &said.body
                && *campaign != Campaign::PreVote
            {
                let durable = sender.disk.log.hard_state;
                if let PeerId::Server(voter) = sender.peer {
                    let kept = self.checkers.vote_is_kept.on_granted(voter, *asked, to, durable);
                    named("vote_is_kept", kept)?;
                }
            }
            if let Body::Commit { .. } | Body::Append { .. } = &said.body
                && let Some(raft) = sender.agent.as_ref().and_then(|agent| agent.raft())
            {
                self.told_by = Some((said.term, raft.configuration().clone()));
            }
            if let Body::AppendAck { mark, .. } = &said.body {
                let durable = sender.disk.log.last_index();
                let safe = committed_is_durable::check_acknowledged(mark.index, durable);
                named("committed_is_durable", safe)?;
            }
        }
        if let (PeerId::Server(server), PeerId::Client(node)) = (sender.peer, to)
            && let Message::ToNode(ServerMessage::Probe) = message
        {
            self.checkers.down_only_if_sought.on_probe(self.queue.now(), server, node);
        }
        if let Some(to) = self.host_of(to) {
            self.network.send(&mut self.queue, &mut self.counters, (host, to), message);
        }
        Ok(())
    }

    /// Before anything else is done: what the agent says is committed, and what waits in it.
    pub(super) fn look_at_commits(
        &mut self,
        host: HostId,
        effects: &[Effect],
    ) -> Result<(), Violation> {
        for effect in effects {
            if let Effect::Committed { frame } = effect
                && self.hosts[host.0].is_server()
            {
                self.look_at_commit(host, frame)?;
            }
        }
        self.look_at_queues(host)
    }

    fn look_at_commit(&mut self, host: HostId, frame: &Arc<Frame>) -> Result<(), Violation> {
        let raft = self.hosts[host.0].agent.as_ref().and_then(|agent| agent.raft());
        let Some(raft) = raft else { return Ok(()) };
        if self.checkers.on_committed(raft.term(), frame)? == Seen::Again {
            return Ok(());
        }
        self.shadow.on_committed(frame, &mut self.checkers.stopped_for_a_reason)?;
        self.look_for_restores();
        let raft = self.hosts[host.0].agent.as_ref().and_then(|agent| agent.raft());
        let Some(raft) = raft else { return Ok(()) };
        self.counters.entries_committed += u64::from(frame.count());
        self.counters.voters_changed +=
            u64::from(matches!(frame.payload, Payload::Configuration(_)));
        // Which configuration counted depends on when its leader counted, and with which entry after it.
        let at = frame.position();
        let mut counted =
            (at.index.0..=raft.last_index().0).map(|at| raft.configuration_at(Index(at)));
        let now = self.check_durable(at, raft.configuration());
        let safe = now.or_else(|why| {
            counted.find(|by| self.check_durable(at, by).is_ok()).map_or(Err(why), |_| Ok(()))
        });
        // A leader counts by a configuration that this server may not have heard of yet.
        let told = self.told_by.as_ref().filter(|(term, _)| *term == raft.term());
        let safe = safe.or_else(|why| told.map_or(Err(why), |(_, by)| self.check_durable(at, by)));
        named("committed_is_durable", safe)
    }

    /// A majority of the voters, of both kinds while the configuration is joint, holds it on disk.
    fn check_durable(&self, at: Position, configuration: &Configuration) -> Verdict {
        // Whoever lost its disk just now may have been counted before.
        let excused = usize::from(self.queue.now().ms_since(self.wiped_at) < WIPE_EXCUSED_MS);
        for voters in [&configuration.voters, &configuration.outgoing] {
            let hosts = voters.iter().filter_map(|&voter| self.host_of(PeerId::Server(voter)));
            let holding = hosts.filter(|host| self.hosts[host.0].disk.log.holds(at)).count();
            if !voters.is_empty() {
                let holding = (holding + excused).min(voters.len());
                committed_is_durable::check_committed(at, holding, voters.len())?;
            }
        }
        Ok(())
    }

    fn look_at_queues(&self, host: HostId) -> Result<(), Violation> {
        let agent = self.hosts[host.0].agent.as_ref();
        let bounded = agent.map_or(Ok(()), |agent| queues_are_bounded::check(agent));
        named("queues_are_bounded", bounded)
    }

    fn look_at_stop(&self, key: TaskKey) -> Result<(), Violation> {
        let committed = self.shadow.state();
        let reason = self.checkers.stopped_for_a_reason.on_task_stopped(committed, key);
        named("stopped_for_a_reason", reason)?;
        let hidden = self.checkers.advertised_is_running.on_stopped(committed, key);
        named("advertised_is_running", hidden)
    }

    fn write_disk(&mut self, host: HostId, op: OpId, operation: Operation) {
        let now = self.queue.now();
        let writer = &mut self.hosts[host.0];
        let us = writer.draw_disk_us(&self.plan.knobs);
        let mut at = now.plus_us(us);
        let is_write = matches!(operation, Operation::Write { .. });
        match operation {
            Operation::Write { .. } => (),
            Operation::Prepare { .. } | Operation::Remove { .. } => {
                at = at.max(writer.segments_free_at);
                writer.segments_free_at = at;
            }
        }
        writer.disk.submit(op, operation);
        let incarnation = writer.incarnation;
        self.queue.push(at, Happening::Disk { host, incarnation, op });
        if is_write {
            self.strike_during_write(host, us);
        }
    }

    pub(super) fn finish_disk(
        &mut self,
        host: HostId,
        incarnation: Incarnation,
        op: OpId,
    ) -> Result<(), Violation> {
        if !self.is_current(host, incarnation) {
            return Ok(());
        }
        let writer = &mut self.hosts[host.0];
        let mut rng = writer.rng.fork("tear").fork_number(op.0);
        match writer.disk.complete(op, &mut rng) {
            Some(Ok(())) => self.step(host, Event::DiskDone { op }),
            Some(Err(fault)) => {
                writer.may_halt = true;
                self.counters.disk_faults += 1;
                self.step(host, Event::DiskFailed { op, fault })
            }
            None => Ok(()),
        }
    }

    fn halt(&mut self, host: HostId, reason: String) -> Result<(), Violation> {
        let halted = &self.hosts[host.0];
        if !halted.may_halt {
            let message = format!("{} stops itself: {reason}", halted.name);
            return Err(Violation { checker: "halt", message });
        }
        self.counters.halts += 1;
        let for_ms = self.rng.between(500, 8_000);
        self.take_down(host, for_ms)
    }

    fn join(&mut self, host: HostId, cluster: ClusterId) -> Result<(), Violation> {
        let joined = &mut self.hosts[host.0];
        let before = std::mem::replace(&mut joined.cluster, cluster);
        if before == ClusterId::default() || before == cluster {
            return Ok(());
        }
        let message = format!("{} left {before:?} for {cluster:?}", joined.name);
        Err(Violation { checker: "one_cluster", message })
    }

    /// When the disk has read or written a file, for whichever agent is there now.
    fn when_disk_is_done(&mut self, host: HostId) -> (Moment, Incarnation) {
        let owner = &mut self.hosts[host.0];
        let us = 4 * owner.draw_disk_us(&self.plan.knobs);
        (self.queue.now().plus_us(us), owner.incarnation)
    }

    fn tell(&mut self, host: HostId, event: Event) {
        let (at, incarnation) = self.when_disk_is_done(host);
        self.queue.push(at, Happening::Tell { host, incarnation, event: Box::new(event) });
    }

    fn write_snapshot(
        &mut self,
        host: HostId,
        position: Position,
        (configuration, digest): (&Configuration, Digest),
    ) -> Result<(), Violation> {
        self.counters.cuts += 1;
        let cut = self.shadow.cut(position, configuration, digest);
        let (mark, bytes) =
            cut.map_err(|message| Violation { checker: "shadow_agrees", message })?;
        let (at, incarnation) = self.when_disk_is_done(host);
        let mark = Box::new(mark);
        self.queue.push(at, Happening::Saved { host, incarnation, mark, bytes });
        Ok(())
    }

    fn read_chunk(
        &self,
        host: HostId,
        to: ServerId,
        (snapshot, offset, bytes_max): (Index, u64, u64),
    ) -> Event {
        let Some((_, bytes)) = self.hosts[host.0].snapshots.get(&snapshot) else {
            return Event::ChunkMissing { to, snapshot };
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes = Arc::from(&bytes[from..bytes.len().min(from.saturating_add(length))]);
        Event::ChunkRead { to, chunk: Chunk { snapshot, offset, bytes } }
    }

    pub(super) fn load(
        &mut self,
        host: HostId,
        incarnation: Incarnation,
        mark: SnapshotMark,
    ) -> Result<(), Violation> {
        if !self.is_current(host, incarnation) {
            return Ok(());
        }
        let owner = &mut self.hosts[host.0];
        let received = owner.incoming.take().map(|(_, bytes)| bytes);
        let whole = received.filter(|bytes| Digest::of(bytes) == mark.digest);
        let Some(bytes) = whole else {
            return self.step(host, Event::SnapshotRefused { mark });
        };
        let bytes: Arc<[u8]> = bytes.into();
        owner.keep_snapshot(mark.clone(), Arc::clone(&bytes));
        let index = mark.index;
        let snapshot = Loaded::read(Arc::clone(&bytes)).expect("invariant: a server wrote it");
        self.step(host, Event::SnapshotLoaded { mark, snapshot })?;
        let owner = &mut self.hosts[host.0];
        let state = owner.agent.as_ref().and_then(|agent| agent.state());
        if state.is_some_and(|state| state.index() == index) {
            self.counters.snapshots_installed += 1;
        }
        Ok(())
    }

    fn start_task(
        &mut self,
        host: HostId,
        key: TaskKey,
        start: &TaskStart,
    ) -> Result<(), Violation> {
        let behaviour = Behaviour::draw(&self.plan, key, start.spec.kind, self.has_healed);
        let capacity = start.spec.group.capacity().unwrap_or_default();
        let planned = self.hosts[host.0].drivers.start(key, capacity, behaviour);
        let turn = planned.map_err(|message| Violation { checker: "alloc_runs_once", message })?;
        self.plan_turn(host, key, Some(turn));
        Ok(())
    }

    pub(super) fn turn_task(
        &mut self,
        host: HostId,
        key: TaskKey,
        turn: Turn,
    ) -> Result<(), Violation> {
        let came = self.hosts[host.0].drivers.come(key, turn);
        if came.has_begun {
            self.counters.tasks_started += 1;
            self.watch_task(host, key, true);
            let once = self.checkers.alloc_runs_once.on_begun(host, key);
            named("alloc_runs_once", once)?;
        }
        if came.has_ended {
            self.watch_task(host, key, false);
            self.checkers.alloc_runs_once.on_ended(key);
        }
        self.plan_turn(host, key, came.next);
        if let Some(change) = came.told {
            self.checkers.stopped_for_a_reason.on_task_changed(key, &change);
            self.counters.tasks_failed +=
                u64::from(matches!(change, drover_core::types::TaskChange::StartFailed { .. }));
            self.tell_task(host, Event::TaskChanged { key, change });
        }
        Ok(())
    }

    /// Consul asks what stands there, and comes to like it; seldom later than a deployment waits for.
    fn check_services(&mut self, host: HostId, alloc: AllocId, round: u32) {
        let owner = &mut self.hosts[host.0];
        let is_late = owner.rng.chance(50) && !self.has_healed;
        let ms =
            if is_late { owner.rng.between(15_000, 30_000) } else { owner.rng.between(50, 2_000) };
        let event = Event::ChecksChanged { alloc, round, pass: true };
        let incarnation = owner.incarnation;
        let at = self.queue.now().plus_ms(ms);
        self.queue.push(at, Happening::Tell { host, incarnation, event: Box::new(event) });
    }

    fn plan_turn(&mut self, host: HostId, key: TaskKey, turn: Option<(u64, Turn)>) {
        if let Some((us, turn)) = turn {
            self.queue.push(self.queue.now().plus_us(us), Happening::Task { host, key, turn });
        }
    }

    /// Drivers tell in the order in which things happened.
    fn tell_task(&mut self, host: HostId, event: Event) {
        let incarnation = self.hosts[host.0].incarnation;
        let at = self.queue.now().plus_us(100);
        self.queue.push(at, Happening::Tell { host, incarnation, event: Box::new(event) });
    }

    /// Once in a while the whole tables of whoever leads, if an entry has changed them since.
    pub(super) fn look_at_tables(&mut self) -> Result<(), Violation> {
        let Some(leader) = self.leader() else { return Ok(()) };
        self.mark_servers(leader);
        if self.mark_tables(leader) {
            return Ok(());
        }
        let agent = self.hosts[leader.0].agent.as_ref();
        let Some(state) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        let down = state.nodes().filter(|node| node.status == NodeStatus::Down).count();
        let lost = state.allocs().filter(|a| a.client_status == ClientStatus::Lost).count();
        self.counters.nodes_down += down as u64;
        self.counters.allocs_lost += lost as u64;
        self.counters.evals_blocked += state.blocked_evals().count() as u64;
        self.counters.on_jobs(state.jobs());
        named("checks_had_passed", self.checkers.checks_had_passed.check(state))?;
        check_tables(state, &self.counters)
    }
}
