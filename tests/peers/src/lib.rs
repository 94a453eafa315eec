//! Consensus beside consensus: three voters in one thread, Drover's machine and others' libraries.
//!
//! | file | what |
//! |---|---|
//! | `load` | what is asked of a cluster, and what a cluster must be able to do |
//! | `ours` | Drover's machine, with a disk from `ours/disk` |
//! | `raftrs`, `openraft09`, `openraft010` | the others, each driven its best way |
//! | `limit` | a floor that nobody is much below |
//! | `contender` | who takes part, and what is inside each one's figure |
//! | `allocations`, `measure`, `instructions` | the instruments |
//! | `options`, `report` | what is measured, and the table |
//!
//! Everybody keeps `RETAINED_ENTRIES` in memory, proposes a batch, and is done when all three voters
//! have applied it; only then comes the next batch. Nobody writes a file or opens a socket.
mod allocations;
mod contender;
mod instructions;
mod limit;
mod load;
mod measure;
mod openraft010;
mod openraft09;
mod options;
mod ours;
mod raftrs;
mod report;

pub use options::Options;
pub use report::{explain, run};
