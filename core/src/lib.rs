//! Drover's control plane as one deterministic function: `agent::Agent::step`.
//!
//! | module | machine |
//! |---|---|
//! | `agent` | owns the machines, carries what one says to another |
//! | `raft` | consensus among servers |
//! | `wal` | the log on disk: operations out, completions in |
//! | `gossip` | which servers exist and live |
//! | `roster` | which servers should vote |
//! | `departure` | a server that goes with grace |
//! | `heartbeat`, `prober` | which client nodes live; who looks for the silent |
//! | `state`, `fsm` | the replicated tables, and the commands that change them |
//! | `broker`, `scheduler`, `planner` | evaluations in, placements out |
//! | `assign` | what each node must run, told to it in order |
//! | `client` | a client node's side: allocs, tasks, restarts |
//! | `requests`, `intake`, `proposals` | a caller's wish on its way to the leader, past its door, and into the log |
//! | `stamp`, `sightings`, `cuts` | the leader's clock; who was heard; agreement on the state |
//! | `api` | what outsiders may ask and hear |
//! | `wire` | messages between agents, and their limits |
//!
//! Invariants
//! - no clock, chance, thread, file, socket, float or hash order: the same config, seed and inputs
//!   give the same effects on every machine and build profile;
//! - nothing is emitted before what it rests on is durable;
//! - machines do not know each other.
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm,
    clippy::iter_over_hash_type
)]
extern crate alloc;

/// Whether a bug is planted here: never, but in `sim/mutants`.
#[macro_export]
macro_rules! planted {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let planted = $crate::mutants::is_planted($crate::mutants::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let planted = false;
        planted
    }};
}

#[cfg(test)]
extern crate std;

pub mod agent;
pub mod api;
pub mod assign;
pub mod broker;
mod bytes;
pub mod client;
pub mod cron;
pub mod cuts;
pub mod departure;
pub mod digest;
pub mod emit;
pub mod fsm;
pub mod gossip;
pub mod heartbeat;
pub mod intake;
pub mod limits;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod planner;
pub mod prober;
pub mod proposals;
pub mod raft;
pub mod requests;
pub mod rng;
pub mod roster;
pub mod scheduler;
pub mod sightings;
pub mod stamp;
pub mod state;
pub mod time;
pub mod types;
pub mod wal;
pub mod wire;
