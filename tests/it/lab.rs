//! A cluster whose agents are on machines of their own, as far as the network is concerned, and what
//! becomes of it when cables, switches and routers fail.
//!
//! This is a test of the package `drover` (see its Cargo.toml): only such a test is given the path of
//! the program. It needs root, for the network; nothing of the network of the machine it runs on is
//! touched.
#![expect(clippy::print_stderr, reason = "what agents said is shown when a test fails")]

#[path = "lab/clients.rs"]
mod clients;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/loss.rs"]
mod loss;
#[path = "lab/network.rs"]
mod network;
#[path = "process/rig.rs"]
#[expect(dead_code, reason = "it has more than a lab needs")]
mod rig;
#[path = "lab/servers.rs"]
mod servers;
