//! `drover operator`: what keeps the cluster itself together.
use clap::Subcommand;

use crate::args::Global;
use crate::commands::Ended;
use crate::terminal::Terminal;

pub(crate) mod autopilot;
pub(crate) mod raft;
pub(crate) mod recover;
pub(crate) mod scheduler;
pub(crate) mod snapshot;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    #[command(subcommand, about = "Who is to vote, and how well the servers are")]
    Autopilot(autopilot::AutopilotCommand),
    #[command(subcommand, about = "The consensus of the servers")]
    Raft(raft::RaftCommand),
    #[command(subcommand, about = "How the servers schedule")]
    Scheduler(scheduler::SchedulerCommand),
    #[command(subcommand, about = "The cluster's state as a file")]
    Snapshot(snapshot::SnapshotCommand),
}

pub(crate) fn run(command: &OperatorCommand, global: &Global, terminal: Terminal) -> Ended {
    match command {
        OperatorCommand::Autopilot(command) => autopilot::run(command, global, terminal),
        OperatorCommand::Raft(command) => raft::run(command, global, terminal),
        OperatorCommand::Scheduler(command) => scheduler::run(command, global, terminal),
        OperatorCommand::Snapshot(command) => snapshot::run(command, global, terminal),
    }
}
