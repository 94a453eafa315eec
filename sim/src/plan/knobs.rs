//! What does not change while a plan is played: how its networks, disks, tasks and servers are.
//!
//! Invariants
//! - a knob that a plan does not name is as in calm weather.
macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident = $calm:expr),* $(,)?) => {
        /// Numbers that shape a run.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub struct Knobs {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Default for Knobs {
            /// Calm weather.
            fn default() -> Self {
                Self { $($name: $calm,)* }
            }
        }

        impl Knobs {
            /// Every knob with its name.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// The knob called `name`.
            pub fn named(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

knobs!(
    delay_us_min = 200,
    delay_us_max = 2_000,
    loss_permille = 0,
    duplicate_permille = 0,
    reorder_permille = 0,
    /// Packets of which a bit changes. The world, which has messages and no packets, knows none.
    corrupt_permille = 0,
    disk_us_min = 100,
    disk_us_max = 3_000,
    /// Of a disk while it is slow.
    disk_slow_us_max = 400_000,
    drift_ppm_max = 50,
    skew_ms_max = 200,
    /// Attempts that never run.
    start_failure_permille = 0,
    /// Tasks that end badly of themselves.
    task_failure_permille = 0,
    /// Tasks that ignore every signal but the kill.
    stubborn_permille = 0,
    /// Bytes of log between two cuts.
    cut_bytes = 64 << 10,
    /// Bytes of log kept below a snapshot.
    retained_bytes = 16 << 10,
    snapshot_chunk_bytes = 16 << 10,
    /// The first so many servers should rather not lead.
    low_priority_servers = 0,
    /// What a link carries in a millisecond; zero: everything.
    link_bytes_per_ms = 0,
    /// Longest time that a task needs to begin.
    start_ms_max = 200,
    /// Allocs whose tasks end badly, soon, again and again.
    flapping_permille = 0,
    /// Bytes of one append message.
    append_bytes = 1 << 20,
    /// Bytes sent to one follower and not acknowledged.
    inflight_bytes = 8 << 20,
    /// Bytes of requests that wait for the leader's log.
    asked_bytes = 16 << 20,
    /// Plans proposed and not yet applied.
    plans_in_flight = 4,
    /// Placements of one scheduling step.
    placements_per_step = 512,
    /// How long a client may be silent, before the grace.
    heartbeat_ttl_ms = 10_000,
    heartbeat_grace_ms = 2_000,
    garbage_collect_ms = 60_000,
    /// How long what has ended is shown.
    ended_kept_ms = 3_600_000,
    /// How long a new server is healthy before it votes.
    stabilization_ms = 500,
    /// How many entries behind a healthy one is at most.
    trailing_logs = 250,
);
