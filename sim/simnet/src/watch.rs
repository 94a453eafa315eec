//! Looks on at every step of every agent: writes the chain of all that happened, and checks.
//!
//! Invariants
//! - it only looks: an agent steps the same with it and without it.
use std::sync::Arc;

use drover_core::agent::{Agent, Effect, Effects, Event, Input};
use drover_core::client;
use drover_core::digest::Digest;
use drover_core::raft::{Ballot, Body, Campaign, Payload, Raft, Role};
use drover_core::time::MonoTime;
use drover_core::types::{Incarnation, ServerId};
use drover_core::wire::{Message, PeerId};
use drover_shell::recorder::InputLog;
use drover_sim::checkers::state_machine_safety::Seen;
use drover_sim::checkers::{
    Looked, Violation, at_rest, check_tables, committed_is_durable, named, queues_are_bounded,
};
use drover_sim::network::HostId;
use drover_sim::requests::is_struck_off;
use drover_sim::standing::Standing;

use crate::site::Now;
use crate::stage::{Book, Stage};

/// How often the tables are looked at whole.
const TABLES_LOOK_MS: u64 = 1_000;
/// Agents check themselves whole every so many steps.
const CHECK_EVERY: u64 = 500;

/// One in so many steps puts the agent's digest into the chain.
const CHAIN_AGENT_EVERY: u64 = 8;

/// The onlooker of one life.
pub struct Watch {
    stage: Arc<Stage>,
    host: HostId,
    peer: PeerId,
    incarnation: Incarnation,
    now: Now,
    /// What is one link of the chain: the input, and what came of it.
    link: Vec<u8>,
}

impl Watch {
    /// Of the life that `peer` begins on `host`.
    #[must_use]
    pub fn new(
        stage: Arc<Stage>,
        host: HostId,
        (peer, incarnation): (PeerId, Incarnation),
        now: Now,
    ) -> Self {
        Self { stage, host, peer, incarnation, now, link: Vec::new() }
    }

    fn look(&self, book: &mut Book, agent: &Agent, effects: &[Effect]) -> Result<(), Violation> {
        if book.steps.is_multiple_of(CHECK_EVERY) {
            agent.check_invariants();
        }
        named("queues_are_bounded", queues_are_bounded::check(agent))?;
        let PeerId::Server(server) = self.peer else { return Ok(()) };
        let Some((raft, state)) = agent.raft().zip(agent.state()) else { return Ok(()) };
        for effect in effects {
            if let Effect::Committed { frame } = effect
                && book.checkers.on_committed(raft.term(), frame)? == Seen::First
            {
                book.counters.entries_committed += u64::from(frame.count());
                book.counters.voters_changed +=
                    u64::from(matches!(frame.payload, Payload::Configuration(_)));
                book.fold(frame)?;
            }
        }
        let durable = self.durable();
        let looked = Looked {
            at: (self.now)(),
            server,
            incarnation: self.incarnation,
            agent,
            durable_term: durable.term,
        };
        let news = book.checkers.look(looked)?;
        book.counters.leader_changes += u64::from(news.has_won);
        for effect in effects {
            if let Effect::Send { to: PeerId::Server(to), message: Message::Raft(said) } = effect {
                self.look_at_promise(book, (server, *to), &said.body)?;
            }
            if let Effect::Send { to: PeerId::Client(node), message } = effect
                && let Message::ToNode(client::ServerMessage::Probe) = message
            {
                book.checkers.down_only_if_sought.on_probe((self.now)(), server, *node);
            }
        }
        match &mut book.standings[self.host.0] {
            Some(standing) => standing.follow(agent),
            none => *none = Standing::of(server, agent),
        }
        if !book.struck_off.is_empty() {
            look_for_the_struck_off(book, raft)?;
        }
        if raft.role() == Role::Leader
            && book.tables_seen_at.plus_ms(TABLES_LOOK_MS) <= (self.now)()
        {
            book.tables_seen_at = (self.now)();
            check_tables(state, &book.counters)?;
        }
        if book.wants_verdict && agent.is_open() {
            book.wants_verdict = false;
            book.verdict = Some(verdict(&self.stage, book, agent));
        }
        Ok(())
    }

    fn durable(&self) -> drover_core::raft::HardState {
        self.stage.machine(self.host).host.disk.log.hard_state
    }

