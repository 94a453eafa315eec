//! One task of an alloc: its attempts, one after the other.
//!
//! | stage | a process may live | leaves on |
//! |---|---|---|
//! | ready | no | its record is durable: starting |
//! | backoff | no | the delay is over: the next attempt is ready |
//! | starting, reattaching | yes | the driver's word |
//! | running | yes | its end; a stop |
//! | delayed | yes | `shutdown_delay` is over: stopping |
//! | stopping | yes | its end; killed after `kill_timeout`, again and again |
//! | dead | no | never |
//!
//! Invariants
//! - at most one attempt may live: the next begins after the driver's word that this one ended;
//! - dead is final;
//! - at most `TASK_EVENTS_MAX` events are kept.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Moment;
use super::restart::{Decision, End, Restarts, RestartsRow};
use super::words;
use crate::limits::TASK_EVENTS_MAX;
use crate::rng::Rng;
use crate::time::{MonoTime, WallTime};
use crate::types::{JobKind, Remedy, RestartPolicy, TaskEventKind, TaskPhase, TaskState};

/// First wait between two kills of a task that does not die; it doubles up to `KILL_RETRY_MS_MAX`.
const KILL_RETRY_MS_MIN: u64 = 5_000;
/// See `KILL_RETRY_MS_MIN`.
const KILL_RETRY_MS_MAX: u64 = 120_000;

/// One task.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct TaskRun {
    pub(super) attempt: u32,
    pub(super) stage: Stage,
    pub(super) state: TaskState,
    restarts: Restarts,
    /// It vanished while the agent was away: the servers may have replaced its alloc meanwhile, so
    /// it starts again only after they have been heard.
    pub(super) is_lost: bool,
}

/// See the module's table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Stage {
    Ready,
    Backoff { until: MonoTime },
    Starting,
    Reattaching,
    Running,
    Delayed { until: MonoTime, purpose: Purpose },
    Stopping { kill_at: MonoTime, kill_retry_ms: u64, purpose: Purpose },
    Dead,
}

/// What a stop is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Purpose {
    End,
    Restart,
}

/// What the end of an attempt is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) kind: JobKind,
    pub(super) policy: &'a RestartPolicy,
    /// Whether its alloc is being stopped.
    pub(super) is_alloc_stopping: bool,
}

/// One task, as it must be known to start again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskRow {
    pub attempt: u32,
    pub state: TaskState,
    /// It waits this long for its next attempt; `None`: `attempt` may live, or it is dead.
    pub backoff_left_ms: Option<u64>,
    pub restarts: RestartsRow,
}

impl TaskRun {
    /// Just assigned.
    pub(super) fn new(wall: WallTime) -> Self {
        let state = TaskState {
            phase: TaskPhase::Pending,
            failed: false,
            restarts: 0,
            last_restart: None,
            started_at: None,
            finished_at: None,
            events: Vec::new(),
        };
        let restarts = Restarts::default();
        let mut this = Self { attempt: 0, stage: Stage::Ready, state, restarts, is_lost: false };
        this.note(wall, TaskEventKind::Received, words::RECEIVED);
        this
    }

    /// Read from the log: whatever may live is looked for first.
    pub(super) fn restore(now: MonoTime, row: TaskRow) -> Self {
        let stage = match (row.state.phase, row.backoff_left_ms) {
            (TaskPhase::Dead, _) => Stage::Dead,
            (TaskPhase::Pending | TaskPhase::Running, Some(left_ms)) => {
                Stage::Backoff { until: now.plus_ms(left_ms) }
            }
            (TaskPhase::Pending | TaskPhase::Running, None) => Stage::Reattaching,
        };
        let restarts = Restarts::restore(now, row.restarts);
        Self { attempt: row.attempt, stage, state: row.state, restarts, is_lost: false }
    }

    pub(super) fn row(&self, now: MonoTime) -> TaskRow {
        let backoff_left_ms = match self.stage {
            Stage::Backoff { until } => Some(until.ms_since(now)),
            Stage::Ready
            | Stage::Starting
            | Stage::Reattaching
            | Stage::Running
            | Stage::Delayed { .. }
            | Stage::Stopping { .. }
            | Stage::Dead => None,
        };
        let restarts = self.restarts.row(now);
        TaskRow { attempt: self.attempt, state: self.state.clone(), backoff_left_ms, restarts }
    }

