//! The two clocks. Neither can be read here: both only ever arrive inside an `Input`.
//!
//! Invariants
//! - monotonic time is compared only with monotonic time of the same boot;
//! - wall time is only stamped into commands, and compared only inside the state machine.
use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Nanoseconds on a clock that counts suspend. Strictly increasing from one input to the next.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct MonoTime {
    /// Nanoseconds since an arbitrary moment before this agent started.
    pub ns: u64,
}

impl MonoTime {
    /// The moment `ms` later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { ns: self.ns.saturating_add(ms.saturating_mul(1_000_000)) }
    }

    /// Whole milliseconds since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.ns.saturating_sub(earlier.ns) / 1_000_000
    }
}

/// Milliseconds since the Unix epoch. May jump either way between inputs.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct WallTime {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl WallTime {
    /// The moment `ms` later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { unix_ms: self.unix_ms.saturating_add(ms) }
    }

    /// Whole milliseconds since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.unix_ms.saturating_sub(earlier.unix_ms)
    }
}

/// As Go writes durations: `0s`, `250ms`, `15.5s`, `30m0s`, `24h0m0s`.
#[must_use]
pub fn go_duration(ms: u64) -> String {
    if ms == 0 {
        return String::from("0s");
    }
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let seconds = match ms % 1_000 {
        0 => format!("{seconds}s"),
        rest => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}
