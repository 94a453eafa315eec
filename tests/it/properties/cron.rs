//! The next moment of a cron expression is what looking at every moment finds, in every zone.
use std::collections::BTreeSet;

use drover_core::cron::{Calendar, Cron};
use drover_core::rng::Rng;
use drover_core::time::WallTime;
use drover_core::types::{Periodic, Shift};

/// One expression as text, and as the sets of its fields.
#[derive(Debug)]
struct Asked {
    text: String,
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    /// `None`: every one.
    days: Option<BTreeSet<u32>>,
    months: BTreeSet<u32>,
    weekdays: Option<BTreeSet<u32>>,
}

/// A list, a range, a step or a star of `min..=max`.
fn field(rng: &mut Rng, min: u32, max: u32) -> (String, Option<BTreeSet<u32>>) {
    let mut between =
        |a: u32, b: u32| u32::try_from(rng.between(a.into(), b.into())).expect("small");
    let (a, b) = (between(min, max), between(min, max));
    let (a, b) = (a.min(b), a.max(b));
    match between(0, 5) {
        0 | 1 => ("*".to_owned(), None),
        2 => (format!("{a},{b}"), Some(BTreeSet::from([a, b]))),
        3 => (format!("{a}-{b}"), Some((a..=b).collect())),
        4 => {
            let step = between(1, 20);
            let all = (min..=max).step_by(step as usize).collect();
            (format!("*/{step}"), Some(all))
        }
        _ => {
            let step = between(1, 5);
            (format!("{a}-{b}/{step}"), Some((a..=b).step_by(step as usize).collect()))
        }
    }
}

fn asked(rng: &mut Rng) -> Asked {
    let (minute, minutes) = field(rng, 0, 59);
    let (hour, hours) = field(rng, 0, 23);
    let (day, days) = field(rng, 1, 31);
    let (month, months) = field(rng, 1, 12);
    let (weekday, weekdays) = field(rng, 0, 6);
    let all = |set: Option<BTreeSet<u32>>, max| set.unwrap_or_else(|| (0..=max).collect());
    Asked {
        text: format!("{minute} {hour} {day} {month} {weekday}"),
        minutes: all(minutes, 59),
        hours: all(hours, 23),
        days,
        months: all(months, 12),
        weekdays,
    }
}

/// Counted day by day.
struct Walk {
    year: u32,
    month: u32,
    day: u32,
    weekday: u32,
}

fn length(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]
}

impl Walk {
    fn at(day_number: i64) -> Self {
        let mut walk = Self { year: 1970, month: 1, day: 1, weekday: 4 };
        for _ in 0..day_number {
            walk.weekday = (walk.weekday + 1) % 7;
            walk.day += 1;
            if length(walk.year, walk.month) < walk.day {
                (walk.day, walk.month) = (1, walk.month + 1);
            }
            if 12 < walk.month {
                (walk.month, walk.year) = (1, walk.year + 1);
            }
        }
        walk
    }
}

impl Asked {
    fn is_due_on(&self, date: &Walk) -> bool {
        let day = self.days.as_ref().map(|days| days.contains(&date.day));
        let weekday = self.weekdays.as_ref().map(|days| days.contains(&date.weekday));
        let is_day = match (day, weekday) {
            (None, None) => true,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(a), Some(b)) => a || b,
        };
        is_day && self.months.contains(&date.month)
    }

    fn is_due_civil(&self, civil_s: i64, dates: &mut impl FnMut(i64) -> bool) -> bool {
        let of_day = u32::try_from(civil_s.rem_euclid(86_400)).expect("a second of a day");
        of_day.is_multiple_of(60)
            && self.minutes.contains(&(of_day / 60 % 60))
            && self.hours.contains(&(of_day / 3_600))
            && dates(civil_s.div_euclid(86_400))
    }
}

/// Where a zone stands at `s`: the offset, and the last shift before.
fn stand(zone: &[Shift], s: i64) -> (i64, Option<(i64, i64)>) {
    let mut offset = zone.first().map_or(0, |shift| i64::from(shift.offset_s));
    let mut last = None;
    for pair in zone.windows(2).filter(|pair| pair[1].unix_s <= s) {
        last = Some((pair[1].unix_s, i64::from(pair[0].offset_s)));
        offset = i64::from(pair[1].offset_s);
    }
    (offset, last)
}