    /// Whether a process may exist.
    pub(super) const fn may_live(&self) -> bool {
        match self.stage {
            Stage::Starting
            | Stage::Reattaching
            | Stage::Running
            | Stage::Delayed { .. }
            | Stage::Stopping { .. } => true,
            Stage::Ready | Stage::Backoff { .. } | Stage::Dead => false,
        }
    }

    /// Whether it runs and nobody has begun to stop it; as far as is known, while it is looked for.
    pub(super) fn is_up(&self) -> bool {
        let was_running = self.state.phase == TaskPhase::Running;
        self.stage == Stage::Running || self.stage == Stage::Reattaching && was_running
    }

    pub(super) const fn is_dead(&self) -> bool {
        matches!(self.stage, Stage::Dead)
    }

    /// The driver says that it runs. Answers whether that is news.
    pub(super) fn on_started(&mut self, at: Moment) -> bool {
        if !self.may_live() || self.stage == Stage::Running {
            return false;
        }
        if matches!(self.stage, Stage::Starting | Stage::Reattaching) {
            self.stage = Stage::Running;
        }
        if self.state.phase != TaskPhase::Running {
            self.state.phase = TaskPhase::Running;
            self.state.started_at = Some(at.wall);
            self.note(at.wall, TaskEventKind::Started, words::STARTED);
        }
        true
    }

    pub(super) fn on_exited(
        &mut self,
        at: Moment,
        ended: (i32, i32),
        terms: Terms<'_>,
        rng: &mut Rng,
    ) -> bool {
        let (exit_code, signal) = ended;
        let kind = TaskEventKind::Terminated { exit_code, signal };
        let end = if ended == (0, 0) { End::Succeeded } else { End::Failed };
        self.may_live() && {
            self.note(at.wall, kind, &words::exited(exit_code, signal));
            self.follow_end(at, end, terms, rng);
            true
        }
    }

    pub(super) fn on_start_failed(
        &mut self,
        at: Moment,
        fault: (&str, Remedy),
        terms: Terms<'_>,
        rng: &mut Rng,
    ) -> bool {
        let (why, remedy) = fault;
        let end = match remedy {
            Remedy::Retry => End::Failed,
            Remedy::None => End::Hopeless,
        };
        self.may_live() && {
            self.note(at.wall, TaskEventKind::DriverFailure, why);
            self.follow_end(at, end, terms, rng);
            true
        }
    }

    /// No process of this attempt exists, and nobody knows how it ended.
    pub(super) fn on_lost(&mut self, at: Moment, terms: Terms<'_>, rng: &mut Rng) -> bool {
        if !self.may_live() {
            return false;
        }
        self.is_lost = true;
        if self.state.phase == TaskPhase::Running || terms.is_alloc_stopping {
            self.note(at.wall, TaskEventKind::Lost, words::LOST);
            self.follow_end(at, End::Failed, terms, rng);
        } else {
            // As far as is known it was never started: that is no failure of the task.
            self.stage = Stage::Backoff { until: at.now };
        }
        true
    }

    /// The backoff is over.
    pub(super) fn begin_next_attempt(&mut self) {
        assert!(!self.may_live(), "at most one attempt may live");
        self.attempt = self.attempt.checked_add(1).expect("invariant: attempts are delayed");
        self.stage = Stage::Ready;
    }

    /// Wanted gone, or gone and back. A task without a process is done with at once.
    pub(super) fn begin_stop(&mut self, at: Moment, purpose: Purpose, delay_ms: u64) {
        match self.stage {
            Stage::Ready | Stage::Backoff { .. } => match purpose {
                Purpose::End => {
                    self.note(at.wall, TaskEventKind::Killed, words::KILLED);
                    self.die(at.wall);
                }
                Purpose::Restart => self.stage = Stage::Backoff { until: at.now },
            },
            Stage::Starting | Stage::Running => {
                self.stage = Stage::Delayed { until: at.now.plus_ms(delay_ms), purpose };
            }
            Stage::Delayed { until, .. } if purpose == Purpose::End => {
                self.stage = Stage::Delayed { until, purpose };
            }
            Stage::Stopping { kill_at, kill_retry_ms, .. } if purpose == Purpose::End => {
                self.stage = Stage::Stopping { kill_at, kill_retry_ms, purpose };
            }
            // The driver's word comes first.
            Stage::Reattaching => {}
            Stage::Delayed { .. } | Stage::Stopping { .. } | Stage::Dead => {}
        }
    }

