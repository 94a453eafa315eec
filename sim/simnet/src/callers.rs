//! Users and operators: they ask a server that happens to be up, and wait as the API's handlers do.
//!
//! Each is a task of the host that is asked, and dies with it. Handlers themselves are not run: they wait
//! by tokio's clock and read on its threads, and there is neither here. What they are made of is: the
//! core's requests, the shadow, and the saved file's format and checks.
//!
//! Invariants
//! - a read is of the shadow, after its point; so is what is saved;
//! - a part of a saved state is sent when the one before it was answered.
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use drover_core::api::{Consistency, Order, Request};
use drover_core::digest::Digest;
use drover_core::state::Saved as SavedState;
use drover_core::types::{Index, RequestId};
use drover_core::wire::PeerId;
use drover_shell::archive::{self, About};
use drover_shell::run::Core;
use drover_shell::shadow::Shadow;
use drover_sim::checkers::linearizable::Saved;
use drover_sim::checkers::{Violation, named};
use drover_sim::network::HostId;
use drover_sim::plan::{Act, Freshness, Subject};
use drover_sim::requests::{ABANDONED_PERMILLE, Ask, Told, request_of, restoring};

use crate::machine::Life;
use crate::scenario::Scenario;
use crate::stage::{Book, Stage, ToAgent};

/// The file that an operator saved.
#[derive(Clone, Debug)]
pub struct SavedFile {
    bytes: Arc<[u8]>,
    /// What a restore of it would bring back.
    shown: Arc<Saved>,
}

/// Somebody turns to an agent.
pub enum Call {
    Ask(RequestId, Arc<Request>),
    /// The same, but who asked goes away.
    Leave(RequestId, Arc<Request>),
    Save,
    Restore(SavedFile),
}

impl Scenario {
    /// One that is up, whichever.
    fn some_server(&mut self) -> Option<HostId> {
        let is_up = |host: &HostId| {
            let machine = self.stage.machine(*host);
            machine.host.is_server() && machine.inbox.is_some()
        };
        let up: Vec<HostId> = self.stage.hosts().filter(is_up).collect();
        let last = up.len().checked_sub(1)?;
        let at = usize::try_from(self.rng.between(0, last as u64)).unwrap_or(0);
        Some(up[at])
    }

    fn call(&self, host: HostId, call: Call) {
        if let Some(inbox) = &self.stage.machine(host).inbox {
            let _the_agent_may_have_ended = inbox.send(ToAgent::Call(call));
        }
    }

    /// Ask some server for what the plan says.
    pub(crate) fn ask(&mut self, act: &Act) {
        let Some(host) = self.some_server() else { return };
        let shadow = self.stage.machine(host).shadow.clone();
        let Some(shadow) = shadow else { return };
        if let Act::Read { what: Subject::Job(job), how: Freshness::Stale } = act {
            return self.stage.book().read_stale(&shadow, job);
        }
        let server = |who| match self.stage.machine(self.find(who)?).host.peer {
            PeerId::Server(server) => Some(server),
            PeerId::Client(_) | PeerId::Foreign(_) => None,
        };
        let Some(request) = request_of(act, Some(&shadow.read()), server) else { return };
        let request = Arc::new(request);
        let read = if let Act::Read { what, .. } = act { Some(what.clone()) } else { None };
        let ask = Ask { host, request: Arc::clone(&request), read, saved: Arc::default() };
        let id = self.stage.book().ask(ask);
        let goes_away = self.rng.chance(ABANDONED_PERMILLE);
        self.call(host, if goes_away { Call::Leave(id, request) } else { Call::Ask(id, request) });
    }

    /// An operator saves the state.
    pub(crate) fn save(&mut self) {
        if let Some(host) = self.some_server() {
            self.call(host, Call::Save);
        }
    }

    /// An operator goes back to what was saved.
    pub(crate) fn restore(&mut self) {
        let saved = self.stage.book().saved.clone();
        if let (Some(saved), Some(host)) = (saved, self.some_server()) {
            self.call(host, Call::Restore(saved));
        }
    }

    /// The server that was asked is gone.
    pub(crate) fn forget_asked(&self, host: HostId) {
        let mut book = self.stage.book();
        let Book { requests, checkers, counters, .. } = &mut *book;
        let forgotten = requests.forget(host, checkers, counters);
        book.note(forgotten);
    }
}