/// Every minute looked at, as the rules of shifted clocks have it.
fn found(asked: &Asked, zone: &[Shift], after_s: i64, until_s: i64) -> Option<i64> {
    let mut known: Option<(i64, bool)> = None;
    let mut dates = |day: i64| match known {
        Some((at, is)) if at == day => is,
        _ => {
            let is = asked.is_due_on(&Walk::at(day));
            known = Some((day, is));
            is
        }
    };
    let every_hour = asked.hours.len() == 24;
    let first = (after_s + 1).div_euclid(60) * 60;
    (first..until_s).step_by(60).filter(|&s| after_s < s).find(|&s| {
        let (offset, last) = stand(zone, s);
        let civil = s + offset;
        let Some((shifted_at, before)) = last.filter(|_| !every_hour) else {
            return asked.is_due_civil(civil, &mut dates);
        };
        // What was on the clocks before they went back was there already.
        if civil < shifted_at + before {
            return false;
        }
        let in_gap = s == shifted_at
            && (shifted_at + before..civil)
                .step_by(60)
                .any(|swallowed| asked.is_due_civil(swallowed, &mut dates));
        in_gap || asked.is_due_civil(civil, &mut dates)
    })
}

/// 2026: forward on March 29 at 01:00 UTC, back on October 25.
fn zurich() -> Vec<Shift> {
    let shift = |unix_s, offset_s| Shift { unix_s, offset_s };
    vec![
        shift(1_735_689_600, 3_600),
        shift(1_774_746_000, 7_200),
        shift(1_792_890_000, 3_600),
        shift(1_806_195_600, 7_200),
    ]
}

/// Half an hour, as on Lord Howe.
fn lord_howe() -> Vec<Shift> {
    let shift = |unix_s, offset_s| Shift { unix_s, offset_s };
    vec![shift(1_735_689_600, 39_600), shift(1_775_314_800, 37_800), shift(1_791_041_400, 39_600)]
}

#[test]
fn the_next_moment_is_the_first_that_is_found() {
    let zones = [Vec::new(), zurich(), lord_howe()];
    // Just before clocks are shifted, and some other day.
    let starts = [1_774_746_000, 1_792_890_000, 1_775_314_800, 1_791_041_400, 1_780_000_000];
    for seed in 0..1_500_u64 {
        let mut rng = Rng::from_seed(seed);
        let asked = asked(&mut rng);
        let cron = Cron::parse(&asked.text).expect("it is an expression");
        let zone = &zones[usize::try_from(rng.between(0, 2)).expect("small")];
        let start = starts[usize::try_from(rng.between(0, 4)).expect("small")];
        let after_s = start - i64::try_from(rng.between(0, 90_000)).expect("small");
        let until_s = after_s + 4 * 86_400;
        let next = cron.next_after(after_s, zone).filter(|&next| next < until_s);
        let found = found(&asked, zone, after_s, until_s);
        assert_eq!(next, found, "seed {seed}: {} after {after_s}, {zone:?}", asked.text);
    }
}

#[test]
fn the_newest_of_several_missed_moments_is_found() {
    for seed in 0..300_u64 {
        let mut rng = Rng::from_seed(seed);
        let asked = asked(&mut rng);
        let periodic = Periodic { crons: vec![asked.text.clone()], ..Periodic::default() };
        let calendar = Calendar::of(&periodic).expect("it is an expression");
        let start = WallTime { unix_ms: 1_780_000_000_000 };
        let Some(due) = calendar.next_after(start) else { continue };
        let now = due.plus_ms(rng.between(0, 3 * 86_400_000));
        let (mut newest, mut next) = (due, calendar.next_after(due));
        while let Some(later) = next.filter(|later| *later <= now) {
            newest = later;
            next = calendar.next_after(later);
        }
        assert_eq!(calendar.newest_until(due, now), newest, "seed {seed}: {}", asked.text);
    }
}

/// 2026-03-29 and 2026-10-25 in Zurich, in hours of UTC.
fn moments(text: &str, from_s: i64, count: usize) -> Vec<String> {
    let cron = Cron::parse(text).expect("it is an expression");
    let zone = zurich();
    let mut at = from_s - 1;
    let mut shown = Vec::new();
    for _ in 0..count {
        at = cron.next_after(at, &zone).expect("there is one");
        let minute = at.rem_euclid(86_400) / 60;
        shown.push(format!("{:02}:{:02}", minute / 60, minute % 60));
    }
    shown
}

