//! Moments as RFC 3339 writes them.
//!
//! Invariants
//! - a moment keeps the offset from UTC that it was written with.
use super::{Answer, Function};
use crate::jobspec::duration;
use crate::jobspec::value::Value;

const DAY_S: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) const TABLE: &[(&str, Function)] = &[
    ("timeadd", |args, _| {
        args.count(2, 2)?;
        let moment = Moment::parse(&args.text(0)?)?;
        let text = args.text(1)?;
        let ns = duration::parse_ns(&text)
            .ok_or_else(|| format!("\"{text}\" is no duration such as 1h30m"))?;
        let seconds = moment.local_s.checked_add(ns.div_euclid(1_000_000_000));
        let seconds = seconds.ok_or_else(|| "the sum is out of range".to_owned())?;
        Ok(Value::Text(Moment { local_s: seconds, ..moment }.show("YYYY-MM-DD'T'hh:mm:ssZ")?))
    }),
    ("formatdate", |args, _| {
        args.count(2, 2)?;
        Moment::parse(&args.text(1)?)?.show(&args.text(0)?).map(Value::Text)
    }),
];

/// Seconds since 1970 on a clock that is `offset_min` ahead of UTC.
#[derive(Clone, Copy)]
struct Moment {
    local_s: i64,
    offset_min: i64,
}

impl Moment {
    /// `2026-11-24T22:45:00Z` or with `+01:00` at the end.
    fn parse(text: &str) -> Answer<Self> {
        let wrong = || format!("\"{text}\" is no moment such as 2026-11-24T22:45:00Z");
        let number = |at: usize, end: usize| -> Answer<i64> {
            let digits = text.get(at..end).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|part| part.parse().ok()).ok_or_else(wrong)
        };
        let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
        if !marks
            .iter()
            .all(|&(at, mark)| text.get(at..).is_some_and(|rest| rest.starts_with(mark)))
        {
            return Err(wrong());
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let zone = text[19..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let offset_min = match (zone, zone.as_bytes()) {
            ("Z", _) => 0,
            (_, [sign @ (b'+' | b'-'), _, _, b':', _, _]) => {
                let at = text.len() - 5;
                let minutes = number(at, at + 2)? * 60 + number(at + 3, at + 5)?;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return Err(wrong()),
        };
        let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !fits || 23 < hour || 59 < minute || 60 < second {
            return Err(wrong());
        }
        let local_s = days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
        Ok(Self { local_s, offset_min })
    }

    /// HCL's letters: `YYYY YY MMMM MMM MM M DD D EEEE EEE hh h HH H AA aa mm m ss s ZZZZZ ZZZ Z`.
    fn show(self, wanted: &str) -> Answer<String> {
        let mut made = String::new();
        let mut rest = wanted;
        while let Some(first) = rest.chars().next() {
            if first == '\'' {
                let Some(end) = rest[1..].find('\'') else {
                    return Err("a quotation in the format is not closed".to_owned());
                };
                made.push_str(if end == 0 { "'" } else { &rest[1..=end] });
                rest = &rest[end + 2..];
                continue;
            }
            let count = rest.chars().take_while(|&c| c == first).count();
            let (word, after) = rest.split_at(count * first.len_utf8());
            rest = after;
            if first.is_ascii_alphabetic() {
                made.push_str(&self.part(word)?);
            } else {
                made.push_str(word);
            }
        }
        Ok(made)
    }

    fn part(self, word: &str) -> Answer<String> {
        let (year, month, day) = date_of(self.local_s.div_euclid(DAY_S));
        let in_day = self.local_s.rem_euclid(DAY_S);
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let day_name =
            DAYS[usize::try_from((self.local_s.div_euclid(DAY_S) + 3).rem_euclid(7)).unwrap_or(0)];
        let zone = |colon: &str| {
            let sign = if self.offset_min < 0 { '-' } else { '+' };
            format!(
                "{sign}{:02}{colon}{:02}",
                self.offset_min.abs() / 60,
                self.offset_min.abs() % 60
            )
        };
        Ok(match word {
            "YYYY" => format!("{year:04}"),
            "YY" => format!("{:02}", year.rem_euclid(100)),
            "MMMM" => month_name.to_owned(),
            "MMM" => month_name[..3].to_owned(),
            "MM" => format!("{month:02}"),
            "M" => month.to_string(),
            "DD" => format!("{day:02}"),
            "D" => day.to_string(),
            "EEEE" => day_name.to_owned(),
            "EEE" => day_name[..3].to_owned(),
            "hh" => format!("{hour:02}"),
            "h" => hour.to_string(),
            "HH" => format!("{twelve:02}"),
            "H" => twelve.to_string(),
            "AA" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "aa" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "mm" => format!("{minute:02}"),
            "m" => minute.to_string(),
            "ss" => format!("{second:02}"),
            "s" => second.to_string(),
            "Z" if self.offset_min == 0 => "Z".to_owned(),
            "Z" | "ZZZZZ" => zone(":"),
            "ZZZ" if self.offset_min == 0 => "UTC".to_owned(),
            "ZZZ" | "ZZZZ" => zone(""),
            _ => return Err(format!("does not know `{word}`; quote words as 'T'")),
        })
    }
}

/// Days since 1970 of a date, by the proleptic Gregorian calendar.
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// The date of a day since 1970.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}
