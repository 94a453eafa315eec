//! Moments as the API writes them: nanoseconds since the Unix epoch, or RFC 3339.
//!
//! Invariants
//! - every moment up to the year 9999 is written as UTC with a four-digit year.
use drover_core::time::WallTime;

/// The last second of the year 9999.
const LAST_S: u64 = 253_402_300_799;

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn unix_ns(at: WallTime) -> i64 {
    i64::try_from(at.unix_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

/// Milliseconds in nanoseconds, as durations are written.
#[must_use]
pub fn duration_ns(ms: u64) -> i64 {
    unix_ns(WallTime { unix_ms: ms })
}

/// `2026-11-22T11:28:24.315Z`.
#[must_use]
pub fn rfc3339(at: WallTime) -> String {
    let seconds = (at.unix_ms / 1_000).min(LAST_S);
    let ms = at.unix_ms % 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The date `days` after 1970-01-01. Years are counted from March, so that the leap day is last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_calendars_have_them() {
        let at = |unix_ms| rfc3339(WallTime { unix_ms });
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_346_904_315), "2026-11-22T11:28:24.315Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00Z");
        assert!(at(u64::MAX).starts_with("9999-12-31"));
    }
}
