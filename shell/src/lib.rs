//! Everything that touches the world.
pub mod api;
pub mod config;
pub mod drivers;
pub mod fingerprint;
pub mod jobspec;
pub mod logs;
pub mod shim;
pub mod storage;
pub mod transport;
