//! What all hosts of a run share: their machines, and the book in which everything that is seen is written.
//!
//! Invariants
//! - machines outlive their agents;
//! - one thread plays a run, so no lock is ever waited for; none is taken twice.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use drover_core::digest::Digest;
use drover_core::raft::{Frame, Role};
use drover_core::rng::Rng;
use drover_core::types::{AllocId, Index, NodeId, ServerId, TaskKey};
use drover_shell::run::{End, Inbox};
use drover_shell::shadow::Shadow;
use drover_sim::checkers::{Checkers, Violation, named};
use drover_sim::clock::{HostClock, Moment};
use drover_sim::counters::Counters;
use drover_sim::drivers::{InTime, Turn};
use drover_sim::host::Host;
use drover_sim::ladder::Ladder;
use drover_sim::network::HostId;
use drover_sim::plan::{Damage, Plan};
use drover_sim::requests::Requests;
use drover_sim::shadow::Folded;
use drover_sim::standing::Standing;
use drover_sim::strikes::{Strikes, When};
use drover_sim::workload::node_id;
use tokio::sync::mpsc;

use crate::callers::{Call, SavedFile};
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
    /// Its agent's tables as readers see them, on a server that is up.
    pub shadow: Option<Shadow>,
    /// Outlives the start, as in production; not the disk.
    pub reset_key: [u8; 32],
    /// What was done to its log while it was down.
    pub damage: Option<Damage>,
}

/// Something for an agent that comes from outside of its host.
pub enum ToAgent {
    Tell(Box<Inbox>),
    Call(Call),
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
    /// What callers wait for.
    pub requests: Requests,
    /// When the leader's tables were last looked at whole.
    pub tables_seen_at: Moment,
    /// Servers that were struck off, and since when.
    pub struck_off: Vec<(ServerId, Index)>,
    /// All that is committed.
    folded: Folded,
    /// What an operator saved last.
    pub saved: Option<SavedFile>,
    strikes: Strikes,
    strikes_rng: Option<Rng>,
    alarm: Arc<Alarm>,
}

/// The end of time.
pub const NEVER: Moment = Moment { ns: u64::MAX };

/// When whoever plays the plan is wanted.
#[derive(Debug)]
pub struct Alarm(AtomicU64);

impl Default for Alarm {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER.ns))
    }
}

impl Alarm {
    /// At `at`, unless it rings earlier.
    fn set(&self, at: Moment) {
        self.0.fetch_min(at.ns, Ordering::Relaxed);
    }

    /// When it rings: never, if nobody has set it.
    #[must_use]
    pub fn at(&self) -> Moment {
        Moment { ns: self.0.load(Ordering::Relaxed) }
    }

    /// It is not set any more.
    pub fn stop(&self) {
        self.0.store(NEVER.ns, Ordering::Relaxed);
    }
}

/// A turn of a task: when, where, whose.
pub type TaskTurn = (Moment, HostId, TaskKey, Turn);

