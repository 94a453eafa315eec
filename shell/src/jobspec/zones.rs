//! What a time zone's clocks show, as a table of its shifts: the core has no database of zones.
//!
//! The years are fixed, so that the same file gives the same specification whenever it is submitted.
//! What a government decides after the job was submitted is not in it: submit the job again with a
//! Drover that knows.
//!
//! Invariants
//! - a zone whose clocks are UTC's has an empty table;
//! - a table begins with the offset at `FIRST_S`, and names every shift until `LAST_S`.
use drover_core::types::Shift;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::diagnostic::nearest;

/// 2025-01-01: no launch was before.
const FIRST_S: i64 = 1_735_689_600;
/// 2076-01-01: afterwards the last offset stays.
const LAST_S: i64 = 3_345_062_400;

/// The shifts of the zone called `name`.
///
/// # Errors
/// That no zone is called so, and which one may be meant.
pub(crate) fn shifts(name: &str) -> Result<Vec<Shift>, String> {
    if matches!(name, "UTC" | "Etc/UTC") {
        return Ok(Vec::new());
    }
    let zone = TimeZone::get(name).map_err(|_| unknown(name))?;
    let first = Timestamp::from_second(FIRST_S).map_err(|why| why.to_string())?;
    let mut shifts = vec![Shift { unix_s: FIRST_S, offset_s: zone.to_offset(first).seconds() }];
    for one in zone.following(first) {
        let (unix_s, offset_s) = (one.timestamp().as_second(), one.offset().seconds());
        if LAST_S <= unix_s {
            break;
        }
        // Some change only their name.
        if shifts.last().is_some_and(|last| last.offset_s != offset_s) {
            shifts.push(Shift { unix_s, offset_s });
        }
    }
    let is_utc = shifts.iter().all(|shift| shift.offset_s == 0);
    Ok(if is_utc { Vec::new() } else { shifts })
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let near = nearest(name, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "write it as \"Europe/Zurich\" or \"UTC\"".to_owned(),
        |near| format!("did you mean \"{near}\"?"),
    );
    format!("there is no time zone \"{name}\"; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_its_shifts() {
        let zone = shifts("Europe/Zurich").expect("it exists");
        assert_eq!(zone[0], Shift { unix_s: FIRST_S, offset_s: 3_600 });
        // 2025-03-30 01:00 UTC.
        assert_eq!(zone[1], Shift { unix_s: 1_743_296_400, offset_s: 7_200 });
        assert_eq!(zone.len(), 1 + 2 * 51, "two a year");
        assert_eq!(shifts("Asia/Tokyo").expect("it exists").len(), 1);
        assert_eq!(shifts("UTC").expect("it exists"), []);
        assert_eq!(shifts("Africa/Abidjan").expect("it exists"), [], "its clocks are UTC's");
        let why = shifts("Europe/Zurick").expect_err("nobody lives there");
        assert!(why.contains("did you mean \"Europe/Zurich\"?"), "{why}");
    }
}
