//! `drover operator`: what keeps the cluster itself together.
use clap::Subcommand;

use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};
use crate::table::table;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    #[command(subcommand, about = "The consensus of the servers")]
    Raft(RaftCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RaftCommand {
    #[command(about = "List the servers that take part in the consensus")]
    ListPeers(Format),
}

pub(crate) fn run(command: &OperatorCommand, session: &mut Session) -> Ended {
    match command {
        OperatorCommand::Raft(RaftCommand::ListPeers(format)) => list_peers(format, session),
    }
}

fn list_peers(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let answer = session
        .client
        .get("/v1/operator/raft/configuration", &[])
        .map_err(error("retrieving raft configuration"))?;
    if format.json {
        return session.print_json(&answer);
    }
    let row = |server: &serde_json::Value| {
        let state = if server.flag("Leader") { "leader" } else { "follower" };
        vec![
            server.text("Node").to_owned(),
            server.text("ID").to_owned(),
            server.text("Address").to_owned(),
            state.to_owned(),
            server.flag("Voter").to_string(),
            server.text("RaftProtocol").to_owned(),
        ]
    };
    let rows: Vec<_> = answer.list("Servers").iter().map(row).collect();
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"];
    session.terminal.line(&table(&header, &rows));
    Ok(Exit::Done)
}
