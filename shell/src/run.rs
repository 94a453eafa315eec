//! THE loop: collect inputs, record them, step the agent, carry out its effects.
//!
//! It shares its thread with the transport and with nobody else. Everything else (disk threads, drivers,
//! HTTP) sends it `Inbox` items and takes what comes out; nothing here waits for any of them. What it
//! works with comes as `Parts`: whoever simulates a machine brings others.
//!
//! Invariants
//! - between two turns whoever shares the thread has one, and no turn is much longer than its longest step;
//! - an input is recorded before it is stepped, with the clocks read after it arrived;
//! - effects are carried out before the next input is taken.
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drover_core::agent::{Agent, Effect, Effects, Event, Input, TaskAsk, View};
use drover_core::api::{Rejection, Request, Response};
use drover_core::client::NodeMessage;
use drover_core::types::{Advert, AllocId, ClusterId, RequestId, TaskChange, TaskKey, Uuid};
use drover_core::wire::{Lane, Message, PeerId};
use quinn::{AsyncTimer, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::drivers::{DriverEvent, TaskStats};
use crate::operator_log::LeaderLog;
use crate::recorder::InputLog;
use crate::shadow::{self, News};
use crate::storage::{Completion, Disk};
use crate::tasks::Tasks;
use crate::transport::introduction::Claims;
use crate::transport::{Transport, TransportEvent};

mod received;
mod snapshots;

pub use received::Received;
pub use snapshots::{Background, SnapshotStore};

/// Items of one turn, after which the network has one.
pub const INPUTS_PER_TURN: usize = 256;
/// A turn ends earlier when its steps take long: what they said waits for the network until then.
const TURN_NS_MAX: u64 = 2_000_000;
/// Items that wait for the loop; whoever sends more waits.
pub const INBOX_MAX: usize = 16_384;

/// Everything that can be told to the loop.
#[derive(Debug)]
pub enum Inbox {
    Event(Event),
    /// A caller of the API; the answer goes back through the channel.
    Request {
        request: Request,
        answer: oneshot::Sender<Result<Response, Rejection>>,
    },
    Network(TransportEvent),
    Driver(DriverEvent),
    Disk(Completion),
    Shadow(News),
    View(oneshot::Sender<View>),
    Stats {
        alloc: AllocId,
        answer: oneshot::Sender<Vec<(String, TaskStats)>>,
    },
    /// All parts of a snapshot from another server were read.
    Snapshot(Received),
    /// End the loop.
    Stop(AtStop),
}

/// What becomes of the tasks when the agent ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtStop {
    /// They go on, and the next start finds them.
    LeaveTasks,
    /// They end with the agent.
    KillTasks,
}

/// Why the loop ended.
#[derive(Debug)]
pub enum End {
    Asked,
    /// The agent stopped itself; the reason says what to do.
    Halted(String),
    /// It was asked to go with grace, and has. `unfinished`: what is not as it should be.
    Left {
        unfinished: Option<String>,
    },
}

/// The callers' end of the loop.
#[derive(Clone, Debug)]
pub struct Core {
    inbox: mpsc::Sender<Inbox>,
}

/// Takes what stands of an alloc in the catalog, and in which round that was told.
pub type Advertise = dyn FnMut((AllocId, u32), Uuid, &[Advert]) + Send;

/// What the loop works with.
pub struct Parts {
    /// Whose timers wake the loop; its time goes as `clock`'s does.
    pub runtime: Arc<dyn Runtime>,
    pub clock: Arc<Clock>,
    pub transport: Transport,
    pub disk: Box<dyn Disk>,
    pub snapshots: Box<dyn SnapshotStore>,
    pub tasks: Option<Tasks>,
    /// Takes what the shadow must do, and returns at once.
    pub shadow: Option<Box<dyn FnMut(shadow::Work) + Send>>,
    pub inputs: Option<Box<dyn InputLog>>,
    /// Told once the cluster is known: to be written down.
    pub joined: Box<dyn FnMut(ClusterId) + Send>,
    /// Told what stands of an alloc, if there is a catalog; returns at once.
    pub advertise: Option<Box<Advertise>>,
}

