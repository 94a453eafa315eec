//! Everything that touches the world.
pub mod storage;
pub mod transport;
