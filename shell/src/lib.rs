//! Everything that touches the world.
pub mod drivers;
pub mod fingerprint;
pub mod logs;
pub mod shim;
pub mod storage;
pub mod transport;