impl Book {
    fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.fail(violation);
        }
    }

    fn ask(&mut self, ask: Ask) -> RequestId {
        self.requests.ask(ask, &mut self.checkers, &mut self.counters)
    }

    fn read_stale(&mut self, shadow: &Shadow, job: &str) {
        self.counters.reads_stale += 1;
        let shown = self.checkers.no_lost_write.check_job(&shadow.read(), job);
        self.note(named("no_lost_write", shown));
    }

    /// Everything has come to rest, and `shadow` is the leader's.
    ///
    /// # Errors
    /// What it shows cannot be what came of all that was asked; or it is not what the core has, `applied`.
    pub fn check_end(
        &mut self,
        shadow: &Shadow,
        applied: (Index, Digest),
    ) -> Result<(), Violation> {
        let tables = shadow.read();
        let shown = (tables.index(), tables.digest());
        if shown != applied {
            let message = format!("the core has {applied:?}, its shadow {shown:?}");
            return Err(Violation { checker: "shadow_agrees", message });
        }
        self.requests.check_end(&tables, &mut self.checkers)
    }
}

/// Whoever has turned to the agent of one life.
#[derive(Clone)]
pub struct Caller {
    stage: Arc<Stage>,
    host: HostId,
    core: Core,
    shadow: Shadow,
    life: Life,
}

impl Caller {
    /// Callers of the server that lives this `life`.
    #[must_use]
    pub fn new(life: Life, shadow: Shadow) -> Self {
        let (stage, host, core) = (Arc::clone(&life.stage), life.host, life.core.clone());
        Self { stage, host, core, shadow, life }
    }

    /// From the call to its end.
    pub async fn call(self, call: Call) {
        match call {
            Call::Ask(id, request) => {
                self.wait(id, &request).await;
            }
            Call::Leave(id, request) => self.leave(id, &request).await,
            Call::Save => self.save().await,
            Call::Restore(file) => self.restore(&file).await,
        }
    }

    /// Asks what belongs to something larger.
    async fn ask(&self, request: Request, saved: &Arc<Saved>) -> Option<Told> {
        let (host, request) = (self.host, Arc::new(request));
        let ask = Ask { host, request: Arc::clone(&request), read: None, saved: Arc::clone(saved) };
        let id = self.stage.book().ask(ask);
        self.wait(id, &request).await
    }

    async fn wait(&self, id: RequestId, request: &Request) -> Option<Told> {
        let answer = self.core.request(request.clone()).await;
        let told = {
            let mut book = self.stage.book();
            let Book { requests, checkers, counters, .. } = &mut *book;
            match requests.on_answer(id, &answer, checkers, counters) {
                Ok(told) => told,
                Err(violation) => {
                    book.fail(violation);
                    return None;
                }
            }
        };
        match told {
            Told::ReadAt(point) => {
                self.shadow.reached(point).await;
                let mut book = self.stage.book();
                let Book { requests, checkers, counters, .. } = &mut *book;
                let tables = self.shadow.read();
                let done = requests.read_on(self.host, &tables, checkers, counters);
                book.note(done);
            }
            Told::Ordered(Order::RemoveServer { server }, index) => {
                self.stage.book().struck_off.push((server, index));
            }
            Told::Over | Told::Written(_) | Told::Ordered(..) => (),
        }
        Some(told)
    }

    async fn leave(&self, id: RequestId, request: &Request) {
        let mut asking = Box::pin(self.core.request(request.clone()));
        let _nobody_waits = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await;
        drop(asking);
        let mut book = self.stage.book();
        let Book { requests, checkers, counters, .. } = &mut *book;
        let left = requests.abandon(id, checkers, counters);
        book.note(left);
    }

    /// The shadow, once it shows every write that was answered before.
    async fn fresh(&self) -> Option<&Shadow> {
        let request = Request::ReadPoint { consistency: Consistency::Default };
        let told = self.ask(request, &Arc::default()).await;
        matches!(told, Some(Told::ReadAt(_))).then_some(&self.shadow)
    }

    async fn save(&self) {
        let Some(shadow) = self.fresh().await else { return };
        let Some(view) = self.core.view().await.and_then(|view| view.server) else { return };
        let tables = shadow.read();
        let about = About {
            version: String::new(),
            taken: self.life.wall(),
            cluster: tables.cluster(),
            index: tables.index(),
            term: view.term,
            configuration: view.configuration,
        };
        let bytes = archive::pack(about, &tables.encode()).into();
        let mut book = self.stage.book();
        let shown = Arc::new(book.checkers.linearizable.saved(&tables));
        book.saved = Some(SavedFile { bytes, shown });
    }

    async fn restore(&self, file: &SavedFile) {
        let archive = archive::unpack(&file.bytes).expect("invariant: it was packed here");
        let read = SavedState::read(archive.state).expect("invariant: it was encoded here");
        let Some(shadow) = self.fresh().await else { return };
        let origin = read.check_origin(&shadow.read());
        if let Err(message) = origin {
            return self.stage.fail("own_state_is_taken", message);
        }
        for request in restoring(archive.state) {
            let told = self.ask(request, &file.shown).await;
            if !matches!(told, Some(Told::Written(_))) {
                return;
            }
        }
    }
}
