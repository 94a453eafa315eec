//! A plan, played: everything may break until a moment; then all faults end, and everything must come right.
//!
//! Invariants
//! - the same plan on the same ground gives the same report;
//! - what a ground cannot do is counted, and left out.
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::rng::Rng;
use drover_core::types::{Incarnation, TaskKey};
use drover_core::wire::PeerId;
use drover_shell::run::End as AgentEnd;
use drover_sim::checkers::{Violation, named};
use drover_sim::clock::Moment;
use drover_sim::counters::Counters;
use drover_sim::drivers::Turn;
use drover_sim::host::position_of;
use drover_sim::ladder::{Filter, Ladder};
use drover_sim::network::{Harm, HostId};
use drover_sim::plan::{Act, Plan, Who};
use drover_sim::queue::Queue;

use crate::life::words;
use crate::stage::{Alarm, NEVER, Stage};
use crate::substrate::{Ground, Simnet, Substrate};
use crate::tasks;
use crate::tls;
use crate::witness::Turmoil;

/// Rungs of a run that are kept.
const RUNGS_MAX: usize = 200_000;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Of everything that agents were told and wanted done, in order.
    pub digest: Digest,
    pub counters: Counters,
    /// Acts that this ground cannot do, by their names.
    pub left_out: BTreeMap<&'static str, u64>,
    pub steps: u64,
    pub packets: u64,
    pub polls: u64,
    pub lasted: Moment,
    pub failure: Option<Failure>,
}

/// A property that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub checker: &'static str,
    pub at: Moment,
    pub message: String,
    /// What happened last, oldest first.
    pub ladder: Vec<String>,
}

/// What is to happen.
#[derive(Debug)]
pub(crate) enum Todo {
    /// A host starts, unless it did since.
    Start(HostId, Incarnation),
    Line(usize),
    End(End),
    Turn(HostId, TaskKey, Turn),
}

/// What ends when a fault ends.
#[derive(Debug)]
pub(crate) enum End {
    Mend(Vec<(HostId, HostId)>, Harm),
    FastCpu(HostId),
    FastDisk(HostId),
    RoomOnDisk(HostId),
}

/// A plan that is being played.
pub struct Scenario {
    pub(crate) stage: Arc<Stage>,
    pub(crate) ground: Box<dyn Substrate>,
    pub(crate) rng: Rng,
    pub(crate) todo: Queue<Todo>,
    pub(crate) left_out: BTreeMap<&'static str, u64>,
    alarm: Arc<Alarm>,
}

/// Plays `plan` on `ground`. With `ladder_lines`, a failure shows what happened last.
#[must_use]
pub fn play(plan: &Plan, ground: Ground, ladder_lines: usize) -> Report {
    let ladder = (ladder_lines != 0).then(|| Ladder::new(RUNGS_MAX));
    let mut scenario = Scenario::new(plan.clone(), ground, ladder);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.play()));
    let violation = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let message = text.unwrap_or("without words").to_owned();
            Some(Violation { checker: "panic", message })
        }
    };
    scenario.into_report(violation, ladder_lines)
}

impl Scenario {
    fn new(plan: Plan, ground: Ground, ladder: Option<Ladder>) -> Self {
        let rng = Rng::from_seed(plan.seed).fork("scenario");
        tls::set_chance(rng.fork("tls"));
        let stage = Arc::new(Stage::new(plan, ladder));
        let ground: Box<dyn Substrate> = match ground {
            Ground::Simnet => Box::new(Simnet::new(Arc::clone(&stage))),
            Ground::Turmoil => Box::new(Turmoil::new(Arc::clone(&stage))),
        };
        let alarm = stage.alarm();
        Self { stage, ground, rng, todo: Queue::default(), left_out: BTreeMap::new(), alarm }
    }

