//! Moments of the calendar: when a cron expression is next due, in a zone whose clocks are shifted.
//!
//! All is computed on civil time, in whole seconds, from the expression and the zone's table alone.
//! Where clocks are shifted:
//!
//! - an expression that names hours is due once for each civil time: at the end of the gap for what the
//!   gap swallows (several such are one), and at the first of two equal times;
//! - one that is due in every hour goes by the hours that pass: it leaves the gap out, and an hour that
//!   comes twice is two hours.
//!
//! Invariants
//! - the next moment is later than the one asked about, and nothing lies between them;
//! - the same expression, zone and moment give the same answer everywhere.
mod civil;
mod parse;

use alloc::string::String;
use alloc::vec::Vec;

use civil::{DAY_S, Date, days_in_month};

use crate::time::WallTime;
use crate::types::{Periodic, Shift};

/// Years that an expression may name: beyond, nothing is due.
const YEAR_MIN: u32 = 1970;
const YEAR_MAX: u32 = 2099;

/// One expression. What it may be is in `parse`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    every_hour: bool,
    months: u64,
    days: Days,
    /// Ascending. Empty: every year.
    years: Vec<u32>,
}

/// Which days: by month, by week, or, where both are restricted, by either.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Days {
    every_day: bool,
    every_weekday: bool,
    of_month: u64,
    last_day: bool,
    last_working_day: bool,
    /// The working day nearest to these.
    near_working: u64,
    of_week: u64,
    /// The last such weekday of the month.
    last_of_week: u64,
    /// Seven bits for the first of each weekday in the month, seven for the second, and so on.
    nth_of_week: u64,
}

/// When a job is due: the expressions of its `periodic` block, in its zone.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    crons: Vec<Cron>,
    zone: &'a [Shift],
}

impl<'a> Calendar<'a> {
    /// The calendar of a `periodic` block.
    ///
    /// # Errors
    /// Which of its expressions is wrong, and why.
    pub fn of(periodic: &'a Periodic) -> Result<Self, String> {
        let crons = periodic.crons.iter().map(|text| Cron::parse(text));
        Ok(Self { crons: crons.collect::<Result<_, _>>()?, zone: &periodic.zone })
    }

    /// The first moment after `after`; `None`: there is none before the year 2100.
    #[must_use]
    pub fn next_after(&self, after: WallTime) -> Option<WallTime> {
        let after_s = i64::try_from(after.unix_ms / 1_000).ok()?;
        let next =
            self.crons.iter().filter_map(|cron| cron.next_after(after_s, self.zone)).min()?;
        let unix_s = u64::try_from(next).ok()?;
        Some(WallTime { unix_ms: unix_s.checked_mul(1_000)? })
    }

    /// The last moment not after `now`, given that `due` is one that is not after it either.
    #[must_use]
    pub fn newest_until(&self, due: WallTime, now: WallTime) -> WallTime {
        assert!(due <= now, "a moment that has come is looked for among those that have");
        let has_come = |moment: &WallTime| *moment <= now;
        let (mut newest, mut end_s) = (due, now.unix_ms / 1_000);
        // Moments that have come lie after `newest`, if there are any, and before `end_s`.
        while let Some(next) = self.next_after(newest).filter(has_come) {
            let middle_s = next.unix_ms / 1_000 + (end_s - next.unix_ms / 1_000) / 2;
            let middle = WallTime { unix_ms: middle_s * 1_000 };
            match self.next_after(middle).filter(has_come) {
                Some(later) => newest = later,
                None => {
                    newest = next;
                    end_s = middle_s;
                }
            }
        }
        newest
    }
}

/// A stretch of time during which a zone's clocks are not shifted.
#[derive(Clone, Copy)]
struct Stretch {
    begins_s: i64,
    ends_s: i64,
    offset_s: i64,
    offset_before_s: i64,
}

impl Cron {
    /// The first moment later than `after_s`, both in seconds since 1970 UTC.
    #[must_use]
    pub fn next_after(&self, after_s: i64, zone: &[Shift]) -> Option<i64> {
        let first_s = after_s.checked_add(1)?;
        stretches(zone).skip_while(|one| one.ends_s <= first_s).find_map(|one| {
            // Civil times before this one are over when the stretch begins.
            let before_s = if self.every_hour { one.offset_s } else { one.offset_before_s };
            let base_s = one.begins_s.saturating_add(before_s);
            let civil_s =
                if first_s <= one.begins_s { base_s } else { base_s.max(first_s + one.offset_s) };
            let due_s = (self.first_civil(civil_s)? - one.offset_s).max(one.begins_s);
            (due_s < one.ends_s).then_some(due_s)
        })
    }

