//! `drover node intro`: tokens by which machines become client nodes.
use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};

#[derive(Debug, Subcommand)]
pub(crate) enum IntroCommand {
    #[command(about = "Make a token by which a machine may become a client node")]
    Create(CreateArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[arg(long, value_name = "NAME", default_value = "", help = "Only for a node of this name")]
    node_name: String,
    #[arg(long, value_name = "POOL", default_value = "", help = "Only for nodes of this pool")]
    node_pool: String,
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "",
        help = "How long it is good; 5m if not said"
    )]
    ttl: String,
    #[arg(long, help = "As the API says it")]
    json: bool,
}

pub(super) fn run(command: &IntroCommand, session: &mut Session) -> Ended {
    let IntroCommand::Create(CreateArgs { node_name, node_pool, ttl, json }) = command;
    let ask = json!({ "NodeName": node_name, "NodePool": node_pool, "TTL": ttl });
    let path = "/v1/acl/identity/client-introduction-token";
    let made =
        session.client.put(path, &[], &ask).map_err(error("making an introduction token"))?;
    let text = if *json { format!("{made:#}") } else { made.text("JWT").to_owned() };
    session.terminal.line(&text);
    Ok(Exit::Done)
}
