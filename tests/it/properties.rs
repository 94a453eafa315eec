//! What must hold for every input.
mod broker;
mod cron;
mod fsm;
mod index;
mod raft_codec;
mod raft_quorum;
mod raft_schedule;
pub(crate) mod scheduler;
mod wal;