impl Core {
    /// A handle, and the receiving end for `Loop::new`.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Inbox>) {
        let (inbox, receiver) = mpsc::channel(INBOX_MAX);
        (Self { inbox }, receiver)
    }

    /// Something for the loop, from a thread that may wait.
    pub fn tell_blocking(&self, item: Inbox) {
        let _the_loop_may_have_ended = self.inbox.blocking_send(item);
    }

    /// Something for the loop.
    pub async fn tell(&self, item: Inbox) {
        let _the_loop_may_have_ended = self.inbox.send(item).await;
    }

    /// Ask the control plane for something, and wait for the answer.
    ///
    /// # Errors
    /// The rejection; `Unknown` when the loop ends meanwhile.
    pub async fn request(&self, request: Request) -> Result<Response, Rejection> {
        let (answer, wait) = oneshot::channel();
        self.tell(Inbox::Request { request, answer }).await;
        wait.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// The agent's standing; `None` once the loop has ended.
    pub async fn view(&self) -> Option<View> {
        let (answer, wait) = oneshot::channel();
        self.tell(Inbox::View(answer)).await;
        wait.await.ok()
    }

    /// Passes on what the network tells, until it ends.
    pub async fn hear(self, mut network: mpsc::Receiver<TransportEvent>) {
        while let Some(event) = network.recv().await {
            self.tell(Inbox::Network(event)).await;
        }
    }

    /// What each running task of an alloc uses.
    pub async fn stats(&self, alloc: AllocId) -> Vec<(String, TaskStats)> {
        let (answer, wait) = oneshot::channel();
        self.tell(Inbox::Stats { alloc, answer }).await;
        wait.await.unwrap_or_default()
    }

    /// An operator wants something of a task that runs here.
    pub async fn ask_task(&self, alloc: AllocId, task: Option<String>, ask: TaskAsk) {
        self.tell(Inbox::Event(Event::TaskAsked { alloc, task, ask })).await;
    }
}

/// The loop and all it works with.
pub struct Loop {
    agent: Agent,
    effects: Effects,
    parts: Parts,
    inbox: mpsc::Receiver<Inbox>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Response, Rejection>>>,
    request_last: RequestId,
    /// Wakes the loop when nothing else does; made when it is first needed.
    timer: Option<Pin<Box<dyn AsyncTimer>>>,
    leader_log: LeaderLog,
    /// The message that was sent last.
    encoded: Option<(Message, Bytes)>,
    /// Clients that became nodes by a token which names a pool.
    introduced: BTreeMap<PeerId, Claims>,
}

impl Loop {
    /// `first` are the events that come before all others: `Booted`, and the fingerprint.
    #[must_use]
    pub fn new(agent: Agent, parts: Parts, inbox: mpsc::Receiver<Inbox>) -> Self {
        Self {
            agent,
            effects: Effects::default(),
            parts,
            inbox,
            waiting: BTreeMap::new(),
            request_last: RequestId(0),
            timer: None,
            leader_log: LeaderLog::default(),
            encoded: None,
            introduced: BTreeMap::new(),
        }
    }

    /// Run until asked to stop or halted.
    pub async fn run(mut self, first: Vec<Event>) -> End {
        for event in first {
            if let ControlFlow::Break(end) = self.step(event) {
                return end;
            }
        }
        loop {
            // The network has this thread, too: however much there is to do here, it gets its turns.
            tokio::task::yield_now().await;
            let end = match self.next().await {
                Some(item) => self.turn(item),
                None => self.step(Event::Woken),
            };
            if let Some(inputs) = &mut self.parts.inputs {
                inputs.on_rest(self.effects.wake.map(|wake| wake.at));
            }
            if let ControlFlow::Break(end) = end {
                // Whoever waits for room gives up: the disk's threads are waited for when they are dropped.
                self.inbox.close();
                if let Some(inputs) = self.parts.inputs.take() {
                    inputs.on_end(&self.agent);
                }
                return end;
            }
        }
    }

    /// The next item; `None` when the agent's deadline comes first.
    async fn next(&mut self) -> Option<Inbox> {
        let the_end = Inbox::Stop(AtStop::LeaveTasks);
        match self.inbox.try_recv() {
            Ok(item) => return Some(item),
            Err(mpsc::error::TryRecvError::Disconnected) => return Some(the_end),
            Err(mpsc::error::TryRecvError::Empty) => (),
        }
        let Some(wake) = self.effects.wake else {
            return self.inbox.recv().await.or(Some(the_end));
        };
        let left_ns = wake.at.ns.saturating_sub(self.parts.clock.mono().ns);
        if left_ns == 0 {
            return None;
        }
        let runtime = &self.parts.runtime;
        let deadline = runtime.now() + Duration::from_nanos(left_ns);
        let timer = self.timer.get_or_insert_with(|| runtime.new_timer(deadline));
        timer.as_mut().reset(deadline);
        tokio::select! {
            biased;
            item = self.inbox.recv() => item.or(Some(the_end)),
            () = poll_fn(|context| timer.as_mut().poll(context)) => None,
        }
    }

