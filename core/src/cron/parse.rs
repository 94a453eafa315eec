//! What people write: five, six or seven fields, or one word that stands for them.
//!
//! | fields | |
//! |---|---|
//! | 5 | minute hour day-of-month month day-of-week |
//! | 6 | the same, and a year |
//! | 7 | second minute hour day-of-month month day-of-week year |
//!
//! Each field is a list of `*`, `?`, `n`, `n-m`, each with `/step` where wanted; months and days of the
//! week also by the first three letters of their names, Sunday as 0 or 7. Days of the month also `L` (the
//! last), `nW` (the working day nearest to it), `LW`; days of the week also `nL` (the last one of the
//! month) and `n#k` (the k-th one).
//!
//! Invariants
//! - what parses matches at least one value of every field.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Cron, Days, YEAR_MAX, YEAR_MIN};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Longest text that is read: a list of every minute is shorter.
const TEXT_BYTES_MAX: usize = 512;

/// One of the fields.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    words: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", min: 0, max: 59, words: &[] };
const MINUTE: Field = Field { name: "minute", min: 0, max: 59, words: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, words: &[] };
const DAY: Field = Field { name: "day of the month", min: 1, max: 31, words: &[] };
const MONTH: Field = Field { name: "month", min: 1, max: 12, words: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", min: 0, max: 7, words: &WEEKDAYS };
const YEAR: Field = Field { name: "year", min: YEAR_MIN, max: YEAR_MAX, words: &[] };

impl Cron {
    /// The expression in `text`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if TEXT_BYTES_MAX < text.len() {
            return Err(format!("a cron expression has at most {TEXT_BYTES_MAX} bytes"));
        }
        let text = text.trim().to_ascii_lowercase();
        let spelled = if text.starts_with('@') { word(&text)? } else { &text };
        let fields: Vec<&str> = spelled.split_ascii_whitespace().collect();
        let (second, rest, year) = match fields[..] {
            [a, b, c, d, e] => ("0", [a, b, c, d, e], "*"),
            [a, b, c, d, e, year] => ("0", [a, b, c, d, e], year),
            [second, a, b, c, d, e, year] => (second, [a, b, c, d, e], year),
            _ => {
                return Err(format!(
                    "\"{text}\" is no cron expression, which has 5 to 7 fields, not {}: write minute \
                     hour day month weekday, such as \"*/15 * * * *\"; six end with a year, and \
                     seven begin with a second too",
                    fields.len()
                ));
            }
        };
        let [minute, hour, day, month, weekday] = rest;
        let hours = bits(HOUR, hour)?;
        Ok(Self {
            seconds: bits(SECOND, second)?,
            minutes: bits(MINUTE, minute)?,
            every_hour: hours == (1 << 24) - 1,
            hours,
            months: bits(MONTH, month)?,
            days: days(day, weekday)?,
            years: years(year)?,
        })
    }
}

fn word(text: &str) -> Result<&'static str, String> {
    match text {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(format!(
            "\"{text}\" is not known: use @hourly, @daily, @weekly, @monthly, @yearly, or fields"
        )),
    }
}

/// The values of a field below 64, as bits.
fn bits(field: Field, text: &str) -> Result<u64, String> {
    let mut set = 0_u64;
    for part in text.split(',') {
        each(field, part, |value| set |= 1 << value)?;
    }
    Ok(set)
}

/// The values of one part of a list.
fn each(field: Field, part: &str, mut take: impl FnMut(u32)) -> Result<(), String> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(number(field, step)?)),
        None => (part, None),
    };
    if step == Some(0) {
        return Err(format!("\"{part}\": a step of {} is at least 1", field.name));
    }
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (value(field, first)?, value(field, last)?),
        None if matches!(range, "*" | "?") => (field.min, field.end()),
        // As everywhere: `5/10` means from 5 on.
        None if step.is_some() => (value(field, range)?, field.end()),
        None => (value(field, range)?, value(field, range)?),
    };
    if last < first {
        return Err(format!("\"{range}\": a range of {} goes upwards", field.name));
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
    (first..=last).step_by(step).for_each(&mut take);
    Ok(())
}

impl Field {
    /// The last value that `*` means: Sunday counts once.
    const fn end(self) -> u32 {
        if self.max == WEEKDAY.max { 6 } else { self.max }
    }
}

fn number(field: Field, text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("\"{text}\" is no {}", field.name))
}

fn value(field: Field, text: &str) -> Result<u32, String> {
    let named = (0_u32..).zip(field.words).find(|(_, word)| **word == text);
    let value = match named {
        Some((at, _)) => field.min + at,
        None => number(field, text)?,
    };
    if (field.min..=field.max).contains(&value) {
        return Ok(value);
    }
    Err(format!("\"{text}\": a {} lies between {} and {}", field.name, field.min, field.max))
}

fn days(day: &str, weekday: &str) -> Result<Days, String> {
    let mut days = Days {
        every_day: matches!(day, "*" | "?"),
        every_weekday: matches!(weekday, "*" | "?"),
        ..Days::default()
    };
    for part in day.split(',') {
        if part == "l" {
            days.last_day = true;
        } else if part == "lw" {
            days.last_working_day = true;
        } else if let Some(near) = part.strip_suffix('w') {
            days.near_working |= 1 << value(DAY, near)?;
        } else {
            each(DAY, part, |value| days.of_month |= 1 << value)?;
        }
    }
    for part in weekday.split(',') {
        if let Some((of, nth)) = part.split_once('#') {
            let (of, nth) = (value(WEEKDAY, of)? % 7, number(WEEKDAY, nth)?);
            if !(1..=5).contains(&nth) {
                return Err(format!("\"{part}\": a month has the 1st to 5th of a weekday"));
            }
            days.nth_of_week |= 1 << (7 * (nth - 1) + of);
        } else if let Some(last) = part.strip_suffix('l').filter(|last| !last.is_empty()) {
            days.last_of_week |= 1 << (value(WEEKDAY, last)? % 7);
        } else {
            each(WEEKDAY, part, |value| days.of_week |= 1 << (value % 7))?;
        }
    }
    Ok(days)
}

fn years(text: &str) -> Result<Vec<u32>, String> {
    let mut list = Vec::new();
    if text == "*" {
        return Ok(list);
    }
    for part in text.split(',') {
        each(YEAR, part, |value| list.push(value))?;
    }
    list.sort_unstable();
    list.dedup();
    if list.is_empty() { Err("a year is missing".to_string()) } else { Ok(list) }
}
