//! What all hosts of a run share: their machines, and the book in which everything that is seen is written.
//!
//! Invariants
//! - machines outlive their agents;
//! - one thread plays a run, so no lock is ever waited for; none is taken twice.
use std::sync::{Arc, Mutex, MutexGuard};

use drover_core::api::{Rejection, Response};
use drover_core::digest::Digest;
use drover_core::raft::Role;
use drover_core::rng::Rng;
use drover_core::types::{AllocId, Index, ServerId, TaskKey, Term};
use drover_shell::run::{End, Inbox};
use drover_sim::checkers::{Checkers, Violation};
use drover_sim::clock::{HostClock, Moment};
use drover_sim::counters::Counters;
use drover_sim::drivers::{InTime, Turn};
use drover_sim::host::Host;
use drover_sim::ladder::Ladder;
use drover_sim::network::HostId;
use drover_sim::plan::Plan;
use tokio::sync::mpsc;

use crate::lock;

/// A machine and what its agent left on it.
pub struct Machine {
    /// Its disk, its tasks, its snapshots, and how its agent is configured.
    pub host: Host,
    /// Names of the agent's starts, the newest first.
    pub starts: Vec<u64>,
    /// Writes are done in order.
    pub writes_free_at: Moment,
    /// Whether an agent was started and is not known to be gone.
    pub is_up: bool,
    /// How to tell the agent something, once it listens.
    pub inbox: Option<mpsc::UnboundedSender<ToAgent>>,
    /// How the agent ended, if it did so by itself.
    pub ended: Option<End>,
    /// Whose files lie in each directory.
    pub dirs: Vec<(std::path::PathBuf, AllocId)>,
}

/// Something for an agent that comes from outside of its host.
pub enum ToAgent {
    Tell(Inbox),
    /// A caller of the API.
    Ask(u64, drover_core::api::Request),
}

/// How a server was last seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    pub server: ServerId,
    pub role: Role,
    pub term: Term,
    pub leader: Option<ServerId>,
    pub applied: (Index, Digest),
    pub is_open: bool,
    pub is_joint: bool,
    pub voters: Vec<ServerId>,
}

/// Everything that is seen.
#[derive(Debug, Default)]
pub struct Book {
    pub checkers: Checkers,
    pub counters: Counters,
    /// Of everything that agents were told and wanted done, in order.
    pub chain: Digest,
    pub steps: u64,
    /// By host; `None`: down, or no server.
    pub standings: Vec<Option<Standing>>,
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// Whoever leads is to look at its tables.
    pub wants_verdict: bool,
    /// What it saw.
    pub verdict: Option<Result<(), Violation>>,
    pub ladder: Option<Ladder>,
}

/// A turn of a task: when, where, whose.
pub type TaskTurn = (Moment, HostId, TaskKey, Turn);
/// What came of a request.
pub type Answer = (u64, Result<Response, Rejection>);

/// The hosts and the book.
pub struct Stage {
    pub plan: Plan,
    machines: Vec<Mutex<Machine>>,
    clocks: Vec<Arc<Mutex<HostClock>>>,
    drifts_ppm: Vec<i64>,
    book: Mutex<Book>,
    turns: Mutex<Vec<TaskTurn>>,
    answers: Mutex<Vec<Answer>>,
    has_healed: std::sync::atomic::AtomicBool,
}

impl Stage {
    /// The machines of `plan`, none of which runs an agent.
    #[must_use]
    pub fn new(plan: Plan, ladder: Option<Ladder>) -> Self {
        let hosts = plan.servers + plan.clients + plan.spares;
        let ids = 0..usize::try_from(hosts).expect("invariant: few hosts");
        let machine = |host| {
            Mutex::new(Machine {
                host: Host::new(&plan, HostId(host)),
                starts: Vec::new(),
                writes_free_at: Moment::default(),
                is_up: false,
                inbox: None,
                ended: None,
                dirs: Vec::new(),
            })
        };
        let machines: Vec<Mutex<Machine>> = ids.clone().map(machine).collect();
        let mut rng = Rng::from_seed(plan.seed).fork("clocks");
        let (mut clocks, mut drifts_ppm) = (Vec::new(), Vec::new());
        for _ in ids.clone() {
            drifts_ppm.push(signed(&mut rng, plan.knobs.drift_ppm_max));
            let skew_ms = signed(&mut rng, plan.knobs.skew_ms_max);
            // The substrate's clock drifts; this one only stands elsewhere.
            let clock = HostClock::new(rng.between(0, 1 << 50), 0, skew_ms);
            clocks.push(Arc::new(Mutex::new(clock)));
        }
        let silence_ms = plan.knobs.heartbeat_ttl_ms + plan.knobs.heartbeat_grace_ms;
        let book = Book {
            checkers: Checkers::new(&plan, silence_ms),
            standings: ids.map(|_| None).collect(),
            ladder,
            ..Book::default()
        };
        Self {
            machines,
            clocks,
            drifts_ppm,
            book: Mutex::new(book),
            turns: Mutex::default(),
            answers: Mutex::default(),
            has_healed: false.into(),
            plan,
        }
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.machines.len()).map(HostId)
    }

    /// The machine of a host.
    pub fn machine(&self, host: HostId) -> MutexGuard<'_, Machine> {
        lock(&self.machines[host.0])
    }

    /// The clocks of a host, which outlive its agents.
    #[must_use]
    pub fn clock(&self, host: HostId) -> Arc<Mutex<HostClock>> {
        Arc::clone(&self.clocks[host.0])
    }

    /// How fast the clocks of a host run, where the substrate can do that.
    #[must_use]
    pub fn drift_ppm(&self, host: HostId) -> i64 {
        self.drifts_ppm[host.0]
    }

    /// The book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Something does not hold.
    pub fn fail(&self, checker: &'static str, message: String) {
        self.book().fail(Violation { checker, message });
    }

    /// A task's turn is to come.
    pub fn plan_turn(&self, now: Moment, host: HostId, key: TaskKey, turn: Option<InTime>) {
        if let Some((us, turn)) = turn {
            lock(&self.turns).push((now.plus_us(us), host, key, turn));
        }
    }

    /// The turns that were planned since.
    #[must_use]
    pub fn take_turns(&self) -> Vec<TaskTurn> {
        std::mem::take(&mut lock(&self.turns))
    }

    /// An agent answered.
    pub fn on_answer(&self, answer: Answer) {
        lock(&self.answers).push(answer);
    }

    /// The answers that came since.
    #[must_use]
    pub fn take_answers(&self) -> Vec<Answer> {
        std::mem::take(&mut lock(&self.answers))
    }

    /// Nothing breaks any more.
    pub fn heal(&self) {
        self.has_healed.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether all faults have ended.
    #[must_use]
    pub fn has_healed(&self) -> bool {
        self.has_healed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Book {
    /// Something does not hold.
    pub fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Who leads, as far as servers know of themselves: of several the one with the latest term.
    #[must_use]
    pub fn leader(&self) -> Option<HostId> {
        let standings = self.standings.iter().enumerate();
        let leading = standings.filter_map(|(host, standing)| {
            let standing = standing.as_ref().filter(|standing| standing.role == Role::Leader)?;
            Some((standing.term, host))
        });
        leading.max().map(|(_, host)| HostId(host))
    }
}

fn signed(rng: &mut Rng, max: u64) -> i64 {
    let drawn = i64::try_from(rng.between(0, 2 * max)).expect("invariant: knobs are small");
    drawn - i64::try_from(max).expect("invariant: knobs are small")
}