#[test]
fn what_a_gap_swallows_is_made_up_for_once_and_what_comes_twice_is_one() {
    let (spring, autumn) = (1_774_742_400, 1_792_886_400);
    // 02:30 does not exist: at 03:00, which is 01:00 in UTC; the next day at 00:30.
    assert_eq!(moments("30 2 * * *", spring, 2), ["01:00", "00:30"]);
    assert_eq!(moments("0,15,30 2 * * *", spring, 2), ["01:00", "00:00"], "several are one");
    assert_eq!(moments("*/30 * * * *", spring, 4), ["00:00", "00:30", "01:00", "01:30"]);
    // 02:30 comes twice: the first is 00:30 in UTC; the next day at 01:30.
    assert_eq!(moments("30 2 * * *", autumn, 2), ["00:30", "01:30"]);
    assert_eq!(moments("30 * * * *", autumn, 4), ["00:30", "01:30", "02:30", "03:30"]);
}

fn dates(text: &str, from_s: i64, count: usize) -> Vec<String> {
    let cron = Cron::parse(text).expect("it is an expression");
    let mut at = from_s - 1;
    let mut shown = Vec::new();
    for _ in 0..count {
        at = cron.next_after(at, &[]).expect("there is one");
        let date = Walk::at(at / 86_400);
        shown.push(format!("{}-{:02}-{:02}", date.year, date.month, date.day));
    }
    shown
}

#[test]
fn days_may_be_counted_from_the_end_of_a_month_and_by_weeks() {
    // 2026-01-01 is a Thursday.
    let january = 1_767_225_600;
    assert_eq!(dates("0 0 L * *", january, 2), ["2026-01-31", "2026-02-28"]);
    assert_eq!(dates("0 0 LW * *", january, 1), ["2026-01-30"], "the 31st is a Saturday");
    assert_eq!(dates("0 0 1W 2 *", january, 1), ["2026-02-02"], "the 1st is a Sunday");
    assert_eq!(dates("0 0 31W 1 *", january, 1), ["2026-01-30"]);
    assert_eq!(dates("0 0 * * 5L", january, 2), ["2026-01-30", "2026-02-27"]);
    assert_eq!(dates("0 0 * * FRI#2", january, 2), ["2026-01-09", "2026-02-13"]);
    assert_eq!(dates("0 0 ? JAN,FEB 7", january, 2), ["2026-01-04", "2026-01-11"]);
    assert_eq!(dates("0 0 13 * FRI", january, 3), ["2026-01-02", "2026-01-09", "2026-01-13"]);
    assert_eq!(dates("@yearly", january, 2), ["2026-01-01", "2027-01-01"]);
    assert_eq!(dates("0 0 29 2 *", january, 1), ["2028-02-29"]);
    assert_eq!(dates("0 0 1 1 * 2030", january, 1), ["2030-01-01"]);
    assert_eq!(Cron::parse("0 0 30 2 *").expect("it reads").next_after(january, &[]), None);
    assert_eq!(Cron::parse("0 0 1 1 * 2020").expect("it reads").next_after(january, &[]), None);
    let seconds = Cron::parse("*/5 * * * * * *").expect("it reads");
    assert_eq!(seconds.next_after(january, &[]), Some(january + 5));
}

#[test]
fn what_is_no_expression_is_refused_with_what_would_be_right() {
    for (text, why) in [
        ("", "5 to 7 fields, not 0"),
        ("* * * *", "5 to 7 fields, not 4"),
        ("60 * * * *", "a minute lies between 0 and 59"),
        ("* 24 * * *", "a hour lies between 0 and 23"),
        ("* * 0 * *", "a day of the month lies between 1 and 31"),
        ("* * * MAI *", "\"mai\" is no month"),
        ("* * * * 8", "a day of the week lies between 0 and 7"),
        ("*/0 * * * *", "a step of minute is at least 1"),
        ("30-10 * * * *", "goes upwards"),
        ("1,,2 * * * *", "\"\" is no minute"),
        ("@every 5m", "is not known: use @hourly"),
        ("* * * * 5#6", "1st to 5th"),
        ("0 0 1 1 * 1969", "a year lies between 1970 and 2099"),
    ] {
        let said = Cron::parse(text).expect_err(text);
        assert!(said.contains(why), "{text}: {said}");
    }
}
