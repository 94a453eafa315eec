//! A world in which any number of agents live on one thread.
//!
//! The agents are the ones that run in production, bit for bit; network, disks, clocks and tasks are
//! simulated, break as a plan says, and depend on nothing but a seed.
//!
//! | module | what |
//! |---|---|
//! | `run` | one run of a plan, a hunt through seeds |
//! | `plan` | faults and requests of one run: drawn, printed, parsed |
//! | `world` | the event queue, stepping agents, carrying out their effects |
//! | `host`, `clock`, `disk`, `durable`, `drivers` | one machine |
//! | `shadow` | the snapshots that servers write |
//! | `network` | links, loss, partitions |
//! | `workload`, `requests` | jobs and machines; what users ask for, and are told |
//! | `standing` | how servers stand |
//! | `strikes` | crashes that wait for a write |
//! | `checkers` | what must hold, one property a file |
//! | `counters`, `marks`, `ladder` | what happened: in numbers, by name, and line by line |
//! | `report` | what happened, as a page |
//! | `shrink` | cutting a failing plan down |
//! | `compare` | the first difference of two runs |
//! | `replay` | stepping a recorded input log |
//!
//! Invariants
//! - two runs of one plan are the same run;
//! - nothing is printed, and no clock, entropy, thread or socket is used.
pub mod checkers;
pub mod clock;
pub mod compare;
pub mod counters;
pub mod disk;
pub mod drains;
pub mod drivers;
pub mod durable;
pub mod host;
pub mod ladder;
pub mod launching;
pub mod marks;
pub mod network;
pub mod plan;
pub mod queue;
pub mod rebalancing;
pub mod replay;
pub mod report;
pub mod requests;
pub mod run;
pub mod shadow;
pub mod shrink;
pub mod standing;
pub mod steering;
pub mod strikes;
pub mod trace;
pub mod workload;
pub mod world;

pub use run::{
    Failure, Hunt, Options, Replays, Report, Times, hunt, plan_of, run, run_plan, run_times,
    watch_plan,
};
pub use shrink::shrink;
