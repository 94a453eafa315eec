//! Whether an alloc can be relied on, as its client sees it: what deployments and drains wait for.
//!
//! | its tasks | verdict |
//! |---|---|
//! | all have run, and its checks passed, for `min_healthy_time` without a pause | healthy |
//! | one has ended for good | unhealthy |
//! | neither, until `healthy_deadline` after it came or took its version | unhealthy |
//!
//! Invariants
//! - there is at most one verdict for each version that the alloc runs as;
//! - none about an alloc that nobody waits for (batch), that an operator judges
//!   (`health_check = "manual"`), or that is being stopped.
//!
//! It does not survive the agent: whoever starts again begins to watch anew, unless there is a verdict.
use serde::{Deserialize, Serialize};

use super::Moment;
use super::task::{Stage, TaskRun};
use crate::time::MonoTime;
use crate::types::{AllocHealth, AllocSpec, AssignedAlloc, HealthCheck, JobKind};

/// The watch over one alloc.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Watch {
    /// When the alloc came, or took its version.
    since: MonoTime,
    /// Since when all of its tasks run and, where that is asked for, its checks pass.
    steady_since: Option<MonoTime>,
    verdict: Option<AllocHealth>,
}

impl Watch {
    pub(super) const fn new(now: MonoTime) -> Self {
        Self { since: now, steady_since: None, verdict: None }
    }

    pub(super) const fn restore(now: MonoTime, verdict: Option<AllocHealth>) -> Self {
        Self { since: now, steady_since: None, verdict }
    }

    pub(super) const fn verdict(&self) -> Option<AllocHealth> {
        self.verdict
    }

    /// Look at the tasks of an alloc that is not being stopped. Answers whether there is a verdict now.
    pub(super) fn look(
        &mut self,
        at: Moment,
        (policy, spec): (Option<Policy>, &AllocSpec),
        (tasks, are_well): (&[TaskRun], bool),
    ) -> bool {
        let Some(policy) = policy.filter(|_| !self.is_judged(spec)) else { return false };
        let is_up = tasks.iter().all(|task| task.stage == Stage::Running);
        if !is_up || policy.by_checks && !are_well {
            self.steady_since = None;
        } else if self.steady_since.is_none() {
            self.steady_since = Some(at.now);
        }
        let is_healthy = self.healthy_at(policy).is_some_and(|due| due <= at.now);
        let has_ended = tasks.iter().any(TaskRun::is_dead);
        let is_late = self.since.plus_ms(policy.healthy_deadline_ms) <= at.now;
        if !is_healthy && !has_ended && !is_late {
            return false;
        }
        self.verdict =
            Some(AllocHealth { version: spec.version, healthy: is_healthy, at: at.wall });
        true
    }

    /// When `look` may find something that nobody says.
    pub(super) fn deadline(&self, policy: Option<Policy>, spec: &AllocSpec) -> Option<MonoTime> {
        let policy = policy.filter(|_| !self.is_judged(spec))?;
        let late = self.since.plus_ms(policy.healthy_deadline_ms);
        Some(self.healthy_at(policy).map_or(late, |healthy| healthy.min(late)))
    }

    fn is_judged(&self, spec: &AllocSpec) -> bool {
        self.verdict.is_some_and(|verdict| verdict.version == spec.version)
    }

    fn healthy_at(&self, policy: Policy) -> Option<MonoTime> {
        let wait_ms = if planted!(HealthyTooEarly) { 0 } else { policy.min_healthy_ms };
        self.steady_since.map(|since| since.plus_ms(wait_ms))
    }
}

/// How long an alloc must run, and may take to do so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Policy {
    min_healthy_ms: u64,
    healthy_deadline_ms: u64,
    by_checks: bool,
}

impl Policy {
    /// The update's while a deployment watches, the migration's otherwise; `None`: the client is not
    /// asked.
    pub(super) fn of(run: &AssignedAlloc, spec: &AllocSpec) -> Option<Self> {
        let (update, migrate) = (&spec.group.update, &spec.group.migrate);
        let is_watched = run.is_deployed && 0 < update.parallel_max;
        let (check, min_healthy_ms, healthy_deadline_ms) = if is_watched {
            (update.health_check, update.min_healthy_ms, update.healthy_deadline_ms)
        } else {
            (migrate.health_check, migrate.min_healthy_ms, migrate.healthy_deadline_ms)
        };
        let is_asked = match check {
            HealthCheck::Checks | HealthCheck::TaskStates => true,
            HealthCheck::Manual => false,
        };
        let is_service = match spec.kind {
            JobKind::Service => true,
            JobKind::Batch | JobKind::System | JobKind::Sysbatch => false,
        };
        let by_checks = check == HealthCheck::Checks;
        (is_service && is_asked).then_some(Self { min_healthy_ms, healthy_deadline_ms, by_checks })
    }
}
