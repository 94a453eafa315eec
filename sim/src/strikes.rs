//! Crashes that wait for a write: one is most interesting while a block is on its way to the disk, which
//! is seldom.
//!
//! Invariants
//! - a line of the plan strikes once.
use std::collections::{BTreeMap, BTreeSet};

use crate::network::HostId;

/// How long a crash waits for a write.
pub const STRIKE_MS_MAX: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Strike {
    /// For a write of this host.
    Waits(HostId),
    Due,
}

/// When a line strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    Now,
    /// With the next write, or when `STRIKE_MS_MAX` is over.
    Later,
    /// It has struck.
    Before,
}

/// Lines of the plan that wait for a write, and those that have struck.
#[derive(Debug, Default)]
pub struct Strikes {
    waiting: BTreeMap<usize, Strike>,
    struck: BTreeSet<usize>,
}

impl Strikes {
    /// The moment of `line` has come; `idle` is its host, if that is up and writes nothing.
    pub fn on_line(&mut self, line: usize, idle: Option<HostId>) -> When {
        if self.struck.contains(&line) {
            return When::Before;
        }
        if let Some(host) = idle
            && !self.waiting.contains_key(&line)
        {
            self.waiting.insert(line, Strike::Waits(host));
            return When::Later;
        }
        self.waiting.remove(&line);
        self.struck.insert(line);
        When::Now
    }

    /// `host` begins to write: answers which lines strike meanwhile.
    pub fn on_write(&mut self, host: HostId) -> Vec<usize> {
        let mut due = Vec::new();
        for (&line, strike) in &mut self.waiting {
            if matches!(strike, Strike::Waits(waited) if *waited == host) {
                *strike = Strike::Due;
                due.push(line);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_a_write_of_its_host_and_strikes_once() {
        let mut strikes = Strikes::default();
        assert_eq!(strikes.on_line(3, Some(HostId(1))), When::Later);
        assert_eq!(strikes.on_write(HostId(0)), []);
        assert_eq!(strikes.on_write(HostId(1)), [3]);
        assert_eq!(strikes.on_write(HostId(1)), [], "it is on its way");
        assert_eq!(strikes.on_line(3, None), When::Now);
        assert_eq!(strikes.on_line(3, Some(HostId(1))), When::Before, "the time is over as well");
    }

    #[test]
    fn a_line_strikes_without_a_write_when_its_time_is_over() {
        let mut strikes = Strikes::default();
        assert_eq!(strikes.on_line(0, Some(HostId(1))), When::Later);
        assert_eq!(strikes.on_line(0, Some(HostId(1))), When::Now);
    }
}
