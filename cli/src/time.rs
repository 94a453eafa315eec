//! Moments as people read them: `2026-11-24T22:36:02Z`, or `5m10s ago`.
//!
//! Invariants
//! - what is printed is UTC, so that lines of two machines can be compared.
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_NS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// What `now_unix_ns` answers; zero: the time of this machine.
static PRETENDED_UNIX_NS: AtomicI64 = AtomicI64::new(0);

/// From here on it is `unix_ns`: what is shown is as of then.
pub(crate) fn pretend_now(unix_ns: i64) {
    PRETENDED_UNIX_NS.store(unix_ns, Ordering::Relaxed);
}

/// Now, in nanoseconds since 1970.
pub(crate) fn now_unix_ns() -> i64 {
    let pretended = PRETENDED_UNIX_NS.load(Ordering::Relaxed);
    if pretended != 0 {
        return pretended;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `unix_ns` to the second; zero, which means never, as `N/A`.
pub(crate) fn stamp(unix_ns: i64) -> String {
    if unix_ns == 0 {
        return "N/A".to_owned();
    }
    let seconds = unix_ns.div_euclid(SECOND_NS);
    let (days, rest) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// How long before (or after) `now` a moment is, by its two largest units.
pub(crate) fn ago(unix_ns: i64, now_unix_ns: i64) -> String {
    if unix_ns == 0 {
        return "N/A".to_owned();
    }
    let seconds = (now_unix_ns - unix_ns) / SECOND_NS;
    let side = if seconds < 0 { "from now" } else { "ago" };
    format!("{} {side}", span(seconds.abs()))
}

/// A duration in seconds by its two largest units: `1d4h`, `5m10s`, `3s`.
pub(crate) fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 6] =
        [(31_536_000, "y"), (2_592_000, "mo"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(size, _)| *size <= seconds).unwrap_or(UNITS.len() - 1);
    let (size, name) = UNITS[first];
    let mut text = format!("{}{name}", seconds / size);
    if let Some((next, name)) = UNITS.get(first + 1) {
        let more = seconds % size / next;
        if more > 0 {
            text.push_str(&format!("{more}{name}"));
        }
    }
    text
}

/// Reads `2026-11-22T11:25:48.112196338Z` (or an offset); nothing for anything else.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let digits: String =
        rest.strip_prefix('.').unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
    let zone = if digits.is_empty() { rest } else { rest.get(1 + digits.len()..)? };
    let offset = match zone.get(..1)? {
        "Z" => 0,
        sign => {
            let minutes =
                zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let fraction = format!("{digits:0<9}").get(..9)?.parse::<i64>().ok()?;
    let seconds = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    (seconds - offset * 60).checked_mul(SECOND_NS)?.checked_add(fraction)
}

/// Year, month and day of a count of days since 1970 (Hinnant's calendar arithmetic: years begin in
/// March, so that the leap day is the last).
const fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

/// The inverse of `date`.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_as_the_same_second() {
        for text in ["2026-11-24T22:36:02Z", "2024-02-29T00:00:00Z", "1970-01-01T00:00:01Z"] {
            assert_eq!(stamp(parse(text).expect("a moment")), text);
        }
        assert_eq!(
            parse("2026-11-22T11:25:48.112196338Z").expect("a moment") % SECOND_NS,
            112_196_338
        );
        assert_eq!(parse("2026-11-22T13:00:00+02:00"), parse("2026-11-22T11:00:00Z"));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let shown: Vec<_> = [0, 59, 60, 310, 3_600, 100_000].map(span).into();
        assert_eq!(shown, ["0s", "59s", "1m", "5m10s", "1h", "1d3h"]);
        assert_eq!(ago(SECOND_NS, 61 * SECOND_NS), "1m ago");
        assert_eq!(ago(61 * SECOND_NS, SECOND_NS), "1m from now");
        assert_eq!(ago(0, 5), "N/A");
    }
}