    /// The first civil second not before `from_s` at which the expression is due.
    fn first_civil(&self, from_s: i64) -> Option<i64> {
        let from_s = from_s.max(0);
        let (mut number, mut second_of_day) = (from_s / DAY_S, from_s % DAY_S);
        loop {
            let date = Date::of(number);
            if i64::from(YEAR_MAX) < date.year {
                return None;
            }
            let Some(skipped) = self.days_to_skip(date) else {
                if let Some(second) = self.first_of_day(second_of_day) {
                    return Some(number * DAY_S + second);
                }
                (number, second_of_day) = (number + 1, 0);
                continue;
            };
            (number, second_of_day) = (number + skipped, 0);
        }
    }

    /// `None`: the day is one of the expression's. Else how far it is to one that may be.
    fn days_to_skip(&self, date: Date) -> Option<i64> {
        let first_of = |year: i64, month: u32| Date { year, month, day: 1 }.day_number();
        let year = u32::try_from(date.year).unwrap_or(0);
        if !self.years.is_empty() && !self.years.contains(&year) {
            return Some(first_of(date.year + 1, 1) - date.day_number());
        }
        if self.months & (1 << date.month) == 0 {
            let (year, month) =
                if date.month == 12 { (date.year + 1, 1) } else { (date.year, date.month + 1) };
            return Some(first_of(year, month) - date.day_number());
        }
        if self.days.have(date) { None } else { Some(1) }
    }

    fn first_of_day(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        let first = |set: u64, from: i64| {
            let rest = if from < 64 { set >> from << from } else { 0 };
            (rest != 0).then(|| i64::from(rest.trailing_zeros()))
        };
        let any = |set: u64| first(set, 0).expect("invariant: a field has a value");
        let at = |hour: i64, minute: i64, second: i64| hour * 3_600 + minute * 60 + second;
        if self.hours & (1 << hour) != 0 {
            let second = first(self.seconds, second).filter(|_| self.minutes & (1 << minute) != 0);
            if let Some(second) = second {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = first(self.minutes, minute + 1) {
                return Some(at(hour, minute, any(self.seconds)));
            }
        }
        let hour = first(self.hours, hour + 1)?;
        Some(at(hour, any(self.minutes), any(self.seconds)))
    }
}

impl Days {
    fn have(&self, date: Date) -> bool {
        match (self.every_day, self.every_weekday) {
            (true, true) => true,
            (false, true) => self.have_of_month(date),
            (true, false) => self.have_of_week(date),
            // As everywhere where cron runs: two restrictions are two lists of days.
            (false, false) => self.have_of_month(date) || self.have_of_week(date),
        }
    }

    fn have_of_month(&self, date: Date) -> bool {
        let last = days_in_month(date.year, date.month);
        self.of_month & (1 << date.day) != 0
            || (self.last_day && date.day == last)
            || (self.last_working_day && date.day == near_working_day(date, last))
            || (1..=last).any(|day| {
                self.near_working & (1 << day) != 0 && date.day == near_working_day(date, day)
            })
    }

    fn have_of_week(&self, date: Date) -> bool {
        let weekday = date.weekday();
        let nth = (date.day - 1) / 7;
        let is_last = days_in_month(date.year, date.month) < date.day + 7;
        self.of_week & (1 << weekday) != 0
            || (is_last && self.last_of_week & (1 << weekday) != 0)
            || self.nth_of_week & (1 << (7 * nth + weekday)) != 0
    }
}

/// The working day nearest to `day`, within the month of `date`.
fn near_working_day(date: Date, day: u32) -> u32 {
    let last = days_in_month(date.year, date.month);
    match (Date { day, ..date }).weekday() {
        0 if day == last => day - 2,
        0 => day + 1,
        6 if day == 1 => day + 2,
        6 => day - 1,
        _ => day,
    }
}

fn stretches(zone: &[Shift]) -> impl Iterator<Item = Stretch> {
    let first = zone.first().map_or(0, |shift| i64::from(shift.offset_s));
    let whole = (zone.is_empty()).then_some(Stretch {
        begins_s: 0,
        ends_s: i64::MAX,
        offset_s: 0,
        offset_before_s: 0,
    });
    let shifted = zone.iter().enumerate().map(move |(at, shift)| {
        let before = at.checked_sub(1).and_then(|at| zone.get(at));
        Stretch {
            // The first offset holds for all that was before.
            begins_s: if at == 0 { 0 } else { shift.unix_s },
            ends_s: zone.get(at + 1).map_or(i64::MAX, |next| next.unix_s),
            offset_s: i64::from(shift.offset_s),
            offset_before_s: before.map_or(first, |before| i64::from(before.offset_s)),
        }
    });
    whole.into_iter().chain(shifted)
}