    /// A vote or an acknowledgement is about to be said: what it rests on must be on the disk.
    fn look_at_promise(
        &self,
        book: &mut Book,
        (server, to): (ServerId, ServerId),
        body: &Body,
    ) -> Result<(), Violation> {
        match body {
            Body::Vote { campaign, asked, ballot: Ballot::Granted }
                if *campaign != Campaign::PreVote =>
            {
                let kept = &mut book.checkers.vote_is_kept;
                named("vote_is_kept", kept.on_granted(server, *asked, to, self.durable()))
            }
            Body::AppendAck { mark, .. } => {
                let durable = self.stage.machine(self.host).host.disk.log.last_index();
                let safe = committed_is_durable::check_acknowledged(mark.index, durable);
                named("committed_is_durable", safe)
            }
            _ => Ok(()),
        }
    }
}

/// Whoever was struck off stays away.
fn look_for_the_struck_off(book: &mut Book, raft: &Raft) -> Result<(), Violation> {
    let mut is_kept = Ok(());
    book.struck_off.retain(|&(server, index)| match is_struck_off(raft, server, index) {
        Some(true) => false,
        Some(false) => {
            is_kept = Err(format!("{server:?} was struck off by {index:?} and is there"));
            false
        }
        None => true,
    });
    named("order_is_kept", is_kept)
}

/// Whether everything has come to rest, by the tables of whoever leads.
fn verdict(stage: &Stage, book: &Book, agent: &Agent) -> Result<(), Violation> {
    let Some(state) = agent.state() else { return Ok(()) };
    let clients = stage.clients().iter().map(|(name, node)| (&**name, *node));
    at_rest::check_tables(state, clients, &book.checkers)?;
    let mut jobs = state.jobs().map(|job| &job.newest().spec.id);
    let shown = jobs.try_for_each(|job| book.checkers.no_lost_write.check_job(state, job));
    named("no_lost_write", shown)
}

impl InputLog for Watch {
    fn on_input(&mut self, input: &Input) {
        self.link.clear();
        self.link.extend_from_slice(&(self.host.0 as u64).to_le_bytes());
        let link = std::mem::take(&mut self.link);
        self.link = postcard::to_extend(input, link).expect("invariant: inputs encode");
        let mut book = self.stage.book();
        if let Some(ladder) = &mut book.ladder {
            ladder.on_event((self.now)(), &self.stage.machine(self.host).host, &input.event);
        }
        if let (
            PeerId::Server(server),
            Event::Received {
                from: PeerId::Client(node),
                message: Message::FromNode(client::NodeMessage::Heartbeat { .. }),
            },
        ) = (self.peer, &input.event)
        {
            book.checkers.down_only_after_ttl.on_heartbeat((self.now)(), server, *node);
        }
    }

    fn on_step(&mut self, agent: &Agent, effects: &Effects) {
        for effect in &effects.list {
            push_effect(&mut self.link, effect);
        }
        let stage = Arc::clone(&self.stage);
        let mut book = stage.book();
        book.steps += 1;
        // Agents differ for long once they differ.
        if book.steps.is_multiple_of(CHAIN_AGENT_EVERY) {
            self.link.extend_from_slice(&agent.digest().0.to_le_bytes());
        }
        self.link.extend_from_slice(&book.chain.0.to_le_bytes());
        book.chain = Digest::of(&self.link);
        if let Some(ladder) = &mut book.ladder {
            ladder.on_effects((self.now)(), &stage.machine(self.host).host, effects);
        }
        if let Err(violation) = self.look(&mut book, agent, &effects.list) {
            book.fail(violation);
        }
    }

    fn on_rest(&mut self, _: Option<MonoTime>) {}

    fn on_end(self: Box<Self>, _: &Agent) {}
}

/// What tells effects apart; what is sent is an input elsewhere, and there it is taken whole.
fn push_effect(link: &mut Vec<u8>, effect: &Effect) {
    match effect {
        Effect::Send { to, message } => {
            link.push(1);
            let number = match to {
                PeerId::Server(server) => u128::from(server.0),
                PeerId::Client(node) => node.0,
                PeerId::Foreign(server) => !u128::from(server.0),
            };
            link.extend_from_slice(&number.to_le_bytes());
            link.extend_from_slice(&(message.size_hint() as u64).to_le_bytes());
        }
        Effect::Disk { op, .. } => {
            link.push(2);
            link.extend_from_slice(&op.0.to_le_bytes());
        }
        other => {
            // Seldom: its form for people says all of it.
            link.push(3);
            link.extend_from_slice(format!("{other:?}").as_bytes());
        }
    }
}
