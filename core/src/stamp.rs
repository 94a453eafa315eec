//! The leader's stamp for commands: the median of the voters' wall clocks.
//!
//! Each server tells the leader its wall clock now and then; the leader carries each reading forward
//! on its own monotonic clock. One server that lives in another century moves the median by at most
//! one place. The state machine's clock is the largest stamp applied, so it never goes back.
//!
//! A leader that has not heard a quorum's clocks yet follows none, not even its own: it carries the
//! replicated clock forward by its monotonic one. So does one whose clocks are all behind, at half
//! speed: time that stood still until they have caught up would stop every delay.
//!
//! Invariants
//! - a stamp is never smaller than the one before it from the same leader, or than what is applied.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::SERVERS_MAX;
use crate::time::{MonoTime, WallTime};
use crate::types::ServerId;

/// What the voters' clocks said, and when it was heard here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Stamper {
    readings: BTreeMap<ServerId, (MonoTime, WallTime)>,
    last: WallTime,
    /// A stamp and when it was given: from there time is carried forward without clocks.
    anchor: Option<(MonoTime, WallTime)>,
}

impl Stamper {
    /// A stamper that never goes below `floor`, the replicated clock when the lead was won.
    #[must_use]
    pub const fn new(floor: WallTime) -> Self {
        Self { readings: BTreeMap::new(), last: floor, anchor: None }
    }

    /// Another server's wall clock, as heard at `now`.
    pub fn on_reading(&mut self, now: MonoTime, server: ServerId, wall: WallTime) {
        if self.readings.len() < SERVERS_MAX || self.readings.contains_key(&server) {
            self.readings.insert(server, (now, wall));
        }
    }

    /// The replicated clock, as applied here: what former leaders stamped may be applied only after the
    /// lead was won.
    pub fn on_applied(&mut self, now: MonoTime, clock: WallTime) {
        if self.last < clock {
            self.last = clock;
            self.anchor = Some((now, clock));
        }
    }

    /// The stamp of a command proposed at `now`, when this server's own clock says `wall`.
    pub fn stamp(&mut self, now: MonoTime, wall: WallTime, others: &[ServerId]) -> WallTime {
        let mut clocks: Vec<WallTime> = others
            .iter()
            .filter_map(|server| self.readings.get(server))
            .map(|&(heard_at, reading)| reading.plus_ms(now.ms_since(heard_at)))
            .collect();
        clocks.push(wall);
        clocks.sort_unstable();
        let median = clocks[(clocks.len() - 1) / 2];
        let (since, anchor) = *self.anchor.get_or_insert((now, self.last));
        let carried_ms = now.ms_since(since);
        // A cluster without a clock takes the first that it sees.
        let has_quorum =
            others.len().div_ceil(2) < clocks.len() || self.last == WallTime::default();
        let target = if has_quorum { median } else { anchor.plus_ms(carried_ms) };
        let slowest = anchor.plus_ms(carried_ms / 2);
        if slowest < target {
            self.anchor = Some((now, target));
        }
        let stamp = target.max(slowest).max(self.last);
        assert!(self.last <= stamp, "stamps never go back");
        self.last = stamp;
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_in_another_century_does_not_move_the_stamp() {
        let at = |ms: u64| MonoTime { ns: ms * 1_000_000 };
        let mut stamper = Stamper::new(WallTime { unix_ms: 5 });
        stamper.on_reading(at(0), ServerId(2), WallTime { unix_ms: 1_010 });
        stamper.on_reading(at(0), ServerId(3), WallTime { unix_ms: 4_000_000_000_000 });
        let others = [ServerId(2), ServerId(3)];
        let stamp = stamper.stamp(at(500), WallTime { unix_ms: 1_500 }, &others);
        assert_eq!(stamp, WallTime { unix_ms: 1_510 });
        let earlier = stamper.stamp(at(501), WallTime { unix_ms: 3 }, &[]);
        assert_eq!(earlier, stamp, "a clock that jumped back does not take the stamp along");
    }

    #[test]
    fn a_leader_that_has_heard_nobody_follows_no_clock() {
        let at = |ms: u64| MonoTime { ns: ms * 1_000_000 };
        let others = [ServerId(2), ServerId(3)];
        let own = WallTime { unix_ms: 4_000_000_000_000 };
        let mut stamper = Stamper::new(WallTime { unix_ms: 5_000 });
        assert_eq!(stamper.stamp(at(10), own, &others), WallTime { unix_ms: 5_000 });
        assert_eq!(stamper.stamp(at(310), own, &others), WallTime { unix_ms: 5_300 });
        stamper.on_reading(at(320), ServerId(2), WallTime { unix_ms: 5_400 });
        assert_eq!(stamper.stamp(at(330), own, &others), WallTime { unix_ms: 5_410 });
    }

    #[test]
    fn what_a_former_leader_stamped_is_where_time_goes_on() {
        let at = |ms: u64| MonoTime { ns: ms * 1_000_000 };
        let behind = |ms: u64| WallTime { unix_ms: 100_000 + ms };
        let mut stamper = Stamper::new(WallTime { unix_ms: 100_000 });
        assert_eq!(stamper.stamp(at(10), behind(10), &[]), behind(10));
        stamper.on_applied(at(20), WallTime { unix_ms: 900_000 });
        assert_eq!(stamper.stamp(at(20), behind(20), &[]), WallTime { unix_ms: 900_000 });
        assert_eq!(stamper.stamp(at(1_020), behind(1_020), &[]), WallTime { unix_ms: 900_500 });
    }

    #[test]
    fn time_goes_on_slowly_while_all_clocks_are_behind() {
        let at = |ms: u64| MonoTime { ns: ms * 1_000_000 };
        let mut stamper = Stamper::new(WallTime { unix_ms: 900_000 });
        let behind = |ms: u64| WallTime { unix_ms: 100_000 + ms };
        assert_eq!(stamper.stamp(at(0), behind(0), &[]), WallTime { unix_ms: 900_000 });
        for ms in 1..=1_000 {
            stamper.stamp(at(ms), behind(ms), &[]);
        }
        assert_eq!(stamper.stamp(at(1_000), behind(1_000), &[]), WallTime { unix_ms: 900_500 });
    }
}