/// The hosts and the book.
pub struct Stage {
    pub plan: Plan,
    machines: Vec<Mutex<Machine>>,
    clocks: Vec<Arc<Mutex<HostClock>>>,
    drifts_ppm: Vec<i64>,
    book: Mutex<Book>,
    turns: Mutex<Vec<TaskTurn>>,
    /// Lines of the plan that strike now that somebody writes.
    lines: Mutex<Vec<(Moment, usize)>>,
    alarm: Arc<Alarm>,
    clients: Vec<(String, NodeId)>,
    has_healed: AtomicBool,
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
                shadow: None,
                reset_key: bytes_of(
                    &mut Rng::from_seed(plan.seed).fork("keys").fork_number(host as u64),
                ),
                damage: None,
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
        let alarm = Arc::<Alarm>::default();
        let book = Book {
            checkers: Checkers::new(&plan, silence_ms),
            standings: ids.map(|_| None).collect(),
            ladder,
            strikes_rng: Some(Rng::from_seed(plan.seed).fork("strikes")),
            alarm: Arc::clone(&alarm),
            ..Book::default()
        };
        Self {
            machines,
            clocks,
            drifts_ppm,
            book: Mutex::new(book),
            turns: Mutex::default(),
            lines: Mutex::default(),
            alarm,
            clients: (1..=plan.clients).map(|n| (format!("c{n}"), node_id(n))).collect(),
            has_healed: false.into(),
            plan,
        }
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.machines.len()).map(HostId)
    }

    /// Every client, by its name.
    #[must_use]
    pub fn clients(&self) -> &[(String, NodeId)] {
        &self.clients
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
            let at = now.plus_us(us);
            lock(&self.turns).push((at, host, key, turn));
            self.alarm.set(at);
        }
    }

    /// The turns that were planned since.
    #[must_use]
    pub fn take_turns(&self) -> Vec<TaskTurn> {
        std::mem::take(&mut lock(&self.turns))
    }

    /// A line of the plan wants to strike; `idle` is its host, if that is up and writes nothing.
    pub fn on_line(&self, line: usize, idle: Option<HostId>) -> When {
        self.book().strikes.on_line(line, idle)
    }

    /// `host` writes, for the next `us`: whoever waited for that strikes meanwhile.
    pub fn on_write(&self, now: Moment, host: HostId, us: u64) {
        let mut book = self.book();
        for line in book.strikes.on_write(host) {
            let drawn_us = book.strikes_rng.as_mut().map_or(0, |rng| rng.between(0, us));
            let at = now.plus_us(drawn_us);
            lock(&self.lines).push((at, line));
            self.alarm.set(at);
        }
    }

    /// The lines that strike since.
    #[must_use]
    pub fn take_lines(&self) -> Vec<(Moment, usize)> {
        std::mem::take(&mut lock(&self.lines))
    }

    /// The agent of `host` has ended by itself.
    pub fn on_ended(&self, host: HostId, end: End) {
        self.machine(host).ended = Some(end);
        self.alarm.set(Moment::default());
    }

    /// Rings when whoever plays the plan must look.
    #[must_use]
    pub fn alarm(&self) -> Arc<Alarm> {
        Arc::clone(&self.alarm)
    }

    /// Nothing breaks any more.
    pub fn heal(&self) {
        self.has_healed.store(true, Ordering::Relaxed);
    }

    /// Whether all faults have ended.
    #[must_use]
    pub fn has_healed(&self) -> bool {
        self.has_healed.load(Ordering::Relaxed)
    }
}

impl Book {
    /// Something does not hold.
    pub fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
        self.alarm.set(Moment::default());
    }

    /// `frame` was committed, as nobody had seen before.
    ///
    /// # Errors
    /// An entry does what it has no reason to do.
    pub fn fold(&mut self, frame: &Frame) -> Result<(), Violation> {
        let _the_shell_cuts =
            self.folded.on_committed(frame, &mut self.checkers.stopped_for_a_reason)?;
        for at in self.folded.take_restored() {
            self.checkers.no_lost_write.on_restore(at);
            self.counters.states_restored += 1;
        }
        Ok(())
    }

    /// A client asks a task to end, or kills it.
    pub fn on_task_stopped(&mut self, key: TaskKey) {
        let reason = self.checkers.stopped_for_a_reason.on_task_stopped(self.folded.state(), key);
        if let Err(violation) = named("stopped_for_a_reason", reason) {
            self.fail(violation);
        }
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

/// Thirty-two bytes of chance.
#[must_use]
pub fn bytes_of(rng: &mut Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes
}

fn signed(rng: &mut Rng, max: u64) -> i64 {
    let drawn = i64::try_from(rng.between(0, 2 * max)).expect("invariant: knobs are small");
    drawn - i64::try_from(max).expect("invariant: knobs are small")
}
