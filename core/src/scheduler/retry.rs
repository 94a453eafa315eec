//! When a failed alloc is placed again, if at all.
//!
//! Source: Nomad's `reschedule` block. The delay grows from one rescheduling of a chain to the next;
//! when it has reached its largest and the alloc then lived longer than that, it starts anew.
//!
//! Invariants
//! - a bounded policy reschedules at most `attempts` times within `interval_ms`;
//! - a delay is at most `delay_ms_max`, where that is given.
use crate::time::WallTime;
use crate::types::{Allocation, DelayFunction, RescheduleEvent, ReschedulePolicy};

/// Due this soon is due now: the moment was computed from another entry's stamp.
pub(super) const SLACK_MS: u64 = 1_000;

/// What is done about a failed alloc.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Retry {
    Now {
        delay_ms: u64,
    },
    Later {
        due: WallTime,
    },
    /// Its attempts are used up.
    Never,
}

/// What `policy` does at `now` about `alloc`, whose failure the servers learned at its last change.
pub(super) fn decide(policy: &ReschedulePolicy, alloc: &Allocation, now: WallTime) -> Retry {
    if !may_retry(policy, &alloc.reschedules, alloc.modify_time) {
        return Retry::Never;
    }
    let delay_ms = delay(policy, &alloc.reschedules, alloc.modify_time);
    let due = alloc.modify_time.plus_ms(delay_ms);
    if due <= now.plus_ms(SLACK_MS) { Retry::Now { delay_ms } } else { Retry::Later { due } }
}

fn may_retry(policy: &ReschedulePolicy, past: &[RescheduleEvent], failed_at: WallTime) -> bool {
    if policy.unlimited {
        return true;
    }
    let within = past.iter().filter(|event| failed_at.ms_since(event.at) < policy.interval_ms);
    within.count() < usize::try_from(policy.attempts).unwrap_or(usize::MAX)
}

/// How long after its failure the alloc is placed again.
pub(super) fn delay(
    policy: &ReschedulePolicy,
    past: &[RescheduleEvent],
    failed_at: WallTime,
) -> u64 {
    let Some(last) = past.last() else {
        return policy.delay_ms;
    };
    let grown = match policy.delay_function {
        DelayFunction::Constant => return policy.delay_ms,
        DelayFunction::Exponential => last.delay_ms.saturating_mul(2),
        DelayFunction::Fibonacci => match past {
            [.., before, _] if before.delay_ms <= last.delay_ms => {
                before.delay_ms.saturating_add(last.delay_ms)
            }
            // The first step, or the first after the delay started anew.
            _ => last.delay_ms,
        },
    };
    let most = policy.delay_ms_max;
    if most == 0 || grown <= most {
        return grown;
    }
    if most < failed_at.ms_since(last.at) { policy.delay_ms } else { most }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::types::{AllocId, NodeId};

    fn chain(function: DelayFunction, most: u64, lived_ms: u64, length: usize) -> Vec<u64> {
        let policy = ReschedulePolicy {
            attempts: 0,
            interval_ms: 0,
            delay_ms: 5,
            delay_function: function,
            delay_ms_max: most,
            unlimited: true,
        };
        let (mut past, mut now) = (Vec::new(), WallTime::default());
        for _ in 0..length {
            now = now.plus_ms(lived_ms);
            let delay_ms = delay(&policy, &past, now);
            now = now.plus_ms(delay_ms);
            let (from, from_node) = (AllocId(1), NodeId(1));
            past.push(RescheduleEvent { at: now, from, from_node, delay_ms });
        }
        past.iter().map(|event| event.delay_ms).collect()
    }

    #[test]
    fn delays_grow_as_the_function_says_and_stop_at_the_largest() {
        assert_eq!(chain(DelayFunction::Constant, 0, 1, 3), [5, 5, 5]);
        assert_eq!(chain(DelayFunction::Exponential, 30, 1, 5), [5, 10, 20, 30, 30]);
        assert_eq!(chain(DelayFunction::Fibonacci, 30, 1, 6), [5, 5, 10, 15, 25, 30]);
    }

    #[test]
    fn an_alloc_that_outlived_the_largest_delay_starts_anew() {
        assert_eq!(chain(DelayFunction::Exponential, 8, 100, 4), [5, 5, 5, 5]);
        assert_eq!(chain(DelayFunction::Fibonacci, 8, 100, 5), [5, 5, 5, 5, 5]);
    }

    #[test]
    fn attempts_are_counted_within_the_interval() {
        let policy = ReschedulePolicy {
            attempts: 2,
            interval_ms: 100,
            unlimited: false,
            ..ReschedulePolicy::default_of(crate::types::JobKind::Batch)
        };
        let at = |unix_ms| RescheduleEvent {
            at: WallTime { unix_ms },
            from: AllocId(1),
            from_node: NodeId(1),
            delay_ms: 5,
        };
        let failed_at = WallTime { unix_ms: 200 };
        assert!(!may_retry(&policy, &[at(150), at(160)], failed_at));
        assert!(may_retry(&policy, &[at(90), at(160)], failed_at));
    }
}
