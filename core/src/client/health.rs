//! Whether an alloc can be relied on, as its client sees it: what a deployment waits for.
//!
//! | its tasks | verdict |
//! |---|---|
//! | all have run for `min_healthy_time` without a pause | healthy |
//! | one has ended for good | unhealthy |
//! | neither, until `healthy_deadline` after it came or took its version | unhealthy |
//!
//! Invariants
//! - there is at most one verdict for each version that the alloc runs as;
//! - none about an alloc that nobody watches (`max_parallel = 0`, batch), that an operator judges
//!   (`health_check = "manual"`), or that is being stopped.
//!
//! It does not survive the agent: whoever starts again begins to watch anew, unless there is a verdict.
use serde::{Deserialize, Serialize};

use super::Moment;
use super::task::{Stage, TaskRun};
use crate::time::MonoTime;
use crate::types::{AllocHealth, AllocSpec, HealthCheck, JobKind, UpdatePolicy};

/// The watch over one alloc.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Watch {
    /// When the alloc came, or took its version.
    since: MonoTime,
    /// Since when all of its tasks run.
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
    pub(super) fn look(&mut self, at: Moment, spec: &AllocSpec, tasks: &[TaskRun]) -> bool {
        if !is_watched(spec) || self.is_judged(spec) {
            return false;
        }
        let policy = &spec.group.update;
        if !tasks.iter().all(|task| task.stage == Stage::Running) {
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
    pub(super) fn deadline(&self, spec: &AllocSpec) -> Option<MonoTime> {
        if !is_watched(spec) || self.is_judged(spec) {
            return None;
        }
        let policy = &spec.group.update;
        let late = self.since.plus_ms(policy.healthy_deadline_ms);
        Some(self.healthy_at(policy).map_or(late, |healthy| healthy.min(late)))
    }

    fn is_judged(&self, spec: &AllocSpec) -> bool {
        self.verdict.is_some_and(|verdict| verdict.version == spec.version)
    }

    fn healthy_at(&self, policy: &UpdatePolicy) -> Option<MonoTime> {
        let wait_ms = if planted!(HealthyTooEarly) { 0 } else { policy.min_healthy_ms };
        self.steady_since.map(|since| since.plus_ms(wait_ms))
    }
}

/// Whether a deployment wants to know, and asks the client.
fn is_watched(spec: &AllocSpec) -> bool {
    let policy = &spec.group.update;
    let is_asked = match policy.health_check {
        HealthCheck::Checks | HealthCheck::TaskStates => true,
        HealthCheck::Manual => false,
    };
    spec.kind == JobKind::Service && 0 < policy.parallel_max && is_asked
}