    fn into_report(self, violation: Option<Violation>, ladder_lines: usize) -> Report {
        let (polls, packets) = self.ground.counts();
        let lasted = self.todo.now();
        let mut book = self.stage.book();
        let ladder = book.ladder.take();
        let failure = violation.map(|Violation { checker, message }| {
            let lines = ladder.map(|mut ladder| {
                ladder.on_end(lasted, Some((checker, &message)));
                let mut lines = ladder.lines(&Filter::of_checker(checker), Some(ladder_lines));
                lines.extend(ladder.summary());
                lines
            });
            Failure { checker, at: lasted, message, ladder: lines.unwrap_or_default() }
        });
        Report {
            seed: self.stage.plan.seed,
            digest: book.chain,
            counters: book.counters.clone(),
            left_out: self.left_out,
            steps: book.steps,
            packets,
            polls,
            lasted,
            failure,
        }
    }

    fn play(&mut self) -> Result<(), Violation> {
        self.plan_everything();
        let until = self.stage.plan.faults_until();
        self.run_until(until)?;
        self.heal();
        self.settle()
    }

    fn plan_everything(&mut self) {
        let plan = &self.stage.plan;
        let joins = plan.lines.iter().filter_map(|line| match line.act {
            Act::Join { who } => Some(who),
            _ => None,
        });
        let late: Vec<HostId> = joins.filter_map(|who| self.find(who)).collect();
        for host in self.stage.hosts().filter(|host| !late.contains(host)) {
            let at = Moment::default().plus_us(self.rng.between(1_000, 300_000));
            self.todo.push(at, Todo::Start(host, Incarnation(0)));
        }
        for (at, line) in plan.lines.iter().enumerate() {
            self.todo.push(Moment::at_ms(line.at_ms), Todo::Line(at));
        }
    }

    /// The moment that it is.
    pub(crate) fn now(&self) -> Moment {
        self.todo.now()
    }

