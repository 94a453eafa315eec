//! How often each thing happened in a run: what a hunt has really tried.
//!
//! Invariants
//! - counts are part of a run's result, so two runs of one seed count the same.
use std::fmt;
use std::ops::AddAssign;

use drover_core::types::{Job, Made};

use crate::network::Harm;
use crate::plan::Damage;

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// Counts by what happened.
        #[derive(Clone, Debug, Default, Eq, PartialEq)]
        pub struct Counters {
            $(pub $name: u64,)*
        }

        impl Counters {
            /// Every count with its name.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign<&Self> for Counters {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters!(
    leader_changes,
    entries_committed,
    cuts,
    snapshots_saved,
    snapshots_installed,
    crashes,
    moves,
    departures,
    power_failures,
    restarts,
    pauses,
    partitions,
    links_slowed,
    links_lossy,
    torn_writes,
    disk_faults,
    disks_lost,
    logs_rotted,
    writes_lost,
    writes_misdirected,
    voters_changed,
    halts,
    clock_jumps,
    histories_undecided,
    messages_delivered,
    messages_lost,
    messages_doubled,
    messages_overtaken,
    messages_decoded,
    requests_asked,
    requests_done,
    orders_done,
    requests_refused,
    requests_unknown,
    requests_abandoned,
    reads,
    reads_stale,
    tasks_started,
    tasks_failed,
    tasks_reattached,
    nodes_down,
    allocs_lost,
    evals_blocked,
    drains_complete,
    states_restored,
    children_launched,
    children_forced,
    children_dispatched,
    groups_scaled,
    services_advertised,
);

impl Counters {
    /// Some links are harmed.
    pub const fn on_harm(&mut self, harm: Harm) {
        let count = match harm {
            Harm::Cut => &mut self.partitions,
            Harm::SlowMs(_) => &mut self.links_slowed,
            Harm::LosePermille(_) => &mut self.links_lossy,
        };
        *count += 1;
    }

    /// The tables show these jobs.
    pub fn on_jobs<'a>(&mut self, jobs: impl Iterator<Item = &'a Job>) {
        for lineage in jobs.map(|job| &job.lineage) {
            self.groups_scaled += lineage.scaling_events.len() as u64;
            match lineage.child.as_ref().map(|child| &child.made) {
                Some(Made::At(_)) => self.children_launched += 1,
                Some(Made::Forced(_)) => self.children_forced += 1,
                Some(Made::Dispatched { .. }) => self.children_dispatched += 1,
                None => {}
            }
        }
    }

    /// A log was damaged, which the next start will notice.
    pub const fn on_damage(&mut self, damage: Damage) {
        let count = match damage {
            Damage::Bit => &mut self.logs_rotted,
            Damage::LostWrite => &mut self.writes_lost,
            Damage::Misdirected => &mut self.writes_misdirected,
        };
        *count += 1;
    }

    /// Names of what never happened and should, given time.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        // A history that was given up is a weakness of the checker, and nothing that a run tries.
        let wanted = Self { histories_undecided: 1, ..self.clone() };
        let never = wanted.list().into_iter().filter(|&(_, count)| count == 0);
        never.map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.list() {
            writeln!(f, "{count:>12}  {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}
