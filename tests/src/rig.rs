//! Machines on a bench: their network, disks and clock in the hands of a test.
pub mod agent;
pub mod cluster;
pub mod raft;
pub mod raft_ladder;
pub mod raft_oracle;
