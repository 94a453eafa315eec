//! Real processes of the real program: clusters, crashes and bad input.
//!
//! This is a test of the package `drover` (see its Cargo.toml): only such a test is given the path of
//! the program, and cargo builds the program before it. Nothing here knows the program from within:
//! it is spoken to by its command line, its files, its HTTP API and signals.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests say why they skip, and show logs"
)]

#[path = "process/cluster.rs"]
mod cluster;
#[path = "process/consul.rs"]
mod consul;
#[path = "process/damage.rs"]
mod damage;
#[path = "process/deployments.rs"]
mod deployments;
#[path = "process/drains.rs"]
mod drains;
#[path = "process/introduced.rs"]
mod introduced;
#[path = "process/launches.rs"]
mod launches;
#[path = "process/leaving.rs"]
mod leaving;
#[path = "process/machine.rs"]
mod machine;
#[path = "process/node.rs"]
mod node;
#[path = "process/operator.rs"]
mod operator;
#[path = "process/permissions.rs"]
mod permissions;
#[path = "process/rebalances.rs"]
mod rebalances;
#[path = "process/refused.rs"]
mod refused;
#[path = "process/regions.rs"]
mod regions;
#[path = "process/replaced.rs"]
mod replaced;
#[path = "process/replay.rs"]
mod replay;
#[path = "process/restored.rs"]
mod restored;
#[path = "process/rig.rs"]
mod rig;
#[path = "process/volumes.rs"]
mod volumes;
