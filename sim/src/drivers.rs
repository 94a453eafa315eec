//! Tasks on one host: they start or do not, run for their time, obey a stop or ignore it.
//!
//! As in production a task belongs to a keeper of its own, not to the agent: it lives on when the agent
//! dies, and its exit status waits for the next agent; a reboot of the machine ends it and the keeper.
//!
//! Invariants
//! - an attempt is started once and ends once.
use std::collections::BTreeMap;

use drover_core::rng::Rng;
use drover_core::types::{AllocId, Capacity, JobKind, Remedy, TaskChange, TaskKey};

use crate::plan::Plan;

/// What an attempt will do, drawn when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// From the wish to the process, or to the failure.
    pub start_us: u64,
    /// `Some`: it never runs.
    pub start_failure: Option<Remedy>,
    /// `None`: until it is stopped.
    pub run_ms: Option<u64>,
    pub exit_code: i32,
    /// It ignores every signal but the kill.
    pub is_stubborn: bool,
    /// From a signal that it obeys to its end.
    pub stop_ms: u64,
}

impl Behaviour {
    /// What the attempt `key` will do is a function of the plan and its key; what has healed ends well.
    #[must_use]
    pub fn draw(plan: &Plan, key: TaskKey, kind: JobKind, has_healed: bool) -> Self {
        let knobs = &plan.knobs;
        let rng = Rng::from_seed(plan.seed).fork("task").fork_number(key.alloc.0);
        let mut rng = rng.fork_number((u64::from(key.task) << 32) | u64::from(key.attempt));
        let remedy = if rng.chance(800) { Remedy::Retry } else { Remedy::None };
        let fails_to_start = rng.chance(knobs.start_failure_permille) && !has_healed;
        let ends_badly = rng.chance(knobs.task_failure_permille) && !has_healed;
        let own_end_ms = rng.between(10, 40_000);
        // Of an alloc that flaps every attempt does.
        let mut alloc_rng = Rng::from_seed(plan.seed).fork("flap").fork_number(key.alloc.0);
        let flaps = alloc_rng.chance(knobs.flapping_permille) && !has_healed;
        let ends_badly = ends_badly || flaps;
        let own_end_ms = if flaps { own_end_ms / 40 } else { own_end_ms };
        let ends = ends_badly || kind.ends();
        Self {
            start_us: rng.between(500, 1_000 * knobs.start_ms_max.max(1)),
            start_failure: fails_to_start.then_some(remedy),
            run_ms: ends.then_some(own_end_ms),
            exit_code: i32::from(ends_badly),
            is_stubborn: rng.chance(knobs.stubborn_permille),
            stop_ms: rng.between(1, 800),
        }
    }
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    Starting,
    Running { pid: u32 },
    Ended { exit_code: i32, signal: i32 },
}

#[derive(Clone, Debug)]
struct Attempt {
    life: Life,
    behaviour: Behaviour,
    capacity: Capacity,
    /// Whether the present agent wants to hear of it.
    is_attached: bool,
    /// Asked to stop before it ran.
    stop: Option<i32>,
}

/// What becomes of an attempt in a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    Begins,
    Ends { exit_code: i32, signal: i32 },
}

/// A turn and how many microseconds from now.
pub type InTime = (u64, Turn);

/// What the world must do about a turn that has come.
#[derive(Debug, Default)]
pub struct Came {
    /// To be told to the agent, if it is up.
    pub told: Option<TaskChange>,
    /// To be planned.
    pub next: Option<InTime>,
    pub has_begun: bool,
    pub has_ended: bool,
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Every attempt that a host knows of.
#[derive(Debug, Default)]
pub struct Drivers {
    attempts: BTreeMap<TaskKey, Attempt>,
    last_pid: u32,
}

impl Drivers {
    /// The agent wants an attempt started.
    ///
    /// # Errors
    /// An attempt with this key was started before.
    pub fn start(
        &mut self,
        key: TaskKey,
        capacity: Capacity,
        behaviour: Behaviour,
    ) -> Result<InTime, String> {
        let attempt =
            Attempt { life: Life::Starting, behaviour, capacity, is_attached: true, stop: None };
        match self.attempts.insert(key, attempt) {
            None => Ok((behaviour.start_us, Turn::Begins)),
            Some(before) => Err(format!("{key:?} was started before: {before:?}")),
        }
    }

    /// The agent looks for an attempt of an earlier agent.
    pub fn reattach(&mut self, key: TaskKey) -> TaskChange {
        let Some(attempt) = self.attempts.get_mut(&key) else { return TaskChange::Lost };
        attempt.is_attached = true;
        match attempt.life {
            Life::Starting => TaskChange::Lost,
            Life::Running { pid } => TaskChange::Started { pid },
            Life::Ended { exit_code, signal } => TaskChange::Exited { exit_code, signal },
        }
    }

