//! `drover system`.
use clap::Subcommand;
use serde_json::json;

use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    #[command(about = "Forget what has ended, without waiting for its time")]
    Gc,
}

pub(crate) fn run(command: &SystemCommand, session: &mut Session) -> Ended {
    match command {
        SystemCommand::Gc => {
            let asked = session.client.put("/v1/system/gc", &[], &json!({}));
            asked.map_err(error("running system garbage-collection"))?;
            Ok(Exit::Done)
        }
    }
}
