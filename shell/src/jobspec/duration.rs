//! Durations as Go writes them: `300ms`, `1h30m`, `-1.5h`.
//!
//! Invariants
//! - what `show` writes, `parse` reads back.

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// The nanoseconds that `text` stands for.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "bounded by the comparison before it")]
pub fn parse_ns(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut ns = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&at| 0 < at)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let word =
            &rest[..rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len())];
        let unit = UNITS.iter().find(|(name, _)| *name == word)?;
        ns += number * unit.1;
        rest = &rest[word.len()..];
    }
    (ns < 9.2e18).then_some((sign * ns).round() as i64)
}

/// `ms` as a person would write it.
#[must_use]
pub fn show_ms(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let parts =
        [(ms / 3_600_000, "h"), (ms / 60_000 % 60, "m"), (ms / 1000 % 60, "s"), (ms % 1000, "ms")];
    parts
        .iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}
