//! The clocks of one host: how far both are from the world's time.
//!
//! Invariants
//! - the monotonic clock is strictly increasing from one reading to the next;
//! - at the moment that `moment_of` answers, the monotonic clock has reached what was asked for.
use drover_core::time::{MonoTime, WallTime};

/// A moment of the world, in nanoseconds since it began. No host can read it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment {
    /// Nanoseconds since the world began.
    pub ns: u64,
}

/// Where every wall clock stood when the world began, but for its skew.
const EPOCH_UNIX_MS: u64 = 1_790_000_000_000;

impl Moment {
    /// The moment `ms` after the world began.
    #[must_use]
    pub const fn at_ms(ms: u64) -> Self {
        Self { ns: ms * 1_000_000 }
    }

    /// The moment `us` microseconds later.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self { ns: self.ns + us * 1_000 }
    }

    /// The moment `ms` later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { ns: self.ns + ms * 1_000_000 }
    }

    /// Whole milliseconds since the world began.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.ns / 1_000_000
    }

    /// Whole milliseconds since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.ns.saturating_sub(earlier.ns) / 1_000_000
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}s", self.ns / 1_000_000_000, self.ns / 1_000 % 1_000_000)
    }
}

const MILLION: i64 = 1_000_000;

/// No world lasts for centuries.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Both clocks of one host.
#[derive(Clone, Debug)]
pub struct HostClock {
    /// What the monotonic clock showed when the world began.
    base_ns: u64,
    drift_ppm: i64,
    skew_ms: i64,
    last_ns: u64,
}

impl HostClock {
    /// Clocks that run `drift_ppm` fast and whose wall time is `skew_ms` ahead.
    #[must_use]
    pub const fn new(base_ns: u64, drift_ppm: i64, skew_ms: i64) -> Self {
        Self { base_ns, drift_ppm, skew_ms, last_ns: 0 }
    }

    /// Reads the monotonic clock.
    pub fn read_mono(&mut self, at: Moment) -> MonoTime {
        let ns = self.base_ns + self.drifted(at.ns);
        self.last_ns = ns.max(self.last_ns + 1);
        MonoTime { ns: self.last_ns }
    }

    /// Reads the wall clock.
    #[must_use]
    pub fn wall(&self, at: Moment) -> WallTime {
        let unix_ms = EPOCH_UNIX_MS + self.drifted(at.ms());
        WallTime { unix_ms: unix_ms.saturating_add_signed(self.skew_ms) }
    }

    /// The first moment at which the monotonic clock shows `mono` or more.
    #[must_use]
    pub fn moment_of(&self, mono: MonoTime) -> Moment {
        // The division of the whole, but for what is known of its outcome: so it does not overflow.
        let since_base = signed(mono.ns.saturating_sub(self.base_ns));
        let less = since_base.saturating_mul(self.drift_ppm).div_euclid(MILLION + self.drift_ppm);
        Moment { ns: u64::try_from(since_base - less + 1).unwrap_or(0) }
    }

    /// What this clock makes of a time that passed.
    fn drifted(&self, time: u64) -> u64 {
        let more = signed(time).saturating_mul(self.drift_ppm).div_euclid(MILLION);
        time.saturating_add_signed(more)
    }

    /// The wall clock is set `by_ms` forward.
    pub const fn jump_wall(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_at_the_moment_it_stands_for_and_not_much_earlier() {
        for drift_ppm in [-200, 0, 137] {
            let mut clock = HostClock::new(77, drift_ppm, 0);
            for ms in [1, 1_000, 3_600_000] {
                let deadline = MonoTime { ns: 77 + ms * 1_000_000 };
                let at = clock.moment_of(deadline);
                assert!(deadline <= clock.clone().read_mono(at));
                assert!(clock.read_mono(Moment { ns: at.ns - 3 }) < deadline);
            }
        }
    }
}
