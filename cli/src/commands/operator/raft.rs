//! `drover operator raft`: who takes part in the consensus, how far they are, and who leads.
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::recover::{self, RecoverArgs};
use crate::api::Fields as _;
use crate::args::{Format, Global};
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::{block, table};
use crate::terminal::Terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum RaftCommand {
    #[command(about = "List the servers that take part in the consensus")]
    ListPeers(Format),
    #[command(about = "Show a server's term, log and configuration, and how far the others are")]
    Info(InfoArgs),
    #[command(about = "Remove a server that has failed and will not come back")]
    RemovePeer(PeerArgs),
    #[command(about = "Let another server lead")]
    TransferLeadership(PeerArgs),
    #[command(
        about = "Make one survivor the only voter after the majority was lost; needs no agent"
    )]
    Recover(RecoverArgs),
}

#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    #[arg(long, value_name = "ID", default_value = "", help = "Ask this server, or leader")]
    server_id: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct PeerArgs {
    #[arg(long, value_name = "ID", help = "The server, as list-peers names it")]
    peer_id: Option<String>,
    #[arg(long, value_name = "HOST:PORT", help = "The same by its address")]
    peer_address: Option<String>,
}

impl PeerArgs {
    /// As the API wants it; empty if none is named.
    fn query(&self) -> Result<Vec<(&str, &str)>, Failure> {
        match (&self.peer_id, &self.peer_address) {
            (Some(_), Some(_)) => {
                Err(Failure::new("name the server by -peer-id or by -peer-address, not by both"))
            }
            (Some(id), None) => Ok(vec![("id", id)]),
            (None, Some(address)) => Ok(vec![("address", address)]),
            (None, None) => Ok(Vec::new()),
        }
    }
}

pub(crate) fn run(command: &RaftCommand, global: &Global, terminal: Terminal) -> Ended {
    let session = || Session::open(global, terminal);
    match command {
        RaftCommand::ListPeers(format) => list_peers(format, &mut session()?),
        RaftCommand::Info(args) => info(args, &mut session()?),
        RaftCommand::RemovePeer(args) => remove_peer(args, &mut session()?),
        RaftCommand::TransferLeadership(args) => transfer_leadership(args, &mut session()?),
        RaftCommand::Recover(args) => recover::recover(args, terminal),
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
    let row = |server: &Value| {
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

fn info(args: &InfoArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let query = [("server_id", args.server_id.as_str())];
    let query = if args.server_id.is_empty() { &[][..] } else { &query };
    let answer = session.client.get("/v1/operator/raft/info", query);
    let answer = answer.map_err(error("querying raft info"))?;
    if args.format.json {
        return session.print_json(&answer);
    }
    let servers = answer.list("Servers");
    let leader = servers.iter().find(|server| server.flag("Leader"));
    let leader = leader.map(|server| server.text("Node").to_owned()).unwrap_or_default();
    let change = if answer.flag("Joint") { "under way" } else { "none" };
    let number = |key: &str| answer.int(key).to_string();
    let snapshot = Some(number("SnapshotIndex")).filter(|index| index != "0");
    session.terminal.line(&block(&[
        ("Server", answer.text("Node").to_owned()),
        ("ID", answer.text("ID").to_owned()),
        ("Cluster", answer.text("ClusterID").to_owned()),
        ("Role", answer.text("Role").to_owned()),
        ("Leader", leader.clone()),
        ("Term", number("Term")),
        ("Commit Index", number("CommitIndex")),
        ("Applied Index", number("AppliedIndex")),
        ("First Index", number("FirstIndex")),
        ("Last Index", number("LastIndex")),
        ("Snapshot Index", snapshot.unwrap_or_default()),
        ("Change of Voters", change.to_owned()),
    ]));
    let rows: Vec<_> = servers.iter().map(peer_row).collect();
    let header = ["Node", "ID", "Address", "Status", "Suffrage", "Match", "Feed", "Heard"];
    session.terminal.section("Servers", &table(&header, &rows));
    if answer.text("Role") != "leader" && !leader.is_empty() {
        let hint = "\nHow far the others are is known to the leader: -server-id=leader asks it.";
        session.terminal.complain(hint);
    }
    Ok(Exit::Done)
}

fn peer_row(server: &Value) -> Vec<String> {
    let number = |key: &str| server.at(key).as_i64();
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = if server.flag("Leader") { "leader" } else { server.text("Status") };
    vec![
        server.text("Node").to_owned(),
        server.text("ID").to_owned(),
        server.text("Address").to_owned(),
        status.to_owned(),
        server.text("Suffrage").to_owned(),
        known(number("MatchIndex").map(|index| index.to_string())),
        known(server.at("Feed").as_str().map(str::to_owned)),
        known(number("LastContactMs").map(|age| format!("{age}ms ago"))),
    ]
}

fn remove_peer(args: &PeerArgs, session: &mut Session) -> Ended {
    let query = args.query()?;
    let [(key, name)] = query[..] else {
        return Err(Failure::new("which server? Name it by -peer-id or by -peer-address"));
    };
    let asked = session.client.delete("/v1/operator/raft/peer", &query);
    asked.map_err(error("removing peer"))?;
    session.terminal.line(&format!("Removed peer with {key} \"{name}\""));
    Ok(Exit::Done)
}

fn transfer_leadership(args: &PeerArgs, session: &mut Session) -> Ended {
    let path = "/v1/operator/raft/transfer-leadership";
    let answer = session.client.put(path, &args.query()?, &json!({}));
    let answer = answer.map_err(error("transferring leadership"))?;
    let shown = |key: &str| {
        let server = answer.at(key);
        format!("{} ({})", server.text("ID"), server.text("Address"))
    };
    session.terminal.line(&if answer.flag("Noop") {
        format!("{} leads already", shown("To"))
    } else {
        format!("Leadership went from {} to {}", shown("From"), shown("To"))
    });
    Ok(Exit::Done)
}
