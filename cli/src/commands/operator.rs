//! `drover operator`: what keeps the cluster itself together.
use clap::Subcommand;

use crate::args::Global;
use crate::commands::{Ended, Session};
use crate::terminal::Terminal;

pub(crate) mod raft;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    #[command(subcommand, about = "The consensus of the servers")]
    Raft(raft::RaftCommand),
}

pub(crate) fn run(command: &OperatorCommand, global: &Global, terminal: Terminal) -> Ended {
    match command {
        OperatorCommand::Raft(command) => raft::run(command, &mut Session::open(global, terminal)?),
    }
}
