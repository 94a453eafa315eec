//! The restart policy: what follows the end of a task.
//!
//! Within `interval_ms` of the first end, `attempts` restarts are allowed, each after `delay_ms` and
//! up to a quarter more, so that tasks that fell together do not rise together. What comes after
//! is said by `mode`. What never ends by itself (a service, a system job) is restarted however it ended,
//! a batch task only if it failed.
//!
//! Invariants
//! - more than `attempts` restarts within one interval happen only in mode `delay`, and there the
//!   next one waits for the interval's end.
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use super::words;
use crate::rng::Rng;
use crate::time::MonoTime;
use crate::types::{JobKind, RestartMode, RestartPolicy};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Succeeded,
    Failed,
    /// It could never succeed here.
    Hopeless,
}

/// What follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    Restart {
        delay_ms: u64,
        reason: Option<&'static str>,
    },
    /// It has done what it was for.
    Complete,
    GiveUp {
        reason: String,
    },
}

/// Restarts counted within the current interval.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Restarts {
    count: u32,
    /// When the interval ends; `None` before the first end.
    interval_end: Option<MonoTime>,
}

/// The same, as it outlives the agent: monotonic time does not.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RestartsRow {
    pub count: u32,
    pub interval_left_ms: Option<u64>,
}

impl Restarts {
    /// Counts one more end and says what follows.
    pub(super) fn on_end(
        &mut self,
        now: MonoTime,
        end: End,
        terms: (JobKind, &RestartPolicy),
        rng: &mut Rng,
    ) -> Decision {
        let (kind, policy) = terms;
        match end {
            End::Succeeded if kind.ends() => return Decision::Complete,
            End::Hopeless => {
                return Decision::GiveUp { reason: "Error was unrecoverable".to_string() };
            }
            End::Succeeded | End::Failed => {}
        }
        if policy.attempts == 0 {
            return Decision::GiveUp { reason: "Policy allows no restarts".to_string() };
        }
        let interval_end = match self.interval_end {
            Some(interval_end) if now <= interval_end => interval_end,
            Some(_) | None => {
                self.count = 0;
                now.plus_ms(policy.interval_ms)
            }
        };
        self.interval_end = Some(interval_end);
        self.count = self.count.saturating_add(1);
        if self.count <= policy.attempts {
            let delay_ms = policy.delay_ms.saturating_add(rng.between(0, policy.delay_ms / 4));
            return Decision::Restart { delay_ms, reason: None };
        }
        match policy.mode {
            RestartMode::Fail => {
                let reason = words::attempts_exceeded(policy.attempts, policy.interval_ms);
                Decision::GiveUp { reason }
            }
            RestartMode::Delay => {
                let reason = Some("Exceeded allowed attempts, applying a delay");
                Decision::Restart { delay_ms: interval_end.ms_since(now), reason }
            }
        }
    }

    pub(super) fn row(&self, now: MonoTime) -> RestartsRow {
        let interval_left_ms = self.interval_end.map(|end| end.ms_since(now));
        RestartsRow { count: self.count, interval_left_ms }
    }

    pub(super) fn restore(now: MonoTime, row: RestartsRow) -> Self {
        let interval_end = row.interval_left_ms.map(|left_ms| now.plus_ms(left_ms));
        Self { count: row.count, interval_end }
    }
}