    /// Let everything happen that happens before `end`.
    pub(crate) fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
        loop {
            let next = self.todo.next_at().map_or(end, |at| at.min(end));
            let at = self.ground.run_until(next);
            let earlier = self.todo.pop_before(at);
            assert!(earlier.is_none(), "nothing is left behind: {earlier:?}");
            self.take_what_came()?;
            if at < next {
                continue;
            }
            if next == end && self.todo.next_at().is_none_or(|at| end <= at) {
                return Ok(());
            }
            if let Some(todo) = self.todo.pop_before(Moment { ns: at.ns + 1 }) {
                self.happen(todo);
            }
        }
    }

    fn happen(&mut self, todo: Todo) {
        match todo {
            Todo::Start(host, after) => self.start(host, after),
            Todo::Line(at) => self.act(at),
            Todo::End(end) => self.end(end),
            Todo::Turn(host, key, turn) => tasks::turn(&self.stage, self.now(), host, key, turn),
        }
    }

    /// The alarm rings: what came since it did so last.
    fn take_what_came(&mut self) -> Result<(), Violation> {
        if self.alarm.at() == NEVER {
            return Ok(());
        }
        self.alarm.stop();
        for (at, host, key, turn) in self.stage.take_turns() {
            self.todo.push(at, Todo::Turn(host, key, turn));
        }
        for (at, line) in self.stage.take_lines() {
            self.todo.push(at, Todo::Line(line));
        }
        for host in self.stage.hosts() {
            let ended = self.stage.machine(host).ended.take();
            if let Some(end) = ended {
                self.on_ended(host, &end)?;
            }
        }
        self.stage.book().violation.take().map_or(Ok(()), Err)
    }

    fn on_ended(&mut self, host: HostId, end: &AgentEnd) -> Result<(), Violation> {
        if let AgentEnd::Left { unfinished } = end {
            return self.on_left(host, unfinished.is_some());
        }
        let may_halt = self.stage.machine(host).host.may_halt;
        if !may_halt {
            let name = self.stage.machine(host).host.name.clone();
            let message = format!("{name} stops itself: {}", words(end));
            return Err(Violation { checker: "halt", message });
        }
        self.stage.book().counters.halts += 1;
        let for_ms = self.rng.between(500, 8_000);
        self.take_down(host, for_ms);
        Ok(())
    }

    /// The agent has gone with grace, as it was told to.
    fn on_left(&mut self, host: HostId, is_unfinished: bool) -> Result<(), Violation> {
        let (peer, for_ms) = {
            let host = &self.stage.machine(host).host;
            (host.peer, host.leaving_for_ms.unwrap_or_default())
        };
        let mut book = self.stage.book();
        book.counters.departures += 1;
        if let PeerId::Server(server) = peer
            && !is_unfinished
        {
            named("left_is_out", book.checkers.left_is_out.on_left(server))?;
        }
        drop(book);
        self.take_down(host, for_ms);
        Ok(())
    }

    /// Start, unless it did since `after`.
    pub(crate) fn start(&mut self, host: HostId, after: Incarnation) {
        let mut machine = self.stage.machine(host);
        if machine.is_up || machine.host.incarnation != after {
            return;
        }
        machine.is_up = true;
        let peer = machine.host.peer;
        drop(machine);
        let mut book = self.stage.book();
        if let PeerId::Server(server) = peer {
            book.checkers.left_is_out.on_start(server);
        }
        book.counters.restarts += u64::from(after != Incarnation(0));
        if let Some(ladder) = &mut book.ladder {
            ladder.on_up(self.todo.now(), host);
        }
        drop(book);
        self.ground.start(host);
    }

    /// The agent is gone, and starts again after `for_ms`.
    pub(crate) fn take_down(&mut self, host: HostId, for_ms: u64) {
        self.ground.crash(host);
        let now = self.now();
        let mut machine = self.stage.machine(host);
        if let Some(ladder) = &mut self.stage.book().ladder {
            ladder.on_down(now, &machine.host);
        }
        machine.is_up = false;
        machine.inbox = None;
        machine.shadow = None;
        machine.ended = None;
        machine.writes_free_at = Moment::default();
        let after = machine.host.incarnation;
        machine.host.forget_agent();
        let mut rng = machine.host.rng.fork("keepers").fork_number(after.0);
        let begun = machine.host.drivers.on_agent_gone(&mut rng);
        drop(machine);
        self.stage.book().standings[host.0] = None;
        self.forget_asked(host);
        self.todo.push(self.now().plus_ms(for_ms), Todo::Start(host, after));
        for key in begun {
            tasks::turn(&self.stage, self.now(), host, key, Turn::Begins);
        }
    }

    /// Every fault that still lasts ends now, and every host that is down starts.
    pub(crate) fn end_all_faults(&mut self) {
        // What was planned falls due; only what concerns tasks stays as it is.
        let mut rest = Vec::new();
        let now = self.now();
        let mut left = std::mem::take(&mut self.todo);
        while let Some(todo) = left.pop_before(NEVER) {
            rest.push((left.now(), todo));
        }
        let _now_again = self.todo.pop_before(now);
        for (at, todo) in rest {
            match todo {
                Todo::End(end) => self.end(end),
                Todo::Start(host, after) => self.start(host, after),
                Todo::Turn(..) => self.todo.push(at, todo),
                Todo::Line(_) => (),
            }
        }
        // Also whoever was to join at the very end.
        for host in self.stage.hosts() {
            let after = self.stage.machine(host).host.incarnation;
            self.start(host, after);
        }
    }

    /// The host that is meant, up or down.
    pub(crate) fn find(&self, who: Who) -> Option<HostId> {
        match who {
            Who::Leader => self.stage.book().leader(),
            // There is one region here.
            Who::Foreigner(_) => None,
            Who::Server(_) | Who::Client(_) => position_of(&self.stage.plan, who),
        }
    }

    /// The host that is meant, if it is up.
    pub(crate) fn up(&self, who: Who) -> Option<HostId> {
        self.find(who).filter(|&host| self.stage.machine(host).is_up)
    }
}