    /// The agent wants an attempt to end of itself. A stubborn one does not; the agent must kill it.
    pub fn stop(&mut self, key: TaskKey) -> Option<InTime> {
        let attempt = self.attempts.get_mut(&key)?;
        match attempt.life {
            Life::Ended { .. } => None,
            Life::Starting => {
                attempt.stop = Some(SIGTERM);
                None
            }
            Life::Running { .. } => end_of(&attempt.behaviour),
        }
    }

    /// The agent wants an attempt gone.
    pub fn kill(&mut self, key: TaskKey) -> Option<InTime> {
        let attempt = self.attempts.get_mut(&key)?;
        match attempt.life {
            Life::Ended { .. } => None,
            Life::Starting => {
                attempt.stop = Some(SIGKILL);
                None
            }
            Life::Running { .. } => Some((2_000, Turn::Ends { exit_code: 137, signal: SIGKILL })),
        }
    }

    /// The alloc's files may go.
    ///
    /// # Errors
    /// One of its tasks still runs.
    pub fn destroy(&mut self, alloc: AllocId) -> Result<(), String> {
        let is_live = |attempt: &Attempt| !matches!(attempt.life, Life::Ended { .. });
        let living = self.attempts.iter().find(|(key, a)| key.alloc == alloc && is_live(a));
        if let Some((key, attempt)) = living {
            return Err(format!("the files of {key:?} go while it lives: {attempt:?}"));
        }
        self.attempts.retain(|key, _| key.alloc != alloc);
        Ok(())
    }

    /// A turn that was planned has come.
    pub fn come(&mut self, key: TaskKey, turn: Turn) -> Came {
        let Some(attempt) = self.attempts.get_mut(&key) else { return Came::default() };
        let mut came = match (turn, attempt.life) {
            (Turn::Begins, Life::Starting) => {
                self.last_pid += 1;
                begin(attempt, self.last_pid)
            }
            (Turn::Ends { exit_code, signal }, Life::Running { .. }) => {
                attempt.life = Life::Ended { exit_code, signal };
                let told = Some(TaskChange::Exited { exit_code, signal });
                Came { told, has_ended: true, ..Came::default() }
            }
            (Turn::Begins, Life::Running { .. } | Life::Ended { .. })
            | (Turn::Ends { .. }, Life::Starting | Life::Ended { .. }) => Came::default(),
        };
        if matches!(came.told, Some(TaskChange::StartFailed { .. })) {
            self.attempts.remove(&key);
        } else if !attempt.is_attached {
            came.told = None;
        }
        came
    }

    /// The agent died. What was about to start either has, or never will; answers what has.
    pub fn on_agent_gone(&mut self, rng: &mut Rng) -> Vec<TaskKey> {
        let mut begun = Vec::new();
        self.attempts.retain(|&key, attempt| {
            attempt.is_attached = false;
            if attempt.life == Life::Starting {
                if attempt.behaviour.start_failure.is_some() || rng.chance(500) {
                    return false;
                }
                begun.push(key);
            }
            true
        });
        begun
    }

    /// The machine lost power: answers which attempts ended by it.
    pub fn on_power_lost(&mut self) -> Vec<TaskKey> {
        let attempts = std::mem::take(&mut self.attempts);
        let runs = |attempt: &Attempt| matches!(attempt.life, Life::Running { .. });
        attempts.into_iter().filter(|(_, attempt)| runs(attempt)).map(|(key, _)| key).collect()
    }

    /// What runs now, with what its group takes.
    pub fn running(&self) -> impl Iterator<Item = (TaskKey, Capacity)> + '_ {
        let runs = |attempt: &Attempt| matches!(attempt.life, Life::Running { .. });
        let running = self.attempts.iter().filter(move |(_, attempt)| runs(attempt));
        running.map(|(&key, attempt)| (key, attempt.capacity))
    }
}

fn begin(attempt: &mut Attempt, pid: u32) -> Came {
    if let Some(remedy) = attempt.behaviour.start_failure {
        let why = "the simulated driver cannot start it".to_owned();
        return Came { told: Some(TaskChange::StartFailed { why, remedy }), ..Came::default() };
    }
    attempt.life = Life::Running { pid };
    let own_end = attempt.behaviour.run_ms.map(|run_ms| {
        (run_ms * 1_000, Turn::Ends { exit_code: attempt.behaviour.exit_code, signal: 0 })
    });
    let next = match attempt.stop {
        Some(SIGKILL) => Some((2_000, Turn::Ends { exit_code: 137, signal: SIGKILL })),
        Some(_) => end_of(&attempt.behaviour).or(own_end),
        None => own_end,
    };
    Came { told: Some(TaskChange::Started { pid }), next, has_begun: true, ..Came::default() }
}

fn end_of(behaviour: &Behaviour) -> Option<InTime> {
    let ends = Turn::Ends { exit_code: 0, signal: SIGTERM };
    (!behaviour.is_stubborn).then_some((behaviour.stop_ms * 1_000, ends))
}
