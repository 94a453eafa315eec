//! One binary for every integration test.
mod agent;
mod client;
mod config;
mod drivers;
mod gossip;
mod http;
mod jobspec;
mod ladder;
mod orders;
mod properties;
mod report;
mod restores;
mod scenarios;
mod sim;
mod start;
mod tidy;
mod transport;
