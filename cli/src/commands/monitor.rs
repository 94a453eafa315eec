//! `drover monitor`: an agent's log as it is written.
use clap::Args;

use crate::commands::alloc::frames;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};

#[derive(Args, Debug)]
pub(crate) struct MonitorArgs {
    #[arg(long, value_name = "LEVEL", default_value = "info", help = "trace to error")]
    log_level: String,
    #[arg(long, value_name = "ID", default_value = "", help = "The log of this node's agent")]
    node_id: String,
    #[arg(long, value_name = "ID", default_value = "", help = "The log of this server, or leader")]
    server_id: String,
    #[arg(long, help = "One JSON object a line")]
    json: bool,
}

pub(crate) fn run(args: &MonitorArgs, session: &mut Session) -> Ended {
    let mut node = args.node_id.clone();
    if !node.is_empty() {
        let found = session.find_node(&node)?;
        node = crate::api::Fields::text(&found, "ID").to_owned();
    }
    let json = if args.json { "true" } else { "false" };
    let query = [
        ("log_level", args.log_level.as_str()),
        ("log_json", json),
        ("node_id", &node),
        ("server_id", &args.server_id),
    ];
    let body = session.client.stream("/v1/agent/monitor", &query);
    let body = body.map_err(error("starting monitor"))?;
    let terminal = session.terminal;
    frames::each(body, |data| terminal.raw(data)).map_err(error("reading the log"))?;
    Ok(Exit::Done)
}
