//! Days of the calendar as numbers, without zones: the proleptic Gregorian calendar.
//!
//! Invariants
//! - `day_number` and `Date::of` are each other's inverse.

/// Seconds of a day: civil days have no leap seconds.
pub(super) const DAY_S: i64 = 86_400;

/// A day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From one.
    pub(super) month: u32,
    /// From one.
    pub(super) day: u32,
}

impl Date {
    /// The day so many days after 1970-01-01.
    pub(super) fn of(day_number: i64) -> Self {
        // Eras of 400 years, which begin in March so that a leap day is a year's last.
        let shifted = day_number + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_based = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_based + 2) / 5 + 1;
        let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |number: i64| u32::try_from(number).expect("invariant: a part of a date");
        Self { year, month: small(month), day: small(day) }
    }

    /// Days since 1970-01-01.
    pub(super) fn day_number(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = self.year - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let march_based = if 2 < month { month - 3 } else { month + 9 };
        let of_year = (153 * march_based + 2) / 5 + day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    /// From zero, which is Sunday.
    pub(super) fn weekday(self) -> u32 {
        let since_sunday = (self.day_number() + 4).rem_euclid(7);
        u32::try_from(since_sunday).expect("invariant: less than seven")
    }
}

pub(super) const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}