    /// One item and those right behind it.
    fn turn(&mut self, first: Inbox) -> ControlFlow<End> {
        let end = self.parts.clock.mono().ns + TURN_NS_MAX;
        self.take(first)?;
        for _ in 1..INPUTS_PER_TURN {
            if end < self.parts.clock.mono().ns {
                break;
            }
            let Ok(item) = self.inbox.try_recv() else { break };
            self.take(item)?;
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, item: Inbox) -> ControlFlow<End> {
        match item {
            Inbox::Event(event) => self.step(event),
            Inbox::Request { request, answer } => {
                self.request_last = RequestId(self.request_last.0 + 1);
                let id = self.request_last;
                self.waiting.insert(id, answer);
                self.step(Event::Requested { id, request })
            }
            Inbox::Network(event) => self.take_network(event),
            Inbox::Driver(event) => {
                let told = self.parts.tasks.as_mut().and_then(|tasks| tasks.on_event(event));
                told.map_or(ControlFlow::Continue(()), |told| self.step_task(told))
            }
            Inbox::Disk(completion) => self.take_completion(completion),
            Inbox::Shadow(News::Saved(mark)) => self.step(Event::SnapshotSaved(mark)),
            Inbox::Shadow(News::Failed(why)) => ControlFlow::Break(End::Halted(why)),
            Inbox::Snapshot(received) => self.take_snapshot(received),
            Inbox::View(answer) => {
                let _asker_may_be_gone = answer.send(self.agent.view());
                ControlFlow::Continue(())
            }
            Inbox::Stats { alloc, answer } => {
                let stats = self.parts.tasks.as_ref().map(|tasks| tasks.stats(alloc));
                let _asker_may_be_gone = answer.send(stats.into_iter().flatten().collect());
                ControlFlow::Continue(())
            }
            Inbox::Stop(tasks) => {
                if let (Some(running), AtStop::KillTasks) = (&self.parts.tasks, tasks) {
                    running.kill_all();
                }
                ControlFlow::Break(End::Asked)
            }
        }
    }

    /// Links, dials and refusals were logged by the transport, which knows how often is enough.
    fn take_network(&mut self, event: TransportEvent) -> ControlFlow<End> {
        match event {
            TransportEvent::Connected { peer, introduction, .. } => {
                self.introduced.extend(introduction.map(|claims| (peer, claims)));
                self.step(Event::LinkChanged { peer, up: true })
            }
            TransportEvent::Disconnected { peer, .. } => {
                self.introduced.remove(&peer);
                self.step(Event::LinkChanged { peer, up: false })
            }
            TransportEvent::Received { peer, bytes, .. } => match self.read(peer, &bytes) {
                Ok(message) => self.step(Event::Received { from: peer, message }),
                Err(why) => {
                    tracing::warn!("{peer} is cut off: {why}");
                    self.parts.transport.hang_up(peer);
                    ControlFlow::Continue(())
                }
            },
            TransportEvent::DialFailed { .. } | TransportEvent::Refused { .. } => {
                ControlFlow::Continue(())
            }
        }
    }

    /// A message, or why its sender is cut off.
    fn read(&self, peer: PeerId, bytes: &[u8]) -> Result<Message, String> {
        let message = Message::decode(peer, bytes).map_err(|fault| fault.to_string())?;
        if let Message::FromNode(NodeMessage::Register { spec }) = &message
            && self.introduced.get(&peer).is_some_and(|claims| !claims.admits_to(&spec.pool))
        {
            return Err("its introduction token is for another node pool".to_owned());
        }
        Ok(message)
    }

    fn take_completion(&mut self, completion: Completion) -> ControlFlow<End> {
        let op = completion.op;
        match completion.outcome {
            Ok(()) => self.step(Event::DiskDone { op }),
            Err(failure) => {
                tracing::error!("{failure}");
                let fault = failure.fault();
                self.step(Event::DiskFailed { op, fault })
            }
        }
    }

    fn take_snapshot(&mut self, received: Received) -> ControlFlow<End> {
        match received {
            Received::Whole { mark, snapshot, twin } => {
                let index = mark.index;
                self.step(Event::SnapshotLoaded { mark, snapshot })?;
                if self.agent.state().is_some_and(|state| state.index() == index) {
                    self.tell_shadow(shadow::Work::Replace(twin));
                }
                ControlFlow::Continue(())
            }
            Received::Damaged(mark) => self.step(Event::SnapshotRefused { mark }),
            Received::Foreign(why) => ControlFlow::Break(End::Halted(why)),
        }
    }

    fn step_task(&mut self, (key, change): (TaskKey, TaskChange)) -> ControlFlow<End> {
        self.step(Event::TaskChanged { key, change })
    }

    fn step(&mut self, event: Event) -> ControlFlow<End> {
        let input = Input { now: self.parts.clock.mono(), wall: self.parts.clock.wall(), event };
        if let Some(inputs) = &mut self.parts.inputs {
            inputs.on_input(&input);
        }
        self.agent.step(input, &mut self.effects);
        self.leader_log.on_step(&self.agent);
        if let Some(inputs) = &mut self.parts.inputs {
            inputs.on_step(&self.agent, &self.effects);
        }
        let mut list = std::mem::take(&mut self.effects.list);
        for effect in list.drain(..) {
            self.carry_out(effect)?;
        }
        if self.effects.list.is_empty() {
            self.effects.list = list;
        }
        ControlFlow::Continue(())
    }

    fn carry_out(&mut self, effect: Effect) -> ControlFlow<End> {
        match effect {
            Effect::Send { to, message } => self.send(to, message),
            Effect::Disk { op, operation } => self.parts.disk.submit(op, operation),
            Effect::Reply { id, answer } => {
                if let Some(waiting) = self.waiting.remove(&id) {
                    let _caller_may_be_gone = waiting.send(answer);
                }
            }
            Effect::Dial { address } => self.parts.transport.dial(&address),
            Effect::Forget { address } => self.parts.transport.forget(&address),
            Effect::HangUp { peer } => self.parts.transport.hang_up(peer),
            Effect::StartTask { .. }
            | Effect::ReattachTask { .. }
            | Effect::StopTask { .. }
            | Effect::SignalTask { .. }
            | Effect::KillTask { .. }
            | Effect::DestroyAlloc { .. } => return self.carry_out_task(effect),
            Effect::Joined { cluster } => {
                tracing::info!("this server belongs to the cluster {:032x}", cluster.0);
                self.parts.transport.join_cluster(cluster);
                (self.parts.joined)(cluster);
            }
            Effect::Committed { frame } => self.tell_shadow(shadow::Work::Frame(frame)),
            Effect::Cut { position, configuration, digest } => {
                self.tell_shadow(shadow::Work::Cut { position, configuration, digest });
            }
            Effect::ReadChunk { .. } | Effect::StoreChunk { .. } | Effect::LoadSnapshot { .. } => {
                self.carry_out_snapshot(effect);
            }
            Effect::Advertise { alloc, uuid, round, services } => {
                if let Some(advertise) = &mut self.parts.advertise {
                    advertise((alloc, round), uuid, &services);
                }
            }
            Effect::Halt { reason } => return ControlFlow::Break(End::Halted(reason)),
            Effect::Departed { unfinished } => {
                return ControlFlow::Break(End::Left { unfinished });
            }
        }
        ControlFlow::Continue(())
    }

    fn carry_out_task(&mut self, effect: Effect) -> ControlFlow<End> {
        let Some(tasks) = &mut self.parts.tasks else { return ControlFlow::Continue(()) };
        let refused = match effect {
            Effect::StartTask { key, start } => tasks.start(key, &start),
            Effect::ReattachTask { key, uuid, spec } => tasks.reattach(key, uuid, &spec),
            Effect::StopTask { key, signal } | Effect::SignalTask { key, signal } => {
                tasks.signal(key, &signal);
                None
            }
            Effect::KillTask { key } => {
                tasks.kill(key);
                None
            }
            Effect::DestroyAlloc { alloc, uuid } => {
                tasks.destroy(alloc, uuid);
                None
            }
            _ => None,
        };
        refused.map_or(ControlFlow::Continue(()), |told| self.step_task(told))
    }

    fn carry_out_snapshot(&mut self, effect: Effect) {
        match effect {
            Effect::ReadChunk { to, snapshot, offset, bytes_max } => {
                self.parts.snapshots.read(to, snapshot, offset, bytes_max);
            }
            Effect::StoreChunk { mark, offset, bytes } => {
                self.parts.snapshots.store(&mark, offset, &bytes);
            }
            Effect::LoadSnapshot { mark } => self.parts.snapshots.load(*mark),
            _ => (),
        }
    }

    fn send(&mut self, to: PeerId, message: Message) {
        let lane: Lane = message.lane();
        // What goes to every follower is encoded once. Frames are compared by their places in memory.
        let (_, bytes) = match self.encoded.take().filter(|(known, _)| *known == message) {
            Some(same) => self.encoded.insert(same),
            None => {
                let bytes = message.encode().into();
                self.encoded.insert((message, bytes))
            }
        };
        self.parts.transport.send(to, lane, bytes.clone());
    }

    fn tell_shadow(&mut self, work: shadow::Work) {
        if let Some(shadow) = &mut self.parts.shadow {
            shadow(work);
        }
    }
}
