//! The command line against a server that gives prepared answers: what is printed, asked and left
//! as the exit code.
//!
//! This is a test of the package `drover` (see its Cargo.toml), because only such a test is given the
//! path of the program.
#[path = "cli/deployment.rs"]
mod deployment;
#[path = "cli/done.rs"]
mod done;
#[path = "cli/explained.rs"]
mod explained;
#[path = "cli/launches.rs"]
mod launches;
#[path = "cli/machine.rs"]
mod machine;
#[path = "cli/operator.rs"]
mod operator;
#[path = "cli/pools.rs"]
mod pools;
#[path = "cli/rebalance.rs"]
mod rebalance;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/shown.rs"]
mod shown;
#[path = "cli/waits.rs"]
mod waits;
