//! The two clocks of the machine, and the only place that reads them.
//!
//! Invariants
//! - monotonic readings grow strictly, across threads too;
//! - the monotonic clock counts suspend, so a laptop's nap is not hidden from deadlines.
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use drover_core::time::{MonoTime, WallTime};

/// Where both clocks are read: the machine's own, unless somebody simulates one.
pub trait Readings: fmt::Debug + Send + Sync {
    /// Nanoseconds since some moment before the agent began. They may stand still.
    fn mono_ns(&self) -> u64;
    /// What the machine believes to be the time.
    fn wall(&self) -> WallTime;
}

/// Reads both clocks.
#[derive(Debug, Default)]
pub struct Clock {
    last_ns: AtomicU64,
    /// `None`: this machine's.
    readings: Option<Box<dyn Readings>>,
}

impl Clock {
    /// A clock of its own strictness.
    #[must_use]
    pub const fn new() -> Self {
        Self { last_ns: AtomicU64::new(0), readings: None }
    }

    /// As `new`, of another machine than this one.
    #[must_use]
    pub fn of(readings: impl Readings + 'static) -> Self {
        Self { last_ns: AtomicU64::new(0), readings: Some(Box::new(readings)) }
    }

    /// Later than every reading before.
    pub fn mono(&self) -> MonoTime {
        let ns = match &self.readings {
            None => boottime_ns(),
            Some(readings) => readings.mono_ns(),
        };
        let before = self.last_ns.fetch_max(ns, Ordering::Relaxed);
        if before < ns {
            return MonoTime { ns };
        }
        MonoTime { ns: self.last_ns.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Milliseconds since the Unix epoch, as the machine believes.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        match &self.readings {
            None => realtime(),
            Some(readings) => readings.wall(),
        }
    }
}

fn boottime_ns() -> u64 {
    let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(read.tv_nsec).unwrap_or_default()
}

fn realtime() -> WallTime {
    let read = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    let ms = u64::try_from(read.tv_nsec).unwrap_or_default() / 1_000_000;
    WallTime { unix_ms: seconds * 1_000 + ms }
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

    #[derive(Debug)]
    struct Stopped;

    impl Readings for Stopped {
        fn mono_ns(&self) -> u64 {
            7
        }

        fn wall(&self) -> WallTime {
            WallTime { unix_ms: 9 }
        }
    }

    #[test]
    fn a_machine_whose_clock_stands_still_gives_growing_readings_too() {
        let clock = Clock::of(Stopped);
        assert_eq!([clock.mono().ns, clock.mono().ns, clock.mono().ns], [7, 8, 9]);
        assert_eq!(clock.wall().unix_ms, 9);
    }
}
