//! The two clocks of the machine, and the only place that reads them.
//!
//! Invariants
//! - monotonic readings grow strictly, across threads too;
//! - the monotonic clock counts suspend, so a laptop's nap is not hidden from deadlines.
use std::sync::atomic::{AtomicU64, Ordering};

use drover_core::time::{MonoTime, WallTime};

/// Reads both clocks.
#[derive(Debug, Default)]
pub struct Clock {
    last_ns: AtomicU64,
}

impl Clock {
    /// A clock of its own strictness.
    #[must_use]
    pub const fn new() -> Self {
        Self { last_ns: AtomicU64::new(0) }
    }

    /// Later than every reading before.
    pub fn mono(&self) -> MonoTime {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
        let ns = seconds * 1_000_000_000 + u64::try_from(read.tv_nsec).unwrap_or_default();
        let before = self.last_ns.fetch_max(ns, Ordering::Relaxed);
        if before < ns {
            return MonoTime { ns };
        }
        MonoTime { ns: self.last_ns.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Milliseconds since the Unix epoch, as the machine believes.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
        let ms = u64::try_from(read.tv_nsec).unwrap_or_default() / 1_000_000;
        WallTime { unix_ms: seconds * 1_000 + ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_readings_grow_strictly() {
        let clock = Clock::new();
        let readings: Vec<_> = (0..10_000).map(|_| clock.mono()).collect();
        assert!(readings.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
