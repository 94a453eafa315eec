//! The agent's configuration: what was written, and what it means.
//!
//! `Written::load` reads files and directories; the command line lays its flags over that with
//! `overlaid`; `Resolved::of` or `Resolved::dev` says what an agent is to do.
//!
//! Invariants
//! - a wrong key, value or combination ends in an error with its file, line and remedy, never in a guess.
mod address;
pub mod pool;
mod read;
pub mod resolved;
mod syntax;
pub mod written;

pub(crate) use address::host_port;
pub use resolved::{
    Certificates, Client, Join, Mode, RawExec, Recorder, Reserved, Resolved, Server, Surroundings,
    Unusable,
};
pub use written::{
    Consul, DrainOnShutdown, Introduction, Written, WrittenClient, WrittenJoin, WrittenServer,
    WrittenTls,
};

/// Before what the shell is to run for addresses of servers.
const PROGRAM: &str = "exec=";
