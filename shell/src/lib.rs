//! Everything that touches the world.
pub mod api;
pub mod clock;
pub mod config;
pub mod drivers;
pub mod fingerprint;
pub mod identity;
pub mod jobspec;
pub mod logs;
pub mod recorder;
pub mod run;
pub mod shadow;
pub mod shim;
pub mod start;
pub mod storage;
pub mod tasks;
pub mod transport;