    /// The stop signal goes out now.
    pub(super) fn begin_kill(&mut self, at: Moment, purpose: Purpose, timeout_ms: u64) {
        let kind = TaskEventKind::Killing { timeout_ms };
        self.note(at.wall, kind, &words::killing(timeout_ms));
        let kill_at = at.now.plus_ms(timeout_ms);
        self.stage = Stage::Stopping { kill_at, kill_retry_ms: KILL_RETRY_MS_MIN, purpose };
    }

    /// Whether it must be killed now; if it does not die, this will be so again later.
    pub(super) fn is_kill_due(&mut self, now: MonoTime) -> bool {
        let Stage::Stopping { kill_at, kill_retry_ms, purpose } = self.stage else {
            return false;
        };
        if now < kill_at || planted!(KillForgotten) {
            return false;
        }
        let kill_at = now.plus_ms(kill_retry_ms);
        let kill_retry_ms = (kill_retry_ms * 2).min(KILL_RETRY_MS_MAX);
        self.stage = Stage::Stopping { kill_at, kill_retry_ms, purpose };
        true
    }

    /// When something falls due by itself.
    pub(super) const fn deadline(&self) -> Option<MonoTime> {
        match self.stage {
            Stage::Backoff { until } | Stage::Delayed { until, .. } => Some(until),
            Stage::Stopping { kill_at, .. } => Some(kill_at),
            Stage::Ready | Stage::Starting | Stage::Reattaching | Stage::Running | Stage::Dead => {
                None
            }
        }
    }

    /// It will never run.
    pub(super) fn refuse(&mut self, wall: WallTime, why: &str) {
        self.note(wall, TaskEventKind::SetupFailure, why);
        self.state.failed = true;
        self.die(wall);
    }

    /// One more line of history.
    pub(super) fn note(&mut self, wall: WallTime, kind: TaskEventKind, message: &str) {
        if self.state.events.len() == TASK_EVENTS_MAX {
            self.state.events.remove(0);
        }
        self.state.events.push(words::event(wall, kind, message));
    }

    fn follow_end(&mut self, at: Moment, end: End, terms: Terms<'_>, rng: &mut Rng) {
        let purpose = match self.stage {
            Stage::Delayed { purpose, .. } | Stage::Stopping { purpose, .. } => Some(purpose),
            Stage::Ready
            | Stage::Backoff { .. }
            | Stage::Starting
            | Stage::Reattaching
            | Stage::Running
            | Stage::Dead => None,
        };
        if terms.is_alloc_stopping || purpose == Some(Purpose::End) {
            self.note(at.wall, TaskEventKind::Killed, words::KILLED);
            return self.die(at.wall);
        }
        if purpose == Some(Purpose::Restart) {
            return self.back_off(at, 0, None);
        }
        match self.restarts.on_end(at.now, end, (terms.kind, terms.policy), rng) {
            Decision::Restart { delay_ms, reason } => self.back_off(at, delay_ms, reason),
            Decision::Complete => self.die(at.wall),
            Decision::GiveUp { reason } => {
                self.note(at.wall, TaskEventKind::NotRestarting, &reason);
                self.state.failed = true;
                self.die(at.wall);
            }
        }
    }

    fn back_off(&mut self, at: Moment, delay_ms: u64, reason: Option<&str>) {
        let message: String = words::restarting(delay_ms, reason);
        self.note(at.wall, TaskEventKind::Restarting { delay_ms }, &message);
        self.state.phase = TaskPhase::Pending;
        self.state.restarts = self.state.restarts.saturating_add(1);
        self.state.last_restart = Some(at.wall);
        self.stage = Stage::Backoff { until: at.now.plus_ms(delay_ms) };
    }

    fn die(&mut self, wall: WallTime) {
        assert!(!self.is_dead(), "dead is final");
        self.stage = Stage::Dead;
        self.state.phase = TaskPhase::Dead;
        self.state.finished_at = Some(wall);
    }
}
